/* The relay between a site's agents and the facility, turned by hand: its two sides are sockets of
 * this one thread. SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/clusters/relay/relay.h"
#include "lib/base/mem.h"

enum { TURNS = 1000000, FAR_MS = 600000 };

/* A facility that listens, and the relay before it. */
struct site {
    int listener;
    struct relay *relay;
    struct relay_settings set;
    char to[32];
};

static int listen_on(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;

    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 64), 0);
    return fd;
}

static int port_of(int fd)
{
    struct sockaddr_in a = {0};
    socklen_t n = sizeof a;

    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    return ntohs(a.sin_port);
}

static struct relay_settings roomy(void)
{
    return (struct relay_settings){.listen = "127.0.0.1:0",
                                   .connections = 64,
                                   .per_address = 64,
                                   .handshakes = 64,
                                   .connect_ms = FAR_MS,
                                   .idle_ms = FAR_MS,
                                   .first_ms = FAR_MS};
}

static void begin(struct site *s, struct relay_settings set)
{
    *s = (struct site){.listener = listen_on(0), .set = set};
    (void)snprintf(s->to, sizeof s->to, "127.0.0.1:%d", port_of(s->listener));
    s->set.to = s->to;
    assert_int_equal(relay_open(&s->set, &s->relay, NULL), 0);
}

static void finish(struct site *s)
{
    relay_close(s->relay);
    if (s->listener >= 0)
        close(s->listener);
}

static void turn(struct site *s)
{
    assert_int_equal(relay_turn(s->relay, 20, NULL), 0);
}

/* Turns until `what` is true. Counted, not timed: a process that is stopped for a while loses
 * nothing; one that waits in vain is ended by the test's own limit. */
#define AWAIT(s, what)                            \
    do {                                          \
        for (int left = TURNS; !(what); left--) { \
            assert_true(left > 0);                \
            turn(s);                              \
        }                                         \
    } while (0)

static int node_from(const struct site *s, const char *address)
{
    struct sockaddr_in own = {.sin_family = AF_INET};
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)relay_port(s->relay)),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(inet_pton(AF_INET, address, &own.sin_addr), 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof own), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

#define HELLO "\x16 hello"

static int node_that_says_hello(const struct site *s, const char *address)
{
    int fd = node_from(s, address);

    say(fd, HELLO);
    return fd;
}

static int called(const struct site *s)
{
    int fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    assert_true(fd >= 0 || errno == EAGAIN);
    return fd;
}

/* -1 nothing yet, 0 the other end has gone (or cut it), else the bytes. */
static ssize_t hear(int fd, char *p, size_t n)
{
    ssize_t got = recv(fd, p, n, 0);

    return got < 0 && errno == ECONNRESET ? 0 : got;
}

static bool hears(int fd, const char *text)
{
    char p[64] = "";
    ssize_t n = recv(fd, p, sizeof p - 1, MSG_PEEK);

    if (n != (ssize_t)strlen(text))
        return false;
    assert_int_equal(recv(fd, p, sizeof p - 1, 0), n);
    assert_string_equal(p, text);
    return true;
}

static bool is_cut(int fd)
{
    char c;

    return hear(fd, &c, 1) == 0;
}

/* A node and the facility, connected and known to each other. */
static void meet(struct site *s, int *ret_node, int *ret_facility)
{
    *ret_node = node_that_says_hello(s, "127.0.0.1");
    AWAIT(s, (*ret_facility = called(s)) >= 0);
    AWAIT(s, hears(*ret_facility, HELLO));
    say(*ret_facility, "server");
    AWAIT(s, hears(*ret_node, "server"));
    say(*ret_node, "request");
    AWAIT(s, hears(*ret_facility, "request"));
}

/* ---- prefixes ---- */

static bool in_list(const char *list, const char *address)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6};
    struct prefixes p;
    uint8_t bytes[16];

    assert_int_equal(prefixes_parse(list, &p, NULL), 0);
    if (inet_pton(AF_INET, address, &a.sin_addr) == 1) {
        assert_true(prefix_address((struct sockaddr *)&a, bytes));
    } else {
        assert_int_equal(inet_pton(AF_INET6, address, &a6.sin6_addr), 1);
        assert_true(prefix_address((struct sockaddr *)&a6, bytes));
    }
    return prefixes_have(&p, bytes);
}

static void a_prefix_has_the_addresses_that_begin_with_it(void **unused)
{
    static const struct {
        const char *list, *address;
        bool in;
    } rows[] = {
        {"", "10.0.0.1", true},
        {" , ", "2001:db8::1", true},
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"10.0.0.0/8", "::ffff:10.0.0.1", true}, /* as a dual-stack socket tells it */
        {"10.0.0.0/8", "::1", false},
        {"10.1.2.3", "10.1.2.3", true},
        {"10.1.2.3", "10.1.2.2", false},
        {"10.1.2.2/31", "10.1.2.3", true},
        {"10.1.2.2/31", "10.1.2.4", false},
        {"0.0.0.0/0", "192.0.2.1", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "192.0.2.1", true},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"10.0.0.0/8,2001:db8::1 192.0.2.0/24", "192.0.2.77", true},
        {"10.0.0.0/8,2001:db8::1 192.0.2.0/24", "2001:db8::1", true},
        {"10.0.0.0/8,2001:db8::1 192.0.2.0/24", "2001:db8::2", false},
    };
    static const char *const wrong[] = {"10.0.0.0/33", "10.0.0.1/8",     "10.0/8", "x",
                                        "::/129",      "2001:db8::1/32", "/8",     "10.0.0.0/",
                                        "10.0.0.0/-1", "10.0.0.0/8/8"};
    struct sockaddr other = {.sa_family = AF_UNIX};
    struct prefixes p;
    uint8_t bytes[16];
    char many[PREFIXES_MAX * 10 + 10] = "";

    (void)unused;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++)
        assert_int_equal(in_list(rows[i].list, rows[i].address), rows[i].in);
    for (size_t i = 0; i < BT_ARRAY_LEN(wrong); i++)
        assert_int_equal(prefixes_parse(wrong[i], &p, NULL), -BT_ERR_INVALID);
    for (int i = 0; i <= PREFIXES_MAX; i++)
        (void)snprintf(many + strlen(many), sizeof many - strlen(many), "10.0.0.1 ");
    assert_int_equal(prefixes_parse(many, &p, NULL), -BT_ERR_INVALID);
    assert_false(prefix_address(&other, bytes));
}

/* ---- bytes ---- */

static void bytes_go_both_ways_and_an_end_is_passed_on(void **unused)
{
    struct site s;
    int node, facility;

    (void)unused;
    begin(&s, roomy());
    meet(&s, &node, &facility);
    say(node, "more");
    say(facility, "answer");
    AWAIT(&s, hears(facility, "more"));
    AWAIT(&s, hears(node, "answer"));
    say(node, "last");
    assert_int_equal(shutdown(node, SHUT_WR), 0);
    AWAIT(&s, hears(facility, "last"));
    AWAIT(&s, is_cut(facility));
    say(facility, "bye"); /* to one who only listens any more */
    AWAIT(&s, hears(node, "bye"));
    close(facility);
    AWAIT(&s, is_cut(node));
    AWAIT(&s, relay_counts(s.relay).open == 0);
    assert_int_equal(relay_counts(s.relay).carried, 1);
    close(node);
    finish(&s);
}

/* Writes what fits of a pattern that tells where it is. */
static void pour(int fd, size_t *at, size_t total)
{
    uint8_t p[4096];

    while (*at < total) {
        size_t n = BT_MIN(sizeof p, total - *at);

        for (size_t i = 0; i < n; i++)
            p[i] = (uint8_t)((*at + i) * 31 >> 3);
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent < 0) {
            assert_int_equal(errno, EAGAIN);
            return;
        }
        *at += (size_t)sent;
    }
}

static void drain(int fd, size_t *at)
{
    uint8_t p[4096];
    ssize_t n;

    while ((n = recv(fd, p, sizeof p, 0)) > 0)
        for (ssize_t i = 0; i < n; i++, (*at)++)
            assert_int_equal(p[i], (uint8_t)(*at * 31 >> 3));
}

static void a_receiver_that_waits_stops_the_sender(void **unused)
{
    enum { TOTAL = 64 << 20 };
    size_t up = 0, down = 0, up_heard = 0, down_heard = 0, before;
    struct site s;
    int node, facility;

    (void)unused;
    begin(&s, roomy());
    meet(&s, &node, &facility);
    do { /* nobody reads: until the kernel's buffers and the relay's one piece are full */
        before = up + down;
        pour(node, &up, TOTAL);
        pour(facility, &down, TOTAL);
        for (int i = 0; i < 5; i++)
            turn(&s);
    } while (up + down > before);
    assert_true(up < TOTAL && down < TOTAL);
    AWAIT(&s, (pour(node, &up, TOTAL), pour(facility, &down, TOTAL), drain(facility, &up_heard),
               drain(node, &down_heard), up_heard == TOTAL && down_heard == TOTAL));
    close(node);
    close(facility);
    finish(&s);
}

/* ---- who may ---- */

static void who_speaks_no_tls_or_nothing_is_cut(void **unused)
{
    struct relay_settings set = roomy();
    struct site s;
    int silent, plain;

    (void)unused;
    begin(&s, set);
    plain = node_from(&s, "127.0.0.1");
    say(plain, "GET / HTTP/1.1\r\n");
    AWAIT(&s, is_cut(plain));
    assert_int_equal(relay_counts(s.relay).refused, 1);
    close(plain);
    finish(&s);
    set.first_ms = 1;
    begin(&s, set);
    silent = node_from(&s, "127.0.0.1");
    AWAIT(&s, is_cut(silent));
    assert_int_equal(called(&s), -1);
    close(silent);
    finish(&s);
}

static void only_the_addresses_that_may_connect_do(void **unused)
{
    struct relay_settings set = roomy();
    struct site s;
    int in, out;

    (void)unused;
    assert_int_equal(prefixes_parse("127.0.0.2", &set.allow, NULL), 0);
    begin(&s, set);
    out = node_from(&s, "127.0.0.1");
    AWAIT(&s, is_cut(out));
    in = node_that_says_hello(&s, "127.0.0.2");
    AWAIT(&s, relay_counts(s.relay).carried == 1);
    assert_int_equal(relay_counts(s.relay).refused, 1);
    close(in);
    close(out);
    finish(&s);
}

static void an_address_has_so_many_connections(void **unused)
{
    struct relay_settings set = roomy();
    struct site s;
    int node[3];

    (void)unused;
    set.per_address = 2;
    begin(&s, set);
    for (int i = 0; i < 3; i++)
        node[i] = node_that_says_hello(&s, "127.0.0.1");
    AWAIT(&s, is_cut(node[2]));
    AWAIT(&s, relay_counts(s.relay).carried == 2);
    close(node[0]);
    AWAIT(&s, relay_counts(s.relay).open == 1);
    close(node[2]);
    node[2] = node_that_says_hello(&s, "127.0.0.1");
    AWAIT(&s, relay_counts(s.relay).carried == 3);
    for (int i = 1; i < 3; i++)
        close(node[i]);
    finish(&s);
}

static void who_finds_no_room_waits_for_it(void **unused)
{
    struct relay_settings set = roomy();
    struct site s;
    int node, facility, next;

    (void)unused;
    set.connections = 1;
    begin(&s, set);
    meet(&s, &node, &facility);
    next = node_that_says_hello(&s, "127.0.0.1");
    for (int i = 0; i < 5; i++)
        turn(&s);
    assert_int_equal(relay_counts(s.relay).accepted, 1);
    close(node);
    close(facility);
    AWAIT(&s, relay_counts(s.relay).carried == 2);
    assert_int_equal(relay_counts(s.relay).refused, 0);
    close(next);
    finish(&s);
}

/* The facility refuses who has too many connections that it does not know yet, and to it all of
 * ours come from one address. */
static void only_so_many_are_unknown_to_the_facility_at_a_time(void **unused)
{
    struct relay_settings set = roomy();
    int node[4], facility[2] = {-1, -1};
    struct site s;

    (void)unused;
    set.handshakes = 4; /* of which an address has one */
    begin(&s, set);
    for (int i = 0; i < 3; i++)
        node[i] = node_that_says_hello(&s, "127.0.0.1");
    node[3] = node_that_says_hello(&s, "127.0.0.2");
    AWAIT(&s, relay_counts(s.relay).fresh == 2 && relay_counts(s.relay).waiting == 2);
    for (int i = 0; i < 5; i++)
        turn(&s);
    assert_int_equal(relay_counts(s.relay).fresh, 2);
    for (int i = 0; i < 2; i++)
        AWAIT(&s, (facility[i] = called(&s)) >= 0);
    for (int i = 0; i < 2; i++)
        say(facility[i], "server");
    AWAIT(&s, relay_counts(s.relay).down_bytes == 12);
    for (int i = 0; i < 4; i++) /* three of one address: one of them was heard */
        say(node[i], "request");
    AWAIT(&s, relay_counts(s.relay).waiting == 1);
    close(node[0]); /* whoever goes makes room for the next */
    close(node[1]);
    close(node[2]);
    AWAIT(&s, relay_counts(s.relay).waiting == 0);
    assert_int_equal(relay_counts(s.relay).failed, 0);
    close(node[3]);
    for (int i = 0; i < 2; i++)
        close(facility[i]);
    finish(&s);
}

/* ---- the facility's absence ---- */

static void a_facility_that_is_not_there_is_said_and_found_again(void **unused)
{
    struct site s;
    const char *why;
    int node, facility, port;

    (void)unused;
    begin(&s, roomy());
    assert_true(relay_reaches(s.relay, &why));
    port = port_of(s.listener);
    close(s.listener);
    node = node_that_says_hello(&s, "127.0.0.1");
    AWAIT(&s, is_cut(node));
    close(node);
    assert_false(relay_reaches(s.relay, &why));
    assert_non_null(strstr(why, s.to));
    assert_non_null(strstr(why, "cannot be reached"));
    s.listener = listen_on(port);
    meet(&s, &node, &facility);
    assert_true(relay_reaches(s.relay, &why));
    close(node);
    close(facility);
    finish(&s);
}

static void a_facility_that_says_nothing_is_given_up(void **unused)
{
    struct relay_settings set = roomy();
    struct site s;
    const char *why;
    int node;

    (void)unused;
    set.connect_ms = 1;
    begin(&s, set);
    node = node_that_says_hello(&s, "127.0.0.1");
    AWAIT(&s, is_cut(node));
    AWAIT(&s, relay_counts(s.relay).open == 0);
    close(node);
    finish(&s);
    set.connect_ms = 1000; /* enough to be connected, not to be answered */
    begin(&s, set);
    node = node_that_says_hello(&s, "127.0.0.1");
    AWAIT(&s, is_cut(node));
    assert_false(relay_reaches(s.relay, &why));
    assert_non_null(strstr(why, "does not answer"));
    close(node);
    finish(&s);
}

static void a_connection_on_which_nothing_moves_ends(void **unused)
{
    struct relay_settings set = roomy();
    struct site s;
    int node, facility;

    (void)unused;
    set.idle_ms = 1;
    begin(&s, set);
    node = node_that_says_hello(&s, "127.0.0.1");
    AWAIT(&s, (facility = called(&s)) >= 0);
    say(facility, "server");
    AWAIT(&s, hears(node, "server"));
    say(node, "request");
    AWAIT(&s, is_cut(node));
    close(node);
    close(facility);
    finish(&s);
}

static void wrong_settings_are_named(void **unused)
{
    struct relay_settings set = roomy();
    struct relay *r;

    (void)unused;
    set.to = "nowhere";
    assert_int_equal(relay_open(&set, &r, NULL), -BT_ERR_INVALID);
    set.to = "no-such-host.invalid:1";
    assert_int_equal(relay_open(&set, &r, NULL), -BT_ERR_UNREACHABLE);
    set.to = "127.0.0.1:1";
    set.listen = "192.0.2.1:0";
    assert_int_equal(relay_open(&set, &r, NULL), -BT_ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prefix_has_the_addresses_that_begin_with_it),
        cmocka_unit_test(bytes_go_both_ways_and_an_end_is_passed_on),
        cmocka_unit_test(a_receiver_that_waits_stops_the_sender),
        cmocka_unit_test(who_speaks_no_tls_or_nothing_is_cut),
        cmocka_unit_test(only_the_addresses_that_may_connect_do),
        cmocka_unit_test(an_address_has_so_many_connections),
        cmocka_unit_test(who_finds_no_room_waits_for_it),
        cmocka_unit_test(only_so_many_are_unknown_to_the_facility_at_a_time),
        cmocka_unit_test(a_facility_that_is_not_there_is_said_and_found_again),
        cmocka_unit_test(a_facility_that_says_nothing_is_given_up),
        cmocka_unit_test(a_connection_on_which_nothing_moves_ends),
        cmocka_unit_test(wrong_settings_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
