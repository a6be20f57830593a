/* fuzz_trace.c - histories of jobs from a stranger: read or refused, never harmful.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/sim/trace.h"
#include "lib/base/attr.h"
#include "lib/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text BT_AUTO = bt_strndup((const char *)data, size);
    struct trace t;
    if (trace_parse(text, strlen(text), &t, NULL) >= 0) {
        for (uint32_t i = 0; i < t.n_jobs; i++)
            if (t.jobs[i].acc < 1 || t.jobs[i].duration_s < 1 || t.jobs[i].submit_s < 0)
                __builtin_trap();
        trace_done(&t);
    }
    return 0;
}
