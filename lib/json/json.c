/* Reading on top of jansson. SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/json/json.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "lib/base/enc.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/base/uuid.h"

static const json_t *j(const struct json *v)
{
    return (const json_t *)v;
}

/* jansson recurses while it parses: the depth is bounded before it sees the text. */
static bool too_deep(const char *text, size_t n)
{
    int depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < n; i++) {
        char c = text[i];

        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > JSON_MAX_DEPTH)
                return true;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return false;
}

int json_parse(const char *text, size_t n, size_t max_bytes, struct json **ret, struct bt_err *err)
{
    json_error_t e;
    json_t *root;

    if (n > max_bytes)
        return bt_fail(err, BT_ERR_TOO_LARGE,
                       "the JSON document has %zu bytes, at most %zu are read", n, max_bytes);
    if (too_deep(text, n))
        return bt_fail(err, BT_ERR_TOO_LARGE, "the JSON document is nested deeper than %d levels",
                       JSON_MAX_DEPTH);
    root = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (!root)
        return bt_fail(err, BT_ERR_INVALID, "not JSON at line %d, column %d: %s", e.line, e.column,
                       e.text);
    *ret = (struct json *)root;
    return 0;
}

void json_free(struct json *root)
{
    json_decref((json_t *)root);
}

enum json_is json_is(const struct json *v)
{
    static const enum json_is map[] = {
        [JSON_OBJECT] = JSON_IS_OBJECT, [JSON_ARRAY] = JSON_IS_ARRAY, [JSON_STRING] = JSON_IS_STR,
        [JSON_INTEGER] = JSON_IS_INT,   [JSON_REAL] = JSON_IS_REAL,   [JSON_TRUE] = JSON_IS_BOOL,
        [JSON_FALSE] = JSON_IS_BOOL,    [JSON_NULL] = JSON_IS_NULL};

    return v ? map[json_typeof(j(v))] : JSON_IS_NULL;
}

const struct json *json_get(const struct json *object, const char *key)
{
    return (const struct json *)json_object_get(j(object), key);
}

size_t json_len(const struct json *v)
{
    return json_is(v) == JSON_IS_ARRAY ? json_array_size(j(v)) : json_object_size(j(v));
}

const struct json *json_at(const struct json *array, size_t i)
{
    return (const struct json *)json_array_get(j(array), i);
}

const char *json_str(const struct json *v, const char *otherwise)
{
    const char *s = json_string_value(j(v));

    return s ? s : otherwise;
}

int64_t json_i64(const struct json *v, int64_t otherwise)
{
    return json_is_integer(j(v)) ? json_integer_value(j(v)) : otherwise;
}

double json_f64(const struct json *v, double otherwise)
{
    return json_is_number(j(v)) ? json_number_value(j(v)) : otherwise;
}

bool json_bool(const struct json *v, bool otherwise)
{
    return json_is_boolean(j(v)) ? json_is_true(j(v)) : otherwise;
}

int json_each(const struct json *object,
              int (*each)(void *arg, const char *key, const struct json *v), void *arg)
{
    json_t *o = (json_t *)(uintptr_t)object;

    for (void *it = json_object_iter(o); it; it = json_object_iter_next(o, it)) {
        int rc =
            each(arg, json_object_iter_key(it), (const struct json *)json_object_iter_value(it));

        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- reading by table ---- */

static int wrong(struct bt_err *err, const struct json_field *f, const char *want)
{
    return bt_fail(err, BT_ERR_INVALID, "member '%s' must be %s", f->name, want);
}

static int out_of_range(struct bt_err *err, const struct json_field *f)
{
    return bt_fail(err, BT_ERR_INVALID, "member '%s' must be from %" PRId64 " to %" PRId64, f->name,
                   f->min, f->max);
}

static int read_text(const struct json_field *f, const struct json *v, char *at, struct bt_err *err)
{
    const char *s = json_str(v, NULL);
    size_t n = s ? json_string_length(j(v)) : 0;

    if (!s || memchr(s, '\0', n))
        return wrong(err, f, "a string");
    if (f->kind == JSON_F_STRING) {
        if (n > f->size)
            return bt_fail(err, BT_ERR_TOO_LARGE, "member '%s' is longer than %zu bytes", f->name,
                           f->size);
        bt_free(*(char **)(void *)at);
        *(char **)(void *)at = bt_strdup(s);
        return 0;
    }
    if (n >= f->size)
        return bt_fail(err, BT_ERR_TOO_LARGE, "member '%s' is longer than %zu bytes", f->name,
                       f->size - 1);
    if (f->kind == JSON_F_NAME && !bt_is_name(s, f->size - 1))
        return wrong(err, f, "a name of a-z, 0-9, '.', '_' and '-'");
    memcpy(at, s, n + 1);
    return 0;
}

static int read_number(const struct json_field *f, const struct json *v, void *at,
                       struct bt_err *err)
{
    int64_t n;

    if (f->kind == JSON_F_F64) {
        double d = json_f64(v, 0);

        if (!json_is_number(j(v)))
            return wrong(err, f, "a number");
        if (d < (double)f->min || d > (double)f->max)
            return out_of_range(err, f);
        *(double *)at = d;
        return 0;
    }
    if (f->kind == JSON_F_DECIMAL) {
        const char *s = json_str(v, NULL);

        if (!s || bt_parse_i64(s, f->name, INT64_MIN, INT64_MAX, &n, NULL) < 0)
            return wrong(err, f, "a decimal string");
    } else {
        if (json_is(v) != JSON_IS_INT)
            return wrong(err, f, "a whole number");
        n = json_i64(v, 0);
    }
    if (n < f->min || n > f->max)
        return out_of_range(err, f);
    if (f->kind == JSON_F_I32)
        *(int32_t *)at = (int32_t)n;
    else
        *(int64_t *)at = n;
    return 0;
}

static int read_enum(const struct json_field *f, const struct json *v, int *at, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf list = {0};
    const char *s = json_str(v, NULL);

    for (int i = 0; f->values[i]; i++) {
        if (bt_streq(s, f->values[i])) {
            *at = i;
            return 0;
        }
        bt_buf_printf(&list, "%s%s", i ? ", " : "", f->values[i]);
    }
    return bt_fail(err, BT_ERR_INVALID, "member '%s' must be one of %s", f->name,
                   bt_buf_text(&list));
}

static int read_coded(const struct json_field *f, const struct json *v, void *at,
                      struct bt_err *err)
{
    const char *s = json_str(v, NULL);

    if (!s)
        return wrong(err, f, "a string");
    if (f->kind == JSON_F_UUID && bt_uuid_parse(s, at) < 0)
        return wrong(err, f, "a UUID in lower case");
    if (f->kind == JSON_F_HEX32 && (strlen(s) != 64 || bt_unhex(s, at, 32) < 0))
        return wrong(err, f, "64 hexadecimal digits");
    if (f->kind == JSON_F_TIME)
        return bt_time_parse(s, f->name, at, err);
    return 0;
}

static int read_field(const struct json_field *f, const struct json *v, char *at,
                      struct bt_err *err)
{
    switch (f->kind) {
    case JSON_F_TEXT:
    case JSON_F_STRING:
    case JSON_F_NAME:
        return read_text(f, v, at, err);
    case JSON_F_I64:
    case JSON_F_I32:
    case JSON_F_F64:
    case JSON_F_DECIMAL:
        return read_number(f, v, at, err);
    case JSON_F_BOOL:
        if (json_is(v) != JSON_IS_BOOL)
            return wrong(err, f, "true or false");
        *(bool *)at = json_bool(v, false);
        return 0;
    case JSON_F_UUID:
    case JSON_F_TIME:
    case JSON_F_HEX32:
        return read_coded(f, v, at, err);
    case JSON_F_ENUM:
        return read_enum(f, v, (int *)(void *)at, err);
    case JSON_F_VALUE:
        *(const struct json **)(void *)at = v;
        return 0;
    }
    return bt_fail(err, BT_ERR_INTERNAL, "member '%s' has no kind", f->name);
}

struct unknown {
    const struct json_field *fields;
    size_t n;
    struct bt_err *err;
};

static int refuse_unknown(void *arg, const char *key, const struct json *v)
{
    struct unknown *u = arg;

    (void)v;
    for (size_t i = 0; i < u->n; i++)
        if (!strcmp(u->fields[i].name, key))
            return 0;
    return bt_fail(u->err, BT_ERR_INVALID, "member '%.60s' is not known here", key);
}

static void free_strings(const struct json_field *fields, size_t n, char *base)
{
    for (size_t i = 0; i < n; i++)
        if (fields[i].kind == JSON_F_STRING) {
            char **s = (char **)(void *)(base + fields[i].offset);

            bt_free(*s);
            *s = NULL;
        }
}

int json_read(const struct json *object, const struct json_field *fields, size_t n, void *to,
              struct bt_err *err)
{
    struct unknown u = {fields, n, err};
    int rc;

    if (json_is(object) != JSON_IS_OBJECT)
        return bt_fail(err, BT_ERR_INVALID, "expected a JSON object");
    rc = json_each(object, refuse_unknown, &u);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct json *v = json_get(object, fields[i].name);

        if (v)
            rc = read_field(&fields[i], v, (char *)to + fields[i].offset, err);
        else if (fields[i].required)
            rc = bt_fail(err, BT_ERR_INVALID, "member '%s' is missing", fields[i].name);
    }
    if (rc < 0)
        free_strings(fields, n, to);
    return rc;
}
