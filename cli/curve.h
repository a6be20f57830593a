/* curve.h - training metrics for people: their lines read, a progress bar, a curve of characters.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A line of the metrics stream is a JSON object; of its members these are used: step, steps,
 * loss, tok_per_s, eta_s. Pure. */
#ifndef BT_CLI_CURVE_H
#define BT_CLI_CURVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"

struct metric {
    int64_t step, steps;
    double loss, tok_per_s, eta_s; /* NaN when the line does not say */
};

/* True if the line is a step of a training with its loss. */
bool metric_read(const char *line, size_t n, struct metric *ret);

/* Appends "  bits/byte held out: cs 4.48 · de 4.40 · … (35 languages, mean 3.80)" and LF if the
 * line is an evaluation, with at most `most` languages named; false if it is none. */
bool metric_evaluation(const char *line, size_t n, int most, struct bt_buf *to);

/* "train   ████░░  332/400  loss 1.93  3,912 tok/s  ETA 6 s", at most `columns` wide. */
void progress_bar(const struct metric *m, int columns, struct bt_buf *to);
/* The same without the bar: a line for a log. */
void progress_line(const struct metric *m, struct bt_buf *to);

/* Losses in order, kept at full length; plotted from averages of neighbours. */
struct curve {
    double *v;
    size_t n, cap;
};

void curve_add(struct curve *c, double loss); /* NaN and infinities are left out */
/* `height` lines of `width` columns behind an axis of labels, each line indented by two. Nothing
 * for fewer than two points. */
void curve_draw(const struct curve *c, int width, int height, struct bt_buf *to);
void curve_done(struct curve *c);

/* Cuts a stream that comes in pieces into lines; `tail` keeps the unfinished one. Lines beyond
 * 64 KiB are dropped. */
struct lines {
    struct bt_buf tail;
    bool skipping;
};

void lines_feed(struct lines *l, const char *p, size_t n,
                void (*each)(void *arg, const char *line, size_t n), void *arg);
void lines_done(struct lines *l);

#endif
