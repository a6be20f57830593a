/* sim.c - what all policies share.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/sim/sim.h"

#include "lib/base/mem.h"

void sim_sample(struct sim *s, int64_t at_s, uint32_t used, uint32_t pending, uint64_t pending_acc,
                uint32_t running)
{
    if (!s->n_samples || s->samples[s->n_samples - 1].at_s != at_s) {
        BT_GROW(s->samples, s->n_samples, s->cap_samples);
        s->n_samples++;
    }
    s->samples[s->n_samples - 1] = (struct sim_sample){.at_s = at_s,
                                                       .used = used,
                                                       .pending = pending,
                                                       .running = running,
                                                       .pending_acc = pending_acc};
}
