/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/spec.h"

#include <ctype.h>
#include <string.h>

#include "lib/base/str.h"

static bool is_env_name(const char *s)
{
    if (!isalpha((unsigned char)*s) && *s != '_')
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && *s != '_')
            return false;
    return true;
}

struct reader {
    struct spec *spec;
    struct bt_err *err;
};

static int take_env(void *arg, const char *key, const struct json *v)
{
    struct reader *r = arg;
    const char *value = json_str(v, NULL);

    if (!is_env_name(key) || !value || strlen(value) > SPEC_ENV_BYTES)
        return bt_fail(r->err, BT_ERR_INVALID, "environment: \"%.40s\" is not a variable", key);
    if (r->spec->n_env == SPEC_ENV_MAX)
        return bt_fail(r->err, BT_ERR_INVALID, "environment: more than %d variables",
                       (int)SPEC_ENV_MAX);
    r->spec->env_name[r->spec->n_env] = key;
    r->spec->env_value[r->spec->n_env++] = value;
    return 0;
}

static int take_inputs(struct spec *s, const struct json *list, struct bt_err *err)
{
    for (size_t i = 0; i < json_len(list); i++) {
        const char *path = json_str(json_get(json_at(list, i), "path"), NULL);

        if (!path)
            return bt_next(err,
                           bt_fail(err, BT_ERR_UNSUPPORTED,
                                   "input %zu is a record: this node's agent takes paths only", i),
                           "download the record and name its folder as input");
        if (*path != '/' || strchr(path, ':') || s->n_inputs == SPEC_INPUTS_MAX)
            return bt_fail(err, BT_ERR_INVALID,
                           "input %zu must be an absolute path without a colon", i);
        s->inputs[s->n_inputs++] = path;
    }
    return 0;
}

static int take_argv(struct spec *s, const struct json *argv, struct bt_err *err)
{
    size_t n = json_len(argv);

    if (n == 0 || n > SPEC_WORDS_MAX)
        return bt_fail(err, BT_ERR_INVALID, "code.argv must have 1 to %d words",
                       (int)SPEC_WORDS_MAX);
    for (size_t i = 0; i < n; i++) {
        s->argv[i] = json_str(json_at(argv, i), NULL);
        if (!s->argv[i] || (i == 0 && !*s->argv[i]))
            return bt_fail(err, BT_ERR_INVALID, "code.argv[%zu] is no text", i);
    }
    return 0;
}

static int take_code(struct spec *s, struct bt_err *err)
{
    static const char *const members[] = {
        [JOB_SCRIPT] = "script", [JOB_TRAIN] = "config", [JOB_COLL] = "config"};
    const struct json *code = json_get(s->root, "code");
    const char *kind = json_str(json_get(s->root, "kind"), "");
    int k = 0;

    while (job_kind_names[k] && !bt_streq(job_kind_names[k], kind))
        k++;
    if (!job_kind_names[k])
        return bt_fail(err, BT_ERR_INVALID, "kind \"%.20s\" is none that this agent knows", kind);
    s->kind = (enum job_kind)k;
    if (s->kind == JOB_COMMAND)
        return take_argv(s, json_get(code, "argv"), err);
    s->text = json_str(json_get(code, members[k]), NULL);
    if (!s->text)
        return bt_fail(err, BT_ERR_INVALID, "a %s job needs code.%s", kind, members[k]);
    return 0;
}

int spec_parse(const char *text, size_t n, struct spec *ret, struct bt_err *err)
{
    struct spec s = {0};
    struct reader r = {.spec = &s, .err = err};
    int rc = json_parse(text, n, JSON_MAX_BYTES, &s.root, err);

    if (rc == 0)
        rc = take_code(&s, err);
    if (rc == 0 && json_get(s.root, "environment"))
        rc = json_each(json_get(s.root, "environment"), take_env, &r);
    if (rc == 0)
        rc = take_inputs(&s, json_get(s.root, "inputs"), err);
    if (rc < 0) {
        spec_done(&s);
        return rc;
    }
    s.outputs = json_get(s.root, "outputs");
    s.array = json_str(json_get(json_get(s.root, "array"), "of"), NULL);
    s.task = json_i64(json_get(json_get(s.root, "array"), "task"), 0);
    *ret = s;
    return 0;
}

int spec_granted(const char *text, size_t n, struct spec *s, struct bt_err *err)
{
    const struct json *list;
    int rc = n ? json_parse(text, n, GRANT_MAX, &s->grant, err) : 0;

    if (rc < 0 || !s->grant)
        return rc;
    list = json_get(s->grant, "datasets");
    for (size_t i = 0; i < json_len(list); i++) {
        const char *name = json_str(json_get(json_at(list, i), "name"), "");
        const char *path = json_str(json_get(json_at(list, i), "path"), "");

        if (!dataset_is_name(name) || !dataset_is_path(path) || s->n_datasets == JOB_DATASETS)
            return bt_fail(err, BT_ERR_INVALID, "data set %zu of the grant has not the agreed form",
                           i);
        s->dataset_name[s->n_datasets] = name;
        s->dataset_path[s->n_datasets++] = path;
    }
    return 0;
}

void spec_done(struct spec *s)
{
    json_free(s->grant);
    json_free(s->root);
    *s = (struct spec){0};
}

/* One of [abc], [a-z], [!a] at p (behind the bracket); *end is left behind the closing one. */
static bool in_class(const char *p, char c, const char **end)
{
    bool negated = *p == '!' || *p == '^';
    bool found = false;

    if (negated)
        p++;
    for (bool first = true; *p && (first || *p != ']'); first = false) {
        if (p[1] == '-' && p[2] && p[2] != ']') {
            found |= *p <= c && c <= p[2];
            p += 3;
        } else {
            found |= *p++ == c;
        }
    }
    *end = *p ? p + 1 : p;
    return found != negated;
}

/* Linear in practice: only the last star of each kind is tried again, so that a hostile pattern
 * costs at most pattern × path steps a star kind. */
bool spec_glob(const char *pattern, const char *path)
{
    const char *star = NULL, *star_at = NULL; /* "*" and where it began to match */
    const char *deep = NULL, *deep_at = NULL; /* the same of "**" */
    const char *p = pattern, *s = path;

    while (*s) {
        const char *after = p + 1;

        if (p[0] == '*' && p[1] == '*') {
            deep = p + 2 + (p[2] == '/');
            deep_at = s;
            star = NULL;
            p = deep;
            if (!*p && p[-1] == '*')
                return true;
        } else if (*p == '*') {
            star = p = after;
            star_at = s;
        } else if (*p == '[' ? *s != '/' && in_class(p + 1, *s, &after)
                             : *p == *s || (*p == '?' && *s != '/')) {
            p = after;
            s++;
        } else if (star && *star_at != '/') {
            p = star;
            s = ++star_at;
        } else if (deep && strchr(deep_at, '/')) {
            star = NULL;
            p = deep;
            s = deep_at = strchr(deep_at, '/') + 1;
        } else {
            return false;
        }
    }
    while (*p == '*')
        p++;
    return !*p;
}

bool spec_wants(const struct spec *s, const char *path)
{
    if (!s->outputs)
        return true;
    for (size_t i = 0; i < json_len(s->outputs); i++)
        if (spec_glob(json_str(json_at(s->outputs, i), ""), path))
            return true;
    return false;
}
