/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/vectors.h"

#include <string.h>

#include "lib/ledger/verify.h"
#include "tests/unit/memory_log.h"

/* The worked example's entries: eight are listed, the others say their number. */
static void entry_of(uint64_t i, struct bt_buf *to)
{
    static const char *const first[] = {
        "", "\0", "{\"job\":\"bt-000001\",\"kind\":\"submit\",\"v\":1}",
        "{\"job\":\"bt-000001\",\"kind\":\"result\",\"outcome\":\"failed\",\"v\":1}"};

    bt_buf_clear(to);
    if (i == 1)
        bt_buf_char(to, '\0');
    else if (i < 4)
        bt_buf_str(to, first[i]);
    else
        bt_buf_printf(to, "e%d", (int)i);
}

static void append_until(struct log *log, uint64_t until)
{
    BT_BUF_AUTO struct bt_buf e = {0};
    struct tree_head head;

    log_head(log, &head);
    for (uint64_t i = head.size; i < until; i++) {
        entry_of(i, &e);
        assert_int_equal(log_append(log, bt_buf_text(&e), e.n, NULL), 0);
    }
}

static struct log *grown(struct memory_log *m, uint64_t size)
{
    const struct log_sink sink = memory_sink(m);
    struct log *log = log_new(&sink);

    append_until(log, size);
    assert_int_equal(log_flush(log, NULL), 0);
    return log;
}

struct keys {
    struct note_key log;
    struct sign_key *sk;
};

static int setup(void **state)
{
    struct keys *k = bt_new(struct keys);
    uint8_t seed[32], pub[32];

    memset(seed, 9, sizeof seed);
    assert_int_equal(sign_key_from_seed(seed, &k->sk, NULL), 0);
    sign_key_public(k->sk, pub);
    assert_int_equal(note_key_make("t.example/ledger", NOTE_ED25519, pub, &k->log, NULL), 0);
    *state = k;
    return 0;
}

static int teardown(void **state)
{
    struct keys *k = *state;

    sign_key_free(k->sk);
    bt_free(k);
    return 0;
}

static struct tree_head publish(struct memory_log *m, struct log *log, const struct keys *k)
{
    BT_BUF_AUTO struct bt_buf note = {0};
    struct tree_head head;

    log_head(log, &head);
    assert_int_equal(log_flush(log, NULL), 0);
    assert_int_equal(checkpoint_sign(&head, &k->log, k->sk, &note, NULL), 0);
    assert_int_equal(memory_write(m, "checkpoint", note.p, note.n, NULL), 0);
    return head;
}

static void the_worked_log_comes_out_byte_for_byte(void **state)
{
    static const char *const files[] = {
        "tile/0/000",       "tile/0/000.p/7",       "tile/0/001.p/44",      "tile/1/000.p/1",
        "tile/entries/000", "tile/entries/000.p/7", "tile/entries/001.p/44"};
    JSON_AUTO struct json *v = vector_json("worked/worked.json");
    struct memory_log m = {0};
    struct log *log = grown(&m, 7);
    struct tree_head head;
    struct tree_hash want;

    (void)state;
    append_until(log, 300);
    assert_int_equal(log_flush(log, NULL), 0);
    assert_int_equal(m.n, BT_ARRAY_LEN(files));
    for (size_t i = 0; i < BT_ARRAY_LEN(files); i++) {
        BT_AUTO char *path = bt_printf("worked/log/%s", files[i]);
        BT_BUF_AUTO struct bt_buf b = {0};
        struct memory_file *f = memory_find(&m, files[i]);

        vector_read(path, &b);
        assert_non_null(f);
        assert_int_equal(f->b.n, b.n);
        assert_memory_equal(f->b.p, b.p, b.n);
    }
    log_head(log, &head);
    vector_hex32(json_get(json_get(v, "roots"), "300"), want.b);
    assert_true(tree_hash_eq(&head.root, &want));
    log_free(log);
    memory_done(&m);
}

static void the_worked_log_verifies_from_outside(void **state)
{
    JSON_AUTO struct json *v = vector_json("worked/worked.json");
    const char *vkey = json_str(json_get(json_get(v, "log"), "vkey"), "");
    BT_AUTO char *dir = vector_path("worked/log");
    const struct log_source from = log_dir_source(dir);
    struct verify_report report;
    struct note_key key;

    (void)state;
    assert_int_equal(note_vkey_parse(vkey, &key, NULL), 0);
    assert_int_equal(verify_log(&from, &key, NULL, &report, NULL), 0);
    assert_int_equal(report.entries, 300);
    assert_int_equal(report.bundles, 2);
    assert_int_equal(report.tiles, 3);
}

static void the_worked_proofs_come_out_of_the_tiles(void **state)
{
    JSON_AUTO struct json *v = vector_json("worked/worked.json");
    const struct json *inc = json_get(v, "inclusion"), *cons = json_get(v, "consistency");
    struct memory_log m = {0};
    struct log *log = grown(&m, 0);
    size_t n = 0;

    (void)state;
    for (uint64_t size = 1; size <= 300; size++) { /* each size is published: partials are there */
        append_until(log, size);
        assert_int_equal(log_flush(log, NULL), 0);
    }
    for (int kind = 0; kind < 2; kind++) {
        const struct json *list = kind ? cons : inc;

        /* consistency is one case or a list of cases */
        for (size_t i = 0; i < (json_is(list) == JSON_IS_ARRAY ? json_len(list) : 1); i++) {
            const struct json *c = json_is(list) == JSON_IS_ARRAY ? json_at(list, i) : list;
            uint64_t size = (uint64_t)json_i64(json_get(c, kind ? "new" : "size"), 0);
            uint64_t at = (uint64_t)json_i64(json_get(c, kind ? "old" : "index"), 0);
            const struct log_source from = memory_source(&m);
            struct log_reader *r = log_reader_new(&from, size);
            const struct tree_reader tree = log_reader_tree(r);
            const struct json *want = json_get(c, "proof_hex");
            struct tree_proof p;

            assert_int_equal(kind ? tree_consistency_proof(&tree, at, size, &p, NULL)
                                  : tree_inclusion_proof(&tree, at, size, &p, NULL),
                             0);
            assert_int_equal(p.n, json_len(want));
            for (unsigned k = 0; k < p.n; k++) {
                struct tree_hash h;

                vector_hex32(json_at(want, k), h.b);
                assert_true(tree_hash_eq(&h, &p.h[k]));
            }
            log_reader_free(r);
            n++;
        }
    }
    assert_true(n >= 5);
    log_free(log);
    memory_done(&m);
}

static void a_log_picked_up_at_any_size_continues_with_the_same_bytes(void **state)
{
    static const uint64_t sizes[] = {0, 1, 7, 255, 256, 257, 511, 512, 513, 700};
    struct memory_log whole = {0};
    struct log *straight = grown(&whole, 1030);
    struct tree_head want;

    (void)state;
    log_head(straight, &want);
    for (size_t i = 0; i < BT_ARRAY_LEN(sizes); i++) {
        struct memory_log m = {0};
        struct log *log = grown(&m, sizes[i]), *again;
        const struct log_source from = memory_source(&m);
        const struct log_sink sink = memory_sink(&m);
        struct tree_head head;

        log_head(log, &head);
        log_free(log);
        assert_int_equal(log_resume(&from, &sink, &head, &again, NULL), 0);
        append_until(again, 1030);
        assert_int_equal(log_flush(again, NULL), 0);
        log_head(again, &head);
        assert_true(tree_hash_eq(&head.root, &want.root));
        assert_int_equal(log_prune(again, NULL), 0);
        for (size_t k = 0; k < whole.n; k++) {
            struct memory_file *f = memory_find(&m, whole.files[k].path);

            assert_non_null(f);
            assert_int_equal(f->b.n, whole.files[k].b.n);
            assert_memory_equal(f->b.p, whole.files[k].b.p, f->b.n);
        }
        log_free(again);
        memory_done(&m);
    }
    log_free(straight);
    memory_done(&whole);
}

static void a_log_is_picked_up_also_when_a_crashed_run_had_gone_ahead(void **state)
{
    struct memory_log m = {0};
    struct log *log = grown(&m, 250), *again;
    const struct log_source from = memory_source(&m);
    const struct log_sink sink = memory_sink(&m);
    struct tree_head head;

    (void)state;
    log_head(log, &head); /* what was signed last */
    append_until(log, 600);
    assert_int_equal(log_flush(log, NULL), 0);
    assert_int_equal(log_prune(log, NULL), 0);
    assert_null(memory_find(&m, "tile/0/000.p/250")); /* the full tile has replaced it */
    log_free(log);
    assert_int_equal(log_resume(&from, &sink, &head, &again, NULL), 0);
    append_until(again, 600);
    assert_int_equal(log_flush(again, NULL), 0);
    log_head(again, &head);
    assert_int_equal(log_check(&from, 0, &head, NULL), 0);
    log_free(again);
    memory_done(&m);
}

static void files_that_do_not_give_the_head_are_not_picked_up(void **state)
{
    struct memory_log m = {0};
    struct log *log = grown(&m, 300), *again;
    const struct log_source from = memory_source(&m);
    const struct log_sink sink = memory_sink(&m);
    struct tree_head head;

    (void)state;
    log_head(log, &head);
    log_free(log);
    for (size_t i = 0; i < m.n; i++) {
        struct bt_buf *b = &m.files[i].b;

        if (bt_streq(m.files[i].path, "tile/0/000") ||
            bt_streq(m.files[i].path, "tile/entries/000"))
            continue; /* below the right edge: log_check's part */
        b->p[b->n / 2] ^= 1;
        if (log_resume(&from, &sink, &head, &again, NULL) != -BT_ERR_CORRUPT)
            fail_msg("%s", m.files[i].path);
        b->p[b->n / 2] ^= 1;
    }
    memory_drop(&m, memory_find(&m, "tile/1/000.p/1"));
    assert_int_equal(log_resume(&from, &sink, &head, &again, NULL), -BT_ERR_NOT_FOUND);
    memory_done(&m);
}

static void a_flipped_bit_in_any_file_is_found_by_check_and_by_outsiders(void **state)
{
    struct keys *k = *state;
    struct memory_log m = {0};
    struct log *log = grown(&m, 0);
    const struct log_source from = memory_source(&m);
    struct verify_report report;
    struct tree_head head;

    append_until(log, 600);
    head = publish(&m, log, k);
    log_free(log);
    assert_int_equal(log_check(&from, 0, &head, NULL), 0);
    assert_int_equal(verify_log(&from, &k->log, NULL, &report, NULL), 0);
    assert_int_equal(report.entries, 600);
    assert_int_equal(report.bundles, 3);
    assert_int_equal(report.tiles, 4);
    for (size_t i = 0; i < m.n; i++) {
        struct bt_buf *b = &m.files[i].b;
        bool tile = bt_starts(m.files[i].path, "tile/");

        for (size_t at = 0; at < b->n; at += 1 + b->n / 37) {
            b->p[at] ^= 4;
            if (verify_log(&from, &k->log, NULL, &report, NULL) >= 0 ||
                (tile && log_check(&from, 0, &head, NULL) >= 0))
                fail_msg("%s, byte %zu", m.files[i].path, at);
            b->p[at] ^= 4;
        }
        if (tile) { /* a file too short, and one too long */
            b->n--;
            assert_true(verify_log(&from, &k->log, NULL, &report, NULL) < 0);
            assert_true(log_check(&from, 0, &head, NULL) < 0);
            b->n++;
            bt_buf_char(b, '\0');
            assert_true(verify_log(&from, &k->log, NULL, &report, NULL) < 0);
            assert_true(log_check(&from, 0, &head, NULL) < 0);
            b->n--;
        }
    }
    assert_int_equal(verify_log(&from, &k->log, NULL, &report, NULL), 0);
    memory_done(&m);
}

static void a_rewritten_log_is_not_an_extension(void **state)
{
    struct keys *k = *state;
    struct memory_log m = {0}, other = {0};
    struct log *log = grown(&m, 0), *rewritten = grown(&other, 0);
    const struct log_source from = memory_source(&m), from2 = memory_source(&other);
    struct tree_head old, now, none = {.size = 0}, forged;

    append_until(log, 290);
    old = publish(&m, log, k);
    append_until(log, 600);
    now = publish(&m, log, k);
    assert_int_equal(verify_extends(&from, &old, &now, NULL), 0);
    assert_int_equal(verify_extends(&from, &none, &now, NULL), 0);
    assert_int_equal(verify_extends(&from, &now, &now, NULL), 0);
    assert_int_equal(verify_extends(&from, &now, &old, NULL), -BT_ERR_LEDGER);
    append_until(rewritten, 100);
    assert_int_equal(log_append(rewritten, "forged", 6, NULL), 0);
    append_until(rewritten, 600);
    forged = publish(&other, rewritten, k);
    assert_int_equal(verify_extends(&from2, &old, &forged, NULL), -BT_ERR_LEDGER);
    log_free(log);
    log_free(rewritten);
    memory_done(&m);
    memory_done(&other);
}

static void one_entry_is_proven_by_the_tiles_of_its_path(void **state)
{
    struct keys *k = *state;
    struct memory_log m = {0};
    struct log *log = grown(&m, 0);
    const struct log_source from = memory_source(&m);
    BT_BUF_AUTO struct bt_buf want = {0};
    struct tree_head head;

    append_until(log, 700);
    head = publish(&m, log, k);
    log_free(log);
    for (uint64_t i = 0; i < 700; i += 23) {
        BT_BUF_AUTO struct bt_buf got = {0};

        entry_of(i, &want);
        assert_int_equal(verify_entry(&from, &head, i, &got, NULL), 0);
        assert_int_equal(got.n, want.n);
        assert_memory_equal(bt_buf_text(&got), bt_buf_text(&want), got.n);
    }
    assert_int_equal(verify_entry(&from, &head, 700, &want, NULL), -BT_ERR_NOT_FOUND);
    head.root.b[0] ^= 1;
    assert_int_equal(verify_entry(&from, &head, 5, &want, NULL), -BT_ERR_LEDGER);
    memory_done(&m);
}

static void the_worked_receipt_verifies_and_is_written_the_same(void **state)
{
    JSON_AUTO struct json *v = vector_json("worked/worked.json");
    BT_BUF_AUTO struct bt_buf text = {0}, again = {0}, e = {0};
    struct checkpoint c;
    struct note_key key;
    struct receipt r;

    (void)state;
    assert_int_equal(
        note_vkey_parse(json_str(json_get(json_get(v, "log"), "vkey"), ""), &key, NULL), 0);
    vector_read("worked/entry-3.tlog-proof", &text);
    assert_int_equal(receipt_parse(text.p, text.n, &r, NULL), 0);
    assert_int_equal(r.index, 3);
    entry_of(3, &e);
    assert_int_equal(receipt_verify(&r, e.p, e.n, &key, &c, NULL), 0);
    assert_int_equal(c.head.size, 300);
    assert_int_equal(receipt_verify(&r, e.p, e.n - 1, &key, &c, NULL), -BT_ERR_LEDGER);
    receipt_format(&r, &again);
    assert_string_equal(bt_buf_text(&again), bt_buf_text(&text));
    for (size_t n = 0; n + 1 < text.n; n++) {
        struct receipt cut;

        assert_true(receipt_parse(text.p, n, &cut, NULL) < 0 ||
                    receipt_verify(&cut, e.p, e.n, &key, &c, NULL) < 0 || cut.n_checkpoint >= 195);
    }
}

static int collect(void *arg, uint64_t index, const void *p, size_t n, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf want = {0};
    uint64_t *next = arg;

    entry_of(index, &want);
    assert_int_equal(index, *next);
    assert_int_equal(n, want.n);
    assert_memory_equal(p, bt_buf_text(&want), n);
    (*next)++;
    return index == 400 ? bt_fail(err, BT_ERR_INVALID, "enough") : 0;
}

static void a_visitor_sees_every_entry_in_order_and_may_stop(void **state)
{
    struct keys *k = *state;
    struct memory_log m = {0};
    struct log *log = grown(&m, 300);
    const struct log_source from = memory_source(&m);
    uint64_t next = 0;
    const struct verify_visitor visitor = {collect, &next};
    struct verify_report report;

    publish(&m, log, k);
    assert_int_equal(verify_log(&from, &k->log, &visitor, &report, NULL), 0);
    assert_int_equal(next, 300);
    append_until(log, 500);
    publish(&m, log, k);
    next = 0;
    assert_int_equal(verify_log(&from, &k->log, &visitor, &report, NULL), -BT_ERR_INVALID);
    assert_int_equal(next, 401);
    log_free(log);
    memory_done(&m);
}

static void an_empty_log_is_published_and_verifies(void **state)
{
    struct keys *k = *state;
    struct memory_log m = {0};
    struct log *log = grown(&m, 0), *again;
    const struct log_source from = memory_source(&m);
    const struct log_sink sink = memory_sink(&m);
    struct verify_report report;
    struct tree_head head = publish(&m, log, k);

    assert_int_equal(m.n, 1);
    assert_int_equal(verify_log(&from, &k->log, NULL, &report, NULL), 0);
    assert_int_equal(report.entries, 0);
    assert_int_equal(log_resume(&from, &sink, &head, &again, NULL), 0);
    log_free(log);
    log_free(again);
    memory_done(&m);
}

static void a_full_disk_is_reported_by_append_and_flush(void **state)
{
    (void)state;
    for (size_t at = 1; at <= 5; at++) { /* bundle, level 0; bundle, level 0, level 1 */
        struct memory_log m = {.fail_at = at};
        const struct log_sink sink = memory_sink(&m);
        struct log *log = log_new(&sink);
        BT_BUF_AUTO struct bt_buf e = {0};
        int rc = 0;

        for (uint64_t i = 0; i < 300 && rc == 0; i++) {
            entry_of(i, &e);
            rc = log_append(log, bt_buf_text(&e), e.n, NULL);
        }
        if (rc == 0)
            rc = log_flush(log, NULL);
        assert_int_equal(rc, -BT_ERR_DISK_FULL);
        log_free(log);
        memory_done(&m);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_worked_log_comes_out_byte_for_byte),
        T(the_worked_log_verifies_from_outside),
        T(the_worked_proofs_come_out_of_the_tiles),
        T(a_log_picked_up_at_any_size_continues_with_the_same_bytes),
        T(a_log_is_picked_up_also_when_a_crashed_run_had_gone_ahead),
        T(files_that_do_not_give_the_head_are_not_picked_up),
        T(a_flipped_bit_in_any_file_is_found_by_check_and_by_outsiders),
        T(a_rewritten_log_is_not_an_extension),
        T(one_entry_is_proven_by_the_tiles_of_its_path),
        T(the_worked_receipt_verifies_and_is_written_the_same),
        T(a_visitor_sees_every_entry_in_order_and_may_stop),
        T(an_empty_log_is_published_and_verifies),
        T(a_full_disk_is_reported_by_append_and_flush),
    };

    return cmocka_run_group_tests_name("ledger_log", tests, NULL, NULL);
}
