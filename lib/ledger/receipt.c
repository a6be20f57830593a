/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>

#include "lib/base/enc.h"
#include "lib/base/str.h"
#include "lib/ledger/verify.h"

#define HEAD "c2sp.org/tlog-proof@v1\n"

void receipt_format(const struct receipt *r, struct bt_buf *to)
{
    bt_buf_printf(to, HEAD "index %" PRIu64 "\n", r->index);
    for (unsigned i = 0; i < r->proof.n; i++) {
        bt_base64(to, r->proof.h[i].b, sizeof r->proof.h[i].b);
        bt_buf_char(to, '\n');
    }
    bt_buf_char(to, '\n');
    bt_buf_add(to, r->checkpoint, r->n_checkpoint);
}

/* A line at *at without its LF, copied; false at the end or when it is longer than any we know. */
static bool next_line(const char *text, size_t n, size_t *at, char line[512])
{
    const char *lf = memchr(text + *at, '\n', n - *at);
    size_t len;

    if (!lf)
        return false;
    len = (size_t)(lf - (text + *at));
    if (len >= 512 || memchr(text + *at, '\0', len))
        return false;
    memcpy(line, text + *at, len);
    line[len] = '\0';
    *at += len + 1;
    return true;
}

static bool read_hash(const char *line, struct tree_hash *ret)
{
    BT_BUF_AUTO struct bt_buf raw = {0};

    if (strlen(line) != 44 || bt_unbase64(&raw, line, 44) < 0 || raw.n != sizeof ret->b)
        return false;
    memcpy(ret->b, raw.p, raw.n);
    return true;
}

int receipt_parse(const char *text, size_t n, struct receipt *ret, struct bt_err *err)
{
    struct receipt r = {0};
    size_t at = strlen(HEAD);
    char line[512];
    int64_t index;
    bool ok =
        n <= NOTE_MAX && n > at && memcmp(text, HEAD, at) == 0 && next_line(text, n, &at, line);

    if (ok && bt_starts(line, "extra ")) /* an application's own bytes: ours has none */
        ok = next_line(text, n, &at, line);
    if (!ok || !bt_starts(line, "index ") || line[6] < '0' || line[6] > '9' ||
        (line[6] == '0' && line[7]) ||
        bt_parse_i64(line + 6, "index", 0, INT64_MAX, &index, NULL) < 0)
        return bt_fail(err, BT_ERR_INVALID, "not a receipt (%.22s)", HEAD);
    r.index = (uint64_t)index;
    for (;;) {
        if (!next_line(text, n, &at, line))
            return bt_fail(err, BT_ERR_INVALID, "the receipt has no checkpoint");
        if (!line[0])
            break;
        if (r.proof.n == TREE_PROOF_MAX || !read_hash(line, &r.proof.h[r.proof.n]))
            return bt_fail(err, BT_ERR_INVALID, "the receipt's proof is malformed");
        r.proof.n++;
    }
    r.checkpoint = text + at;
    r.n_checkpoint = n - at;
    *ret = r;
    return 0;
}

int receipt_verify(const struct receipt *r, const void *entry, size_t n, const struct note_key *log,
                   struct checkpoint *ret, struct bt_err *err)
{
    struct checkpoint c;
    struct tree_hash leaf;
    int rc = checkpoint_open(r->checkpoint, r->n_checkpoint, log, &c, err);

    if (rc < 0)
        return rc;
    tree_leaf_hash(entry, n, &leaf);
    rc = tree_verify_inclusion(r->index, c.head.size, &leaf, &r->proof, &c.head.root, err);
    if (rc == 0)
        *ret = c;
    return rc;
}
