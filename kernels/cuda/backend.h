/* backend.h - what ops.c asks of a device: memory, order, products. Private to this folder.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Two files fill it: backend_cuda.c and backend_emulated.c. int results are 0 or a code that
 * back_error knows. */
#ifndef BT_KERNELS_CUDA_BACKEND_H
#define BT_KERNELS_CUDA_BACKEND_H

#include "kernels/cuda/cuda.h"

struct cuda {
    void *stream;
    void *own; /* the back end's */
    int index, failed;
    const char *failed_in; /* static; the call whose code is kept in failed */
    double *squares;       /* [CUDA_SUM_BLOCKS] */
};

extern const char back_name[];
extern const bool back_plain_memory;

int back_open(struct cuda *c, struct bt_err *err);
void back_close(struct cuda *c);
void back_about(struct cuda *c, struct cuda_about *ret);
const char *back_error(int code);

int back_alloc(struct cuda *c, size_t bytes, void **ret);
void back_release(struct cuda *c, void *p);
int back_zero(struct cuda *c, void *p, size_t bytes);
int back_put(struct cuda *c, void *to, const void *from, size_t bytes);
int back_get(struct cuda *c, void *to, const void *from, size_t bytes); /* waits */
int back_copy(struct cuda *c, void *to, const void *from, size_t bytes);
int back_wait(struct cuda *c);
int back_mark(struct cuda *c, int which);
double back_marked_us(struct cuda *c);
int back_product(struct cuda *c, const struct cuda_product *a);

int back_coll_open(struct cuda *c, struct coll *meet, int64_t timeout_us, struct coll **ret,
                   struct bt_err *err);

/* The module's one symbol. */
const struct cuda_ops *bt_cuda_ops(void);

#endif
