/* What goes wrong with a training run: kill -9, damaged files, bad input, a lost rank.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/train_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/train/train.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

/* Kills a run −9 once it has reported `step`; false when it had ended before. */
static bool kill_at_step(const struct place *p, const char *name, int step)
{
    BT_AUTO char *pipe = bt_printf("%s/pipe", p->dir);
    BT_FD_AUTO int fd = -1;
    int status;
    pid_t pid;

    assert_int_equal(mkfifo(pipe, 0600), 0);
    fd = open(pipe, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    pid = launch(p, name, pipe, "checkpoint_every=5");
    if (await_step(fd, step))
        assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(unlink(pipe), 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void killed_it_goes_on_to_the_same_bytes(void **state)
{
    static const int steps[] = {1, 7, 6, 13, 11, 20};
    const struct place *p = *state;
    int killed = 0;

    assert_int_equal(finish(launch(p, "a", NULL, "checkpoint_every=5")), 0);
    for (size_t i = 0; i < BT_ARRAY_LEN(steps); i++)
        killed += kill_at_step(p, "k", steps[i]);
    assert_true(killed > 2); /* one that was killed may write its checkpoint first */
    {
        BT_AUTO char *half = bt_printf("%s/k.checkpoint/step-0000000023.ckpt.12345.tmp", p->dir);

        assert_int_equal(bt_file_write(half, 0644, "BTCKPT1", 7, NULL), 0);
    }
    assert_int_equal(finish(launch(p, "k", NULL, "checkpoint_every=5")), 0);
    assert_same_file(p, "a/model.safetensors", "k/model.safetensors");
    assert_same_file(p, "a.checkpoint/step-0000000024.ckpt", "k.checkpoint/step-0000000024.ckpt");
    assert_int_equal(count_leftovers(p, "k"), 0);
    assert_int_equal(count_leftovers(p, "k.checkpoint"), 0);
}

static void a_truncated_model_is_neither_sampled_nor_continued(void **state)
{
    const struct place *p = *state;
    BT_AUTO char *model = bt_printf("%s/a", p->dir), *out = bt_printf("%s/next", p->dir);
    BT_AUTO char *weights = bt_printf("%s/model.safetensors", model);
    BT_AUTO char *published = bt_printf("%s/model.safetensors", out);
    char *sample[] = {p->program, (char[]){"sample"}, (char[]){"--model"}, model, NULL};
    char *train[] = {p->program, (char[]){"--corpus"}, p->corpus, (char[]){"--output"},
                     out,        (char[]){"--from"},   model,     NULL};
    BT_BUF_AUTO struct bt_buf file = {0};
    size_t cuts[] = {0, 5, 300, 0};

    assert_int_equal(finish(launch(p, "a", NULL, NULL)), 0);
    assert_int_equal(bt_file_read(weights, FILE_MAX, &file, NULL), 0);
    cuts[3] = file.n - 1;
    for (size_t i = 0; i < BT_ARRAY_LEN(cuts); i++) {
        assert_int_equal(bt_file_write(weights, 0644, file.p, cuts[i], NULL), 0);
        assert_int_not_equal(run_with(p, sample), 0);
        assert_one_sentence(p, "said", "model.safetensors");
        assert_int_not_equal(run_with(p, train), 0);
        assert_one_sentence(p, "said", "model.safetensors");
        assert_int_equal(access(published, F_OK), -1);
    }
}

static void a_corpus_without_text_is_refused(void **state)
{
    static const struct {
        const char *file, *said;
    } cases[] = {{"notes.md", "has no file *.txt"}, {"fi.txt", "holds no text to train on"}};
    struct place p = **(struct place **)state;
    BT_AUTO char *output = bt_printf("%s/out", p.dir), *empty = bt_printf("%s/empty", p.dir);

    p.corpus = empty;
    assert_int_equal(bt_mkdirs(empty, 0755, NULL), 0);
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        write_text(&p, cases[i].file, "", 0);
        assert_int_not_equal(finish(launch(&p, "out", NULL, NULL)), 0);
        assert_one_sentence(&p, "said", cases[i].said);
        assert_int_equal(access(output, F_OK), -1);
    }
}

static void bad_input_is_refused_in_one_sentence(void **state)
{
    static const struct {
        const char *file, *text, *extra, *said;
    } cases[] = {
        {"fr.txt", "caf\xe9\n", NULL, "fr.txt is not UTF-8 text: line 1"},
        {NULL, NULL, "width=0", "--set: width is '0', not a whole number from 2 to 65536"},
        {NULL, NULL, "kv_heads=2", "heads (3) is not a multiple of kv_heads (2)"},
        {NULL, NULL, "head_dim=7", "head_dim (7) is odd: rotary embedding turns pairs"},
        {NULL, NULL, "ffn=99999999999999999999", "--set: ffn is '99999999999999999999'"},
        {NULL, NULL, "colour=red", "--set: no setting is called 'colour'"},
        {NULL, NULL, "languages=de,xx", "has no text in 'xx'"},
    };
    const struct place *p = *state;

    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        BT_AUTO char *output = bt_printf("%s/out", p->dir);

        if (cases[i].file)
            write_text(p, cases[i].file, cases[i].text, strlen(cases[i].text));
        assert_int_not_equal(finish(launch(p, "out", NULL, cases[i].extra)), 0);
        assert_one_sentence(p, "said", cases[i].said);
        assert_int_equal(access(output, F_OK), -1);
        if (cases[i].file) {
            BT_AUTO char *path = bt_printf("corpus/%s", cases[i].file);

            remove_file(p, path);
        }
    }
}

static void a_damaged_checkpoint_is_refused_and_kept(void **state)
{
    const struct place *p = *state;
    BT_AUTO char *path = bt_printf("%s/a.checkpoint/step-0000000024.ckpt", p->dir);
    BT_BUF_AUTO struct bt_buf file = {0}, said = {0};

    assert_int_equal(finish(launch(p, "a", NULL, NULL)), 0);
    assert_int_equal(bt_file_read(path, FILE_MAX, &file, NULL), 0);
    file.p[file.n / 2] ^= 1;
    assert_int_equal(bt_file_write(path, 0644, file.p, file.n, NULL), 0);
    assert_int_equal(finish(launch(p, "a", NULL, NULL)), 1);
    read_output(p, "said", &said);
    assert_non_null(strstr(bt_buf_text(&said), "its SHA-256 does not fit"));
    assert_int_equal(bt_file_write(path, 0644, file.p, file.n / 2, NULL), 0);
    assert_int_equal(finish(launch(p, "a", NULL, NULL)), 1);
    assert_int_equal(finish(launch(p, "a", NULL, "seed=2")), 1);
}

static void a_checkpoint_of_another_run_is_not_continued(void **state)
{
    const struct place *p = *state;
    BT_BUF_AUTO struct bt_buf said = {0};

    assert_int_equal(finish(launch(p, "a", NULL, NULL)), 0);
    assert_int_equal(finish(launch(p, "a", NULL, "seed=2")), 6);
    read_output(p, "said", &said);
    assert_non_null(strstr(bt_buf_text(&said), "it has seed=1, this run seed=2"));
}

static void a_lost_rank_ends_the_others_in_one_sentence(void **state)
{
    const struct place *p = *state;
    BT_AUTO char *pipe = bt_printf("%s/pipe", p->dir);
    BT_AUTO char *published = bt_printf("%s/lost/model.safetensors", p->dir);
    struct place_in_world in = {.world = 3, .port = free_port()};
    BT_FD_AUTO int fd = -1;
    pid_t pids[3];
    int status;

    write_secret(p);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    fd = open(pipe, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    for (in.rank = 0; in.rank < in.world; in.rank++)
        pids[in.rank] = launch_rank(p, "lost", in.rank ? NULL : pipe, "steps=100000", in);
    assert_true(await_step(fd, 3));
    assert_int_equal(kill(pids[2], SIGKILL), 0);
    assert_int_equal(waitpid(pids[2], &status, 0), pids[2]);
    for (int i = 0; i < 2; i++)
        assert_int_not_equal(finish(pids[i]), 0);
    assert_one_sentence(p, "said", "rank");
    assert_one_sentence(p, "said.1", "rank");
    assert_int_equal(access(published, F_OK), -1);
    assert_int_equal(count_leftovers(p, "lost.checkpoint"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(killed_it_goes_on_to_the_same_bytes, train_set_up,
                                        train_tear_down),
        cmocka_unit_test_setup_teardown(a_truncated_model_is_neither_sampled_nor_continued,
                                        train_set_up, train_tear_down),
        cmocka_unit_test_setup_teardown(a_corpus_without_text_is_refused, train_set_up,
                                        train_tear_down),
        cmocka_unit_test_setup_teardown(bad_input_is_refused_in_one_sentence, train_set_up,
                                        train_tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_checkpoint_is_refused_and_kept, train_set_up,
                                        train_tear_down),
        cmocka_unit_test_setup_teardown(a_checkpoint_of_another_run_is_not_continued, train_set_up,
                                        train_tear_down),
        cmocka_unit_test_setup_teardown(a_lost_rank_ends_the_others_in_one_sentence, train_set_up,
                                        train_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
