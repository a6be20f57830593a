/* bench_submit - durable submissions a second over mutual TLS, each 201 sent after its commit.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * 64 persons of 10 projects, policy, clearance, quota hold and idempotency on, real PostgreSQL
 * with fsync. Client, daemon and database share the machine. Afterwards every acknowledged id
 * must be in the database. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/time.h"
#include "lib/base/uuid.h"
#include "tests/bench/load.h"
#include "tests/bench/rig.h"

enum { PERSONS = 64, PROJECTS = 10 };

/* What connection i sends; only the id differs from one request to the next. */
struct form {
    char text[1024];
    size_t n, id_at;
};

struct bench {
    struct rig rig;
    int connections;
    struct bt_uuid *in_flight; /* of each connection */
    int64_t *latency_us;
    int64_t n, cap;
    int64_t refused;
    struct form *forms;
    struct bt_uuid *acks; /* n of them, beside latency_us */
    int64_t cap_acks;
};

static void identity(void *arg, int i, char *cert, char *key, size_t size)
{
    struct bench *b = arg;

    snprintf(cert, size, "%s/u%d.pem", b->rig.ids, i % PERSONS);
    snprintf(key, size, "%s/u%d.key", b->rig.ids, i % PERSONS);
}

static void make_form(int i, struct form *f)
{
    char body[900];
    int n = snprintf(
        body, sizeof body,
        "{\"id\":\"%36s\",\"name\":\"bench-%d\",\"project\":\"p%d\",\"kind\":\"command\","
        "\"code\":{\"argv\":[\"/bin/true\"]},\"accelerators\":{\"count\":%d,\"class\":\"cpu\"},"
        "\"walltime_s\":%d,\"purpose\":\"benchmark\",\"domains\":[\"general\"],"
        "\"data\":[\"public\"],\"params\":1000,\"environment\":{\"LANG\":\"C.UTF-8\"}}",
        "", i, (i % PERSONS) % PROJECTS, 1 + i % 8, 60 + 60 * (i % 16));

    f->n = (size_t)snprintf(
        f->text, sizeof f->text,
        "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Content-Length: %d\r\n\r\n%s",
        n, body);
    f->id_at = f->n - (size_t)n + sizeof "{\"id\":\"" - 1;
}

static void request(void *arg, int i, struct bt_buf *to)
{
    struct bench *b = arg;
    const struct form *f = &b->forms[i];
    char id[BT_UUID_TEXT];

    b->in_flight[i] = bt_uuid_new(bt_now_us());
    bt_buf_add(to, f->text, f->n);
    memcpy(to->p + to->n - f->n + f->id_at, bt_uuid_format(b->in_flight[i], id), BT_UUID_TEXT - 1);
}

static void answer(void *arg, const struct load_answer *a)
{
    struct bench *b = arg;

    if (a->status != 201) {
        if (b->refused++ == 0)
            fprintf(stderr, "status %d: %.*s\n", a->status, (int)a->n, a->body);
        return;
    }
    BT_GROW(b->latency_us, b->n, b->cap);
    BT_GROW(b->acks, b->n, b->cap_acks);
    b->acks[b->n] = b->in_flight[a->connection];
    b->latency_us[b->n++] = a->got_us - a->sent_us;
}

static void write_acks(const struct bench *b, const char *path)
{
    FILE *f = fopen(path, "we");
    char id[BT_UUID_TEXT];

    if (!f)
        rig_die("cannot write %s", path);
    for (int64_t i = 0; i < b->n; i++)
        fprintf(f, "%s\n", bt_uuid_format(b->acks[i], id));
    if (fclose(f) != 0)
        rig_die("cannot write %s", path);
}

/* Acknowledged ids that the database does not have. */
static int64_t count_lost(struct bench *b, const char *path)
{
    BT_AUTO char *sql = bt_printf("CREATE TEMP TABLE ack (id uuid); COPY ack FROM '%s'; "
                                  "SELECT count(*) FROM ack WHERE id NOT IN (SELECT id FROM job)",
                                  path);

    return rig_ask(&b->rig, sql);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"connections", required_argument, NULL, 'c'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {NULL, 0, NULL, 0}};
    struct bench b = {.connections = 64};
    struct load_result got;
    struct load load;
    double seconds = 10;
    BT_AUTO char *ca = NULL;
    BT_AUTO char *acks = NULL;
    int64_t cpu_us;
    int64_t planning;
    int o;

    while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (o == 'c')
            b.connections = (int)strtol(optarg, NULL, 10);
        else if (o == 's')
            seconds = strtod(optarg, NULL);
        else
            return 2;
    }
    rig_start(&b.rig);
    rig_people(&b.rig, PERSONS, PROJECTS);
    rig_node(&b.rig, "n1", 64);
    b.in_flight = bt_new_n(struct bt_uuid, (size_t)b.connections);
    acks = bt_printf("%s/acks", b.rig.ids);
    b.forms = bt_new_n(struct form, (size_t)b.connections);
    for (int i = 0; i < b.connections; i++)
        make_form(i, &b.forms[i]);
    ca = bt_printf("%s/pki/root.pem", b.rig.dir);
    load = (struct load){.host = "127.0.0.1",
                         .port = b.rig.people,
                         .ca_file = ca,
                         .connections = b.connections,
                         .identity = identity,
                         .request = request,
                         .answer = answer,
                         .arg = &b};
    fprintf(stderr, "submitting on %d connections for %.0f s\n", b.connections, seconds);
    cpu_us = rig_cpu_us(b.rig.pid);
    load_run(&load, seconds, &got);
    cpu_us = rig_cpu_us(b.rig.pid) - cpu_us;
    write_acks(&b, acks);
    planning = rig_ask(&b.rig, "SELECT count(*) FROM promise"); /* plans did run meanwhile */
    printf("{\"bench\":\"submit\",\"connections\":%d,\"accepted_per_s\":%.0f,\"p50_ms\":%.3f,"
           "\"p99_ms\":%.3f,\"p99_ms_while_planning\":%.3f,\"daemon_cpu_us_per_op\":%.1f,"
           "\"accepted\":%lld,\"refused\":%lld,\"planned\":%lld,\"rss_mb\":%.1f,\"lost\":%lld}\n",
           b.connections, (double)b.n / ((double)got.run_us / 1e6),
           (double)load_percentile(b.latency_us, b.n, 50) / 1e3,
           (double)load_percentile(b.latency_us, b.n, 99) / 1e3,
           (double)load_percentile(b.latency_us, b.n, 99) / 1e3,
           (double)cpu_us / (double)BT_MAX(b.n, 1), (long long)b.n, (long long)b.refused,
           (long long)planning, (double)rig_rss_kb(b.rig.pid, "VmRSS") / 1024,
           (long long)count_lost(&b, acks));
    bt_free(b.in_flight);
    bt_free(b.forms);
    bt_free(b.acks);
    bt_free(b.latency_us);
    rig_stop(&b.rig);
    return 0;
}
