/* note.h - signed notes, verifier keys, checkpoints and cosignatures: how a log speaks.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Source: C2SP signed-note v1.0.0, tlog-checkpoint v1.0.0, tlog-cosignature v1.0.1.
 *   note       = text (ends in LF) LF signature-line+
 *   line       = U+2014 SP name SP base64(keyID[4] || signature) LF
 *   keyID      = SHA-256(name LF type || public key)[0:4], big-endian
 *   vkey       = name "+" hex(keyID) "+" base64(type || public key)
 *   checkpoint = origin LF size LF base64(root) LF extension-line*
 * Pure; thread safe. */
#ifndef BT_LEDGER_NOTE_H
#define BT_LEDGER_NOTE_H

#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/crypto/sign.h"
#include "lib/ledger/tree.h"

enum {
    NOTE_MAX = 65536,    /* bytes of a whole note; ours have 200 to 2,000 */
    NOTE_NAME_MAX = 256, /* a key's name or an origin, with its NUL */
    NOTE_SIGS_MAX = 64,  /* signatures kept of one note; more is an error */
};

/* The algorithms of C2SP's registry that we speak. ML-DSA-44 (0x06) waits for OpenSSL 3.5. */
enum note_key_type { NOTE_ED25519 = 0x01, NOTE_COSIGNATURE = 0x04 };

struct note_key {
    char name[NOTE_NAME_MAX];
    uint32_t id;
    uint8_t type;
    uint8_t pub[SIGN_PUBLIC_SIZE];
};

/* BT_ERR_INVALID unless name is a key name: not empty, no white space, no plus, UTF-8. */
int note_key_make(const char *name, enum note_key_type type, const uint8_t pub[SIGN_PUBLIC_SIZE],
                  struct note_key *ret, struct bt_err *err) BT_MUSTUSE;
int note_vkey_parse(const char *text, struct note_key *ret, struct bt_err *err) BT_MUSTUSE;
void note_vkey_format(const struct note_key *key, struct bt_buf *to); /* appended, no LF */

/* ---- signing ---- */

/* Appends the signature line of `key` (its private half is `sk`) over text[n]. A cosignature
 * (NOTE_COSIGNATURE) says time_s, POSIX seconds; a NOTE_ED25519 signature ignores it.
 * The whole note is text, LF, lines. */
int note_sign(const struct note_key *key, const struct sign_key *sk, const char *text, size_t n,
              int64_t time_s, struct bt_buf *to, struct bt_err *err) BT_MUSTUSE;

/* ---- reading ---- */

struct note_sig {
    const char *name; /* borrowed from the note, n_name bytes */
    size_t n_name;
    uint32_t id;
    size_t n_sig; /* bytes of the signature; sig holds them when there are at most 72 */
    uint8_t sig[72];
};

struct note {
    const char *text; /* borrowed; n_text bytes with the final LF, what was signed */
    size_t n_text;
    size_t n_sigs;
    struct note_sig sigs[NOTE_SIGS_MAX];
};

/* BT_ERR_INVALID, BT_ERR_TOO_LARGE. The note borrows from p. */
int note_parse(const char *p, size_t n, struct note *ret, struct bt_err *err) BT_MUSTUSE;

/* 0 and the cosignature's time (0 for NOTE_ED25519; ret_time_s may be NULL); BT_ERR_NOT_FOUND when
 * the note has no signature of the key; BT_ERR_SIGNATURE when it has a bad one: then the whole
 * note is to be rejected. Of two signatures of one key the first counts. */
int note_verify(const struct note *note, const struct note_key *key, int64_t *ret_time_s,
                struct bt_err *err) BT_MUSTUSE;

/* ---- checkpoints ---- */

struct checkpoint {
    char origin[NOTE_NAME_MAX];
    struct tree_head head;
};

void checkpoint_format(const struct checkpoint *c, struct bt_buf *to); /* appended */
/* text[n] is a note's text. Extension lines are allowed and passed over. BT_ERR_INVALID. */
int checkpoint_parse(const char *text, size_t n, struct checkpoint *ret,
                     struct bt_err *err) BT_MUSTUSE;

/* Text, LF and the log's signature line, appended. key->name is the origin. */
int checkpoint_sign(const struct tree_head *head, const struct note_key *key,
                    const struct sign_key *sk, struct bt_buf *to, struct bt_err *err) BT_MUSTUSE;

/* Parses a note, demands the log's good signature and the log's own name as origin. */
int checkpoint_open(const char *p, size_t n, const struct note_key *log, struct checkpoint *ret,
                    struct bt_err *err) BT_MUSTUSE;

#endif
