/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/ledger/log.h"

#include <inttypes.h>

#include "lib/base/mem.h"

struct log {
    struct log_sink sink;
    struct tree_frontier frontier;
    uint64_t flushed;        /* the size whose partials are written */
    uint64_t pruned;         /* partials below this size's full tiles are gone */
    struct bt_buf bundle;    /* entries of the open level-0 tile */
    unsigned n[TILE_LEVELS]; /* hashes in the open tile of each level */
    uint8_t tiles[TILE_LEVELS][TILE_BYTES];
};

struct log *log_new(const struct log_sink *sink)
{
    struct log *log = bt_new(struct log);

    log->sink = *sink;
    return log;
}

void log_free(struct log *log)
{
    if (log)
        bt_buf_done(&log->bundle);
    bt_free(log);
}

void log_head(const struct log *log, struct tree_head *ret)
{
    ret->size = log->frontier.size;
    tree_frontier_root(&log->frontier, &ret->root);
}

const struct tree_frontier *log_frontier(const struct log *log)
{
    return &log->frontier;
}

static int write_tile(struct log *log, const struct tile *t, const void *p, size_t n,
                      struct bt_err *err)
{
    char path[TILE_PATH_MAX];

    return log->sink.write(log->sink.arg, tile_path(t, path), p, n, err);
}

/* Adds a hash to the open tile of a level, and to those above when it is filled. */
static int push(struct log *log, const struct tree_hash *leaf, uint64_t index, struct bt_err *err)
{
    struct tree_hash h = *leaf;

    for (int level = 0; level < TILE_LEVELS; level++) {
        struct tile t = {.level = level, .n = index / TILE_WIDTH, .width = TILE_WIDTH};
        int rc;

        memcpy(log->tiles[level] + (size_t)log->n[level] * 32, h.b, 32);
        if (++log->n[level] < TILE_WIDTH)
            return 0;
        rc = write_tile(log, &t, log->tiles[level], TILE_BYTES, err);
        if (rc < 0)
            return rc;
        tile_subtree(log->tiles[level], 0, TILE_HEIGHT, &h);
        log->n[level] = 0;
        index /= TILE_WIDTH;
    }
    return 0;
}

int log_append(struct log *log, const void *entry, size_t n, struct bt_err *err)
{
    uint64_t index = log->frontier.size;
    struct tree_hash leaf;
    int rc = bundle_add(&log->bundle, entry, n, err);

    if (rc < 0)
        return rc;
    if (index % TILE_WIDTH == TILE_WIDTH - 1) {
        struct tile t = {.level = TILE_ENTRIES, .n = index / TILE_WIDTH, .width = TILE_WIDTH};

        rc = write_tile(log, &t, log->bundle.p, log->bundle.n, err);
        if (rc < 0)
            return rc;
        bt_buf_clear(&log->bundle);
    }
    tree_leaf_hash(entry, n, &leaf);
    tree_frontier_add(&log->frontier, &leaf);
    return push(log, &leaf, index, err);
}

int log_flush(struct log *log, struct bt_err *err)
{
    uint64_t size = log->frontier.size;
    int rc = 0;

    if (log->flushed == size)
        return 0;
    if (log->n[0]) {
        struct tile t = tile_of(TILE_ENTRIES, size - 1, size);

        rc = write_tile(log, &t, log->bundle.p, log->bundle.n, err);
    }
    for (int level = 0; level < TILE_LEVELS && rc == 0; level++) {
        struct tile t;

        if (!log->n[level])
            continue;
        t = tile_of(level, tile_hashes(size, level) - 1, size);
        rc = write_tile(log, &t, log->tiles[level], (size_t)log->n[level] * 32, err);
    }
    if (rc == 0)
        log->flushed = size;
    return rc;
}

static int prune_level(struct log *log, int level, struct bt_err *err)
{
    uint64_t until = tile_hashes(log->frontier.size, level) / TILE_WIDTH;
    int rc = 0;

    for (uint64_t n = tile_hashes(log->pruned, level) / TILE_WIDTH; n < until && rc == 0; n++) {
        struct tile t = {.level = level, .n = n, .width = 1};
        char path[TILE_PATH_MAX];

        *strrchr(tile_path(&t, path), '/') = '\0';
        rc = log->sink.remove(log->sink.arg, path, err);
    }
    return rc;
}

int log_prune(struct log *log, struct bt_err *err)
{
    int rc = 0;

    for (int level = TILE_ENTRIES; log->sink.remove && level < TILE_LEVELS && rc == 0; level++)
        rc = prune_level(log, level, err);
    if (rc == 0)
        log->pruned = log->frontier.size;
    return rc;
}

/* ---- reading ---- */

static int damaged(struct bt_err *err, const struct tile *t)
{
    char path[TILE_PATH_MAX];

    return bt_fail(err, BT_ERR_CORRUPT, "%s does not hold what it should", tile_path(t, path));
}

int log_read_tile(const struct log_source *from, const struct tile *t, struct bt_buf *to,
                  struct bt_err *err)
{
    size_t max = t->level == TILE_ENTRIES ? BUNDLE_MAX : TILE_BYTES, start = to->n;
    struct tile full = {.level = t->level, .n = t->n, .width = TILE_WIDTH};
    char path[TILE_PATH_MAX];
    int rc = from->read(from->arg, tile_path(t, path), max, to, err);

    if (rc == -BT_ERR_NOT_FOUND && t->width < TILE_WIDTH) {
        struct bt_err other;
        int rc2 = from->read(from->arg, tile_path(&full, path), max, to, &other);

        if (rc2 == 0 && to->n > start) {
            size_t at = 0, n;
            const uint8_t *entry;

            rc = 0;
            for (unsigned i = 0; t->level == TILE_ENTRIES && i < t->width && rc >= 0; i++)
                rc = bundle_next(to->p + start, to->n - start, &at, &entry, &n, err);
            if (rc >= 0 && t->level != TILE_ENTRIES)
                at = BT_MIN((size_t)t->width * 32, to->n - start);
            to->n = start + at;
            to->p[to->n] = '\0';
        }
    }
    if (rc < 0)
        return rc;
    if (t->level != TILE_ENTRIES && to->n - start != (size_t)t->width * 32)
        return damaged(err, t);
    return 0;
}

enum { READER_TILES = 16 /* a proof walks at most TILE_LEVELS tiles down two edges */ };

struct log_reader {
    struct log_source from;
    uint64_t size;
    unsigned next;
    struct kept {
        struct tile t; /* width 0: none yet */
        /* The tile's own tree: 256 hashes, their 128 parents, … 1; only the complete ones. */
        struct tree_hash h[2 * TILE_WIDTH];
    } kept[READER_TILES];
};

struct log_reader *log_reader_new(const struct log_source *from, uint64_t size)
{
    struct log_reader *r = bt_new(struct log_reader);

    r->from = *from;
    r->size = size;
    return r;
}

void log_reader_free(struct log_reader *r)
{
    bt_free(r);
}

/* Where the subtrees of 2^height hashes begin in `struct kept`. */
static size_t kept_at(unsigned height)
{
    return 2 * TILE_WIDTH - (size_t)(2 * TILE_WIDTH >> height);
}

static void fill(struct kept *k, const struct tile *t, const char *hashes)
{
    k->t = *t;
    memcpy(k->h, hashes, (size_t)t->width * 32);
    for (unsigned height = 1; height <= TILE_HEIGHT; height++)
        for (size_t i = 0; i < t->width >> height; i++) {
            const struct tree_hash *low = &k->h[kept_at(height - 1) + 2 * i];

            tree_node_hash(low, low + 1, &k->h[kept_at(height) + i]);
        }
}

/* The tree of a tile, borrowed until the next call. */
static int keep(struct log_reader *r, const struct tile *t, const struct tree_hash **ret,
                struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf b = {0};
    struct kept *k = r->kept;
    int rc;

    while (k < r->kept + READER_TILES && !(k->t.width && k->t.level == t->level && k->t.n == t->n))
        k++;
    if (k == r->kept + READER_TILES) {
        rc = log_read_tile(&r->from, t, &b, err);
        if (rc < 0)
            return rc;
        k = &r->kept[r->next];
        r->next = (r->next + 1) % READER_TILES;
        fill(k, t, b.p);
    }
    *ret = k->h;
    return 0;
}

static int reader_node(void *arg, unsigned level, uint64_t index, struct tree_hash *ret,
                       struct bt_err *err)
{
    struct log_reader *r = arg;
    unsigned height = level % TILE_HEIGHT;
    int at = (int)(level / TILE_HEIGHT);
    uint64_t first = index << height; /* hash of the tile's level */
    const struct tree_hash *tree;
    struct tile t;
    int rc;

    if (first + (UINT64_C(1) << height) > tile_hashes(r->size, at))
        return bt_fail(err, BT_ERR_INVALID, "no such subtree in a log of %" PRIu64 " entries",
                       r->size);
    t = tile_of(at, first, r->size);
    rc = keep(r, &t, &tree, err);
    if (rc == 0)
        *ret = tree[kept_at(height) + (first % TILE_WIDTH >> height)];
    return rc;
}

struct tree_reader log_reader_tree(struct log_reader *r)
{
    return (struct tree_reader){.node = reader_node, .arg = r};
}

int log_read_entry(const struct log_source *from, uint64_t index, uint64_t size, struct bt_buf *to,
                   struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf b = {0};
    const uint8_t *entry = NULL;
    size_t at = 0, n = 0;
    struct tile t;
    int rc;

    if (index >= size)
        return bt_fail(err, BT_ERR_NOT_FOUND, "no entry %" PRIu64 " in a log of %" PRIu64, index,
                       size);
    t = tile_of(TILE_ENTRIES, index, size);
    rc = log_read_tile(from, &t, &b, err);
    for (uint64_t i = 0; i <= index % TILE_WIDTH && rc >= 0; i++) {
        rc = bundle_next(b.p, b.n, &at, &entry, &n, err);
        if (rc == 0)
            rc = damaged(err, &t);
    }
    if (rc < 0)
        return rc;
    bt_buf_add(to, entry, n);
    return 0;
}

/* ---- checking and picking up ---- */

/* A bundle's bytes against its level-0 tile. */
static int check_bundle(const struct bt_buf *bundle, struct log_reader *r, const struct tile *t,
                        uint64_t size, struct bt_err *err)
{
    struct tile t0 = tile_of(0, t->n * TILE_WIDTH, size);
    const struct tree_hash *hashes;
    const uint8_t *entry;
    size_t at = 0, len;
    int rc = keep(r, &t0, &hashes, err);

    if (rc < 0)
        return rc;
    for (unsigned i = 0; i < t->width; i++) {
        struct tree_hash h;

        if (bundle_next(bundle->p, bundle->n, &at, &entry, &len, err) != 1)
            return damaged(err, t);
        tree_leaf_hash(entry, len, &h);
        if (!tree_hash_eq(&h, &hashes[i]))
            return damaged(err, t);
    }
    return at == bundle->n ? 0 : damaged(err, t);
}

/* The open tiles and the open bundle of a log that is picked up. */
static int read_edge(struct log *log, const struct log_source *from, struct log_reader *r,
                     struct bt_err *err)
{
    uint64_t size = log->frontier.size;
    int rc = 0;

    if (size % TILE_WIDTH) {
        struct tile t = tile_of(TILE_ENTRIES, size - 1, size);

        rc = log_read_tile(from, &t, &log->bundle, err);
        if (rc == 0)
            rc = check_bundle(&log->bundle, r, &t, size, err);
    }
    for (int level = 0; level < TILE_LEVELS && rc == 0; level++) {
        uint64_t hashes = tile_hashes(size, level);
        const struct tree_hash *p;
        struct tile t;

        log->n[level] = (unsigned)(hashes % TILE_WIDTH);
        if (!log->n[level])
            continue;
        t = tile_of(level, hashes - 1, size);
        rc = keep(r, &t, &p, err);
        if (rc == 0)
            memcpy(log->tiles[level], p, (size_t)log->n[level] * 32);
    }
    return rc;
}

int log_resume(const struct log_source *from, const struct log_sink *sink,
               const struct tree_head *head, struct log **ret, struct bt_err *err)
{
    struct log *log = log_new(sink);
    struct log_reader *r = log_reader_new(from, head->size);
    const struct tree_reader tree = log_reader_tree(r);
    struct tree_head got;
    int rc = tree_read_frontier(&tree, head->size, &log->frontier, err);

    if (rc == 0)
        rc = read_edge(log, from, r, err);
    log_reader_free(r);
    if (rc == 0) {
        log_head(log, &got);
        if (!tree_hash_eq(&got.root, &head->root))
            rc = bt_fail(err, BT_ERR_CORRUPT, "the tiles of %" PRIu64 " entries give another root",
                         head->size);
    }
    if (rc < 0) {
        log_free(log);
        return rc;
    }
    log->flushed = log->pruned = head->size;
    *ret = log;
    return 0;
}

/* The full tiles of a level from `first` on against the level above. */
static int check_level(struct log_reader *r, int level, uint64_t first, uint64_t size,
                       struct bt_err *err)
{
    uint64_t until = tile_hashes(size, level) / TILE_WIDTH;

    for (uint64_t n = first; n < until; n++) {
        struct tile low = {.level = level, .n = n, .width = TILE_WIDTH};
        struct tile high = tile_of(level + 1, n, size);
        const struct tree_hash *p;
        struct tree_hash h;
        int rc = keep(r, &low, &p, err);

        if (rc < 0)
            return rc;
        h = p[kept_at(TILE_HEIGHT)];
        rc = keep(r, &high, &p, err);
        if (rc < 0)
            return rc;
        if (!tree_hash_eq(&h, &p[n % TILE_WIDTH]))
            return damaged(err, &low);
    }
    return 0;
}

int log_check(const struct log_source *from, uint64_t from_index, const struct tree_head *head,
              struct bt_err *err)
{
    struct log_reader *r = log_reader_new(from, head->size);
    const struct tree_reader tree = log_reader_tree(r);
    struct tree_frontier f;
    struct tree_hash root;
    int rc = 0;

    for (uint64_t n = from_index / TILE_WIDTH; n * TILE_WIDTH < head->size && rc == 0; n++) {
        struct tile t = tile_of(TILE_ENTRIES, n * TILE_WIDTH, head->size);
        BT_BUF_AUTO struct bt_buf b = {0};

        rc = log_read_tile(from, &t, &b, err);
        if (rc == 0)
            rc = check_bundle(&b, r, &t, head->size, err);
    }
    for (int level = 0; level + 1 < TILE_LEVELS && rc == 0; level++)
        rc = check_level(r, level, tile_hashes(from_index, level) / TILE_WIDTH, head->size, err);
    if (rc == 0)
        rc = tree_read_frontier(&tree, head->size, &f, err);
    log_reader_free(r);
    if (rc < 0)
        return rc;
    tree_frontier_root(&f, &root);
    if (!tree_hash_eq(&root, &head->root))
        return bt_fail(err, BT_ERR_CORRUPT, "the tiles of %" PRIu64 " entries give another root",
                       head->size);
    return 0;
}
