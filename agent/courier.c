/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/courier.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/environ.h"
#include "agent/harvest.h"
#include "agent/shepherd.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"
#include "lib/record/manifest.h"

enum {
    RECHECK_US = 1000000,      /* between two looks when nothing was said */
    RETRY_BASE_US = 200000,    /* first try after a failure of the daemon … */
    RETRY_LIMIT_US = 20000000, /* … and the longest wait between tries */
    TRIED_US = 300000,         /* between two claims of a gang that is being tried */
    LOG_GATHER_US = 100000,    /* logs are sent at most so often */
    BRIEF_US = 20000,          /* so long an end waits for the manifest of a job without files */
    LOG_PART = 256 * 1024,     /* of a log in one request */
    LAST_WORDS = 4 * LOG_PART, /* of each log before the end is reported */
    STACK = 512 * 1024,
    STREAMS = 3,
};

static const char *const stream_names[STREAMS] = {"out", "err", "metrics"};

struct trip {
    struct courier *c;
    struct link *link;
    int inotify;
    bool slurm;     /* shepherds are started by Slurm */
    bool keeps_not; /* the site's storage took a file not: no more is tried */
    int64_t sent[STREAMS];
    bool complete[STREAMS]; /* the end of the stream was said */
    bool said_started, said_ended, said_all, fenced;
    int64_t tell_us; /* its start is told by itself then; 0: it is not known yet */
    int failures;    /* of the daemon in a row */
    int starts;      /* of shepherds */
    int64_t next_start_us;
    int64_t next_call_us;
};

/* The manifest of a job that produced nothing: the same blob each time, so sent once until the
 * daemon was away. */
static atomic_bool daemon_has_empty;

int64_t backoff_us(int n, int64_t base_us, int64_t limit_us)
{
    int64_t most = n > 30 ? limit_us : BT_MIN(limit_us, base_us << n);
    uint64_t random;

    bt_random(&random, sizeof random);
    return (int64_t)(random % (uint64_t)(most + 1));
}

/* beamtime-shepherd lies beside this program; where it does not, this program does its work. */
static char *shepherds_program(void)
{
    char self[SPOOL_PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    char *path;

    if (n <= 0)
        return bt_strdup("/proc/self/exe");
    self[n] = '\0';
    path = bt_printf("%.*s/beamtime-shepherd", (int)(strrchr(self, '/') - self), self);
    if (access(path, X_OK) == 0)
        return path;
    bt_free(path);
    return bt_strdup("/proc/self/exe");
}

/* Runs `word` of the shepherd's program on the folder, with nothing of our environment. */
static int spawn(const struct courier *c, const char *word, pid_t *ret, struct bt_err *err)
{
    const char *const argv[] = {"beamtime-shepherd", word, c->dir, NULL};
    const char *const envp[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                "LANG=C.UTF-8", NULL};
    posix_spawnattr_t attr;
    sigset_t all, none;

    sigfillset(&all);
    sigemptyset(&none);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setsigmask(&attr, &none);
    int rc = posix_spawn(ret, c->program, NULL, &attr, (char *const *)(uintptr_t)argv,
                         (char *const *)(uintptr_t)envp);
    posix_spawnattr_destroy(&attr);
    if (rc == 0)
        return 0;
    errno = rc;
    return bt_fail_errno(err, BT_ERR_BUSY, "cannot start %s", c->program);
}

static void name_of(const struct courier *c, char out[SPOOL_NAME_MAX])
{
    spool_name(c->id.job, c->id.attempt, out);
}

static void complain(const struct courier *c, const char *what, const struct bt_err *e)
{
    char name[SPOOL_NAME_MAX];

    name_of(c, name);
    bt_log(BT_WARN, what, "attempt", name, "code", bt_err_name(e->code), "text", e->text, "next",
           e->next, NULL);
}

/* ---- the shepherd ---- */

/* Slurm starts shepherds; one that took the folder and has gone left us its remains. */
static bool may_bury(struct trip *t)
{
    const char *dir = t->c->dir;
    struct bt_err e = {0};

    if (!spool_has(dir, "identity") || !spool_has(dir, "granted"))
        return false;
    if (spool_shepherd(dir)) /* it was coming while we looked */
        return false;
    if (spool_mark(dir, "ranks", true, &e) < 0) { /* so that nothing is started any more */
        complain(t->c, "spool_failed", &e);
        return false;
    }
    return true;
}

static void keep_shepherd(struct trip *t)
{
    struct bt_err e = {0};
    pid_t pid;

    if (spool_has(t->c->dir, "manifest.json") || spool_shepherd(t->c->dir) ||
        bt_mono_us() < t->next_start_us)
        return;
    if (t->slurm && !may_bury(t))
        return;
    /* A fresh one needs a moment to take its lock: hence the wait also after success. */
    t->next_start_us =
        bt_mono_us() + RECHECK_US + backoff_us(t->starts, RETRY_BASE_US, RETRY_LIMIT_US);
    t->starts++;
    if (spawn(t->c, "shepherd", &pid, &e) < 0)
        complain(t->c, "shepherd_not_started", &e);
}

/* What inotify told since it was last asked: the logs grew only, or there is a file to look at. One
 * that has not its name yet is not worth a look. */
enum news { NO_NEWS, LOG_NEWS, FILE_NEWS };

static enum news read_news(const struct trip *t)
{
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    enum news ret = NO_NEWS;
    ssize_t n;

    while (t->inotify >= 0 && (n = read(t->inotify, events, sizeof events)) > 0)
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e = (const void *)(events + at);

            if (e->len && bt_starts(e->name, "log."))
                ret = BT_MAX(ret, LOG_NEWS);
            else if (!(e->mask & IN_MODIFY) && !(e->len && bt_ends(e->name, ".tmp")))
                ret = FILE_NEWS;
            at += (ssize_t)sizeof *e + e->len;
        }
    return ret;
}

/* ---- what the daemon is told ---- */

/* Notes how a verb went: true when it is done, in the sense that it need not be repeated. */
static bool settle(struct trip *t, const char *what, int rc, const struct bt_err *e)
{
    if (rc >= 0) {
        t->failures = 0;
        return true;
    }
    if (api_is_final(rc)) {
        if (rc != -BT_ERR_FENCED)
            complain(t->c, what, e);
        t->fenced = true;
        return true;
    }
    atomic_store(&daemon_has_empty, false);
    if (t->failures == 2 || t->failures == 8) /* the first ones may be a daemon's start */
        complain(t->c, what, e);
    t->next_call_us = bt_mono_us() + backoff_us(t->failures++, RETRY_BASE_US, RETRY_LIMIT_US);
    return false;
}

static void claim(struct trip *t)
{
    BT_BUF_AUTO struct bt_buf id = {0};
    BT_BUF_AUTO struct bt_buf grant = {0};
    struct bt_err e = {0};

    if (spool_get(t->c->dir, "identity", FOREIGN_MAX, &id, &e) < 0)
        return;
    struct start_list along;
    (void)starts_take(t->c->starts, &t->c->id, &along);
    int rc = api_claim(t->link, &t->c->id, bt_buf_text(&id), &along, &grant, &e);
    starts_settle(t->c->starts, &along, rc == 0);
    if (rc == -BT_ERR_PREFLIGHT) { /* no failure of the daemon: its nodes are being tried */
        t->next_call_us = bt_mono_us() + TRIED_US;
        return;
    }
    if (!settle(t, "claim_failed", rc, &e))
        return;
    rc = t->fenced ? spool_mark(t->c->dir, "gone", true, &e)
                   : spool_put_grant(t->c->dir, bt_buf_text(&grant), &e);
    if (rc < 0)
        complain(t->c, "spool_failed", &e);
}

/* By itself, with all others that wait. */
static void say_started(struct trip *t)
{
    struct starts *s = t->c->starts;
    struct start_list list;
    struct bt_err e = {0};
    int rc = 0;

    if (starts_take(s, &t->c->id, &list)) /* else it was told a moment ago */
        rc = api_started(t->link, &list, !starts_allowed(s), &e);
    starts_settle(s, &list, rc == 0);
    t->said_started = settle(t, "started_failed", rc, &e);
    t->fenced = false; /* if so, the end will hear it */
}

/* The ranks run: the next request of the node tells it. */
static void note_start(struct trip *t)
{
    BT_BUF_AUTO struct bt_buf id = {0};
    struct bt_err e = {0};

    if (t->tell_us || spool_get(t->c->dir, "identity", FOREIGN_MAX, &id, &e) < 0)
        return;
    starts_add(t->c->starts, &t->c->id, bt_buf_text(&id));
    t->tell_us = bt_mono_us() + (starts_allowed(t->c->starts) ? STARTS_WAIT_US : 0);
}

/* Sends what stream i has, up to `most` bytes; `last`: it will not grow any more. False when the
 * daemon could not take it now. */
static bool send_stream(struct trip *t, int i, int64_t most, bool last)
{
    BT_AUTO char *file = bt_printf("log.%s", stream_names[i]);
    BT_AUTO char *part = NULL;
    struct bt_err e = {0};

    if (t->complete[i])
        return true;
    BT_FD_AUTO int fd = spool_open(t->c->dir, file, NULL);
    if (fd < 0) /* a stream without a byte has no file */
        return true;
    part = bt_alloc(1, LOG_PART);
    for (int moves = 0; most > 0 && !t->complete[i];) {
        ssize_t n = pread(fd, part, LOG_PART, t->sent[i]);
        bool eof = last && n < LOG_PART;

        if (n < 0 || (n == 0 && (!eof || t->sent[i] == 0))) /* nothing ever: nothing to say */
            return true;
        struct log_part p = {
            .stream = stream_names[i], .offset = t->sent[i], .p = part, .n = (size_t)n, .eof = eof};
        int64_t have = t->sent[i] + n;
        int rc = api_log(t->link, &t->c->id, &p, &have, &e);
        if (rc == -BT_ERR_CONFLICT && have != t->sent[i]) {
            t->sent[i] = have; /* resend from there, or skip what it has */
            if (++moves > 2)
                return true;
            continue;
        }
        if (rc < 0 && api_is_final(rc)) {
            t->complete[i] = true; /* the attempt is over for the daemon: its log too */
            return true;
        }
        if (!settle(t, "log_failed", rc, &e))
            return false;
        t->sent[i] += n;
        t->complete[i] = eof;
        most -= n;
    }
    return true;
}

static bool send_logs(struct trip *t, int64_t most, bool last)
{
    for (int i = 0; i < STREAMS; i++)
        if (!send_stream(t, i, most, last))
            return false;
    return true;
}

/* ---- files ---- */

/* True when the file lies in the site's storage and the daemon knows it. Whatever else is wrong
 * there, the facility takes the file instead. */
static int keep_here(struct trip *t, const struct manifest_file *f, int fd, bool *ret,
                     struct bt_err *err)
{
    char name[SPOOL_NAME_MAX];
    int rc;

    *ret = false;
    if (t->keeps_not || !keep_wants(&t->c->keep, f->bytes))
        return 0;
    name_of(t->c, name);
    rc = keep_file(&t->c->keep, name, f->sha256, fd, f->bytes, err);
    if (rc == -BT_ERR_CONFLICT)
        return rc;
    if (rc == 0)
        rc = api_kept(t->link, f->sha256, err);
    if (rc < 0 && rc != -BT_ERR_NOT_FOUND && rc != -BT_ERR_IO && rc != -BT_ERR_DISK_FULL)
        return rc;
    *ret = rc == 0;
    t->keeps_not = rc < 0;
    if (rc < 0)
        complain(t->c, "not_kept_here", err);
    return 0;
}

/* Sets *lost when this file will never be sent: it is not ours to read, or not what was hashed.
 * Any other failure is the daemon's, for now. */
static int send_file(struct trip *t, const struct order *o, const struct manifest_file *f,
                     uid_t owner, bool *lost, struct bt_err *err)
{
    struct places p = {0};
    bool kept = false;
    int rc;

    places_of(o, &p);
    BT_FD_AUTO int fd = harvest_open(p.output, owner, f->path, err);
    rc = fd < 0 ? fd : keep_here(t, f, fd, &kept, err);
    if (rc == 0 && !kept)
        rc = api_blob(t->link, f->sha256, fd, f->bytes, err);
    *lost = fd < 0 ? rc != -BT_ERR_BUSY : rc == -BT_ERR_CONFLICT;
    return rc;
}

static int send_text(struct trip *t, const struct yield *y, struct bt_err *err)
{
    BT_FD_AUTO int fd = spool_open(t->c->dir, "manifest.txt", err);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return fd < 0 ? fd : bt_fail_errno(err, BT_ERR_IO, "cannot look at a manifest");
    if (st.st_size == 0 && atomic_load(&daemon_has_empty))
        return 0;
    int rc = api_blob(t->link, y->sha256, fd, st.st_size, err);
    if (rc == 0 && st.st_size == 0)
        atomic_store(&daemon_has_empty, true);
    return rc;
}

/* Uploads every file. One that changed or went away after it was hashed makes the yield
 * incomplete; a daemon that cannot take it now ends the try (it resumes). */
static int send_files(struct trip *t, struct yield *y, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    MANIFEST_AUTO struct manifest m = {0};
    struct order o;
    int rc = spool_order(t->c->dir, &o, err);

    if (rc == 0)
        rc = spool_get(t->c->dir, "manifest.txt", MANIFEST_TEXT_MAX, &text, err);
    if (rc == 0)
        rc = manifest_parse(bt_buf_text(&text), text.n, &m, err);
    for (size_t i = 0; rc == 0 && i < m.n; i++) {
        bool lost = false;

        rc = send_file(t, &o, &m.files[i], (uid_t)y->uid, &lost, err);
        if (rc < 0 && lost) {
            complain(t->c, "file_lost", err);
            y->incomplete = true;
            rc = 0;
        }
    }
    return rc < 0 ? rc : send_text(t, y, err);
}

static bool say_manifest(struct trip *t)
{
    struct yield y;
    struct bt_err e = {0};
    int rc = spool_yield(t->c->dir, &y, &e);

    if (rc == 0 && !send_logs(t, INT64_MAX, true))
        return false;
    if (rc == 0)
        rc = send_files(t, &y, &e);
    if (rc == 0)
        rc = api_manifest(t->link, &t->c->id, &y, &e);
    return settle(t, "manifest_failed", rc, &e);
}

/* A job that left no files behind: its manifest comes within a moment and goes with its end, which
 * spares a request and a transaction. */
static bool is_brief(struct trip *t, struct yield *y)
{
    struct pollfd p = {.fd = t->inotify, .events = POLLIN};
    int64_t until = bt_mono_us() + BRIEF_US;
    int64_t left;
    struct bt_err e = {0};

    while (!spool_has(t->c->dir, "manifest.json") && (left = until - bt_mono_us()) > 0) {
        (void)poll(&p, 1, (int)(left / 1000) + 1);
        (void)read_news(t);
    }
    return spool_has(t->c->dir, "manifest.json") && spool_yield(t->c->dir, y, &e) == 0 &&
           y->files == 0 && send_logs(t, INT64_MAX, true) && send_text(t, y, &e) == 0;
}

static void say_ended(struct trip *t)
{
    struct verdict v;
    struct yield y;
    struct start_list along;
    struct bt_err e = {0};
    bool all;
    int rc;

    if (!send_logs(t, LAST_WORDS, false))
        return;
    if (spool_verdict(t->c->dir, &v, &e) < 0) {
        complain(t->c, "spool_failed", &e);
        v = (struct verdict){.reason = "lost", .text = "the attempt's verdict cannot be read"};
    }
    all = is_brief(t, &y);
    (void)starts_take(t->c->starts, &t->c->id, &along);
    rc = api_ended(t->link, &t->c->id, &v, all ? &y : NULL, &along, &e);
    starts_settle(t->c->starts, &along, rc == 0);
    if ((all || along.n) && api_is_final(rc) && rc != -BT_ERR_FENCED) {
        /* A daemon of an earlier release knows no such members; and whatever is wrong with the
         * manifest, the end must be heard. */
        all = false;
        rc = api_ended(t->link, &t->c->id, &v, NULL, NULL, &e);
    }
    t->said_ended = settle(t, "ended_failed", rc, &e);
    t->said_all = t->said_ended && all;
    if (!t->said_ended)
        return;
    t->said_started = true; /* or it is too late for that */
    starts_drop(t->c->starts, &t->c->id);
    atomic_store(&t->c->counts, false);
}

/* ---- the trip ---- */

/* What was told is not told again: a successor that found half of it cleaned away would tell
 * another story. */
static void clean(struct trip *t)
{
    struct bt_err e = {0};
    int status;
    pid_t pid;

    if (spool_mark(t->c->dir, "told", false, &e) < 0)
        complain(t->c, "spool_failed", &e);
    if (!shepherd_clean_bare(t->c->dir)) {
        if (spawn(t->c, "clean", &pid, &e) < 0)
            complain(t->c, "clean_failed", &e);
        else
            (void)waitpid(pid, &status, 0); /* ECHILD when it has ended: children are not kept */
    }
    pthread_mutex_lock(&t->c->lock);
    t->c->closed = true; /* a mark that comes now must not stay behind in half a folder */
    pthread_mutex_unlock(&t->c->lock);
    if (spool_remove(t->c->dir, &e) < 0)
        complain(t->c, "clean_failed", &e);
}

enum step { WAIT, AGAIN, DONE };

/* What the daemon shall hear next. */
static enum step speak(struct trip *t, bool granted, bool gone)
{
    const char *dir = t->c->dir;

    if (!granted && !gone) {
        if (!t->slurm || spool_shepherd(dir)) /* the dead claim nothing */
            claim(t);
        return WAIT;
    }
    if (!t->said_started && spool_has(dir, "started")) {
        note_start(t);
        if (bt_mono_us() >= t->tell_us)
            say_started(t);
        if (t->said_started)
            return AGAIN;
        if (t->failures || !starts_allowed(t->c->starts) || !spool_has(dir, "ended.json"))
            return WAIT;
    }
    if (!t->said_ended && spool_has(dir, "ended.json")) {
        say_ended(t);
        return t->said_ended ? AGAIN : WAIT;
    }
    if (t->said_all)
        return DONE;
    if (t->said_ended) {
        if (!spool_has(dir, "manifest.json"))
            return WAIT;
        return t->fenced || say_manifest(t) ? DONE : WAIT;
    }
    (void)send_logs(t, INT64_MAX, false);
    return WAIT;
}

/* One look at the folder. */
static enum step look(struct trip *t)
{
    const char *dir = t->c->dir;
    bool gone = spool_has(dir, "gone"), granted = spool_has(dir, "granted");

    if (spool_has(dir, "told"))
        return DONE;
    if (gone && !granted && !spool_shepherd(dir))
        return DONE; /* it never ran */
    if (!gone || granted)
        keep_shepherd(t);
    return bt_mono_us() < t->next_call_us ? WAIT : speak(t, granted, gone);
}

/* What of the folder is told: names that appear, and while nothing is gathered what is written. */
static void watch(const struct trip *t, uint32_t more)
{
    if (t->inotify >= 0)
        (void)inotify_add_watch(t->inotify, t->c->dir, IN_MOVED_TO | IN_CREATE | more);
}

/* Until a file comes, logs are worth a request, or the daemon may be tried again. A rank that
 * writes without pause wakes nobody while its words are gathered. */
static void await(struct trip *t)
{
    struct pollfd p = {.fd = t->inotify, .events = POLLIN};
    int64_t until = bt_mono_us() + RECHECK_US;
    int64_t left = t->next_call_us - bt_mono_us();
    enum news news = NO_NEWS;
    bool gathers = false;

    if (t->tell_us && !t->said_started)
        until = BT_MIN(until, t->tell_us);
    if (left > 0) {
        (void)poll(NULL, 0, (int)(left / 1000) + 1);
        (void)read_news(t);
        return;
    }
    while (news != FILE_NEWS && (left = until - bt_mono_us()) > 0 &&
           poll(&p, 1, (int)(left / 1000) + 1) > 0) {
        news = read_news(t);
        if (news == LOG_NEWS && !gathers && t->tell_us && !t->said_ended) {
            until = bt_mono_us() + LOG_GATHER_US;
            t->tell_us = BT_MIN(t->tell_us, until); /* logs come after it */
            gathers = true;
            watch(t, 0);
        }
    }
    if (gathers)
        watch(t, IN_MODIFY);
}

static int64_t open_link(struct trip *t)
{
    struct bt_err e = {0};
    int rc = t->c->maker->open(t->c->maker->arg, &t->link, &e);

    if (rc < 0)
        complain(t->c, "link_failed", &e);
    return rc;
}

static bool is_slurms(const struct courier *c)
{
    struct order o = {0};

    return spool_order(c->dir, &o, NULL) == 0 && o.slurm;
}

static void *run(void *arg)
{
    struct courier *c = arg;
    struct trip t = {.c = c, .slurm = is_slurms(c)};

    t.inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    watch(&t, IN_MODIFY);
    if (open_link(&t) == 0) {
        for (enum step step; (step = look(&t)) != DONE;)
            if (step == WAIT)
                await(&t);
        starts_drop(c->starts, &c->id); /* of one that never said its end */
        clean(&t);
        t.link->close(t.link);
    }
    if (t.inotify >= 0)
        close(t.inotify);
    atomic_store(&c->counts, false);
    atomic_store(&c->over, true);
    return NULL;
}

int courier_start(const struct attempt_id *id, const char *dir, const struct link_maker *maker,
                  struct starts *starts, const struct keep *keep, struct courier **ret,
                  struct bt_err *err)
{
    struct courier *c = bt_new(struct courier);
    pthread_attr_t attr;
    pthread_t thread;

    c->id = *id;
    c->dir = bt_strdup(dir);
    c->maker = maker;
    c->starts = starts;
    c->keep = *keep;
    c->program = shepherds_program();
    atomic_init(&c->counts, true);
    atomic_init(&c->over, false);
    pthread_mutex_init(&c->lock, NULL);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int rc = pthread_create(&thread, &attr, run, c);
    pthread_attr_destroy(&attr);
    if (rc) {
        courier_free(c);
        errno = rc;
        return bt_fail_errno(err, BT_ERR_BUSY, "cannot start a thread");
    }
    *ret = c;
    return 0;
}

void courier_free(struct courier *c)
{
    if (!c)
        return;
    pthread_mutex_destroy(&c->lock);
    bt_free(c->program);
    bt_free(c->dir);
    bt_free(c);
}

int courier_tell(struct courier *c, const char *file, struct bt_err *err)
{
    pthread_mutex_lock(&c->lock);
    int rc = c->closed ? 0 : spool_mark(c->dir, file, true, err);
    pthread_mutex_unlock(&c->lock);
    return rc;
}
