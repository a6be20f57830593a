/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/node.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/account.h"
#include "agent/courier.h"
#include "agent/dir.h"
#include "agent/handover.h"
#include "agent/layout.h"
#include "agent/measure.h"
#include "agent/renew.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

enum {
    RETRY_BASE_US = 100000,
    RETRY_LIMIT_US = 20000000,
    FINISHED = 64,
    ATTEMPTS_MAX = 256,
    SWEEP_S = 86400,
    MEASURE_WITHIN_S = 600, /* of the first time; later ones follow by themselves at other times */
};

struct node {
    const struct settings *set;
    const struct node_plan *plan;
    const struct link_maker *maker;
    struct link *link;
    char *attempts; /* <state>/attempts */
    struct starts *starts;
    struct courier *couriers[ATTEMPTS_MAX];
    int n_couriers;
    struct attempt_id finished[FINISHED]; /* lately: the daemon's list may lag behind its answer */
    int n_finished;
    int64_t seq;
    struct known known;
    int64_t heartbeat_due_us;
    int64_t sweep_due_us;
    struct measure *measure; /* that runs; NULL: none */
    struct trial trial;
    struct renewal renewal;
    int64_t measure_due_us;
    int failures;
    bool asked_to_measure, measure_disturbed;
    bool registered;
    bool daemon_is_here; /* on this machine: it cannot be cut off from us */
};

void node_plan_done(struct node_plan *p)
{
    bt_free(p->inventory);
    *p = (struct node_plan){0};
}

static bool same_id(const struct attempt_id *a, const struct attempt_id *b)
{
    return bt_uuid_eq(a->job, b->job) && a->attempt == b->attempt;
}

static struct courier *courier_of(struct node *n, const struct attempt_id *id)
{
    for (int i = 0; i < n->n_couriers; i++)
        if (same_id(&n->couriers[i]->id, id))
            return n->couriers[i];
    return NULL;
}

static bool has_finished(const struct node *n, const struct attempt_id *id)
{
    for (int i = 0; i < FINISHED; i++)
        if (same_id(&n->finished[i], id))
            return true;
    return false;
}

static void drop_finished(struct node *n)
{
    for (int i = 0; i < n->n_couriers;) {
        if (!atomic_load(&n->couriers[i]->over)) {
            i++;
            continue;
        }
        if (access(n->couriers[i]->dir, F_OK) < 0) /* else it could not even begin */
            n->finished[n->n_finished++ % FINISHED] = n->couriers[i]->id;
        courier_free(n->couriers[i]);
        n->couriers[i] = n->couriers[--n->n_couriers];
    }
}

static void warn_attempt(const char *event, const struct attempt_id *id, const struct bt_err *e)
{
    char name[SPOOL_NAME_MAX];

    bt_log(BT_WARN, event, "attempt", spool_name(id->job, id->attempt, name), "code",
           bt_err_name(e->code), "text", e->text, NULL);
}

static void send_out(struct node *n, const struct attempt_id *id)
{
    char name[SPOOL_NAME_MAX];
    BT_AUTO char *dir = bt_printf("%s/%s", n->attempts, spool_name(id->job, id->attempt, name));
    const struct keep keep = {.dir = n->set->blob_dir, .from = n->set->blob_from};
    struct bt_err e = {0};

    if (n->n_couriers == ATTEMPTS_MAX || courier_of(n, id))
        return;
    if (courier_start(id, dir, n->maker, n->starts, &keep, &n->couriers[n->n_couriers], &e) < 0)
        warn_attempt("courier_failed", id, &e);
    else
        n->n_couriers++;
}

/* ---- the lease ---- */

/* Shepherds read when the daemon last answered us; boot time goes on while the machine sleeps. */
static void write_contact(struct node *n, int64_t boot_us)
{
    BT_AUTO char *path = bt_printf("%s/contact", n->attempts);
    BT_FD_AUTO int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    char text[24];
    int len = snprintf(text, sizeof text, "%020lld\n", (long long)boot_us);

    if (fd < 0 || pwrite(fd, text, (size_t)len, 0) < 0)
        bt_log(BT_WARN, "contact_not_written", "path", path, NULL);
}

static int64_t boot_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_BOOTTIME, &t);
    return t.tv_sec * BT_US_PER_S + t.tv_nsec / 1000;
}

/* ---- what the daemon hears ---- */

static int say_hello(struct node *n, struct bt_err *err)
{
    struct node_facts facts = {.node = n->plan->node,
                               .class = n->plan->class,
                               .accelerators = n->plan->accelerators,
                               .boot_id = n->plan->boot_id,
                               .inventory = n->plan->inventory,
                               .known = n->known.mark,
                               .pod = n->set->pod,
                               .leaf = n->set->leaf};
    int rc = api_register(n->link, &facts, err);

    if (rc == 0) {
        n->registered = true;
        n->heartbeat_due_us = 0;
        bt_log(BT_INFO, "registered", "node", n->plan->node, "class", n->plan->class, NULL);
    }
    return rc;
}

/* When the job last wrote to its checkpoint folder: what a stop would cost is counted from there.
 */
static int64_t checkpoint_us(const struct node *n, const struct attempt_id *id)
{
    char job[BT_UUID_TEXT];
    BT_AUTO char *path =
        bt_printf("%s/work/%s.checkpoint", n->set->state_dir, bt_uuid_format(id->job, job));
    struct stat st;

    return lstat(path, &st) < 0 ? 0 : st.st_mtim.tv_sec * BT_US_PER_S + st.st_mtim.tv_nsec / 1000;
}

static int say_alive(struct node *n, struct bt_err *err)
{
    struct live live[ATTEMPTS_MAX];
    int64_t sent_us = boot_us();
    size_t n_live = 0;

    for (int i = 0; i < n->n_couriers; i++)
        if (atomic_load(&n->couriers[i]->counts))
            live[n_live++] =
                (struct live){n->couriers[i]->id, checkpoint_us(n, &n->couriers[i]->id)};
    n->asked_to_measure = false;
    int rc = api_heartbeat(n->link, n->plan->node, live, n_live, &n->asked_to_measure, err);
    if (rc == 0) {
        n->heartbeat_due_us = bt_mono_us() + HEARTBEAT_S * BT_US_PER_S;
        write_contact(n, sent_us);
    }
    if (rc == -BT_ERR_NOT_FOUND)
        n->registered = false;
    return rc;
}

/* ---- what the node measures of itself ---- */

static void measure_later(struct node *n, int64_t within_s)
{
    n->measure_due_us = bt_mono_us() + within_s * BT_US_PER_S;
}

/* A job that came meanwhile has disturbed it: again when the node is idle. */
static int say_measured(struct node *n, struct bt_err *err)
{
    bool disturbed = n->measure_disturbed;
    struct bt_err e = {0};
    int64_t mbs = 0;
    int rc = measure_end(n->measure, &mbs, NULL, &e);

    n->measure = NULL;
    if (rc < 0 && !disturbed) {
        bt_log_err(BT_WARN, "not_measured", &e);
        measure_later(n, n->set->measure_every);
        return 0;
    }
    measure_later(n, disturbed ? 1 : n->set->measure_every);
    if (disturbed)
        return 0;
    n->asked_to_measure = false;
    rc = api_measured(n->link, n->plan->node, mbs, err);
    if (rc < 0) /* it is measured again */
        measure_later(n, 1);
    return api_is_final(rc) ? 0 : rc;
}

/* One at a time, and only while no attempt is here. */
static int look_after_measure(struct node *n, struct bt_err *err)
{
    bool due = n->asked_to_measure || (n->set->measure_every && bt_mono_us() >= n->measure_due_us);
    struct bt_err e = {0};

    if (n->measure) {
        n->measure_disturbed |= n->n_couriers > 0 || n->trial.part.id;
        if (n->trial.part.id) /* others wait for this node */
            measure_stop(n->measure);
        return measure_over(n->measure) ? say_measured(n, err) : 0;
    }
    if (!due || n->n_couriers || n->trial.part.id || n->plan->accelerators < 2)
        return 0;
    n->measure_disturbed = false;
    if (measure_start(n->set, n->plan, &n->measure, &e) < 0) {
        bt_log_err(BT_WARN, "not_measured", &e);
        measure_later(n, SWEEP_S);
    }
    return 0;
}

/* ---- wants ---- */

static int take_up(struct node *n, const struct want_item *w, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf spec = {0};
    struct order o;
    struct account a;
    int rc = order_make(w, n->plan, n->set, &o, err);

    if (rc == 0 && w->document)
        bt_buf_str(&spec, w->document);
    else if (rc == 0)
        rc = api_spec(n->link, w->id.job, &spec, err);
    if (rc == 0 && o.slurm)
        rc = account_find(o.user, &a, err);
    if (rc == 0 && o.slurm)
        rc = handover_home(&o, &a, err);
    if (rc == 0)
        rc = spool_make(n->attempts, &o, bt_buf_text(&spec), spec.n, o.slurm ? &a : NULL, err);
    if (rc == 0 && o.slurm)
        handover_turn(n->attempts);
    return rc == -BT_ERR_CONFLICT ? 0 : rc; /* it is here: its courier was missing */
}

/* An attempt that we know nothing of shall stop: nothing of it runs here. */
static int deny(struct node *n, const struct attempt_id *id, struct bt_err *err)
{
    struct verdict v = {.reason = "lost", .text = "this node's agent knows nothing of the attempt"};
    int rc = api_ended(n->link, id, &v, NULL, NULL, err);

    return api_is_final(rc) ? 0 : rc;
}

static int obey(struct node *n, const struct want_item *w, struct bt_err *err)
{
    struct courier *c = courier_of(n, &w->id);
    int rc = 0;

    if (has_finished(n, &w->id))
        return 0;
    if (w->action == ITEM_RUN && !c) {
        rc = take_up(n, w, err);
        if (rc == 0)
            send_out(n, &w->id);
    } else if (w->action == ITEM_STOP && c) {
        rc = courier_tell(c, "stop", err);
    } else if (w->action == ITEM_STOP) {
        rc = deny(n, &w->id, err);
    } else if (w->action == ITEM_GONE && c) {
        rc = courier_tell(c, "gone", err);
    }
    return rc;
}

static bool is_wanted(const struct want_item *items, size_t n, const struct attempt_id *id)
{
    for (size_t i = 0; i < n; i++)
        if (same_id(&items[i].id, id))
            return true;
    return false;
}

/* Makes what runs here match the list. Errors are said and met again with the next list; the
 * worst of them is returned so that it comes soon. */
static int reconcile(struct node *n, const struct want_item *items, size_t n_items)
{
    struct bt_err e = {0};
    int worst = 0;

    for (size_t i = 0; i < n_items; i++) {
        int rc = obey(n, &items[i], &e);

        if (rc < 0) {
            warn_attempt("want_failed", &items[i].id, &e);
            worst = rc;
        }
    }
    for (int i = 0; i < n->n_couriers; i++) {
        struct courier *c = n->couriers[i];

        if (!is_wanted(items, n_items, &c->id) && courier_tell(c, "gone", &e) < 0)
            warn_attempt("spool_failed", &c->id, &e);
    }
    return worst;
}

#define WANTS_AUTO BT_CLEANUP(wants_done)

/* One long poll, no longer than until the next heartbeat. */
static int listen_for_wants(struct node *n, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    WANTS_AUTO struct wants w = {0};
    bool soon = n->measure || trial_is_on(&n->trial);
    int64_t left_s = soon ? 1 : (n->heartbeat_due_us - bt_mono_us()) / BT_US_PER_S;
    int rc = api_wants(n->link, n->seq, (int)BT_MAX(1, BT_MIN(left_s, POLL_S)), n->known.mark,
                       &text, err);

    if (rc < 0 || text.n == 0)
        return rc;
    rc = wants_parse(text.p, text.n, &w, err);
    if (rc == 0 && *w.known)
        rc = known_learn(&n->known, w.known, err); /* before anything is done about it */
    if (rc == 0)
        starts_allow(n->starts, w.takes_started);
    drop_finished(n);
    if (rc < 0 || w.seq == n->seq)
        return rc;
    trial_told(&n->trial, &w.trial);
    if (reconcile(n, w.items, w.n) < 0)
        return bt_fail(err, BT_ERR_BUSY, "some wants could not be met yet");
    n->seq = w.seq;
    return 0;
}

/* ---- start ---- */

/* One agent a state folder. A record lock, for a child that is being started would share a flock
 * and outlive us for a moment; the descriptor stays open until the process ends. */
static int lock_state(const char *state_dir, struct bt_err *err)
{
    BT_AUTO char *path = bt_printf("%s/agent.lock", state_dir);
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot open %s", path);
    if (fcntl(fd, F_SETLK, &l) == 0)
        return 0;
    close(fd);
    return bt_next(err, bt_fail(err, BT_ERR_LOCKED, "another agent runs on %s", state_dir),
                   "stop it, or give this one its own state_dir");
}

static int make_folders(const struct settings *set, const char *attempts, struct bt_err *err)
{
    BT_AUTO char *work = bt_printf("%s/work", set->state_dir);
    int rc = bt_mkdirs(set->state_dir, 0711, err);

    if (rc == 0)
        rc = bt_mkdirs(attempts, 0700, err);
    if (rc == 0)
        rc = bt_mkdirs(work, 0711, err);
    if (rc == 0 && (chmod(set->state_dir, 0711) < 0 || chmod(work, 0711) < 0))
        rc = bt_fail_errno(err, BT_ERR_IO, "cannot open %s to its users", set->state_dir);
    return rc;
}

/* A courier for each attempt that an earlier agent left. */
static int find_attempts(struct node *n, struct bt_err *err)
{
    DIR *dir = opendir(n->attempts);
    struct dirent *e;
    struct attempt_id id;

    if (!dir)
        return bt_fail_errno(err, BT_ERR_IO, "cannot list %s", n->attempts);
    while ((e = dir_next(dir))) {
        if (spool_name_parse(e->d_name, &id.job, &id.attempt) == 0) {
            send_out(n, &id);
        } else if (bt_starts(e->d_name, "new.") || /* it was never ordered whole */
                   bt_starts(e->d_name, "old.")) { /* it was not removed whole */
            BT_AUTO char *path = bt_printf("%s/%s", n->attempts, e->d_name);
            int rc = bt_remove_tree(path, err);

            if (rc < 0) {
                closedir(dir);
                return rc;
            }
        }
    }
    closedir(dir);
    return 0;
}

static bool has_attempt_of(const struct node *n, const char *checkpoint)
{
    char id[BT_UUID_TEXT];

    for (int i = 0; i < n->n_couriers; i++)
        if (bt_starts(checkpoint, bt_uuid_format(n->couriers[i]->id.job, id)))
            return true;
    return false;
}

/* Checkpoints survive attempts; nobody tells us when the last one was. Once a day. */
static void sweep_checkpoints(struct node *n)
{
    const struct settings *set = n->set;
    BT_AUTO char *work = bt_printf("%s/work", set->state_dir);
    int64_t now_s = bt_now_us() / BT_US_PER_S;
    DIR *dir = set->keep_checkpoints ? opendir(work) : NULL;
    struct dirent *e;
    struct stat st;

    while (dir && (e = dir_next(dir))) {
        BT_AUTO char *path = bt_printf("%s/%s", work, e->d_name);
        struct bt_err err = {0};
        struct account a;
        char uid[16];

        if (!bt_ends(e->d_name, ".checkpoint") || has_attempt_of(n, e->d_name) ||
            lstat(path, &st) < 0 || now_s - st.st_mtim.tv_sec < SWEEP_S)
            continue;
        if (now_s - st.st_mtim.tv_sec < set->keep_checkpoints) {
            (void)rmdir(path); /* goes only if the job never wrote one */
            continue;
        }
        (void)snprintf(uid, sizeof uid, "%u", st.st_uid);
        if (account_find(uid, &a, &err) < 0 || layout_remove(path, &a, &err) < 0)
            bt_log_err(BT_WARN, "checkpoint_left", &err);
    }
    if (dir)
        closedir(dir);
    n->sweep_due_us = bt_mono_us() + SWEEP_S * BT_US_PER_S;
}

/* Through a relay it is elsewhere, whatever its name. */
static bool is_here(const struct settings *set)
{
    const char *url = set->url;
    const char *host = strstr(url, "://");

    if (set->relay && *set->relay)
        return false;
    host = host ? host + 3 : url;
    return bt_starts(host, "127.") || bt_starts(host, "localhost:") || bt_starts(host, "[::1]");
}

static int begin(struct node *n, struct bt_err *err)
{
    int rc = make_folders(n->set, n->attempts, err);

    if (rc == 0)
        rc = lock_state(n->set->state_dir, err);
    if (rc == 0 && n->set->shepherds)
        rc = handover_open(n->attempts, err);
    if (rc < 0)
        return rc;
    /* Orphans of a killed shepherd come to us; nobody's end is waited for by number. */
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || signal(SIGCHLD, SIG_IGN) == SIG_ERR)
        return bt_fail_errno(err, BT_ERR_IO, "cannot become a subreaper");
    (void)signal(SIGPIPE, SIG_IGN);
    if (n->daemon_is_here) /* else only an answer of the daemon prolongs a lease */
        write_contact(n, boot_us());
    known_load(&n->known, n->set->state_dir);
    rc = n->maker->open(n->maker->arg, &n->link, err);
    return rc < 0 ? rc : find_attempts(n, err);
}

static void fall_back(struct node *n, const struct bt_err *e)
{
    if (n->failures == 0 || n->failures == 8)
        bt_log_err(BT_WARN, "daemon_not_reached", e);
    if (n->daemon_is_here)
        write_contact(n, boot_us());
    n->heartbeat_due_us = 0; /* a daemon that starts anew shall see us at once */
    (void)poll(NULL, 0, (int)(backoff_us(n->failures++, RETRY_BASE_US, RETRY_LIMIT_US) / 1000));
}

static int ask_for_renewal(void *arg, const struct bt_buf *request, struct bt_buf *ret,
                           struct bt_err *err)
{
    const struct node *n = arg;

    return api_renew(n->link, request, ret, err);
}

static int turn(struct node *n, struct bt_err *err)
{
    int rc = n->registered ? 0 : say_hello(n, err);

    drop_finished(n);
    if (bt_mono_us() >= n->sweep_due_us)
        sweep_checkpoints(n);
    if (rc == 0 && bt_mono_us() >= n->heartbeat_due_us)
        rc = say_alive(n, err);
    if (rc == 0)
        renew_look(&n->renewal, n->set, ask_for_renewal, n);
    if (rc == 0)
        rc = look_after_measure(n, err);
    if (rc == 0 && !n->measure)
        rc = trial_look(&n->trial, n->set, n->link, n->plan->node, n->n_couriers, err);
    return rc < 0 ? rc : listen_for_wants(n, err);
}

int node_run(const struct settings *set, const struct node_plan *plan,
             const struct link_maker *maker, struct bt_err *err)
{
    struct node n = {.set = set,
                     .plan = plan,
                     .maker = maker,
                     .attempts = bt_printf("%s/attempts", set->state_dir),
                     .starts = starts_new(),
                     .seq = -1,
                     .daemon_is_here = is_here(set)};
    int rc = begin(&n, err);

    n.measure_due_us =
        bt_mono_us() +
        backoff_us(30, BT_US_PER_S, BT_MIN(set->measure_every, MEASURE_WITHIN_S) * BT_US_PER_S);
    if (rc < 0) {
        known_done(&n.known);
        starts_free(n.starts);
        bt_free(n.attempts);
        return rc;
    }
    for (;;) {
        struct bt_err e = {0};

        if (turn(&n, &e) < 0) {
            fall_back(&n, &e);
        } else {
            if (n.failures > 1)
                bt_log(BT_INFO, "daemon_reached", NULL);
            n.failures = 0;
        }
    }
}
