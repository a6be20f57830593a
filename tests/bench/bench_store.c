/* bench_store.c - submissions and whole lives of jobs a second through store_commit, fsync on.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * bench_store [BATCH [SECONDS]]: BATCH jobs a transaction (64), for SECONDS (5) each way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/store/embedded.h"
#include "daemon/store/store.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "tests/sql/db.h"

struct bench {
    struct store *store;
    int size;
    uint64_t seq;
    int64_t number;
    int64_t ledger;
    struct bt_uuid *ids;
    int64_t *took_us; /* of each commit */
    int n_commits, cap_commits;
};

/* CPU time so far of one process, utime + stime of proc(5). */
static int64_t cpu_of(const char *pid)
{
    BT_AUTO char *path = bt_printf("/proc/%s/stat", pid);
    BT_BUF_AUTO struct bt_buf text = {0};
    const char *behind;
    unsigned long long user, kernel;

    if (bt_file_read(path, 4096, &text, NULL) < 0 || !(behind = strrchr(bt_buf_text(&text), ')')))
        return 0;
    if (sscanf(behind + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user,
               &kernel) != 2)
        return 0;
    return (int64_t)(user + kernel) * BT_US_PER_S / sysconf(_SC_CLK_TCK);
}

/* CPU time of the server's processes that live now. */
static int64_t pg_cpu_us(void)
{
    int pid = (int)embedded_pid(db_server());
    BT_AUTO char *path = bt_printf("/proc/%d/task/%d/children", pid, pid);
    BT_BUF_AUTO struct bt_buf children = {0};
    int64_t sum = 0;
    char *save = NULL;

    if (bt_file_read(path, 65536, &children, NULL) < 0 || !children.p)
        return 0;
    for (char *at = strtok_r(children.p, " ", &save); at; at = strtok_r(NULL, " ", &save))
        sum += cpu_of(at);
    return sum;
}

static int64_t own_cpu_us(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * BT_US_PER_S + u.ru_utime.tv_usec +
           u.ru_stime.tv_usec;
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void commit(struct bench *s, struct batch *b)
{
    struct bt_err err = {0};
    int64_t begin = bt_mono_us();

    b->seq = ++s->seq;
    if (store_commit(s->store, b, &err) != STORE_COMMITTED) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    BT_GROW(s->took_us, s->n_commits, s->cap_commits);
    s->took_us[s->n_commits++] = bt_mono_us() - begin;
    batch_free(b);
}

static void submit(struct bench *s)
{
    struct batch *b = batch_new();

    for (int i = 0; i < s->size; i++) {
        s->ids[i] = db_job(b, ++s->number, 1);
        db_entry(b, s->ids[i], "hold", 1, -6000, 6000, 0);
        db_job_state(b, s->ids[i], "queued");
    }
    commit(s, b);
}

/* The end of each job of the last submission: record, settlement, state, event. */
static void end(struct bench *s)
{
    struct batch *b = batch_new();

    for (int i = 0; i < s->size; i++) {
        char subject[BT_UUID_TEXT];
        struct row_job_state *state;

        db_leaf(b, s->ledger, "record", s->ids[i]);
        db_entry(b, s->ids[i], "settle", 1, 6000, -6000, 0);
        state = db_job_state(b, s->ids[i], "cancelled");
        state->record_idx = s->ledger++;
        state->record_kind = bt_strdup("record");
        db_event(b, "end", bt_uuid_format(s->ids[i], subject));
    }
    commit(s, b);
}

static void measure(struct bench *s, const char *what, bool whole, int seconds)
{
    int64_t begin = bt_mono_us(), end_us = begin + seconds * BT_US_PER_S, jobs = 0, took;
    int64_t pg = pg_cpu_us(), own = own_cpu_us();

    s->n_commits = 0;
    while (bt_mono_us() < end_us) {
        submit(s);
        if (whole)
            end(s);
        jobs += s->size;
    }
    took = bt_mono_us() - begin;
    qsort(s->took_us, (size_t)s->n_commits, sizeof *s->took_us, by_size);
    printf("{\"bench\":\"store\",\"what\":\"%s\",\"batch\":%d,\"jobs_per_s\":%.0f,"
           "\"commit_p50_ms\":%.2f,\"commit_p99_ms\":%.2f,\"pg_cpu_us_per_job\":%.1f,"
           "\"own_cpu_us_per_job\":%.1f}\n",
           what, s->size, (double)jobs * 1e6 / (double)took,
           (double)s->took_us[s->n_commits / 2] / 1e3,
           (double)s->took_us[s->n_commits * 99 / 100] / 1e3,
           (double)(pg_cpu_us() - pg) / (double)jobs, (double)(own_cpu_us() - own) / (double)jobs);
    fflush(stdout);
}

static int pass_by(void *arg, enum row_kind kind, const void *row, struct bt_err *err)
{
    (void)row;
    (void)err;
    *(int64_t *)arg += kind == ROW_KIND_job;
    return 0;
}

static void measure_load(struct bench *s)
{
    struct store_loaded loaded;
    struct bt_err err = {0};
    int64_t jobs = 0, begin = bt_mono_us();

    if (store_load(s->store, 0, pass_by, &jobs, &loaded, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    printf("{\"bench\":\"store\",\"what\":\"load\",\"jobs\":%lld,\"rows\":%lld,\"load_ms\":%.0f}\n",
           (long long)jobs, (long long)loaded.n_rows, (double)(bt_mono_us() - begin) / 1e3);
}

int main(int argc, char **argv)
{
    int64_t size = 64, seconds = 5;
    struct bench s = {0};
    struct batch *b = batch_new();

    if ((argc > 1 && bt_parse_i64(argv[1], "BATCH", 1, 100000, &size, NULL) < 0) ||
        (argc > 2 && bt_parse_i64(argv[2], "SECONDS", 1, 60, &seconds, NULL) < 0)) {
        fprintf(stderr, "usage: bench_store [BATCH [SECONDS]]\n");
        return 2;
    }
    if (db_start(NULL) < 0)
        return 1;
    db_fresh();
    s.store = db_store(NULL);
    s.size = (int)size;
    s.ids = bt_new_n(struct bt_uuid, (size_t)size);
    db_facility(b, 16, INT64_C(1) << 50);
    commit(&s, b);
    measure(&s, "submit", false, (int)seconds);
    measure(&s, "submit+end", true, (int)seconds);
    measure_load(&s);
    store_close(s.store);
    bt_free(s.ids);
    bt_free(s.took_us);
    return db_stop(NULL) < 0;
}
