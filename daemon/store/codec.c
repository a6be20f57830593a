/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/store/codec.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"

/* Columns of the key, which stand first; the others are the tail. */
static const int n_key[ROW_KINDS] = {
    [ROW_KIND_nation] = 1,     [ROW_KIND_institution] = 1, [ROW_KIND_person] = 1,
    [ROW_KIND_project] = 1,    [ROW_KIND_member] = 2,      [ROW_KIND_account] = 1,
    [ROW_KIND_credential] = 1, [ROW_KIND_token] = 1,       [ROW_KIND_site] = 1,
    [ROW_KIND_node] = 1,       [ROW_KIND_rate] = 2,        [ROW_KIND_unixmap] = 2,
    [ROW_KIND_policy] = 1,     [ROW_KIND_attempt] = 2,     [ROW_KIND_job_state] = 1,
};

/* pg_type's numbers, fixed for ever (src/include/catalog/pg_type.dat). */
static const struct {
    Oid element;
    Oid array;
    int size; /* -1: any */
} types[] = {
    [ROW_i32] = {23, 1007, 4},  [ROW_i64] = {20, 1016, 8},   [ROW_uuid] = {2950, 2951, 16},
    [ROW_b32] = {17, 1001, 32}, [ROW_text] = {25, 1009, -1},
};

static void add_columns(struct bt_buf *to, const struct row_shape *s, int from, const char *before)
{
    for (int i = from; i < s->n_columns; i++)
        bt_buf_printf(to, "%s%s%s", i > from ? ", " : "", before, s->columns[i].name);
}

static void add_rows(struct bt_buf *to, const struct row_shape *s)
{
    bt_buf_str(to, "unnest(");
    for (int i = 1; i <= s->n_columns; i++)
        bt_buf_printf(to, "%s$%d", i > 1 ? ", " : "", i);
    bt_buf_str(to, ") AS r (");
    add_columns(to, s, 0, "");
    bt_buf_str(to, ")");
}

static void add_brace(struct bt_buf *to, const char *name, size_t n, enum row_kind kind)
{
    static const struct {
        const char *name;
        const char *before;
        bool tail;
    } lists[] = {
        {"columns", "", false}, {"r.columns", "r.", false},      {"tail", "", true},
        {"r.tail", "r.", true}, {"new.tail", "EXCLUDED.", true},
    };
    const struct row_shape *s = &row_shapes[kind];

    if (n == 4 && !memcmp(name, "rows", n)) {
        add_rows(to, s);
        return;
    }
    for (size_t i = 0; i < BT_ARRAY_LEN(lists); i++)
        if (strlen(lists[i].name) == n && !memcmp(name, lists[i].name, n)) {
            add_columns(to, s, lists[i].tail ? n_key[kind] : 0, lists[i].before);
            return;
        }
    assert(!"a brace of a .sql file has no meaning");
}

char *codec_sql(const struct query *q, enum row_kind kind)
{
    struct bt_buf to = {0};
    const char *s = q->text;

    while (*s) {
        size_t n = strcspn(s, "{");

        bt_buf_add(&to, s, n);
        s += n;
        if (*s == '{') {
            n = strcspn(++s, "}");
            add_brace(&to, s, n, kind);
            s += n + (s[n] == '}');
        }
    }
    return bt_buf_take(&to);
}

int codec_array_types(enum row_kind kind, Oid ret[CODEC_MAX_COLUMNS])
{
    const struct row_shape *s = &row_shapes[kind];

    for (int i = 0; i < s->n_columns; i++)
        ret[i] = types[s->columns[i].type].array;
    return s->n_columns;
}

static void put32(struct bt_buf *to, int32_t v)
{
    uint32_t be = htobe32((uint32_t)v);

    bt_buf_add(to, &be, sizeof be);
}

static bool all_zero(const void *p, size_t n)
{
    static const uint8_t zero[32];

    return !memcmp(p, zero, n);
}

/* One element: its length and bytes, or -1. Returns true if it is NULL. */
static bool put_element(struct bt_buf *to, enum row_type type, const void *field)
{
    switch (type) {
    case ROW_i32: {
        int32_t v;

        memcpy(&v, field, sizeof v);
        put32(to, v == ROW_NULL32 ? -1 : 4);
        if (v != ROW_NULL32)
            put32(to, v);
        return v == ROW_NULL32;
    }
    case ROW_i64: {
        int64_t v;
        uint64_t be;

        memcpy(&v, field, sizeof v);
        be = htobe64((uint64_t)v);
        put32(to, v == ROW_NULL64 ? -1 : 8);
        if (v != ROW_NULL64)
            bt_buf_add(to, &be, sizeof be);
        return v == ROW_NULL64;
    }
    case ROW_uuid:
    case ROW_b32: {
        bool null = all_zero(field, (size_t)types[type].size);

        put32(to, null ? -1 : types[type].size);
        if (!null)
            bt_buf_add(to, field, (size_t)types[type].size);
        return null;
    }
    case ROW_text:
        break;
    }
    const char *text = *(const char *const *)field;
    size_t n = text ? strlen(text) : 0;

    put32(to, text ? (int32_t)n : -1);
    if (text)
        bt_buf_add(to, text, n);
    return !text;
}

static void put_array(struct bt_buf *to, const struct row_column *c, const struct row_list *rows,
                      size_t row_size)
{
    size_t head = to->n;
    bool nulls = false;

    put32(to, 1); /* dimensions */
    put32(to, 0); /* has NULLs: set below */
    put32(to, (int32_t)types[c->type].element);
    put32(to, rows->n);
    put32(to, 1); /* lower bound */
    for (int i = 0; i < rows->n; i++)
        nulls |= put_element(to, c->type, (const char *)rows->v + (size_t)i * row_size + c->offset);
    if (nulls)
        to->p[head + 7] = 1;
}

void codec_encode(enum row_kind kind, const struct row_list *rows, struct codec_params *ret)
{
    const struct row_shape *s = &row_shapes[kind];
    size_t at[CODEC_MAX_COLUMNS + 1];

    assert(s->n_columns <= CODEC_MAX_COLUMNS);
    bt_buf_clear(&ret->bytes);
    ret->n = s->n_columns;
    for (int i = 0; i < s->n_columns; i++) {
        at[i] = ret->bytes.n;
        put_array(&ret->bytes, &s->columns[i], rows, s->size);
    }
    at[s->n_columns] = ret->bytes.n;
    for (int i = 0; i < s->n_columns; i++) {
        ret->values[i] = ret->bytes.p + at[i];
        ret->lengths[i] = (int)(at[i + 1] - at[i]);
        ret->formats[i] = 1;
    }
}

static int decode_field(const struct row_column *c, const char *value, int n, char *field)
{
    uint64_t v64;
    uint32_t v32;

    if (types[c->type].size >= 0 && types[c->type].size != n)
        return -1;
    switch (c->type) {
    case ROW_i32:
        memcpy(&v32, value, sizeof v32);
        v32 = be32toh(v32);
        memcpy(field, &v32, sizeof v32);
        return 0;
    case ROW_i64:
        memcpy(&v64, value, sizeof v64);
        v64 = be64toh(v64);
        memcpy(field, &v64, sizeof v64);
        return 0;
    case ROW_uuid:
    case ROW_b32:
        memcpy(field, value, (size_t)n);
        return 0;
    case ROW_text:
        memcpy(field, &value, sizeof value);
        return 0;
    }
    return -1;
}

static void decode_null(const struct row_column *c, char *field)
{
    static const int32_t null32 = ROW_NULL32;
    static const int64_t null64 = ROW_NULL64;

    if (c->type == ROW_i32)
        memcpy(field, &null32, sizeof null32);
    else if (c->type == ROW_i64)
        memcpy(field, &null64, sizeof null64);
    /* the others are zero already */
}

int codec_decode(enum row_kind kind, const PGresult *res, int row, void *ret, struct bt_err *err)
{
    const struct row_shape *s = &row_shapes[kind];

    if (PQnfields(res) != s->n_columns)
        return bt_fail(err, BT_ERR_CORRUPT, "load_%s gives %d columns, not %d", s->name,
                       PQnfields(res), s->n_columns);
    memset(ret, 0, s->size);
    for (int i = 0; i < s->n_columns; i++) {
        const struct row_column *c = &s->columns[i];
        char *field = (char *)ret + c->offset;

        if (PQftype(res, i) != types[c->type].element || !PQfformat(res, i))
            return bt_fail(err, BT_ERR_CORRUPT, "column %s of load_%s has another type", c->name,
                           s->name);
        if (PQgetisnull(res, row, i))
            decode_null(c, field);
        else if (decode_field(c, PQgetvalue(res, row, i), PQgetlength(res, row, i), field) < 0)
            return bt_fail(err, BT_ERR_CORRUPT, "column %s of load_%s has a wrong size", c->name,
                           s->name);
    }
    return 0;
}
