/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/ledger/verify.h"

#include <inttypes.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"

int verify_checkpoint(const struct log_source *from, const struct note_key *log,
                      struct checkpoint *ret, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf note = {0};
    int rc = from->read(from->arg, "checkpoint", NOTE_MAX, &note, err);

    return rc < 0 ? rc : checkpoint_open(bt_buf_text(&note), note.n, log, ret, err);
}

struct compare {
    const struct log_source *from;
    struct verify_report report;
};

/* Gets each file that the log must have, and compares it with the one that is served. */
static int compare_file(void *arg, const char *path, const void *p, size_t n, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf served = {0};
    struct compare *c = arg;
    struct tile t;
    int rc = tile_path_parse(path, &t, err);

    if (t.level == TILE_ENTRIES) { /* this is where its entries came from */
        c->report.bundles++;
        c->report.bytes += n;
        return rc;
    }
    if (rc == 0)
        rc = log_read_tile(c->from, &t, &served, err);
    if (rc < 0)
        return rc;
    if (served.n != n || memcmp(bt_buf_text(&served), p, n) != 0)
        return bt_fail(err, BT_ERR_LEDGER, "%s is not what its entries give", path);
    c->report.tiles++;
    c->report.bytes += n;
    return 0;
}

static int add_bundle(struct log *log, const struct tile *t, const struct bt_buf *bundle,
                      const struct verify_visitor *visitor, struct bt_err *err)
{
    uint64_t index = t->n * TILE_WIDTH;
    char path[TILE_PATH_MAX];
    const uint8_t *entry;
    size_t at = 0, n;
    int rc = 0;

    for (unsigned i = 0; i < t->width && rc >= 0; i++) {
        if (bundle_next(bundle->p, bundle->n, &at, &entry, &n, err) != 1)
            return bt_fail(err, BT_ERR_LEDGER, "%s holds too few entries", tile_path(t, path));
        rc = log_append(log, entry, n, err);
        if (rc == 0 && visitor)
            rc = visitor->entry(visitor->arg, index + i, entry, n, err);
    }
    if (rc >= 0 && at != bundle->n)
        return bt_fail(err, BT_ERR_LEDGER, "%s holds too many entries", tile_path(t, path));
    return rc;
}

int verify_log(const struct log_source *from, const struct note_key *log_key,
               const struct verify_visitor *visitor, struct verify_report *ret, struct bt_err *err)
{
    struct compare c = {.from = from};
    const struct log_sink sink = {.write = compare_file, .arg = &c};
    struct log *log = log_new(&sink);
    uint64_t size, n = 0;
    struct tree_head got;
    int rc = verify_checkpoint(from, log_key, &c.report.now, err);

    size = c.report.now.head.size;
    for (; n * TILE_WIDTH < size && rc >= 0; n++) {
        struct tile t = tile_of(TILE_ENTRIES, n * TILE_WIDTH, size);
        BT_BUF_AUTO struct bt_buf bundle = {0};

        rc = log_read_tile(from, &t, &bundle, err);
        if (rc == 0)
            rc = add_bundle(log, &t, &bundle, visitor, err);
    }
    if (rc >= 0)
        rc = log_flush(log, err);
    log_head(log, &got);
    log_free(log);
    if (rc < 0)
        return rc;
    if (got.size != size || !tree_hash_eq(&got.root, &c.report.now.head.root))
        return bt_fail(err, BT_ERR_LEDGER,
                       "the %" PRIu64 " entries give another root than the signed one", size);
    c.report.entries = size;
    *ret = c.report;
    return 0;
}

int verify_entry(const struct log_source *from, const struct tree_head *head, uint64_t index,
                 struct bt_buf *to, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf entry = {0};
    struct log_reader *r = log_reader_new(from, head->size);
    const struct tree_reader tree = log_reader_tree(r);
    struct tree_proof proof;
    struct tree_hash leaf;
    int rc = log_read_entry(from, index, head->size, &entry, err);

    if (rc == 0)
        rc = tree_inclusion_proof(&tree, index, head->size, &proof, err);
    log_reader_free(r);
    if (rc < 0)
        return rc;
    tree_leaf_hash(entry.p, entry.n, &leaf);
    rc = tree_verify_inclusion(index, head->size, &leaf, &proof, &head->root, err);
    if (rc == 0)
        bt_buf_add(to, bt_buf_text(&entry), entry.n);
    return rc;
}

int verify_extends(const struct log_source *from, const struct tree_head *old,
                   const struct tree_head *head, struct bt_err *err)
{
    struct log_reader *r;
    struct tree_reader tree;
    struct tree_proof proof;
    int rc;

    if (old->size > head->size)
        return bt_fail(err, BT_ERR_LEDGER, "the log had %" PRIu64 " entries and has %" PRIu64,
                       old->size, head->size);
    if (old->size == 0)
        return 0;
    r = log_reader_new(from, head->size);
    tree = log_reader_tree(r);
    rc = tree_consistency_proof(&tree, old->size, head->size, &proof, err);
    log_reader_free(r);
    return rc < 0 ? rc : tree_verify_consistency(old, head, &proof, err);
}

static int read_file(void *arg, const char *path, size_t max, struct bt_buf *to, struct bt_err *err)
{
    BT_AUTO char *full = bt_printf("%s/%s", (const char *)arg, path);

    return bt_file_read(full, max, to, err);
}

struct log_source log_dir_source(const char *dir)
{
    union {
        const char *borrowed;
        void *arg;
    } u = {.borrowed = dir}; /* read_file only reads it */

    return (struct log_source){.read = read_file, .arg = u.arg};
}
