/* Ids of requests: their window, and those that were done, kept to be answered again.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <string.h>

#include "daemon/core/state.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

int id_in_window(const struct core *c, struct bt_uuid id, struct bt_err *err)
{
    int64_t made = bt_uuid_time_us(id);

    if (!bt_uuid_is_v7(id))
        return bt_fail(err, BT_ERR_INVALID, "the id is not a UUID of version 7");
    if (made < c->now_us - c->set.id_window_us || made > c->now_us + 300 * BT_US_PER_S)
        return bt_next(err,
                       bt_fail(err, BT_ERR_ID_TOO_OLD,
                               "the id was made outside the window of %" PRId64 " hours",
                               c->set.id_window_us / (3600 * BT_US_PER_S)),
                       "check this machine's clock and submit again");
    return 0;
}

static uint64_t key_of(struct bt_uuid id)
{
    return bt_map_hash(id.b, sizeof id.b);
}

/* Requests stand in order of time. Those that left the window are dropped when they are half of
 * all: nobody finds them any more. */
static void drop_old(struct core *c)
{
    int64_t since = c->now_us - c->set.id_window_us;
    int32_t n = 0;

    while (n < c->n_requests && c->requests[n].row.at_us < since)
        n++;
    if (n == 0 || n < c->n_requests / 2)
        return;
    for (int32_t i = 0; i < n; i++)
        row_free_texts(ROW_KIND_request, &c->requests[i].row);
    c->n_requests -= n;
    memmove(c->requests, c->requests + n, (size_t)c->n_requests * sizeof *c->requests);
    bt_map_done(&c->by_request);
    for (int32_t i = 0; i < c->n_requests; i++)
        bt_map_put(&c->by_request, key_of(c->requests[i].row.id), (uint32_t)i);
}

void request_keep(struct core *c, const struct row_request *row)
{
    struct request *r;

    BT_GROW(c->requests, c->n_requests, c->cap_requests);
    r = &c->requests[c->n_requests++];
    memset(r, 0, sizeof *r);
    row_copy(ROW_KIND_request, &r->row, row);
    bt_map_put(&c->by_request, key_of(row->id), (uint32_t)c->n_requests - 1);
}

int request_known(struct core *c, struct bt_uuid id, const uint8_t body[32],
                  const char **ret_answer, struct bt_err *err)
{
    const struct row_request *had;
    uint32_t at;
    int rc;

    *ret_answer = NULL;
    if ((rc = id_in_window(c, id, err)) < 0)
        return rc;
    if (!bt_map_get(&c->by_request, key_of(id), &at))
        return 0;
    had = &c->requests[at].row;
    if (!bt_uuid_eq(had->id, id) || memcmp(had->body_sha256.b, body, sizeof had->body_sha256.b))
        return bt_fail(err, BT_ERR_DUPLICATE_ID, "this id was used for another request");
    *ret_answer = had->answer;
    return 0;
}

void request_done(struct core *c, struct bt_uuid id, const uint8_t body[32], const char *text)
{
    struct row_request row = {.id = id, .at_us = c->now_us, .answer = bt_strdup(text)};

    memcpy(row.body_sha256.b, body, sizeof row.body_sha256.b);
    drop_old(c);
    request_keep(c, &row);
    *(struct row_request *)rows_add(&c->batch->rows, ROW_KIND_request) = row;
}
