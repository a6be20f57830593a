/* verify.h - what an outsider runs: everything about a log from its files and one public key.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * `from` reads the paths that a log serves ("checkpoint", "tile/…"): over HTTP, or from a mirror's
 * folder. Nothing it gives is trusted. The source is asked by one thread at a time. */
#ifndef BT_LEDGER_VERIFY_H
#define BT_LEDGER_VERIFY_H

#include <stdint.h>

#include "lib/ledger/log.h"
#include "lib/ledger/note.h"

struct verify_report {
    struct checkpoint now;
    uint64_t entries; /* whose bytes were hashed */
    uint64_t bundles; /* files of entries, full and partial */
    uint64_t tiles;   /* files of hashes, full and partial */
    uint64_t bytes;   /* of all these files */
};

/* Sees each entry once its place is certain only when verify_log returns 0; a negative return
 * stops and is returned. */
struct verify_visitor {
    int (*entry)(void *arg, uint64_t index, const void *p, size_t n, struct bt_err *err);
    void *arg;
};

/* Fetches "checkpoint" and demands the log's signature and name. BT_ERR_SIGNATURE, BT_ERR_LEDGER,
 * BT_ERR_INVALID, or what the source failed with. */
int verify_checkpoint(const struct log_source *from, const struct note_key *log,
                      struct checkpoint *ret, struct bt_err *err) BT_MUSTUSE;

/* Everything: the checkpoint as above, then every entry of every bundle is hashed, every tile is
 * recomputed and compared, and the root must be the signed one. visitor may be NULL.
 * BT_ERR_LEDGER when a file says something else than it must. */
int verify_log(const struct log_source *from, const struct note_key *log,
               const struct verify_visitor *visitor, struct verify_report *ret,
               struct bt_err *err) BT_MUSTUSE;

/* Appends entry `index` to `to`, proven to be in the tree of `head` by the tiles of one path. */
int verify_entry(const struct log_source *from, const struct tree_head *head, uint64_t index,
                 struct bt_buf *to, struct bt_err *err) BT_MUSTUSE;

/* That `head` contains all of an older head, unchanged: BT_ERR_LEDGER when it does not (the log
 * was rewritten, or is smaller than it was). An empty older head is contained in everything. */
int verify_extends(const struct log_source *from, const struct tree_head *old,
                   const struct tree_head *head, struct bt_err *err) BT_MUSTUSE;

/* ---- receipts: an entry's proof in one file (C2SP tlog-proof) ---- */

struct receipt {
    uint64_t index;
    struct tree_proof proof;
    const char *checkpoint; /* borrowed from the text: the signed note */
    size_t n_checkpoint;
};

/* Appended; checkpoint[n] is the signed note. */
void receipt_format(const struct receipt *r, struct bt_buf *to);
int receipt_parse(const char *text, size_t n, struct receipt *ret, struct bt_err *err) BT_MUSTUSE;
/* That entry[n] is the one that the receipt speaks of, in a checkpoint signed by `log`. */
int receipt_verify(const struct receipt *r, const void *entry, size_t n, const struct note_key *log,
                   struct checkpoint *ret, struct bt_err *err) BT_MUSTUSE;

/* ---- a folder as source ---- */

/* Reads files below `dir`, which is borrowed and must outlive the source. */
struct log_source log_dir_source(const char *dir);

#endif
