/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/ledger/note.h"

#include <inttypes.h>

#include "lib/base/enc.h"
#include "lib/base/str.h"
#include "lib/crypto/hash.h"

#define DASH "\xe2\x80\x94 " /* U+2014 and a space begin a signature line */

static void put_be(uint8_t *to, uint64_t v, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        to[i] = (uint8_t)(v >> 8 * (n - 1 - i));
}

static uint64_t get_be(const uint8_t *p, unsigned n)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

/* Unicode's White_Space beyond ASCII: U+0085 U+00A0 U+1680 U+2000..200A U+2028 U+2029 U+202F
 * U+205F U+3000, in UTF-8. */
static bool is_wide_space(const unsigned char *c, size_t left)
{
    if (left >= 2 && c[0] == 0xc2)
        return c[1] == 0x85 || c[1] == 0xa0;
    if (left < 3)
        return false;
    if (c[0] == 0xe1)
        return c[1] == 0x9a && c[2] == 0x80;
    if (c[0] == 0xe3)
        return c[1] == 0x80 && c[2] == 0x80;
    if (c[0] != 0xe2)
        return false;
    if (c[1] == 0x81)
        return c[2] == 0x9f;
    return c[1] == 0x80 && (c[2] <= 0x8a || c[2] == 0xa8 || c[2] == 0xa9 || c[2] == 0xaf);
}

static bool is_key_name(const char *s, size_t n)
{
    if (n == 0 || n >= NOTE_NAME_MAX || !bt_is_utf8(s, n))
        return false;
    for (size_t i = 0; i < n; i++) {
        const unsigned char *c = (const unsigned char *)s + i;

        if (*c <= 0x20 || *c == 0x7f || *c == '+' || is_wide_space(c, n - i))
            return false;
    }
    return true;
}

int note_key_make(const char *name, enum note_key_type type, const uint8_t pub[SIGN_PUBLIC_SIZE],
                  struct note_key *ret, struct bt_err *err)
{
    struct note_key key = {.type = (uint8_t)type};
    uint8_t digest[32];
    struct bt_sha256 h;

    if (!is_key_name(name, strlen(name)))
        return bt_fail(err, BT_ERR_INVALID, "\"%.60s\" is not a key's name", name);
    bt_copy(key.name, sizeof key.name, name);
    memcpy(key.pub, pub, sizeof key.pub);
    bt_sha256_init(&h);
    bt_sha256_add(&h, name, strlen(name));
    bt_sha256_add(&h, "\n", 1);
    bt_sha256_add(&h, &key.type, 1);
    bt_sha256_add(&h, pub, SIGN_PUBLIC_SIZE);
    bt_sha256_end(&h, digest);
    key.id = (uint32_t)get_be(digest, 4);
    *ret = key;
    return 0;
}

int note_vkey_parse(const char *text, struct note_key *ret, struct bt_err *err)
{
    const char *plus = strchr(text, '+');
    BT_BUF_AUTO struct bt_buf raw = {0};
    char name[NOTE_NAME_MAX], id_hex[9] = {0};
    struct note_key key = {0};
    uint8_t id[4];
    int rc;

    if (!plus || (size_t)(plus - text) >= sizeof name || strnlen(plus, 10) < 10 || plus[9] != '+')
        return bt_fail(err, BT_ERR_INVALID, "not a verifier key (name+hash+key)");
    memcpy(name, text, (size_t)(plus - text));
    name[plus - text] = '\0';
    memcpy(id_hex, plus + 1, 8);
    if (bt_unhex(id_hex, id, 4) < 0 || strlen(plus + 10) > 64 ||
        bt_unbase64(&raw, plus + 10, strlen(plus + 10)) < 0)
        return bt_fail(err, BT_ERR_INVALID, "the verifier key of %s is malformed", name);
    if (raw.n != 1 + SIGN_PUBLIC_SIZE || (raw.p[0] != NOTE_ED25519 && raw.p[0] != NOTE_COSIGNATURE))
        return bt_fail(err, BT_ERR_UNSUPPORTED, "the verifier key of %s is of an unknown kind",
                       name);
    rc = note_key_make(name, (enum note_key_type)raw.p[0], (const uint8_t *)raw.p + 1, &key, err);
    if (rc < 0)
        return rc;
    if (key.id != get_be(id, 4))
        return bt_fail(err, BT_ERR_INVALID, "the verifier key of %s does not match its hash", name);
    *ret = key;
    return 0;
}

void note_vkey_format(const struct note_key *key, struct bt_buf *to)
{
    uint8_t raw[1 + SIGN_PUBLIC_SIZE];

    raw[0] = key->type;
    memcpy(raw + 1, key->pub, SIGN_PUBLIC_SIZE);
    bt_buf_printf(to, "%s+%08" PRIx32 "+", key->name, key->id);
    bt_base64(to, raw, sizeof raw);
}

/* What a cosignature signs; an ordinary signature signs the text itself. */
static void cosigned_message(int64_t time_s, const char *text, size_t n, struct bt_buf *to)
{
    bt_buf_printf(to, "cosignature/v1\ntime %" PRId64 "\n", time_s);
    bt_buf_add(to, text, n);
}

int note_sign(const struct note_key *key, const struct sign_key *sk, const char *text, size_t n,
              int64_t time_s, struct bt_buf *to, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf message = {0};
    uint8_t raw[4 + 8 + SIGN_SIZE];
    size_t at = 4;
    int rc;

    put_be(raw, key->id, 4);
    if (key->type == NOTE_COSIGNATURE) {
        put_be(raw + at, (uint64_t)time_s, 8);
        at += 8;
        cosigned_message(time_s, text, n, &message);
        rc = sign_bytes(sk, message.p, message.n, raw + at, err);
    } else {
        rc = sign_bytes(sk, text, n, raw + at, err);
    }
    if (rc < 0)
        return rc;
    bt_buf_printf(to, DASH "%s ", key->name);
    bt_base64(to, raw, at + SIGN_SIZE);
    bt_buf_char(to, '\n');
    return 0;
}

/* One line without its LF. */
static int read_sig(const char *line, size_t n, struct note_sig *ret, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf raw = {0};
    const char *name = line + strlen(DASH), *space;
    struct note_sig sig;

    if (n < strlen(DASH) || memcmp(line, DASH, strlen(DASH)) != 0)
        return bt_fail(err, BT_ERR_INVALID, "a note's signature line does not begin with a dash");
    space = memchr(name, ' ', n - strlen(DASH));
    if (!space || !is_key_name(name, (size_t)(space - name)))
        return bt_fail(err, BT_ERR_INVALID, "a note's signature line names no key");
    if (bt_unbase64(&raw, space + 1, (size_t)(line + n - space - 1)) < 0 || raw.n < 5)
        return bt_fail(err, BT_ERR_INVALID, "a note's signature is malformed");
    sig = (struct note_sig){.name = name,
                            .n_name = (size_t)(space - name),
                            .id = (uint32_t)get_be((const uint8_t *)raw.p, 4),
                            .n_sig = raw.n - 4};
    if (sig.n_sig <= sizeof sig.sig)
        memcpy(sig.sig, raw.p + 4, sig.n_sig);
    *ret = sig;
    return 0;
}

static int read_sigs(const char *at, const char *end, struct note *note, struct bt_err *err)
{
    int rc = 0;

    while (at < end && rc == 0) {
        const char *lf = memchr(at, '\n', (size_t)(end - at));

        if (note->n_sigs == NOTE_SIGS_MAX)
            return bt_fail(err, BT_ERR_TOO_LARGE, "a note with more than %d signatures",
                           NOTE_SIGS_MAX);
        if (!lf)
            return bt_fail(err, BT_ERR_INVALID, "a note's last line does not end");
        rc = read_sig(at, (size_t)(lf - at), &note->sigs[note->n_sigs++], err);
        at = lf + 1;
    }
    return rc;
}

int note_parse(const char *p, size_t n, struct note *ret, struct bt_err *err)
{
    struct note note = {.text = p};
    int rc;

    if (n > NOTE_MAX)
        return bt_fail(err, BT_ERR_TOO_LARGE, "a note of %zu bytes", n);
    if (!n || !bt_is_utf8(p, n))
        return bt_fail(err, BT_ERR_INVALID, "a note that is not UTF-8 text");
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)p[i] < 0x20 && p[i] != '\n')
            return bt_fail(err, BT_ERR_INVALID, "a note with a control character");
    for (size_t i = n; i-- > 1 && !note.n_text;) /* the text ends at the last empty line */
        if (p[i] == '\n' && p[i - 1] == '\n')
            note.n_text = i;
    if (!note.n_text || note.n_text + 1 == n)
        return bt_fail(err, BT_ERR_INVALID, "a note without signatures");
    rc = read_sigs(p + note.n_text + 1, p + n, &note, err);
    if (rc == 0)
        *ret = note;
    return rc;
}

static const struct note_sig *find_sig(const struct note *note, const struct note_key *key)
{
    for (size_t i = 0; i < note->n_sigs; i++) {
        const struct note_sig *s = &note->sigs[i];

        if (s->id == key->id && s->n_name == strlen(key->name) && s->name &&
            memcmp(s->name, key->name, s->n_name) == 0)
            return s;
    }
    return NULL;
}

int note_verify(const struct note *note, const struct note_key *key, int64_t *ret_time_s,
                struct bt_err *err)
{
    const struct note_sig *s = find_sig(note, key);
    size_t n_time = key->type == NOTE_COSIGNATURE ? 8 : 0;
    BT_BUF_AUTO struct bt_buf message = {0};
    uint64_t time_s = 0;

    if (!s)
        return bt_fail(err, BT_ERR_NOT_FOUND, "the note is not signed by %s", key->name);
    if (n_time)
        time_s = get_be(s->sig, 8);
    if (s->n_sig != n_time + SIGN_SIZE || time_s > INT64_MAX)
        return bt_fail(err, BT_ERR_SIGNATURE, "the signature of %s is malformed", key->name);
    if (n_time)
        cosigned_message((int64_t)time_s, note->text, note->n_text, &message);
    else
        bt_buf_add(&message, note->text, note->n_text);
    if (sign_verify(key->pub, message.p, message.n, s->sig + n_time, NULL) < 0)
        return bt_fail(err, BT_ERR_SIGNATURE, "the signature of %s does not verify", key->name);
    if (ret_time_s)
        *ret_time_s = (int64_t)time_s;
    return 0;
}

void checkpoint_format(const struct checkpoint *c, struct bt_buf *to)
{
    bt_buf_printf(to, "%s\n%" PRIu64 "\n", c->origin, c->head.size);
    bt_base64(to, c->head.root.b, sizeof c->head.root.b);
    bt_buf_char(to, '\n');
}

/* The next line of text[*at..n) without its LF; false if there is none or it is empty. */
static bool next_line(const char *text, size_t n, size_t *at, const char **ret, size_t *ret_n)
{
    const char *lf = memchr(text + *at, '\n', n - *at);

    if (!lf || lf == text + *at)
        return false;
    *ret = text + *at;
    *ret_n = (size_t)(lf - *ret);
    *at += *ret_n + 1;
    return true;
}

/* Decimal without sign or leading zero, at most TREE_SIZE_MAX. */
static bool read_size(const char *p, size_t n, uint64_t *ret)
{
    uint64_t v = 0;

    if (n == 0 || n > 19 || (n > 1 && p[0] == '0'))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(p[i] - '0');
    }
    *ret = v;
    return v <= TREE_SIZE_MAX;
}

int checkpoint_parse(const char *text, size_t n, struct checkpoint *ret, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf root = {0};
    struct checkpoint c = {0};
    const char *line;
    size_t n_line, at = 0;

    if (!next_line(text, n, &at, &line, &n_line) || n_line >= sizeof c.origin ||
        memchr(line, '\0', n_line))
        return bt_fail(err, BT_ERR_INVALID, "a checkpoint without an origin");
    memcpy(c.origin, line, n_line);
    if (!next_line(text, n, &at, &line, &n_line) || !read_size(line, n_line, &c.head.size))
        return bt_fail(err, BT_ERR_INVALID, "a checkpoint without a size");
    if (!next_line(text, n, &at, &line, &n_line) || n_line != 44 ||
        bt_unbase64(&root, line, n_line) < 0 || root.n != sizeof c.head.root.b)
        return bt_fail(err, BT_ERR_INVALID, "a checkpoint without a root");
    memcpy(c.head.root.b, root.p, root.n);
    while (at < n)
        if (!next_line(text, n, &at, &line, &n_line))
            return bt_fail(err, BT_ERR_INVALID, "a checkpoint with an empty line");
    *ret = c;
    return 0;
}

int checkpoint_sign(const struct tree_head *head, const struct note_key *key,
                    const struct sign_key *sk, struct bt_buf *to, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0}, line = {0};
    struct checkpoint c = {.head = *head};
    int rc;

    bt_copy(c.origin, sizeof c.origin, key->name);
    checkpoint_format(&c, &text);
    rc = note_sign(key, sk, text.p, text.n, 0, &line, err);
    if (rc < 0)
        return rc;
    bt_buf_add(to, text.p, text.n);
    bt_buf_char(to, '\n');
    bt_buf_add(to, line.p, line.n);
    return 0;
}

int checkpoint_open(const char *p, size_t n, const struct note_key *log, struct checkpoint *ret,
                    struct bt_err *err)
{
    struct checkpoint c = {0};
    struct note note = {.text = p};
    int rc = note_parse(p, n, &note, err);

    if (rc == 0)
        rc = note_verify(&note, log, NULL, err);
    if (rc == 0)
        rc = checkpoint_parse(note.text, note.n_text, &c, err);
    if (rc < 0)
        return rc;
    if (!bt_streq(c.origin, log->name))
        return bt_fail(err, BT_ERR_LEDGER, "the checkpoint is of %s, not of %s", c.origin,
                       log->name);
    *ret = c;
    return 0;
}
