/* core_backend.c - lets the core's own tests commit every batch to PostgreSQL and load from it.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <stdlib.h>

#include "tests/sql/db.h"
#include "tests/unit/core_fixture.h"

static struct store *store;

static void also(struct fixture *f, struct batch *b)
{
    struct bt_err err = {0};

    (void)f;
    if (b->rows.n)
        b->seq = db_next_seq();
    if (store_commit(store, b, &err) != STORE_COMMITTED)
        fail_msg("%s", err.text);
}

static int load_row(void *arg, enum row_kind kind, const void *row, struct bt_err *err)
{
    return core_load(arg, kind, row, err);
}

static struct core *reload(struct fixture *f)
{
    struct core_settings set = core_defaults("beamtime.example");
    struct core *core = core_new(&set);
    struct store_loaded loaded;
    struct bt_err err = {0};

    if (store_load(store, 0, load_row, core, &loaded, &err) < 0 ||
        core_loaded(core, f->now_us, loaded.ledger_size, loaded.last_number, &err) < 0)
        fail_msg("%s", err.text);
    return core;
}

static void stop(void)
{
    store_close(store);
    db_stop(NULL);
}

void fixture_backend(struct fixture *f)
{
    static int started;

    if (!started) {
        assert_int_equal(db_start(NULL), 0);
        started = 1;
        atexit(stop);
    }
    store_close(store);
    db_fresh();
    store = db_store(NULL);
    f->also = also;
    f->reload = reload;
}
