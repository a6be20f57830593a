/* trace.c - three formats of job histories.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * SWF: Feitelson et al., "The Standard Workload Format" v2.2, 18 numbers a line, -1 = unknown.
 * sacct: `sacct -P` with its header; needs Submit, ElapsedRaw or Elapsed, and AllocTRES, NNodes or
 * AllocNodes; takes TimelimitRaw (minutes) or Timelimit, User and Account where they are. */
#include "daemon/sim/trace.h"

#include <zlib.h>

#include "lib/base/attr.h"
#include "lib/base/buf.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

enum { MAX_FIELDS = 160, MAX_ACC = 100 * 1000 * 1000 };
#define MAX_BYTES (INT64_C(2) << 30)
#define MAX_SECONDS (INT64_C(1) << 40)

struct reader {
    struct trace *t;
    struct bt_map names;
    uint32_t cap_jobs, cap_names;
    size_t line;
    int at[16]; /* columns of a sacct header, by enum column */
};

void trace_done(struct trace *t)
{
    for (uint32_t i = 0; i < t->n_names; i++)
        bt_free(t->names[i]);
    bt_free(t->names);
    bt_free(t->jobs);
    *t = (struct trace){0};
}

static uint32_t name_of(struct reader *r, const char *s)
{
    if (!*s || r->t->n_names == TRACE_MAX_NAMES)
        return UINT32_MAX;
    uint64_t key = bt_map_hash(s, strlen(s));
    uint32_t i;
    if (bt_map_get(&r->names, key, &i))
        return i;
    i = r->t->n_names;
    BT_GROW(r->t->names, r->t->n_names, r->cap_names);
    r->t->names[r->t->n_names++] = bt_strdup(s);
    bt_map_put(&r->names, key, i);
    return i;
}

static int add(struct reader *r, struct trace_job j, struct bt_err *err)
{
    if (j.duration_s < 1 || j.acc < 1) {
        r->t->n_skipped++;
        return 0;
    }
    if (r->t->n_jobs == TRACE_MAX_JOBS)
        return bt_fail(err, BT_ERR_TOO_LARGE, "a trace has more than %d jobs", TRACE_MAX_JOBS);
    if (j.walltime_s > 0)
        r->t->has_walltimes = true;
    else
        j.walltime_s = j.duration_s;
    BT_GROW(r->t->jobs, r->t->n_jobs, r->cap_jobs);
    j.seq = r->t->n_jobs;
    r->t->jobs[r->t->n_jobs++] = j;
    return 0;
}

static int number(const struct reader *r, const char *s, const char *what, int64_t *ret,
                  struct bt_err *err)
{
    double x;
    *ret = 0;
    if (!*s)
        return 0;
    if (bt_parse_f64(s, what, &x, NULL) < 0 || x < -1e12 || x > 1e12)
        return bt_fail(err, BT_ERR_CORRUPT, "line %zu: %s \"%.40s\" is no number", r->line, what,
                       s);
    *ret = (int64_t)x;
    return 0;
}

/* Cuts s at each `sep`; fields behind n_max are dropped. */
static int fields(char *s, char sep, char **ret, int n_max)
{
    int n = 0;
    while (n < n_max) {
        ret[n++] = s;
        char *end = strchr(s, sep);
        if (!end)
            break;
        *end = '\0';
        s = end + 1;
    }
    return n;
}

static uint32_t to_acc(int64_t x)
{
    return x < 1 || x > MAX_ACC ? 0 : (uint32_t)x;
}

/* ---- our CSV ---- */

static int csv_line(struct reader *r, char *line, struct bt_err *err)
{
    char *f[8];
    int64_t submit, duration, walltime, acc;
    int rc;
    if (fields(line, ',', f, 8) < 7)
        return bt_fail(err, BT_ERR_CORRUPT, "line %zu has fewer than 7 columns", r->line);
    if ((rc = number(r, f[0], "submit_s", &submit, err)) < 0 ||
        (rc = number(r, f[1], "duration_s", &duration, err)) < 0 ||
        (rc = number(r, f[2], "requested_s", &walltime, err)) < 0 ||
        (rc = number(r, f[3], "accelerators", &acc, err)) < 0)
        return rc;
    return add(r,
               (struct trace_job){.submit_s = submit,
                                  .duration_s = duration,
                                  .walltime_s = walltime,
                                  .acc = to_acc(acc),
                                  .user = name_of(r, f[4]),
                                  .group = name_of(r, f[5])},
               err);
}

/* ---- SWF ---- */

static int swf_line(struct reader *r, char *line, struct bt_err *err)
{
    int64_t v[18];
    int n = 0;
    char *save = line;
    for (char *s; n < 18 && (s = strsep(&save, " \t")) != NULL;) {
        if (!*s)
            continue;
        int rc = number(r, s, "a field", &v[n++], err);
        if (rc < 0)
            return rc;
    }
    if (n < 18)
        return bt_fail(err, BT_ERR_CORRUPT, "line %zu has %d of 18 fields", r->line, n);
    char user[32], group[32];
    snprintf(user, sizeof user, "u%lld", (long long)v[11]);
    snprintf(group, sizeof group, "g%lld", (long long)v[12]);
    return add(r,
               (struct trace_job){.submit_s = v[1],
                                  .duration_s = v[3],
                                  .walltime_s = v[8],
                                  .acc = to_acc(v[4] > 0 ? v[4] : v[7]),
                                  .user = v[11] < 0 ? UINT32_MAX : name_of(r, user),
                                  .group = v[12] < 0 ? UINT32_MAX : name_of(r, group)},
               err);
}

/* ---- sacct -P ---- */

enum column { JOBID, SUBMIT, ELAPSED_RAW, ELAPSED, LIMIT_RAW, LIMIT, TRES, NNODES, USER, ACCOUNT };
static const char *const columns[] = {"JobID",        "Submit",    "ElapsedRaw", "Elapsed",
                                      "TimelimitRaw", "Timelimit", "AllocTRES",  "NNodes",
                                      "User",         "Account"};

static int sacct_header(struct reader *r, char *line, struct bt_err *err)
{
    char *f[MAX_FIELDS];
    int n = fields(line, '|', f, MAX_FIELDS);
    for (size_t c = 0; c < BT_ARRAY_LEN(columns); c++) {
        r->at[c] = -1;
        for (int i = 0; i < n; i++)
            if (strcasecmp(f[i], columns[c]) == 0)
                r->at[c] = i;
    }
    if (r->at[SUBMIT] < 0 || (r->at[ELAPSED] < 0 && r->at[ELAPSED_RAW] < 0) ||
        (r->at[TRES] < 0 && r->at[NNODES] < 0))
        return bt_next(
            err,
            bt_fail(err, BT_ERR_CORRUPT, "the export lacks Submit, Elapsed or AllocTRES/NNodes"),
            "sacct -aPX -o JobID,Submit,ElapsedRaw,TimelimitRaw,AllocTRES,NNodes,User,"
            "Account");
    return 0;
}

static const char *column(const struct reader *r, char **f, int n, enum column c)
{
    return r->at[c] >= 0 && r->at[c] < n ? f[r->at[c]] : "";
}

/* "billing=8,cpu=64,gres/gpu=8,node=1" -> 8 */
static uint32_t tres_gpus(const char *s)
{
    const char *at = strstr(s, "gres/gpu=");
    return at ? to_acc(strtoll(at + strlen("gres/gpu="), NULL, 10)) : 0;
}

static int64_t duration_of(const char *raw, int64_t unit, const char *text)
{
    int64_t s;
    if (*raw && bt_parse_i64(raw, "time", 0, MAX_SECONDS, &s, NULL) >= 0)
        return s * unit;
    return *text && bt_parse_duration_s(text, "time", &s, NULL) >= 0 ? s : 0;
}

static int sacct_line(struct reader *r, char *line, struct bt_err *err)
{
    char *f[MAX_FIELDS];
    int n = fields(line, '|', f, MAX_FIELDS);
    if (strchr(column(r, f, n, JOBID), '.')) /* a step, not a job */
        return 0;
    int64_t submit_us, nodes = 0;
    if (bt_time_parse(column(r, f, n, SUBMIT), "Submit", &submit_us, NULL) < 0) {
        char zulu[48]; /* sacct prints local time without an offset */
        snprintf(zulu, sizeof zulu, "%sZ", column(r, f, n, SUBMIT));
        if (bt_time_parse(zulu, "Submit", &submit_us, NULL) < 0)
            return bt_fail(err, BT_ERR_CORRUPT, "line %zu: Submit \"%.40s\" is no time", r->line,
                           column(r, f, n, SUBMIT));
    }
    int rc = number(r, column(r, f, n, NNODES), "NNodes", &nodes, err);
    if (rc < 0)
        return rc;
    uint32_t gpus = tres_gpus(column(r, f, n, TRES));
    return add(
        r,
        (struct trace_job){
            .submit_s = submit_us / BT_US_PER_S,
            .duration_s = duration_of(column(r, f, n, ELAPSED_RAW), 1, column(r, f, n, ELAPSED)),
            .walltime_s = duration_of(column(r, f, n, LIMIT_RAW), 60, column(r, f, n, LIMIT)),
            .acc = gpus ? gpus : to_acc(nodes),
            .user = name_of(r, column(r, f, n, USER)),
            .group = name_of(r, column(r, f, n, ACCOUNT))},
        err);
}

/* ---- any ---- */

static int by_submit(const void *x, const void *y)
{
    const struct trace_job *a = x, *b = y;
    if (a->submit_s != b->submit_s)
        return a->submit_s < b->submit_s ? -1 : 1;
    return (a->seq > b->seq) - (a->seq < b->seq);
}

static void from_zero(struct trace *t)
{
    bool sorted = true;
    for (uint32_t i = 1; i < t->n_jobs; i++)
        sorted = sorted && t->jobs[i - 1].submit_s <= t->jobs[i].submit_s;
    if (!sorted)
        qsort(t->jobs, t->n_jobs, sizeof *t->jobs, by_submit);
    for (uint32_t i = t->n_jobs; i-- > 0;)
        t->jobs[i].submit_s -= t->jobs[0].submit_s;
}

static int parse_lines(struct reader *r, char *text, struct bt_err *err)
{
    int (*parse)(struct reader *, char *, struct bt_err *) = NULL;
    for (char *line; (line = strsep(&text, "\n")) != NULL;) {
        r->line++;
        line[strcspn(line, "\r")] = '\0';
        if (!*line || *line == ';' || *line == '#')
            continue;
        int rc = 0;
        if (parse)
            rc = parse(r, line, err);
        else if (bt_starts(line, "submit_s,"))
            parse = csv_line;
        else if (strchr(line, '|'))
            rc = sacct_header(r, line, err), parse = sacct_line;
        else
            rc = swf_line(r, line, err), parse = swf_line;
        if (rc < 0)
            return rc;
    }
    return 0;
}

int trace_parse(char *text, size_t n, struct trace *ret, struct bt_err *err)
{
    if (strlen(text) != n)
        return bt_fail(err, BT_ERR_CORRUPT, "the trace holds a NUL byte");
    struct trace t = {0};
    struct reader r = {.t = &t};
    int rc = parse_lines(&r, text, err);
    bt_map_done(&r.names);
    if (rc < 0) {
        trace_done(&t);
        return rc;
    }
    from_zero(&t);
    *ret = t;
    return 0;
}

int trace_read(const char *path, struct trace *ret, struct bt_err *err)
{
    struct bt_buf text BT_BUF_AUTO = {.max = MAX_BYTES};
    gzFile f = gzopen(path, "rbe");
    if (!f)
        return bt_fail_errno(err, BT_ERR_NOT_FOUND, "cannot open %s", path);
    int n = 0;
    for (char *room; (room = bt_buf_room(&text, 1 << 16)) != NULL;) {
        n = gzread(f, room, 1 << 16);
        if (n <= 0)
            break;
        text.n += (size_t)n;
    }
    gzclose(f);
    if (text.over)
        return bt_fail(err, BT_ERR_TOO_LARGE, "%s is larger than 2 GiB", path);
    if (n < 0)
        return bt_fail(err, BT_ERR_CORRUPT, "%s does not unpack", path);
    bt_buf_char(&text, '\n');
    return trace_parse(text.p, text.n, ret, err);
}
