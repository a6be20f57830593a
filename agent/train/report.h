/* report.h - what a run says while it goes: progress for people, JSON lines for programs, the
 * curve. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * metrics.jsonl lies beside the checkpoints while the run lasts, so that it
 * survives attempts; on resume it is cut back to the checkpoint's step. The file named by
 * $BEAM_METRICS gets the same lines as they come. Only rank 0 reports. */
#ifndef BT_TRAIN_REPORT_H
#define BT_TRAIN_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/train/corpus.h"
#include "agent/train/evaluate.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"

struct report_step {
    int64_t step, steps;
    double loss, lr, grad_norm;
    int64_t step_tokens; /* of this step */
    int64_t tokens;      /* of the run */
    double flops;        /* of the run */
};

struct report {
    bool quiet; /* not rank 0: says nothing, keeps nothing */
    bool terminal;
    int metrics_fd, live_fd; /* -1: none */
    double peak_gflops, flops_per_token;
    int64_t last_us, last_line_us, last_line_step;
    double step_s; /* smoothed seconds of a step */
    struct report_point {
        int64_t step;
        double loss;
    } * points;
    int n_points, cap_points;
};

/* Opens dir/metrics.jsonl, keeps its lines up to `step` and reads the curve from them. */
int report_open(struct report *r, const char *dir, int64_t step, struct bt_err *err) BT_MUSTUSE;
void report_close(struct report *r);

/* The clock of the next step starts now: nothing before counts as its time. */
void report_start(struct report *r);
int report_step(struct report *r, const struct report_step *s, struct bt_err *err) BT_MUSTUSE;
int report_evaluation(struct report *r, int64_t step, const struct corpus *c,
                      const struct evaluation *e, struct bt_err *err) BT_MUSTUSE;
/* A line for people; ends a progress bar first. */
void report_say(struct report *r, const char *fmt, ...) BT_PRINTF(2, 3);

/* The loss curve as a picture of 720 by 400. */
void report_svg(const struct report *r, const char *title, struct bt_buf *to);

#endif
