/* The job document, read. SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/api/jobdoc.h"

#include <stdio.h>
#include <string.h>

#include "lib/api/limits.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/json/json.h"

/* The document as its table reads it: the spec, and the members with a shape of their own. */
struct doc {
    struct job_spec s;
    const struct json *code, *environment, *inputs, *outputs, *accelerators;
    const struct json *domains, *data, *datasets, *lineage, *after, *flops, *array;
};

#define AT(member) offsetof(struct doc, member)

static const struct json_field doc_fields[] = {
    {"id", JSON_F_UUID, AT(s.id), true},
    {"name", JSON_F_TEXT, AT(s.name), true, .size = JOB_NAME_MAX},
    {"project", JSON_F_TEXT, AT(s.project), true, .size = JOB_PROJECT_MAX},
    {"kind", JSON_F_ENUM, AT(s.kind), true, .values = job_kind_names},
    {"code", JSON_F_VALUE, AT(code), true},
    {"environment", JSON_F_VALUE, AT(environment)},
    {"inputs", JSON_F_VALUE, AT(inputs)},
    {"outputs", JSON_F_VALUE, AT(outputs)},
    {"accelerators", JSON_F_VALUE, AT(accelerators), true},
    {"walltime_s", JSON_F_I32, AT(s.walltime_s), true, .min = 1, .max = JOB_MAX_WALLTIME_S},
    {"signal", JSON_F_I32, AT(s.signal), .min = 1, .max = 64},
    {"grace_s", JSON_F_I32, AT(s.grace_s), .min = 0, .max = LIMIT_GRACE_S},
    {"requeue", JSON_F_ENUM, AT(s.requeue), .values = requeue_policy_names},
    {"max_attempts", JSON_F_I32, AT(s.max_attempts), .min = 1, .max = JOB_MAX_ATTEMPTS},
    {"purpose", JSON_F_NAME, AT(s.purpose), .size = JOB_WORD_MAX},
    {"domains", JSON_F_VALUE, AT(domains)},
    {"data", JSON_F_VALUE, AT(data)},
    {"datasets", JSON_F_VALUE, AT(datasets)},
    {"flops", JSON_F_VALUE, AT(flops)},
    {"params", JSON_F_I64, AT(s.params), .min = 0, .max = INT64_C(1000000000000000)},
    {"lineage", JSON_F_VALUE, AT(lineage)},
    {"embargo_days", JSON_F_I32, AT(s.embargo_days), .min = 0, .max = LIMIT_EMBARGO_DAYS},
    {"after", JSON_F_VALUE, AT(after)},
    {"hold", JSON_F_BOOL, AT(s.hold)},
    {"singleton", JSON_F_BOOL, AT(s.singleton)},
    {"reservation", JSON_F_NAME, AT(s.reservation),
     .size = sizeof(((struct job_spec *)0)->reservation)},
    {"array", JSON_F_VALUE, AT(array)},
};

void job_spec_init(struct job_spec *spec)
{
    *spec = (struct job_spec){.level = TOPO_ANY,
                              .grace_s = 30,
                              .signal = 15,
                              .requeue = REQUEUE_ON_FACILITY,
                              .max_attempts = 3};
    for (int i = 0; i < JOB_PARENTS; i++)
        spec->parents[i] = -1;
}

void job_code_done(struct job_code *code)
{
    bt_free(code->script);
    bt_free(code->config);
    for (int i = 0; i < code->n_argv; i++)
        bt_free(code->argv[i]);
    for (int i = 0; i < code->n_env; i++) {
        bt_free(code->env[i].name);
        bt_free(code->env[i].value);
    }
    for (int i = 0; i < code->n_inputs; i++)
        bt_free(code->inputs[i].path);
    for (int i = 0; i < code->n_outputs; i++)
        bt_free(code->outputs[i]);
    bt_free(code->argv);
    bt_free(code->env);
    bt_free(code->inputs);
    bt_free(code->outputs);
    *code = (struct job_code){0};
}

/* ---- texts and lists ---- */

/* The string of v, checked: at most max bytes (the JSON text has no NUL inside). */
static int text_of(const struct json *v, const char *what, int64_t max, const char **ret,
                   struct bt_err *err)
{
    const char *s = json_str(v, NULL);

    if (!s)
        return bt_fail(err, BT_ERR_INVALID, "%s must be a string without NUL", what);
    if (strlen(s) > (size_t)max)
        return bt_fail(err, BT_ERR_TOO_LARGE, "%s is longer than %lld bytes", what, (long long)max);
    *ret = s;
    return 0;
}

static int list_of(const struct json *v, const char *what, int64_t max, struct bt_err *err)
{
    if (json_is(v) != JSON_IS_ARRAY)
        return bt_fail(err, BT_ERR_INVALID, "member '%s' must be a list", what);
    if (json_len(v) > (size_t)max)
        return bt_fail(err, BT_ERR_TOO_LARGE, "member '%s' has %zu entries, at most %lld are read",
                       what, json_len(v), (long long)max);
    return 0;
}

/* ---- the spec ---- */

static bool printable(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return false;
    return true;
}

static int check_names(const struct job_spec *s, struct bt_err *err)
{
    const char *slash = strchr(s->project, '/');
    char nation[JOB_PROJECT_MAX];

    if (!s->name[0] || !printable(s->name))
        return bt_fail(err, BT_ERR_INVALID,
                       "member 'name' must have 1 to %d bytes, none of them a control character",
                       JOB_NAME_MAX - 1);
    bt_copy(nation, sizeof nation, s->project);
    if (slash)
        nation[slash - s->project] = '\0';
    if (!bt_is_name(slash ? slash + 1 : s->project, JOB_PROJECT_MAX - 1) ||
        (slash && !bt_is_name(nation, 15)))
        return bt_fail(err, BT_ERR_INVALID,
                       "member 'project' must be a project's name or nation/project");
    return 0;
}

static int read_accelerators(const struct json *v, struct job_spec *s, struct bt_err *err)
{
    static const struct json_field fields[] = {
        {"count", JSON_F_I32, offsetof(struct job_spec, accelerators), true, .min = 1,
         .max = JOB_MAX_ACCELERATORS},
        {"min", JSON_F_I32, offsetof(struct job_spec, min_accelerators), .min = 1,
         .max = JOB_MAX_ACCELERATORS},
        {"class", JSON_F_NAME, offsetof(struct job_spec, class), .size = JOB_CLASS_MAX},
        {"per_node", JSON_F_I32, offsetof(struct job_spec, per_node), .min = 1, .max = 64},
        {"memory_gb", JSON_F_I32, offsetof(struct job_spec, memory_gb), .min = 1,
         .max = JOB_MAX_GB},
        {"bandwidth_gb_per_s", JSON_F_I32, offsetof(struct job_spec, bandwidth_gb), .min = 1,
         .max = JOB_MAX_GB},
        {"level", JSON_F_ENUM, offsetof(struct job_spec, level), .values = topo_level_names},
        {"level_required", JSON_F_BOOL, offsetof(struct job_spec, level_required)},
    };
    struct bt_err why;
    int rc = json_read(v, fields, BT_ARRAY_LEN(fields), s, &why);

    if (rc < 0)
        return bt_fail(err, (enum bt_errno)why.code, "member 'accelerators': %s", why.text);
    if (s->per_node && s->accelerators % s->per_node)
        return bt_fail(err, BT_ERR_INVALID,
                       "member 'accelerators': count %d is no multiple of per_node %d",
                       s->accelerators, s->per_node);
    if (s->min_accelerators > s->accelerators || (s->per_node && s->min_accelerators % s->per_node))
        return bt_fail(err, BT_ERR_INVALID,
                       "member 'accelerators': min %d is above count %d or no multiple of per_node",
                       s->min_accelerators, s->accelerators);
    return 0;
}

static int read_words(const struct json *v, const char *what, char words[][JOB_WORD_MAX],
                      struct bt_err *err)
{
    int rc = v ? list_of(v, what, JOB_WORDS, err) : 0;

    for (size_t i = 0; rc == 0 && i < json_len(v); i++) {
        const char *s = json_str(json_at(v, i), "");

        if (!bt_is_name(s, JOB_WORD_MAX - 1))
            return bt_fail(err, BT_ERR_INVALID,
                           "member '%s': entry %zu must be a word of a-z, 0-9, '.', '_' and '-', "
                           "at most %d long",
                           what, i + 1, JOB_WORD_MAX - 1);
        bt_copy(words[i], JOB_WORD_MAX, s);
    }
    return rc;
}

static int read_datasets(const struct json *v, struct job_spec *s, struct bt_err *err)
{
    int rc = v ? list_of(v, "datasets", JOB_DATASETS, err) : 0;
    struct bt_err why;

    for (size_t i = 0; rc == 0 && i < json_len(v); i++)
        if (dataset_add(s->datasets, json_str(json_at(v, i), ""), &why) < 0)
            return bt_fail(err, (enum bt_errno)why.code, "member 'datasets': %s", why.text);
    return rc;
}

static int read_lineage(const struct json *v, struct job_spec *s, struct bt_err *err)
{
    int rc = v ? list_of(v, "lineage", JOB_PARENTS, err) : 0;

    for (size_t i = 0; rc == 0 && i < json_len(v); i++) {
        s->parents[i] = json_i64(json_at(v, i), -1);
        if (s->parents[i] < 0)
            return bt_fail(err, BT_ERR_INVALID,
                           "member 'lineage': entry %zu must be the index of a record", i + 1);
    }
    return rc;
}

static int read_after(const struct json *v, struct job_spec *s, struct bt_err *err)
{
    static const struct json_field fields[] = {
        {"job", JSON_F_UUID, offsetof(struct job_spec, after), true},
        {"ok", JSON_F_BOOL, offsetof(struct job_spec, after_ok)},
    };
    struct bt_err why;

    if (!v)
        return 0;
    s->after_ok = true;
    if (json_read(v, fields, BT_ARRAY_LEN(fields), s, &why) < 0)
        return bt_fail(err, (enum bt_errno)why.code, "member 'after': %s", why.text);
    if (bt_uuid_eq(s->after, s->id))
        return bt_fail(err, BT_ERR_INVALID, "member 'after': a job cannot wait for itself");
    return 0;
}

/* Either the tasks that are asked for, or which task of which array the document is. */
static int read_array(const struct json *v, struct job_spec *s, struct bt_err *err)
{
    static const struct json_field fields[] = {
        {"tasks", JSON_F_TEXT, offsetof(struct job_spec, tasks), .size = JOB_TASKS_MAX},
        {"of", JSON_F_UUID, offsetof(struct job_spec, array_of)},
        {"task", JSON_F_I32, offsetof(struct job_spec, array_task), .min = 0,
         .max = JOB_MAX_TASK_INDEX},
    };
    struct job_tasks tasks;
    struct bt_err why = {0};

    if (!v)
        return 0;
    if (json_read(v, fields, BT_ARRAY_LEN(fields), s, &why) < 0 ||
        (s->tasks[0] && job_tasks_parse(s->tasks, &tasks, &why) < 0))
        return bt_fail(err, (enum bt_errno)why.code, "member 'array': %s", why.text);
    if (!s->tasks[0] == bt_uuid_zero(s->array_of))
        return bt_fail(err, BT_ERR_INVALID,
                       "member 'array' has either 'tasks', or 'of' and 'task'");
    if (s->tasks[0] && tasks.at_once && !bt_uuid_zero(s->after))
        return bt_fail(err, BT_ERR_INVALID,
                       "member 'array': tasks that wait for each other (%%%d) cannot wait for "
                       "another job too",
                       tasks.at_once);
    return 0;
}

static int read_flops(const struct json *v, struct job_spec *s, struct bt_err *err)
{
    double d = json_f64(v, v ? -1 : 0);

    if (!(d >= 0 && d <= 1e30))
        return bt_fail(err, BT_ERR_INVALID, "member 'flops' must be a number from 0 to 1e30");
    s->flops = d;
    return 0;
}

/* ---- the code ---- */

static int read_argv(const struct json *v, struct job_code *c, struct bt_err *err)
{
    int rc = list_of(v, "argv", LIMIT_ARGV, err);

    if (rc < 0)
        return rc;
    if (json_len(v) == 0)
        return bt_fail(err, BT_ERR_INVALID, "member 'argv' must name a program");
    c->argv = bt_new_n(char *, json_len(v) + 1);
    for (size_t i = 0; i < json_len(v); i++) {
        const char *s = json_str(json_at(v, i), NULL);

        if (!s || strlen(s) > LIMIT_CODE_BYTES) {
            char what[32];

            snprintf(what, sizeof what, "argv[%zu]", i);
            return text_of(json_at(v, i), what, LIMIT_CODE_BYTES, &s, err);
        }
        if (i == 0 && !*s)
            return bt_fail(err, BT_ERR_INVALID, "argv[0] must name a program");
        c->argv[c->n_argv++] = bt_strdup(s);
    }
    return 0;
}

static int read_code(const struct json *v, int kind, struct job_code *c, struct bt_err *err)
{
    static const char *const member[] = {[JOB_SCRIPT] = "script",
                                         [JOB_TRAIN] = "config",
                                         [JOB_COLL] = "config",
                                         [JOB_COMMAND] = "argv"};
    const struct json *m = json_get(v, member[kind]);
    const char *s = "";
    int rc;

    if (!m || json_len(v) != 1)
        return bt_fail(err, BT_ERR_INVALID,
                       "member 'code' of a %s job must be an object with the one member '%s'",
                       job_kind_names[kind], member[kind]);
    if (kind == JOB_COMMAND)
        return read_argv(m, c, err);
    rc = text_of(m, member[kind], LIMIT_CODE_BYTES, &s, err);
    if (rc < 0)
        return rc;
    if (kind == JOB_SCRIPT && !bt_starts(s, "#!"))
        return bt_fail(err, BT_ERR_INVALID, "the script must begin with #! and its interpreter");
    *(kind == JOB_SCRIPT ? &c->script : &c->config) = bt_strdup(s);
    return 0;
}

static bool is_variable(const char *s)
{
    size_t n = 0;

    while ((s[n] >= 'a' && s[n] <= 'z') || (s[n] >= 'A' && s[n] <= 'Z') || s[n] == '_' ||
           (s[n] >= '0' && s[n] <= '9'))
        n++;
    return n > 0 && n <= 128 && !s[n] && !(*s >= '0' && *s <= '9');
}

struct env_read {
    struct job_code *code;
    struct bt_err *err;
};

static int read_var(void *arg, const char *name, const struct json *v)
{
    struct env_read *e = arg;
    const char *s = json_str(v, NULL);

    if (!is_variable(name))
        return bt_fail(e->err, BT_ERR_INVALID,
                       "member 'environment': '%.40s' is no name of a variable", name);
    if (bt_starts(name, "BEAM_"))
        return bt_fail(e->err, BT_ERR_INVALID, "member 'environment': %.40s is set by the facility",
                       name);
    if (!s || strlen(s) > LIMIT_ENV_BYTES) {
        char what[64];

        snprintf(what, sizeof what, "variable %.40s", name);
        return text_of(v, what, LIMIT_ENV_BYTES, &s, e->err);
    }
    e->code->env[e->code->n_env++] =
        (struct job_var){.name = bt_strdup(name), .value = bt_strdup(s)};
    return 0;
}

static int read_env(const struct json *v, struct job_code *c, struct bt_err *err)
{
    struct env_read e = {c, err};

    if (!v)
        return 0;
    if (json_is(v) != JSON_IS_OBJECT)
        return bt_fail(err, BT_ERR_INVALID, "member 'environment' must be an object");
    if (json_len(v) > LIMIT_ENV_VARS)
        return bt_fail(err, BT_ERR_TOO_LARGE,
                       "member 'environment' has %zu variables, at most %d are read", json_len(v),
                       (int)LIMIT_ENV_VARS);
    c->env = bt_new_n(struct job_var, json_len(v) + 1);
    return json_each(v, read_var, &e);
}

static int read_inputs(const struct json *v, struct job_code *c, struct bt_err *err)
{
    int rc = v ? list_of(v, "inputs", LIMIT_INPUTS, err) : 0;

    if (!v || rc < 0)
        return rc;
    c->inputs = bt_new_n(struct job_input, json_len(v) + 1);
    for (size_t i = 0; i < json_len(v); i++) {
        const struct json *in = json_at(v, i);
        const char *path = json_str(json_get(in, "path"), NULL);
        int64_t record = json_i64(json_get(in, "record"), -1);

        if (json_is(in) != JSON_IS_OBJECT || json_len(in) != 1 || (!path && record < 0))
            return bt_fail(err, BT_ERR_INVALID,
                           "member 'inputs': entry %zu must be {\"path\": …} or {\"record\": …}",
                           i + 1);
        if (path && (path[0] != '/' || strlen(path) > LIMIT_PATH_BYTES || !printable(path) ||
                     strchr(path, ':')))
            return bt_fail(err, BT_ERR_INVALID,
                           "member 'inputs': entry %zu must be an absolute path of at most %d "
                           "bytes without ':' and control characters",
                           i + 1, (int)LIMIT_PATH_BYTES);
        c->inputs[c->n_inputs++] =
            (struct job_input){.path = path ? bt_strdup(path) : NULL, .record = record};
    }
    return 0;
}

/* Relative, inside its folder: no segment is "..". */
static bool is_pattern(const char *s)
{
    if (!*s || *s == '/' || strlen(s) > LIMIT_PATTERN_BYTES || !printable(s))
        return false;
    for (const char *p = s; p; p = strchr(p, '/')) {
        p += *p == '/';
        if (p[0] == '.' && p[1] == '.' && (p[2] == '/' || !p[2]))
            return false;
    }
    return true;
}

static int read_outputs(const struct json *v, struct job_code *c, struct bt_err *err)
{
    int rc = v ? list_of(v, "outputs", LIMIT_OUTPUTS, err) : 0;

    if (!v || rc < 0)
        return rc;
    c->outputs = bt_new_n(char *, json_len(v) + 1);
    for (size_t i = 0; i < json_len(v); i++) {
        const char *s = json_str(json_at(v, i), "");

        if (!is_pattern(s))
            return bt_fail(err, BT_ERR_INVALID,
                           "member 'outputs': entry %zu must be a pattern of at most %d bytes "
                           "below the output folder, without '..'",
                           i + 1, (int)LIMIT_PATTERN_BYTES);
        c->outputs[c->n_outputs++] = bt_strdup(s);
    }
    return 0;
}

/* ---- all of it ---- */

static int read_spec(struct doc *d, struct bt_err *err)
{
    int rc = check_names(&d->s, err);

    rc = rc < 0 ? rc : read_accelerators(d->accelerators, &d->s, err);
    rc = rc < 0 ? rc : read_words(d->domains, "domains", d->s.domains, err);
    rc = rc < 0 ? rc : read_words(d->data, "data", d->s.data, err);
    rc = rc < 0 ? rc : read_datasets(d->datasets, &d->s, err);
    rc = rc < 0 ? rc : read_lineage(d->lineage, &d->s, err);
    rc = rc < 0 ? rc : read_flops(d->flops, &d->s, err);
    rc = rc < 0 ? rc : read_after(d->after, &d->s, err);
    rc = rc < 0 ? rc : read_array(d->array, &d->s, err);
    return rc;
}

int jobdoc_read(const struct json *doc, struct job_spec *spec, struct job_code *code,
                struct bt_err *err)
{
    struct doc d = {0};
    struct job_code c = {0};
    int rc;

    job_spec_init(&d.s);
    rc = json_read(doc, doc_fields, BT_ARRAY_LEN(doc_fields), &d, err);
    rc = rc < 0 ? rc : read_spec(&d, err);
    rc = rc < 0 ? rc : read_code(d.code, d.s.kind, &c, err);
    rc = rc < 0 ? rc : read_env(d.environment, &c, err);
    rc = rc < 0 ? rc : read_inputs(d.inputs, &c, err);
    rc = rc < 0 ? rc : read_outputs(d.outputs, &c, err);
    if (rc == 0) {
        *spec = d.s;
        if (code) {
            *code = c;
            return 0;
        }
    }
    job_code_done(&c);
    return rc;
}

int jobdoc_parse(const char *text, size_t n, struct job_spec *spec, struct job_code *code,
                 struct bt_err *err)
{
    JSON_AUTO struct json *root = NULL;
    int rc = json_parse(text, n, LIMIT_BODY_BYTES, &root, err);

    return rc < 0 ? rc : jobdoc_read(root, spec, code, err);
}
