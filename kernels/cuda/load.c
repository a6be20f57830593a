/* load.c - finds the module bt_cuda and opens it; the only place that knows where it lies.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

#include "kernels/cuda/cuda.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

static const struct cuda_ops *loaded;

/* Places in order; the module's own libraries are its affair. */
static void *open_somewhere(char why[200])
{
    char exe[512];
    const char *set = getenv("BEAMTIME_CUDA");
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    static const char *const from_program[] = {"", "../kernels/cuda/", "../../kernels/cuda/",
                                               "../lib/beamtime/"};
    void *library = NULL;
    char *slash;

    if (set && *set) {
        library = dlopen(set, RTLD_NOW | RTLD_LOCAL);
        if (!library)
            bt_copy(why, 200, dlerror());
        return library;
    }
    exe[n > 0 ? n : 0] = '\0';
    slash = strrchr(exe, '/');
    exe[slash ? slash + 1 - exe : 0] = '\0';
    bt_copy(why, 200, "this installation has no module bt_cuda.so");
    for (size_t i = 0; !library && i <= BT_ARRAY_LEN(from_program); i++) {
        BT_AUTO char *path = i < BT_ARRAY_LEN(from_program)
                                 ? bt_printf("%s%sbt_cuda.so", exe, from_program[i])
                                 : bt_strdup(BT_CUDA_DIR "/bt_cuda.so");

        if (access(path, R_OK) < 0)
            continue;
        library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!library)
            bt_copy(why, 200, dlerror());
    }
    return library;
}

int cuda_load(const struct cuda_ops **ret, struct bt_err *err)
{
    const struct cuda_ops *(*ops)(void) = NULL;
    char why[200] = "";
    void *library, *symbol;

    if (loaded) {
        *ret = loaded;
        return 0;
    }
    library = open_somewhere(why);
    if (!library)
        return bt_fail(err, BT_ERR_UNSUPPORTED, "no CUDA here: %s", why);
    symbol = dlsym(library, "bt_cuda_ops");
    memcpy(&ops, &symbol, sizeof ops); /* POSIX promises that this works */
    if (!ops || ops()->abi != CUDA_ABI) {
        dlclose(library);
        return bt_fail(err, BT_ERR_UNSUPPORTED,
                       "the module bt_cuda.so does not belong to this release");
    }
    *ret = loaded = ops();
    return 0;
}

int cuda_fits(int width, int ffn, int heads, int kv_heads, int head_dim, int vocab,
              struct bt_err *err)
{
    if (head_dim != 64 && head_dim != 128)
        return bt_fail(err, BT_ERR_SHAPE, "the CUDA kernels know head_dim 64 and 128, not %d",
                       head_dim);
    if (width % 8 || ffn % 8 || vocab % 8 || width > CUDA_WIDTH_MAX)
        return bt_fail(err, BT_ERR_SHAPE,
                       "the CUDA kernels need width (%d, at most %d), ffn (%d) and vocabulary (%d) "
                       "in multiples of 8",
                       width, CUDA_WIDTH_MAX, ffn, vocab);
    if (heads % kv_heads)
        return bt_fail(err, BT_ERR_SHAPE, "heads (%d) is not a multiple of kv_heads (%d)", heads,
                       kv_heads);
    return 0;
}
