/* codec.h - rows of any kind as PostgreSQL's binary form and back, by their shape alone.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A list of rows travels as one parameter: an array of the table's own row type, which unnest()
 * takes apart 20 times faster than one array a column. Source of the forms: array_recv,
 * record_recv, int8recv, uuid_recv, bytearecv and textrecv of PostgreSQL 15
 * (src/backend/utils/adt): big-endian integers, a length before each value, -1 for NULL. */
#ifndef BT_DAEMON_STORE_CODEC_H
#define BT_DAEMON_STORE_CODEC_H

#include <libpq-fe.h>

#include "daemon/core/rows.h"
#include "daemon/store/queries.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"

enum { CODEC_MAX_COLUMNS = 64 };

/* What a put_ or load_ statement is made from. `put_job` writes the first state of a job with it,
 * so its shape joins two. */
struct codec_shape {
    const struct row_shape *shape;
    int n_key; /* columns of the key, which stand first; the others are the tail */
};

struct codec_shape codec_shape(enum row_kind kind);

/* A new job with its first state, and its shape (n_key 0). */
struct codec_new_job {
    struct row_job job;
    struct row_job_state state;
};
struct codec_shape codec_shape_new_job(void);

/* The statement with its braces filled in; owned by the caller. */
char *codec_sql(const struct query *q, struct codec_shape shape);
/* A table's columns in PostgreSQL's order, and which column of the shape goes there. */
struct codec_layout {
    Oid row_type;
    int n;
    struct {
        Oid type;
        int column; /* of the shape; -1: NULL */
    } at[CODEC_MAX_COLUMNS];
};

const char *codec_table(enum row_kind kind); /* "job" of job and job_state; NULL if not written */

/* The result of the statement `layouts`: one row a column, by table. BT_ERR_CORRUPT if the table
 * is not there or lacks a column of the shape. */
int codec_layout(const PGresult *res, const char *table, const struct row_shape *shape,
                 struct codec_layout *ret, struct bt_err *err) BT_MUSTUSE;

/* Appends the array of rows. */
void codec_encode(const struct codec_layout *layout, const struct row_shape *shape,
                  const struct row_list *rows, struct bt_buf *to);

/* Fills struct row_<kind> from one row of a binary result; its texts borrow from the result. */
int codec_decode(enum row_kind kind, const PGresult *res, int row, void *ret,
                 struct bt_err *err) BT_MUSTUSE;

#endif
