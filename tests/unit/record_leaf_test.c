/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/vectors.h"

#include <string.h>

#include "lib/crypto/hash.h"
#include "lib/record/jcs.h"
#include "lib/record/leaf.h"
#include "lib/record/sign.h"

#define START INT64_C(1795000000000000)

static const char *const rules[] = {"T-1", "BIO-3"};

static struct leaf_job a_job(void)
{
    struct leaf_job job = {
        .facility = "beamtime.example",
        .number = 4711,
        .nation = "cz",
        .project = "multilingual",
        .person = "p-0007",
        .tier = 2,
        .job_kind = "train",
        .accelerators = 8,
        .class = "h200",
        .held_mras = INT64_C(9007199254740993), /* more than a double can tell */
        .flop_ceiling = "41000000000000000000000",
        .rules = rules,
        .n_rules = 2,
        .submitted_us = START,
    };

    assert_int_equal(bt_uuid_parse("01932f00-0000-7000-8000-000000000001", &job.job), 0);
    memset(job.spec_commitment, 0x11, 32);
    memset(job.policy_sha256, 0x22, 32);
    return job;
}

static const struct leaf_metric metrics[] = {
    {"steps", "400"}, {"loss", "2.7100"}, {"bits_per_byte", "-0.5"}};

static struct leaf_record a_record(void)
{
    struct leaf_record r = {
        .job = a_job(),
        .name = "tower \"of\" Babel",
        .attempts = 2,
        .outcome = LEAF_FAILED,
        .exit_code = 1,
        .signal = 0,
        .reason = "rank 3 exited with status 1",
        .started_us = START + 1,
        .ended_us = START + INT64_C(60000000),
        .charged_mras = 120000,
        .manifest = {.status = LEAF_OUTPUTS_COMPLETE, .files = 9, .bytes = 7900000},
        .metrics = metrics,
        .n_metrics = 3,
    };

    memset(r.manifest.root, 0x33, 32);
    memset(r.manifest.sha256, 0x44, 32);
    return r;
}

#define X32(b) b b b b b b b b b b b b b b b b b b b b b b b b b b b b b b b b

static void a_record_has_this_one_spelling(void **state)
{
    static const char want[] =
        "{\"body\":{\"accelerators\":8,\"attempts\":2,\"charged_mras\":\"120000\",\"class\":"
        "\"h200\",\"ended\":\"2026-11-18T11:07:40Z\",\"exit_code\":1,\"facility\":"
        "\"beamtime.example\",\"flop_ceiling\":\"41000000000000000000000\",\"held_mras\":"
        "\"9007199254740993\",\"job\":\"01932f00-0000-7000-8000-000000000001\",\"job_kind\":"
        "\"train\",\"manifest\":{\"bytes\":\"7900000\",\"files\":9,\"root\":\"" X32(
            "33") "\","
                  "\"sha256\":\"" X32(
                      "44") "\",\"status\":\"complete\"},\"metrics\":{\"bits_per_byte\":"
                            "\"-0.5\",\"loss\":\"2.7100\",\"steps\":\"400\"},\"name\":\"tower "
                            "\\\"of\\\" Babel\","
                            "\"nation\":\"cz\",\"number\":4711,\"outcome\":\"failed\",\"person\":"
                            "\"p-0007\","
                            "\"policy_sha256\":\"" X32(
                                "22") "\",\"project\":\"multilingual\",\"reason\":"
                                      "\"rank 3 exited with status "
                                      "1\",\"rules\":[\"T-1\",\"BIO-3\"],\"spec_commitment\":"
                                      "\"" X32("11") "\",\"started\":\"2026-11-18T11:06:40."
                                                     "000001Z\",\"submitted\":"
                                                     "\"2026-11-18T11:06:40Z\",\"tier\":2},"
                                                     "\"kind\":\"record\",\"v\":1}";
    const struct leaf_record r = a_record();
    BT_BUF_AUTO struct bt_buf out = {0};
    LEAF_AUTO struct leaf leaf = {0};

    (void)state;
    assert_int_equal(leaf_record_build(&r, &out, NULL), 0);
    assert_string_equal(bt_buf_text(&out), want);
    assert_int_equal(leaf_parse(out.p, out.n, &leaf, NULL), 0);
    assert_int_equal(leaf.kind, LEAF_RECORD);
    assert_string_equal(json_str(json_get(leaf.body, "outcome"), ""), "failed");
}

static void a_job_that_never_started_has_a_record_without_start_and_exit(void **state)
{
    struct leaf_record r = a_record();
    BT_BUF_AUTO struct bt_buf out = {0};
    LEAF_AUTO struct leaf leaf = {0};

    (void)state;
    r.outcome = LEAF_CANCELLED;
    r.started_us = 0;
    r.exit_code = -1;
    r.n_metrics = 0;
    r.manifest = (struct leaf_manifest){.status = LEAF_OUTPUTS_NONE};
    assert_int_equal(leaf_record_build(&r, &out, NULL), 0);
    assert_int_equal(leaf_parse(out.p, out.n, &leaf, NULL), 0);
    assert_null(json_get(leaf.body, "started"));
    assert_null(json_get(leaf.body, "exit_code"));
    assert_null(json_get(leaf.body, "metrics"));
    assert_string_equal(json_str(json_get(json_get(leaf.body, "manifest"), "status"), ""), "none");
}

static void a_submit_says_what_was_promised_before_anything_ran(void **state)
{
    const struct leaf_submit s = {
        .job = a_job(), .walltime_s = 3600, .publish_days = 30, .embargo_days = 0};
    BT_BUF_AUTO struct bt_buf out = {0};
    LEAF_AUTO struct leaf leaf = {0};

    (void)state;
    assert_int_equal(leaf_submit_build(&s, &out, NULL), 0);
    assert_int_equal(leaf_parse(out.p, out.n, &leaf, NULL), 0);
    assert_int_equal(leaf.kind, LEAF_SUBMIT);
    assert_int_equal(json_i64(json_get(leaf.body, "publish_days"), 0), 30);
    assert_string_equal(json_str(json_get(leaf.body, "held_mras"), ""), "9007199254740993");
}

static void both_entries_name_the_data_sets_of_the_job(void **state)
{
    static const uint8_t digest[32] = {0x55};
    static const struct leaf_dataset data[] = {{"c4", digest}, {"web-2", NULL}};
    struct leaf_dataset many[LEAF_DATASETS_MAX + 1];
    struct leaf_record r = a_record();
    struct leaf_submit s = {.job = a_job(), .walltime_s = 3600};

    (void)state;
    r.job.datasets = s.job.datasets = data;
    r.job.n_datasets = s.job.n_datasets = BT_ARRAY_LEN(data);
    for (int record = 0; record < 2; record++) {
        BT_BUF_AUTO struct bt_buf out = {0};
        LEAF_AUTO struct leaf leaf = {0};
        const struct json *list;

        assert_int_equal(
            record ? leaf_record_build(&r, &out, NULL) : leaf_submit_build(&s, &out, NULL), 0);
        assert_int_equal(leaf_parse(out.p, out.n, &leaf, NULL), 0);
        list = json_get(leaf.body, "datasets");
        assert_int_equal(json_len(list), 2);
        assert_memory_equal(json_str(json_get(json_at(list, 0), "sha256"), ""), "5500", 4);
        assert_string_equal(json_str(json_get(json_at(list, 1), "name"), ""), "web-2");
        assert_null(json_get(json_at(list, 1), "sha256"));
    }
    for (size_t i = 0; i < BT_ARRAY_LEN(many); i++)
        many[i] = data[1];
    r.job.datasets = many;
    r.job.n_datasets = BT_ARRAY_LEN(many);
    BT_BUF_AUTO struct bt_buf none = {0};
    assert_int_equal(leaf_record_build(&r, &none, NULL), -BT_ERR_TOO_LARGE);
}

static void what_cannot_be_told_is_named_and_leaves_the_buffer_alone(void **state)
{
    static const struct leaf_metric floaty[] = {{"loss", "1e-3"}};
    static const struct leaf_metric twice[] = {{"loss", "1"}, {"loss", "2"}};
    BT_BUF_AUTO struct bt_buf out = {0};
    BT_AUTO char *huge = bt_alloc(LEAF_MAX + 1, 1);
    struct leaf_record r = a_record();
    struct bt_err err;

    (void)state;
    bt_buf_str(&out, "kept");
    r.job.number = INT64_C(1) << 53;
    assert_int_equal(leaf_record_build(&r, &out, &err), -BT_ERR_INVALID);
    assert_non_null(strstr(err.text, "number"));
    r = a_record();
    r.reason = "\xff";
    assert_int_equal(leaf_record_build(&r, &out, &err), -BT_ERR_INVALID);
    assert_non_null(strstr(err.text, "reason"));
    r = a_record();
    r.metrics = floaty;
    r.n_metrics = 1;
    assert_int_equal(leaf_record_build(&r, &out, &err), -BT_ERR_INVALID);
    r.metrics = twice;
    r.n_metrics = 2;
    assert_int_equal(leaf_record_build(&r, &out, &err), -BT_ERR_INVALID);
    r.n_metrics = LEAF_METRICS_MAX + 1;
    assert_int_equal(leaf_record_build(&r, &out, &err), -BT_ERR_TOO_LARGE);
    r = a_record();
    memset(huge, 'x', LEAF_MAX);
    r.reason = huge;
    assert_int_equal(leaf_record_build(&r, &out, &err), -BT_ERR_TOO_LARGE);
    r = a_record();
    r.job.nation = NULL;
    assert_int_equal(leaf_record_build(&r, &out, &err), -BT_ERR_INVALID);
    r = a_record();
    r.job.flop_ceiling = "4.1e22";
    assert_int_equal(leaf_record_build(&r, &out, &err), -BT_ERR_INVALID);
    assert_string_equal(bt_buf_text(&out), "kept");
}

/* ---- signed entries ---- */

static const char result_body[] =
    "{\"job\":\"01932f00-0000-7000-8000-000000000001\",\"summary\":\"31 languages\",\"title\":"
    "\"Tower\"}";

static struct leaf_sig sign_body(const char *body, uint8_t seed_byte)
{
    struct leaf_sig sig = {.role = "researcher"};
    struct sign_key *key;
    uint8_t seed[32];

    memset(seed, seed_byte, sizeof seed);
    assert_int_equal(sign_key_from_seed(seed, &key, NULL), 0);
    sign_key_public(key, sig.key);
    assert_int_equal(record_sign(key, body, strlen(body), sig.sig, NULL), 0);
    sign_key_free(key);
    return sig;
}

static void a_signed_entry_reads_back_and_any_change_is_found(void **state)
{
    struct leaf_sig sigs[2] = {sign_body(result_body, 1), sign_body(result_body, 2)};
    BT_BUF_AUTO struct bt_buf out = {0};
    LEAF_AUTO struct leaf leaf = {0};
    size_t refused = 0;

    (void)state;
    assert_int_equal(leaf_build(LEAF_RESULT, result_body, strlen(result_body), sigs, 2, &out, NULL),
                     0);
    assert_int_equal(leaf_parse(out.p, out.n, &leaf, NULL), 0);
    assert_int_equal(leaf.kind, LEAF_RESULT);
    assert_int_equal(leaf.n_sigs, 2);
    assert_memory_equal(leaf.sigs[1].key, sigs[1].key, 32);
    assert_string_equal(leaf.sigs[0].role, "researcher");
    for (size_t i = 0; i < out.n; i++) {
        struct leaf other;

        out.p[i] ^= 1;
        if (leaf_parse(out.p, out.n, &other, NULL) < 0)
            refused++;
        else
            leaf_done(&other); /* a role or the kind: not signed, another leaf */
        out.p[i] ^= 1;
    }
    assert_true(refused >= out.n - 24);
}

static void an_entry_without_its_signature_or_in_another_spelling_is_refused(void **state)
{
    static const char *const spellings[] = {
        "{\"title\":\"Tower\",\"job\":\"x\"}",
        "{ \"a\":1}",
        "{\"a\":1.0}",
        "{\"a\":1e2}",
        "{\"a\":9007199254740992}",
        "{\"a\":\"\\u0041\"}",
        "[1]",
        "{\"\\u00e9\":1}",
        "",
    };
    static const char edge[] = "{\"a\":9007199254740991,\"b\":[null,true,\"\\n\"]}";
    struct leaf_sig sig = sign_body(result_body, 1);
    BT_BUF_AUTO struct bt_buf out = {0};
    struct bt_err err;

    (void)state;
    assert_int_equal(leaf_build(LEAF_RESULT, result_body, strlen(result_body), &sig, 0, &out, &err),
                     -BT_ERR_INVALID);
    sig.sig[9] ^= 1;
    assert_int_equal(leaf_build(LEAF_RESULT, result_body, strlen(result_body), &sig, 1, &out, &err),
                     -BT_ERR_SIGNATURE);
    for (size_t i = 0; i < BT_ARRAY_LEN(spellings); i++)
        if (leaf_build(LEAF_OVERDUE, spellings[i], strlen(spellings[i]), NULL, 0, &out, &err) !=
            -BT_ERR_INVALID)
            fail_msg("case %zu", i);
    assert_int_equal(out.n, 0);
    assert_int_equal(leaf_build(LEAF_OVERDUE, edge, strlen(edge), NULL, 0, &out, &err), 0);
}

static void leaves_of_another_shape_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "{}",
        "[]",
        "{\"body\":{},\"kind\":\"record\"}",
        "{\"body\":{},\"kind\":\"record\",\"v\":2}",
        "{\"body\":{},\"kind\":\"queen\",\"v\":1}",
        "{\"body\":[],\"kind\":\"record\",\"v\":1}",
        "{\"body\":{},\"kind\":\"record\",\"sigs\":[],\"v\":1}",
        "{\"body\":{},\"kind\":\"record\",\"v\":1,\"x\":1}",
        "{\"body\":{},\"kind\":\"record\",\"v\":1} ",
        "{\"kind\":\"record\",\"body\":{},\"v\":1}",
        "{\"body\":{},\"kind\":\"result\",\"v\":1}",
    };
    static const char good[] = "{\"body\":{},\"kind\":\"record\",\"v\":1}";
    struct leaf leaf;

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(bad); i++)
        if (leaf_parse(bad[i], strlen(bad[i]), &leaf, NULL) >= 0)
            fail_msg("case %zu", i);
    assert_int_equal(leaf_parse(good, strlen(good), &leaf, NULL), 0);
    leaf_done(&leaf);
}

/* RFC 8785 vectors: those within the restricted form, and the others as refusals. */
static void the_vectors_of_rfc_8785_hold_or_are_refused(void **state)
{
    static const struct {
        const char *name;
        bool fits;
    } cases[] = {
        {"arrays", true},      {"unicode", true}, {"french", false},
        {"structures", false}, {"values", false}, {"weird", false},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        BT_AUTO char *in = bt_printf("jcs/input/%s.json", cases[i].name);
        BT_AUTO char *out = bt_printf("jcs/output/%s.json", cases[i].name);
        JSON_AUTO struct json *v = vector_json(in);
        BT_BUF_AUTO struct bt_buf want = {0}, got = {0};

        vector_read(out, &want);
        assert_int_equal(jcs_value(v, &got, NULL), cases[i].fits ? 0 : -BT_ERR_INVALID);
        if (cases[i].fits)
            assert_string_equal(bt_buf_text(&got), bt_buf_text(&want));
    }
}

static void control_characters_have_the_escapes_of_rfc_8785(void **state)
{
    BT_BUF_AUTO struct bt_buf out = {0};
    struct jcs w = {.to = &out};

    (void)state;
    jcs_str(&w, NULL, "\x01\x07\b\t\n\x0b\f\r\x1f\x7f\"\\/é");
    assert_int_equal(jcs_end(&w, NULL), 0);
    assert_string_equal(bt_buf_text(&out),
                        "\"\\u0001\\u0007\\b\\t\\n\\u000b\\f\\r\\u001f\x7f\\\"\\\\/é\"");
}

static void the_dsse_envelope_of_the_worked_example_comes_out(void **state)
{
    JSON_AUTO struct json *v = vector_json("worked/worked.json");
    const struct json *dsse = json_get(v, "dsse");
    const char *payload = json_str(json_get(dsse, "payload"), "");
    BT_BUF_AUTO struct bt_buf pae = {0};
    struct sign_key *key;
    uint8_t want[64], got[64];

    (void)state;
    record_pae(json_str(json_get(dsse, "payloadType"), ""), payload, strlen(payload), &pae);
    vector_hex32(json_get(dsse, "pae_sha256"), want);
    bt_sha256(pae.p, pae.n, got);
    assert_memory_equal(got, want, 32);
    vector_hex32(json_get(json_get(v, "log"), "ed25519_seed_hex"), want);
    assert_int_equal(sign_key_from_seed(want, &key, NULL), 0);
    assert_int_equal(sign_bytes(key, pae.p, pae.n, got, NULL), 0);
    assert_int_equal(bt_unhex(json_str(json_get(dsse, "sig_with_log_key_hex"), ""), want, 64), 0);
    assert_memory_equal(got, want, 64);
    sign_key_free(key);
}

static void decimals_and_commitments_are_exact(void **state)
{
    static const char *const good[] = {"0", "-1", "12.50", "0.000",
                                       "123456789012345678901234567890"};
    static const char *const bad[] = {"", "-", ".5", "5.", "1e3", "+1", " 1", "1 ", "0x1", "NaN"};
    uint8_t salt[32], a[32], b[32], in[36] = {2};
    char text[LEAF_FLOPS_TEXT];

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(good); i++)
        assert_true(leaf_is_decimal(good[i]));
    for (size_t i = 0; i < BT_ARRAY_LEN(bad); i++)
        assert_false(leaf_is_decimal(bad[i]));
    assert_string_equal(leaf_flops_text(1e15, text), "1000000000000000");
    assert_string_equal(leaf_flops_text(0.0 / 0.0, text), "0");
    assert_string_equal(leaf_flops_text(-1, text), "0");
    memset(salt, 7, sizeof salt);
    memcpy(in + 1, salt, 32);
    memcpy(in + 33, "abc", 3);
    leaf_commit(salt, "abc", 3, a);
    bt_sha256(in, sizeof in, b);
    assert_memory_equal(a, b, 32);
}

static void kinds_have_names_and_sentences(void **state)
{
    (void)state;
    assert_int_equal(LEAF_KINDS, 13);
    for (int k = 0; k < LEAF_KINDS; k++) {
        assert_int_equal(leaf_kind_parse(leaf_kind_name((enum leaf_kind)k)), k);
        assert_true(strlen(leaf_kind_sentence((enum leaf_kind)k)) > 10);
    }
    assert_int_equal(leaf_kind_parse("queen"), -1);
    assert_int_equal(leaf_kind_signers(LEAF_RECORD), 0);
    assert_int_equal(leaf_kind_signers(LEAF_RESULT), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_has_this_one_spelling),
        cmocka_unit_test(a_job_that_never_started_has_a_record_without_start_and_exit),
        cmocka_unit_test(a_submit_says_what_was_promised_before_anything_ran),
        cmocka_unit_test(both_entries_name_the_data_sets_of_the_job),
        cmocka_unit_test(what_cannot_be_told_is_named_and_leaves_the_buffer_alone),
        cmocka_unit_test(a_signed_entry_reads_back_and_any_change_is_found),
        cmocka_unit_test(an_entry_without_its_signature_or_in_another_spelling_is_refused),
        cmocka_unit_test(leaves_of_another_shape_are_refused),
        cmocka_unit_test(the_vectors_of_rfc_8785_hold_or_are_refused),
        cmocka_unit_test(control_characters_have_the_escapes_of_rfc_8785),
        cmocka_unit_test(the_dsse_envelope_of_the_worked_example_comes_out),
        cmocka_unit_test(decimals_and_commitments_are_exact),
        cmocka_unit_test(kinds_have_names_and_sentences),
    };

    return cmocka_run_group_tests_name("record_leaf", tests, NULL, NULL);
}
