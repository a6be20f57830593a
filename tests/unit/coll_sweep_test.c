/* The collective benchmark: options, formulas, and that a wrong result is counted.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <math.h>
#include <string.h>

#include "agent/coll/sweep.h"
#include "kernels/cuda/backend.h"
#include "lib/base/mem.h"

static void options_read_as_in_nccl_tests(void **state)
{
    char *words[] = {(char[]){"reduce"}, (char[]){"-b"}, (char[]){"8"},   (char[]){"-e"},
                     (char[]){"64M"},    (char[]){"-f"}, (char[]){"4"},   (char[]){"-d"},
                     (char[]){"double"}, (char[]){"-o"}, (char[]){"max"}, (char[]){"-r"},
                     (char[]){"1"},      (char[]){"-c"}, (char[]){"0"}};
    struct sweep_options o;

    (void)state;
    sweep_defaults(&o);
    assert_int_equal(sweep_parse(&o, (int)BT_ARRAY_LEN(words), words, NULL), 0);
    assert_string_equal(o.operation, "reduce");
    assert_int_equal(o.min_bytes, 8);
    assert_int_equal(o.max_bytes, 64 << 20);
    assert_true(o.factor == 4 && o.type == COLL_F64 && o.op == COLL_MAX && o.root == 1 && !o.check);
}

static void wrong_options_change_nothing(void **state)
{
    static const struct {
        const char *words[3];
        int n;
    } cases[] = {{{"gather_all"}, 1}, {{"-b"}, 1},       {{"-b", "5X"}, 2},
                 {{"-f", "1"}, 2},    {{"-q", "1"}, 2},  {{"-b", "2G"}, 2},
                 {{"-o", "avg"}, 2},  {{"-e", "1K"}, 2}, {{"-n", "0"}, 2}};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct sweep_options o, before;
        char copies[3][16], *words[3];

        for (int k = 0; k < cases[i].n; k++) {
            snprintf(copies[k], sizeof copies[k], "%s", cases[i].words[k]);
            words[k] = copies[k];
        }
        sweep_defaults(&o);
        before = o;
        assert_true(sweep_parse(&o, cases[i].n, words, NULL) < 0);
        assert_memory_equal(&o, &before, sizeof o);
    }
}

static void bus_factors_are_the_published_ones(void **state)
{
    (void)state;
    assert_true(fabs(sweep_bus_factor("all_reduce", 4) - 1.5) < 1e-12);
    assert_true(fabs(sweep_bus_factor("all_gather", 4) - 0.75) < 1e-12);
    assert_true(fabs(sweep_bus_factor("reduce_scatter", 2) - 0.5) < 1e-12);
    assert_true(fabs(sweep_bus_factor("alltoall", 8) - 0.875) < 1e-12);
    assert_true(sweep_bus_factor("broadcast", 8) == 1 && sweep_bus_factor("sendrecv", 2) == 1);
}

/* A back end that forgets the last element of each sum. */
static int forgetful(struct coll *c, const void *send, void *recv, size_t count,
                     enum coll_type type, enum coll_op op, struct bt_err *err)
{
    if (type == COLL_F32 && count > 1) {
        memmove(recv, send, (count - 1) * sizeof(float));
        ((float *)recv)[count - 1] = -1;
        return 0;
    }
    return coll_ring.all_reduce(c, send, recv, count, type, op, err);
}

static void wrong_values_are_counted(void **state)
{
    static const struct coll_config one = {.world = 1, .timeout_us = 1000000};
    char *words[] = {(char[]){"-b"},  (char[]){"400"}, (char[]){"-e"},
                     (char[]){"400"}, (char[]){"-n"},  (char[]){"2"}};
    struct sweep_options o;
    static struct sweep s;
    struct coll *c;

    (void)state;
    sweep_defaults(&o);
    assert_int_equal(sweep_parse(&o, (int)BT_ARRAY_LEN(words), words, NULL), 0);
    assert_int_equal(coll_ring.open(&one, &c, NULL), 0);
    assert_int_equal(sweep_run(&o, c, &s, NULL, NULL, NULL), 0);
    assert_int_equal(s.n, 1);
    assert_int_equal(s.wrong, 0);
    struct coll_ops broken = coll_ring;

    broken.all_reduce = forgetful;
    c->ops = &broken;
    assert_int_equal(sweep_run(&o, c, &s, NULL, NULL, NULL), 0);
    assert_int_equal(s.wrong, 2);
    sweep_done(&s);
    c->ops = &coll_ring;
    coll_ring.close(c);
}

static void lines_have_the_columns_of_nccl_tests(void **state)
{
    static const struct sweep_row row = {.size = 1024,
                                         .count = 256,
                                         .time_us = {10, 20},
                                         .alg_gb = {0.1, 0.05},
                                         .bus_gb = {0.1, 0.05},
                                         .wrong = {0, -1}};
    BT_BUF_AUTO struct bt_buf line = {0};
    struct sweep_options o;

    (void)state;
    sweep_defaults(&o);
    sweep_line(&o, &row, &line);
    assert_string_equal(bt_buf_text(&line),
                        "        1024           256     float     sum      -1   "
                        "  10.0    0.10    0.10      0     20.0    0.05    "
                        "0.05    N/A\n");
}

/* One rank: what counts is that data goes to the device and comes back. */
static void a_devices_memory_is_filled_called_on_and_checked(void **state)
{
    static const char *const operations[] = {"all_reduce", "all_gather", "reduce_scatter",
                                             "broadcast",  "reduce",     "alltoall",
                                             "sendrecv"};
    const struct cuda_ops *ops = bt_cuda_ops();
    const struct coll_config one = {.world = 1, .timeout_us = 1000000};
    struct sweep_place place = {.ops = ops, .name = "emulated"};
    BT_AUTO struct sweep *s = bt_new(struct sweep);
    BT_BUF_AUTO struct bt_buf json = {0};
    struct coll *c = NULL;

    (void)state;
    assert_int_equal(coll_ring.open(&one, &c, NULL), 0);
    assert_int_equal(ops->open(0, &place.dev, NULL), 0);
    place.host = c;
    for (size_t i = 0; i < BT_ARRAY_LEN(operations); i++) {
        struct sweep_options o;
        char *words[] = {(char *)(uintptr_t)operations[i],
                         (char[]){"--minbytes"},
                         (char[]){"1000"},
                         (char[]){"--maxbytes"},
                         (char[]){"4K"},
                         (char[]){"--iters"},
                         (char[]){"2"}};

        sweep_defaults(&o);
        assert_int_equal(sweep_parse(&o, (int)BT_ARRAY_LEN(words), words, NULL), 0);
        o.place = &place;
        assert_int_equal(sweep_run(&o, c, s, NULL, NULL, NULL), 0);
        assert_int_equal(s->n, 3);
        assert_int_equal(s->wrong, 0);
        assert_int_equal(sweep_verdict(&o, s, NULL), 0);
        o.min_bus_gb = 1e9;
        assert_int_equal(sweep_verdict(&o, s, NULL), -BT_ERR_INVALID);
        s->wrong = 3;
        assert_int_equal(sweep_verdict(&o, s, NULL), -BT_ERR_CORRUPT);
        if (i == 0) {
            sweep_json(&o, c, s, &json);
            assert_non_null(strstr(bt_buf_text(&json), "\"device\":\"emulated\""));
        }
        sweep_done(s);
    }
    ops->close(place.dev);
    coll_ring.close(c);
}

static void what_a_rank_does_not_do_is_refused(void **state)
{
    static const struct {
        const char *option, *value;
        int rc;
    } cases[] = {{"-g", "1", 0},
                 {"-g", "2", -BT_ERR_UNSUPPORTED},
                 {"-t", "8", -BT_ERR_UNSUPPORTED},
                 {"-G", "0", 0},
                 {"-G", "4", -BT_ERR_UNSUPPORTED},
                 {"-z", "1", 0},
                 {"-T", "30", 0},
                 {"-T", "0", -BT_ERR_INVALID},
                 {"--device", "cpu", 0},
                 {"--device", "tpu", -BT_ERR_INVALID},
                 {"--nonsense", "1", -BT_ERR_USAGE}};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        char *words[] = {(char *)(uintptr_t)cases[i].option, (char *)(uintptr_t)cases[i].value};
        struct sweep_options o;
        int rc;

        sweep_defaults(&o);
        rc = sweep_parse(&o, 2, words, NULL);
        if (rc != cases[i].rc)
            fail_msg("%s %s: %d", cases[i].option, cases[i].value, rc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_devices_memory_is_filled_called_on_and_checked),
        cmocka_unit_test(what_a_rank_does_not_do_is_refused),
        cmocka_unit_test(options_read_as_in_nccl_tests),
        cmocka_unit_test(wrong_options_change_nothing),
        cmocka_unit_test(bus_factors_are_the_published_ones),
        cmocka_unit_test(wrong_values_are_counted),
        cmocka_unit_test(lines_have_the_columns_of_nccl_tests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
