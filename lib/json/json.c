/* Reading by table. SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/json/json.h"

#include <inttypes.h>
#include <string.h>

#include "lib/base/enc.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/base/uuid.h"

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
    size_t n = s ? strlen(s) : 0;

    if (!s)
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

        if (json_is(v) != JSON_IS_INT && json_is(v) != JSON_IS_REAL)
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

    for (int i = 0; f->values[i]; i++)
        if (bt_streq(s, f->values[i])) {
            *at = i;
            return 0;
        }
    for (int i = 0; f->values[i]; i++)
        bt_buf_printf(&list, "%s%s", i ? ", " : "", f->values[i]);
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
    size_t known = 0;
    int rc = 0;

    if (json_is(object) != JSON_IS_OBJECT)
        return bt_fail(err, BT_ERR_INVALID, "expected a JSON object");
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct json *v = json_get(object, fields[i].name);

        known += v != NULL;
        if (v)
            rc = read_field(&fields[i], v, (char *)to + fields[i].offset, err);
        else if (fields[i].required)
            rc = bt_fail(err, BT_ERR_INVALID, "member '%s' is missing", fields[i].name);
    }
    /* A name that is not known says more than the one that is missing for it. */
    if (rc < 0 || known != json_len(object)) {
        int stranger = json_each(object, refuse_unknown, &u);

        rc = stranger < 0 ? stranger : rc;
    }
    if (rc < 0)
        free_strings(fields, n, to);
    return rc;
}

int json_read_rows(const struct json *array, const struct json_field *fields, size_t n, void *rows,
                   size_t size, int32_t *ret_n, struct bt_err *err)
{
    if (array && json_is(array) != JSON_IS_ARRAY)
        return bt_fail(err, BT_ERR_INVALID, "expected a JSON array");
    for (size_t i = 0; i < json_len(array); i++) {
        int rc = json_read(json_at(array, i), fields, n, (char *)rows + i * size, err);

        if (rc < 0)
            return rc;
        ++*ret_n;
    }
    return 0;
}
