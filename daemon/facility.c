/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/facility.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/ask.h"
#include "daemon/bootstrap.h"
#include "daemon/clusters/local.h"
#include "daemon/clusters/slurm.h"
#include "daemon/engine/engine.h"
#include "daemon/http/http.h"
#include "daemon/mark.h"
#include "daemon/pki/pki.h"
#include "daemon/publish/publish_thread.h"
#include "daemon/statedir.h"
#include "daemon/store/embedded.h"
#include "daemon/store/reader.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"
#include "policy/load.h"

enum { NAMES_MAX = 16, POLICY_TEXT_BYTES = 2 * POLICY_SOURCE_MAX, DRAIN_MS = 5000 };

struct facility {
    const struct settings *set;
    struct statedir dir;
    struct embedded *pg;
    struct pki *pki;
    struct policy *policy;
    char *policy_text;
    struct engine *engine;
    struct wants_board *board;
    struct clusters *clusters;
    char *slurm_helper;
    pthread_mutex_t read_lock;
    struct store_reader *reader; /* for the clusters */
    struct http *http;
    struct publish_thread *publish;
    _Atomic int64_t signed_size; /* entries under a signed checkpoint; INT64_MAX: not known */
    struct ledger_store *ledger;
    char *last_signed;
    char *origin;
    struct ask own;
    _Atomic uint64_t epoch, seq; /* of the last batch that was committed */
    struct mark_key mark_key;
    pthread_mutex_t known_lock;
    uint64_t known_seq; /* in the state directory's file */
    int event_fd;
    pthread_mutex_t fatal_lock;
    struct bt_err fatal; /* code 0: fine */
};

/* ---- what the engine says ---- */

/* Writes down the highest batch that is known; an agent may know of one that was lost here. */
static int remember(struct facility *f, uint64_t epoch, uint64_t seq, struct bt_err *err)
{
    int rc = 0;

    pthread_mutex_lock(&f->known_lock);
    if (seq > f->known_seq) {
        rc = statedir_know(&f->dir, epoch, seq, err);
        if (rc == 0)
            f->known_seq = seq;
    }
    pthread_mutex_unlock(&f->known_lock);
    return rc;
}

/* The documents of new jobs, for the nodes that will run them. */
static void keep_documents(struct facility *f, const struct row_list *jobs)
{
    const struct row_job *rows = jobs->v;

    for (int i = 0; i < jobs->n; i++)
        if (rows[i].spec)
            board_document(f->board, rows[i].id, rows[i].spec);
}

static void committed(void *arg, const struct batch *b)
{
    struct facility *f = arg;
    struct bt_err err = {0};

    /* before anything leaves: nobody shall know of a batch that the file does not */
    if (b->seq && remember(f, f->epoch, b->seq, &err) < 0)
        bt_log_err(BT_WARN, "batch-not-remembered", &err);
    if (b->seq)
        f->seq = b->seq;
    keep_documents(f, &b->rows.list[ROW_KIND_job]);
    board_apply(f->board, b->wants, b->n_wants);
    board_trials(f->board, b->trials, b->n_trials);
    clusters_committed(f->clusters, b);
    http_committed(f->http, b);
    if (b->ledger_size && f->publish)
        publish_thread_wake(f->publish, (uint64_t)b->ledger_size);
    ask_answer(&f->own, b->replies, b->n_replies);
}

static void fatal(void *arg, const struct bt_err *err)
{
    struct facility *f = arg;

    pthread_mutex_lock(&f->fatal_lock);
    if (!f->fatal.code)
        f->fatal = *err;
    pthread_mutex_unlock(&f->fatal_lock);
    if (eventfd_write(f->event_fd, 1) < 0)
        bt_log(BT_ERROR, "cannot-tell-the-main-thread", NULL);
}

static int do_event(void *arg, struct event *ev, struct bt_err *err)
{
    struct facility *f = arg;
    int rc;

    ev->reply_to = ask_begin(&f->own);
    rc = engine_post(f->engine, ev, err);
    if (rc < 0) {
        event_free(ev);
        return rc;
    }
    return ask_wait(&f->own, ASK_WAIT_S * BT_US_PER_S, err);
}

/* ---- what HTTP asks ---- */

static int post(void *arg, struct event *ev, struct bt_err *err)
{
    struct facility *f = arg;

    return engine_post(f->engine, ev, err);
}

static int post_soon(void *arg, struct event *ev, struct bt_err *err)
{
    struct facility *f = arg;

    return engine_post_soon(f->engine, ev, err);
}

static int turn(void *arg, const void *self)
{
    struct facility *f = arg;

    return engine_turn(f->engine, self);
}

static int commands(void *arg, struct bt_err *err)
{
    struct facility *f = arg;

    return engine_commands(f->engine, err);
}

static void mark(void *arg, char *ret)
{
    struct facility *f = arg;

    mark_write(&f->mark_key, f->epoch, f->seq, ret);
}

/* An agent that knows more than the database ends this life of the facility: the next one only
 * reads, whoever says it again. */
static int told(void *arg, const char *text, struct bt_err *err)
{
    struct facility *f = arg;
    struct bt_err e = {0};
    uint64_t epoch, seq;
    int rc;

    if (mark_read(&f->mark_key, text, &epoch, &seq, &e) < 0) {
        bt_log_err(BT_WARN, "mark-passed-over", &e);
        return 0;
    }
    if (seq <= f->seq)
        return 0;
    rc = remember(f, epoch, seq, err);
    if (rc < 0)
        return rc;
    rc = bt_fail(err, BT_ERR_BEHIND,
                 "the database ends at batch %" PRIu64 ", an agent knows batch %" PRIu64
                 ": it was restored from a copy, and is only read from now on",
                 (uint64_t)f->seq, seq);
    if (engine_commands(f->engine, NULL) == 0)
        fatal(f, err);
    return rc;
}

static struct plan *plan(void *arg)
{
    struct facility *f = arg;

    return engine_plan(f->engine);
}

static void status(void *arg, struct json_writer *w)
{
    struct facility *f = arg;
    struct engine_status s;

    engine_status(f->engine, &s);
    jw_i64(w, "epoch", (int64_t)s.epoch);
    jw_i64(w, "seq", (int64_t)s.seq);
    jw_i64(w, "waiting", s.n_waiting);
    jw_i64(w, "batches", s.n_batches);
    jw_i64(w, "events", s.n_events);
    jw_i64(w, "plan_us", s.plan_us);
    jw_bool(w, "writable", s.writable);
    jw_bool(w, "behind", s.behind);
}

static int64_t ledger_signed(void *arg)
{
    struct facility *f = arg;

    return atomic_load(&f->signed_size);
}

static void show_site(void *arg, const char *site, struct json_writer *w)
{
    struct facility *f = arg;

    clusters_show(f->clusters, site, w);
}

static int diff_site(void *arg, const char *site, const struct json *row, struct json_writer *w,
                     struct bt_err *err)
{
    struct facility *f = arg;

    return clusters_diff(f->clusters, site, row, w, err);
}

static int check_site(void *arg, const char *site, const struct json *row, struct json_writer *w,
                      struct bt_err *err)
{
    struct facility *f = arg;

    return clusters_check(f->clusters, site, row, w, err);
}

static int report_site(void *arg, const char *site, struct json_writer *w, struct bt_err *err)
{
    struct facility *f = arg;

    return clusters_report(f->clusters, site, w, err);
}

static int attach_helper(void *arg, const char *site, const char *from, struct bt_uuid *ret_session,
                         struct bt_err *err)
{
    struct facility *f = arg;

    return clusters_attach(f->clusters, site, from, ret_session, err);
}

static int put_frames(void *arg, const char *site, struct bt_uuid session, const void *p, size_t n,
                      struct bt_err *err)
{
    struct facility *f = arg;

    return clusters_put(f->clusters, site, session, p, n, err);
}

static int get_frames(void *arg, const char *site, struct bt_uuid session, struct bt_buf *to,
                      struct bt_err *err)
{
    struct facility *f = arg;

    return clusters_get(f->clusters, site, session, to, err);
}

static bool have_frames(void *arg, const char *site)
{
    struct facility *f = arg;

    return clusters_have(f->clusters, site);
}

/* Drivers run only while there are listeners. */
static void wake_helper(void *arg, const char *site)
{
    struct facility *f = arg;

    http_helper_wake(f->http, site);
}

/* Drivers ask one after another; the connection is made when the first one does. */
static int projects(void *arg, const char *site, struct bt_buf *json, struct bt_err *err)
{
    struct facility *f = arg;
    const char *const params[] = {site};
    int rc;

    pthread_mutex_lock(&f->read_lock);
    rc = reader_query(f->reader, "fence", params, 1, json, err);
    pthread_mutex_unlock(&f->read_lock);
    return rc;
}

/* ---- the publisher's database ---- */

static int publish_load(void *arg, struct publish_state *ret, struct bt_err *err)
{
    struct facility *f = arg;
    struct ledger_state st;
    int rc = ledger_store_state(f->ledger, &st, err);

    if (rc < 0)
        return rc;
    *ret = (struct publish_state){.committed = st.committed};
    ret->saved.size = st.saved_size;
    memcpy(ret->saved.root.b, st.saved_root, 32);
    return 0;
}

static int add_leaf(void *arg, uint64_t idx, const char *body, size_t n, struct bt_err *err)
{
    return publish_add(arg, idx, body, n, err);
}

static int publish_read(void *arg, uint64_t from, struct publisher *p, struct bt_err *err)
{
    struct facility *f = arg;

    return ledger_store_read(f->ledger, from, PUBLISH_BATCH, add_leaf, p, err);
}

static int publish_save(void *arg, const struct tree_frontier *frontier,
                        const struct tree_hash *root, struct bt_err *err)
{
    struct facility *f = arg;
    BT_BUF_AUTO struct bt_buf edge = {0};

    tree_frontier_save(frontier, &edge); /* also when the engine has ended already */
    return ledger_store_save(f->ledger, f->epoch, frontier->size, root->b, edge.p, edge.n, err);
}

static void publish_covers(void *arg, int64_t size)
{
    struct facility *f = arg;

    atomic_store(&f->signed_size, size);
}

static void publish_failed(void *arg, const struct bt_err *err, bool final)
{
    (void)arg;
    bt_log_err(final ? BT_ERROR : BT_WARN, final ? "publishing-ended" : "publishing-delayed", err);
}

/* The ledger's key as verifiers know it, under the ledger's origin. */
static int ledger_key(struct facility *f, struct note_key *ret, struct bt_err *err)
{
    uint8_t public[SIGN_PUBLIC_SIZE];

    if (!f->origin)
        f->origin = bt_printf("%s/ledger", f->set->facility);
    sign_key_public(pki_log_key(f->pki), public);
    return note_key_make(f->origin, NOTE_ED25519, public, ret, err);
}

static int start_publish(struct facility *f, const char *conninfo, struct bt_err *err)
{
    struct publish_options o = {.dir = f->dir.ledger, .sk = pki_log_key(f->pki)};
    BT_BUF_AUTO struct bt_buf vkey = {0};
    BT_AUTO char *vkey_path = bt_printf("%s/log.vkey", f->dir.pki);
    int rc;

    f->ledger = ledger_store_new(conninfo);
    f->last_signed = bt_printf("%s/last-signed", f->dir.path);
    rc = ledger_key(f, &o.key, err);
    if (rc < 0)
        return rc;
    note_vkey_format(&o.key, &vkey);
    bt_buf_char(&vkey, '\n');
    rc = bt_file_write(vkey_path, 0644, vkey.p, vkey.n, err);
    if (rc < 0)
        return rc;
    o.last_signed = f->last_signed;
    o.calls = (struct publish_calls){.load = publish_load,
                                     .read = publish_read,
                                     .save = publish_save,
                                     .covers = publish_covers,
                                     .failed = publish_failed,
                                     .arg = f};
    return publish_thread_start(&o, f->set->publish_interval * BT_US_PER_S, &f->publish, err);
}

/* ---- start, step by step ---- */

static int start_database(struct facility *f, const char **ret_owner, const char **ret_read,
                          const char **ret_public, struct bt_err *err)
{
    struct embedded_settings s = {.dir = f->dir.path, .bindir = f->set->pg_bindir};
    int rc;

    if (!f->set->embedded) {
        if (!f->set->database)
            return bt_next(err, bt_fail(err, BT_ERR_USAGE, "there is no database"),
                           "beamtimed --embedded --state-dir DIR, or --database CONNINFO");
        *ret_owner = f->set->database;
        *ret_read = *ret_public = f->set->database_read ? f->set->database_read : f->set->database;
        return 0;
    }
    rc = embedded_start(&s, &f->pg, err);
    if (rc < 0)
        return rc;
    *ret_owner = embedded_conninfo(f->pg, EMBEDDED_OWNER);
    *ret_read = embedded_conninfo(f->pg, EMBEDDED_READ);
    *ret_public = embedded_conninfo(f->pg, EMBEDDED_PUBLIC);
    return 0;
}

static int open_pki(struct facility *f, struct bt_err *err)
{
    int rc;
    BT_AUTO char *names = bt_strdup(f->set->server_names ? f->set->server_names : "");
    const char *list[NAMES_MAX];
    size_t n = 0;
    char *save = NULL;

    for (char *s = strtok_r(names, ", ", &save); s && n < NAMES_MAX;
         s = strtok_r(NULL, ", ", &save))
        list[n++] = s;
    rc = pki_open(f->dir.pki, f->set->facility, list, n, bt_now_us(), &f->pki, err);
    return rc < 0 ? rc : mark_key_make(pki_log_key(f->pki), &f->mark_key, err);
}

/* The folder of the program that runs. */
static char *program_folder(void)
{
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    char *slash;

    exe[n > 0 ? n : 0] = '\0';
    slash = strrchr(exe, '/');
    if (slash)
        *slash = '\0';
    return bt_strdup(exe);
}

/* The configured folder, the installed one, or the source tree's when run from a build folder. */
static char *policy_dir(const struct settings *set)
{
    if (set->policy_dir)
        return bt_strdup(set->policy_dir);
    if (access(BT_POLICY_DIR "/rules.lua", R_OK) == 0)
        return bt_strdup(BT_POLICY_DIR);
    BT_AUTO char *folder = program_folder();
    return bt_printf("%s/../../policy", folder);
}

/* The configured helper, the installed one, or the build folder's. */
static char *helper_path(const struct settings *set)
{
    char *beside;

    if (set->slurm_helper)
        return bt_strdup(set->slurm_helper);
    BT_AUTO char *folder = program_folder();
    beside = bt_printf("%s/clusters/helper/beamtime-slurm", folder);
    if (access(beside, X_OK) == 0)
        return beside;
    bt_free(beside);
    return bt_strdup(BT_LIBEXEC_DIR "/beamtime-slurm");
}

static int load_policy(struct facility *f, struct bt_err *err)
{
    BT_AUTO char *dir = policy_dir(f->set);
    BT_AUTO char *tiers = bt_printf("%s/tiers.lua", dir);
    BT_AUTO char *rules = bt_printf("%s/rules.lua", dir);
    BT_BUF_AUTO struct bt_buf text = {0};
    int rc = policy_load(dir, bt_sha256, &f->policy, err);

    if (rc == 0)
        rc = bt_file_read(tiers, POLICY_SOURCE_MAX, &text, err);
    if (rc == 0)
        rc = bt_file_read(rules, POLICY_SOURCE_MAX, &text, err);
    if (rc == 0)
        f->policy_text = bt_buf_take(&text);
    return rc;
}

static int http_address(const char *setting, struct http_address *ret, struct bt_err *err)
{
    uint16_t port;
    int rc = conf_address(setting, ret->host, sizeof ret->host, &port, err);

    ret->port = port;
    return rc;
}

static int make_http(struct facility *f, const char *read, const char *public, struct bt_err *err)
{
    struct http_settings h = {.pki = f->pki,
                              .board = f->board,
                              .blobs_dir = f->dir.blobs,
                              .logs_dir = f->dir.logs,
                              .ledger_dir = f->dir.ledger,
                              .read_conninfo = read,
                              .public_conninfo = public,
                              .post = post,
                              .post_soon = post_soon,
                              .turn = turn,
                              .commands = commands,
                              .mark = mark,
                              .told = told,
                              .plan = plan,
                              .status = status,
                              .ledger_signed = ledger_signed,
                              .site = show_site,
                              .site_diff = diff_site,
                              .site_check = check_site,
                              .site_report = report_site,
                              .helper_attach = attach_helper,
                              .helper_put = put_frames,
                              .helper_get = get_frames,
                              .helper_has = have_frames,
                              .arg = f};
    BT_BUF_AUTO struct bt_buf vkey = {0};
    struct note_key key;
    int rc = ledger_key(f, &key, err);

    if (rc == 0) {
        note_vkey_format(&key, &vkey);
        h.vkey = bt_buf_text(&vkey);
        rc = http_address(f->set->listen, &h.listen_people, err);
    }
    if (rc == 0)
        rc = http_address(f->set->listen_agents, &h.listen_agents, err);
    if (rc == 0)
        rc = http_address(f->set->listen_public, &h.listen_public, err);
    if (rc == 0)
        rc = http_new(&h, &f->http, err);
    return rc;
}

static int start_engine(struct facility *f, const char *conninfo, bool *ret_behind,
                        struct bt_err *err)
{
    struct engine_status s;
    struct bt_err behind = {0};
    uint64_t epoch;
    int rc;
    struct engine_settings e = {.store = {.conninfo = conninfo},
                                .core = core_defaults(f->set->facility),
                                .policy = f->policy,
                                .policy_text = f->policy_text,
                                .committed = committed,
                                .fatal = fatal,
                                .arg = f};

    e.core.claim_timeout_us = f->set->claim_timeout * BT_US_PER_S;
    e.core.node_silent_us = f->set->node_silent * BT_US_PER_S;
    e.core.lease_us = f->set->lease * BT_US_PER_S;
    e.core.grace_after_start_us = f->set->start_grace * BT_US_PER_S;
    e.core.upload_timeout_us = f->set->upload_timeout * BT_US_PER_S;
    e.core.preflight_nodes = (int32_t)f->set->preflight_nodes;
    e.core.pairs_every_us = f->set->pairs_every * BT_US_PER_S;
    e.core.max_queued_per_person = (int32_t)f->set->max_queued_per_person;
    rc = statedir_known(&f->dir, &epoch, &e.known_seq, err);
    if (rc < 0)
        return bt_next(err, rc, "stop the daemon, then: beamtimed recover");
    f->epoch = epoch;
    f->known_seq = e.known_seq;
    rc = engine_start(&e, &f->engine, err);
    if (rc < 0)
        return rc;
    engine_status(f->engine, &s);
    f->epoch = s.epoch;
    if (engine_commands(f->engine, &behind) < 0)
        bt_log_err(BT_ERROR, "database-behind", &behind);
    *ret_behind = s.behind;
    return 0;
}

static int open_doors(struct facility *f, struct bt_err *err)
{
    int people;
    int agents;
    int open;
    int rc = http_listen(f->http, err);

    if (rc < 0)
        return rc;
    http_ports(f->http, &people, &agents, &open);
    rc = statedir_ports(&f->dir, people, agents, open, err);
    return rc < 0 ? rc : statedir_ready(&f->dir, err);
}

static int start(struct facility *f, struct bt_err *err)
{
    struct bootstrap first = {
        .state_dir = f->dir.path, .site = f->set->site, .do_event = do_event, .arg = f};
    const char *owner = NULL;
    const char *read = NULL;
    const char *public = NULL;
    bool behind = false;
    int rc = start_database(f, &owner, &read, &public, err);

    if (rc == 0)
        rc = open_pki(f, err);
    if (rc == 0)
        rc = load_policy(f, err);
    if (rc == 0)
        rc = make_http(f, read, public, err);
    if (rc == 0)
        f->reader = reader_new(read);
    if (rc == 0)
        rc = start_engine(f, owner, &behind, err);
    if (rc == 0 && behind) /* read only: nothing is set up, nothing is signed */
        return open_doors(f, err);
    if (rc == 0) {
        first.pki = f->pki;
        rc = bootstrap_facility(&first, err);
    }
    if (rc == 0)
        rc = start_publish(f, owner, err);
    if (rc == 0)
        rc = open_doors(f, err);
    if (rc == 0)
        clusters_start(f->clusters);
    return rc;
}

int facility_start(const struct settings *set, struct facility **ret, struct bt_err *err)
{
    struct facility *f = bt_new(struct facility);
    int rc;

    f->set = set;
    f->dir.lock_fd = -1;
    atomic_init(&f->signed_size, INT64_MAX);
    f->board = board_new(bt_now_us());
    ask_init(&f->own);
    pthread_mutex_init(&f->fatal_lock, NULL);
    pthread_mutex_init(&f->known_lock, NULL);
    pthread_mutex_init(&f->read_lock, NULL);
    f->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    f->slurm_helper = helper_path(set);
    f->clusters = clusters_new(&(struct clusters_settings){.dir = set->state_dir,
                                                           .facility = set->facility,
                                                           .helper = f->slurm_helper,
                                                           .post = post,
                                                           .wake = wake_helper,
                                                           .projects = projects,
                                                           .arg = f});
    rc = f->event_fd < 0 ? bt_fail_errno(err, BT_ERR_IO, "cannot make an event descriptor")
                         : statedir_open(set->state_dir, &f->dir, err);
    if (rc == 0)
        rc = start(f, err);
    if (rc < 0) {
        facility_stop(f);
        return rc;
    }
    *ret = f;
    return 0;
}

int facility_event_fd(const struct facility *f)
{
    return f->event_fd;
}

int facility_poll(struct facility *f, struct bt_err *err)
{
    int rc = 0;

    pthread_mutex_lock(&f->fatal_lock);
    if (f->fatal.code) {
        *err = f->fatal;
        rc = -f->fatal.code;
    }
    pthread_mutex_unlock(&f->fatal_lock);
    if (rc == 0 && f->pg) {
        rc = embedded_poll(f->pg, err);
        if (rc == 1)
            bt_log(BT_WARN, "postgresql-restarted", NULL);
    }
    return rc < 0 ? rc : 0;
}

void facility_stop(struct facility *f)
{
    struct bt_err err = {0};

    if (!f)
        return;
    if (f->http)
        http_quiet(f->http, DRAIN_MS);
    clusters_stop(f->clusters);
    reader_free(f->reader);
    engine_stop(f->engine);
    if (f->publish)
        publish_thread_stop(f->publish);
    http_free(f->http);
    if (f->pg && embedded_stop(f->pg, &err) < 0)
        bt_log_err(BT_ERROR, "postgresql-stop", &err);
    embedded_free(f->pg);
    ledger_store_free(f->ledger);
    clusters_free(f->clusters);
    bt_free(f->slurm_helper);
    board_free(f->board);
    policy_free(f->policy);
    pki_free(f->pki);
    statedir_close(&f->dir);
    bt_free(f->policy_text);
    bt_free(f->last_signed);
    bt_free(f->origin);
    if (f->event_fd >= 0)
        close(f->event_fd);
    ask_done(&f->own);
    pthread_mutex_destroy(&f->fatal_lock);
    pthread_mutex_destroy(&f->known_lock);
    pthread_mutex_destroy(&f->read_lock);
    bt_free(f);
}
