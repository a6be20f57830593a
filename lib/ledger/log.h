/* log.h - grows a log of tiles over storage callbacks, and reads proofs out of one.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The files are a pure function of the entries: writing them again after a crash gives the same
 * bytes. Nothing is signed here. */
#ifndef BT_LEDGER_LOG_H
#define BT_LEDGER_LOG_H

#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/ledger/tile.h"
#include "lib/ledger/tree.h"

/* Where files come from: a folder, memory, another host. Appends the whole file to `to`;
 * BT_ERR_NOT_FOUND when there is none, BT_ERR_TOO_LARGE above max bytes. */
struct log_source {
    int (*read)(void *arg, const char *path, size_t max, struct bt_buf *to, struct bt_err *err);
    void *arg;
};

/* Where files go. `remove` may be NULL; it gets the folder "tile/0/001.p" of partials that a full
 * tile has replaced. */
struct log_sink {
    int (*write)(void *arg, const char *path, const void *p, size_t n, struct bt_err *err);
    int (*remove)(void *arg, const char *path, struct bt_err *err);
    void *arg;
};

/* ---- growing ---- */

struct log; /* the right edge in memory: at most 73 KB and the open bundle */

struct log *log_new(const struct log_sink *sink); /* empty; the sink is copied */
void log_free(struct log *log);

/* Picks up a log of `head` from its files, which must hold it: BT_ERR_NOT_FOUND when one is
 * missing, BT_ERR_CORRUPT when they do not give head's root. */
int log_resume(const struct log_source *from, const struct log_sink *sink,
               const struct tree_head *head, struct log **ret, struct bt_err *err) BT_MUSTUSE;

/* Adds one entry; writes the tiles and the bundle that it fills. After an error of the sink the
 * log is of no more use than to be freed. BT_ERR_TOO_LARGE above ENTRY_MAX changes nothing. */
int log_append(struct log *log, const void *entry, size_t n, struct bt_err *err) BT_MUSTUSE;

/* Writes the partial tiles and the partial bundle of the present size, once a size: afterwards a
 * checkpoint of this size may be served. */
int log_flush(struct log *log, struct bt_err *err) BT_MUSTUSE;

/* Removes the partials of tiles that were filled since the last call; after the checkpoint of
 * the larger size is in place. */
int log_prune(struct log *log, struct bt_err *err) BT_MUSTUSE;

void log_head(const struct log *log, struct tree_head *ret);
const struct tree_frontier *log_frontier(const struct log *log); /* borrowed */

/* ---- reading ---- */

/* A tree_reader over the tiles of a log of `size` entries; keeps the last tiles it read. When a
 * partial tile is gone it takes the full one. One thread at a time. */
struct log_reader;

struct log_reader *log_reader_new(const struct log_source *from, uint64_t size);
void log_reader_free(struct log_reader *r);
struct tree_reader log_reader_tree(struct log_reader *r); /* valid as long as r */

/* Appends a tile or bundle of t->width: its partial, or the beginning of the full one that has
 * replaced it. BT_ERR_NOT_FOUND, BT_ERR_CORRUPT. */
int log_read_tile(const struct log_source *from, const struct tile *t, struct bt_buf *to,
                  struct bt_err *err) BT_MUSTUSE;

/* Appends entry `index` of a log of `size` entries to `to`. Not proven: see verify.h. */
int log_read_entry(const struct log_source *from, uint64_t index, uint64_t size, struct bt_buf *to,
                   struct bt_err *err) BT_MUSTUSE;

/* Reads again what a log wrote for the entries [from_index, head->size) and recomputes it: the
 * bundles' entries give their level-0 tiles, full tiles their place one level higher, the right
 * edge the root. BT_ERR_CORRUPT names the file. */
int log_check(const struct log_source *from, uint64_t from_index, const struct tree_head *head,
              struct bt_err *err) BT_MUSTUSE;

#endif
