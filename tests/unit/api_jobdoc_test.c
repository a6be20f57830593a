/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <stdio.h>
#include <string.h>

#include "lib/api/jobdoc.h"
#include "lib/api/limits.h"
#include "lib/base/mem.h"

#define ID "\"id\":\"01997cc8-7c00-7abc-8def-0123456789ab\""
#define HEAD ID ",\"name\":\"n\",\"project\":\"p\",\"walltime_s\":60"
#define ACC "\"accelerators\":{\"count\":2}"
#define SCRIPT "\"kind\":\"script\",\"code\":{\"script\":\"#!/bin/sh\\ntrue\\n\"}"

static const char full[] =
    "{" ID ",\"name\":\"tiny europe\",\"project\":\"cz/multilingual\",\"kind\":\"train\","
    "\"code\":{\"config\":\"preset = tiny\\nsteps = 400\\n\"},"
    "\"environment\":{\"OMP_NUM_THREADS\":\"2\",\"EMPTY\":\"\"},"
    "\"inputs\":[{\"path\":\"/data/text\"},{\"record\":88}],\"outputs\":[\"**\",\"a/*.bin\"],"
    "\"accelerators\":{\"count\":4,\"min\":2,\"class\":\"cpu\",\"memory_gb\":80,\"bandwidth_gb_per_"
    "s\":300,"
    "\"per_node\":2,\"level\":\"leaf\",\"level_required\":true},\"walltime_s\":600,\"signal\":10,"
    "\"grace_s\":60,"
    "\"requeue\":\"never\",\"max_attempts\":2,\"purpose\":\"train\",\"domains\":[\"general\"],"
    "\"data\":[\"public\",\"web\"],\"flops\":3.1e+27,"
    "\"params\":1900000,\"lineage\":[7,9],"
    "\"embargo_days\":30,\"after\":{\"job\":\"01997cc8-7c00-7abc-8def-0123456789ac\","
    "\"ok\":false},\"singleton\":true,\"datasets\":[\"c4\",\"web-2\"],\"array\":{\"tasks\":\"0-3,"
    "7\"},\"hold\":true}";

static void every_member_is_read(void **state)
{
    struct job_code code = {0};
    struct job_spec s;
    struct bt_err err;

    (void)state;
    assert_int_equal(jobdoc_parse(full, strlen(full), &s, &code, &err), 0);
    assert_string_equal(s.project, "cz/multilingual");
    assert_int_equal(s.kind, JOB_TRAIN);
    assert_int_equal(s.accelerators, 4);
    assert_int_equal(s.per_node, 2);
    assert_int_equal(s.level, TOPO_LEAF);
    assert_true(s.level_required && s.hold && !s.after_ok && s.singleton);
    assert_int_equal(s.min_accelerators, 2);
    assert_int_equal(s.memory_gb, 80);
    assert_int_equal(s.bandwidth_gb, 300);
    assert_string_equal(s.tasks, "0-3,7");
    assert_int_equal(s.signal, 10);
    assert_int_equal(s.requeue, REQUEUE_NEVER);
    assert_string_equal(s.data[1], "web");
    assert_string_equal(s.datasets, "c4 web-2");
    assert_true(s.flops > 3.0e27);
    assert_int_equal(s.parents[1], 9);
    assert_int_equal(s.parents[2], -1);
    assert_string_equal(code.config, "preset = tiny\nsteps = 400\n");
    assert_int_equal(code.n_env, 2);
    assert_string_equal(code.env[1].value, "");
    assert_string_equal(code.inputs[0].path, "/data/text");
    assert_int_equal(code.inputs[1].record, 88);
    assert_string_equal(code.outputs[1], "a/*.bin");
    job_code_done(&code);
}

static void what_is_written_reads_back_equal(void **state)
{
    static const char *const docs[] = {
        full, "{" HEAD "," SCRIPT "," ACC "}",
        "{" HEAD ",\"kind\":\"command\",\"code\":{\"argv\":[\"echo\",\"\",\"\\u00e9 \\\"x\\\"\"]},"
        "\"accelerators\":{\"count\":1}}"};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(docs); i++) {
        BT_BUF_AUTO struct bt_buf once = {0}, twice = {0};
        struct job_code c1 = {0}, c2 = {0};
        struct job_spec s1, s2;

        assert_int_equal(jobdoc_parse(docs[i], strlen(docs[i]), &s1, &c1, NULL), 0);
        jobdoc_write(&once, &s1, &c1);
        assert_int_equal(jobdoc_parse(once.p, once.n, &s2, &c2, NULL), 0);
        jobdoc_write(&twice, &s2, &c2);
        assert_string_equal(once.p, twice.p);
        assert_memory_equal(&s1.flops, &s2.flops, sizeof s1.flops);
        assert_int_equal(s1.signal, s2.signal);
        if (i == 0)
            assert_string_equal(once.p, full);
        job_code_done(&c1);
        job_code_done(&c2);
    }
}

static void defaults_are_those_of_the_document(void **state)
{
    const char *doc = "{" HEAD "," SCRIPT "," ACC "}";
    struct job_spec s;

    (void)state;
    assert_int_equal(jobdoc_parse(doc, strlen(doc), &s, NULL, NULL), 0);
    assert_int_equal(s.signal, 15);
    assert_int_equal(s.grace_s, 30);
    assert_int_equal(s.requeue, REQUEUE_ON_FACILITY);
    assert_int_equal(s.max_attempts, 3);
    assert_int_equal(s.level, TOPO_ANY);
    assert_int_equal(s.parents[0], -1);
    assert_true(bt_uuid_zero(s.after));
}

static void each_mistake_gets_one_sentence(void **state)
{
    static const struct {
        const char *doc, *says;
    } cases[] = {
        {"[]", "JSON object"},
        {"{" HEAD "," ACC "}", "'kind' is missing"},
        {"{" HEAD "," SCRIPT "," ACC ",\"wallclock\":1}", "'wallclock' is not known"},
        {"{" ID ",\"name\":\"\",\"project\":\"p\",\"walltime_s\":60," SCRIPT "," ACC "}", "'name'"},
        {"{" ID ",\"name\":\"a\\nb\",\"project\":\"p\",\"walltime_s\":60," SCRIPT "," ACC "}",
         "'name'"},
        {"{" ID ",\"name\":\"n\",\"project\":\"../p\",\"walltime_s\":60," SCRIPT "," ACC "}",
         "'project'"},
        {"{" ID ",\"name\":\"n\",\"project\":\"a/b/c\",\"walltime_s\":60," SCRIPT "," ACC "}",
         "'project'"},
        {"{" ID ",\"name\":\"n\",\"project\":\"p\",\"walltime_s\":0," SCRIPT "," ACC "}",
         "'walltime_s' must be from 1 to 2592000"},
        {"{" ID ",\"name\":\"n\",\"project\":\"p\",\"walltime_s\":1.5," SCRIPT "," ACC "}",
         "whole number"},
        {"{" HEAD ",\"kind\":\"shell\",\"code\":{\"script\":\"#!x\"}," ACC "}", "script, train"},
        {"{" HEAD ",\"kind\":\"script\",\"code\":{\"script\":\"echo\"}," ACC "}", "#!"},
        {"{" HEAD ",\"kind\":\"script\",\"code\":{\"argv\":[\"x\"]}," ACC "}", "member 'script'"},
        {"{" HEAD ",\"kind\":\"train\",\"code\":{\"config\":7}," ACC "}",
         "config must be a string"},
        {"{" HEAD ",\"kind\":\"command\",\"code\":{\"argv\":[]}," ACC "}", "name a program"},
        {"{" HEAD ",\"kind\":\"command\",\"code\":{\"argv\":[\"\"]}," ACC "}", "argv[0]"},
        {"{" HEAD ",\"kind\":\"command\",\"code\":{\"argv\":[\"a\",1]}," ACC "}", "argv[1]"},
        {"{" HEAD ",\"kind\":\"command\",\"code\":{\"argv\":[\"a\\u0000b\"]}," ACC "}", "NUL"},
        {"{" HEAD "," SCRIPT ",\"accelerators\":{\"count\":2,\"min\":3}}",
         "min 3 is above count 2"},
        {"{" HEAD "," SCRIPT "," ACC ",\"array\":{}}", "either 'tasks'"},
        {"{" HEAD "," SCRIPT "," ACC ",\"datasets\":[\"C4\"]}", "'C4' cannot be the name"},
        {"{" HEAD "," SCRIPT "," ACC ",\"datasets\":[7]}", "'' cannot be the name"},
        {"{" HEAD "," SCRIPT "," ACC ",\"datasets\":\"c4\"}", "'datasets' must be a list"},
        {"{" HEAD "," SCRIPT "," ACC
         ",\"datasets\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]}",
         "at most 8 are read"},
        {"{" HEAD "," SCRIPT "," ACC ",\"array\":{\"tasks\":\"9-1\"}}", "no list of tasks"},
        {"{" HEAD "," SCRIPT ",\"accelerators\":{\"count\":0}}", "'count' must be from 1"},
        {"{" HEAD "," SCRIPT ",\"accelerators\":{\"count\":3,\"per_node\":2}}", "no multiple"},
        {"{" HEAD "," SCRIPT ",\"accelerators\":{\"count\":2,\"level\":\"rack\"}}", "node, leaf"},
        {"{" HEAD "," SCRIPT "," ACC ",\"environment\":{\"1X\":\"\"}}", "'1X'"},
        {"{" HEAD "," SCRIPT "," ACC ",\"environment\":{\"BEAM_RANK\":\"0\"}}", "set by the"},
        {"{" HEAD "," SCRIPT "," ACC ",\"environment\":{\"A\":2}}", "variable A"},
        {"{" HEAD "," SCRIPT "," ACC ",\"inputs\":[{\"path\":\"data\"}]}", "absolute"},
        {"{" HEAD "," SCRIPT "," ACC ",\"inputs\":[{\"path\":\"/a:b\"}]}", "absolute"},
        {"{" HEAD "," SCRIPT "," ACC ",\"inputs\":[{\"path\":\"/a\",\"record\":1}]}", "entry 1"},
        {"{" HEAD "," SCRIPT "," ACC ",\"inputs\":[{\"record\":-1}]}", "entry 1"},
        {"{" HEAD "," SCRIPT "," ACC ",\"outputs\":[\"../x\"]}", "'..'"},
        {"{" HEAD "," SCRIPT "," ACC ",\"outputs\":[\"a/../../x\"]}", "'..'"},
        {"{" HEAD "," SCRIPT "," ACC ",\"outputs\":[\"/x\"]}", "entry 1"},
        {"{" HEAD "," SCRIPT "," ACC ",\"domains\":[\"A b\"]}", "'domains'"},
        {"{" HEAD "," SCRIPT "," ACC ",\"data\":\"public\"}", "'data' must be a list"},
        {"{" HEAD "," SCRIPT "," ACC ",\"lineage\":[1,2,3,4,5]}", "at most 4"},
        {"{" HEAD "," SCRIPT "," ACC ",\"lineage\":[-4]}", "index of a record"},
        {"{" HEAD "," SCRIPT "," ACC ",\"flops\":-1}", "'flops'"},
        {"{" HEAD "," SCRIPT "," ACC ",\"flops\":1e31}", "'flops'"},
        {"{" HEAD "," SCRIPT "," ACC ",\"embargo_days\":366}", "0 to 365"},
        {"{" HEAD "," SCRIPT "," ACC ",\"signal\":65}", "1 to 64"},
        {"{" HEAD "," SCRIPT "," ACC ",\"after\":{\"ok\":true}}", "'after': member 'job'"},
        {"{" HEAD "," SCRIPT "," ACC
         ",\"after\":{\"job\":\"01997cc8-7c00-7abc-8def-0123456789ab\"}}",
         "for itself"},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct job_code code = {0};
        struct bt_err err = {0};
        struct job_spec s;
        int rc = jobdoc_parse(cases[i].doc, strlen(cases[i].doc), &s, &code, &err);

        if (rc >= 0 || !strstr(err.text, cases[i].says))
            print_error("case %zu: %d '%s' lacks '%s'\n", i, rc, err.text, cases[i].says);
        assert_true(rc == -BT_ERR_INVALID || rc == -BT_ERR_TOO_LARGE);
        assert_non_null(strstr(err.text, cases[i].says));
        assert_null(code.script);
    }
}

static void a_script_above_its_limit_is_refused(void **state)
{
    BT_BUF_AUTO struct bt_buf doc = {0};
    struct bt_err err;
    struct job_spec s;

    (void)state;
    bt_buf_str(&doc, "{" HEAD "," ACC ",\"kind\":\"script\",\"code\":{\"script\":\"#!");
    for (int i = 0; i < LIMIT_CODE_BYTES; i++)
        bt_buf_char(&doc, 'x');
    bt_buf_str(&doc, "\"}}");
    assert_int_equal(jobdoc_parse(doc.p, doc.n, &s, NULL, &err), -BT_ERR_TOO_LARGE);
    assert_non_null(strstr(err.text, "longer than 196608 bytes"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_member_is_read),
        cmocka_unit_test(what_is_written_reads_back_equal),
        cmocka_unit_test(defaults_are_those_of_the_document),
        cmocka_unit_test(each_mistake_gets_one_sentence),
        cmocka_unit_test(a_script_above_its_limit_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
