/* backend_emulated.c - the kernels' text run on the CPU: for tests, not for work.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>

#include "kernels/cuda/backend.h"
#include "kernels/cuda/launch.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

#include "kernels/cuda/adamw.cu"
#include "kernels/cuda/attention.cu"
#include "kernels/cuda/block.cu"
#include "kernels/cuda/loss.cu"
#include "kernels/cuda/norm.cu"

const char back_name[] = "emulated";
const bool back_plain_memory = true;

struct own {
    int64_t marks[2];
};

int back_open(struct cuda *c, struct bt_err *err)
{
    (void)err;
    c->own = bt_new(struct own);
    return 0;
}

void back_close(struct cuda *c)
{
    bt_free(c->own);
}

void back_about(struct cuda *c, struct cuda_about *ret)
{
    (void)c;
    *ret = (struct cuda_about){.name = "a GPU emulated on the CPU, for tests only",
                               .versions = "no CUDA",
                               .processors = 1,
                               .shared_bytes = CUDA_SHARED_128,
                               .emulated = true};
}

const char *back_error(int code)
{
    return code == 2 ? "out of memory" : "no such error";
}

int back_alloc(struct cuda *c, size_t bytes, void **ret)
{
    (void)c;
    *ret = aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (!*ret)
        return 2;
    memset(*ret, 0xff, bytes); /* NaN wherever nobody wrote */
    return 0;
}

void back_release(struct cuda *c, void *p)
{
    (void)c;
    free(p);
}

int back_zero(struct cuda *c, void *p, size_t bytes)
{
    (void)c;
    memset(p, 0, bytes);
    return 0;
}

int back_put(struct cuda *c, void *to, const void *from, size_t bytes)
{
    (void)c;
    memcpy(to, from, bytes);
    return 0;
}

int back_get(struct cuda *c, void *to, const void *from, size_t bytes)
{
    (void)c;
    memcpy(to, from, bytes);
    return 0;
}

int back_copy(struct cuda *c, void *to, const void *from, size_t bytes)
{
    (void)c;
    memmove(to, from, bytes);
    return 0;
}

int back_wait(struct cuda *c)
{
    (void)c;
    return 0;
}

int back_mark(struct cuda *c, int which)
{
    ((struct own *)c->own)->marks[which] = bt_mono_us();
    return 0;
}

double back_marked_us(struct cuda *c)
{
    const struct own *o = c->own;

    return (double)(o->marks[1] - o->marks[0]);
}

/* Element (row, column) of a matrix stored with `width` columns, or of its transpose. */
struct matrix {
    const kern_bf16 *p;
    int width;
    bool turned;
};

static float element(const struct matrix *m, int row, int column)
{
    return kern_from_bf16(m->turned ? m->p[(size_t)column * m->width + row]
                                    : m->p[(size_t)row * m->width + column]);
}

int back_product(struct cuda *c, const struct cuda_product *a)
{
    bool dw = a->kind == CUDA_LINEAR_DW, plain = a->kind == CUDA_LINEAR;
    int rows = dw ? a->out : a->n, columns = plain ? a->out : a->in;
    int deep = dw ? a->n : plain ? a->in : a->out;
    const struct matrix x = {a->a, plain ? a->in : a->out, dw}, y = {a->b, a->in, plain};
    BT_AUTO float *right = bt_new_n(float, (size_t)deep *columns), *line = bt_new_n(float, columns);

    (void)c;
    for (int k = 0; k < deep; k++) {
        for (int j = 0; j < columns; j++)
            right[(size_t)k * columns + j] = element(&y, k, j);
    }
    for (int i = 0; i < rows; i++) {
        size_t at = (size_t)i * columns;

        memset(line, 0, (size_t)columns * sizeof *line);
        for (int k = 0; k < deep; k++) {
            float by = element(&x, i, k);

            for (int j = 0; j < columns; j++)
                line[j] += by * right[(size_t)k * columns + j];
        }
        for (int j = 0; j < columns; j++) {
            if (a->wide)
                ((float *)a->to)[at + j] = line[j] + (a->add ? ((float *)a->to)[at + j] : 0);
            else
                ((kern_bf16 *)a->to)[at + j] = kern_to_bf16(line[j]);
        }
    }
    return 0;
}

int back_coll_open(struct cuda *c, struct coll *meet, int64_t timeout_us, struct coll **ret,
                   struct bt_err *err)
{
    (void)c;
    (void)meet;
    (void)timeout_us;
    (void)err;
    *ret = NULL; /* memory is plain: the ranks' own communicator serves */
    return 0;
}
