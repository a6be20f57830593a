/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/checker/checker.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdarg.h>
#include <string.h>

#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/uuid.h"
#include "lib/ledger/log.h"
#include "lib/ledger/note.h"
#include "lib/ledger/tree.h"

struct job {
    struct bt_uuid id;
    uint8_t sha256[32];
    int64_t number, hold, charged, record_idx;
    int64_t held, spent;                    /* sums of its entries */
    int accelerators, least, tier, attempt; /* least: it may start with so many */
    int bits;                               /* accelerators in its allocations */
    int live_attempts, records;
    bool over, runs, claimed;
};

struct account {
    int64_t free, held, spent, granted; /* sums of entries */
};

struct checker {
    PGconn *conn;
    void (*found)(void *arg, const char *invariant, const char *what);
    void *arg;
    int n_found;
    struct checker_totals totals;
    struct job *jobs;
    int n_jobs;
    struct bt_map by_id; /* hash of the id → index */
    /* read before the snapshot of the tables, which may only be newer */
    struct bt_buf acks;
    struct tree_head signed_;
    bool has_signed;
    uint64_t ledger_size;
};

static void found(struct checker *c, const char *invariant, const char *fmt, ...) BT_PRINTF(3, 4);

static void found(struct checker *c, const char *invariant, const char *fmt, ...)
{
    char what[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    c->n_found++;
    c->found(c->arg, invariant, what);
}

/* ---- reading tables ---- */

static void clear_result(PGresult **res)
{
    PQclear(*res);
}
#define RESULT_AUTO BT_CLEANUP(clear_result)

static int query(struct checker *c, const char *sql, PGresult **ret, struct bt_err *err)
{
    *ret = PQexec(c->conn, sql);
    if (PQresultStatus(*ret) != PGRES_TUPLES_OK && PQresultStatus(*ret) != PGRES_COMMAND_OK)
        return bt_fail(err, BT_ERR_IO, "%.100s: %s", sql, PQresultErrorMessage(*ret));
    return 0;
}

/* A number; `none` for NULL. */
static int64_t num(const PGresult *res, int row, int column, int64_t none)
{
    int64_t v;

    if (PQgetisnull(res, row, column) ||
        bt_parse_i64(PQgetvalue(res, row, column), "", INT64_MIN, INT64_MAX, &v, NULL) < 0)
        return none;
    return v;
}

static bool yes(const PGresult *res, int row, int column)
{
    return PQgetvalue(res, row, column)[0] == 't';
}

static struct job *job_of(const struct checker *c, const char *id)
{
    struct bt_uuid u;
    uint32_t at;

    if (bt_uuid_parse(id, &u) < 0 || !bt_map_get(&c->by_id, bt_map_hash(&u, sizeof u), &at))
        return NULL;
    return &c->jobs[at];
}

static int read_jobs(struct checker *c, struct bt_err *err)
{
    RESULT_AUTO PGresult *res = NULL;
    int rc = query(c,
                   "SELECT id, encode(body_sha256, 'hex'), number, coalesce(hold_mras, 0), "
                   "coalesce(charged_mras, 0), record_idx, accelerators, tier, attempt, "
                   "state IN ('completed', 'failed', 'cancelled', 'timeout'), "
                   "state IN ('starting', 'running'), coalesce(min_accelerators, accelerators) "
                   "FROM job",
                   &res, err);

    if (rc < 0)
        return rc;
    c->n_jobs = PQntuples(res);
    c->totals.jobs = c->n_jobs;
    c->jobs = bt_new_n(struct job, (size_t)c->n_jobs + 1);
    bt_map_reserve(&c->by_id, (size_t)c->n_jobs);
    for (int i = 0; i < c->n_jobs; i++) {
        struct job *j = &c->jobs[i];

        if (bt_uuid_parse(PQgetvalue(res, i, 0), &j->id) < 0 ||
            bt_unhex(PQgetvalue(res, i, 1), j->sha256, 32) < 0)
            return bt_fail(err, BT_ERR_CORRUPT, "job %s is unreadable", PQgetvalue(res, i, 0));
        j->number = num(res, i, 2, -1);
        j->hold = num(res, i, 3, 0);
        j->charged = num(res, i, 4, 0);
        j->record_idx = num(res, i, 5, -1);
        j->accelerators = (int)num(res, i, 6, -1);
        j->tier = (int)num(res, i, 7, -1);
        j->attempt = (int)num(res, i, 8, -1);
        j->over = yes(res, i, 9);
        j->runs = yes(res, i, 10);
        j->least = (int)num(res, i, 11, -1);
        if (job_of(c, PQgetvalue(res, i, 0)))
            found(c, "I1", "job %s is there twice", PQgetvalue(res, i, 0));
        bt_map_put(&c->by_id, bt_map_hash(&j->id, sizeof j->id), (uint32_t)i);
    }
    return 0;
}

/* ---- I1 ---- */

static void check_ack(struct checker *c, char *line)
{
    char *hex = strchr(line, ' ');
    uint8_t sha256[32];
    const struct job *j;

    if (hex)
        *hex++ = '\0';
    c->totals.acks++;
    j = job_of(c, line);
    if (!j)
        found(c, "I1", "job %s was acknowledged and is not there", line);
    else if (hex && (bt_unhex(hex, sha256, 32) < 0 || memcmp(sha256, j->sha256, 32) != 0))
        found(c, "I1", "job %s was acknowledged with another body", line);
}

static void check_acks(struct checker *c)
{
    char *save = NULL;

    if (c->acks.n)
        for (char *l = strtok_r(c->acks.p, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
            check_ack(c, l);
}

/* ---- I2 ---- */

struct node {
    uint64_t all, busy, taken;
};

static int read_nodes(struct checker *c, struct node **ret, int64_t *ret_n, struct bt_err *err)
{
    RESULT_AUTO PGresult *res = NULL;
    int rc = query(c, "SELECT id, all_mask, busy FROM node ORDER BY id DESC", &res, err);
    struct node *nodes;

    if (rc < 0)
        return rc;
    *ret_n = PQntuples(res) ? num(res, 0, 0, 0) + 1 : 1;
    nodes = bt_new_n(struct node, (size_t)*ret_n);
    for (int i = 0; i < PQntuples(res); i++) {
        struct node *n = &nodes[num(res, i, 0, 0)];

        n->all = (uint64_t)num(res, i, 1, 0);
        n->busy = (uint64_t)num(res, i, 2, 0);
    }
    *ret = nodes;
    return 0;
}

static void check_alloc(struct checker *c, struct node *nodes, int64_t n_nodes, const char *job,
                        int64_t node, uint64_t mask)
{
    struct job *j = job_of(c, job);

    if (!j || node < 1 || node >= n_nodes) {
        found(c, "I2", "an allocation of job %s on node %" PRId64 " has no job or node", job, node);
        return;
    }
    if (nodes[node].taken & mask)
        found(c, "I2", "node %" PRId64 ": accelerators %016" PRIx64 " are in two jobs, one is %s",
              node, nodes[node].taken & mask, job);
    if (mask & ~nodes[node].all && j->runs)
        found(c, "I2", "job %s holds accelerators that node %" PRId64 " lacks", job, node);
    if (j->over)
        found(c, "I2", "job %s is over and holds accelerators", job);
    nodes[node].taken |= mask;
    j->bits += __builtin_popcountll(mask);
}

static int check_allocations(struct checker *c, struct bt_err *err)
{
    RESULT_AUTO PGresult *res = NULL;
    struct node *nodes = NULL;
    int64_t n = 0;
    int rc = read_nodes(c, &nodes, &n, err);

    if (rc >= 0)
        rc = query(c, "SELECT job, node, mask FROM alloc", &res, err);
    for (int i = 0; rc >= 0 && i < PQntuples(res); i++, c->totals.allocations++)
        check_alloc(c, nodes, n, PQgetvalue(res, i, 0), num(res, i, 1, -1),
                    (uint64_t)num(res, i, 2, 0));
    for (int64_t i = 0; rc >= 0 && i < n; i++)
        if (nodes[i].busy != nodes[i].taken)
            found(c, "I2", "node %" PRId64 " has %016" PRIx64 " busy, allocations say %016" PRIx64,
                  i, nodes[i].busy, nodes[i].taken);
    for (int i = 0; rc >= 0 && i < c->n_jobs; i++)
        if (c->jobs[i].runs &&
            (c->jobs[i].bits < c->jobs[i].least || c->jobs[i].bits > c->jobs[i].accelerators))
            found(c, "I2", "job %" PRId64 " runs with %d of %d accelerators", c->jobs[i].number,
                  c->jobs[i].bits, c->jobs[i].accelerators);
    bt_free(nodes);
    return rc;
}

/* ---- I3 ---- */

struct books {
    struct account *of; /* by account id */
    int64_t n;
    struct bt_map seen; /* (op, kind, part) */
};

static void book(struct checker *c, struct books *b, int64_t id, const PGresult *res, int row)
{
    struct account *a;

    if (id < 0)
        return;
    if (id >= b->n) {
        found(c, "I3", "an entry names account %" PRId64 ", which is not there", id);
        return;
    }
    a = &b->of[id];
    a->free += num(res, row, 6, 0);
    a->held += num(res, row, 7, 0);
    a->spent += num(res, row, 8, 0);
    a->granted += num(res, row, 6, 0) + num(res, row, 7, 0) + num(res, row, 8, 0);
}

static void check_entry(struct checker *c, struct books *b, const PGresult *res, int row)
{
    BT_AUTO char *key = bt_printf("%s %s %s", PQgetvalue(res, row, 0), PQgetvalue(res, row, 1),
                                  PQgetvalue(res, row, 2));
    struct job *j = job_of(c, PQgetvalue(res, row, 0));
    uint64_t hash = bt_map_hash(key, strlen(key));
    uint32_t before;

    if (bt_map_get(&b->seen, hash, &before))
        found(c, "I3", "entry %s is there twice", key);
    bt_map_put(&b->seen, hash, 1);
    if (strcmp(PQgetvalue(res, row, 1), "grant") != 0 &&
        num(res, row, 6, 0) + num(res, row, 7, 0) + num(res, row, 8, 0) != 0)
        found(c, "I3", "entry %s makes or loses quota", key);
    for (int level = 3; level <= 5; level++)
        book(c, b, num(res, row, level, -1), res, row);
    if (j) {
        j->held += num(res, row, 7, 0);
        j->spent += num(res, row, 8, 0);
    } else if (num(res, row, 7, 0) || num(res, row, 8, 0)) {
        found(c, "I3", "entry %s holds or spends for a job that is not there", key);
    }
}

static int check_entries(struct checker *c, struct books *b, struct bt_err *err)
{
    RESULT_AUTO PGresult *res = NULL;
    int rc = query(c,
                   "SELECT op, kind, part, nation, project, person, d_free, d_held, d_spent "
                   "FROM entry",
                   &res, err);

    for (int i = 0; rc >= 0 && i < PQntuples(res); i++, c->totals.entries++)
        check_entry(c, b, res, i);
    for (int i = 0; rc >= 0 && i < c->n_jobs; i++) {
        const struct job *j = &c->jobs[i];

        if (j->held != (j->over ? 0 : j->hold))
            found(c, "I3", "job %" PRId64 " holds %" PRId64 ", its entries hold %" PRId64,
                  j->number, j->over ? 0 : j->hold, j->held);
        if (j->spent != j->charged)
            found(c, "I3", "job %" PRId64 " was charged %" PRId64 ", its entries spend %" PRId64,
                  j->number, j->charged, j->spent);
    }
    return rc;
}

static int check_accounts(struct checker *c, struct bt_err *err)
{
    RESULT_AUTO PGresult *res = NULL;
    struct books b = {0};
    int rc =
        query(c, "SELECT id, granted, free, held, spent, overdraft FROM account ORDER BY id DESC",
              &res, err);

    if (rc < 0)
        return rc;
    b.n = PQntuples(res) ? num(res, 0, 0, 0) + 1 : 1;
    b.of = bt_new_n(struct account, (size_t)b.n);
    rc = check_entries(c, &b, err);
    for (int i = 0; rc >= 0 && i < PQntuples(res); i++) {
        const struct account *a = &b.of[num(res, i, 0, 0)];
        int64_t granted = num(res, i, 1, 0), left = num(res, i, 2, 0), held = num(res, i, 3, 0),
                spent = num(res, i, 4, 0);

        if (granted != left + held + spent)
            found(c, "I3", "account %s does not balance", PQgetvalue(res, i, 0));
        if (granted != a->granted || left != a->free || held != a->held || spent != a->spent)
            found(c, "I3",
                  "account %s says %" PRId64 " free, %" PRId64 " held, %" PRId64
                  " spent; its entries %" PRId64 ", %" PRId64 ", %" PRId64,
                  PQgetvalue(res, i, 0), left, held, spent, a->free, a->held, a->spent);
        if (left < -num(res, i, 5, 0) || held < 0 || spent < 0)
            found(c, "I3", "account %s is overdrawn", PQgetvalue(res, i, 0));
    }
    bt_free(b.of);
    bt_map_done(&b.seen);
    return rc;
}

/* ---- I4 and I5: the ledger ---- */

struct growing {
    struct checker *c;
    struct tree_frontier edge;
    PGresult *checkpoints;
    int next; /* checkpoint row to meet */
    /* heads that files name, filled with what this ledger has at their size */
    struct tree_head *wanted;
    int n_wanted;
};

static void meet(struct growing *g)
{
    struct tree_hash root;
    BT_BUF_AUTO struct bt_buf edge = {0};
    char hex[65];
    char *edge_hex;

    tree_frontier_root(&g->edge, &root);
    for (int i = 0; i < g->n_wanted; i++)
        if (g->wanted[i].size == g->edge.size)
            g->wanted[i].root = root;
    if (g->next >= PQntuples(g->checkpoints) ||
        (uint64_t)num(g->checkpoints, g->next, 0, -1) != g->edge.size)
        return;
    tree_frontier_save(&g->edge, &edge);
    edge_hex = bt_alloc(2 * edge.n + 1, 1);
    if (!bt_streq(bt_hex(root.b, 32, hex), PQgetvalue(g->checkpoints, g->next, 1)) ||
        !bt_streq(bt_hex(edge.p, edge.n, edge_hex), PQgetvalue(g->checkpoints, g->next, 2)))
        found(g->c, "I5", "the checkpoint of size %" PRIu64 " is of another ledger", g->edge.size);
    bt_free(edge_hex);
    g->next++;
    g->c->totals.checkpoints++;
}

static void check_record(struct checker *c, int64_t idx, const char *job, const char *body)
{
    struct job *j = job_of(c, job);

    if (!j) {
        found(c, "I4", "record %" PRId64 " is of job %s, which is not there", idx, job);
        return;
    }
    j->records++;
    if (!j->over || j->record_idx != idx)
        found(c, "I4", "record %" PRId64 " is of job %" PRId64 ", which has not ended with it", idx,
              j->number);
    if (!strstr(body, job))
        found(c, "I4", "record %" PRId64 " does not name its job", idx);
}

/* One leaf: idx, kind, job, leaf_sha256 in hex, body. */
static void check_leaf(struct growing *g, const PGresult *res, int row)
{
    const char *body = PQgetvalue(res, row, 4);
    struct tree_hash hash;
    char hex[65];

    if ((uint64_t)num(res, row, 0, -1) != g->edge.size)
        found(g->c, "I5", "leaf %s stands at place %" PRIu64, PQgetvalue(res, row, 0),
              g->edge.size);
    tree_leaf_hash(body, (size_t)PQgetlength(res, row, 4), &hash);
    if (!bt_streq(bt_hex(hash.b, 32, hex), PQgetvalue(res, row, 3)))
        found(g->c, "I5", "leaf %s has another hash than its body", PQgetvalue(res, row, 0));
    if (bt_streq(PQgetvalue(res, row, 1), "record"))
        check_record(g->c, num(res, row, 0, -1), PQgetvalue(res, row, 2), body);
    tree_frontier_add(&g->edge, &hash);
    meet(g);
    g->c->totals.leaves++;
}

static int grow(struct growing *g, struct bt_err *err)
{
    int rc;

    do { /* in pieces: a ledger is longer than memory */
        RESULT_AUTO PGresult *res = NULL;

        rc = query(g->c, "FETCH 4096 FROM leaves", &res, err);
        for (int i = 0; rc >= 0 && i < PQntuples(res); i++)
            check_leaf(g, res, i);
        if (rc >= 0)
            rc = PQntuples(res);
    } while (rc > 0);
    return rc;
}

static int check_ledger(struct checker *c, struct tree_head *wanted, int n_wanted,
                        struct bt_err *err)
{
    RESULT_AUTO PGresult *size = NULL;
    RESULT_AUTO PGresult *cursor = NULL;
    RESULT_AUTO PGresult *checkpoints = NULL;
    struct growing g = {.c = c, .wanted = wanted, .n_wanted = n_wanted};
    int rc = query(c,
                   "SELECT size, encode(root, 'hex'), encode(frontier, 'hex') FROM checkpoint "
                   "ORDER BY size",
                   &checkpoints, err);

    g.checkpoints = checkpoints;
    if (rc >= 0)
        rc = query(c, "SELECT size FROM ledger_head", &size, err);
    if (rc >= 0)
        rc = query(c,
                   "DECLARE leaves CURSOR FOR SELECT idx, kind, job, encode(leaf_sha256, 'hex'), "
                   "body FROM ledger_entry ORDER BY idx",
                   &cursor, err);
    if (rc < 0)
        return rc;
    meet(&g);
    rc = grow(&g, err);
    if (rc < 0)
        return rc;
    c->ledger_size = g.edge.size;
    if ((uint64_t)num(size, 0, 0, -1) != g.edge.size)
        found(c, "I5", "the ledger has %" PRIu64 " leaves, its head says %s", g.edge.size,
              PQgetvalue(size, 0, 0));
    if (g.next < PQntuples(checkpoints))
        found(c, "I5", "the checkpoint of size %s is ahead of the ledger",
              PQgetvalue(checkpoints, g.next, 0));
    for (int i = 0; i < c->n_jobs; i++)
        if (c->jobs[i].records != (c->jobs[i].over ? 1 : 0))
            found(c, "I4", "job %" PRId64 " %s and has %d records", c->jobs[i].number,
                  c->jobs[i].over ? "has ended" : "goes on", c->jobs[i].records);
    return 0;
}

/* ---- I5: what was signed ---- */

static int read_file(void *arg, const char *path, size_t max, struct bt_buf *to, struct bt_err *err)
{
    BT_AUTO char *full = bt_printf("%s/%s", (const char *)arg, path);

    return bt_file_read(full, max, to, err);
}

/* 1 a checkpoint, 0 none yet. */
static int read_signed(struct checker *c, const struct checker_settings *s, const char *name,
                       struct tree_head *ret, struct bt_err *err)
{
    BT_AUTO char *path = bt_printf("%s/%s", s->ledger, name);
    BT_BUF_AUTO struct bt_buf text = {0}, vkey = {0};
    struct checkpoint cp;
    struct note_key key;
    struct note note;
    int rc = bt_file_read(path, NOTE_MAX, &text, err);

    if (rc == -BT_ERR_NOT_FOUND)
        return 0;
    if (rc < 0)
        return rc;
    if (note_parse(text.p, text.n, &note, err) < 0 ||
        checkpoint_parse(note.text, note.n_text, &cp, err) < 0) {
        found(c, "I5", "%s is no signed checkpoint", path);
        return 0;
    }
    if (s->vkey) {
        rc = bt_file_read(s->vkey, NOTE_MAX, &vkey, err);
        if (rc < 0)
            return rc;
        while (vkey.n && vkey.p[vkey.n - 1] == '\n')
            vkey.p[--vkey.n] = '\0';
        rc = note_vkey_parse(bt_buf_text(&vkey), &key, err);
        if (rc < 0)
            return rc;
        if (checkpoint_open(text.p, text.n, &key, &cp, err) < 0)
            found(c, "I5", "%s is not signed by the log", path);
    }
    *ret = cp.head;
    return 1;
}

static int check_files(struct checker *c, const char *dir, struct bt_err *err)
{
    const struct log_source from = {read_file, (void *)(uintptr_t)dir};
    struct tree_head mine = {.size = c->signed_.size};
    struct bt_err why = {0};
    int rc = check_ledger(c, &mine, c->has_signed, err);

    if (rc < 0 || !c->has_signed)
        return rc;
    if (mine.size > c->ledger_size)
        found(c, "I5", "a checkpoint of %" PRIu64 " leaves was signed, there are %" PRIu64,
              mine.size, c->ledger_size);
    else if (!tree_hash_eq(&c->signed_.root, &mine.root))
        found(c, "I5", "the signed checkpoint of size %" PRIu64 " is of another ledger", mine.size);
    else if (log_check(&from, 0, &c->signed_, &why) < 0)
        found(c, "I5", "the published files do not give the signed root: %s", why.text);
    return 0;
}

/* ---- I6 and I7 ---- */

static int check_attempts(struct checker *c, struct bt_err *err)
{
    RESULT_AUTO PGresult *res = NULL;
    int rc =
        query(c, "SELECT job, n, state = 'ended', claimed_us IS NOT NULL FROM attempt", &res, err);

    for (int i = 0; rc >= 0 && i < PQntuples(res); i++) {
        struct job *j = job_of(c, PQgetvalue(res, i, 0));

        if (!j || num(res, i, 1, 0) > j->attempt) {
            found(c, "I7", "attempt %s of job %s is of no job", PQgetvalue(res, i, 1),
                  PQgetvalue(res, i, 0));
        } else if (!yes(res, i, 2)) {
            j->live_attempts++;
            j->claimed = yes(res, i, 3);
        }
    }
    for (int i = 0; rc >= 0 && i < c->n_jobs; i++) {
        const struct job *j = &c->jobs[i];

        if (j->live_attempts > (j->over ? 0 : 1) || (j->runs && j->live_attempts != 1))
            found(c, "I7", "job %" PRId64 " has %d attempts that have not ended", j->number,
                  j->live_attempts);
    }
    return rc;
}

/* Of what was started and is not being stopped: each of the five locks, at the time of start.
 * Open work (tier 0) needs nobody's clearance, also none that has not ended. */
static int check_clearances(struct checker *c, struct bt_err *err)
{
    static const char sql[] =
        "WITH live AS (SELECT j.number, j.tier, a.wanted_us, a.state, a.claimed_us, j.state AS js,"
        "  w.tier AS t1, w.tier_until_us AS u1, i.tier AS t2, i.tier_until_us AS u2,"
        "  p.tier AS t3, p.tier_until_us AS u3, s.tier AS t4, s.tier_until_us AS u4, d.tier AS t5"
        " FROM job j JOIN attempt a ON a.job = j.id AND a.n = j.attempt"
        " JOIN person w ON w.id = j.person LEFT JOIN institution i ON i.id = w.institution"
        " JOIN project p ON p.id = j.project LEFT JOIN site s ON s.id = a.site"
        " LEFT JOIN node d ON d.id = a.node"
        " WHERE j.state IN ('starting', 'running') AND coalesce(j.stop, 0) = 0)"
        "SELECT number, tier > t1 OR (tier > 0 AND u1 <= wanted_us),"
        " tier > t2 OR (tier > 0 AND u2 <= wanted_us), tier > t3 OR (tier > 0 AND u3 <= wanted_us),"
        " tier > t4 OR (tier > 0 AND u4 <= wanted_us), tier > t5,"
        " js = 'running' AND claimed_us IS NULL FROM live";
    static const char *const locks[] = {"person", "institution", "project", "site", "node"};
    RESULT_AUTO PGresult *res = NULL;
    int rc = query(c, sql, &res, err);

    for (int i = 0; rc >= 0 && i < PQntuples(res); i++) {
        for (int k = 0; k < 5; k++)
            if (yes(res, i, 1 + k))
                found(c, "I6", "job %s was started above the clearance of its %s",
                      PQgetvalue(res, i, 0), locks[k]);
        if (yes(res, i, 6))
            found(c, "I7", "job %s runs without a claim", PQgetvalue(res, i, 0));
    }
    return rc;
}

static int check_all(struct checker *c, const struct checker_settings *s, struct bt_err *err)
{
    RESULT_AUTO PGresult *begin = NULL;
    int rc = s->acks ? bt_file_read(s->acks, SIZE_MAX / 2, &c->acks, err) : 0;

    if (rc >= 0 && s->ledger) {
        rc = read_signed(c, s, "checkpoint", &c->signed_, err);
        c->has_signed = rc > 0;
    }
    if (rc >= 0)
        rc = query(c, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", &begin, err);

    if (rc >= 0)
        rc = read_jobs(c, err);
    if (rc >= 0)
        check_acks(c);
    if (rc >= 0)
        rc = check_allocations(c, err);
    if (rc >= 0)
        rc = check_accounts(c, err);
    if (rc >= 0)
        rc = check_files(c, s->ledger, err);
    if (rc >= 0)
        rc = check_attempts(c, err);
    if (rc >= 0)
        rc = check_clearances(c, err);
    return rc;
}

int checker_run(const struct checker_settings *s,
                void (*tell)(void *arg, const char *invariant, const char *what), void *arg,
                struct checker_totals *ret, struct bt_err *err)
{
    struct checker c = {.found = tell, .arg = arg};
    int rc;

    c.conn = PQconnectdb(s->conninfo);
    if (PQstatus(c.conn) != CONNECTION_OK)
        rc = bt_fail(err, BT_ERR_UNREACHABLE, "%s", PQerrorMessage(c.conn));
    else
        rc = check_all(&c, s, err);
    PQfinish(c.conn);
    bt_free(c.jobs);
    bt_map_done(&c.by_id);
    bt_buf_done(&c.acks);
    if (ret)
        *ret = c.totals;
    return rc < 0 ? rc : c.n_found;
}
