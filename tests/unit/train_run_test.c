/* Whole runs of beamtime-train on a few kilobytes of text: resume, signals, ranks.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/train_fixture.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/train/train.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

static void a_finished_run_leaves_every_promised_file(void **state)
{
    static const char *const names[] = {"README.md",
                                        "config.json",
                                        "data-manifest.json",
                                        "generation_config.json",
                                        "loss.svg",
                                        "metrics.jsonl",
                                        "model.safetensors",
                                        "tokenizer.json",
                                        "tokenizer_config.json",
                                        "train.conf",
                                        "training.json"};
    const struct place *p = *state;

    assert_int_equal(finish(launch(p, "a", NULL, NULL)), 0);
    for (size_t i = 0; i < BT_ARRAY_LEN(names); i++) {
        BT_AUTO char *path = bt_printf("%s/a/%s", p->dir, names[i]);

        assert_int_equal(access(path, R_OK), 0);
    }
}

/* Runs with one more setting, or NULL. */
static void resume(const struct place *p, const char *extra)
{
    assert_int_equal(finish(launch(p, "a", NULL, extra)), 0);
    assert_int_equal(finish(launch(p, "b", NULL, extra)), 0);
    assert_same_file(p, "a/model.safetensors", "b/model.safetensors");
    remove_file(p, "b.checkpoint/step-0000000024.ckpt");
    remove_file(p, "b/model.safetensors");
    assert_int_equal(finish(launch(p, "b", NULL, extra)), 0);
    assert_same_file(p, "a/model.safetensors", "b/model.safetensors");
    assert_same_file(p, "a.checkpoint/step-0000000024.ckpt", "b.checkpoint/step-0000000024.ckpt");
}

static void a_resumed_run_ends_in_the_same_bytes(void **state)
{
    resume(*state, NULL);
}

static void with_muon_a_resumed_run_ends_in_the_same_bytes(void **state)
{
    resume(*state, "optimizer=muon");
}

static void told_to_stop_it_checkpoints_and_asks_for_requeue(void **state)
{
    static const int signals[] = {SIGTERM, SIGUSR1};
    const struct place *p = *state;
    BT_AUTO char *pipe = bt_printf("%s/pipe", p->dir);

    assert_int_equal(finish(launch(p, "a", NULL, NULL)), 0);
    for (size_t i = 0; i < BT_ARRAY_LEN(signals); i++) {
        BT_AUTO char *name = bt_printf("s%zu", i), *model = bt_printf("%s/model.safetensors", name);
        BT_AUTO char *path = bt_printf("%s/%s", p->dir, model);
        int status = TRAIN_REQUEUE;

        for (int step = 3; status == TRAIN_REQUEUE; step += 6) {
            BT_FD_AUTO int fd = -1;
            pid_t pid;

            assert_int_equal(mkfifo(pipe, 0600), 0);
            fd = open(pipe, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
            assert_true(fd >= 0);
            pid = launch(p, name, pipe, NULL);
            if (await_step(fd, step)) /* false: it had no such step left and ended */
                assert_int_equal(kill(pid, signals[i]), 0);
            status = finish(pid);
            assert_int_equal(unlink(pipe), 0);
            if (status == TRAIN_REQUEUE)
                assert_int_equal(access(path, F_OK), -1);
        }
        assert_int_equal(status, 0);
        assert_same_file(p, "a/model.safetensors", model);
    }
}

/* ---- several ranks ---- */

static int run_world(const struct place *p, const char *name, const char *extra, int world)
{
    struct place_in_world in = {.world = world, .port = free_port()};
    pid_t pids[8];
    int status = 0;

    write_secret(p);
    for (in.rank = 0; in.rank < world; in.rank++)
        pids[in.rank] = launch_rank(p, name, NULL, extra, in);
    for (int i = 0; i < world; i++) {
        int one = finish(pids[i]);

        status = BT_MAX(status, one);
    }
    return status;
}

/* The losses of dir/name/metrics.jsonl in order; returns how many. */
static int read_losses(const struct place *p, const char *name, double *losses, int max)
{
    BT_AUTO char *file = bt_printf("%s/metrics.jsonl", name);
    BT_BUF_AUTO struct bt_buf text = {0};
    int n = 0;

    read_output(p, file, &text);
    for (const char *at = text.p; n < max && (at = strstr(at, "\"loss\":")); at++)
        losses[n++] = strtod(at + 7, NULL);
    return n;
}

static void draw_curves(const struct place *p, const char *extra)
{
    static const int worlds[] = {2, 4};
    double one[64], many[64];

    assert_int_equal(finish(launch(p, "one", NULL, extra)), 0);
    assert_int_equal(read_losses(p, "one", one, 64), 24);
    for (size_t i = 0; i < BT_ARRAY_LEN(worlds); i++) {
        BT_AUTO char *name = bt_printf("w%d", worlds[i]), *again = bt_printf("again%d", worlds[i]);
        BT_AUTO char *a = bt_printf("%s/model.safetensors", name);
        BT_AUTO char *b = bt_printf("%s/model.safetensors", again);

        assert_int_equal(run_world(p, name, extra, worlds[i]), 0);
        assert_int_equal(read_losses(p, name, many, 64), 24);
        for (int k = 0; k < 24; k++)
            assert_true(fabs(many[k] / one[k] - 1) < 1e-5);
        assert_int_equal(run_world(p, again, extra, worlds[i]), 0);
        assert_same_file(p, a, b);
    }
}

static void any_number_of_ranks_draws_the_same_curve(void **state)
{
    draw_curves(*state, NULL);
}

static void with_muon_any_number_of_ranks_draws_the_same_curve(void **state)
{
    draw_curves(*state, "optimizer=muon");
}

static void a_checkpoint_goes_on_with_another_number_of_ranks(void **state)
{
    const struct place *p = *state;
    double one[64], mixed[64];

    assert_int_equal(finish(launch(p, "one", NULL, NULL)), 0);
    assert_int_equal(run_world(p, "mixed", NULL, 2), 0);
    remove_file(p, "mixed.checkpoint/step-0000000024.ckpt");
    assert_int_equal(run_world(p, "mixed", NULL, 3), 0);
    assert_int_equal(read_losses(p, "one", one, 64), 24);
    assert_int_equal(read_losses(p, "mixed", mixed, 64), 24);
    for (int k = 0; k < 24; k++)
        assert_true(fabs(mixed[k] / one[k] - 1) < 1e-5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_finished_run_leaves_every_promised_file, train_set_up,
                                        train_tear_down),
        cmocka_unit_test_setup_teardown(a_resumed_run_ends_in_the_same_bytes, train_set_up,
                                        train_tear_down),
        cmocka_unit_test_setup_teardown(with_muon_a_resumed_run_ends_in_the_same_bytes,
                                        train_set_up, train_tear_down),
        cmocka_unit_test_setup_teardown(told_to_stop_it_checkpoints_and_asks_for_requeue,
                                        train_set_up, train_tear_down),
        cmocka_unit_test_setup_teardown(any_number_of_ranks_draws_the_same_curve, train_set_up,
                                        train_tear_down),
        cmocka_unit_test_setup_teardown(with_muon_any_number_of_ranks_draws_the_same_curve,
                                        train_set_up, train_tear_down),
        cmocka_unit_test_setup_teardown(a_checkpoint_goes_on_with_another_number_of_ranks,
                                        train_set_up, train_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
