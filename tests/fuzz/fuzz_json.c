/* fuzz_json.c - any text: our reader and jansson take the same documents and see the same in them.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void same(const struct json *a, const json_t *b);

static bool all_real; /* jansson read whole numbers as real ones */

struct other {
    const json_t *object;
    size_t n;
};

static int same_member(void *arg, const char *key, const struct json *v)
{
    struct other *o = arg;
    const json_t *b = json_object_get(o->object, key);

    must(b != NULL && json_get(v, key) != v);
    same(v, b);
    o->n++;
    return 0;
}

static void same_holder(const struct json *a, const json_t *b)
{
    struct other o = {b, 0};

    if (json_is_array(b)) {
        must(json_is(a) == JSON_IS_ARRAY && json_len(a) == json_array_size(b));
        must(json_at(a, json_len(a)) == NULL);
        for (size_t i = 0; i < json_len(a); i++)
            same(json_at(a, i), json_array_get(b, i));
        return;
    }
    must(json_is(a) == JSON_IS_OBJECT && json_each(a, same_member, &o) == 0);
    must(o.n == json_object_size(b) && o.n == json_len(a));
}

static void same(const struct json *a, const json_t *b)
{
    switch (json_typeof(b)) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        same_holder(a, b);
        break;
    case JSON_STRING:
        must(json_is(a) == JSON_IS_STR && !strcmp(json_str(a, "?"), json_string_value(b)));
        break;
    case JSON_INTEGER:
        must(json_is(a) == JSON_IS_INT && json_i64(a, 0) == json_integer_value(b));
        break;
    case JSON_REAL: {
        double x = json_f64(a, 0), y = json_real_value(b);

        must(json_is(a) == JSON_IS_REAL || (all_real && json_is(a) == JSON_IS_INT));
        must(memcmp(&x, &y, sizeof x) == 0 || (all_real && x == 0 && y == 0)); /* -0 */
        break;
    }
    case JSON_TRUE:
    case JSON_FALSE:
        must(json_is(a) == JSON_IS_BOOL && json_bool(a, json_is_false(b)) == json_is_true(b));
        break;
    case JSON_NULL:
        must(json_is(a) == JSON_IS_NULL);
        break;
    }
}

/* To ours a whole number beyond 64 bits is real, to jansson only if all whole numbers are. */
static json_t *read_theirs(const char *text, size_t n)
{
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY;
    json_error_t why;
    json_t *v = json_loadb(text, n, flags, &why);

    all_real = !v && json_error_code(&why) == json_error_numeric_overflow;
    return all_real ? json_loadb(text, n, flags | JSON_DECODE_INT_AS_REAL, NULL) : v;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    JSON_AUTO struct json *ours = NULL;
    struct bt_err err = {0};
    int rc = json_parse((const char *)data, n, n, &ours, &err);
    json_t *theirs;

    if (rc == -BT_ERR_TOO_LARGE)
        return 0;                /* deeper than ours goes */
    if (memchr(data, '\0', n)) { /* jansson overlooks one behind a number */
        must(rc < 0);
        return 0;
    }
    theirs = read_theirs((const char *)data, n);
    must((rc == 0) == (theirs != NULL));
    if (theirs)
        same(ours, theirs);
    json_decref(theirs);
    return 0;
}
