/* The corpus as a stream of samples: languages, held-out text, reproducibility.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/train/corpus.h"
#include "agent/train/model.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

static const struct corpus_config standard = {
    .temperature = 2, .held_out = 0.1, .held_max = 1 << 20};

static int set_up(void **state)
{
    char *dir = bt_strdup("/tmp/bt-corpus-XXXXXX");

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

static void put(const char *dir, const char *name, const char *text)
{
    BT_AUTO char *path = bt_printf("%s/%s", dir, name);
    BT_AUTO char *folder = bt_strndup(path, (size_t)(strrchr(path, '/') - path));

    assert_int_equal(bt_mkdirs(folder, 0755, NULL), 0);
    assert_int_equal(bt_file_write(path, 0644, text, strlen(text), NULL), 0);
}

static char *lines(const char *word, int n)
{
    struct bt_buf b = {0};

    for (int i = 0; i < n; i++)
        bt_buf_printf(&b, "%s %d\n", word, i);
    return bt_buf_take(&b);
}

static void languages_come_from_folders_then_names(void **state)
{
    static const struct {
        const char *path, *tag;
    } cases[] = {
        {"de.txt", "de"},
        {"cs/doc.txt", "cs"},
        {"pt_br/a.txt", "pt-BR"},
        {"sr-latn.txt", "sr-Latn"},
        {"books/fr/x/en.txt", "fr"},
        {"es-419.txt", "es-419"},
        {"notes.txt", "und"},
        {"zh-Hant-TW.txt", "zh-Hant-TW"},
    };
    struct corpus c;

    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        BT_AUTO char *text = lines("word", 50);

        put(*state, cases[i].path, text);
    }
    put(*state, "README.md", "not text to train on");
    put(*state, ".hidden/en.txt", "hidden");
    assert_int_equal(corpus_open(&c, *state, &standard, NULL), 0);
    assert_int_equal(c.n_files, BT_ARRAY_LEN(cases));
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        int at = -1;

        for (int f = 0; f < c.n_files; f++)
            at = bt_streq(c.files[f].path, cases[i].path) ? f : at;
        assert_true(at >= 0);
        assert_string_equal(c.languages[c.files[at].language].tag, cases[i].tag);
    }
    corpus_close(&c);
}

static void held_out_text_is_never_trained_on(void **state)
{
    enum { T = 16, SAMPLES = 3000 };
    BT_AUTO char *text = lines("line", 300);
    struct corpus c;
    uint8_t held[4096];
    size_t n;

    put(*state, "de/a.txt", text);
    put(*state, "de/b.txt", "short\n");
    assert_int_equal(corpus_open(&c, *state, &standard, NULL), 0);
    n = corpus_held(&c, 0, 0, sizeof held, held);
    assert_int_equal(n, c.languages[0].held_bytes);
    assert_true(n > 100 && (double)n <= 0.1 * (double)c.languages[0].bytes);
    assert_memory_equal(held + n - 6, "short\n", 6); /* the end of the language */
    assert_memory_equal(held, "line ", 5);           /* from the beginning of a line */
    assert_int_equal(c.languages[0].train_tokens,
                     c.languages[0].bytes - (int64_t)n + 1); /* and one end of document */
    for (uint64_t i = 0; i < SAMPLES; i++) {
        int32_t in[T], target[T];
        char seen[T + 1];

        corpus_sample(&c, 1, i, T, in, target);
        for (int k = 0; k < T; k++)
            seen[k] = (char)(in[k] < 256 ? in[k] : '|');
        seen[T] = '\0';
        assert_null(strstr(seen, "short"));
        for (int k = 0; k + 1 < T; k++)
            assert_int_equal(target[k], in[k + 1]);
    }
    corpus_close(&c);
}

static void a_sample_depends_on_seed_and_number_alone(void **state)
{
    enum { T = 64 };
    BT_AUTO char *one = lines("eins", 400), *two = lines("deux", 300);
    int32_t a[T], b[T], target[T];
    struct corpus c;
    int differing = 0;

    put(*state, "de.txt", one);
    put(*state, "fr.txt", two);
    assert_int_equal(corpus_open(&c, *state, &standard, NULL), 0);
    for (uint64_t i = 0; i < 50; i++) {
        corpus_sample(&c, 9, i, T, a, target);
        corpus_sample(&c, 9, 1000 + i, T, b, target);
        corpus_sample(&c, 9, i, T, b, target);
        assert_memory_equal(a, b, sizeof a);
        corpus_sample(&c, 10, i, T, b, target);
        differing += memcmp(a, b, sizeof a) != 0;
    }
    assert_true(differing > 45);
    corpus_close(&c);
}

static void temperature_flattens_the_shares(void **state)
{
    static const double temperatures[] = {1, 2, 1000};
    BT_AUTO char *large = lines("word", 8000), *small = lines("mot", 200);

    put(*state, "de.txt", large);
    put(*state, "mt.txt", small);
    for (size_t i = 0; i < BT_ARRAY_LEN(temperatures); i++) {
        struct corpus_config config = standard;
        struct corpus c;
        double want, got = 0;

        config.temperature = temperatures[i];
        assert_int_equal(corpus_open(&c, *state, &config, NULL), 0);
        want = pow((double)c.languages[1].train_tokens / (double)c.languages[0].train_tokens,
                   1 / temperatures[i]);
        want /= 1 + want;
        assert_true(fabs(c.languages[1].share - want) < 1e-9);
        for (uint64_t k = 0; k < 4000; k++) {
            int32_t in[4], target[4];
            bool maltese = false;

            corpus_sample(&c, 3, k, 4, in, target);
            for (int t = 0; t < 4; t++)
                maltese |= in[t] == 'm' || in[t] == 't';
            got += maltese ? 1.0 / 4000 : 0;
        }
        assert_true(got < want + 0.05);
        corpus_close(&c);
    }
}

static void text_shorter_than_a_sample_starts_again(void **state)
{
    int32_t in[40], target[40];
    struct corpus c;
    struct corpus_config config = standard;

    config.held_out = 0;
    put(*state, "de.txt", "abc");
    assert_int_equal(corpus_open(&c, *state, &config, NULL), 0);
    corpus_sample(&c, 1, 5, 40, in, target);
    for (int k = 0; k < 40; k++)
        assert_int_equal(target[k], in[k] == 'a'   ? 'b'
                                    : in[k] == 'b' ? 'c'
                                    : in[k] == 'c' ? TOKEN_EOS
                                                   : 'a');
    corpus_close(&c);
}

static void what_cannot_be_trained_on_is_named(void **state)
{
    struct bt_err err;
    struct corpus c;
    struct corpus_config config = standard;
    BT_AUTO char *missing = bt_printf("%s/nowhere", (char *)*state);

    assert_int_equal(corpus_open(&c, missing, &standard, &err), -BT_ERR_NOT_FOUND);
    assert_int_equal(corpus_open(&c, *state, &standard, &err), -BT_ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "has no file *.txt"));
    put(*state, "de.txt", "");
    assert_int_equal(corpus_open(&c, *state, &standard, &err), -BT_ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "holds no text to train on"));
    put(*state, "fr.txt", "bon\njour \xff\n");
    assert_int_equal(corpus_open(&c, *state, &standard, &err), -BT_ERR_CORRUPT);
    assert_non_null(strstr(err.text, "fr.txt is not UTF-8 text: line 2"));
    config.languages = "de,sv";
    assert_int_equal(corpus_open(&c, *state, &config, &err), -BT_ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "has no text in 'sv'"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(languages_come_from_folders_then_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(held_out_text_is_never_trained_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_sample_depends_on_seed_and_number_alone, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(temperature_flattens_the_shares, set_up, tear_down),
        cmocka_unit_test_setup_teardown(text_shorter_than_a_sample_starts_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_trained_on_is_named, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
