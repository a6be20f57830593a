/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/pki.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include "daemon/clusters/relay/relay.h"
#include "lib/base/file.h"
#include "lib/base/str.h"
#include "lib/crypto/hash.h"
#include "lib/net/net.h"
#include "lib/net/profile.h"
#include "lib/serve/serve.h"

static struct pki pki;
static char dir[64];

/* ---- a real server ---- */

struct app {
    struct server *s;
    int posts, drops; /* so many posts of /shaky are answered 503 first */
    char keys[8][64];
    struct bt_buf blob;
    int64_t lie; /* what HEAD says besides */
};

static void text(struct serve_request *r, int status, const char *s)
{
    serve_json(r, status, bt_strdup(s), strlen(s));
}

static void on_head(void *arg, struct serve_request *r)
{
    (void)arg;
    serve_want_body(r, 32 << 20);
    (void)r;
}

static void put_blob(struct app *a, struct serve_request *r)
{
    int64_t offset = strtol(serve_query(r, "offset"), NULL, 10);
    int64_t total = strtol(serve_query(r, "total"), NULL, 10);
    struct bt_err e;
    char more[32];
    size_t n;
    const char *p = serve_body(r, &n);

    snprintf(more, sizeof more, "\"have\":%zu", a->blob.n);
    if (offset != (int64_t)a->blob.n) {
        bt_fail(&e, BT_ERR_CONFLICT, "elsewhere");
        serve_problem(r, &e, 0, more);
        return;
    }
    bt_buf_add(&a->blob, p, n);
    text(r, (int64_t)a->blob.n == total ? 201 : 200, "{}");
}

static void shaky(struct app *a, struct serve_request *r)
{
    struct bt_err e;

    bt_copy(a->keys[a->posts++ % 8], 64, serve_header(r, "Idempotency-Key"));
    if (a->drops-- > 0) {
        bt_fail(&e, BT_ERR_DB_RETRY, "not now");
        serve_problem(r, &e, 502, NULL);
    } else {
        text(r, 201, "{\"n\":1}");
    }
}

static void on_ready(void *arg, struct serve_request *r)
{
    struct app *a = arg;
    const char *path = serve_path(r);
    struct serve_reply reply = {.status = 200};
    struct bt_err e;

    if (!strcmp(path, "/shaky")) {
        shaky(a, r);
    } else if (!strcmp(path, "/blob") && !strcmp(serve_method(r), "HEAD")) {
        char have[32];

        snprintf(have, sizeof have, "%lld", (long long)a->blob.n + (long long)a->lie);
        serve_reply_header(&reply, "Beamtime-Have", have);
        serve_reply(r, &reply);
    } else if (!strcmp(path, "/blob")) {
        put_blob(a, r);
    } else if (!strcmp(path, "/log")) {
        serve_reply_header(&reply, "Beamtime-Offset", "70000");
        serve_reply_header(&reply, "Beamtime-Eof", "1");
        reply.body = bt_alloc(70000, 1);
        reply.n = 70000;
        serve_reply(r, &reply);
    } else if (!strcmp(path, "/moved") || !strcmp(path, "/round")) {
        reply.status = 307;
        serve_reply_header(&reply, "Location", !strcmp(path, "/moved") ? "/log" : path);
        reply.body = bt_strdup("elsewhere");
        reply.n = 9;
        serve_reply(r, &reply);
    } else if (!strcmp(path, "/who")) {
        text(r, 200, serve_identity(r) ? serve_identity(r)->id : "nobody");
    } else {
        bt_next(&e, bt_fail(&e, BT_ERR_QUOTA_EXCEEDED, "3 h left"), "beamtime quota show");
        serve_problem(r, &e, 0, "\"missing\":[{\"lock\":\"quota\"}]");
    }
}

static struct net_client *start(struct app *a, const char *ca, const struct pki_leaf *leaf)
{
    struct serve_settings set = {.cert_pem = pki.server_pem,
                                 .key_pem = pki.server_key,
                                 .ca_pem = pki.ca_pem,
                                 .store = pki.store};
    struct serve_handler h = {.arg = a, .head = on_head, .ready = on_ready};
    char url[64], ca_file[96], cert_file[96], key_file[96];
    struct net_settings n = {.url = url, .ca_file = ca_file, .deadline_ms = 20000};
    struct net_client *c;

    *a = (struct app){0};
    assert_int_equal(server_start(&set, &h, &a->s, NULL), 0);
    snprintf(url, sizeof url, "https://127.0.0.1:%d", server_port(a->s));
    snprintf(ca_file, sizeof ca_file, "%s/ca.pem", dir);
    snprintf(cert_file, sizeof cert_file, "%s/cert.pem", dir);
    snprintf(key_file, sizeof key_file, "%s/key.pem", dir);
    assert_int_equal(bt_file_write(ca_file, 0600, ca, strlen(ca), NULL), 0);
    if (leaf) {
        assert_int_equal(bt_file_write(cert_file, 0600, leaf->chain, strlen(leaf->chain), NULL), 0);
        assert_int_equal(bt_file_write(key_file, 0600, leaf->key, strlen(leaf->key), NULL), 0);
        n.cert_file = cert_file;
        n.key_file = key_file;
    }
    assert_int_equal(net_client_new(&n, &c, NULL), 0);
    return c;
}

static void stop(struct app *a, struct net_client *c)
{
    net_client_free(c);
    server_stop(a->s, 1000);
    bt_buf_done(&a->blob);
}

static void a_reply_or_the_servers_own_error_comes_back(void **state)
{
    struct pki_leaf jana = pki_person(&pki, "jana");
    struct net_reply r;
    struct net_client *c;
    struct bt_err err;
    struct app a;

    (void)state;
    c = start(&a, pki.ca_pem, &jana);
    assert_int_equal(net_get(c, "/who", &r, &err), 0);
    assert_string_equal(r.body, "jana");
    assert_int_equal(strlen(r.request_id), 36);
    net_reply_done(&r);
    assert_int_equal(net_post(c, "/submit", "{}", &r, &err), -BT_ERR_QUOTA_EXCEEDED);
    assert_int_equal(r.status, 409);
    assert_string_equal(err.text, "3 h left");
    assert_string_equal(err.next, "beamtime quota show");
    assert_non_null(strstr(r.body, "\"missing\""));
    assert_int_equal(strlen(r.request_id), 36);
    net_reply_done(&r);
    stop(&a, c);
    pki_leaf_done(&jana);
}

static void a_retry_carries_the_same_key(void **state)
{
    struct net_client *c;
    struct net_reply r;
    struct app a;

    (void)state;
    c = start(&a, pki.ca_pem, NULL);
    a.drops = 3;
    assert_int_equal(net_post(c, "/shaky", "{}", &r, NULL), 0);
    assert_int_equal(r.tries, 4);
    assert_int_equal(a.posts, 4);
    for (int i = 1; i < 4; i++)
        assert_string_equal(a.keys[i], a.keys[0]);
    assert_int_equal(strlen(a.keys[0]), 36);
    net_reply_done(&r);
    assert_int_equal(net_post(c, "/shaky", "{}", &r, NULL), 0);
    assert_string_not_equal(a.keys[4], a.keys[0]);
    net_reply_done(&r);
    stop(&a, c);
}

static int take(void *arg, const void *p, size_t n)
{
    (void)p;
    *(size_t *)arg += n;
    return *(size_t *)arg > 100000 ? -BT_ERR_IO : 0;
}

static void a_stream_goes_to_its_reader(void **state)
{
    size_t have = 0;
    struct net_request q = {.path = "/log", .sink = take, .sink_arg = &have};
    struct net_client *c;
    struct net_reply r;
    struct bt_err err;
    struct app a;

    (void)state;
    c = start(&a, pki.ca_pem, NULL);
    assert_int_equal(net_call(c, &q, &r, NULL), 0);
    assert_int_equal(have, 70000);
    assert_int_equal(r.offset, 70000);
    assert_true(r.eof);
    net_reply_done(&r);
    assert_int_equal(net_call(c, &q, &r, &err), -BT_ERR_IO); /* the reader has had enough */
    net_reply_done(&r);
    q.path = "/refused"; /* errors do not go to the reader */
    assert_int_equal(net_call(c, &q, &r, &err), -BT_ERR_QUOTA_EXCEEDED);
    net_reply_done(&r);
    stop(&a, c);
}

/* Only where it was asked for, and never with a certificate that is for this server alone. */
static void a_reader_is_sent_on(void **state)
{
    struct pki_leaf jana = pki_person(&pki, "jana");
    size_t have = 0;
    struct net_request q = {.path = "/moved", .sink = take, .sink_arg = &have, .follow = true};
    struct net_client *c;
    struct net_reply r;
    struct bt_err err;
    struct app a;

    (void)state;
    c = start(&a, pki.ca_pem, NULL);
    assert_int_equal(net_call(c, &q, &r, NULL), 0);
    assert_int_equal(have, 70000);
    net_reply_done(&r);
    q.path = "/round";
    q.once = true;
    assert_true(net_call(c, &q, &r, &err) < 0);
    net_reply_done(&r);
    q = (struct net_request){.path = "/moved"};
    assert_true(net_call(c, &q, &r, &err) < 0);
    assert_int_equal(r.status, 307);
    assert_string_equal(r.location, "/log");
    net_reply_done(&r);
    stop(&a, c);
    c = start(&a, pki.ca_pem, &jana);
    q.follow = true;
    assert_true(net_call(c, &q, &r, &err) < 0);
    assert_int_equal(r.status, 307);
    net_reply_done(&r);
    stop(&a, c);
    pki_leaf_done(&jana);
}

static void an_upload_goes_on_where_it_was(void **state)
{
    enum { SIZE = 40 << 20 };
    char path[96];
    BT_FD_AUTO int fd = -1;
    BT_AUTO char *bytes = bt_alloc(SIZE, 1);
    struct net_client *c;
    struct bt_err err;
    struct app a;

    (void)state;
    bt_random(bytes, SIZE);
    snprintf(path, sizeof path, "%s/blob", dir);
    assert_int_equal(bt_file_write(path, 0600, bytes, SIZE, NULL), 0);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    c = start(&a, pki.ca_pem, NULL);
    bt_buf_add(&a.blob, bytes, 1000);
    a.lie = 24; /* HEAD is behind the times: the server corrects it */
    assert_int_equal(net_upload(c, "/blob", fd, SIZE, &err), 0);
    assert_int_equal(a.blob.n, SIZE);
    assert_memory_equal(a.blob.p, bytes, SIZE);
    stop(&a, c);
}

static void a_foreign_server_is_not_believed(void **state)
{
    struct net_client *c;
    struct net_reply r;
    struct pki other;
    struct bt_err err;
    struct app a;

    (void)state;
    pki_init(&other);
    c = start(&a, other.ca_pem, NULL);
    assert_int_equal(net_get(c, "/who", &r, &err), -BT_ERR_SIGNATURE);
    net_reply_done(&r);
    stop(&a, c);
    pki_done(&other);
}

static void a_client_without_a_good_certificate_is_told(void **state)
{
    int64_t year = INT64_C(366) * 86400 * BT_US_PER_S;
    struct pki_leaf old =
        pki_leaf(pki.cz, pki.cz_key, "cz." PKI_FACILITY, "old", CERT_PERSON, bt_now_us() - year);
    struct net_client *c;
    struct net_reply r;
    struct bt_err err;
    struct app a;

    (void)state;
    c = start(&a, pki.ca_pem, &old);
    assert_int_equal(net_get(c, "/who", &r, &err), -BT_ERR_UNAUTHENTICATED);
    assert_int_equal(bt_err_exit(err.code), 4);
    net_reply_done(&r);
    stop(&a, c);
    pki_leaf_done(&old);
}

/* ---- a server that drops replies ---- */

struct dropper {
    int fd;
    int port;
    int drop;
    int seen;
    char keys[8][64];
    pthread_t thread;
};

static void *drop_run(void *arg)
{
    static const char ok[] = "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}";
    struct dropper *d = arg;

    for (;;) {
        int fd = accept(d->fd, NULL, NULL);
        char buf[4096] = "";
        size_t n = 0;
        const char *key;

        if (fd < 0)
            return NULL;
        while (n < sizeof buf - 1 && !strstr(buf, "{\"x\":1}")) {
            ssize_t k = read(fd, buf + n, sizeof buf - 1 - n);

            if (k <= 0)
                break;
            n += (size_t)k;
            buf[n] = '\0';
        }
        key = strstr(buf, "Idempotency-Key: ");
        if (key)
            snprintf(d->keys[d->seen % 8], 64, "%.36s", key + 17);
        if (d->seen++ >= d->drop)
            (void)!write(fd, ok, sizeof ok - 1);
        close(fd);
    }
}

static void drop_start(struct dropper *d, int drop)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof sa;

    *d = (struct dropper){.drop = drop, .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_int_equal(bind(d->fd, (struct sockaddr *)&sa, n), 0);
    assert_int_equal(listen(d->fd, 8), 0);
    getsockname(d->fd, (struct sockaddr *)&sa, &n);
    d->port = ntohs(sa.sin_port);
    pthread_create(&d->thread, NULL, drop_run, d);
}

static void drop_stop(struct dropper *d)
{
    shutdown(d->fd, SHUT_RDWR);
    pthread_join(d->thread, NULL);
    close(d->fd);
}

static void a_lost_answer_is_asked_for_again_with_the_same_key(void **state)
{
    struct dropper d;
    char url[64];
    struct net_settings n = {.url = url, .deadline_ms = 20000};
    struct net_client *c;
    struct net_reply r;

    (void)state;
    drop_start(&d, 3);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", d.port);
    assert_int_equal(net_client_new(&n, &c, NULL), 0);
    assert_int_equal(net_post(c, "/v1/x", "{\"x\":1}", &r, NULL), 0);
    assert_int_equal(d.seen, 4);
    for (int i = 1; i < 4; i++)
        assert_string_equal(d.keys[i], d.keys[0]);
    net_reply_done(&r);
    net_client_free(c);
    drop_stop(&d);
}

static void a_write_whose_answer_never_comes_has_an_unknown_outcome(void **state)
{
    struct dropper d;
    char url[64];
    struct net_settings n = {.url = url, .deadline_ms = 300};
    struct net_client *c;
    struct net_reply r;
    struct bt_err err;

    (void)state;
    drop_start(&d, 1000);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", d.port);
    assert_int_equal(net_client_new(&n, &c, NULL), 0);
    assert_int_equal(net_post(c, "/v1/x", "{\"x\":1}", &r, &err), -BT_ERR_UNKNOWN_OUTCOME);
    assert_string_equal(err.next, "repeat it with the same id");
    net_reply_done(&r);
    net_client_free(c);
    drop_stop(&d);
}

static void nobody_there_is_unreachable_soon(void **state)
{
    struct net_settings n = {.url = "http://127.0.0.1:1", .unreachable_ms = 200};
    int64_t from = bt_mono_us();
    struct net_client *c;
    struct net_reply r;
    struct bt_err err;

    (void)state;
    assert_int_equal(net_client_new(&n, &c, NULL), 0);
    assert_int_equal(net_get(c, "/", &r, &err), -BT_ERR_UNREACHABLE);
    assert_true(bt_mono_us() - from < 5 * BT_US_PER_S);
    assert_int_equal(bt_err_exit(err.code), 9);
    assert_non_null(strstr(err.next, "beamtimed"));
    net_reply_done(&r);
    net_client_free(c);
}

/* ---- through a relay ---- */

struct relaying {
    struct relay *r;
    pthread_t thread;
    atomic_bool stop;
    char at[32];
};

static void *keep_relaying(void *arg)
{
    struct relaying *y = arg;

    while (!atomic_load(&y->stop))
        if (relay_turn(y->r, 20, NULL) < 0)
            abort();
    return NULL;
}

static void relay_to(struct relaying *y, int port)
{
    char to[32];
    struct relay_settings set = {.listen = "127.0.0.1:0",
                                 .to = to,
                                 .connections = 16,
                                 .per_address = 16,
                                 .handshakes = 4,
                                 .connect_ms = 60000,
                                 .idle_ms = 60000,
                                 .first_ms = 60000};

    atomic_init(&y->stop, false);
    snprintf(to, sizeof to, "127.0.0.1:%d", port);
    assert_int_equal(relay_open(&set, &y->r, NULL), 0);
    snprintf(y->at, sizeof y->at, "127.0.0.1:%d", relay_port(y->r));
    assert_int_equal(pthread_create(&y->thread, NULL, keep_relaying, y), 0);
}

static void relay_ends(struct relaying *y)
{
    atomic_store(&y->stop, true);
    pthread_join(y->thread, NULL);
    relay_close(y->r);
}

static int ask_through(const char *relay, const char *url, struct net_reply *r, struct bt_err *err)
{
    char ca_file[96], cert_file[96], key_file[96];
    struct net_settings n = {.url = url,
                             .ca_file = ca_file,
                             .cert_file = cert_file,
                             .key_file = key_file,
                             .relay = relay,
                             .deadline_ms = 60000,
                             .unreachable_ms = 30000};
    struct net_request q = {.path = "/who", .once = true};
    struct net_client *c;

    snprintf(ca_file, sizeof ca_file, "%s/ca.pem", dir);
    snprintf(cert_file, sizeof cert_file, "%s/cert.pem", dir);
    snprintf(key_file, sizeof key_file, "%s/key.pem", dir);
    assert_int_equal(net_client_new(&n, &c, NULL), 0);
    int rc = net_call(c, &q, r, err);
    net_client_free(c);
    return rc;
}

static void both_ends_are_verified_through_a_relay(void **state)
{
    struct pki_leaf jana = pki_person(&pki, "jana");
    struct net_client *direct;
    struct net_reply r;
    struct relaying y;
    struct bt_err err;
    struct app a;

    (void)state;
    direct = start(&a, pki.ca_pem, &jana);
    relay_to(&y, server_port(a.s));
    /* The url's name need not lead anywhere from here: it only is what the certificate says. */
    assert_int_equal(ask_through(y.at, "https://localhost:1", &r, &err), 0);
    assert_string_equal(r.body, "jana");
    net_reply_done(&r);
    assert_int_equal(ask_through(y.at, "https://elsewhere.invalid:1", &r, &err), -BT_ERR_SIGNATURE);
    net_reply_done(&r);
    stop(&a, direct);
    assert_int_equal(ask_through(y.at, "https://localhost:1", &r, &err), -BT_ERR_UNREACHABLE);
    assert_non_null(strstr(err.text, "https://localhost:1 is not reached through the relay 127."));
    net_reply_done(&r);
    relay_ends(&y);
    assert_int_equal(ask_through(y.at, "https://localhost:1", &r, &err), -BT_ERR_UNREACHABLE);
    assert_non_null(strstr(err.text, "the relay 127."));
    assert_non_null(strstr(err.next, "beamtime-relay"));
    net_reply_done(&r);
    pki_leaf_done(&jana);
}

static void wrong_settings_are_named(void **state)
{
    struct net_settings n = {.url = "ftp://x"};
    struct net_client *c;

    (void)state;
    assert_int_equal(net_client_new(&n, &c, NULL), -BT_ERR_INVALID);
    n.url = "https://x";
    assert_int_equal(net_client_new(&n, &c, NULL), -BT_ERR_INVALID);
    n.ca_file = "/nowhere/ca.pem";
    assert_int_equal(net_client_new(&n, &c, NULL), -BT_ERR_NOT_FOUND);
}

static void what_is_escaped_is_one_segment(void **state)
{
    BT_BUF_AUTO struct bt_buf b = {0};

    (void)state;
    net_escape(&b, "a b/c?d=\xc3\xa9~");
    assert_string_equal(b.p, "a%20b%2Fc%3Fd%3D%C3%A9~");
}

static void profiles_are_saved_and_chosen(void **state)
{
    struct net_profile p = {.name = (char *)(uintptr_t) "jana",
                            .url = (char *)(uintptr_t) "https://h:1",
                            .agents_url = (char *)(uintptr_t) "https://h:2",
                            .facility = (char *)(uintptr_t)PKI_FACILITY};
    BT_BUF_AUTO struct bt_buf names = {0};
    struct net_profile back;
    struct stat st;
    struct bt_err err;
    char folder[96];

    (void)state;
    unsetenv("BEAMTIME_PROFILE");
    snprintf(folder, sizeof folder, "%s/config", dir);
    assert_int_equal(net_profile_load(folder, NULL, &back, &err), -BT_ERR_NOT_FOUND);
    assert_non_null(strstr(err.next, "beamtime enrol"));
    assert_int_equal(net_profile_save(folder, &p, "ca", "chain", "key", NULL), 0);
    assert_int_equal(net_profile_save(folder, &p, "ca", "chain", "key", NULL), -BT_ERR_CONFLICT);
    p.name = (char *)(uintptr_t) "admin";
    assert_int_equal(net_profile_save(folder, &p, "ca", "chain", "key", NULL), 0);
    assert_int_equal(net_profile_list(folder, &names, NULL), 0);
    assert_string_equal(names.p, "admin\njana\n");
    assert_int_equal(net_profile_load(folder, NULL, &back, NULL), 0);
    assert_string_equal(back.name, "jana");
    assert_string_equal(back.url, "https://h:1");
    assert_string_equal(back.agents_url, "https://h:2");
    assert_string_equal(back.public_url, "");
    assert_int_equal(stat(back.key_file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    net_profile_done(&back);
    assert_int_equal(net_profile_set_default(folder, "admin", NULL), 0);
    assert_int_equal(net_profile_load(folder, NULL, &back, NULL), 0);
    assert_string_equal(back.name, "admin");
    net_profile_done(&back);
    assert_int_equal(net_profile_load(folder, "../x", &back, NULL), -BT_ERR_INVALID);
    assert_int_equal(net_profile_load(folder, "eve", &back, NULL), -BT_ERR_NOT_FOUND);
}

static int setup(void **state)
{
    (void)state;
    pki_init(&pki);
    snprintf(dir, sizeof dir, "/tmp/bt-net-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    pki_done(&pki);
    return bt_remove_tree(dir, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_or_the_servers_own_error_comes_back),
        cmocka_unit_test(a_retry_carries_the_same_key),
        cmocka_unit_test(a_stream_goes_to_its_reader),
        cmocka_unit_test(a_reader_is_sent_on),
        cmocka_unit_test(an_upload_goes_on_where_it_was),
        cmocka_unit_test(a_foreign_server_is_not_believed),
        cmocka_unit_test(a_client_without_a_good_certificate_is_told),
        cmocka_unit_test(a_lost_answer_is_asked_for_again_with_the_same_key),
        cmocka_unit_test(a_write_whose_answer_never_comes_has_an_unknown_outcome),
        cmocka_unit_test(nobody_there_is_unreachable_soon),
        cmocka_unit_test(both_ends_are_verified_through_a_relay),
        cmocka_unit_test(wrong_settings_are_named),
        cmocka_unit_test(what_is_escaped_is_one_segment),
        cmocka_unit_test(profiles_are_saved_and_chosen),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
