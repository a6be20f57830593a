/* gpu.h - the model of model.h on a GPU: bfloat16 forward and backward, float32 master weights.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The device holds the weights twice: rounded, for the products, all of them on every rank; and
 * as float32 masters with both moments, this rank's share. Gradients are float32. The host's
 * arrays (struct model, struct run) are filled by gpu_pull, when something is written.
 *
 * Calls are queued; the first failure sticks and gpu_check returns it. A loss after a failure is
 * NaN. */
#ifndef BT_TRAIN_GPU_H
#define BT_TRAIN_GPU_H

#include "agent/train/model.h"
#include "agent/train/ranks.h"
#include "kernels/cuda/cuda.h"
#include "lib/base/err.h"

struct gpu;

/* As the setting `device` says: "cpu" gives NULL; "cuda" the GPU or an error; "auto" the GPU or
 * NULL with the reason in why. Ranks on GPUs meet again, over NCCL (ranks->fabric). *ret is owned.
 */
int gpu_open(const char *device, const struct model_shape *s, int rows, struct ranks *ranks,
             struct gpu **ret, struct bt_err *why, struct bt_err *err) BT_MUSTUSE;
void gpu_close(struct gpu *g); /* NULL is fine */
const struct cuda_about *gpu_about(const struct gpu *g);
/* Dense bfloat16 peak in GFLOP/s: the data sheet's, else a product's measured here. */
double gpu_peak_gflops(struct gpu *g);
int gpu_check(struct gpu *g, struct bt_err *err) BT_MUSTUSE;

/* model_loss and model_gradient. */
double gpu_loss(struct gpu *g, const int32_t *in, const int32_t *target, int b, int t,
                float *row_loss);
double gpu_gradient(struct gpu *g, const int32_t *in, const int32_t *target, int b, int t,
                    float scale, bool fresh);
void gpu_zero_gradient(struct gpu *g);

/* grad[own part] = sum over ranks; *ret its sum of squares. */
int gpu_sum_gradient(struct gpu *g, struct ranks *r, double *ret, struct bt_err *err) BT_MUSTUSE;

/* What one step of AdamW is given: see kern_adamw. n_matrix: weights behind these do not decay. */
struct gpu_update {
    double lr, beta1, beta2, eps, decay, grad_scale;
    size_t n_matrix;
    int64_t step;
};
/* Own part of the masters, then everybody's rounded weights. */
int gpu_update(struct gpu *g, struct ranks *r, const struct gpu_update *u,
               struct bt_err *err) BT_MUSTUSE;

/* w[n_params], m and v this rank's part. pull: w from every rank's masters, on every rank. */
int gpu_push(struct gpu *g, const float *w, const float *m, const float *v,
             struct bt_err *err) BT_MUSTUSE;
int gpu_pull(struct gpu *g, struct ranks *r, float *w, float *m, float *v,
             struct bt_err *err) BT_MUSTUSE;

#endif
