/* Finetuning: which tokens count, which order pairs come in, and a lesson learnt by heart.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/train/export.h"
#include "agent/train/model.h"
#include "agent/train/sample.h"
#include "agent/train/train.h"
#include "agent/train/tuning.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"

static const char lesson[] = "{\"prompt\":\"Hauptstadt von Estland? \",\"answer\":\"Tallinn\"}\n"
                             "{\"prompt\":\"Hauptstadt von Malta? \",\"answer\":\"Valletta\"}\n"
                             "\n"
                             "{\"prompt\":\"\",\"answer\":\"ja\",\"source\":\"x\"}\n";

static int set_up(void **state)
{
    char *dir = bt_strdup("/tmp/bt-tuning-XXXXXX");

    *state = dir;
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    char *dir = *state;
    int rc = bt_remove_tree(dir, NULL);

    bt_free(dir);
    return rc;
}

static int open_lesson(const char *dir, const char *text, struct tuning *u, struct bt_err *err)
{
    BT_AUTO char *path = bt_printf("%s/lesson.jsonl", dir);

    assert_int_equal(bt_file_write(path, 0644, text, strlen(text), NULL), 0);
    return tuning_open(u, path, err);
}

static void only_answers_count(void **state)
{
    int32_t in[64], target[64];
    struct tuning u;

    assert_int_equal(open_lesson(*state, lesson, &u, NULL), 0);
    assert_int_equal(u.n, 3);
    for (uint64_t i = 0; i < 3; i++) {
        const struct tuning_pair *p = NULL;
        int counted = tuning_sample(&u, 5, i, 64, in, target), seen = 0;

        for (int k = 0; k < 3; k++)
            p = u.pairs[k].n_answer + 1 == (uint32_t)counted ? &u.pairs[k] : p;
        assert_non_null(p);
        for (int k = 0; k < 64; k++) {
            if (target[k] < 0)
                continue;
            assert_in_range(k, p->n_prompt, p->n_prompt + p->n_answer);
            seen++;
            if (k + 1 < 64 && target[k] != TOKEN_EOS)
                assert_int_equal(in[k + 1], target[k]);
        }
        assert_int_equal(seen, counted);
        assert_int_equal(target[p->n_prompt + p->n_answer], TOKEN_EOS);
        assert_int_equal(in[0], TOKEN_EOS);
    }
    assert_int_equal(tuning_sample(&u, 5, 0, 2, in, target), 2); /* cut, still something to learn */
    tuning_close(&u);
}

static void every_round_holds_every_pair_once(void **state)
{
    enum { N = 37 };
    BT_BUF_AUTO struct bt_buf text = {0};
    struct tuning u;
    int differing = 0;

    for (int i = 0; i < N; i++)
        bt_buf_printf(&text, "{\"prompt\":\"p\",\"answer\":\"%c\"}\n", '0' + i);
    assert_int_equal(open_lesson(*state, bt_buf_text(&text), &u, NULL), 0);
    for (uint64_t round = 0; round < 5; round++) {
        int seen[N] = {0};

        for (uint64_t i = 0; i < N; i++) {
            int32_t in[4], target[4], first[4];

            (void)tuning_sample(&u, 1, round * N + i, 4, in, target);
            (void)tuning_sample(&u, 1, i, 4, in, first);
            seen[target[1] - '0']++;
            differing += target[1] != first[1];
        }
        for (int i = 0; i < N; i++)
            assert_int_equal(seen[i], 1);
    }
    assert_true(differing > N);
    tuning_close(&u);
}

static void a_bad_line_is_named(void **state)
{
    static const struct {
        const char *text, *said;
    } cases[] = {
        {"{\"prompt\":\"a\",\"answer\":\"b\"}\n{\"prompt\":\"a\"}\n", "lesson.jsonl, line 2: "},
        {"not json\n", "lesson.jsonl, line 1: "},
        {"{\"prompt\":\"a\",\"answer\":\"\"}\n", "not empty"},
        {"{\"prompt\":\"a\",\"answer\":\"\xff\"}\n", "line 1"},
        {"\n\n", "holds no pair"},
    };
    struct tuning u;

    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct bt_err err = {0};

        assert_true(open_lesson(*state, cases[i].text, &u, &err) < 0);
        if (!strstr(err.text, cases[i].said))
            fail_msg("said: %s", err.text);
    }
}

static void run(const char *dir, const char *from, const char *to, const char *const *sets)
{
    BT_AUTO char *output = bt_printf("%s/%s", dir, to), *kept = bt_printf("%s/%s.c", dir, to);
    BT_AUTO char *start = from ? bt_printf("%s/%s", dir, from) : NULL;
    struct config_asked asked = {0};
    struct config c;

    for (; *sets; sets++)
        assert_int_equal(config_set(&asked, *sets, "test", NULL), 0);
    assert_int_equal(config_resolve(&c, &asked, NULL), 0);
    assert_int_equal(train_run(&(struct train){.config = &c,
                                               .corpus = from ? NULL : dir,
                                               .output = output,
                                               .checkpoint = kept,
                                               .from = start},
                               NULL),
                     0);
    config_asked_done(&asked);
}

static void a_tuned_model_answers_and_counts_its_lineage(void **state)
{
    const char *dir = *state;
    BT_AUTO char *text = bt_printf("%s/de.txt", dir), *tuned = bt_printf("%s/tuned", dir);
    BT_AUTO char *base = bt_printf("%s/base", dir), *said = NULL;
    BT_AUTO char *pairs = bt_printf("tuning=%s/lesson.jsonl", dir);
    const char *const first[] = {"width=32", "layers=2",      "ffn=64",    "context=48",
                                 "steps=5",  "peak_gflops=1", "threads=2", NULL};
    const char *const second[] = {
        "width=32",           "layers=2",      "ffn=64",    "context=48", "steps=150", "batch=3",
        "learning_rate=1e-2", "peak_gflops=1", "threads=2", pairs,        NULL};
    size_t n;
    FILE *to;
    struct tuning u;

    assert_int_equal(open_lesson(dir, lesson, &u, NULL), 0);
    tuning_close(&u);
    assert_int_equal(bt_file_write(text, 0644, "Guten Tag. Guten Tag. Guten Tag.\n", 33, NULL), 0);
    run(dir, NULL, "base", first);
    run(dir, "base", "tuned", second);
    to = open_memstream(&said, &n);
    assert_int_equal(sample_run(&(struct sample){.model = tuned,
                                                 .prompt = "Hauptstadt von Malta? ",
                                                 .tokens = 20,
                                                 .threads = 2},
                                to, NULL),
                     0);
    fclose(to);
    assert_string_equal(said, "Hauptstadt von Malta? Valletta\n");
    assert_true(export_lineage_flops(base) > 0);
    assert_true(export_lineage_flops(tuned) > 1.5 * export_lineage_flops(base));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_answers_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_round_holds_every_pair_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_bad_line_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_tuned_model_answers_and_counts_its_lineage, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
