/* json.h - bounded reading of JSON into values and by table into structs, and a streaming writer.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Reading is strict: UTF-8, no duplicate members, bounded size and depth
 * (RFC 8259; I-JSON, RFC 7493); no \u0000. A whole number beyond 64 bits is a real one: others
 * write 2e20 as 200000000000000000000. */
#ifndef BT_JSON_JSON_H
#define BT_JSON_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/attr.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"

struct json; /* a parsed value; children are borrowed from the root */

enum json_is {
    JSON_IS_NULL,
    JSON_IS_BOOL,
    JSON_IS_INT,
    JSON_IS_REAL,
    JSON_IS_STR,
    JSON_IS_ARRAY,
    JSON_IS_OBJECT
};

enum { JSON_MAX_DEPTH = 32, JSON_MAX_BYTES = 256 * 1024 };

/* Parses text[n] as one JSON value. BT_ERR_INVALID names line and column,
 * BT_ERR_TOO_LARGE when n > max_bytes or nested deeper than JSON_MAX_DEPTH. The root is the
 * caller's. */
int json_parse(const char *text, size_t n, size_t max_bytes, struct json **ret,
               struct bt_err *err) BT_MUSTUSE;
void json_free(struct json *v);
static inline void json_freep(struct json **j)
{
    json_free(*j);
}
#define JSON_AUTO BT_CLEANUP(json_freep)

enum json_is json_is(const struct json *v); /* NULL counts as JSON_IS_NULL */
const struct json *json_get(const struct json *object,
                            const char *key);                   /* NULL if absent or v no object */
size_t json_len(const struct json *v);                          /* of an array or object, else 0 */
const struct json *json_at(const struct json *array, size_t i); /* NULL past the end */
const char *json_str(const struct json *v, const char *otherwise); /* borrowed */
int64_t json_i64(const struct json *v, int64_t otherwise);
double json_f64(const struct json *v, double otherwise); /* integers too */
bool json_bool(const struct json *v, bool otherwise);

/* Calls each(arg, key, value) for the members of an object in text order; stops at the first
 * negative return and returns it. */
int json_each(const struct json *object,
              int (*each)(void *arg, const char *key, const struct json *v), void *arg);

/* ---- reading by table ---- */

enum json_kind {
    JSON_F_TEXT,    /* char[size]: a string of at most size - 1 bytes */
    JSON_F_STRING,  /* char *: a string of at most size bytes, owned by the struct (bt_free) */
    JSON_F_NAME,    /* char[size]: like TEXT, must be bt_is_name */
    JSON_F_I64,     /* int64_t in [min, max] */
    JSON_F_I32,     /* int32_t in [min, max] */
    JSON_F_F64,     /* double in [min, max] */
    JSON_F_BOOL,    /* bool */
    JSON_F_UUID,    /* struct bt_uuid */
    JSON_F_TIME,    /* int64_t µs, from RFC 3339 text */
    JSON_F_DECIMAL, /* int64_t from a decimal string ("120000"), in [min, max] */
    JSON_F_HEX32,   /* uint8_t[32] from 64 hex digits */
    JSON_F_ENUM,    /* int: index of the string in `values` (NULL-terminated) */
    JSON_F_VALUE,   /* const struct json *: the value itself, borrowed from the root */
};

struct json_field {
    const char *name;
    enum json_kind kind;
    size_t offset;
    bool required;
    size_t size;
    int64_t min;
    int64_t max;
    const char *const *values;
};

/* Fills the struct at `to` from `object`. Absent optional members leave their field as it is;
 * an unknown member, a wrong type or a value out of range is BT_ERR_INVALID naming the member.
 * STRING fields filled before a failure are freed and set to NULL. */
int json_read(const struct json *object, const struct json_field *fields, size_t n, void *to,
              struct bt_err *err) BT_MUSTUSE;

/* The same for each object of an array (NULL: an empty one) into rows[], which have `size` bytes
 * and are enough; *ret_n counts those that were read. */
int json_read_rows(const struct json *array, const struct json_field *fields, size_t n, void *rows,
                   size_t size, int32_t *ret_n, struct bt_err *err) BT_MUSTUSE;

/* ---- writing ---- */

/* Appends compact JSON to `to`. In an object every call has a key, in an array key is NULL. */
struct json_writer {
    struct bt_buf *to;
    uint64_t comma; /* bit d: a comma is due at depth d */
    int depth;
};

void jw_object(struct json_writer *w, const char *key);
void jw_array(struct json_writer *w, const char *key);
void jw_end_object(struct json_writer *w);
void jw_end_array(struct json_writer *w);
void jw_str(struct json_writer *w, const char *key, const char *value); /* NULL writes null */
void jw_strn(struct json_writer *w, const char *key, const char *value, size_t n);
void jw_i64(struct json_writer *w, const char *key, int64_t value);
void jw_f64(struct json_writer *w, const char *key,
            double value); /* shortest that reads back; null if not finite */
void jw_bool(struct json_writer *w, const char *key, bool value);
void jw_null(struct json_writer *w, const char *key);
void jw_decimal(struct json_writer *w, const char *key, int64_t value); /* "123" as a string */
void jw_time(struct json_writer *w, const char *key, int64_t us);       /* RFC 3339 text */
void jw_uuid(struct json_writer *w, const char *key, const void *uuid); /* struct bt_uuid */
void jw_hex(struct json_writer *w, const char *key, const void *p, size_t n);
void jw_raw(struct json_writer *w, const char *key, const char *json); /* trusted JSON text */

#endif
