/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/store/codec.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"

static const int n_key[ROW_KINDS] = {
    [ROW_KIND_nation] = 1,      [ROW_KIND_institution] = 1, [ROW_KIND_person] = 1,
    [ROW_KIND_project] = 1,     [ROW_KIND_member] = 2,      [ROW_KIND_account] = 1,
    [ROW_KIND_credential] = 1,  [ROW_KIND_token] = 1,       [ROW_KIND_site] = 1,
    [ROW_KIND_node] = 1,        [ROW_KIND_rate] = 2,        [ROW_KIND_unixmap] = 2,
    [ROW_KIND_policy] = 1,      [ROW_KIND_attempt] = 2,     [ROW_KIND_job_state] = 1,
    [ROW_KIND_account_set] = 1, [ROW_KIND_guarantee] = 2,   [ROW_KIND_outage] = 1,
    [ROW_KIND_switch_pair] = 1,
};

/* pg_type's numbers, fixed for ever (src/include/catalog/pg_type.dat). */
static const struct {
    Oid oid;
    int size; /* -1: any */
} types[] = {
    [ROW_i32] = {23, 4},     [ROW_i64] = {20, 8},  [ROW_bits] = {20, 8},
    [ROW_uuid] = {2950, 16}, [ROW_b32] = {17, 32}, [ROW_text] = {25, -1},
};

const char *codec_table(enum row_kind kind)
{
    switch (kind) {
    case ROW_KIND_ledger:
        return "ledger_entry";
    case ROW_KIND_job_state:
        return "job";
    case ROW_KIND_alloc_del:
        return "alloc";
    case ROW_KIND_account_set:
        return "account";
    case ROW_KIND_event:
        return "event_row";
    case ROW_KIND_balance:
        return NULL;
    default:
        return row_shapes[kind].name;
    }
}

struct codec_shape codec_shape(enum row_kind kind)
{
    return (struct codec_shape){&row_shapes[kind], n_key[kind]};
}

struct codec_shape codec_shape_new_job(void)
{
    static struct row_column columns[CODEC_MAX_COLUMNS];
    static struct row_shape shape = {
        .name = "job", .size = sizeof(struct codec_new_job), .columns = columns};
    const struct row_shape *job = &row_shapes[ROW_KIND_job];
    const struct row_shape *state = &row_shapes[ROW_KIND_job_state];
    int n = 0;

    for (int i = 0; i < job->n_columns; i++)
        columns[n++] = job->columns[i];
    for (int i = n_key[ROW_KIND_job_state]; i < state->n_columns; i++) {
        columns[n] = state->columns[i];
        columns[n++].offset += offsetof(struct codec_new_job, state);
    }
    assert(n <= CODEC_MAX_COLUMNS);
    shape.n_columns = n;
    return (struct codec_shape){&shape, 0};
}

static void add_columns(struct bt_buf *to, const struct row_shape *s, int from, const char *before)
{
    for (int i = from; i < s->n_columns; i++)
        bt_buf_printf(to, "%s%s%s", i > from ? ", " : "", before, s->columns[i].name);
}

static void add_brace(struct bt_buf *to, const char *name, size_t n, struct codec_shape shape)
{
    static const struct {
        const char *name;
        const char *before;
        bool tail;
    } lists[] = {
        {"columns", "", false}, {"r.columns", "r.", false},      {"tail", "", true},
        {"r.tail", "r.", true}, {"new.tail", "EXCLUDED.", true},
    };
    const struct row_shape *s = shape.shape;

    for (size_t i = 0; i < BT_ARRAY_LEN(lists); i++)
        if (strlen(lists[i].name) == n && !memcmp(name, lists[i].name, n)) {
            add_columns(to, s, lists[i].tail ? shape.n_key : 0, lists[i].before);
            return;
        }
    assert(!"a brace of a .sql file has no meaning");
}

char *codec_sql(const struct query *q, struct codec_shape shape)
{
    struct bt_buf to = {0};
    const char *s = q->text;

    while (*s) {
        size_t n = strcspn(s, "{");

        bt_buf_add(&to, s, n);
        s += n;
        if (*s == '{') {
            n = strcspn(++s, "}");
            add_brace(&to, s, n, shape);
            s += n + (s[n] == '}');
        }
    }
    return bt_buf_take(&to);
}

/* A column's type and the length of its value, then the value if it has a fixed size. */
enum { FIELD_MAX = 4 + 4 + 32 };

static char *put32(char *to, int32_t v)
{
    uint32_t be = htobe32((uint32_t)v);

    memcpy(to, &be, sizeof be);
    return to + sizeof be;
}

static bool is_null(enum row_type type, const char *field)
{
    static const uint8_t zero[32];
    int32_t v32;
    int64_t v64;

    switch (type) {
    case ROW_i32:
        memcpy(&v32, field, sizeof v32);
        return v32 == ROW_NULL32;
    case ROW_i64:
        memcpy(&v64, field, sizeof v64);
        return v64 == ROW_NULL64;
    case ROW_bits:
        return false;
    case ROW_uuid:
    case ROW_b32:
        return !memcmp(field, zero, (size_t)types[type].size);
    case ROW_text:
        return !*(const char *const *)(const void *)field;
    }
    return true;
}

static char *put_bytes(char *to, const void *p, size_t n)
{
    memcpy(to, p, n);
    return to + n;
}

/* A value of fixed size behind its length. */
static char *put_value(char *to, enum row_type type, const char *field)
{
    uint64_t v64;
    uint32_t v32;

    to = put32(to, types[type].size);
    switch (type) {
    case ROW_i32:
        memcpy(&v32, field, sizeof v32);
        return put32(to, (int32_t)v32);
    case ROW_i64:
    case ROW_bits:
        memcpy(&v64, field, sizeof v64);
        v64 = htobe64(v64);
        return put_bytes(to, &v64, sizeof v64);
    default:
        return put_bytes(to, field, (size_t)types[type].size);
    }
}

/* Room for a text and the `fields` that follow it; what is written up to `at` counts. */
static char *put_text(struct bt_buf *to, char *at, const char *text, int fields)
{
    size_t n = strlen(text);

    to->n = (size_t)(at - to->p);
    at = bt_buf_room(to, FIELD_MAX * (size_t)fields + n);
    return put_bytes(put32(at, (int32_t)n), text, n);
}

static void put_row(struct bt_buf *to, const struct codec_layout *l, const struct row_shape *s,
                    const char *row)
{
    size_t head = to->n;
    char *at = bt_buf_room(to, 8 + FIELD_MAX * (size_t)l->n);
    const char *text;

    at = put32(at, 0); /* length of the row: set below */
    at = put32(at, l->n);
    for (int i = 0; i < l->n; i++) {
        const struct row_column *c = l->at[i].column < 0 ? NULL : &s->columns[l->at[i].column];

        at = put32(at, (int32_t)l->at[i].type);
        if (!c || is_null(c->type, row + c->offset)) {
            at = put32(at, -1);
        } else if (c->type == ROW_text) {
            memcpy(&text, row + c->offset, sizeof text);
            at = put_text(to, at, text, l->n - i);
        } else {
            at = put_value(at, c->type, row + c->offset);
        }
    }
    to->n = (size_t)(at - to->p);
    (void)put32(to->p + head, (int32_t)(to->n - head - 4));
}

void codec_encode(const struct codec_layout *layout, const struct row_shape *shape,
                  const struct row_list *rows, struct bt_buf *to)
{
    char *at = bt_buf_room(to, 20);

    at = put32(at, 1); /* dimensions */
    at = put32(at, 0); /* no NULLs among the rows */
    at = put32(at, (int32_t)layout->row_type);
    at = put32(at, rows->n);
    at = put32(at, 1); /* lower bound */
    to->n = (size_t)(at - to->p);
    for (int i = 0; i < rows->n; i++)
        put_row(to, layout, shape, (const char *)rows->v + (size_t)i * shape->size);
}

static int column_of(const struct row_shape *shape, const char *name)
{
    for (int i = 0; i < shape->n_columns; i++)
        if (!strcmp(shape->columns[i].name, name))
            return i;
    return -1;
}

static Oid oid_of(const PGresult *res, int row, int column)
{
    int64_t v = 0;

    return bt_parse_i64(PQgetvalue(res, row, column), "oid", 0, UINT32_MAX, &v, NULL) < 0 ? 0
                                                                                          : (Oid)v;
}

int codec_layout(const PGresult *res, const char *table, const struct row_shape *shape,
                 struct codec_layout *ret, struct bt_err *err)
{
    int found = 0;

    *ret = (struct codec_layout){0};
    for (int i = 0; i < PQntuples(res); i++) {
        int c;

        if (strcmp(PQgetvalue(res, i, 0), table) != 0)
            continue;
        if (ret->n == CODEC_MAX_COLUMNS)
            return bt_fail(err, BT_ERR_CORRUPT, "table %s has too many columns", table);
        c = column_of(shape, PQgetvalue(res, i, 2));
        ret->row_type = oid_of(res, i, 1);
        ret->at[ret->n].type = oid_of(res, i, 3);
        ret->at[ret->n++].column = c;
        if (c < 0)
            continue;
        found++;
        if (ret->at[ret->n - 1].type != types[shape->columns[c].type].oid)
            return bt_fail(err, BT_ERR_CORRUPT, "column %s.%s has another type than its row", table,
                           PQgetvalue(res, i, 2));
    }
    if (found != shape->n_columns)
        return bt_fail(err, BT_ERR_CORRUPT, "table %s has %d of the %d columns of %s", table, found,
                       shape->n_columns, shape->name);
    return 0;
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
    case ROW_bits:
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

        if (PQftype(res, i) != types[c->type].oid || !PQfformat(res, i))
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
