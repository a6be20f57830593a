/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/vectors.h"

#include <string.h>

#include "lib/ledger/note.h"

static struct note_key key_of(const char *vkey)
{
    struct note_key key;

    assert_int_equal(note_vkey_parse(vkey, &key, NULL), 0);
    return key;
}

static void verifier_keys_read_and_write_the_same_text(void **state)
{
    JSON_AUTO struct json *v = vector_json("worked/worked.json");
    JSON_AUTO struct json *go = vector_json("note.json");
    const char *texts[6];
    size_t n = 0;

    (void)state;
    texts[n++] = json_str(json_get(json_get(v, "log"), "vkey"), "");
    for (size_t i = 0; i < 3; i++)
        texts[n++] = json_str(json_get(json_at(json_get(v, "witnesses"), i), "vkey"), "");
    texts[n++] = json_str(json_get(go, "vkey"), "");
    texts[n++] = json_str(json_get(go, "enoch_vkey"), "");
    for (size_t i = 0; i < n; i++) {
        struct note_key key = key_of(texts[i]);
        BT_BUF_AUTO struct bt_buf again = {0};

        note_vkey_format(&key, &again);
        assert_string_equal(bt_buf_text(&again), texts[i]);
    }
}

static void malformed_verifier_keys_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "+",
        "a+b+c",
        "PeterNeumann+c74f20a3",
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10T=",
        "PeterNeumann+c74f20+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    };
    JSON_AUTO struct json *go = vector_json("note.json");
    const struct json *more = json_get(go, "bad_vkeys");
    struct note_key key;

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(bad); i++)
        if (note_vkey_parse(bad[i], &key, NULL) >= 0)
            fail_msg("\"%s\"", bad[i]);
    assert_int_equal(json_len(more), 2);
    for (size_t i = 0; i < json_len(more); i++)
        assert_true(note_vkey_parse(json_str(json_at(more, i), ""), &key, NULL) < 0);
}

static void names_with_any_space_or_plus_are_no_key_names(void **state)
{
    static const char *const bad[] = {"",         "a b",      "a+b",      "a\tb",    "a\nb",
                                      "a\u00a0b", "a\u2003b", "a\u3000b", "a\u1680", "\xc2\x85",
                                      "a\u202f",  "a\u205fb", "a\xff",    "a\u2028b"};
    static const char *const good[] = {"a", "beamtime.example/ledger", "é", "日本", "a\u200bb"};
    uint8_t pub[32] = {0};
    struct note_key key;

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(bad); i++)
        if (note_key_make(bad[i], NOTE_ED25519, pub, &key, NULL) >= 0)
            fail_msg("case %zu", i);
    for (size_t i = 0; i < BT_ARRAY_LEN(good); i++)
        if (note_key_make(good[i], NOTE_ED25519, pub, &key, NULL) < 0)
            fail_msg("case %zu", i);
}

/* The seed of a PRIVATE+KEY of x/mod. */
static struct sign_key *skey_of(const char *skey)
{
    BT_BUF_AUTO struct bt_buf raw = {0};
    struct sign_key *sk;
    const char *base64 = strrchr(skey, '+');

    while (strlen(base64 + 1) != 44) { /* base64 may hold a plus */
        const char *p = base64 - 1;

        while (*p != '+')
            p--;
        base64 = p;
    }
    assert_int_equal(bt_unbase64(&raw, base64 + 1, 44), 0);
    assert_int_equal(raw.n, 33);
    assert_int_equal(sign_key_from_seed((uint8_t *)raw.p + 1, &sk, NULL), 0);
    return sk;
}

static void the_notes_of_x_mod_sign_and_verify(void **state)
{
    JSON_AUTO struct json *go = vector_json("note.json");
    struct note_key peter = key_of(json_str(json_get(go, "vkey"), ""));
    struct note_key enoch = key_of(json_str(json_get(go, "enoch_vkey"), ""));
    struct sign_key *sk = skey_of(json_str(json_get(go, "skey"), ""));
    const char *text = json_str(json_get(go, "text"), "");
    const char *want = json_str(json_get(go, "signed"), "");
    const char *other = json_str(json_get(go, "enoch_signed"), "");
    BT_BUF_AUTO struct bt_buf got = {0};
    struct note note;

    (void)state;
    bt_buf_printf(&got, "%s\n", text);
    assert_int_equal(note_sign(&peter, sk, text, strlen(text), 0, &got, NULL), 0);
    assert_string_equal(bt_buf_text(&got), want);
    assert_int_equal(note_parse(want, strlen(want), &note, NULL), 0);
    assert_int_equal(note.n_text, strlen(text));
    assert_int_equal(note_verify(&note, &peter, NULL, NULL), 0);
    assert_int_equal(note_verify(&note, &enoch, NULL, NULL), -BT_ERR_NOT_FOUND);
    assert_int_equal(note_parse(other, strlen(other), &note, NULL), 0);
    assert_int_equal(note_verify(&note, &enoch, NULL, NULL), 0);
    sign_key_free(sk);
}

static void the_example_of_c2sp_verifies(void **state)
{
    BT_BUF_AUTO struct bt_buf text = {0}, vkey = {0};
    struct note_key key;
    struct note note;

    (void)state;
    vector_read("c2sp/signed-note-example.txt", &text);
    vector_read("c2sp/signed-note-example.vkey", &vkey);
    vkey.p[strcspn(vkey.p, "\n")] = '\0';
    key = key_of(vkey.p);
    assert_int_equal(note_parse(text.p, text.n, &note, NULL), 0);
    assert_int_equal(note_verify(&note, &key, NULL, NULL), 0);
    text.p[3] ^= 1;
    assert_int_equal(note_verify(&note, &key, NULL, NULL), -BT_ERR_SIGNATURE);
}

/* JSON has told the notes' bytes as characters. */
static void malformed_notes_are_refused(void **state)
{
    JSON_AUTO struct json *go = vector_json("note.json");
    const struct json *bad = json_get(go, "malformed_notes_latin1");
    const char *hex = json_str(json_get(go, "malformed_note_invalid_utf8_hex"), "");
    const char *good = json_str(json_get(go, "signed"), "");
    char raw[1024];
    struct note note;

    (void)state;
    assert_int_equal(json_len(bad), 6);
    for (size_t i = 0; i < json_len(bad); i++) {
        const char *text = json_str(json_at(bad, i), "");

        if (note_parse(text, strlen(text), &note, NULL) >= 0)
            fail_msg("case %zu", i);
    }
    assert_int_equal(bt_unhex(hex, raw, strlen(hex) / 2), 0);
    assert_int_equal(note_parse(raw, strlen(hex) / 2, &note, NULL), -BT_ERR_INVALID);
    assert_int_equal(note_parse("", 0, &note, NULL), -BT_ERR_INVALID);
    assert_int_equal(note_parse("\n\n", 2, &note, NULL), -BT_ERR_INVALID);
    assert_int_equal(note_parse(good, NOTE_MAX + 1, &note, NULL), -BT_ERR_TOO_LARGE);
    for (size_t n = 0; n < strlen(good); n++) /* any cut of a good one */
        assert_true(note_parse(good, n, &note, NULL) < 0);
}

static void a_note_may_carry_signatures_of_strangers_but_not_too_many(void **state)
{
    JSON_AUTO struct json *go = vector_json("note.json");
    struct note_key peter = key_of(json_str(json_get(go, "vkey"), ""));
    BT_BUF_AUTO struct bt_buf text = {0};
    struct note note;

    (void)state;
    bt_buf_str(&text, json_str(json_get(go, "signed"), ""));
    for (int i = 1; i < NOTE_SIGS_MAX; i++) {
        bt_buf_str(&text, "\u2014 stranger AAAAAAAA\n");
        assert_int_equal(note_parse(text.p, text.n, &note, NULL), 0);
        assert_int_equal(note_verify(&note, &peter, NULL, NULL), 0);
    }
    bt_buf_str(&text, "\u2014 stranger AAAAAAAA\n");
    assert_int_equal(note_parse(text.p, text.n, &note, NULL), -BT_ERR_TOO_LARGE);
}

static void the_worked_checkpoint_verifies_with_its_three_cosignatures(void **state)
{
    JSON_AUTO struct json *v = vector_json("worked/worked.json");
    struct note_key log = key_of(json_str(json_get(json_get(v, "log"), "vkey"), ""));
    BT_BUF_AUTO struct bt_buf text = {0}, body = {0}, again = {0};
    struct checkpoint c;
    struct note note;

    (void)state;
    vector_read("worked/checkpoint.300.cosigned", &text);
    assert_int_equal(checkpoint_open(text.p, text.n, &log, &c, NULL), 0);
    assert_string_equal(c.origin, "beamtime.example/ledger");
    assert_int_equal(c.head.size, 300);
    checkpoint_format(&c, &again);
    vector_read("worked/checkpoint.300.body", &body);
    assert_string_equal(bt_buf_text(&again), bt_buf_text(&body));
    assert_int_equal(note_parse(text.p, text.n, &note, NULL), 0);
    assert_int_equal(note.n_sigs, 4);
    for (size_t i = 0; i < 3; i++) {
        const struct json *w = json_at(json_get(v, "witnesses"), i);
        struct note_key key = key_of(json_str(json_get(w, "vkey"), ""));
        BT_BUF_AUTO struct bt_buf line = {0};
        struct sign_key *sk;
        uint8_t seed[32];
        int64_t time_s;

        assert_int_equal(key.type, NOTE_COSIGNATURE);
        assert_int_equal(note_verify(&note, &key, &time_s, NULL), 0);
        vector_hex32(json_get(w, "seed_hex"), seed);
        assert_int_equal(sign_key_from_seed(seed, &sk, NULL), 0);
        assert_int_equal(note_sign(&key, sk, note.text, note.n_text, time_s, &line, NULL), 0);
        assert_non_null(strstr(text.p, bt_buf_text(&line)));
        sign_key_free(sk);
    }
}

static void signing_the_worked_head_gives_the_worked_bytes(void **state)
{
    JSON_AUTO struct json *v = vector_json("worked/worked.json");
    struct note_key log = key_of(json_str(json_get(json_get(v, "log"), "vkey"), ""));
    static const char *const sizes[] = {"7", "300"};
    struct sign_key *sk;
    uint8_t seed[32];

    (void)state;
    vector_hex32(json_get(json_get(v, "log"), "ed25519_seed_hex"), seed);
    assert_int_equal(sign_key_from_seed(seed, &sk, NULL), 0);
    for (size_t i = 0; i < 2; i++) {
        BT_AUTO char *name = bt_printf("worked/checkpoint.%s", sizes[i]);
        BT_BUF_AUTO struct bt_buf want = {0}, got = {0};
        struct tree_head head = {.size = i ? 300 : 7};

        vector_hex32(json_get(json_get(v, "roots"), sizes[i]), head.root.b);
        vector_read(name, &want);
        assert_int_equal(checkpoint_sign(&head, &log, sk, &got, NULL), 0);
        assert_string_equal(bt_buf_text(&got), bt_buf_text(&want));
    }
    sign_key_free(sk);
}

static void a_changed_checkpoint_or_another_log_is_refused(void **state)
{
    JSON_AUTO struct json *v = vector_json("worked/worked.json");
    struct note_key log = key_of(json_str(json_get(json_get(v, "log"), "vkey"), "")), other;
    BT_BUF_AUTO struct bt_buf text = {0};
    struct checkpoint c;

    (void)state;
    vector_read("worked/checkpoint.300", &text);
    for (size_t i = 0; i < text.n; i++) {
        text.p[i] ^= 1;
        assert_true(checkpoint_open(text.p, text.n, &log, &c, NULL) < 0);
        text.p[i] ^= 1;
    }
    assert_int_equal(checkpoint_open(text.p, text.n, &log, &c, NULL), 0);
    assert_int_equal(note_key_make("other.example/ledger", NOTE_ED25519, log.pub, &other, NULL), 0);
    assert_int_equal(checkpoint_open(text.p, text.n, &other, &c, NULL), -BT_ERR_NOT_FOUND);
}

#define ROOT "EjxAzM5swN0pXzFQ7Vne3wq6vVxv8P1eYkEPH1+FfhY="

static void checkpoints_have_one_spelling(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"o\n0\n" ROOT "\n", true},
        {"o\n300\n" ROOT "\n", true},
        {"o\n300\n" ROOT "\nextension\nmore\n", true},
        {"o\n4611686018427387904\n" ROOT "\n", true},
        {"o\n4611686018427387905\n" ROOT "\n", false},
        {"o\n99999999999999999999\n" ROOT "\n", false},
        {"o\n0300\n" ROOT "\n", false},
        {"o\n+300\n" ROOT "\n", false},
        {"o\n-1\n" ROOT "\n", false},
        {"o\n\n" ROOT "\n", false},
        {"\n300\n" ROOT "\n", false},
        {"o\n300\n" ROOT, false},
        {"o\n300\nEjxA\n", false},
        {"o\n300\n" ROOT "\n\n", false},
        {"o\n300\n", false},
        {"o", false},
        {"", false},
    };
    struct checkpoint c;

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++)
        if ((checkpoint_parse(cases[i].text, strlen(cases[i].text), &c, NULL) == 0) !=
            cases[i].good)
            fail_msg("case %zu", i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verifier_keys_read_and_write_the_same_text),
        cmocka_unit_test(malformed_verifier_keys_are_refused),
        cmocka_unit_test(names_with_any_space_or_plus_are_no_key_names),
        cmocka_unit_test(the_notes_of_x_mod_sign_and_verify),
        cmocka_unit_test(the_example_of_c2sp_verifies),
        cmocka_unit_test(malformed_notes_are_refused),
        cmocka_unit_test(a_note_may_carry_signatures_of_strangers_but_not_too_many),
        cmocka_unit_test(the_worked_checkpoint_verifies_with_its_three_cosignatures),
        cmocka_unit_test(signing_the_worked_head_gives_the_worked_bytes),
        cmocka_unit_test(a_changed_checkpoint_or_another_log_is_refused),
        cmocka_unit_test(checkpoints_have_one_spelling),
    };

    return cmocka_run_group_tests_name("ledger_note", tests, NULL, NULL);
}
