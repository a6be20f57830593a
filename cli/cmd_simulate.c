/* cmd_simulate.c - what a quota would have changed: the facility's own history, replayed by
 * beamtime-sim with and without the jobs that the quota would have refused.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "cli/out.h"
#include "cli/text.h"
#include "lib/api/limits.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

enum { HISTORY_MAX = 200000, PROGRAM_MAX = 4096 };

struct past {
    int64_t submit_us, start_us, end_us, walltime_s, acc, charged_mras;
    int64_t hold_mras; /* of one that waits; 0: it ran */
    char nation[16];
    bool mine;    /* counts against the account */
    bool refused; /* by the new quota */
};

struct history {
    struct past *v;
    uint32_t n, cap, waiting;
};

/* ---- what was: newest first, as the facility lists it ---- */

static bool counts_for(const struct quota_who *who, const struct json *j)
{
    return bt_streq(who->nation, out_str(j, "nation")) &&
           (!*who->project || bt_streq(who->project, out_str(j, "project"))) &&
           (!*who->person || bt_streq(who->person, out_str(j, "person")));
}

static void take_job(struct history *h, const struct quota_who *who, const struct json *j,
                     int64_t now_us)
{
    struct past p = {.submit_us = out_when(j, "submitted_at"),
                     .start_us = out_when(j, "started_at"),
                     .end_us = out_when(j, "ended_at"),
                     .walltime_s = json_i64(json_get(j, "walltime_s"), 0),
                     .acc = json_i64(json_get(j, "accelerators"), 0),
                     .charged_mras = out_mras(j, "charged_mras"),
                     .mine = counts_for(who, j)};

    if (!p.start_us && p.end_us)
        return; /* it never ran: nothing is known of its length */
    if (!p.start_us) {
        if (!bt_streq(out_str(j, "state"), "queued") &&
            !bt_streq(out_str(j, "reason"), "dependency"))
            return; /* held: nobody knows until when */
        p.start_us = BT_MAX(out_when(j, "start_at"), now_us);
        p.end_us = p.start_us + p.walltime_s * BT_US_PER_S;
        p.hold_mras = out_mras(j, "hold_mras");
        h->waiting++;
    } else if (!p.end_us)
        p.end_us = BT_MAX(now_us, p.start_us + BT_US_PER_S);
    bt_copy(p.nation, sizeof p.nation, out_str(j, "nation"));
    BT_GROW(h->v, h->n, h->cap);
    h->v[h->n++] = p;
}

static int read_history(struct app *app, const struct quota_who *who, int64_t since_us,
                        struct history *ret, struct bt_err *err)
{
    BT_AUTO char *cursor = NULL;
    int64_t now_us = bt_now_us();

    for (;;) {
        BT_BUF_AUTO struct bt_buf url = {0};
        REPLY_AUTO struct reply page = {0};
        const struct json *items;
        const char *next;
        int rc;

        bt_buf_printf(&url, "/v1/jobs?limit=%d", (int)LIMIT_LIST_MAX);
        url_query(&url, "cursor", cursor);
        rc = app_get(app, bt_buf_text(&url), &page, err);
        if (rc < 0)
            return rc;
        items = json_get(page.json, "items");
        for (size_t i = 0; i < json_len(items); i++) {
            if (out_when(json_at(items, i), "submitted_at") < since_us)
                return 0;
            take_job(ret, who, json_at(items, i), now_us);
        }
        next = json_str(json_get(page.json, "next"), NULL);
        if (!next || ret->n > HISTORY_MAX)
            return 0;
        bt_free(cursor);
        cursor = bt_strdup(next);
    }
}

/* ---- what the account would have allowed ---- */

/* The hold that the job took: its charge, drawn out to its walltime. */
static int64_t hold_of(const struct past *p)
{
    if (p->hold_mras)
        return p->hold_mras;
    double seconds = (double)(p->end_us - p->start_us) / BT_US_PER_S;
    double rate = p->charged_mras > 0 && seconds > 1
                      ? (double)p->charged_mras / (seconds * (double)p->acc)
                      : 1000;

    return (int64_t)(rate * (double)p->acc * (double)p->walltime_s);
}

/* Marks what a grant would have refused: at its submission the holds of what had not ended, what
 * had ended and its own hold were more than that. `spent` is what was spent before the period. */
static uint32_t mark_refused(struct history *h, int64_t granted, int64_t spent)
{
    BT_AUTO uint32_t *open = bt_new_n(uint32_t, (size_t)h->n + 1); /* accepted, not ended yet */
    uint32_t refused = 0, n_open = 0;
    int64_t held = 0;

    for (uint32_t i = h->n; i-- > 0;) { /* the oldest is the last */
        struct past *p = &h->v[i];
        uint32_t kept = 0;

        if (!p->mine)
            continue;
        for (uint32_t k = 0; k < n_open; k++) {
            const struct past *o = &h->v[open[k]];

            if (o->end_us <= p->submit_us) {
                held -= hold_of(o);
                spent += o->charged_mras;
            } else {
                open[kept++] = open[k];
            }
        }
        n_open = kept;
        p->refused = spent + held + hold_of(p) > granted;
        refused += p->refused;
        if (!p->refused) {
            held += hold_of(p);
            open[n_open++] = i;
        }
    }
    return refused;
}

/* ---- the replay ---- */

static int write_trace(const struct history *h, bool all, const char *path, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf to = {0};
    int64_t first = h->n ? h->v[h->n - 1].submit_us : 0;

    bt_buf_str(&to, "submit_s,duration_s,requested_s,accelerators,user,group,status\n");
    for (uint32_t i = h->n; i-- > 0;) {
        const struct past *p = &h->v[i];

        if (all || !p->refused)
            bt_buf_printf(&to, "%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%s,%s,COMPLETED\n",
                          (p->submit_us - first) / BT_US_PER_S,
                          BT_MAX((p->end_us - p->start_us) / BT_US_PER_S, 1), p->walltime_s, p->acc,
                          p->nation, p->nation);
    }
    return bt_file_write(path, 0600, to.p, to.n, err);
}

/* Beside this program, in the build's folder, or wherever PATH finds it. */
static void find_program(char to[PROGRAM_MAX])
{
    static const char *const at[] = {"/beamtime-sim", "/../daemon/sim/beamtime-sim"};
    char self[PROGRAM_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash;

    self[BT_MAX(n, 0)] = '\0';
    slash = strrchr(self, '/');
    for (size_t i = 0; slash && i < BT_ARRAY_LEN(at); i++) {
        snprintf(to, PROGRAM_MAX, "%.*s%s", (int)(slash - self), self, at[i]);
        if (access(to, X_OK) == 0)
            return;
    }
    bt_copy(to, PROGRAM_MAX, "beamtime-sim");
}

static int read_all(int fd, struct bt_buf *to)
{
    char part[4096];
    ssize_t n;

    to->max = LIMIT_BODY_BYTES;
    while ((n = read(fd, part, sizeof part)) > 0 || (n < 0 && errno == EINTR))
        if (n > 0)
            bt_buf_add(to, part, (size_t)n);
    return n < 0 || to->over ? -1 : 0;
}

static int replay(const char *trace, int64_t accelerators, struct json **ret, struct bt_err *err)
{
    char program[PROGRAM_MAX];
    BT_AUTO char *number = bt_printf("%" PRId64, accelerators);
    BT_AUTO char *file = bt_strdup(trace);
    char flags[4][16] = {"--no-topology", "--fair-share", "--json", "beamtime"};
    char names[3][16] = {"--accelerators", "--policy", "--trace"}; /* execve may write them */
    char *argv[] = {program, names[0], number,   names[1], flags[3], names[2],
                    file,    flags[0], flags[1], flags[2], NULL};
    BT_BUF_AUTO struct bt_buf out = {0};
    posix_spawn_file_actions_t files;
    int pipe_fd[2], status = -1, rc;
    pid_t pid;

    find_program(program);
    if (pipe2(pipe_fd, O_CLOEXEC) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot make a pipe");
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, pipe_fd[1], 1);
    rc = posix_spawnp(&pid, program, &files, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    close(pipe_fd[1]);
    if (rc == 0) {
        rc = read_all(pipe_fd[0], &out);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    }
    close(pipe_fd[0]);
    if (rc || status || json_parse(bt_buf_text(&out), out.n, LIMIT_BODY_BYTES, ret, err) < 0)
        return bt_next(err, bt_fail(err, BT_ERR_IO, "%s could not replay the history", program),
                       "install beamtime-sim beside beamtime");
    return 0;
}

static int64_t accelerators_up(struct app *app, struct bt_err *err)
{
    REPLY_AUTO struct reply groups = {0};
    const struct json *items;
    int64_t n = 0;

    if (app_get(app, "/v1/nodes?by=state", &groups, err) < 0)
        return -1;
    items = json_get(groups.json, "items");
    for (size_t i = 0; i < json_len(items); i++)
        if (!bt_streq(out_str(json_at(items, i), "state"), "down"))
            n += json_i64(json_get(json_at(items, i), "accelerators"), 0);
    if (n == 0)
        bt_fail(err, BT_ERR_NOT_FOUND, "no node is there to run anything");
    return n ? n : -1;
}

/* ---- what comes out ---- */

static const struct json *nation_in(const struct json *replayed, const char *name)
{
    const struct json *list = json_get(replayed, "nations");

    for (size_t i = 0; i < json_len(list); i++)
        if (bt_streq(out_str(json_at(list, i), "name"), name))
            return json_at(list, i);
    return NULL;
}

static void tell(const struct json *now, const struct json *then, uint32_t refused,
                 uint32_t waiting)
{
    const struct json *list = json_get(now, "nations");
    char a[TEXT_MAX], b[TEXT_MAX];

    printf("  of %" PRId64 " jobs that ran in the period %s%" PRIu32 " would have been refused\n",
           json_i64(json_get(now, "jobs"), 0), waiting ? "or wait " : "", refused);
    if (waiting)
        printf("  (%" PRIu32 " wait: they are taken to run to their time limits)\n", waiting);
    printf("  %-16s %10s %10s %14s %14s\n", "NATION", "JOBS", "THEN", "MEAN WAIT", "THEN");
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *n = json_at(list, i), *t = nation_in(then, out_str(n, "name"));

        printf("  %-16s %10" PRId64 " %10" PRId64 " %14s %14s\n", out_str(n, "name"),
               json_i64(json_get(n, "jobs"), 0), json_i64(json_get(t, "jobs"), 0),
               text_duration(json_i64(json_get(n, "mean_wait_s"), 0), a),
               text_duration(json_i64(json_get(t, "mean_wait_s"), 0), b));
    }
    printf("  %-16s %10" PRId64 " %10" PRId64 " %14s %14s\n", "all",
           json_i64(json_get(now, "jobs"), 0), json_i64(json_get(then, "jobs"), 0),
           text_duration((int64_t)json_f64(json_get(now, "mean_wait_s"), 0), a),
           text_duration((int64_t)json_f64(json_get(then, "mean_wait_s"), 0), b));
    printf("  not seen: jobs that were refused, that are held by people, or that nobody submitted\n"
           "  for want of quota; nodes that were down; guarantees and reservations\n");
}

static int replay_both(struct app *app, struct history *h, uint32_t refused, const char *dir,
                       struct bt_err *err)
{
    BT_AUTO char *was = bt_printf("%s/now.csv", dir);
    BT_AUTO char *would = bt_printf("%s/then.csv", dir);
    JSON_AUTO struct json *now = NULL;
    JSON_AUTO struct json *then = NULL;
    int64_t n = accelerators_up(app, err);
    int rc = n < 0 ? -(int)err->code : write_trace(h, true, was, err);

    rc = rc < 0 ? rc : write_trace(h, false, would, err);
    rc = rc < 0 ? rc : replay(was, n, &now, err);
    if (rc >= 0 && refused < h->n)
        rc = replay(would, n, &then, err);
    unlink(was);
    unlink(would);
    if (rc >= 0)
        tell(now, then, refused, h->waiting);
    return rc;
}

int quota_simulate(struct app *app, const struct quota_who *who, const struct json *change,
                   int64_t since_us, struct bt_err *err)
{
    char dir[] = "/tmp/beamtime-simulate.XXXXXX";
    int64_t spent = out_mras(json_get(change, "before"), "spent_mras");
    struct history h = {0};
    uint32_t refused;
    int rc = read_history(app, who, since_us, &h, err);

    for (uint32_t i = 0; i < h.n; i++)
        spent -= h.v[i].mine ? h.v[i].charged_mras : 0;
    refused =
        mark_refused(&h, out_mras(json_get(change, "after"), "granted_mras"), BT_MAX(spent, 0));
    if (rc >= 0 && h.n == 0)
        app_note(app, "no job ran in the period: there is nothing to replay");
    else if (rc >= 0 && !mkdtemp(dir))
        rc = bt_fail_errno(err, BT_ERR_IO, "cannot make a folder in /tmp");
    else if (rc >= 0) {
        rc = replay_both(app, &h, refused, dir, err);
        rmdir(dir);
    }
    bt_free(h.v);
    return rc;
}
