/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/train/tuning.h"

#include "agent/train/model.h"
#include "kernels/kernels.h"
#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/crypto/hash.h"
#include "lib/json/json.h"

enum { FILE_MAX = 1 << 30, TUNING_STREAM = 0x74756e65 };

static int read_line(struct tuning *u, const char *line, size_t n, struct bt_err *err)
{
    JSON_AUTO struct json *root = NULL;
    const char *prompt, *answer;
    struct tuning_pair *p;

    if (json_parse(line, n, TUNING_LINE_MAX, &root, err) < 0)
        return -1;
    prompt = json_str(json_get(root, "prompt"), NULL);
    answer = json_str(json_get(root, "answer"), NULL);
    if (!prompt || !answer || !*answer)
        return bt_fail(err, BT_ERR_CORRUPT,
                       "a prompt and an answer that is not empty belong there");
    if (u->n == TUNING_PAIRS_MAX)
        return bt_fail(err, BT_ERR_TOO_LARGE, "more than %d pairs", TUNING_PAIRS_MAX);
    BT_GROW(u->pairs, u->n, u->cap);
    p = &u->pairs[u->n++];
    p->n_prompt = (uint32_t)strlen(prompt);
    p->n_answer = (uint32_t)strlen(answer);
    p->text = bt_printf("%s%s", prompt, answer);
    u->bytes += (int64_t)p->n_prompt + p->n_answer;
    return 0;
}

static int read_lines(struct tuning *u, const char *path, const struct bt_buf *text,
                      struct bt_err *err)
{
    const char *at = bt_buf_text(text), *end = at + text->n;

    for (int line = 1; at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((stop ? stop : end) - at);
        struct bt_err why = {0};

        if (n && read_line(u, at, n, &why) < 0)
            return bt_fail(err, BT_ERR_CORRUPT, "%s, line %d: %s", path, line, why.text);
        at = stop ? stop + 1 : end;
    }
    return u->n ? 0 : bt_fail(err, BT_ERR_NOT_FOUND, "%s holds no pair to tune on", path);
}

int tuning_open(struct tuning *ret, const char *path, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    struct tuning u = {0};
    uint8_t sum[BT_SHA256_SIZE];
    int rc = bt_file_read(path, FILE_MAX, &text, err);

    if (rc == 0)
        rc = read_lines(&u, path, &text, err);
    if (rc < 0) {
        tuning_close(&u);
        return rc;
    }
    bt_sha256(text.p, text.n, sum);
    bt_hex(sum, sizeof sum, u.sha256);
    *ret = u;
    return 0;
}

void tuning_close(struct tuning *u)
{
    for (int i = 0; i < u->n; i++)
        bt_free(u->pairs[i].text);
    bt_free(u->pairs);
    *u = (struct tuning){0};
}

/* The i-th of a permutation of 0..n-1: a Feistel network over the next power of four, walked until
 * it falls below n (Black and Rogaway 2002, cycle walking). */
static uint64_t permuted(uint64_t key, uint64_t round, uint64_t i, uint64_t n)
{
    int half = 1;

    while (((uint64_t)1 << (2 * half)) < n)
        half++;
    do {
        uint64_t mask = ((uint64_t)1 << half) - 1, left = i >> half, right = i & mask;

        for (uint64_t k = 0; k < 4; k++) {
            uint32_t f[4];
            uint64_t next;

            kern_philox(key ^ TUNING_STREAM, round << 2 | k, right, f);
            next = left ^ (f[0] & mask);
            left = right;
            right = next;
        }
        i = left << half | right;
    } while (i >= n);
    return i;
}

int tuning_sample(const struct tuning *u, uint64_t seed, uint64_t i, int t, int32_t *in,
                  int32_t *target)
{
    uint64_t n = (uint64_t)u->n;
    const struct tuning_pair *p = &u->pairs[permuted(seed, i / n, i % n, n)];
    int answer = (int)BT_MIN(p->n_answer, (uint32_t)t);
    int prompt = (int)BT_MIN(p->n_prompt, (uint32_t)(t - answer));
    const char *text = p->text + p->n_prompt - prompt;
    int whole = prompt + answer, counted = 0;

    for (int k = 0; k < t; k++) {
        /* position k sees byte k - 1 (first the end of a document) and answers for byte k */
        int32_t want = k < whole ? (uint8_t)text[k] : k == whole ? TOKEN_EOS : -1;

        if (k < prompt)
            want = -1;
        counted += want >= 0;
        if (in)
            in[k] = k == 0 ? TOKEN_EOS : k <= whole ? (uint8_t)text[k - 1] : TOKEN_PAD;
        if (target)
            target[k] = want;
    }
    return counted;
}
