/* fuzz_note.c - signed notes and verifier keys from anybody: parsed or refused, never both.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/ledger/note.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void key_round_trip(const char *text)
{
    BT_BUF_AUTO struct bt_buf again = {0};
    struct note_key key, same;
    struct bt_err err;

    if (note_vkey_parse(text, &key, &err) < 0) {
        assert(err.code && err.text[0]);
        return;
    }
    note_vkey_format(&key, &again);
    assert(note_vkey_parse(bt_buf_text(&again), &same, NULL) == 0);
    assert(same.id == key.id && same.type == key.type && !memcmp(same.pub, key.pub, 32));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    BT_AUTO char *text = bt_strndup((const char *)p, n);
    struct note_key key;
    struct note note;
    struct bt_err err;

    key_round_trip(text);
    if (note_parse((const char *)p, n, &note, &err) < 0) {
        assert(err.code && err.text[0]);
        return 0;
    }
    assert(note.n_sigs >= 1 && note.n_sigs <= NOTE_SIGS_MAX);
    assert(note.n_text < n && note.text[note.n_text - 1] == '\n');
    assert(note_key_make("a", NOTE_COSIGNATURE, (const uint8_t[32]){1}, &key, NULL) == 0);
    assert(note_verify(&note, &key, NULL, &err) < 0);
    return 0;
}
