/* library.h - NVIDIA's libraries opened at run time, typed by their own headers. Private.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_KERNELS_CUDA_LIBRARY_H
#define BT_KERNELS_CUDA_LIBRARY_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"

/* By its name alone, then where CUDA's own installer puts it. NULL: dlerror() says why. */
static inline void *library_open(const char *name)
{
    const char *home = getenv("CUDA_HOME");
    void *p = dlopen(name, RTLD_NOW | RTLD_LOCAL);

    for (int i = 0; !p && i < 2; i++) {
        BT_AUTO char *path =
            bt_printf("%s/lib64/%s", i == 0 && home ? home : "/usr/local/cuda", name);

        p = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    }
    return p;
}

/* dlsym gives an object pointer for a function; POSIX promises that the copy works. */
static inline bool library_bind(void *library, const char *symbol, void *to, size_t size)
{
    void *p = dlsym(library, symbol);

    memcpy(to, &p, size);
    return p != NULL;
}

#endif
