/* jobreq.c - one option at a time into a request.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/jobreq.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "lib/api/limits.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

void jobreq_init(struct jobreq *r)
{
    *r = (struct jobreq){
        .level = -1, .walltime_s = -1, .grace_s = -1, .requeue = -1, .embargo_days = -1};
}

static void list_done(struct jobreq_list *l)
{
    for (int i = 0; i < l->n; i++)
        bt_free(l->v[i]);
    l->n = 0;
}

void jobreq_done(struct jobreq *r)
{
    char **texts[] = {&r->code,  &r->name,    &r->project, &r->class, &r->reservation,
                      &r->after, &r->purpose, &r->wrap,    &r->array};
    struct jobreq_list *lists[] = {&r->env, &r->inputs, &r->outputs, &r->domains, &r->data};

    for (size_t i = 0; i < BT_ARRAY_LEN(texts); i++) {
        bt_free(*texts[i]);
        *texts[i] = NULL;
    }
    for (size_t i = 0; i < BT_ARRAY_LEN(lists); i++)
        list_done(lists[i]);
    bt_buf_done(&r->notes);
}

int jobreq_signal(const char *name)
{
    static const struct {
        const char *name;
        int number;
    } signals[] = {{"HUP", SIGHUP},   {"INT", SIGINT},   {"QUIT", SIGQUIT}, {"TERM", SIGTERM},
                   {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"CONT", SIGCONT}, {"URG", SIGURG},
                   {"XCPU", SIGXCPU}, {"ALRM", SIGALRM}};
    int64_t number;

    if (bt_parse_i64(name, "signal", 1, 31, &number, NULL) == 0)
        return number == SIGKILL || number == SIGSTOP ? -1 : (int)number;
    if (bt_starts(name, "SIG"))
        name += 3;
    for (size_t i = 0; i < BT_ARRAY_LEN(signals); i++)
        if (bt_streq(name, signals[i].name))
            return signals[i].number;
    return -1;
}

struct set {
    struct jobreq *r;
    enum layer layer;
    const struct directive_row *row;
    const char *value;
    const char *where;
    struct bt_err *err;
};

static int set_number(const struct set *s, int64_t min, int64_t max, int64_t *ret)
{
    BT_AUTO char *what = bt_printf("--%s", s->row->name);

    return bt_parse_i64(s->value, what, min, max, ret, s->err);
}

static int set_name(const struct set *s, char **at, size_t max)
{
    if (!*s->value || strlen(s->value) >= max || !bt_is_utf8(s->value, strlen(s->value)))
        return bt_fail(s->err, BT_ERR_INVALID, "--%s is empty, not UTF-8 or longer than %zu bytes",
                       s->row->name, max - 1);
    jobreq_replace(at, s->value);
    return 0;
}

static int add_item(const struct set *s, struct jobreq_list *l, const char *value, size_t n)
{
    if (l->n == JOBREQ_LIST)
        return bt_fail(s->err, BT_ERR_TOO_LARGE, "--%s is given more than %d times", s->row->name,
                       JOBREQ_LIST);
    if (n == 0)
        return bt_fail(s->err, BT_ERR_INVALID, "--%s has an empty item", s->row->name);
    jobreq_keep(l, value, n);
    return 0;
}

/* Calls add_item for each of "a,b,c"; a new list replaces the old one. */
static int set_words(const struct set *s, struct jobreq_list *l)
{
    const char *p = s->value;

    list_done(l);
    for (;;) {
        size_t n = strcspn(p, ",");
        int rc = add_item(s, l, p, n);

        if (rc < 0 || !p[n])
            return rc;
        p += n + 1;
    }
}

static int set_class(const struct set *s, const char *value, size_t n)
{
    char name[JOB_CLASS_MAX];

    if (n >= sizeof name)
        return bt_fail(s->err, BT_ERR_INVALID, "--%s: a class has at most %zu characters",
                       s->row->name, sizeof name - 1);
    memcpy(name, value, n);
    name[n] = '\0';
    if (!bt_is_name(name, sizeof name - 1))
        return bt_fail(s->err, BT_ERR_INVALID, "--%s: '%s' is not the name of a class",
                       s->row->name, name);
    jobreq_replace(&s->r->class, name);
    return 0;
}

/* "80G", "80GB", "0.5T" or "80": as the makers of accelerators count, in 10^9 bytes; rounded up. */
static int set_memory(const struct set *s)
{
    size_t n = strspn(s->value, "0123456789.");
    const char *unit = s->value + n;
    BT_AUTO char *number = bt_strndup(s->value, n);
    double gb = 0;

    if (!*unit || bt_streq(unit, "G") || bt_streq(unit, "GB") || bt_streq(unit, "g"))
        unit = "1";
    else if (bt_streq(unit, "T") || bt_streq(unit, "TB") || bt_streq(unit, "t"))
        unit = "1000";
    else
        return bt_fail(s->err, BT_ERR_INVALID, "--%s is '%.40s', not a size such as 80G",
                       s->row->name, s->value);
    if (bt_parse_f64(number, "--memory", &gb, s->err) < 0)
        return -(int)s->err->code;
    gb = ceil(bt_streq(unit, "1") ? gb : gb * 1000);
    if (!(gb >= 1 && gb <= JOB_MAX_GB))
        return bt_fail(s->err, BT_ERR_INVALID, "--%s is '%.40s', not from 1G to %dG", s->row->name,
                       s->value, JOB_MAX_GB);
    s->r->memory_gb = (int64_t)gb;
    return 0;
}

/* "[CLASS:]N" */
static int set_gpus(const struct set *s, const char *value, int64_t *ret)
{
    const char *colon = strrchr(value, ':');
    BT_AUTO char *what = bt_printf("--%s", s->row->name);

    if (colon) {
        int rc = set_class(s, value, (size_t)(colon - value));

        if (rc < 0)
            return rc;
        value = colon + 1;
    }
    return bt_parse_i64(value, what, 1, JOB_MAX_ACCELERATORS, ret, s->err);
}

/* "gpu", "gpu:4", "gpu:h200", "gpu:h200:4" */
static int set_gres(const struct set *s, int64_t *ret)
{
    const char *v = s->value;
    const char *last;

    if (!bt_streq(v, "gpu") && !bt_starts(v, "gpu:"))
        return bt_fail(s->err, BT_ERR_USAGE,
                       "--gres is '%.40s'; only gpu[:CLASS][:N] is known here", v);
    if (v[3] == '\0') {
        *ret = 1;
        return 0;
    }
    last = strrchr(v, ':') + 1;
    if (*last >= '0' && *last <= '9')
        return set_gpus(s, v + 4, ret);
    *ret = 1;
    return set_class(s, v + 4, strlen(v + 4));
}

/* "8", or "4-16": the least and the most. */
static int set_range(const struct set *s, int64_t *least, int64_t *most)
{
    const char *dash = strchr(s->value, '-');
    BT_AUTO char *first = dash ? bt_strndup(s->value, (size_t)(dash - s->value)) : NULL;
    BT_AUTO char *what = bt_printf("--%s", s->row->name);
    int rc = bt_parse_i64(dash ? dash + 1 : s->value, what, 1, JOB_MAX_ACCELERATORS, most, s->err);

    *least = 0;
    return rc < 0 || !dash ? rc : bt_parse_i64(first, what, 1, *most, least, s->err);
}

static int set_count(const struct set *s)
{
    struct jobreq_count *c = &s->r->count;

    if (!c->said || s->layer > c->layer)
        *c = (struct jobreq_count){.layer = s->layer, .said = true};
    switch (s->row->action) {
    case DIR_ACCELERATORS:
        return set_range(s, &c->least, &c->accelerators);
    case DIR_NTASKS:
        return set_number(s, 1, JOB_MAX_ACCELERATORS, &c->ntasks);
    case DIR_NODES:
        return set_range(s, &c->least_nodes, &c->nodes);
    case DIR_PER_NODE:
        return set_number(s, 1, 1024, &c->per_node);
    case DIR_GPUS:
        return set_gpus(s, s->value, &c->gpus);
    case DIR_GPUS_PER_NODE:
        return set_gpus(s, s->value, &c->gpus_per_node);
    case DIR_GPUS_PER_TASK:
        return set_gpus(s, s->value, &c->gpus_per_task);
    case DIR_GRES:
        return set_gres(s, &c->gpus_per_node);
    default:
        return bt_fail(s->err, BT_ERR_INTERNAL, "--%s counts nothing", s->row->name);
    }
}

static int word_of(const struct set *s, const char *const *words, int *ret)
{
    for (int i = 0; words[i]; i++)
        if (bt_streq(words[i], s->value)) {
            *ret = i;
            return 0;
        }
    return bt_fail(s->err, BT_ERR_INVALID, "--%s is '%.40s', not one of %s", s->row->name, s->value,
                   s->row->words);
}

static int set_level(const struct set *s)
{
    struct jobreq *r = s->r;
    int64_t switches;
    int rc;

    if (s->row->action == DIR_SWITCHES) {
        BT_AUTO char *number = bt_strndup(s->value, strcspn(s->value, "@"));

        rc = bt_parse_i64(number, "--switches", 1, 100000, &switches, s->err);
        if (rc >= 0)
            r->level = switches == 1 ? TOPO_LEAF : TOPO_POD;
        return rc;
    }
    rc = word_of(s, topo_level_names, &r->level);
    if (rc >= 0)
        r->level_required = s->row->action == DIR_REQUIRE_LEVEL;
    return rc;
}

static int set_duration(const struct set *s, int64_t max, int64_t *ret)
{
    BT_AUTO char *what = bt_printf("--%s", s->row->name);
    int64_t v;
    int rc = bt_parse_duration_s(s->value, what, &v, s->err);

    if (rc < 0)
        return rc;
    if (v < 1 || v > max)
        return bt_fail(s->err, BT_ERR_INVALID, "%s is '%.40s', not from 1 to %" PRId64 " seconds",
                       what, s->value, max);
    *ret = v;
    return 0;
}

/* "[{R|B}:]SIG[@SECONDS]" */
static int set_signal(const struct set *s)
{
    const char *v = s->value;
    BT_AUTO char *name = NULL;
    const char *at;
    int64_t seconds = 60;
    int number, rc = 0;

    if ((v[0] == 'B' || v[0] == 'R') && v[1] == ':')
        v += 2;
    at = strchr(v, '@');
    name = bt_strndup(v, at ? (size_t)(at - v) : strlen(v));
    number = jobreq_signal(name);
    if (number < 0)
        return bt_fail(s->err, BT_ERR_INVALID, "--signal: '%.40s' is not a signal such as USR1",
                       name);
    if (at && strspn(at + 1, "0123456789") == strlen(at + 1))
        rc = bt_parse_i64(at + 1, "--signal", 1, 3600, &seconds, s->err);
    else if (at)
        rc = bt_parse_duration_s(at + 1, "--signal", &seconds, s->err);
    if (rc < 0)
        return rc;
    s->r->signal = number;
    if (at)
        s->r->grace_s = seconds;
    return 0;
}

static int set_requeue(const struct set *s)
{
    if (s->row->action == DIR_NO_REQUEUE) {
        s->r->requeue = REQUEUE_NEVER;
        return 0;
    }
    if (s->value)
        return word_of(s, requeue_policy_names, &s->r->requeue);
    s->r->requeue = REQUEUE_ON_FACILITY;
    return 0;
}

static int set_dependency(const struct set *s)
{
    const char *v = s->value;
    bool ok = bt_starts(v, "afterok:");

    if (bt_streq(v, "singleton")) {
        s->r->singleton = true;
        return 0;
    }
    if (!ok && !bt_starts(v, "afterany:"))
        return bt_fail(s->err, BT_ERR_USAGE,
                       "--dependency is '%.60s'; afterok:JOB, afterany:JOB and singleton are known "
                       "here",
                       v);
    v += ok ? 8 : 9;
    if (!*v || strpbrk(v, ":,?+"))
        return bt_fail(s->err, BT_ERR_USAGE,
                       "--dependency names one job; let a job wait for the last of a chain");
    s->r->after_ok = ok;
    jobreq_replace(&s->r->after, v);
    return 0;
}

static int set_array(const struct set *s)
{
    struct job_tasks tasks;
    int rc = job_tasks_parse(s->value, &tasks, s->err);

    if (rc == 0 && strlen(s->value) >= JOB_TASKS_MAX)
        rc = bt_fail(s->err, BT_ERR_INVALID, "--array is longer than %d bytes", JOB_TASKS_MAX - 1);
    if (rc == 0)
        jobreq_replace(&s->r->array, s->value);
    return rc;
}

static bool is_env_name(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(s[i] == '_' || (s[i] >= 'A' && s[i] <= 'Z') || (s[i] >= 'a' && s[i] <= 'z') ||
              (i && s[i] >= '0' && s[i] <= '9')))
            return false;
    return n > 0;
}

static const char *find_variable(char **from, const char *name)
{
    size_t n = strlen(name);

    for (; from && *from; from++)
        if (!strncmp(*from, name, n) && (*from)[n] == '=')
            return *from + n + 1;
    return NULL;
}

static int export_one(const struct set *s, const char *item, size_t n)
{
    const char *equals = memchr(item, '=', n);
    size_t name_n = equals ? (size_t)(equals - item) : n;
    BT_AUTO char *name = bt_strndup(item, name_n);
    BT_AUTO char *pair = NULL;
    const char *value;

    if (bt_streq(name, "NONE") && !equals)
        return 0;
    if (bt_streq(name, "ALL") && !equals)
        return bt_fail(s->err, BT_ERR_USAGE,
                       "--export=ALL would publish your whole environment, secrets too; name what "
                       "the job needs");
    if (!is_env_name(name, name_n))
        return bt_fail(s->err, BT_ERR_INVALID, "--export: '%.40s' is not the name of a variable",
                       name);
    if (equals)
        return add_item(s, &s->r->env, item, n);
    value = find_variable(s->r->environ_of, name);
    if (!value)
        return bt_fail(s->err, BT_ERR_INVALID, "--export: %.40s is not set here", name);
    pair = bt_printf("%s=%s", name, value);
    return add_item(s, &s->r->env, pair, strlen(pair));
}

static int set_export(const struct set *s)
{
    const char *p = s->value;

    for (;;) {
        size_t n = strcspn(p, ",");
        int rc = export_one(s, p, n);

        if (rc < 0 || !p[n])
            return rc;
        p += n + 1;
    }
}

static int set_lineage(const struct set *s)
{
    const char *p = s->value;

    for (s->r->n_lineage = 0;;) {
        size_t n = strcspn(p, ",");
        BT_AUTO char *number = bt_strndup(p, n);
        int rc;

        if (s->r->n_lineage == JOB_PARENTS)
            return bt_fail(s->err, BT_ERR_TOO_LARGE, "--lineage names more than %d records",
                           JOB_PARENTS);
        rc = bt_parse_i64(number, "--lineage", 0, INT64_MAX, &s->r->lineage[s->r->n_lineage],
                          s->err);
        if (rc < 0)
            return rc;
        s->r->n_lineage++;
        if (!p[n])
            return 0;
        p += n + 1;
    }
}

static int set_input(const struct set *s)
{
    const char *v = s->value;
    int64_t number;

    if (bt_starts(v, "record:")) {
        int rc = bt_parse_i64(v + 7, "--input record", 0, INT64_MAX, &number, s->err);

        return rc < 0 ? rc : add_item(s, &s->r->inputs, v, strlen(v));
    }
    if (*v != '/')
        return bt_fail(s->err, BT_ERR_INVALID,
                       "--input is '%.80s', neither an absolute path nor record:NUMBER", v);
    return add_item(s, &s->r->inputs, v, strlen(v));
}

static int set_flops(const struct set *s)
{
    int rc = bt_parse_f64(s->value, "--flops", &s->r->flops, s->err);

    if (rc >= 0 && (s->r->flops < 0 || s->r->flops > 1e30))
        return bt_fail(s->err, BT_ERR_INVALID, "--flops is '%.40s', not from 0 to 1e30", s->value);
    return rc;
}

static int set_rest(const struct set *s)
{
    struct jobreq *r = s->r;

    switch (s->row->action) {
    case DIR_EXPORT:
        return set_export(s);
    case DIR_INPUT:
        return set_input(s);
    case DIR_DATASET:
        return dataset_add(r->datasets, s->value, s->err);
    case DIR_OUTPUTS:
        return add_item(s, &r->outputs, s->value, strlen(s->value));
    case DIR_PURPOSE:
        return set_name(s, &r->purpose, JOB_WORD_MAX);
    case DIR_DOMAINS:
        return set_words(s, &r->domains);
    case DIR_DATA:
        return set_words(s, &r->data);
    case DIR_FLOPS:
        return set_flops(s);
    case DIR_PARAMS:
        return set_number(s, 0, INT64_MAX, &r->params);
    case DIR_LINEAGE:
        return set_lineage(s);
    case DIR_EMBARGO:
        return set_number(s, 0, LIMIT_EMBARGO_DAYS, &r->embargo_days);
    case DIR_WRAP:
        jobreq_replace(&r->wrap, s->value);
        return 0;
    case DIR_IGNORE:
        bt_buf_printf(&r->notes, "%s%s--%s changes nothing: %s\n", s->where, *s->where ? ": " : "",
                      s->row->name, s->row->note);
        return 0;
    default:
        return bt_fail(s->err, BT_ERR_USAGE, "--%s is not possible here: %s", s->row->name,
                       s->row->note);
    }
}

static int set_one(const struct set *s)
{
    struct jobreq *r = s->r;

    switch (s->row->action) {
    case DIR_NAME:
        return set_name(s, &r->name, JOB_NAME_MAX);
    case DIR_PROJECT:
        return set_name(s, &r->project, JOB_PROJECT_MAX);
    case DIR_CLASS:
        return set_class(s, s->value, strlen(s->value));
    case DIR_MEMORY:
        return set_memory(s);
    case DIR_BANDWIDTH:
        return set_number(s, 1, JOB_MAX_GB, &r->bandwidth_gb);
    case DIR_LEVEL:
    case DIR_REQUIRE_LEVEL:
    case DIR_SWITCHES:
        return set_level(s);
    case DIR_TIME:
        return set_duration(s, JOB_MAX_WALLTIME_S, &r->walltime_s);
    case DIR_GRACE:
        return set_duration(s, LIMIT_GRACE_S, &r->grace_s);
    case DIR_SIGNAL:
        return set_signal(s);
    case DIR_REQUEUE:
    case DIR_NO_REQUEUE:
        return set_requeue(s);
    case DIR_MAX_ATTEMPTS:
        return set_number(s, 1, JOB_MAX_ATTEMPTS, &r->max_attempts);
    case DIR_DEPENDENCY:
        return set_dependency(s);
    case DIR_ARRAY:
        return set_array(s);
    case DIR_RESERVATION:
        return set_name(s, &r->reservation, sizeof((struct job_spec *)0)->reservation);
    case DIR_HOLD:
        r->hold = true;
        return 0;
    default:
        return s->row->action <= DIR_GRES ? set_count(s) : set_rest(s);
    }
}

int jobreq_set(struct jobreq *r, enum layer layer, const struct directive_row *row,
               const char *value, const char *where, struct bt_err *err)
{
    struct bt_err why = {0};
    struct set s = {r, layer, row, value, where, &why};
    int rc = set_one(&s);

    if (rc < 0)
        return bt_next(err, bt_fail(err, why.code, "%s%s%s", where, *where ? ": " : "", why.text),
                       "%s", why.next);
    return rc;
}

struct reading {
    struct jobreq *r;
    enum layer layer;
};

static int set_directive(void *arg, const struct directive_row *row, const char *value, int line,
                         struct bt_err *err)
{
    struct reading *reading = arg;
    char where[32];

    snprintf(where, sizeof where, "line %d", line);
    return jobreq_set(reading->r, reading->layer, row, value, where, err);
}

int jobreq_directives(struct jobreq *r, struct bt_err *err)
{
    struct reading reading = {r, LAYER_SBATCH};
    size_t n = strlen(r->code);
    int rc = directives_read(r->code, n, LAYER_SBATCH, set_directive, &reading, err);

    if (rc < 0)
        return rc;
    reading.layer = LAYER_BEAM;
    return directives_read(r->code, n, LAYER_BEAM, set_directive, &reading, err);
}
