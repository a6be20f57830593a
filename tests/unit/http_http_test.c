/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/pki.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include "daemon/http/http.h"
#include "daemon/http/own.h"
#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/str.h"
#include "lib/crypto/hash.h"

/* The daemon's HTTP on a stage: an engine that remembers the event and answers as told, no database
 * (what needs one is tested with a whole facility in tests/system). */
struct stage {
    char dir[64];
    char paths[3][96];
    struct pki *pki;
    struct wants_board *board;
    struct http *http;
    int port[3];
    pthread_mutex_t lock;
    pthread_cond_t came;
    struct event *last; /* owned */
    int n_events;
    int to_turn, n_turns; /* posted for the turn; turns that had something */
    uint64_t waiting[512];
    int n_waiting;
    enum { ANSWER, KEEP, BUSY } mood;
};

static struct stage st;

static char *ok_body(void)
{
    return bt_strdup("{\"state\":\"queued\"}");
}

static void commit_reply(uint64_t to)
{
    struct batch *b = batch_new();
    struct reply *r = batch_reply(b, to);

    r->http = 201;
    r->body = ok_body();
    bt_copy(r->kind, sizeof r->kind, "person");
    bt_copy(r->nation, sizeof r->nation, "cz");
    bt_copy(r->subject, sizeof r->subject, "eve");
    http_committed(st.http, b);
    batch_free(b);
}

static int post(void *arg, struct event *ev, struct bt_err *err)
{
    uint64_t to = ev->reply_to;
    bool answer;

    (void)arg;
    if (st.mood == BUSY)
        return bt_fail(err, BT_ERR_BUSY, "4096 requests are waiting");
    pthread_mutex_lock(&st.lock);
    event_free_list(st.last);
    st.last = ev;
    st.n_events++;
    answer = st.mood == ANSWER;
    if (!answer) {
        assert_true(st.n_waiting < 512);
        st.waiting[st.n_waiting++] = to;
    }
    pthread_cond_broadcast(&st.came);
    pthread_mutex_unlock(&st.lock);
    if (answer)
        commit_reply(to);
    return 0;
}

/* Agents' events come with their replies at the end of a list; they are answered in the turn. */
static int post_soon(void *arg, struct event *ev, struct bt_err *err)
{
    struct event *last = ev;
    int rc;

    while (last->next)
        last = last->next;
    ev->reply_to = last->reply_to;
    rc = post(arg, ev, err);
    st.to_turn += rc == 0;
    return rc;
}

static int turn(void *arg, const void *self)
{
    (void)arg;
    assert_non_null(self);
    st.n_turns += st.to_turn > 0;
    st.to_turn = 0;
    return -1;
}

static struct plan *no_plan(void *arg)
{
    (void)arg;
    return NULL;
}

static void status(void *arg, struct json_writer *w)
{
    (void)arg;
    jw_i64(w, "epoch", 7);
}

/* Somebody with a certificate of `nation` ("" the operator's) and a credential as told. */
static struct pki_leaf somebody(const char *nation, const char *kind, const char *subject,
                                const struct view_credential *how)
{
    struct bt_buf csr = {0}, chain = {0}, pem = {0};
    struct cert_key *key = NULL;
    struct cert_pub *pub;
    struct pki_leaf l = {0};

    assert_int_equal(cert_key_new(&key, NULL), 0);
    assert_int_equal(cert_csr_make(key, subject, &csr, NULL), 0);
    assert_int_equal(pki_issue(st.pki, &(struct pki_whom){nation, kind, subject}, csr.p, csr.n,
                               bt_now_us(), &chain, NULL),
                     0);
    assert_int_equal(cert_key_pem(key, &pem, NULL), 0);
    pub = cert_key_public(key);
    cert_pub_spki_sha256(pub, l.spki);
    if (how) {
        struct batch *b = batch_new();

        BT_GROW(b->credentials, b->n_credentials, b->cap_credentials);
        b->credentials[b->n_credentials] = *how;
        memcpy(b->credentials[b->n_credentials].spki, l.spki, 32);
        bt_copy(b->credentials[b->n_credentials].kind, 16, kind);
        bt_copy(b->credentials[b->n_credentials].nation, 16, nation);
        bt_copy(b->credentials[b->n_credentials++].subject, 64, subject);
        http_committed(st.http, b);
        batch_free(b);
    }
    l.chain = bt_buf_take(&chain);
    l.key = bt_buf_take(&pem);
    cert_pub_free(pub);
    cert_key_free(key);
    bt_buf_done(&csr);
    return l;
}

static const struct view_credential fine = {
    .active = true, .person = 3, .nation_id = 1, .roles = ROLE_RESEARCHER};

static int64_t all_signed(void *arg)
{
    (void)arg;
    return INT64_MAX;
}

static int setup(void **state)
{
    struct http_settings set = {.post = post,
                                .post_soon = post_soon,
                                .turn = turn,
                                .plan = no_plan,
                                .status = status,
                                .ledger_signed = all_signed,
                                .vkey = "test+key"};
    uint8_t spki[32];

    (void)state;
    st = (struct stage){.dir = "/tmp/bt-http-XXXXXX"};
    pthread_mutex_init(&st.lock, NULL);
    pthread_cond_init(&st.came, NULL);
    assert_non_null(mkdtemp(st.dir));
    for (int i = 0; i < 3; i++) {
        static const char *const names[] = {"pki", "blobs", "ledger"};

        snprintf(st.paths[i], sizeof st.paths[i], "%s/%s", st.dir, names[i]);
        assert_int_equal(bt_mkdirs(st.paths[i], 0700, NULL), 0);
    }
    assert_int_equal(pki_open(st.paths[0], PKI_FACILITY, NULL, 0, bt_now_us(), &st.pki, NULL), 0);
    assert_int_equal(pki_nation(st.pki, "cz", bt_now_us(), spki, NULL), 0);
    st.board = board_new(bt_now_us());
    set.pki = st.pki;
    set.board = st.board;
    set.blobs_dir = set.logs_dir = st.paths[1];
    set.ledger_dir = st.paths[2];
    set.read_conninfo = set.public_conninfo = "host=/nowhere";
    bt_copy(set.listen_people.host, 64, "127.0.0.1");
    bt_copy(set.listen_agents.host, 64, "127.0.0.1");
    bt_copy(set.listen_public.host, 64, "127.0.0.1");
    assert_int_equal(http_new(&set, &st.http, NULL), 0);
    assert_int_equal(http_listen(st.http, NULL), 0);
    http_ports(st.http, &st.port[0], &st.port[1], &st.port[2]);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    http_quiet(st.http, 100);
    http_free(st.http);
    board_free(st.board);
    pki_free(st.pki);
    event_free_list(st.last);
    pthread_mutex_destroy(&st.lock);
    pthread_cond_destroy(&st.came);
    return bt_remove_tree(st.dir, NULL);
}

static int say(struct raw *c, const char *head, const char *body, size_t n, struct bt_buf *all)
{
    BT_BUF_AUTO struct bt_buf q = {0};

    bt_buf_printf(&q, "%s HTTP/1.1\r\nHost: localhost\r\n", head);
    if (body)
        bt_buf_printf(&q, "Content-Length: %zu\r\n", n);
    bt_buf_str(&q, "\r\n");
    bt_buf_add(&q, body, n);
    bt_buf_clear(all);
    assert_true(raw_send(c, q.p, q.n));
    return raw_reply(c, all);
}

static int say_text(struct raw *c, const char *head, const char *body, struct bt_buf *all)
{
    return say(c, head, body, body ? strlen(body) : 0, all);
}

/* One request of its own connection. */
static int once(int port, const struct pki_leaf *who, const char *head, const char *body,
                struct bt_buf *all)
{
    struct raw c;
    int got;

    raw_tls(&c, port, pki_root_pem(st.pki), who);
    got = say_text(&c, head, body, all);
    raw_close(&c);
    return got;
}

#define DOC(id)                                                                              \
    "{\"id\":\"01997cc8-7c00-7abc-8def-0123456789" id "\",\"name\":\"n\",\"project\":\"p\"," \
    "\"walltime_s\":60,\"kind\":\"command\",\"code\":{\"argv\":[\"true\"]},"                 \
    "\"accelerators\":{\"count\":1}}"

static void who_asks_decides_what_is_answered(void **state)
{
    static const struct view_credential revoked = {.revoked = true}, suspended = {.person = 9};
    struct pki_leaf jana = somebody("cz", "person", "jana", &fine);
    struct pki_leaf unknown = somebody("cz", "person", "unknown", NULL);
    struct pki_leaf old = somebody("cz", "person", "old", &revoked);
    struct pki_leaf away = somebody("cz", "person", "away", &suspended);
    struct pki_leaf node = somebody("", "agent", "n1", &(struct view_credential){.active = true});
    const struct {
        int listener;
        const struct pki_leaf *who;
        const char *head, *body;
        int status;
        const char *says;
    } cases[] = {
        {0, &jana, "POST /v1/jobs", DOC("ab"), 201, "queued"},
        {0, NULL, "POST /v1/jobs", DOC("ab"), 401, "a client certificate is needed"},
        {0, &unknown, "GET /v1/whoami", NULL, 401, "not enrolled"},
        {0, &old, "GET /v1/whoami", NULL, 401, "REVOKED"},
        {0, &away, "GET /v1/whoami", NULL, 403, "suspended"},
        {0, &node, "POST /v1/jobs", DOC("ab"), 403, "FORBIDDEN"},
        {1, &jana, "POST /v1/agent/heartbeat", "{\"node\":\"n1\"}", 403, "FORBIDDEN"},
        {1, &node, "POST /v1/agent/heartbeat", "{\"node\":\"n1\",\"live\":[]}", 201, "queued"},
        {0, &jana, "PATCH /v1/jobs", NULL, 405, "only POST, GET"},
        {0, &jana, "GET /v1/nothing", NULL, 404, "NOT_FOUND"},
        {0, &jana, "GET /", NULL, 404, "NOT_FOUND"},
        {0, &jana, "POST /v1/jobs", "{", 400, "not JSON at line 1"},
        {0, &jana, "POST /v1/jobs", "{}", 400, "'id' is missing"},
        {0, &jana, "GET /metrics", NULL, 200, "beamtime_epoch 7"},
        {0, &jana, "GET /v1/openapi.json", NULL, 200, "\"openapi\":\"3.1.0\""},
        {0, &jana, "POST /v1/nations", "{\"nation\":\"cz\",\"flag\":1}", 400, "'flag'"},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        BT_BUF_AUTO struct bt_buf all = {0};
        int got =
            once(st.port[cases[i].listener], cases[i].who, cases[i].head, cases[i].body, &all);

        if (got != cases[i].status || !strstr(bt_buf_text(&all), cases[i].says))
            print_error("case %zu: %d\n%s\n", i, got, bt_buf_text(&all));
        assert_int_equal(got, cases[i].status);
        assert_non_null(strstr(all.p, cases[i].says));
        assert_non_null(strstr(all.p, "Beamtime-Request-Id: "));
    }
    pki_leaf_done(&jana);
    pki_leaf_done(&unknown);
    pki_leaf_done(&old);
    pki_leaf_done(&away);
    pki_leaf_done(&node);
}

static void a_submission_becomes_an_event(void **state)
{
    struct pki_leaf jana = somebody("cz", "person", "jana", &fine);
    BT_BUF_AUTO struct bt_buf all = {0};
    uint8_t sha[32];

    (void)state;
    assert_int_equal(once(st.port[0], &jana, "POST /v1/jobs?dry_run=1", DOC("ac"), &all), 201);
    assert_int_equal(st.last->kind, EV_SUBMIT);
    assert_true(st.last->u.submit.dry_run);
    assert_string_equal(st.last->u.submit.text, DOC("ac"));
    bt_sha256(DOC("ac"), strlen(DOC("ac")), sha);
    assert_memory_equal(st.last->u.submit.body_sha256, sha, 32);
    assert_string_equal(st.last->u.submit.spec.project, "p");
    assert_int_equal(st.last->who.kind, WHO_PERSON);
    assert_string_equal(st.last->who.subject, "jana");
    assert_string_equal(st.last->who.issuer, "cz");
    assert_memory_equal(st.last->who.spki, jana.spki, 32);
    pki_leaf_done(&jana);
}

static void a_full_queue_is_503_and_soon_again(void **state)
{
    struct pki_leaf jana = somebody("cz", "person", "jana", &fine);
    BT_BUF_AUTO struct bt_buf all = {0};

    (void)state;
    st.mood = BUSY;
    assert_int_equal(once(st.port[0], &jana, "POST /v1/jobs", DOC("ad"), &all), 503);
    assert_non_null(strstr(all.p, "Retry-After: 1"));
    assert_non_null(strstr(all.p, "\"code\":\"BUSY\""));
    st.mood = ANSWER;
    pki_leaf_done(&jana);
}

static void one_person_cannot_fill_the_queue(void **state)
{
    static struct raw c[LIMIT_PER_PERSON];
    struct pki_leaf jana = somebody("cz", "person", "jana", &fine);
    BT_BUF_AUTO struct bt_buf all = {0};
    BT_BUF_AUTO struct bt_buf q = {0};
    int n;

    (void)state;
    bt_buf_printf(&q, "POST /v1/jobs HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n%s",
                  strlen(DOC("ae")), DOC("ae"));
    for (int i = 0; i < LIMIT_PER_PERSON;
         i++) { /* handshakes first: none may wait for the others' */
        raw_tls(&c[i], st.port[0], pki_root_pem(st.pki), &jana);
        assert_true(raw_send(&c[i], q.p, q.n));
        bt_buf_clear(&all);
        assert_int_equal(raw_reply(&c[i], &all), 201);
    }
    st.mood = KEEP;
    for (int i = 0; i < LIMIT_PER_PERSON; i++)
        assert_true(raw_send(&c[i], q.p, q.n));
    pthread_mutex_lock(&st.lock);
    while (st.n_waiting < LIMIT_PER_PERSON)
        pthread_cond_wait(&st.came, &st.lock);
    n = st.n_waiting;
    st.n_waiting = 0;
    pthread_mutex_unlock(&st.lock);
    assert_int_equal(once(st.port[0], &jana, "POST /v1/jobs", DOC("af"), &all), 429);
    assert_non_null(strstr(all.p, "\"code\":\"TOO_MANY\""));
    st.mood = ANSWER;
    for (int i = 0; i < n; i++)
        commit_reply(st.waiting[i]);
    for (int i = 0; i < LIMIT_PER_PERSON; i++) {
        bt_buf_clear(&all);
        assert_int_equal(raw_reply(&c[i], &all), 201);
        raw_close(&c[i]);
    }
    assert_int_equal(once(st.port[0], &jana, "POST /v1/jobs", DOC("af"), &all), 201);
    commit_reply(st.waiting[0]); /* a reply that came twice finds nobody */
    pki_leaf_done(&jana);
}

static void a_token_and_a_request_become_a_certificate(void **state)
{
    BT_BUF_AUTO struct bt_buf csr = {0}, all = {0}, body = {0};
    JSON_AUTO struct json *root = NULL;
    struct json_writer w = {.to = &body};
    struct cert_key *key = NULL;
    struct cert *leaf = NULL;
    uint8_t sha[32];
    const char *text;

    (void)state;
    assert_int_equal(cert_key_new(&key, NULL), 0);
    assert_int_equal(cert_csr_make(key, "eve", &csr, NULL), 0);
    jw_object(&w, NULL);
    jw_str(&w, "token", "bt-secret");
    jw_str(&w, "csr", csr.p);
    jw_end_object(&w);
    assert_int_equal(once(st.port[0], NULL, "POST /v1/enrol", body.p, &all), 201);
    assert_int_equal(st.last->kind, EV_ENROL);
    bt_sha256("bt-secret", 9, sha);
    assert_memory_equal(st.last->u.enrol.token_sha256, sha, 32);
    text = strstr(all.p, "\r\n\r\n") + 4;
    assert_int_equal(json_parse(text, strlen(text), JSON_MAX_BYTES, &root, NULL), 0);
    assert_string_equal(json_str(json_get(root, "subject"), ""), "eve");
    assert_string_equal(json_str(json_get(root, "ca"), ""), pki_root_pem(st.pki));
    text = json_str(json_get(root, "certificate"), "");
    assert_int_equal(cert_from_pem(text, strlen(text), &leaf, NULL), 0);
    assert_int_equal(cert_matches_key(leaf, key, NULL), 0);
    assert_int_equal(
        once(st.port[0], NULL, "POST /v1/enrol", "{\"token\":\"x\",\"csr\":\"y\"}", &all), 400);
    cert_free(leaf);
    cert_key_free(key);
}

static void a_blob_arrives_in_parts_and_is_verified(void **state)
{
    struct pki_leaf node = somebody("", "agent", "n1", &(struct view_credential){.active = true});
    BT_BUF_AUTO struct bt_buf all = {0};
    BT_AUTO char *bytes = bt_alloc(300000, 1);
    char hex[65], head[256];
    uint8_t sha[32];
    struct raw c;

    (void)state;
    bt_random(bytes, 300000);
    bt_sha256(bytes, 300000, sha);
    bt_hex(sha, 32, hex);
    raw_tls(&c, st.port[1], pki_root_pem(st.pki), &node);
#define PUT(offset, total, from, n)                                                                \
    (snprintf(head, sizeof head, "PUT /v1/agent/blobs/%s?offset=%d&total=%d", hex, offset, total), \
     say(&c, head, bytes + (from), n, &all))
    assert_int_equal(PUT(0, 300000, 0, 100000), 200);
    assert_non_null(strstr(all.p, "{\"have\":100000}"));
    assert_int_equal(PUT(0, 300000, 0, 100000), 409); /* again: go on from where we are */
    assert_non_null(strstr(all.p, "\"have\":100000"));
    assert_int_equal(PUT(100000, 150000, 100000, 60000), 400); /* more than its total */
    assert_int_equal(PUT(100000, 300000, 100000, 200000), 201);
    assert_int_equal(PUT(0, 300000, 0, 10), 201); /* it is there: nothing is written */
    hex[0] = hex[0] == '0' ? '1' : '0';
    assert_int_equal(PUT(0, 5, 0, 5), 409); /* not the bytes of that address */
    assert_non_null(strstr(all.p, "SHA-256"));
    assert_non_null(strstr(all.p, "\"have\":0"));
    snprintf(head, sizeof head, "PUT /v1/agent/blobs/%.10s?offset=0&total=5", hex);
    assert_int_equal(say(&c, head, bytes, 5, &all), 400);
    snprintf(head, sizeof head, "PUT /v1/agent/blobs/%.10s/kept", hex);
    assert_int_equal(say(&c, head, NULL, 0, &all), 400);
    raw_close(&c);
    /* anybody may read it, as bytes that a browser never runs */
    bt_hex(sha, 32, hex);
    raw_plain(&c, st.port[2]);
    snprintf(head, sizeof head, "GET /blob/sha256/%s", hex);
    assert_int_equal(say_text(&c, head, NULL, &all), 200);
    assert_non_null(strstr(all.p, "Content-Length: 300000\r\n"));
    assert_non_null(strstr(all.p, "Content-Disposition: attachment"));
    assert_non_null(strstr(all.p, "sandbox"));
    assert_memory_equal(strstr(all.p, "\r\n\r\n") + 4, bytes, 300000);
    raw_close(&c);
    pki_leaf_done(&node);
#undef PUT
}

#define IT "\"job\":\"0192f0c1-0000-7000-8000-000000000001\",\"attempt\":2,"
#define MADE                                     \
    "\"root\":\"" ZEROS "\",\"sha256\":\"" ZEROS \
    "\",\"files\":0,\"bytes\":0,\"incomplete\":false,\"metrics\":{\"loss\":\"2.5\"}"
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000007"

static void an_end_may_bring_its_manifest(void **state)
{
    static const struct {
        const char *path, *body, *fails;
    } rows[] = {
        {"POST /v1/agent/ended", "{" IT "\"reason\":\"exited\"}", NULL},
        {"POST /v1/agent/ended", "{" IT "\"reason\":\"exited\",\"manifest\":{" MADE "}}", NULL},
        {"POST /v1/agent/manifest", "{" IT MADE "}", NULL},
        {"POST /v1/agent/ended", "{" IT "\"reason\":\"exited\",\"manifest\":{}}", "root"},
        {"POST /v1/agent/ended", "{" IT "\"reason\":\"exited\",\"manifest\":{" IT MADE "}}", "job"},
        {"POST /v1/agent/ended", "{" IT "\"reason\":\"exited\",\"manifest\":7}", "JSON object"},
        {"POST /v1/agent/manifest", "{" IT "\"files\":0}", "root"},
    };
    struct pki_leaf node = somebody("", "agent", "n8", &(struct view_credential){.active = true});
    BT_BUF_AUTO struct bt_buf all = {0};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        int got = once(st.port[1], &node, rows[i].path, rows[i].body, &all);
        const struct ev_manifest *m;

        if (rows[i].fails) {
            assert_int_equal(got, 400);
            assert_non_null(strstr(all.p, rows[i].fails));
            continue;
        }
        assert_int_equal(got, 201); /* as the engine of this test answers everything */
        m = st.last->kind == EV_MANIFEST ? &st.last->u.manifest : &st.last->u.ranks_ended.manifest;
        if (i == 0) {
            assert_false(st.last->u.ranks_ended.has_manifest);
            continue;
        }
        assert_int_equal(st.last->kind, i == 1 ? EV_RANKS_ENDED : EV_MANIFEST);
        assert_true(i == 2 || st.last->u.ranks_ended.has_manifest);
        assert_int_equal(m->attempt, 2);
        assert_int_equal(m->job.b[15], 1);
        assert_int_equal(m->root[31], 7);
        assert_string_equal(m->metrics, "{\"loss\":\"2.5\"}");
    }
    pki_leaf_done(&node);
}

#define RUNS(n) \
    "{\"job\":\"0192f0c1-0000-7000-8000-00000000000" #n "\",\"attempt\":1,\"foreign_id\":\"x\""

static void starts_may_go_along(void **state)
{
    static const struct {
        const char *path, *body, *fails;
    } rows[] = {
        {"POST /v1/agent/claim",
         "{" IT "\"foreign_id\":\"x\",\"started\":[" RUNS(2) ",\"ago_ms\":40}," RUNS(3) "}]}",
         NULL},
        {"POST /v1/agent/started",
         "{" IT
         "\"foreign_id\":\"x\",\"ago_ms\":7,\"started\":[" RUNS(2) ",\"ago_ms\":40}," RUNS(3) "}]}",
         NULL},
        {"POST /v1/agent/ended",
         "{" IT "\"reason\":\"exited\",\"started\":[" RUNS(2) ",\"ago_ms\":40}," RUNS(3) "}]}",
         NULL},
        {"POST /v1/agent/claim", "{" IT "\"foreign_id\":\"x\",\"started\":[7]}", "JSON object"},
        {"POST /v1/agent/claim", "{" IT "\"foreign_id\":\"x\",\"started\":7}", "JSON array"},
        {"POST /v1/agent/claim", "{" IT "\"foreign_id\":\"x\",\"started\":[{}]}", "job"},
        {"POST /v1/agent/claim",
         "{" IT "\"foreign_id\":\"x\",\"started\":[" RUNS(2) ",\"ago_ms\":-1}]}", "ago_ms"},
    };
    static const enum event_kind last[] = {EV_CLAIM, EV_STARTED, EV_RANKS_ENDED};
    struct pki_leaf node = somebody("", "agent", "n9", &(struct view_credential){.active = true});
    BT_BUF_AUTO struct bt_buf all = {0};
    int turns = st.n_turns;

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        int got = once(st.port[1], &node, rows[i].path, rows[i].body, &all);
        const struct event *ev = st.last;

        assert_int_equal(got, rows[i].fails ? 400 : 201);
        if (rows[i].fails) {
            assert_non_null(strstr(all.p, rows[i].fails));
            continue;
        }
        for (int k = 0; k < 2; k++, ev = ev->next) {
            assert_int_equal(ev->kind, EV_STARTED);
            assert_string_equal(ev->who.subject, "n9");
            assert_int_equal(ev->u.started.job.b[15], 2 + k);
            assert_int_equal(ev->u.started.ago_ms, k ? 0 : 40);
            assert_string_equal(ev->u.started.foreign_id, "x");
        }
        assert_int_equal(ev->kind, last[i]);
        assert_int_equal(ev->u.claim.job.b[15], 1);
        assert_null(ev->next);
    }
    assert_int_equal(st.n_turns, turns + 3);
    pki_leaf_done(&node);
}

static void an_agent_hears_of_its_wants_at_once(void **state)
{
    struct pki_leaf node = somebody("", "agent", "n7", &(struct view_credential){.active = true});
    struct want want = {
        .attempt = 1, .number = 5, .action = WANT_RUN, .node = "n7", .kind = "script"};
    BT_BUF_AUTO struct bt_buf all = {0};
    char head[96];
    const char *seq;
    struct batch *b;
    struct raw c;

    (void)state;
    raw_tls(&c, st.port[1], pki_root_pem(st.pki), &node);
    assert_int_equal(say_text(&c, "GET /v1/agent/wants", NULL, &all), 200);
    seq = strstr(all.p, "\"seq\":");
    assert_non_null(seq);
    snprintf(head, sizeof head,
             "GET /v1/agent/wants?wait=25&after=%lld HTTP/1.1\r\nHost: h\r\n\r\n",
             (long long)strtoll(seq + 6, NULL, 10));
    assert_true(raw_send(&c, head, strlen(head)));
    board_apply(st.board, &want, 1);
    b = batch_new();
    *batch_want(b) = want;
    http_committed(st.http, b);
    batch_free(b);
    bt_buf_clear(&all);
    assert_int_equal(raw_reply(&c, &all), 200);
    assert_non_null(strstr(all.p, "\"action\":\"run\""));
    raw_close(&c);
    pki_leaf_done(&node);
}

static void the_public_sees_files_and_nothing_else(void **state)
{
    static const struct {
        const char *head;
        int status;
        const char *says;
    } cases[] = {
        {"GET /checkpoint", 200, "test.example/ledger"},
        {"GET /log.vkey", 200, "test+key\n"},
        {"GET /style.css", 200, "text/css"},
        {"GET /tile/0/000.p/1", 200, "hash"},
        {"GET /tile/0/001", 404, "NOT_FOUND"},
        {"GET /tile/x", 404, "no tile"},
        {"GET /tile/0/../../pki/root.key", 404, "NOT_FOUND"},
        {"GET /blob/sha256/../../pki/root.key", 404, "NOT_FOUND"},
        {"GET /blob/sha256/AA", 404, "64 digits"},
        {"GET /record/1x", 404, "<!doctype html>"},
        {"GET /", 503, "<!doctype html>"}, /* there is no database on this stage */
        {"POST /checkpoint", 405, "only GET"},
        {"GET /v1/whoami", 404, "NOT_FOUND"},
        {"GET /v1/jobs", 404, "NOT_FOUND"},
    };
    char path[128];

    (void)state;
    snprintf(path, sizeof path, "%s/checkpoint", st.paths[2]);
    assert_int_equal(bt_file_write(path, 0644, "test.example/ledger\n", 20, NULL), 0);
    snprintf(path, sizeof path, "%s/tile/0/000.p", st.paths[2]);
    assert_int_equal(bt_mkdirs(path, 0755, NULL), 0);
    snprintf(path, sizeof path, "%s/tile/0/000.p/1", st.paths[2]);
    assert_int_equal(bt_file_write(path, 0644, "hash", 4, NULL), 0);
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        BT_BUF_AUTO struct bt_buf all = {0};
        struct raw c;
        int got;

        raw_plain(&c, st.port[2]);
        got = say_text(&c, cases[i].head, NULL, &all);
        if (got != cases[i].status || !strstr(bt_buf_text(&all), cases[i].says))
            print_error("case %zu: %d\n%s\n", i, got, bt_buf_text(&all));
        assert_int_equal(got, cases[i].status);
        assert_non_null(strstr(all.p, cases[i].says));
        raw_close(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_asks_decides_what_is_answered),
        cmocka_unit_test(a_submission_becomes_an_event),
        cmocka_unit_test(a_full_queue_is_503_and_soon_again),
        cmocka_unit_test(one_person_cannot_fill_the_queue),
        cmocka_unit_test(a_token_and_a_request_become_a_certificate),
        cmocka_unit_test(a_blob_arrives_in_parts_and_is_verified),
        cmocka_unit_test(an_end_may_bring_its_manifest),
        cmocka_unit_test(starts_may_go_along),
        cmocka_unit_test(an_agent_hears_of_its_wants_at_once),
        cmocka_unit_test(the_public_sees_files_and_nothing_else),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
