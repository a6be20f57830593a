/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/shepherd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/harvest.h"
#include "agent/layout.h"
#include "agent/metrics.h"
#include "agent/shepherd_own.h"
#include "agent/slurm.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"

void shepherd_times(const struct order *o, int64_t *ret_signal_us, int64_t *ret_kill_us)
{
    int64_t walltime_us = o->walltime_s * BT_US_PER_S;
    int64_t grace_us = BT_MIN(o->grace_s * BT_US_PER_S, walltime_us / 2);

    *ret_signal_us = walltime_us - grace_us;
    *ret_kill_us = walltime_us;
}

static void say_status(struct verdict *v)
{
    if (v->signal)
        (void)snprintf(v->text, sizeof v->text, "killed by signal %d (%s)", v->signal,
                       sigabbrev_np(v->signal) ? sigabbrev_np(v->signal) : "unknown");
    else
        (void)snprintf(v->text, sizeof v->text, "exited with status %d", v->exit_code);
}

void shepherd_judge(enum stop_cause cause, int status, bool killed, const struct order *o,
                    struct verdict *ret)
{
    static const char *const reasons[] = {
        [STOP_NONE] = "exited", [STOP_WANTED] = "stopped", [STOP_WALLTIME] = "walltime",
        [STOP_LEASE] = "lost",  [STOP_SHUTDOWN] = "lost",  [STOP_RANK] = "exited",
    };
    struct verdict v = {0};
    bool itself;

    v.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    v.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    v.checkpointed = v.exit_code == EXIT_CHECKPOINTED;
    itself = !killed && WIFEXITED(status) && (v.exit_code == 0 || v.checkpointed);
    bt_copy(v.reason, sizeof v.reason,
            cause == STOP_WALLTIME && itself ? "exited" : reasons[cause]);
    say_status(&v);
    if (bt_streq(v.reason, "walltime"))
        (void)snprintf(v.text, sizeof v.text, "stopped at its walltime of %d s", o->walltime_s);
    if (cause == STOP_LEASE)
        (void)snprintf(v.text, sizeof v.text,
                       "no contact with the facility for %lld s: the ranks were stopped",
                       (long long)o->lease_s);
    if (cause == STOP_SHUTDOWN)
        bt_copy(v.text, sizeof v.text, "the node was shut down: the ranks were stopped");
    *ret = v;
}

/* Whether the job wrote to its checkpoint folder after it was told to stop. */
static bool checkpointed_since(const struct shepherd *s)
{
    struct stat st;

    if (!s->signalled_wall_us || stat(s->places.checkpoint, &st) < 0)
        return false;
    return st.st_mtim.tv_sec * BT_US_PER_S + st.st_mtim.tv_nsec / 1000 >= s->signalled_wall_us;
}

static void judge_run(struct shepherd *s, struct verdict *ret)
{
    int rank = s->first_bad >= 0 ? s->first_bad : 0;
    int status = s->ranks[rank].status;
    char text[sizeof ret->text];
    bool named =
        s->order.nodes > 1 && status && slurm_failed(&s->places, &status, text, sizeof text);

    shepherd_judge(s->cause, status, s->killed, &s->order, ret);
    if (named && bt_streq(ret->reason, "exited"))
        bt_copy(ret->text, sizeof ret->text, text);
    ret->checkpointed |= checkpointed_since(s);
}

/* A start that failed is the facility's fault, and the job may be run again; a program of the job
 * that cannot be run is the job's, as a shell would say it: status 127. */
static void judge_error(struct shepherd *s, const struct bt_err *e, struct verdict *ret)
{
    bool own =
        e->code == BT_ERR_USAGE && (s->spec.kind == JOB_SCRIPT || s->spec.kind == JOB_COMMAND);
    BT_AUTO char *line = bt_printf("beamtime: %s\n", e->text);

    *ret = own ? (struct verdict){.reason = "exited", .exit_code = EXIT_NO_PROGRAM}
               : (struct verdict){.reason = "start-failed"};
    (void)bt_copy(ret->text, sizeof ret->text, e->text);
    stream_add(&s->log_err, line, strlen(line));
}

/* Reads what to run and as whom. */
static int read_orders(struct shepherd *s, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    BT_BUF_AUTO struct bt_buf grant = {0};
    int rc = spool_get(s->dir, "spec.json", SPEC_MAX, &text, err);

    spec_done(&s->spec);
    if (rc == 0)
        rc = spec_parse(text.p, text.n, &s->spec, err);
    if (rc == 0 && spool_has(s->dir, "granted"))
        rc = spool_get(s->dir, "granted", GRANT_MAX, &grant, err);
    if (rc == 0)
        rc = spec_granted(grant.p, grant.n, &s->spec, err);
    if (rc == 0)
        rc = account_find(s->order.user, &s->account, err);
    return rc;
}

/* Slurm may start an attempt twice: whoever came first has it. */
static int is_mine(const struct shepherd *s, const char *me, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf who = {0};
    int rc = spool_get(s->dir, "identity", FOREIGN_MAX, &who, err);

    if (rc < 0 || bt_streq(bt_buf_text(&who), me))
        return rc;
    return bt_fail(err, BT_ERR_FENCED, "%s has this attempt", bt_buf_text(&who));
}

static int write_identity(const struct shepherd *s, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf boot = {0};
    char text[FOREIGN_MAX];
    int rc = bt_file_read("/proc/sys/kernel/random/boot_id", 64, &boot, err);

    if (rc < 0)
        return rc;
    if (slurm_started_us())
        slurm_identity(bt_buf_text(&boot), text);
    else
        (void)snprintf(text, sizeof text, "local:%.36s:%d", boot.p, (int)getpid());
    rc = spool_put(s->dir, "identity", text, err);
    return rc < 0 || !slurm_started_us() ? rc : is_mine(s, text, err);
}

/* Whether to start: the claim was granted and nothing has been withdrawn since. */
static bool await_grant(struct shepherd *s)
{
    for (;;) {
        if (s->cause != STOP_NONE || spool_has(s->dir, "gone"))
            return false;
        if (spool_has(s->dir, "granted"))
            return true;
        shepherd_await(s, INT64_MAX);
    }
}

static int open_logs(struct shepherd *s, struct bt_err *err)
{
    int64_t max = s->order.log_max_bytes;
    int rc = stream_open(&s->log_out, s->dir, "out", max, err);

    if (rc == 0)
        rc = stream_open(&s->log_err, s->dir, "err", max, err);
    if (rc == 0)
        rc = stream_open(&s->log_metrics, s->dir, "metrics", max, err);
    return rc;
}

/* From a granted claim to the verdict. */
static int run_ranks(struct shepherd *s, struct verdict *ret, struct bt_err *err)
{
    struct bt_err e = {0};
    int rc;

    if (spool_has(s->dir, "stop")) {
        *ret = (struct verdict){.reason = "stopped", .text = "stopped before it started"};
        return 0;
    }
    if (read_orders(s, &e) < 0 || shepherd_start(s, &e) < 0) {
        bt_log_err(BT_WARN, "start_failed", &e);
        judge_error(s, &e, ret);
        return 0;
    }
    rc = spool_mark(s->dir, "started", false, err);
    shepherd_watch(s);
    shepherd_kill_rest(s);
    shepherd_drain(s);
    judge_run(s, ret);
    return rc;
}

/* An earlier shepherd was killed while its ranks ran. */
static void bury(struct shepherd *s, struct verdict *ret)
{
    char name[SPOOL_NAME_MAX];

    cage_find(&s->cage, spool_name(s->order.job, s->order.attempt, name));
    shepherd_kill_lost(s);
    *ret = (struct verdict){.reason = "lost",
                            .text = "the attempt's shepherd was killed; its ranks were ended"};
}

/* Everything up to ended.json. Returns 1 when there is nothing to account for. */
static int reach_end(struct shepherd *s, struct bt_err *err)
{
    struct bt_err e = {0};
    struct verdict v;
    int rc = 0;

    if (spool_has(s->dir, "ended.json"))
        return 0;
    if (spool_has(s->dir, "ranks"))
        bury(s, &v);
    else if (await_grant(s))
        rc = run_ranks(s, &v, err);
    else if (spool_has(s->dir, "granted"))
        v = (struct verdict){.reason = "stopped", .text = "stopped before it started"};
    else
        return 1;
    stream_close(&s->log_out);
    stream_close(&s->log_err);
    stream_close(&s->log_metrics);
    if (cage_remove(&s->cage, &e) < 0)
        bt_log_err(BT_DEBUG, "cgroup_busy", &e); /* shepherd_clean comes later */
    if (rc < 0)
        return rc;
    return spool_put_verdict(s->dir, &v, err);
}

static void read_metrics(const struct shepherd *s, char *out)
{
    BT_AUTO char *path = bt_printf("%s/log.metrics", s->dir);
    BT_AUTO char *tail = bt_alloc(1, METRICS_TAIL_BYTES);
    BT_FD_AUTO int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    off_t from = BT_MAX(0, end - METRICS_TAIL_BYTES);
    ssize_t n = fd < 0 ? 0 : pread(fd, tail, (size_t)(end - from), from);

    metrics_last(tail, n < 0 ? 0 : (size_t)n, out);
}

/* Says in the job's own error log what is not published. */
static void say_skipped(const struct shepherd *s, const struct harvest *h)
{
    struct stream log;
    BT_BUF_AUTO struct bt_buf b = {0};

    if (!h->n_skipped || stream_open(&log, s->dir, "err", s->order.log_max_bytes, NULL) < 0)
        return;
    bt_buf_printf(&b, "[beamtime: %lld of the output's files are not published]\n",
                  (long long)h->n_skipped);
    bt_buf_add(&b, bt_buf_text(&h->skipped), h->skipped.n);
    stream_add(&log, b.p, b.n);
    stream_close(&log);
}

/* The manifest of whatever lies under $BEAM_OUTPUT. */
static int gather(struct shepherd *s, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    struct harvest h = {0};
    struct yield y = {0};
    struct tree_hash root;
    struct bt_err e = {0};

    if (*s->account.name == '\0' && read_orders(s, &e) < 0)
        y.incomplete = false; /* nothing could run: there is no output */
    else if (harvest_take(s->places.output, s->account.uid, &s->spec, &h, &e) < 0) {
        bt_log_err(BT_ERROR, "output_unreadable", &e);
        y.incomplete = true;
    }
    manifest_text(&h.files, &text);
    manifest_root(&h.files, &root);
    bt_sha256(bt_buf_text(&text), text.n, y.sha256);
    memcpy(y.root, root.b, sizeof y.root);
    y.files = (int64_t)h.files.n;
    y.bytes = h.files.bytes;
    y.uid = s->account.uid;
    y.incomplete |= h.incomplete;
    read_metrics(s, y.metrics);
    say_skipped(s, &h);
    harvest_done(&h);
    return spool_put_yield(s->dir, &y, &text, err);
}

static void done(struct shepherd *s)
{
    stream_close(&s->log_out);
    stream_close(&s->log_err);
    stream_close(&s->log_metrics);
    spec_done(&s->spec);
    if (s->inotify >= 0)
        close(s->inotify);
    if (s->signals >= 0)
        close(s->signals);
    if (s->metrics >= 0)
        close(s->metrics);
}

int shepherd_run(const char *dir, struct bt_err *err)
{
    struct shepherd s = {.dir = dir,
                         .inotify = -1,
                         .signals = -1,
                         .out = -1,
                         .err = -1,
                         .metrics = -1,
                         .first_bad = -1,
                         .log_out.fd = -1,
                         .log_err.fd = -1,
                         .log_metrics.fd = -1};
    int rc = slurm_started_us() ? slurm_await_folder(dir, err) : 0;

    if (rc == 0)
        rc = spool_lock(dir, err);
    if (rc == 0)
        rc = spool_order(dir, &s.order, err);
    if (rc == 0 && prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        rc = bt_fail_errno(err, BT_ERR_IO, "cannot become a subreaper");
    if (rc == 0)
        rc = shepherd_listen(&s, err);
    if (rc == 0 && !spool_has(dir, "ended.json"))
        rc = open_logs(&s, err);
    if (rc == 0)
        rc = write_identity(&s, err);
    if (rc == 0) {
        places_of(&s.order, &s.places);
        rc = reach_end(&s, err);
    }
    if (rc == 0 && !spool_has(dir, "manifest.json"))
        rc = gather(&s, err);
    done(&s);
    return rc < 0 ? rc : 0;
}

/* What lies outside the home. */
static int clean_around(const struct order *o, const struct places *p, struct bt_err *err)
{
    BT_AUTO char *secret = bt_printf("%s.secret", p->home);
    struct cage cage;
    char name[SPOOL_NAME_MAX];

    (void)unlink(secret);
    cage_find(&cage, spool_name(o->job, o->attempt, name));
    return cage_remove(&cage, err);
}

bool shepherd_clean_bare(const char *dir)
{
    struct order o;
    struct places p;

    if (spool_order(dir, &o, NULL) < 0)
        return false;
    places_of(&o, &p);
    return clean_around(&o, &p, NULL) == 0 && layout_remove_bare(&p);
}

int shepherd_clean(const char *dir, struct bt_err *err)
{
    struct order o;
    struct places p;
    struct account a;
    struct bt_err e = {0};
    int rc = spool_order(dir, &o, err);

    if (rc < 0)
        return rc;
    places_of(&o, &p);
    if (clean_around(&o, &p, &e) < 0) /* it stayed if something killed was not reaped yet */
        bt_log_err(BT_WARN, "cgroup_left", &e);
    if (access(p.home, F_OK) < 0)
        return 0;
    rc = account_find(o.user, &a, err);
    return rc < 0 ? rc : layout_remove(p.home, &a, err);
}
