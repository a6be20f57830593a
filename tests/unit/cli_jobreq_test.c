/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <signal.h>

#include "cli/jobreq.h"
#include "lib/api/jobdoc.h"
#include "lib/base/mem.h"

static char lang[] = "LANG=cs_CZ";
static char *environment[] = {lang, NULL};

static void begin(struct jobreq *r, const char *script)
{
    jobreq_init(r);
    r->kind = JOB_SCRIPT;
    r->code = bt_strdup(script);
    r->project = bt_strdup("multilingual");
    r->environ_of = environment;
}

static int flag(struct jobreq *r, const char *name, const char *value, struct bt_err *err)
{
    const struct directive_row *row = directive_find(LAYER_FLAG, name, strlen(name), 0);

    assert_non_null(row);
    return jobreq_set(r, LAYER_FLAG, row, value, "", err);
}

static void accelerators_follow_from_what_was_said(void **state)
{
    static const struct {
        const char *script;
        int count, per_node; /* count 0: refused */
        const char *class;
        int least;
    } cases[] = {
        {"#!/bin/sh\n", 1, 0, NULL},
        {"#!/bin/sh\n#BEAM -n 8\n", 8, 0, NULL},
        {"#!/bin/sh\n#SBATCH -n 8\n", 8, 0, NULL},
        {"#!/bin/sh\n#SBATCH -N 2 --gres=gpu:4\n", 8, 4, NULL},
        {"#!/bin/sh\n#SBATCH --nodes=2 --gpus-per-node=h200:8\n", 16, 8, "h200"},
        {"#!/bin/sh\n#SBATCH --gres=gpu:h200\n", 1, 1, "h200"},
        {"#!/bin/sh\n#SBATCH -G 4 -N 2\n", 4, 2, NULL},
        {"#!/bin/sh\n#SBATCH --gpus=a100:4\n", 4, 0, "a100"},
        {"#!/bin/sh\n#SBATCH -n 3 --gpus-per-task=2\n", 6, 0, NULL},
        {"#!/bin/sh\n#SBATCH -N 2 --ntasks-per-node=8\n", 16, 8, NULL},
        {"#!/bin/sh\n#SBATCH -N 2 --gres=gpu:4\n#BEAM -n 3\n", 3, 0, NULL},
        {"#!/bin/sh\n#BEAM -n 64 --per-node 8 -N 8 --class h200\n", 64, 8, "h200"},
        {"#!/bin/sh\n#BEAM -n 4-16\n", 16, 0, NULL, 4},
        {"#!/bin/sh\n#SBATCH -N 2-4 --gres=gpu:8\n", 32, 8, NULL, 16},
        {"#!/bin/sh\n#SBATCH -N 2-4 -n 32\n", 32, 8, NULL, 16},
        {"#!/bin/sh\n#SBATCH -N 2\n", 0, 0, NULL},
        {"#!/bin/sh\n#SBATCH -N 3 -G 4 --gpus-per-node=2\n", 0, 0, NULL},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct bt_err err = {0};
        struct jobreq_size size = {-1, -1, -1};
        struct jobreq r;
        int rc;

        begin(&r, cases[i].script);
        assert_int_equal(jobreq_directives(&r, &err), 0);
        rc = jobreq_accelerators(&r, &size, &err);
        assert_int_equal(rc < 0, cases[i].count == 0);
        if (rc >= 0) {
            assert_int_equal(size.count, cases[i].count);
            assert_int_equal(size.per_node, cases[i].per_node);
            assert_int_equal(size.least, cases[i].least);
        }
        if (cases[i].class)
            assert_string_equal(r.class, cases[i].class);
        else
            assert_null(r.class);
        jobreq_done(&r);
    }
}

static void memory_is_counted_as_its_makers_count(void **state)
{
    static const struct {
        const char *value;
        int gb; /* 0: refused */
    } cases[] = {
        {"80G", 80},   {"80", 80},    {"141GB", 141}, {"0.5T", 500}, {"79.6g", 80},
        {"1TB", 1000}, {"80GiB", 0},  {"G", 0},       {"", 0},       {"0", 0},
        {"-1G", 0},    {"66000G", 0}, {"1e3", 0},     {".", 0},      {"65.535T", 65535},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct bt_err err = {0};
        struct jobreq r;

        begin(&r, "#!/bin/sh\n#BEAM --memory=2G --min-bandwidth 300\n");
        assert_int_equal(jobreq_directives(&r, &err), 0);
        assert_int_equal(r.memory_gb, 2);
        assert_int_equal(r.bandwidth_gb, 300);
        if ((flag(&r, "memory", cases[i].value, &err) == 0) != (cases[i].gb > 0) ||
            (cases[i].gb && r.memory_gb != cases[i].gb))
            fail_msg("--memory %s: %d", cases[i].value, (int)r.memory_gb);
        jobreq_done(&r);
    }
}

static void a_flag_replaces_every_count_of_the_script(void **state)
{
    struct jobreq_size size;
    struct jobreq r;

    (void)state;
    begin(&r, "#!/bin/sh\n#SBATCH -N 2 --gres=gpu:4\n");
    assert_int_equal(jobreq_directives(&r, NULL), 0);
    assert_int_equal(flag(&r, "gpus", "3", NULL), 0);
    assert_int_equal(jobreq_accelerators(&r, &size, NULL), 0);
    assert_int_equal(size.count, 3);
    assert_int_equal(size.per_node, 0);
    jobreq_done(&r);
}

static void the_document_says_what_was_asked(void **state)
{
    static const char script[] = "#!/bin/bash\n"
                                 "#SBATCH --job-name=lines --time=1-00:00:00 --signal=B:USR1@120\n"
                                 "#SBATCH --mem=4G\n"
                                 "#BEAM --domain=general,bio --data=public --requeue=on-failure\n"
                                 "#BEAM --input=/data/a --input=record:88 --publish='*.txt'\n"
                                 "#BEAM --export=LANG,A=1 --export=A=2 --lineage 3,4\n"
                                 "srun true\n";
    BT_BUF_AUTO struct bt_buf doc = {0};
    struct bt_uuid id = bt_uuid_new(1795300000000000), after = bt_uuid_new(1795200000000000);
    struct job_code code = {0};
    struct job_spec spec;
    struct bt_err err = {0};
    struct jobreq r;

    (void)state;
    begin(&r, script);
    assert_int_equal(jobreq_directives(&r, &err), 0);
    assert_int_equal(flag(&r, "accelerators", "4", &err), 0);
    assert_int_equal(flag(&r, "memory", "80G", &err), 0);
    assert_int_equal(flag(&r, "dataset", "web-2", &err), 0);
    assert_int_equal(flag(&r, "dataset", "c4", &err), 0);
    assert_int_equal(flag(&r, "dataset", "C4", &err), -BT_ERR_INVALID);
    assert_int_equal(flag(&r, "min-bandwidth", "300", &err), 0);
    assert_int_equal(flag(&r, "level", "node", &err), 0);
    assert_int_equal(flag(&r, "dependency", "afterany:12", &err), 0);
    assert_string_equal(r.after, "12");
    assert_int_equal(jobreq_write(&r, id, after, &doc, &err), 0);
    assert_int_equal(jobdoc_parse(bt_buf_text(&doc), doc.n, &spec, &code, &err), 0);
    assert_int_equal(spec.memory_gb, 80);
    assert_string_equal(spec.datasets, "c4 web-2");
    assert_int_equal(spec.bandwidth_gb, 300);
    assert_true(bt_uuid_eq(spec.id, id));
    assert_string_equal(spec.name, "lines");
    assert_string_equal(spec.project, "multilingual");
    assert_int_equal(spec.accelerators, 4);
    assert_int_equal(spec.level, TOPO_NODE);
    assert_false(spec.level_required);
    assert_int_equal(spec.walltime_s, 86400);
    assert_int_equal(spec.signal, SIGUSR1);
    assert_int_equal(spec.grace_s, 120);
    assert_int_equal(spec.requeue, REQUEUE_ON_FAILURE);
    assert_string_equal(spec.domains[1], "bio");
    assert_int_equal(spec.parents[1], 4);
    assert_true(bt_uuid_eq(spec.after, after));
    assert_false(spec.after_ok);
    assert_string_equal(code.script, script);
    assert_int_equal(code.n_env, 2);
    assert_int_equal(code.n_inputs, 2);
    assert_int_equal(code.inputs[1].record, 88);
    assert_string_equal(code.outputs[0], "*.txt");
    assert_non_null(strstr(bt_buf_text(&r.notes), "line 3: --mem changes nothing"));
    job_code_done(&code);
    jobreq_done(&r);
}

static void impossible_options_are_refused_with_a_sentence(void **state)
{
    static const struct {
        const char *name, *value, *want;
    } cases[] = {
        {"array", "3-1", "'3-1' is no list of tasks"},
        {"array", "0-1000", "'0-1000' is no list of tasks"},
        {"array", "5,4", "'5,4' is no list of tasks"},
        {"array", "1-4%0", "'1-4%0' is no list of tasks"},
        {"accelerators", "8-4", "--accelerators is '8', not a whole number from 1 to 4"},
        {"begin", "now+1hour", "--begin is not possible here: a job starts as soon as it can"},
        {"time", "0", "--time is '0', not from 1 to 2592000 seconds"},
        {"time", "soon", "--time is 'soon', not a duration"},
        {"accelerators", "0", "--accelerators is '0', not a whole number from 1 to 100000"},
        {"gres", "fpga:1", "--gres is 'fpga:1'; only gpu"},
        {"gpus", "H200:4", "--gpus: 'H200' is not the name of a class"},
        {"level", "rack", "--level is 'rack', not one of node|leaf|pod|site|any"},
        {"signal", "KILL", "--signal: 'KILL' is not a signal"},
        {"dependency", "after:3", "--dependency is 'after:3'; afterok:JOB, afterany:JOB and"},
        {"dependency", "afterok:3:4", "--dependency names one job"},
        {"export", "ALL", "--export=ALL would publish your whole environment"},
        {"export", "NOT_SET", "--export: NOT_SET is not set here"},
        {"export", "1A=2", "--export: '1A' is not the name of a variable"},
        {"input", "data", "--input is 'data', neither an absolute path nor record:NUMBER"},
        {"lineage", "1,2,3,4,5", "--lineage names more than 4 records"},
        {"flops", "-1", "--flops is '-1', not from 0 to 1e30"},
        {"embargo", "366", "--embargo is '366', not a whole number from 0 to 365"},
        {"domain", "a,,b", "--domain has an empty item"},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct bt_err err = {0};
        struct jobreq r;

        begin(&r, "#!/bin/sh\n");
        assert_true(flag(&r, cases[i].name, cases[i].value, &err) < 0);
        assert_memory_equal(err.text, cases[i].want, strlen(cases[i].want));
        jobreq_done(&r);
    }
}

static void a_line_number_leads_the_error(void **state)
{
    struct bt_err err = {0};
    struct jobreq r;

    (void)state;
    begin(&r, "#!/bin/sh\n#SBATCH --nodelist=n1\n");
    assert_int_equal(jobreq_directives(&r, &err), -BT_ERR_USAGE);
    assert_memory_equal(err.text, "line 2: --nodelist is not possible here", 39);
    jobreq_done(&r);
}

static void signals_have_names_and_numbers(void **state)
{
    (void)state;
    assert_int_equal(jobreq_signal("USR1"), SIGUSR1);
    assert_int_equal(jobreq_signal("SIGTERM"), SIGTERM);
    assert_int_equal(jobreq_signal("15"), 15);
    assert_int_equal(jobreq_signal("9"), -1);
    assert_int_equal(jobreq_signal("KILL"), -1);
    assert_int_equal(jobreq_signal("32"), -1);
    assert_int_equal(jobreq_signal(""), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accelerators_follow_from_what_was_said),
        cmocka_unit_test(memory_is_counted_as_its_makers_count),
        cmocka_unit_test(a_flag_replaces_every_count_of_the_script),
        cmocka_unit_test(the_document_says_what_was_asked),
        cmocka_unit_test(impossible_options_are_refused_with_a_sentence),
        cmocka_unit_test(a_line_number_leads_the_error),
        cmocka_unit_test(signals_have_names_and_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
