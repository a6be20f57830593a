/* load.h - many keep-alive mutual-TLS connections driven from one thread, a request at a time on
 * each. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_TESTS_BENCH_LOAD_H
#define BT_TESTS_BENCH_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/buf.h"

struct load_answer {
    int connection;
    int status;
    int64_t sent_us, got_us; /* bt_mono_us */
    const char *body;
    size_t n;
};

struct load {
    const char *host;
    int port;
    const char *ca_file;
    int connections;
    /* Certificate and key of connection i. */
    void (*identity)(void *arg, int i, char *cert, char *key, size_t size);
    /* Appends the next request (head and body) of connection i; nothing: it has no more. */
    void (*request)(void *arg, int i, struct bt_buf *to);
    void (*answer)(void *arg, const struct load_answer *a);
    void *arg;
    bool at_once; /* the first request follows its handshake, as an agent does: the daemon closes
                     connections that stay silent for seconds */
};

struct load_result {
    int64_t n;          /* answers */
    int64_t connect_us; /* all handshakes */
    int64_t run_us;
};

/* Opens all connections, then keeps one request outstanding on each for `seconds`. Ends the bench
 * with a sentence when a connection breaks. */
void load_run(const struct load *l, double seconds, struct load_result *ret);

/* The value below which `percent` of v[n] lie; sorts v. */
int64_t load_percentile(int64_t *v, int64_t n, double percent);

#endif
