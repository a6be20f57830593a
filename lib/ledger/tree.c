/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/ledger/tree.h"

#include <assert.h>

#include "lib/crypto/hash.h"

bool tree_hash_eq(const struct tree_hash *a, const struct tree_hash *b)
{
    return memcmp(a->b, b->b, sizeof a->b) == 0;
}

void tree_empty_root(struct tree_hash *ret)
{
    bt_sha256("", 0, ret->b);
}

void tree_leaf_hash(const void *p, size_t n, struct tree_hash *ret)
{
    struct bt_sha256 h;

    bt_sha256_init(&h);
    bt_sha256_add(&h, "\0", 1);
    bt_sha256_add(&h, p, n);
    bt_sha256_end(&h, ret->b);
}

void tree_node_hash(const struct tree_hash *l, const struct tree_hash *r, struct tree_hash *ret)
{
    uint8_t in[65];

    in[0] = 1;
    memcpy(in + 1, l->b, 32);
    memcpy(in + 33, r->b, 32);
    bt_sha256(in, sizeof in, ret->b);
}

void tree_frontier_add(struct tree_frontier *f, const struct tree_hash *leaf)
{
    struct tree_hash h = *leaf;

    assert(f->size < TREE_SIZE_MAX);
    for (uint64_t s = f->size; s & 1; s >>= 1)
        tree_node_hash(&f->h[--f->n], &h, &h);
    f->h[f->n++] = h;
    f->size++;
}

void tree_frontier_root(const struct tree_frontier *f, struct tree_hash *ret)
{
    struct tree_hash h;

    if (f->n == 0) {
        tree_empty_root(ret);
        return;
    }
    h = f->h[f->n - 1];
    for (unsigned i = f->n - 1; i-- > 0;)
        tree_node_hash(&f->h[i], &h, &h);
    *ret = h;
}

void tree_frontier_save(const struct tree_frontier *f, struct bt_buf *to)
{
    for (unsigned i = 0; i < f->n; i++)
        bt_buf_add(to, f->h[i].b, sizeof f->h[i].b);
}

int tree_frontier_restore(uint64_t size, const void *p, size_t n, struct tree_frontier *ret,
                          struct bt_err *err)
{
    unsigned want = (unsigned)__builtin_popcountll(size);

    if (size > TREE_SIZE_MAX || n != want * sizeof ret->h[0].b)
        return bt_fail(err, BT_ERR_CORRUPT, "a right edge of %zu bytes for %llu leaves", n,
                       (unsigned long long)size);
    *ret = (struct tree_frontier){.size = size, .n = want};
    for (unsigned i = 0; i < want; i++)
        memcpy(ret->h[i].b, (const uint8_t *)p + i * sizeof ret->h[i].b, sizeof ret->h[i].b);
    return 0;
}

/* The complete subtrees of D[begin : end], folded from the right into the root of that range.
 * begin is a multiple of a power of two >= end - begin. */
static int range_root(const struct tree_reader *r, uint64_t begin, uint64_t end,
                      struct tree_hash *ret, struct bt_err *err)
{
    struct tree_hash h = {{0}};
    bool first = true;
    uint64_t left = end - begin;

    while (left) { /* smallest subtree first: it is the rightmost */
        unsigned level = (unsigned)__builtin_ctzll(left);
        struct tree_hash sub;
        int rc;

        left &= left - 1;
        rc = r->node(r->arg, level, (begin + left) >> level, &sub, err);
        if (rc < 0)
            return rc;
        if (first)
            h = sub;
        else
            tree_node_hash(&sub, &h, &h);
        first = false;
    }
    *ret = h;
    return 0;
}

int tree_read_frontier(const struct tree_reader *r, uint64_t size, struct tree_frontier *ret,
                       struct bt_err *err)
{
    struct tree_frontier f = {.size = size};
    uint64_t at = 0;

    if (size > TREE_SIZE_MAX)
        return bt_fail(err, BT_ERR_INVALID, "a tree of %llu leaves", (unsigned long long)size);
    for (int level = 62; level >= 0; level--) {
        int rc;

        if (!(size >> level & 1))
            continue;
        rc = r->node(r->arg, (unsigned)level, at >> level, &f.h[f.n], err);
        if (rc < 0)
            return rc;
        f.n++;
        at += UINT64_C(1) << level;
    }
    *ret = f;
    return 0;
}

/* The largest power of two below n (n >= 2). */
static uint64_t split(uint64_t n)
{
    return UINT64_C(1) << (63 - __builtin_clzll(n - 1));
}

static void reverse(struct tree_proof *p)
{
    for (unsigned i = 0, k = p->n; i + 1 < k; i++) {
        struct tree_hash h = p->h[i];

        p->h[i] = p->h[--k];
        p->h[k] = h;
    }
}

int tree_inclusion_proof(const struct tree_reader *r, uint64_t index, uint64_t size,
                         struct tree_proof *ret, struct bt_err *err)
{
    uint64_t begin = 0, end = size;
    struct tree_proof p = {0};

    if (size > TREE_SIZE_MAX || index >= size)
        return bt_fail(err, BT_ERR_INVALID, "no entry %llu in a tree of %llu",
                       (unsigned long long)index, (unsigned long long)size);
    while (end - begin > 1) { /* from the root down; the proof is told from the leaf up */
        uint64_t mid = begin + split(end - begin);
        int rc = index < mid ? range_root(r, mid, end, &p.h[p.n], err)
                             : range_root(r, begin, mid, &p.h[p.n], err);

        if (rc < 0)
            return rc;
        p.n++;
        if (index < mid)
            end = mid;
        else
            begin = mid;
    }
    reverse(&p);
    *ret = p;
    return 0;
}

int tree_consistency_proof(const struct tree_reader *r, uint64_t old, uint64_t size,
                           struct tree_proof *ret, struct bt_err *err)
{
    uint64_t begin = 0, end = size;
    struct tree_proof p = {0};
    int rc = 0;

    if (size > TREE_SIZE_MAX || old > size)
        return bt_fail(err, BT_ERR_INVALID, "no tree of %llu in one of %llu",
                       (unsigned long long)old, (unsigned long long)size);
    if (old == 0 || old == size) {
        ret->n = 0;
        return 0;
    }
    while (end != old) { /* SUBPROOF of RFC 6962: walk down to the old tree's right edge */
        uint64_t mid = begin + split(end - begin);

        rc = old <= mid ? range_root(r, mid, end, &p.h[p.n], err)
                        : range_root(r, begin, mid, &p.h[p.n], err);
        if (rc < 0)
            return rc;
        p.n++;
        if (old <= mid)
            end = mid;
        else
            begin = mid;
    }
    if (begin) /* else the verifier has this hash: it is the old root */
        rc = range_root(r, begin, end, &p.h[p.n++], err);
    if (rc < 0)
        return rc;
    reverse(&p);
    *ret = p;
    return 0;
}

static int bad(struct bt_err *err, const char *what)
{
    return bt_fail(err, BT_ERR_LEDGER, "the %s proof does not verify", what);
}

/* One step up: both counters lose the levels that the left sibling skipped. */
static void climb(uint64_t *fn, uint64_t *sn)
{
    if (!(*fn & 1))
        do {
            *fn >>= 1;
            *sn >>= 1;
        } while (!(*fn & 1) && *fn != 0);
}

int tree_verify_inclusion(uint64_t index, uint64_t size, const struct tree_hash *leaf,
                          const struct tree_proof *proof, const struct tree_hash *root,
                          struct bt_err *err)
{
    uint64_t fn = index, sn = size - 1;
    struct tree_hash r = *leaf;

    if (index >= size)
        return bad(err, "inclusion");
    for (unsigned i = 0; i < proof->n; i++) {
        if (sn == 0)
            return bad(err, "inclusion");
        if ((fn & 1) || fn == sn) {
            tree_node_hash(&proof->h[i], &r, &r);
            climb(&fn, &sn);
        } else {
            tree_node_hash(&r, &proof->h[i], &r);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && tree_hash_eq(&r, root) ? 0 : bad(err, "inclusion");
}

int tree_verify_consistency(const struct tree_head *old, const struct tree_head *now,
                            const struct tree_proof *proof, struct bt_err *err)
{
    uint64_t fn = old->size - 1, sn = now->size - 1;
    bool whole = old->size && !(old->size & (old->size - 1)); /* then the proof starts with it */
    struct tree_hash fr, sr;

    if (old->size == 0 || old->size > now->size)
        return bad(err, "consistency");
    if (old->size == now->size)
        return proof->n == 0 && tree_hash_eq(&old->root, &now->root) ? 0 : bad(err, "consistency");
    if (proof->n == 0)
        return bad(err, "consistency");
    for (; fn & 1; fn >>= 1)
        sn >>= 1;
    fr = sr = whole ? old->root : proof->h[0];
    for (unsigned i = whole ? 0 : 1; i < proof->n; i++) {
        const struct tree_hash *c = &proof->h[i];

        if (sn == 0)
            return bad(err, "consistency");
        if ((fn & 1) || fn == sn) {
            tree_node_hash(c, &fr, &fr);
            tree_node_hash(c, &sr, &sr);
            climb(&fn, &sn);
        } else {
            tree_node_hash(&sr, c, &sr);
        }
        fn >>= 1;
        sn >>= 1;
    }
    if (sn != 0 || !tree_hash_eq(&fr, &old->root) || !tree_hash_eq(&sr, &now->root))
        return bad(err, "consistency");
    return 0;
}
