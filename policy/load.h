/* load.h - reads the council's Lua files as data, in a child process that can do nothing else.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * tiers.lua and rules.lua are text that people write and that may be wrong or
 * hostile. They run in a forked child without files, without network
 * descriptors, without processes, with bounded memory, instructions and time;
 * Lua is opened without any library, its _ENV holds only the combinators
 *     ge gt lt eq has any all no always
 * which build plain tables. What comes back over a pipe is a tree in the form
 * of wire.h, and the parent checks all of it. Lua never decides anything. */
#ifndef BT_POLICY_LOAD_H
#define BT_POLICY_LOAD_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "policy/tree.h"

struct policy_limits {
    int cpu_s;           /* processor time of reading and checking */
    int deadline_ms;     /* wall clock: only what hangs, or a machine that does, takes so long */
    size_t memory_bytes; /* heap of the Lua state */
    int64_t steps;       /* VM instructions, rounded up to 1000 */
};

/* 2 s of processor time within 30 s, 8 MiB, 10 million steps: forty times what the largest rule
 * book takes. */
extern const struct policy_limits policy_limits_default;

enum { POLICY_SOURCE_MAX = 256 * 1024 }; /* bytes of one file */

/* SHA-256 of n bytes. Handed in, because this folder sees no cryptography. */
typedef void policy_hash_fn(const void *p, size_t n, uint8_t out[POLICY_DIGEST]);

/* Loads dir/tiers.lua and dir/rules.lua. On success *ret is a new policy, the
 * caller's (policy_free): swap it in and free the old one. On failure *ret is
 * untouched, so the old one stays in force. The digest covers the bytes of
 * tiers.lua followed by those of rules.lua: `cat tiers.lua rules.lua | sha256sum`.
 * BT_ERR_NOT_FOUND, BT_ERR_IO, BT_ERR_TOO_LARGE: the files; BT_ERR_INVALID: what
 * stands in them, with file and line or the rule's id; BT_ERR_TIMEOUT
 * ("policy_timeout: …"): the child was killed at one of the first two limits.
 * May be called from any thread, one at a time. */
int policy_load(const char *dir, policy_hash_fn *hash, struct policy **ret,
                struct bt_err *err) BT_MUSTUSE;

/* The same from texts and with other limits (a proposal's rules, tests). */
int policy_load_text(const char *tiers, const char *rules, policy_hash_fn *hash,
                     const struct policy_limits *limits, struct policy **ret,
                     struct bt_err *err) BT_MUSTUSE;

#endif
