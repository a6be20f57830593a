/* Settings of a run and the learning rate they give.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/train/config.h"
#include "agent/train/train.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"

static void write_config(char path[], const char *text)
{
    memcpy(path, "/tmp/bt-config-XXXXXX", sizeof "/tmp/bt-config-XXXXXX");
    close(mkstemp(path));
    assert_int_equal(bt_file_write(path, 0600, text, strlen(text), NULL), 0);
}

static int resolve(const char *text, const char *const *sets, struct config *c, struct bt_err *err)
{
    struct config_asked asked = {0};
    char path[64];
    int rc;

    write_config(path, text);
    rc = config_file(&asked, path, err);
    for (; rc == 0 && sets && *sets; sets++)
        rc = config_set(&asked, *sets, "--set", err);
    if (rc == 0)
        rc = config_resolve(c, &asked, err);
    config_asked_done(&asked);
    unlink(path);
    return rc;
}

static void later_wins_and_a_preset_comes_first(void **state)
{
    static const char *const sets[] = {"steps=7", "preset = 11m", NULL};
    struct config c;

    (void)state;
    assert_int_equal(
        resolve("# a run\nsteps = 5 # few\n\ntitle = \"A # B\"\nwidth=128\n", sets, &c, NULL), 0);
    assert_int_equal(c.steps, 7);
    assert_int_equal(c.width, 128);
    assert_int_equal(c.ffn, 1024);
    assert_string_equal(c.title, "A # B");
    assert_string_equal(c.preset, "11m");
}

static void every_preset_is_possible_and_of_its_size(void **state)
{
    static const struct {
        const char *set;
        double params;
    } cases[] = {{"preset=polyglot", 2.5e5}, {"preset=1m", 1e6},     {"preset=2m", 2e6},
                 {"preset=5m", 5e6},         {"preset=11m", 11e6},   {"preset=45m", 45e6},
                 {"preset=85m", 85e6},       {"preset=350m", 350e6}, {"preset=1b", 1e9}};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        const char *const sets[] = {cases[i].set, NULL};
        struct model_shape s;
        struct config c;

        assert_int_equal(resolve("", sets, &c, NULL), 0);
        s = config_shape(&c);
        assert_true(fabs((double)model_params(&s) / cases[i].params - 1) < 0.2);
    }
}

static void what_is_printed_reads_back_the_same(void **state)
{
    static const char *const sets[] = {"preset=5m", "learning_rate=0.00123456789", "tied=false",
                                       "title=Žluťoučký kůň", NULL};
    BT_BUF_AUTO struct bt_buf text = {0}, again = {0};
    struct config a, b;

    (void)state;
    assert_int_equal(resolve("", sets, &a, NULL), 0);
    config_print(&a, &text);
    assert_int_equal(resolve(bt_buf_text(&text), NULL, &b, NULL), 0);
    config_print(&b, &again);
    assert_string_equal(bt_buf_text(&text), bt_buf_text(&again));
    assert_true(a.learning_rate == b.learning_rate);
}

static void a_mistake_is_named_with_its_place(void **state)
{
    static const struct {
        const char *text, *said;
    } cases[] = {
        {"steps = 5\nwidht = 3\n", "line 2: no setting is called 'widht'"},
        {"steps\n", "line 1: 'steps' is not key = value"},
        {"steps = many\n", "line 1: steps is 'many'"},
        {"clip = -1\n", "line 1: clip is -1, not from 0 to 1e+06"},
        {"clip = nan\n", "line 1: clip is "},
        {"tied = yes\n", "line 1: tied is 'yes', not true or false"},
        {"schedule = linear\n", "line 1: schedule is 'linear', not one of: cosine wsd constant"},
        {"head_dim = 5\n", "head_dim (5) is odd"},
        {"title = a\"b\n", "holds a quote"},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct config c = {.steps = 42};
        struct bt_err err = {0};

        assert_true(resolve(cases[i].text, NULL, &c, &err) < 0);
        if (!strstr(err.text, cases[i].said))
            fail_msg("said: %s", err.text);
        assert_int_equal(c.steps, 42);
    }
}

static void help_names_every_setting(void **state)
{
    BT_BUF_AUTO struct bt_buf text = {0};

    (void)state;
    config_help(&text);
#define INT(name, ...) assert_non_null(strstr(bt_buf_text(&text), "  " #name " "));
#define REAL INT
#define FLAG INT
#define TEXT INT
#define CHOICE INT
#include "agent/train/config.def"
}

static void rates_rise_then_fall_as_asked(void **state)
{
    static const struct {
        const char *schedule;
        int64_t step;
        double want;
    } cases[] = {
        {"cosine", 1, 0.1},   {"cosine", 10, 1},    {"cosine", 55, 0.55}, {"cosine", 100, 0.1},
        {"wsd", 5, 0.5},      {"wsd", 80, 1},       {"wsd", 90, 0.55},    {"wsd", 100, 0.1},
        {"constant", 100, 1}, {"constant", 5, 0.5},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        static const char *const sets[] = {"steps=100",        "warmup=10",    "learning_rate=1",
                                           "min_lr_ratio=0.1", "cooldown=0.2", NULL};
        BT_AUTO char *text = bt_printf("schedule = %s\n", cases[i].schedule);
        struct config c;

        assert_int_equal(resolve(text, sets, &c, NULL), 0);
        assert_true(fabs(train_rate(&c, cases[i].step) - cases[i].want) < 1e-9);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(later_wins_and_a_preset_comes_first),
        cmocka_unit_test(every_preset_is_possible_and_of_its_size),
        cmocka_unit_test(what_is_printed_reads_back_the_same),
        cmocka_unit_test(a_mistake_is_named_with_its_place),
        cmocka_unit_test(help_names_every_setting),
        cmocka_unit_test(rates_rise_then_fall_as_asked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
