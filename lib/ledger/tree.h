/* tree.h - the Merkle tree of a log: hashes, right edge, proofs and their verification.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Source: RFC 6962 section 2.1 = RFC 9162 section 2.1.
 *   leaf(d) = SHA-256(0x00 || d)    node(l, r) = SHA-256(0x01 || l || r)
 *   MTH({}) = SHA-256("")           MTH(D[n]) = node(MTH(D[0:k]), MTH(D[k:n])), k the largest
 *                                   power of two below n
 * Sizes are at most TREE_SIZE_MAX. Pure; a value may be read by several threads. */
#ifndef BT_LEDGER_TREE_H
#define BT_LEDGER_TREE_H

#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"

#define TREE_SIZE_MAX (UINT64_C(1) << 62)
enum { TREE_LEVELS = 63, TREE_PROOF_MAX = 64 };

struct tree_hash {
    uint8_t b[32];
};

bool tree_hash_eq(const struct tree_hash *a, const struct tree_hash *b);
void tree_empty_root(struct tree_hash *ret);
void tree_leaf_hash(const void *p, size_t n, struct tree_hash *ret);
void tree_node_hash(const struct tree_hash *l, const struct tree_hash *r, struct tree_hash *ret);

/* ---- growing: the right edge ---- */

/* The roots of the complete subtrees that make up a tree of `size` leaves, largest first: one
 * for each one-bit of size. A zeroed frontier is the empty tree. */
struct tree_frontier {
    uint64_t size;
    unsigned n;
    struct tree_hash h[TREE_LEVELS];
};

void tree_frontier_add(struct tree_frontier *f, const struct tree_hash *leaf);
void tree_frontier_root(const struct tree_frontier *f, struct tree_hash *ret);
/* n * 32 bytes, as stored beside a checkpoint; restore gives BT_ERR_CORRUPT on another length. */
void tree_frontier_save(const struct tree_frontier *f, struct bt_buf *to);
int tree_frontier_restore(uint64_t size, const void *p, size_t n, struct tree_frontier *ret,
                          struct bt_err *err) BT_MUSTUSE;

/* ---- proofs ---- */

/* Gives the root of the complete subtree D[index << level : (index + 1) << level]. */
struct tree_reader {
    int (*node)(void *arg, unsigned level, uint64_t index, struct tree_hash *ret,
                struct bt_err *err);
    void *arg;
};

struct tree_proof {
    unsigned n;
    struct tree_hash h[TREE_PROOF_MAX];
};

/* Each needs only nodes of the tree of `size` leaves. BT_ERR_INVALID when index >= size or
 * old > size (an old size of 0 has the empty proof), else what the reader failed with. */
int tree_read_frontier(const struct tree_reader *r, uint64_t size, struct tree_frontier *ret,
                       struct bt_err *err) BT_MUSTUSE;
int tree_inclusion_proof(const struct tree_reader *r, uint64_t index, uint64_t size,
                         struct tree_proof *ret, struct bt_err *err) BT_MUSTUSE;
int tree_consistency_proof(const struct tree_reader *r, uint64_t old, uint64_t size,
                           struct tree_proof *ret, struct bt_err *err) BT_MUSTUSE;

/* RFC 9162 sections 2.1.3.2 and 2.1.4.2; 0, or BT_ERR_LEDGER. An old size of 0 never verifies
 * here: nothing is consistent with anything, and a caller that starts from nothing says so. */
int tree_verify_inclusion(uint64_t index, uint64_t size, const struct tree_hash *leaf,
                          const struct tree_proof *proof, const struct tree_hash *root,
                          struct bt_err *err) BT_MUSTUSE;

struct tree_head {
    uint64_t size;
    struct tree_hash root;
};

int tree_verify_consistency(const struct tree_head *old, const struct tree_head *now,
                            const struct tree_proof *proof, struct bt_err *err) BT_MUSTUSE;

#endif
