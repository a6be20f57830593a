/* report.c - figures of a replay.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/sim/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/attr.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"

enum { BSLD_FLOOR_S = 10, PLOT_W = 960, PLOT_H = 240 };

struct figures {
    uint32_t jobs;
    double mean, median, p95, bsld, utilisation, allocation, kept, plan_error, fragmentation,
        fairness;
    uint32_t promised, late, moved;
};

static int by_value(const void *x, const void *y)
{
    int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    return (a > b) - (a < b);
}

/* Waits, slowdown and use over the time from the first submission to the last end. */
static void waits(const struct sim *s, struct figures *f)
{
    int64_t *wait BT_AUTO = bt_new_n(int64_t, s->n_jobs + 1);
    double sum = 0, slow = 0, held = 0;
    int64_t last = 0;
    for (uint32_t i = 0; i < s->n_jobs; i++) {
        const struct sim_job *j = &s->jobs[i];
        if (j->start_s < 0)
            continue;
        int64_t w = j->start_s - j->submit_s;
        wait[f->jobs++] = w;
        sum += (double)w;
        slow += fmax(1, (double)(w + j->run_s) / (double)BT_MAX(j->run_s, BSLD_FLOOR_S));
        held += (double)j->acc * (double)j->run_s;
        last = BT_MAX(last, j->end_s);
    }
    if (!f->jobs)
        return;
    qsort(wait, f->jobs, sizeof *wait, by_value);
    f->mean = sum / f->jobs;
    uint32_t middle = f->jobs / 2;
    f->median = (double)wait[middle];
    f->p95 = (double)wait[(uint32_t)((double)(f->jobs - 1) * 0.95)];
    f->bsld = slow / f->jobs;
    f->utilisation = last ? 100 * held / ((double)s->capacity * (double)last) : 0;
}

static void promises(const struct sim *s, struct figures *f)
{
    double error = 0;
    for (uint32_t i = 0; i < s->n_jobs; i++) {
        const struct sim_job *j = &s->jobs[i];
        if (j->promise_s < 0 || j->start_s < 0 || j->preempted)
            continue;
        f->promised++;
        f->moved += j->moved != 0;
        f->late += j->start_s > j->promise_s && !j->moved;
        error += fabs((double)(j->start_s - j->first_plan_s));
    }
    f->kept = f->promised ? 100.0 * (f->promised - f->late) / f->promised : 100;
    f->plan_error = f->promised ? error / f->promised : 0;
}

/* The largest relative deviation of a nation with a weight from its share of what was used. */
static void fairness(const struct sim *s, struct figures *f)
{
    double used = 0, weights = 0;
    for (uint32_t i = 0; i < s->n_nations; i++) {
        used += s->nations[i].got;
        weights += (double)s->nations[i].weight;
    }
    for (uint32_t i = 0; used > 0 && i < s->n_nations; i++) {
        double due = used * (double)s->nations[i].weight / weights;
        f->fairness = fmax(f->fairness, fabs(s->nations[i].got - due) / due);
    }
}

/* Share of time-integrated free accelerators that stood free while a job that small waited. */
static void fragmentation(const struct sim *s, struct figures *f)
{
    double idle = 0, all = 0;
    for (uint32_t i = 0; i + 1 < s->n_samples; i++) {
        double dt = (double)(s->samples[i + 1].at_s - s->samples[i].at_s);
        all += dt * s->capacity;
        if (s->samples[i].pending)
            idle += dt * (s->capacity - s->samples[i].used);
    }
    f->fragmentation = all > 0 ? 100 * idle / all : 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* A name of the trace as JSON text; what would need an escape becomes '?'. */
static void print_name(const char *name)
{
    putchar('"');
    for (const char *p = name; *p; p++)
        putchar(*p == '"' || *p == '\\' || (unsigned char)*p < ' ' ? '?' : *p);
    putchar('"');
}

static void print_nations(const struct sim *s)
{
    printf("\"nations\":[");
    for (uint32_t n = 0; n < s->n_nations; n++) {
        double wait = 0;
        uint32_t jobs = 0;
        for (uint32_t i = 0; i < s->n_jobs; i++) {
            if (s->jobs[i].nation != n || s->jobs[i].start_s < 0)
                continue;
            wait += (double)(s->jobs[i].start_s - s->jobs[i].submit_s);
            jobs++;
        }
        printf("%s{\"name\":", n ? "," : "");
        print_name(s->nations[n].name);
        printf(",\"jobs\":%" PRIu32 ",\"mean_wait_s\":%.0f,\"used_acc_h\":%.0f}", jobs,
               jobs ? wait / jobs : 0, s->nations[n].got / 3600);
    }
    printf("],");
}

static void print_json(const struct sim *s, const struct sim_options *o, const struct sim_result *r,
                       const struct figures *f)
{
    printf("{\"trace\":\"%s\",\"policy\":\"%s\",\"jobs\":%" PRIu32
           ",\"mean_wait_s\":%.0f,\"median_wait_s\":%.0f,\"p95_wait_s\":%.0f,"
           "\"bounded_slowdown\":%.3f,\"utilisation\":%.2f,\"allocation_percent\":%.3f,",
           base_name(o->trace), policy_name(o->policy), f->jobs, f->mean, f->median, f->p95,
           f->bsld, f->utilisation, f->allocation);
    printf("\"promises_kept_percent\":%.3f,\"promises\":%" PRIu32 ",\"promises_moved\":%" PRIu32
           ",\"plan_abs_error_s\":%.0f,\"fragmentation_percent\":%.3f,\"fairness\":%.3f,"
           "\"preemptions\":%" PRIu32 ",\"lost_work_acc_s\":%" PRIu64 ",",
           f->kept, f->promised, f->moved, f->plan_error, f->fragmentation, f->fairness,
           s->preemptions, s->lost_acc_s);
    if (s->n_nations)
        print_nations(s);
    printf("\"plans\":%" PRIu32 ",\"state_bytes\":%zu,\"wall_s\":%.2f}\n", s->passes,
           s->state_bytes, r->wall_s);
}

static void print_text(const struct sim *s, const struct sim_options *o, const struct sim_result *r,
                       const struct figures *f)
{
    printf("%s on %" PRIu32 " accelerators, policy %s: %" PRIu32 " jobs in %.1f s\n",
           base_name(o->trace), s->capacity, policy_name(o->policy), f->jobs, r->wall_s);
    if (r->fill) {
        printf("  allocated             %.2f %%\n", f->allocation);
        return;
    }
    printf("  wait mean/median/p95  %.0f / %.0f / %.0f s\n", f->mean, f->median, f->p95);
    printf("  bounded slowdown      %.2f\n", f->bsld);
    printf("  utilisation           %.1f %%\n", f->utilisation);
    if (f->promised)
        printf("  promises kept         %.2f %% of %" PRIu32 ", %" PRIu32
               " moved for a named cause; the first plan was off by %.0f s on average\n",
               f->kept, f->promised, f->moved, f->plan_error);
    if (s->preemptions)
        printf("  preemptions           %" PRIu32 ", %" PRIu64 " accelerator-seconds lost\n",
               s->preemptions, s->lost_acc_s);
    for (uint32_t i = 0; o->nations && i < s->n_nations; i++)
        printf("  %-20s  guaranteed %" PRId64 ", used %.0f accelerator-hours\n", s->nations[i].name,
               s->nations[i].guaranteed, s->nations[i].got / 3600);
}

static int write_timeline(const struct sim *s, const char *path, struct bt_err *err)
{
    struct bt_buf b BT_BUF_AUTO = {0};
    bt_buf_str(&b, "at_s,used,running,pending,pending_accelerators\n");
    for (uint32_t i = 0; i < s->n_samples; i++) {
        const struct sim_sample *p = &s->samples[i];
        bt_buf_printf(&b, "%" PRId64 ",%" PRIu32 ",%" PRIu32 ",%" PRIu32 ",%" PRIu64 "\n", p->at_s,
                      p->used, p->running, p->pending, p->pending_acc);
    }
    return bt_file_write(path, 0644, b.p, b.n, err);
}

/* One curve: the mean of each column of pixels, y upward from `base`. */
static void curve(const struct sim *s, struct bt_buf *b, bool queue, double top, int base,
                  const char *colour)
{
    double column[PLOT_W] = {0}, weight[PLOT_W] = {0};
    int64_t span = BT_MAX(s->samples[s->n_samples - 1].at_s, 1);
    for (uint32_t i = 0; i + 1 < s->n_samples; i++) {
        double from = (double)s->samples[i].at_s * PLOT_W / (double)span;
        double until = (double)s->samples[i + 1].at_s * PLOT_W / (double)span;
        double v = queue ? (double)s->samples[i].pending_acc : s->samples[i].used;
        for (int x = (int)from; x < PLOT_W && x < until; x++) {
            double w = fmin(until, x + 1) - fmax(from, x);
            column[x] += v * w;
            weight[x] += w;
        }
    }
    bt_buf_printf(b, "<polyline fill=\"none\" stroke=\"%s\" points=\"", colour);
    for (int x = 0; x < PLOT_W; x++)
        if (weight[x] > 0)
            bt_buf_printf(b, "%d,%.1f ", x + 20, base - PLOT_H * column[x] / weight[x] / top);
    bt_buf_str(b, "\"/>\n");
}

static int write_plot(const struct sim *s, const char *path, struct bt_err *err)
{
    struct bt_buf b BT_BUF_AUTO = {0};
    uint64_t most = 1;
    for (uint32_t i = 0; i < s->n_samples; i++)
        most = BT_MAX(most, s->samples[i].pending_acc);
    bt_buf_printf(&b,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
                  "font-family=\"sans-serif\" font-size=\"13\">\n"
                  "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
                  "<text x=\"20\" y=\"16\">accelerators in use, of %" PRIu32 "</text>\n"
                  "<text x=\"20\" y=\"%d\">accelerators waited for, at most %" PRIu64 "</text>\n",
                  PLOT_W + 40, 2 * PLOT_H + 80, s->capacity, PLOT_H + 56, most);
    if (s->n_samples > 1) {
        curve(s, &b, false, s->capacity, PLOT_H + 24, "#1f6f3f");
        curve(s, &b, true, (double)most, 2 * PLOT_H + 64, "#a03020");
    }
    bt_buf_str(&b, "</svg>\n");
    return bt_file_write(path, 0644, b.p, b.n, err);
}

int report(struct sim *s, const struct sim_options *o, const struct sim_result *r,
           struct bt_err *err)
{
    struct figures f = {0};
    waits(s, &f);
    promises(s, &f);
    fairness(s, &f);
    fragmentation(s, &f);
    f.allocation = r->fill ? 100.0 * (double)r->held / s->capacity : f.utilisation;
    if (o->json)
        print_json(s, o, r, &f);
    else
        print_text(s, o, r, &f);
    int rc = o->timeline ? write_timeline(s, o->timeline, err) : 0;
    return rc >= 0 && o->plot ? write_plot(s, o->plot, err) : rc;
}
