/* codec.h - rows of any kind as PostgreSQL's binary arrays and back, by their shape alone.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Source of the forms: array_recv, int8recv, uuid_recv, bytearecv and textrecv of PostgreSQL 15
 * (src/backend/utils/adt): big-endian integers, a length before each element, -1 for NULL. */
#ifndef BT_DAEMON_STORE_CODEC_H
#define BT_DAEMON_STORE_CODEC_H

#include <libpq-fe.h>

#include "daemon/core/rows.h"
#include "daemon/store/queries.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"

enum { CODEC_MAX_COLUMNS = 64 };

/* The statement with its braces filled in from the kind's columns; owned by the caller. */
char *codec_sql(const struct query *q, enum row_kind kind);
/* Types of the array parameters of put_<kind>; returns how many. */
int codec_array_types(enum row_kind kind, Oid types[CODEC_MAX_COLUMNS]);

/* Parameters of put_<kind> for a list of rows; the bytes lie in `bytes`. */
struct codec_params {
    int n;
    const char *values[CODEC_MAX_COLUMNS];
    int lengths[CODEC_MAX_COLUMNS];
    int formats[CODEC_MAX_COLUMNS];
    struct bt_buf bytes;
};

void codec_encode(enum row_kind kind, const struct row_list *rows, struct codec_params *ret);

/* Fills struct row_<kind> from one row of a binary result; its texts borrow from the result. */
int codec_decode(enum row_kind kind, const PGresult *res, int row, void *ret,
                 struct bt_err *err) BT_MUSTUSE;

#endif
