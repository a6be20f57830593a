/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/pki.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "lib/base/str.h"
#include "lib/serve/serve.h"

/* A handler that does what the path says:
 *   /echo     replies with the body          /later  replies from another thread
 *   /never    does not reply                 /poll   waits 100 ms, then "nothing new"
 *   /who      says the identity              /put    streams the body, replies with its length
 *   /file     sends a file's bytes 3..5      /full   its stream fails at once
 *   /turn     replies when the turn is over  /fd     when the descriptor is read that it polls */
enum { PENDING = 4096 };

struct app {
    struct server *s;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct serve_request *pending[PENDING];
    int n;
    bool stop;
    pthread_t thread;
    struct serve_request *kept; /* of /never */
    struct serve_request *held; /* of /turn and /fd, until the turn is over; the loop's thread */
    int fd;                     /* of /fd */
    atomic_int released;
};

static struct pki pki;

static void reply_text(struct serve_request *r, int status, const char *text)
{
    serve_json(r, status, bt_strdup(text), strlen(text));
}

static void *replier(void *arg)
{
    struct app *a = arg;

    pthread_mutex_lock(&a->lock);
    for (;;) {
        while (!a->n && !a->stop)
            pthread_cond_wait(&a->wake, &a->lock);
        if (a->stop)
            break;
        while (a->n) {
            struct serve_request *r = a->pending[--a->n];

            pthread_mutex_unlock(&a->lock);
            reply_text(r, 201, "{\"later\":true}");
            pthread_mutex_lock(&a->lock);
        }
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

static void count_release(void *user)
{
    atomic_fetch_add((atomic_int *)user, 1);
}

static int count_bytes(void *user, const void *p, size_t n, struct bt_err *err)
{
    (void)p;
    (void)err;
    *(int64_t *)user += (int64_t)n;
    return 0;
}

static int disk_full(void *user, const void *p, size_t n, struct bt_err *err)
{
    (void)user;
    (void)p;
    (void)n;
    return bt_fail(err, BT_ERR_DISK_FULL, "no space");
}

static void on_head(void *arg, struct serve_request *r)
{
    struct app *a = arg;

    if (!strcmp(serve_path(r), "/put")) {
        serve_set_user(r, bt_new(int64_t), bt_free);
        serve_stream_body(r, 1 << 20, count_bytes);
        return;
    }
    if (!strcmp(serve_path(r), "/full")) {
        serve_stream_body(r, 1 << 20, disk_full);
        return;
    }
    if (!strcmp(serve_path(r), "/refuse")) {
        struct bt_err e;

        bt_fail(&e, BT_ERR_FORBIDDEN, "no");
        serve_problem(r, &e, 0, NULL);
        return;
    }
    serve_set_user(r, &a->released, count_release);
    if (strcmp(serve_path(r), "/who") != 0)
        serve_want_body(r, 1000);
}

static void nothing_new(void *arg, struct serve_request *r)
{
    (void)arg;
    reply_text(r, 200, "{\"new\":false}");
}

static void send_file(struct serve_request *r)
{
    struct serve_reply reply = {
        .status = 200, .type = "application/octet-stream", .file = true, .offset = 3, .length = 3};
    char path[] = "/tmp/bt-serve-XXXXXX";

    reply.fd = mkstemp(path);
    assert_true(reply.fd >= 0);
    unlink(path);
    assert_int_equal(write(reply.fd, "abcdefgh", 8), 8);
    serve_reply_header(&reply, "Beamtime-Offset", "6");
    serve_reply(r, &reply);
}

static void who(struct serve_request *r)
{
    const struct cert_identity *id = serve_identity(r);
    char text[300];

    snprintf(text, sizeof text, "{\"who\":\"%s/%s/%s\"}", id ? id->issuer : "",
             id ? cert_kind_name(id->kind) : "nobody", id ? id->id : "");
    reply_text(r, 200, text);
}

static void on_ready(void *arg, struct serve_request *r)
{
    struct app *a = arg;
    const char *path = serve_path(r);

    if (!strcmp(path, "/never")) {
        pthread_mutex_lock(&a->lock);
        a->kept = r;
        pthread_cond_broadcast(&a->wake);
        pthread_mutex_unlock(&a->lock);
    } else if (!strcmp(path, "/later")) {
        pthread_mutex_lock(&a->lock);
        assert_true(a->n < PENDING);
        a->pending[a->n++] = r;
        pthread_cond_broadcast(&a->wake);
        pthread_mutex_unlock(&a->lock);
    } else if (!strcmp(path, "/turn")) {
        a->held = r;
    } else if (!strcmp(path, "/fd")) {
        a->held = r;
        a->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        assert_true(a->fd >= 0);
    } else if (!strcmp(path, "/poll")) {
        serve_wait(r, 100, nothing_new, NULL);
    } else if (!strcmp(path, "/who")) {
        who(r);
    } else if (!strcmp(path, "/file")) {
        send_file(r);
    } else if (!strcmp(path, "/put")) {
        char text[64];

        snprintf(text, sizeof text, "{\"have\":%lld}", (long long)*(int64_t *)serve_user(r));
        reply_text(r, 200, text);
    } else {
        size_t n;
        const char *p = serve_body(r, &n);

        serve_json(r, 200, bt_strndup(p, n), n);
    }
}

static int on_turned(void *arg)
{
    struct app *a = arg;
    uint64_t n = 1;

    if (a->fd >= 0 && read(a->fd, &n, sizeof n) != sizeof n) {
        assert_int_equal(write(a->fd, &n, sizeof n), sizeof n);
        return a->fd;
    }
    if (a->fd >= 0)
        close(a->fd);
    a->fd = -1;
    if (a->held)
        reply_text(a->held, 200, "{\"turned\":true}");
    a->held = NULL;
    return -1;
}

static void app_start(struct app *a, struct serve_settings *set, bool tls)
{
    struct serve_handler h = {.arg = a, .head = on_head, .ready = on_ready, .turned = on_turned};

    *a = (struct app){.fd = -1};
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->wake, NULL);
    if (tls) {
        set->cert_pem = pki.server_pem;
        set->key_pem = pki.server_key;
        set->ca_pem = pki.ca_pem;
        set->store = pki.store;
    }
    assert_int_equal(server_start(set, &h, &a->s, NULL), 0);
    assert_int_equal(pthread_create(&a->thread, NULL, replier, a), 0);
}

static void app_stop(struct app *a)
{
    server_stop(a->s, 2000);
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_cond_broadcast(&a->wake);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->wake);
}

static int say(struct raw *c, const char *request, struct bt_buf *all)
{
    bt_buf_clear(all);
    assert_true(raw_send(c, request, strlen(request)));
    return raw_reply(c, all);
}

/* ---- tests ---- */

static void requests_get_replies_now_and_later(void **state)
{
    struct serve_settings set = {0};
    BT_BUF_AUTO struct bt_buf all = {0};
    struct raw c;
    struct app a;

    (void)state;
    app_start(&a, &set, false);
    raw_plain(&c, server_port(a.s));
    for (int i = 0; i < 50; i++) {
        assert_int_equal(
            say(&c, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", &all), 200);
        assert_non_null(strstr(all.p, "\r\n\r\nhello"));
        assert_non_null(strstr(all.p, "Beamtime-Request-Id: 0"));
        assert_int_equal(
            say(&c, "POST /later?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", &all),
            201);
        assert_int_equal(
            say(&c, "POST /turn HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", &all), 200);
        assert_non_null(strstr(all.p, "{\"turned\":true}"));
        assert_int_equal(
            say(&c, "POST /fd HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", &all), 200);
        assert_int_equal(say(&c, "GET /poll HTTP/1.1\r\nHost: h\r\n\r\n", &all), 200);
        if (i > 1)
            continue;
        assert_int_equal(say(&c, "GET /file HTTP/1.1\r\nHost: h\r\n\r\n", &all), 200);
        assert_non_null(strstr(all.p, "\r\n\r\ndef"));
        assert_non_null(strstr(all.p, "Beamtime-Offset: 6"));
        assert_int_equal(
            say(&c, "PUT /put HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\n1234567", &all), 200);
        assert_non_null(strstr(all.p, "{\"have\":7}"));
        i = i == 1 ? 48 : i;
    }
    raw_close(&c);
    app_stop(&a);
}

static void ambiguous_framing_is_refused_and_closes(void **state)
{
    static const struct {
        const char *request;
        size_t n;
        int status; /* 0: closed without a word */
    } cases[] = {
#define REQ(text, status) {text, sizeof(text) - 1, status}
#define SMUGGLED "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
        REQ("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 37\r\nTransfer-Encoding: chunked\r\n"
            "\r\n0\r\n\r\n" SMUGGLED,
            400),
        REQ("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
            400),
        REQ("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length : 3\r\n\r\nabc", 400),
        REQ("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3, 3\r\n\r\nabc", 400),
        REQ("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc", 400),
        REQ("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        REQ("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
        REQ("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n", 400),
        REQ("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0b"
            "chunked\r\n\r\n",
            400),
        REQ("GET /who HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", 400),
        REQ("GET /who HTTP/1.1\r\nHost: h\r\nX: a\r\n\tContent-Length: 3\r\n\r\n", 400),
        REQ("GET /who HTTP/1.1\nHost: h\n\n", 400),
        REQ("GET /who HTTP/1.1\r\nHost: h\nX: b\r\n\r\n", 400),
        REQ("GET /who HTTP/1.1\r\nHost: h\r\nX: a\rY: b\r\n\r\n", 400),
        REQ("GET /who HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n", 400),
        REQ("GET /who\0/x HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        REQ("GET /who HTTP/1.1\r\nX: a\r\n\r\n", 400),
        REQ("GET /who HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        REQ("GET /who HTTP/1.1\r\nHost: a,b\r\n\r\n", 400),
        REQ("\x01GET /who HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        REQ("GET /%2e%2e%00 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        REQ("GET /a%2fb HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        REQ("GET /a\x80 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        REQ("GET http://h/who HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        REQ("GET  /who HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        REQ("GET /who HTTP/1.1 \r\nHost: h\r\n\r\n", 0),
        REQ("GET /who HTTP/1.0\r\nHost: h\r\n\r\n", 400),
        REQ("GET /who HTTP/2.0\r\nHost: h\r\n\r\n", 505),
        REQ("GET /who HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", 400),
        REQ("GET /who HTTP/1.1\r\nHost: h\r\n: empty\r\n\r\n", 400),
        REQ("GET /who HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx", 413),
        REQ("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n", 413),
        REQ("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n", 413),
        REQ("POST /echo HTTP/1.1\r\nHost: h\r\nExpect: magic\r\nContent-Length: 1\r\n\r\n", 400),
        REQ("FOO\r\n\r\n", 0),
    };
    struct serve_settings set = {0};
    struct pki_leaf jana = pki_person(&pki, "jana");
    struct app a;

    (void)state;
    app_start(&a, &set, true);
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        BT_BUF_AUTO struct bt_buf all = {0};
        struct raw c;
        int status;

        raw_tls(&c, server_port(a.s), pki.ca_pem, &jana);
        raw_send(&c, cases[i].request, cases[i].n);
        status = raw_reply(&c, &all);
        if (status != cases[i].status && !(status == 400 && cases[i].status == 0))
            print_error("case %zu: %d\n%s\n", i, status, bt_buf_text(&all));
        assert_true(status == cases[i].status || (status == 400 && cases[i].status == 0));
        assert_true(raw_closed(&c));
        raw_close(&c);
    }
    app_stop(&a);
    pki_leaf_done(&jana);
}

static void only_whom_the_store_believes_gets_in(void **state)
{
    struct serve_settings set = {0};
    int64_t now = bt_now_us(), year = INT64_C(366) * 86400 * BT_US_PER_S;
    struct pki other;
    struct pki_leaf l[8];
    struct app a;

    (void)state;
    pki_init(&other);
    app_start(&a, &set, true);
    l[0] = pki_person(&pki, "jana");
    l[1] = pki_agent(&pki, "n1");
    l[2] = pki_person(&other, "jana"); /* stranger */
    l[3] = pki_leaf(pki.cz, pki.cz_key, "cz." PKI_FACILITY, "old", CERT_PERSON, now - year);
    l[4] = pki_leaf(pki.cz, pki.cz_key, "cz." PKI_FACILITY, "early", CERT_PERSON, now + year);
    l[5] = pki_leaf(pki.op, pki.op_key, "operator." PKI_FACILITY, "s", CERT_SERVER, now);
    l[6] = pki_leaf(pki.cz, pki.cz_key, "cz." PKI_FACILITY, "n2", CERT_AGENT, now);
    l[7] = pki_leaf(pki.cz, pki.cz_key, "fr." PKI_FACILITY, "eve", CERT_PERSON, now);
    for (int i = -1; i < 8; i++) {
        static const char *const says[] = {"cz/person/jana", "operator/agent/n1"};
        BT_BUF_AUTO struct bt_buf all = {0};
        struct raw c;

        raw_tls(&c, server_port(a.s), pki.ca_pem, i < 0 ? NULL : &l[i]);
        for (int twice = 0; twice < (i < 2 ? 2 : 1); twice++)
            assert_int_equal(say(&c, "GET /who HTTP/1.1\r\nHost: h\r\n\r\n", &all),
                             i < 2 ? 200 : 401);
        if (i < 2) {
            assert_non_null(strstr(all.p, i < 0 ? "/nobody/" : says[i]));
        } else {
            assert_non_null(strstr(all.p, "UNAUTHENTICATED"));
            assert_true(raw_closed(&c));
        }
        raw_close(&c);
    }
    app_stop(&a);
    for (int i = 0; i < 8; i++)
        pki_leaf_done(&l[i]);
    pki_done(&other);
}

static int64_t read_clock(void *arg)
{
    return atomic_load((_Atomic int64_t *)arg);
}

/* What was verified for one connection stands for the next one of the same certificate, but not
 * beyond the certificate's life, and not before it. */
static void a_verified_certificate_is_not_believed_for_ever(void **state)
{
    static const struct {
        int64_t days;
        int status;
    } rows[] = {{1, 200}, {1, 200}, {0, 200}, {-3, 401}, {1, 200}, {92, 401}, {92, 401}, {2, 200}};
    const int64_t now = bt_now_us();
    _Atomic int64_t at = now;
    struct bt_clock clock = {.now_us = read_clock, .arg = &at};
    struct serve_settings set = {.clock = &clock};
    struct pki_leaf jana = pki_person(&pki, "jana");
    BT_BUF_AUTO struct bt_buf all = {0};
    struct app a;

    (void)state;
    app_start(&a, &set, true);
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct raw c;

        atomic_store(&at, now + rows[i].days * 86400 * BT_US_PER_S);
        raw_tls(&c, server_port(a.s), pki.ca_pem, &jana);
        assert_int_equal(say(&c, "GET /who HTTP/1.1\r\nHost: h\r\n\r\n", &all), rows[i].status);
        if (rows[i].status == 200)
            assert_non_null(strstr(all.p, "cz/person/jana"));
        raw_close(&c);
    }
    app_stop(&a);
    pki_leaf_done(&jana);
}

static void only_tls_13_is_spoken(void **state)
{
    struct serve_settings set = {0};
    struct app a;
    struct raw c;

    (void)state;
    app_start(&a, &set, true);
    assert_false(
        raw_tls_at(&c, server_port(a.s), pki.ca_pem, NULL, "NORMAL:-VERS-ALL:+VERS-TLS1.2"));
    raw_close(&c);
    assert_true(
        raw_tls_at(&c, server_port(a.s), pki.ca_pem, NULL, "NORMAL:-VERS-ALL:+VERS-TLS1.3"));
    raw_close(&c);
    app_stop(&a);
}

static void half_open_handshakes_are_cut(void **state)
{
    static const unsigned char hello[] = {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 1, 2, 3};
    struct serve_settings set = {.handshake_ms = 300};
    int64_t from = bt_mono_us();
    struct raw silent, partial, idle;
    struct app a;

    (void)state;
    app_start(&a, &set, true);
    raw_plain(&silent, server_port(a.s));
    raw_plain(&partial, server_port(a.s));
    assert_true(raw_send(&partial, hello, sizeof hello));
    raw_tls(&idle, server_port(a.s), pki.ca_pem, NULL); /* a handshake, but no request */
    assert_true(raw_closed(&silent));
    assert_true(raw_closed(&partial));
    assert_true(raw_closed(&idle));
    assert_true(bt_mono_us() - from < 5 * BT_US_PER_S);
    assert_int_equal(server_counts(a.s).handshakes_cut, 3);
    /* one that waits does not keep the loop turning: 5 ms a turn, some more for what happened */
    assert_in_range(server_counts(a.s).turns, 3, 100 + (bt_mono_us() - from) / 5000);
    raw_close(&silent);
    raw_close(&partial);
    raw_close(&idle);
    app_stop(&a);
}

static void a_slow_body_is_cut(void **state)
{
    struct serve_settings set = {.receive_ms = 300};
    BT_BUF_AUTO struct bt_buf all = {0};
    struct app a;
    struct raw c;

    (void)state;
    app_start(&a, &set, false);
    raw_plain(&c, server_port(a.s));
    assert_int_equal(
        say(&c, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc", &all), 0);
    raw_close(&c);
    assert_int_equal(server_counts(a.s).bodies_cut, 1);
    app_stop(&a);
    assert_int_equal(atomic_load(&a.released), 1);
}

static void nobody_answers_for_ever(void **state)
{
    struct serve_settings set = {.deadline_ms = 300};
    BT_BUF_AUTO struct bt_buf all = {0};
    struct app a;
    struct raw c;

    (void)state;
    app_start(&a, &set, false);
    raw_plain(&c, server_port(a.s));
    assert_int_equal(say(&c, "POST /never HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1", &all),
                     503);
    assert_non_null(strstr(all.p, "UNKNOWN_OUTCOME"));
    assert_non_null(strstr(all.p, "Retry-After: "));
    assert_int_equal(atomic_load(&a.released), 0); /* the handler still owns it */
    reply_text(a.kept, 201, "{}");                 /* too late, and harmless */
    assert_int_equal(say(&c, "GET /who HTTP/1.1\r\nHost: h\r\n\r\n", &all), 200);
    raw_close(&c);
    app_stop(&a);
    assert_int_equal(atomic_load(&a.released), 2);
}

static const char never[] = "GET /never HTTP/1.1\r\nHost: h\r\n\r\n";

static void wait_kept(struct app *a)
{
    pthread_mutex_lock(&a->lock);
    while (!a->kept)
        pthread_cond_wait(&a->wake, &a->lock);
    pthread_mutex_unlock(&a->lock);
}

static void a_client_that_leaves_while_it_waits_leaks_nothing(void **state)
{
    struct serve_settings set = {0};
    struct app a;
    struct raw c;

    (void)state;
    app_start(&a, &set, true);
    for (int i = 0; i < 20; i++) {
        a.kept = NULL;
        raw_tls(&c, server_port(a.s), pki.ca_pem, NULL);
        assert_true(raw_send(&c, never, strlen(never)));
        wait_kept(&a);
        raw_close(&c);
        reply_text(a.kept, 200, "{}");
    }
    /* one that is answered only after the server is gone */
    a.kept = NULL;
    raw_tls(&c, server_port(a.s), pki.ca_pem, NULL);
    assert_true(raw_send(&c, never, strlen(never)));
    wait_kept(&a);
    raw_close(&c);
    server_stop(a.s, 10);
    reply_text(a.kept, 200, "{}");
    a.s = NULL;
    app_stop(&a);
    assert_int_equal(atomic_load(&a.released), 21);
}

static void stopping_ends_waits_and_answers_the_rest(void **state)
{
    struct serve_settings set = {0};
    BT_BUF_AUTO struct bt_buf all = {0};
    int64_t from;
    struct app a;
    struct raw c;

    (void)state;
    app_start(&a, &set, false);
    raw_plain(&c, server_port(a.s));
    assert_true(raw_send(&c, never, strlen(never)));
    wait_kept(&a);
    from = bt_mono_us();
    server_stop(a.s, 100);
    assert_true(bt_mono_us() - from < 2 * BT_US_PER_S);
    assert_int_equal(raw_reply(&c, &all), 503);
    reply_text(a.kept, 200, "{}");
    raw_close(&c);
    a.s = NULL;
    app_stop(&a);
}

static void *stop(void *arg)
{
    server_stop(arg, 10000);
    return NULL;
}

/* A client that asks again as soon as it is answered must not be found waiting at the end. */
static void nothing_new_begins_while_it_stops(void **state)
{
    static const char poll_again[] = "GET /poll HTTP/1.1\r\nHost: x\r\n\r\n";
    struct serve_settings set = {0};
    BT_BUF_AUTO struct bt_buf all = {0};
    pthread_t stopper;
    struct app a;
    struct raw waits, asks;
    int status;

    (void)state;
    app_start(&a, &set, false);
    raw_plain(&asks, server_port(a.s));
    assert_int_equal(say(&asks, poll_again, &all), 200);
    raw_plain(&waits, server_port(a.s));
    assert_true(raw_send(&waits, never, strlen(never)));
    wait_kept(&a);
    assert_int_equal(pthread_create(&stopper, NULL, stop, a.s), 0);
    while ((status = say(&asks, poll_again, &all)) == 200)
        ;
    assert_int_equal(status, 503);
    assert_non_null(strstr(bt_buf_text(&all), "stopping"));
    reply_text(a.kept, 200, "{}");
    bt_buf_clear(&all);
    assert_int_equal(raw_reply(&waits, &all), 200);
    pthread_join(stopper, NULL);
    raw_close(&asks);
    raw_close(&waits);
    a.s = NULL;
    app_stop(&a);
}

static void a_failing_stream_answers_with_its_error(void **state)
{
    struct serve_settings set = {0};
    BT_BUF_AUTO struct bt_buf all = {0};
    struct app a;
    struct raw c;

    (void)state;
    app_start(&a, &set, false);
    raw_plain(&c, server_port(a.s));
    assert_int_equal(
        say(&c, "PUT /full HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabcde", &all), 507);
    assert_int_equal(say(&c, "GET /refuse HTTP/1.1\r\nHost: h\r\n\r\n", &all), 403);
    assert_non_null(strstr(all.p, "application/problem+json"));
    raw_close(&c);
    app_stop(&a);
}

static void json_that_the_client_has_is_not_sent_again(void **state)
{
    struct serve_settings set = {0};
    BT_BUF_AUTO struct bt_buf all = {0}, again = {0};
    const char *tag;
    struct app a;
    struct raw c;

    (void)state;
    app_start(&a, &set, false);
    raw_plain(&c, server_port(a.s));
    assert_int_equal(say(&c, "GET /who HTTP/1.1\r\nHost: h\r\n\r\n", &all), 200);
    tag = strstr(all.p, "ETag: \"");
    assert_non_null(tag);
    bt_buf_printf(&again, "GET /who HTTP/1.1\r\nHost: h\r\nIf-None-Match: %.34s\r\n\r\n", tag + 6);
    assert_int_equal(say(&c, again.p, &all), 304);
    assert_null(strstr(all.p, "nobody"));
    assert_int_equal(say(&c, "GET /who HTTP/1.1\r\nHost: h\r\nIf-None-Match: \"x\"\r\n\r\n", &all),
                     200);
    raw_close(&c);
    app_stop(&a);
}

static void strangers_of_one_address_are_counted(void **state)
{
    struct serve_settings set = {.per_address = 3, .count_loopback = true};
    struct pki_leaf jana = pki_person(&pki, "jana");
    BT_BUF_AUTO struct bt_buf all = {0};
    struct raw known[5], stranger[3], more;
    struct app a;

    (void)state;
    app_start(&a, &set, true);
    for (int i = 0; i < 5; i++) { /* once known they do not count */
        raw_tls(&known[i], server_port(a.s), pki.ca_pem, &jana);
        assert_int_equal(say(&known[i], "GET /who HTTP/1.1\r\nHost: h\r\n\r\n", &all), 200);
    }
    for (int i = 0; i < 3; i++)
        raw_tls(&stranger[i], server_port(a.s), pki.ca_pem, NULL);
    raw_plain(&more, server_port(a.s));
    assert_true(raw_closed(&more));
    raw_close(&more);
    for (int i = 0; i < 5; i++)
        raw_close(&known[i]);
    for (int i = 0; i < 3; i++)
        raw_close(&stranger[i]);
    app_stop(&a);
    pki_leaf_done(&jana);
}

struct load {
    int port;
    const struct pki_leaf *leaf;
    int done;
};

static void *load_run(void *arg)
{
    struct load *l = arg;
    BT_BUF_AUTO struct bt_buf all = {0};
    struct raw c;

    raw_tls(&c, l->port, pki.ca_pem, l->leaf);
    for (int i = 0; i < 200; i++)
        if (say(&c, "POST /later HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", &all) == 201)
            l->done++;
    raw_close(&c);
    return NULL;
}

static void each_of_many_waiting_requests_gets_its_reply(void **state)
{
    enum { N = 16 };
    struct serve_settings set = {0};
    struct pki_leaf jana = pki_person(&pki, "jana");
    struct load l[N];
    pthread_t t[N];
    struct app a;

    (void)state;
    app_start(&a, &set, true);
    for (int i = 0; i < N; i++) {
        l[i] = (struct load){.port = server_port(a.s), .leaf = &jana};
        assert_int_equal(pthread_create(&t[i], NULL, load_run, &l[i]), 0);
    }
    for (int i = 0; i < N; i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(l[i].done, 200);
    }
    app_stop(&a);
    assert_int_equal(atomic_load(&a.released), N * 200);
    pki_leaf_done(&jana);
}

/* Seven bytes a segment at most: records come in pieces. */
static ssize_t push_slices(gnutls_transport_ptr_t fd, const void *p, size_t n)
{
    return send((int)(intptr_t)fd, p, BT_MIN(n, 7), MSG_NOSIGNAL);
}

/* Asks /echo for a body of n bytes that begins with the number; false if it was not all sent. */
static bool ask_echo(struct raw *c, int number, int n)
{
    BT_AUTO char *text = bt_printf("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
                                   "%06d%*s",
                                   n, number, n - 6, "");

    return gnutls_record_send(c->tls, text, strlen(text)) == (ssize_t)strlen(text);
}

/* Reads whole answers to that until `upto` of them have come or the server closes; how many there
 * were. */
static int echoes(struct raw *c, int upto, int body_n)
{
    BT_BUF_AUTO struct bt_buf all = {0};
    size_t from = 0;
    int n = 0;

    while (n < upto) {
        char piece[4096], body[32];
        const char *end;
        ssize_t k = raw_recv(c, piece, sizeof piece);

        if (k <= 0)
            break;
        bt_buf_add(&all, piece, (size_t)k);
        snprintf(body, sizeof body, "\r\n\r\n%06d", n);
        while (n < upto && (end = strstr(all.p + from, "\r\n\r\n")) &&
               (int)strlen(end) >= 4 + body_n) {
            assert_memory_equal(all.p + from, "HTTP/1.1 200", 12);
            assert_memory_equal(end, body, 10);
            from = (size_t)(end + 4 + body_n - all.p);
            snprintf(body, sizeof body, "\r\n\r\n%06d", ++n);
        }
    }
    return n;
}

static const char later_and_echo[] =
    "POST /later HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
    "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nend";

static void expect_later_and_echo(struct raw *c, int times)
{
    BT_BUF_AUTO struct bt_buf all = {0};
    const char *at;
    int ends = 0;

    while (ends < times) {
        char piece[4096];
        ssize_t k = raw_recv(c, piece, sizeof piece);

        assert_true(k > 0);
        bt_buf_add(&all, piece, (size_t)k);
        ends = 0;
        for (at = all.p; (at = strstr(at, "\r\n\r\nend")); at++)
            ends++;
    }
    at = all.p;
    for (int i = 0; i < times; i++) {
        at = strstr(at, "HTTP/1.1 201");
        assert_non_null(at);
        at = strstr(at, "{\"later\":true}HTTP/1.1 200");
        assert_non_null(at);
        at++;
    }
}

static void requests_that_come_together_or_in_pieces_are_answered_in_turn(void **state)
{
    enum { N = 40 };
    struct serve_settings set = {0};
    struct pki_leaf jana = pki_person(&pki, "jana");
    struct app a;

    (void)state;
    app_start(&a, &set, true);
    for (int way = 0; way < 3; way++) { /* one record; a record each; records in pieces */
        struct raw c;
        int on = 1, off = 0;

        raw_tls(&c, server_port(a.s), pki.ca_pem, &jana);
        if (way == 0)
            gnutls_record_cork(c.tls);
        if (way == 1)
            setsockopt(c.fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on);
        if (way == 2) {
            setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            gnutls_transport_set_push_function(c.tls, push_slices);
        }
        for (int i = 0; i < N; i++)
            assert_true(ask_echo(&c, i, 6));
        if (way == 0)
            assert_true(gnutls_record_uncork(c.tls, GNUTLS_RECORD_WAIT) > 0);
        setsockopt(c.fd, IPPROTO_TCP, TCP_CORK, &off, sizeof off);
        assert_int_equal(echoes(&c, N, 6), N);
        for (int i = 0; i < 3; i++) /* one that waits keeps what follows it */
            assert_true(raw_send(&c, later_and_echo, sizeof later_and_echo - 1));
        expect_later_and_echo(&c, 3);
        raw_close(&c);
    }
    app_stop(&a);
    pki_leaf_done(&jana);
}

/* A client that asks on and on and reads nothing gets no memory of ours, and holds up nobody. */
static void who_reads_no_answers_holds_up_nobody(void **state)
{
    enum { MOST = 100000 };
    struct serve_settings set = {0};
    struct pki_leaf jana = pki_person(&pki, "jana");
    BT_BUF_AUTO struct bt_buf all = {0};
    struct timeval soon = {.tv_sec = 1};
    struct raw deaf, other;
    struct app a;
    int sent = 0;

    (void)state;
    app_start(&a, &set, true);
    raw_tls(&deaf, server_port(a.s), pki.ca_pem, &jana);
    setsockopt(deaf.fd, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon);
    setsockopt(deaf.fd, SOL_SOCKET, SO_RCVBUF, &(int){4096}, sizeof(int));
    while (sent < MOST && ask_echo(&deaf, sent, 900))
        sent++;
    raw_tls(&other, server_port(a.s), pki.ca_pem, &jana);
    assert_int_equal(
        say(&other, "POST /later HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", &all), 201);
    assert_in_range(echoes(&deaf, sent, 900), 1, sent - 1); /* it was cut */
    raw_close(&other);
    raw_close(&deaf);
    app_stop(&a);
    pki_leaf_done(&jana);
}

static void wrong_settings_are_named(void **state)
{
    struct serve_handler h = {0};
    struct serve_settings set = {.address = "localhost"};
    struct server *s;
    struct bt_err err;

    (void)state;
    assert_int_equal(server_start(&set, &h, &s, &err), -BT_ERR_INVALID);
    set.address = "192.0.2.1";
    assert_int_equal(server_start(&set, &h, &s, &err), -BT_ERR_IO);
    set.address = NULL;
    set.cert_pem = "x";
    assert_int_equal(server_start(&set, &h, &s, &err), -BT_ERR_INVALID);
    set.key_pem = set.ca_pem = "x";
    set.store = pki.store;
    assert_int_equal(server_start(&set, &h, &s, &err), -BT_ERR_INVALID);
}

static int setup(void **state)
{
    (void)state;
    pki_init(&pki);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pki_done(&pki);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_get_replies_now_and_later),
        cmocka_unit_test(ambiguous_framing_is_refused_and_closes),
        cmocka_unit_test(only_whom_the_store_believes_gets_in),
        cmocka_unit_test(a_verified_certificate_is_not_believed_for_ever),
        cmocka_unit_test(only_tls_13_is_spoken),
        cmocka_unit_test(half_open_handshakes_are_cut),
        cmocka_unit_test(a_slow_body_is_cut),
        cmocka_unit_test(nobody_answers_for_ever),
        cmocka_unit_test(a_client_that_leaves_while_it_waits_leaks_nothing),
        cmocka_unit_test(stopping_ends_waits_and_answers_the_rest),
        cmocka_unit_test(nothing_new_begins_while_it_stops),
        cmocka_unit_test(a_failing_stream_answers_with_its_error),
        cmocka_unit_test(json_that_the_client_has_is_not_sent_again),
        cmocka_unit_test(strangers_of_one_address_are_counted),
        cmocka_unit_test(each_of_many_waiting_requests_gets_its_reply),
        cmocka_unit_test(requests_that_come_together_or_in_pieces_are_answered_in_turn),
        cmocka_unit_test(who_reads_no_answers_holds_up_nobody),
        cmocka_unit_test(wrong_settings_are_named),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
