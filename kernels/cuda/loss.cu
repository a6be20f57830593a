/* loss.cu - softmax, cross-entropy and its gradient over one chunk of logits.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A block takes a row: maximum, sum of exp, then the gradient; the row is read
 * again from cache rather than kept, so that any vocabulary fits. Logits are
 * float32 as the product left them: 4 bytes in, 2 bytes out an element.
 * Reference: kernels/linear.c. */
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"

enum { LOSS_THREADS = 256 };

KERNEL(rows_loss_kernel, struct cuda_rows_loss, LOSS_THREADS, 1)
{
    SHARED_MEMORY(float, scratch);
    const float *x = a.logits + (size_t)blockIdx.x * (size_t)a.v;
    const int target = a.target[blockIdx.x], step = (int)blockDim.x;
    float most = -INFINITY, sum = 0, scale;

    for (int i = (int)threadIdx.x; i < a.v; i += step)
        most = fmaxf(most, x[i]);
    most = block_max(most, scratch);
    for (int i = (int)threadIdx.x; i < a.v; i += step)
        sum += expf(x[i] - most);
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0)
        a.loss[blockIdx.x] = target < 0 ? 0 : logf(sum) + most - x[target];
    if (!a.dlogits)
        return;
    scale = target < 0 ? 0 : a.scale;
    for (int i = 2 * (int)threadIdx.x; i < a.v; i += 2 * step) {
        float p = scale * (expf(x[i] - most) / sum - (i == target ? 1.0f : 0.0f));
        float q = scale * (expf(x[i + 1] - most) / sum - (i + 1 == target ? 1.0f : 0.0f));

        *(uint32_t *)(void *)(a.dlogits + (size_t)blockIdx.x * (size_t)a.v + (size_t)i) =
            pack_bf16(p, q);
    }
}

LAUNCHER int launch_rows_loss(void *stream, const struct cuda_rows_loss *a)
{
    LAUNCH(rows_loss_kernel, make_grid((size_t)a->n, 1), a->v <= 1024 ? 128 : LOSS_THREADS,
           WARP * sizeof(float), stream, *a);
    return 0;
}
