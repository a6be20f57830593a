/* bench_inventory - a facility's nodes register over HTTPS, are read back at start, lie in memory.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * bench_inventory [--nodes 12500] [--connections 2000] [--helpers 16]
 *
 * Each connection is a mutual-TLS connection of its own, kept open as an agent keeps it, under one
 * of a few helpers' certificates (a helper speaks for all nodes of its site); together they
 * register all nodes, each with the inventory of eight accelerators. register_s includes the
 * handshakes. Then the daemon is stopped and started again: load_s is the time from its start to
 * its first answer, PostgreSQL's start included; rss_mb is what it has more than before there
 * were nodes. Prose on stderr, one JSON object on stdout. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/base/time.h"
#include "tests/bench/load.h"
#include "tests/bench/rig.h"

enum { PER_NODE = 8 };

struct bench {
    struct rig rig;
    int64_t nodes, connections, helpers;
    int64_t asked, refused;
    int64_t *latency_us;
    int64_t n, cap;
};

static void identity(void *arg, int i, char *cert, char *key, size_t size)
{
    struct bench *b = arg;

    snprintf(cert, size, "%s/h%d.pem", b->rig.ids, (int)(i % b->helpers));
    snprintf(key, size, "%s/h%d.key", b->rig.ids, (int)(i % b->helpers));
}

static void write_inventory(struct bt_buf *to, int64_t node)
{
    bt_buf_printf(to, "{\"cores\":128,\"memory_bytes\":2164663517184,\"accelerators\":[");
    for (int i = 0; i < PER_NODE; i++)
        bt_buf_printf(to,
                      "%s{\"index\":%d,\"vendor\":\"nvidia\",\"model\":\"H200 SXM\","
                      "\"memory_bytes\":150754820096,\"pci\":\"0000:%02x:00.0\",\"numa\":%d,"
                      "\"uuid\":\"GPU-%08llx-%04x\",\"nvlink\":%d}",
                      i ? "," : "", i, 0x10 + 8 * i, i / 4, (unsigned long long)node, i, 18);
    bt_buf_str(to, "]}");
}

static void request(void *arg, int i, struct bt_buf *to)
{
    struct bench *b = arg;
    BT_BUF_AUTO struct bt_buf body = {0};
    int64_t node = b->asked;

    (void)i;
    if (node >= b->nodes)
        return;
    b->asked++;
    bt_buf_printf(&body,
                  "{\"node\":\"n%05lld\",\"class\":\"h200\",\"accelerators\":%d,"
                  "\"boot_id\":\"bench\",\"version\":\"bench\",\"inventory\":",
                  (long long)node, PER_NODE);
    write_inventory(&body, node);
    bt_buf_char(&body, '}');
    bt_buf_printf(to,
                  "POST /v1/agent/register HTTP/1.1\r\nHost: localhost\r\n"
                  "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                  body.n, bt_buf_text(&body));
}

static void answer(void *arg, const struct load_answer *a)
{
    struct bench *b = arg;

    if (a->status != 200 && b->refused++ == 0)
        fprintf(stderr, "status %d: %.*s\n", a->status, (int)a->n, a->body);
    BT_GROW(b->latency_us, b->n, b->cap);
    b->latency_us[b->n++] = a->got_us - a->sent_us;
}

static int parse(int argc, char **argv, struct bench *b)
{
    static const struct option options[] = {{"nodes", required_argument, NULL, 'n'},
                                            {"connections", required_argument, NULL, 'c'},
                                            {"helpers", required_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};

    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        int64_t v = o == '?' ? 0 : strtoll(optarg, NULL, 10);

        if (v < 1 || v > 100000)
            return -1;
        *(o == 'n' ? &b->nodes : o == 'c' ? &b->connections : &b->helpers) = v;
    }
    return 0;
}

static void more_files(int64_t n)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < (rlim_t)n + 256) {
        r.rlim_cur = BT_MIN((rlim_t)n + 256, r.rlim_max);
        (void)setrlimit(RLIMIT_NOFILE, &r);
    }
}

int main(int argc, char **argv)
{
    struct bench b = {.nodes = 12500, .connections = 2000, .helpers = 16};
    struct load_result got;
    struct load load;
    BT_AUTO char *ca = NULL;
    int64_t empty_kb, full_kb, load_ms, there;

    if (parse(argc, argv, &b) < 0) {
        fprintf(stderr, "bench_inventory [--nodes N] [--connections C] [--helpers H]\n");
        return 2;
    }
    b.connections = BT_MIN(b.connections, b.nodes);
    more_files(b.connections);
    rig_start(&b.rig);
    rig_people(&b.rig, 1, 1);
    for (int64_t i = 0; i < b.helpers; i++) {
        BT_AUTO char *name = bt_printf("h%d", (int)i);

        rig_helper(&b.rig, name);
    }
    rig_kill(&b.rig, SIGTERM);
    (void)rig_restart(&b.rig);
    empty_kb = rig_rss_kb(b.rig.pid, "RssAnon");
    ca = bt_printf("%s/pki/root.pem", b.rig.dir);
    load = (struct load){.host = "127.0.0.1",
                         .port = b.rig.agents,
                         .ca_file = ca,
                         .connections = (int)b.connections,
                         .identity = identity,
                         .request = request,
                         .answer = answer,
                         .at_once = true,
                         .arg = &b};
    fprintf(stderr, "%lld nodes register on %lld connections\n", (long long)b.nodes,
            (long long)b.connections);
    load_run(&load, 600, &got);
    there = rig_ask(&b.rig, "SELECT count(*) FROM node");
    rig_kill(&b.rig, SIGTERM);
    load_ms = rig_restart(&b.rig);
    full_kb = rig_rss_kb(b.rig.pid, "RssAnon");
    printf("{\"bench\":\"inventory\",\"accelerators\":%lld,\"nodes\":%lld,\"connections\":%lld,"
           "\"register_s\":%.2f,\"connect_s\":%.2f,\"register_p99_ms\":%.1f,\"load_s\":%.2f,"
           "\"rss_mb\":%.1f,\"rss_empty_mb\":%.1f,\"refused\":%lld}\n",
           (long long)there * PER_NODE, (long long)there, (long long)b.connections,
           (double)(got.connect_us + got.run_us) / 1e6, (double)got.connect_us / 1e6,
           (double)load_percentile(b.latency_us, b.n, 99) / 1e3, (double)load_ms / 1e3,
           (double)(full_kb - empty_kb) / 1024, (double)empty_kb / 1024, (long long)b.refused);
    bt_free(b.latency_us);
    rig_stop(&b.rig);
    return there == b.nodes ? 0 : 1;
}
