/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/store/store.h"

#include <assert.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/store/codec.h"
#include "daemon/store/migrate.h"
#include "daemon/store/pg.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

enum {
    CONNECT_S = 3,
    LEAD_S = 3,
    LOAD_S = 600,
    TRIES = 3,
    MAX_MESSAGES = ROW_KINDS + 8,
    HURRY_ROWS = 64,
};

/* One transaction on its way: what was queued, in order, and the first failure. */
struct flight {
    struct store *st;
    const char *names[MAX_MESSAGES];
    int n;
    int n_answers;
    bool cut;     /* a hook wants the connection gone */
    bool flushed; /* STORE_AT_FLUSH is behind it */
    bool synced;  /* all answers are there */
    bool failed;  /* the server refused a statement */
    enum pg_verdict verdict;
    struct bt_err *err;
    int64_t deadline_us; /* moves with each sign of life */
};

struct store {
    char *conninfo;
    PGconn *conn;  /* NULL: lost */
    bool prepared; /* the statements of a commit are there and the pipeline is open */
    bool leads;
    bool is_away; /* a batch is on its way that nobody waits for here */
    struct flight away;
    struct bt_err away_err;
    int64_t epoch;
    int64_t answer_us;
    struct store_hooks hooks;
    struct codec_layout layouts[ROW_KINDS];
    struct bt_buf bytes; /* of the parameter being queued */
};

static int64_t in_s(int64_t s)
{
    return bt_mono_us() + s * BT_US_PER_S;
}

static void drop(struct store *st)
{
    PQfinish(st->conn);
    st->conn = NULL;
    st->prepared = false;
    st->is_away = false;
}

static const char *text_of(const char *name)
{
    const struct query *q = query_find(name);

    assert(q);
    return q->text;
}

int store_open(const struct store_settings *settings, struct store **ret, struct bt_err *err)
{
    struct store *st = bt_new(struct store);
    int rc;

    st->conninfo = bt_strdup(settings->conninfo);
    st->answer_us = settings->answer_timeout_us ? settings->answer_timeout_us : 3 * BT_US_PER_S;
    st->hooks = settings->hooks;
    rc = pg_open(st->conninfo, NULL, in_s(CONNECT_S), &st->conn, err);
    if (rc >= 0)
        rc = migrate(st->conn, migrations, n_migrations, err);
    if (rc < 0) {
        store_close(st);
        return rc;
    }
    *ret = st;
    return 0;
}

void store_close(struct store *st)
{
    if (!st)
        return;
    drop(st);
    bt_buf_done(&st->bytes);
    bt_free(st->conninfo);
    bt_free(st);
}

/* ---- leadership ---- */

static int64_t field64(const PGresult *res, int column)
{
    int64_t v = 0;

    if (bt_parse_i64(PQgetvalue(res, 0, column), "a number", INT64_MIN, INT64_MAX, &v, NULL) < 0)
        return -1;
    return v;
}

int store_lead(struct store *st, uint64_t *ret_epoch, uint64_t *ret_seq, struct bt_err *err)
{
    PG_RESULT_AUTO PGresult *res = NULL;
    int rc;

    if (!st->conn && (rc = pg_open(st->conninfo, NULL, in_s(CONNECT_S), &st->conn, err)) < 0)
        return rc;
    rc = pg_run(st->conn, "SET lock_timeout = '3s'", -1, NULL, in_s(LEAD_S), NULL, err);
    if (rc >= 0)
        rc = pg_run(st->conn, text_of("doorbell"), 0, NULL, in_s(2 * LEAD_S), NULL, err);
    if (rc == -BT_ERR_DB_RETRY)
        return bt_next(err, bt_fail(err, BT_ERR_LOCKED, "another beamtimed leads this database"),
                       "stop it first, or wait until it has gone");
    if (rc >= 0)
        rc = pg_run(st->conn, text_of("lead"), 0, NULL, in_s(2 * LEAD_S), &res, err);
    if (rc < 0)
        return rc;
    st->epoch = field64(res, 0);
    st->leads = true;
    *ret_epoch = (uint64_t)st->epoch;
    *ret_seq = (uint64_t)field64(res, 1);
    return 0;
}

/* ---- loading ---- */

struct loading {
    int (*row)(void *arg, enum row_kind kind, const void *row, struct bt_err *err);
    void *arg;
    struct store_loaded *ret;
};

static bool takes_since(const struct query *q)
{
    return strstr(q->text, "$1") != NULL;
}

/* One result of a statement in single-row mode: at most one row. */
static int load_row(struct store *st, enum row_kind kind, const PGresult *res, void *row,
                    const struct loading *to, struct bt_err *err)
{
    int rc;

    if (PQresultStatus(res) == PGRES_TUPLES_OK)
        return 0; /* the end */
    if (PQresultStatus(res) != PGRES_SINGLE_TUPLE)
        return pg_fail(err, st->conn, res, "load");
    rc = codec_decode(kind, res, 0, row, err);
    if (rc < 0)
        return rc;
    to->ret->n_rows++;
    return to->row(to->arg, kind, row, err);
}

static int load_kind(struct store *st, enum row_kind kind, const char *since,
                     const struct loading *to, struct bt_err *err)
{
    const struct query *q = query_of_kind("load", kind);
    BT_AUTO char *sql = q ? codec_sql(q, codec_shape(kind)) : NULL;
    BT_AUTO void *row = bt_alloc(1, row_shapes[kind].size);
    const char *const params[] = {since};
    static const Oid types[] = {20};
    int rc = 0;

    if (!q)
        return 0;
    if (!PQsendQueryParams(st->conn, sql, takes_since(q), types, params, NULL, NULL, 1) ||
        !PQsetSingleRowMode(st->conn))
        return pg_fail(err, st->conn, NULL, "load");
    rc = pg_flush(st->conn, in_s(CONNECT_S), err);
    while (rc >= 0) {
        PG_RESULT_AUTO PGresult *res = NULL;

        rc = pg_next(st->conn, in_s(LOAD_S), &res, err);
        if (rc < 0 || !res)
            break;
        rc = load_row(st, kind, res, row, to, err);
    }
    return rc;
}

static int load_heads(struct store *st, struct store_loaded *ret, struct bt_err *err)
{
    PG_RESULT_AUTO PGresult *res = NULL;
    PG_RESULT_AUTO PGresult *clock = NULL;
    int rc = pg_run(st->conn, text_of("load_heads"), 0, NULL, in_s(LOAD_S), &res, err);

    if (rc >= 0)
        rc = pg_run(st->conn, text_of("clock"), 0, NULL, in_s(CONNECT_S), &clock, err);
    if (rc < 0)
        return rc;
    ret->ledger_size = field64(res, 0);
    ret->epoch = (uint64_t)field64(res, 1);
    ret->seq = (uint64_t)field64(res, 2);
    ret->last_number = field64(res, 3);
    ret->pg_clock_us = field64(clock, 0);
    return 0;
}

int store_load(struct store *st, int64_t since_us,
               int (*row)(void *arg, enum row_kind kind, const void *row, struct bt_err *err),
               void *arg, struct store_loaded *ret, struct bt_err *err)
{
    struct store_loaded loaded = {0};
    struct loading to = {row, arg, &loaded};
    char since[32];
    int rc = 0;

    if (st->prepared)
        drop(st); /* its pipeline is open; what was in doubt is settled by whoever reloads */
    if (!st->conn)
        rc = pg_open(st->conninfo, NULL, in_s(CONNECT_S), &st->conn, err);
    if (rc >= 0)
        rc = pg_run(st->conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", -1, NULL,
                    in_s(CONNECT_S), NULL, err);
    if (rc >= 0)
        rc = load_heads(st, &loaded, err);
    snprintf(since, sizeof since, "%lld", (long long)since_us);
    for (int k = 0; rc >= 0 && k < ROW_KINDS; k++)
        rc = load_kind(st, (enum row_kind)k, since, &to, err);
    if (rc >= 0)
        rc = pg_run(st->conn, "COMMIT", -1, NULL, in_s(CONNECT_S), NULL, err);
    if (rc < 0) {
        drop(st); /* rows may still be on their way */
        return rc;
    }
    *ret = loaded;
    return 0;
}

/* ---- committing ---- */

static void alive(struct flight *f)
{
    f->deadline_us = bt_mono_us() + f->st->answer_us;
}

/* One of the prepared statements with text parameters. */
static bool queue(struct flight *f, const char *name, int n, const char *const *values)
{
    assert(f->n < MAX_MESSAGES);
    f->names[f->n++] = name;
    return PQsendQueryPrepared(f->st->conn, name, n, values, NULL, NULL, 0) == 1;
}

/* put_<kind> with its rows. */
static bool queue_array(struct flight *f, const char *name, const struct bt_buf *rows)
{
    static const int binary = 1;
    const char *const value = rows->p;
    const int length = (int)rows->n;

    assert(f->n < MAX_MESSAGES);
    f->names[f->n++] = name;
    return PQsendQueryPrepared(f->st->conn, name, 1, &value, &length, &binary, 0) == 1;
}

/* Lets a test act; false: the connection is to be cut here. */
static bool pass(struct flight *f, enum store_point point, enum row_kind kind)
{
    const struct store_hooks *h = &f->st->hooks;
    const char *sql = h->at ? h->at(h->arg, point, kind) : NULL;

    if (!sql)
        return true;
    if (!*sql) {
        f->cut = true;
        return false;
    }
    assert(f->n < MAX_MESSAGES);
    f->names[f->n++] = "a test's statement";
    return PQsendQueryParams(f->st->conn, sql, 0, NULL, NULL, NULL, NULL, 0) == 1;
}

static void note_failure(struct flight *f, const PGresult *res)
{
    const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

    if (f->failed)
        return;
    f->failed = true;
    f->verdict = pg_verdict(state, bt_streq(severity, "FATAL") || bt_streq(severity, "PANIC"));
    pg_fail(f->err, f->st->conn, res, f->n_answers < f->n ? f->names[f->n_answers] : "commit");
}

/* Takes the answers that are there without waiting. -1: the connection is lost. */
static int take_answers(struct flight *f)
{
    while (!f->synced && !PQisBusy(f->st->conn)) {
        PG_RESULT_AUTO PGresult *res = PQgetResult(f->st->conn);

        if (!res) { /* the end of one statement's answer, or no more without reading */
            f->n_answers++;
            if (f->n_answers > f->n + 1 || PQstatus(f->st->conn) == CONNECTION_BAD)
                return -1;
            continue;
        }
        switch (PQresultStatus(res)) {
        case PGRES_PIPELINE_SYNC:
            f->synced = true;
            break;
        case PGRES_COMMAND_OK:
        case PGRES_TUPLES_OK:
        case PGRES_PIPELINE_ABORTED:
            break;
        default:
            note_failure(f, res);
        }
    }
    return 0;
}

/* Sends and reads until the pipeline's end. -1: lost or silent. */
static int pump(struct flight *f, bool until_sent)
{
    PGconn *conn = f->st->conn;

    alive(f);
    for (;;) {
        int more = PQflush(conn);

        if (more < 0 || take_answers(f) < 0)
            return -1;
        if (f->synced || (until_sent && !more))
            return 0;
        if (pg_wait(conn, more > 0, f->deadline_us, f->err) < 0)
            return -1;
        if (!PQconsumeInput(conn))
            return -1;
        alive(f);
    }
}

static void cut(struct store *st)
{
    if (PQsocket(st->conn) >= 0)
        shutdown(PQsocket(st->conn), SHUT_RDWR);
}

/* What a job is before its first state. */
static const struct row_job_state no_state = {
    .since_us = ROW_NULL64,
    .rate_milli = ROW_NULL64,
    .hold_mras = ROW_NULL64,
    .start_us = ROW_NULL64,
    .end_us = ROW_NULL64,
    .charged_mras = ROW_NULL64,
    .exit_code = ROW_NULL32,
    .end_signal = ROW_NULL32,
    .stop = ROW_NULL32,
    .checkpointed = ROW_NULL32,
    .record_idx = ROW_NULL64,
    .result_due_us = ROW_NULL64,
    .result_idx = ROW_NULL64,
    .submit_idx = ROW_NULL64,
    .finish_by_us = ROW_NULL64,
};

/* The shape of put_<kind>: a new job is written with its first state. */
static struct codec_shape shape_of(enum row_kind kind)
{
    return kind == ROW_KIND_job ? codec_shape_new_job() : codec_shape(kind);
}

/* Rows of a batch as they are sent: the first state of a new job goes with it, which spares half
 * of its cost, unless that state needs rows of the same batch. Texts stay the batch's. */
struct split {
    struct codec_new_job *jobs;
    struct row_job_state *states;
    int n_states;
};

static bool may_begin_as(const struct row_job_state *s)
{
    return s->record_idx == ROW_NULL64 && s->submit_idx == ROW_NULL64 &&
           s->result_idx == ROW_NULL64 &&
           (bt_streq(s->state, "held") || bt_streq(s->state, "queued"));
}

static void split_jobs(const struct rows *rows, struct split *ret)
{
    static char held[] = "held";
    const struct row_list *jobs = &rows->list[ROW_KIND_job];
    const struct row_list *states = &rows->list[ROW_KIND_job_state];
    const struct row_job *j = jobs->v;
    const struct row_job_state *s = states->v;
    struct bt_map index = {0};
    uint32_t at;

    *ret = (struct split){0};
    ret->jobs = bt_new_n(struct codec_new_job, (size_t)jobs->n);
    ret->states = bt_new_n(struct row_job_state, (size_t)states->n);
    for (int i = 0; i < jobs->n; i++) {
        ret->jobs[i] = (struct codec_new_job){.job = j[i], .state = no_state};
        ret->jobs[i].state.state = held;
        bt_map_put(&index, bt_map_hash(&j[i].id, sizeof j[i].id), (uint32_t)i);
    }
    for (int i = 0; i < states->n; i++)
        if (may_begin_as(&s[i]) && bt_map_get(&index, bt_map_hash(&s[i].id, sizeof s[i].id), &at) &&
            bt_uuid_eq(ret->jobs[at].job.id, s[i].id))
            ret->jobs[at].state = s[i];
        else
            ret->states[ret->n_states++] = s[i];
    bt_map_done(&index);
}

static bool queue_list(struct flight *f, enum row_kind kind, const struct row_list *list)
{
    const struct query *q;

    if (!list->n)
        return true;
    q = query_of_kind("put", kind);
    assert(q);
    bt_buf_clear(&f->st->bytes);
    codec_encode(&f->st->layouts[kind], shape_of(kind).shape, list, &f->st->bytes);
    return queue_array(f, q->name, &f->st->bytes) && pass(f, STORE_AT_MESSAGE, kind);
}

static bool queue_rows(struct flight *f, const struct rows *rows)
{
    struct split split;
    bool ok = true;

    split_jobs(rows, &split);
    for (int k = 0; ok && k < ROW_KINDS; k++) {
        struct row_list list = rows->list[k];

        if (k == ROW_KIND_job)
            list.v = split.jobs;
        if (k == ROW_KIND_job_state)
            list = (struct row_list){.v = split.states, .n = split.n_states};
        ok = queue_list(f, (enum row_kind)k, &list);
    }
    bt_free(split.jobs);
    bt_free(split.states);
    return ok;
}

static bool queue_advance(struct flight *f, uint64_t seq)
{
    char epoch[24], next[24];
    const char *const values[] = {epoch, next};

    snprintf(epoch, sizeof epoch, "%lld", (long long)f->st->epoch);
    snprintf(next, sizeof next, "%llu", (unsigned long long)seq);
    return queue(f, "advance", 2, values);
}

/* Lets the server begin while the rows are encoded: of few rows it would only wake twice. */
static bool hurry(struct flight *f, const struct batch *b)
{
    return b->rows.n < HURRY_ROWS || PQflush(f->st->conn) >= 0;
}

/* Queues the whole transaction. False: the connection is lost (or a test wants it so). */
static bool queue_batch(struct flight *f, const struct batch *b)
{
    return pass(f, STORE_AT_BEGIN, ROW_KINDS) && queue(f, "begin", 0, NULL) &&
           queue_advance(f, b->seq) && hurry(f, b) && queue_rows(f, &b->rows) &&
           pass(f, STORE_AT_COMMIT, ROW_KINDS) && queue(f, "commit", 0, NULL) &&
           PQpipelineSync(f->st->conn) == 1;
}

/* After a refused statement the transaction is open and dead. */
static bool roll_back(struct store *st)
{
    struct flight f = {.st = st};

    return queue(&f, "rollback", 0, NULL) && PQpipelineSync(st->conn) == 1 && pump(&f, false) == 0;
}

/* Queues the batch. False: it is in doubt. */
static bool depart(struct flight *f, const struct batch *b)
{
    bool sent = queue_batch(f, b);

    if (!sent && f->cut && f->n)
        sent = pump(f, true) == 0; /* let what was queued so far reach the server */
    if (f->cut || !sent) {
        cut(f->st);
        return false;
    }
    return true;
}

/* All of it was sent. */
static bool flushed(struct flight *f)
{
    bool go_on = f->flushed || pass(f, STORE_AT_FLUSH, ROW_KINDS);

    f->flushed = true;
    if (!go_on)
        cut(f->st);
    return go_on;
}

/* Sends what was queued and reads what becomes of it. */
static enum pg_verdict arrive(struct flight *f)
{
    if (pump(f, true) < 0)
        return f->failed ? f->verdict : PG_DOUBT;
    if (!flushed(f))
        return PG_DOUBT;
    if (pump(f, false) < 0)
        return f->failed && f->verdict != PG_FINE ? f->verdict : PG_DOUBT;
    if (!pass(f, STORE_AT_ANSWER, ROW_KINDS))
        return PG_DOUBT;
    if (f->failed && f->verdict != PG_DOUBT && !roll_back(f->st))
        drop(f->st);
    return f->verdict;
}

static enum pg_verdict fly(struct store *st, const struct batch *b, struct bt_err *err)
{
    struct flight f = {.st = st, .err = err, .verdict = PG_FINE};

    return depart(&f, b) ? arrive(&f) : PG_DOUBT;
}

/* Waits for the batch that store_send put on its way. */
static enum pg_verdict await(struct store *st, struct bt_err *err)
{
    *err = st->away_err;
    st->away.err = err;
    st->is_away = false;
    return arrive(&st->away);
}

/* The writer looks rows up by their keys, in statements and in triggers alike: plans made while
 * a table was small must not read it whole when it has grown. */
static const char session[] = "SET enable_seqscan = off; SET jit = off;"
                              "SET plan_cache_mode = force_generic_plan;"
                              "SET statement_timeout = 0";

static int read_layouts(struct store *st, struct bt_err *err)
{
    PG_RESULT_AUTO PGresult *res = NULL;
    int rc = pg_run(st->conn, session, -1, NULL, in_s(CONNECT_S), NULL, err);

    if (rc >= 0)
        rc = pg_run(st->conn, text_of("layouts"), 0, NULL, in_s(CONNECT_S), &res, err);
    for (int k = 0; rc >= 0 && k < ROW_KINDS; k++)
        if (codec_table((enum row_kind)k))
            rc = codec_layout(res, codec_table((enum row_kind)k), shape_of((enum row_kind)k).shape,
                              &st->layouts[k], err);
    return rc;
}

static bool prepare_one(struct flight *f, const char *name, const char *sql)
{
    f->names[f->n++] = name;
    return PQsendPrepare(f->st->conn, name, sql, 0, NULL) == 1;
}

static bool prepare_all(struct flight *f)
{
    static const char *const fixed[] = {"begin", "advance", "commit", "rollback"};
    bool ok = true;

    for (size_t i = 0; ok && i < BT_ARRAY_LEN(fixed); i++)
        ok = prepare_one(f, fixed[i], text_of(fixed[i]));
    for (int k = 0; ok && k < ROW_KINDS; k++) {
        const struct query *q = query_of_kind("put", (enum row_kind)k);
        BT_AUTO char *sql = q ? codec_sql(q, shape_of((enum row_kind)k)) : NULL;

        ok = !q || prepare_one(f, q->name, sql);
    }
    return ok;
}

/* Every statement of a commit, in one round trip; leaves the pipeline open. */
static int prepare(struct store *st, struct bt_err *err)
{
    struct flight f = {.st = st, .err = err};
    int rc = read_layouts(st, err);

    if (rc < 0)
        return rc;
    if (PQenterPipelineMode(st->conn) != 1 || !prepare_all(&f) || PQpipelineSync(st->conn) != 1 ||
        pump(&f, false) < 0)
        return pg_fail(err, st->conn, NULL, "prepare");
    if (f.failed)
        return -BT_ERR_INTERNAL;
    st->prepared = true;
    return 0;
}

/* On a fresh connection: what does core_head say of batch n? */
static enum store_outcome look(struct store *st, uint64_t n, bool *ret_send, struct bt_err *err)
{
    PG_RESULT_AUTO PGresult *res = NULL;
    int64_t seq;

    /* waits while a former backend of ours still has the row */
    if (pg_run(st->conn, text_of("head"), 0, NULL, bt_mono_us() + st->answer_us, &res, err) < 0)
        return STORE_DOWN;
    seq = field64(res, 1);
    if (field64(res, 0) != st->epoch || (seq != (int64_t)n && seq != (int64_t)n - 1)) {
        bt_fail(err, BT_ERR_FENCED, "epoch %lld wanted to write batch %llu, core_head is (%s, %s)",
                (long long)st->epoch, (unsigned long long)n, PQgetvalue(res, 0, 0),
                PQgetvalue(res, 0, 1));
        return STORE_FENCED;
    }
    *ret_send = seq == (int64_t)n - 1;
    return STORE_COMMITTED;
}

/* Connects anew and finds out whether the batch is still to be sent. */
static enum store_outcome reconnect(struct store *st, uint64_t n, bool *ret_send,
                                    struct bt_err *err)
{
    enum store_outcome outcome;

    if (pg_open(st->conninfo, NULL, bt_mono_us() + st->answer_us, &st->conn, err) < 0)
        return STORE_DOWN;
    outcome = look(st, n, ret_send, err);
    if (outcome != STORE_COMMITTED)
        return outcome;
    /* the doorbell again: nobody depends on it */
    if (pg_run(st->conn, text_of("doorbell_try"), 0, NULL, bt_mono_us() + st->answer_us, NULL,
               err) < 0 ||
        prepare(st, err) < 0)
        return STORE_DOWN;
    return STORE_COMMITTED;
}

/* One try. *ret_doubt: nobody knows what became of it; the connection is gone. */
static enum store_outcome attempt(struct store *st, const struct batch *b, bool *ret_doubt,
                                  struct bt_err *err)
{
    bool waits = st->is_away, send = true;

    *ret_doubt = false;
    if (!st->conn) {
        enum store_outcome outcome = reconnect(st, b->seq, &send, err);

        if (outcome != STORE_COMMITTED)
            drop(st);
        if (outcome != STORE_COMMITTED || !send)
            return outcome;
    } else if (!st->prepared && prepare(st, err) < 0) {
        drop(st);
        *ret_doubt = true;
        return STORE_DOWN;
    }
    switch (waits ? await(st, err) : fly(st, b, err)) {
    case PG_FINE:
        return STORE_COMMITTED;
    case PG_AGAIN:
        return STORE_RETRY;
    case PG_RESOURCES:
        return STORE_DOWN;
    case PG_BUG:
        return STORE_BUG;
    case PG_DOUBT:
        break;
    }
    drop(st);
    *ret_doubt = true;
    return STORE_DOWN;
}

enum store_outcome store_commit(struct store *st, const struct batch *b, struct bt_err *err)
{
    struct bt_err own = {0};
    enum store_outcome outcome = STORE_DOWN;
    bool doubt;

    err = err ? err : &own;
    *err = (struct bt_err){0};
    if (!b->rows.n)
        return STORE_COMMITTED;
    assert(st->leads);
    /* Each further try reads core_head first. The second may still meet the first one's session
     * on its way to COMMIT and be fenced by it: the third sees what that did. */
    doubt = true;
    for (int tries = 0; doubt && tries < TRIES; tries++)
        outcome = attempt(st, b, &doubt, err);
    if (outcome == STORE_COMMITTED)
        *err = (struct bt_err){0};
    else if (outcome == STORE_DOWN && err->code == 0)
        bt_fail(err, BT_ERR_UNREACHABLE, "the connection to PostgreSQL was lost");
    return outcome;
}

/* ---- without waiting ---- */

bool store_send(struct store *st, const struct batch *b)
{
    int more;

    assert(st->leads && b->rows.n && !st->is_away);
    if (!st->conn || !st->prepared)
        return false;
    st->away_err = (struct bt_err){0};
    st->away = (struct flight){.st = st, .err = &st->away_err, .verdict = PG_FINE};
    more = depart(&st->away, b) ? PQflush(st->conn) : -1;
    if (more < 0) {
        drop(st); /* store_commit asks core_head first */
        return false;
    }
    st->is_away = true;
    return !more && flushed(&st->away);
}

int store_socket(const struct store *st)
{
    return PQsocket(st->conn);
}

enum store_answer store_answered(struct store *st)
{
    struct flight *f = &st->away;

    assert(st->is_away);
    if (!PQconsumeInput(st->conn) || take_answers(f) < 0)
        return STORE_SAYS_ELSE;
    if (!f->synced)
        return STORE_NOT_YET;
    if (f->failed)
        return STORE_SAYS_ELSE;
    if (!pass(f, STORE_AT_ANSWER, ROW_KINDS)) {
        drop(st);
        return STORE_SAYS_ELSE;
    }
    st->is_away = false;
    return STORE_SAYS_DONE;
}
