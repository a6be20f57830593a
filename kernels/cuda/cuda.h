/* cuda.h - the kernels of kernels.h on an NVIDIA GPU, behind one table that a module gives away.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * No program is linked with CUDA: cuda_load opens the module bt_cuda at run time and hands out its
 * table; a machine without module, driver or cuBLASLt gets BT_ERR_UNSUPPORTED with one sentence,
 * and the program goes on with kernels.h.
 *
 * Numbers: activations and the weights that products read are bfloat16 (8 bits of mantissa,
 * rounded to nearest even), norms' factors, log-sum-exp, logits, losses, weight gradients,
 * master weights and moments float32; every sum is formed in float32 or float64. Shapes and
 * meanings are those of kernels.h. Pointers are device memory of cuda_ops.alloc; widths are
 * multiples of 8 elements, pointers of 16 bytes, head widths 64 or 128 (cuda_fits).
 *
 * Order: calls are queued in one order and return at once; get and wait come back when all that
 * was queued is done. The first failure of anything queued sticks: get and wait return it.
 * One thread at a time.
 *
 * The same inputs give the same bits: no kernel adds atomically, two-stage sums have a shape that
 * depends on the sizes alone, products exclude split reductions in place.
 *
 * Tolerances against float64 over the same rounded inputs, as max |got - want| / max |want|:
 * CUDA_TOL_ROUND where one rounding to bfloat16 ends the way, CUDA_TOL_CHAIN where the way
 * holds roundings of its own (attention's probabilities, gradients through a rounded result),
 * CUDA_TOL_FLOAT for float32 outputs. */
#ifndef BT_KERNELS_CUDA_CUDA_H
#define BT_KERNELS_CUDA_CUDA_H

#include "kernels/collective.h"
#include "kernels/cuda/args.h"
#include "lib/base/err.h"

#define CUDA_TOL_ROUND 5e-3
#define CUDA_TOL_CHAIN 1.5e-2
#define CUDA_TOL_FLOAT 2e-5

enum { CUDA_ABI = 1, CUDA_SHARED_128 = 104448 };

struct cuda; /* a device in use: stream, handles, scratch */

struct cuda_about {
    char name[128];     /* "NVIDIA H200"; "emulated on the CPU" */
    char versions[128]; /* of driver, runtime, cuBLASLt and NCCL, for people */
    int major, minor, processors;
    int shared_bytes; /* that one block may have; heads of 128 need CUDA_SHARED_128 */
    int64_t memory_bytes;
    double peak_gflops; /* dense bfloat16 of the data sheet; 0 where we know none */
    bool emulated;
};

struct cuda_ops {
    int abi;
    const char *name; /* "cuda", "emulated" */

    /* Takes device `index` (modulo their number). *ret is owned (close). BT_ERR_UNSUPPORTED. */
    int (*open)(int index, struct cuda **ret, struct bt_err *err);
    void (*close)(struct cuda *c); /* NULL is fine; waits for what is queued */
    void (*about)(struct cuda *c, struct cuda_about *ret);

    /* Zeroed, 256-byte aligned. BT_ERR_TOO_LARGE when the device has no room. */
    int (*alloc)(struct cuda *c, size_t bytes, void **ret, struct bt_err *err);
    void (*release)(struct cuda *c, void *p);
    void (*zero)(struct cuda *c, void *p, size_t bytes);
    void (*put)(struct cuda *c, void *to, const void *from, size_t bytes); /* from is free again */
    int (*get)(struct cuda *c, void *to, const void *from, size_t bytes, struct bt_err *err);
    void (*copy)(struct cuda *c, void *to, const void *from, size_t bytes); /* inside the device */
    int (*wait)(struct cuda *c, struct bt_err *err);
    /* Microseconds of device time between two marks of the queue, after a wait. */
    void (*mark)(struct cuda *c, int which); /* 0 or 1 */
    double (*marked_us)(struct cuda *c);

    void (*product)(struct cuda *c, const struct cuda_product *a);
    void (*add_norm)(struct cuda *c, const struct cuda_add_norm *a);
    void (*norm_backward)(struct cuda *c, const struct cuda_norm_backward *a);
    void (*rope)(struct cuda *c, const struct cuda_rope *a);
    void (*attention)(struct cuda *c, const struct cuda_attention *a);
    void (*attention_backward)(struct cuda *c, const struct cuda_attention_backward *a);
    void (*swiglu)(struct cuda *c, const struct cuda_swiglu *a);
    void (*swiglu_backward)(struct cuda *c, const struct cuda_swiglu_backward *a);
    void (*embed)(struct cuda *c, const struct cuda_embed *a);
    void (*embed_backward)(struct cuda *c, const struct cuda_embed_backward *a);
    void (*linear_loss)(struct cuda *c, const struct cuda_linear_loss *a);
    void (*adamw)(struct cuda *c, const struct cuda_adamw *a);
    /* *result (device) = sum of squares in float64 */
    void (*sum_squares)(struct cuda *c, double *result, const float *x, size_t count);
    /* to[i] = from[i] rounded */
    void (*round)(struct cuda *c, kern_bf16 *to, const float *from, size_t count);

    /* A communicator over device memory whose ranks are those of `meet`, which carries the id and
     * stays the caller's; NULL where device memory is plain memory (use `meet`) or the module
     * was built without NCCL. Calls end when the data is there or at the deadline. */
    int (*coll_open)(struct cuda *c, struct coll *meet, int64_t timeout_us, struct coll **ret,
                     struct bt_err *err);
    bool plain_memory; /* the host may read and write device memory */
};

/* Opens the module once: $BEAMTIME_CUDA when set, else beside the program, in the build tree, or
 * where it was installed. *ret stays valid for ever. BT_ERR_UNSUPPORTED says in one line why not.
 */
int cuda_load(const struct cuda_ops **ret, struct bt_err *err) BT_MUSTUSE;

/* BT_ERR_SHAPE with one sentence when these kernels cannot run such a model. */
int cuda_fits(int width, int ffn, int heads, int kv_heads, int head_dim, int vocab,
              struct bt_err *err) BT_MUSTUSE;

#endif
