/* Whole runs of beamtime-train on a few kilobytes of text: resume, signals, refusals.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/train/train.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

extern char **environ;

enum { FILE_MAX = 1 << 26, ANSWER_MS = 60000 };

/* Which of several ranks a process is; zeroed: the only one. */
struct place_in_world {
    int rank, world;
    uint16_t port;
};

struct place {
    char *dir, *corpus, *program;
};

static void write_text(const struct place *p, const char *name, const void *text, size_t n)
{
    BT_AUTO char *path = bt_printf("%s/%s", p->corpus, name);

    assert_int_equal(bt_file_write(path, 0644, text, n, NULL), 0);
}

static int set_up(void **state)
{
    struct place *p = bt_new(struct place);
    BT_BUF_AUTO struct bt_buf text = {0};

    p->dir = bt_strdup("/tmp/bt-run-XXXXXX");
    if (!mkdtemp(p->dir))
        return -1;
    p->corpus = bt_printf("%s/corpus", p->dir);
    p->program = bt_printf("%s/agent/train/beamtime-train", getenv("BT_BUILD_ROOT"));
    assert_int_equal(bt_mkdirs(p->corpus, 0755, NULL), 0);
    for (int i = 0; i < 200; i++)
        bt_buf_printf(&text, "Zeile %d: Straßenbahnen fahren im Kreis.\n", i * i);
    write_text(p, "de.txt", text.p, text.n);
    bt_buf_clear(&text);
    for (int i = 0; i < 120; i++)
        bt_buf_printf(&text, "Řádek %d: tramvaje jezdí dokola.\n", i * 7);
    write_text(p, "cs.txt", text.p, text.n);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    int rc = bt_remove_tree(p->dir, NULL);

    bt_free(p->dir);
    bt_free(p->corpus);
    bt_free(p->program);
    bt_free(p);
    return rc;
}

/* Starts a run into dir/name with steps of a tiny model; metrics may be NULL; extra is one more
 * --set or NULL. What rank 0 says goes to dir/said. */
static pid_t launch_rank(const struct place *p, const char *name, const char *metrics,
                         const char *extra, struct place_in_world in)
{
    BT_AUTO char *output = bt_printf("%s/%s", p->dir, name);
    BT_AUTO char *said =
        in.rank ? bt_printf("%s/said.%d", p->dir, in.rank) : bt_printf("%s/said", p->dir);
    BT_AUTO char *rank = bt_printf("BEAM_RANK=%d", in.rank);
    BT_AUTO char *world = bt_printf("BEAM_WORLD_SIZE=%d", in.world ? in.world : 1);
    BT_AUTO char *where = bt_printf("BEAM_RENDEZVOUS=127.0.0.1:%d", in.port);
    BT_AUTO char *secret = bt_printf("BEAM_SECRET_FILE=%s/secret", p->dir);
    BT_AUTO char *variable = bt_printf("BEAM_METRICS=%s", metrics ? metrics : "");
    char *args[] = {p->program,
                    (char[]){"--corpus"},
                    p->corpus,
                    (char[]){"--output"},
                    output,
                    (char[]){"--set"},
                    (char[]){"layers=2"},
                    (char[]){"--set"},
                    (char[]){"width=32"},
                    (char[]){"--set"},
                    (char[]){"ffn=48"},
                    (char[]){"--set"},
                    (char[]){"context=32"},
                    (char[]){"--set"},
                    (char[]){"steps=24"},
                    (char[]){"--set"},
                    (char[]){"checkpoint_every=12"},
                    (char[]){"--set"},
                    (char[]){"threads=2"},
                    (char[]){"--set"},
                    (char[]){"peak_gflops=100"},
                    (char[]){"--set"},
                    (char *)(uintptr_t)(extra ? extra : "warmup=5"),
                    NULL};
    char *env[] = {variable, rank, world, where, secret, (char[]){"ASAN_OPTIONS=detect_leaks=1"},
                   NULL};
    posix_spawn_file_actions_t files;
    pid_t pid;

    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 1, said, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    posix_spawn_file_actions_adddup2(&files, 1, 2);
    assert_int_equal(posix_spawn(&pid, p->program, &files, NULL, args, env), 0);
    posix_spawn_file_actions_destroy(&files);
    return pid;
}

static pid_t launch(const struct place *p, const char *name, const char *metrics, const char *extra)
{
    return launch_rank(p, name, metrics, extra, (struct place_in_world){0});
}

static int finish(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void read_output(const struct place *p, const char *name, struct bt_buf *to)
{
    BT_AUTO char *path = bt_printf("%s/%s", p->dir, name);

    bt_buf_clear(to);
    assert_int_equal(bt_file_read(path, FILE_MAX, to, NULL), 0);
}

static void assert_same_file(const struct place *p, const char *a, const char *b)
{
    BT_BUF_AUTO struct bt_buf one = {0}, two = {0};

    read_output(p, a, &one);
    read_output(p, b, &two);
    assert_int_equal(one.n, two.n);
    assert_memory_equal(one.p, two.p, one.n);
}

static void remove_file(const struct place *p, const char *name)
{
    BT_AUTO char *path = bt_printf("%s/%s", p->dir, name);

    assert_int_equal(unlink(path), 0);
}

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

static void a_resumed_run_ends_in_the_same_bytes(void **state)
{
    const struct place *p = *state;

    assert_int_equal(finish(launch(p, "a", NULL, NULL)), 0);
    assert_int_equal(finish(launch(p, "b", NULL, NULL)), 0);
    assert_same_file(p, "a/model.safetensors", "b/model.safetensors");
    remove_file(p, "b.checkpoint/step-0000000024.ckpt");
    remove_file(p, "b/model.safetensors");
    assert_int_equal(finish(launch(p, "b", NULL, NULL)), 0);
    assert_same_file(p, "a/model.safetensors", "b/model.safetensors");
    assert_same_file(p, "a.checkpoint/step-0000000024.ckpt", "b.checkpoint/step-0000000024.ckpt");
}

/* Reads the pipe until the line of step `step` has come; false when the run ended before. */
static bool await_step(int fd, int step)
{
    BT_AUTO char *want = bt_printf("{\"step\":%d,", step);
    BT_BUF_AUTO struct bt_buf seen = {0};
    struct pollfd poller = {.fd = fd, .events = POLLIN};

    while (!strstr(bt_buf_text(&seen), want)) {
        char chunk[4096];
        ssize_t n;

        if (poll(&poller, 1, ANSWER_MS) != 1)
            return false;
        n = read(fd, chunk, sizeof chunk);
        if (n <= 0)
            return false;
        bt_buf_add(&seen, chunk, (size_t)n);
    }
    return true;
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

/* Half-written files below dir/name: there are never any when a run has ended by itself. */
static int count_leftovers(const struct place *p, const char *name)
{
    BT_AUTO char *path = bt_printf("%s/%s", p->dir, name);
    DIR *d = opendir(path);
    int n = 0;

    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += bt_ends(e->d_name, ".tmp");
    closedir(d);
    return n;
}

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

/* One line that names the program, at most one more with the next step. */
static void assert_one_sentence(const struct place *p, const char *file, const char *wanted)
{
    BT_BUF_AUTO struct bt_buf said = {0};
    const char *text, *end;

    read_output(p, file, &said);
    text = bt_buf_text(&said);
    if (!strstr(text, wanted))
        fail_msg("wanted: %s; said: %s", wanted, text);
    text = strstr(text, "beamtime-train: ");
    assert_non_null(text);
    end = strchr(text, '\n');
    assert_non_null(end);
    if (end[1] && !bt_starts(end + 1, "  try: "))
        fail_msg("more than a sentence: %s", text);
}

/* Runs the program with other arguments than launch's; returns its status, dir/said what it said.
 */
static int run_with(const struct place *p, char *const args[])
{
    BT_AUTO char *said = bt_printf("%s/said", p->dir);
    char *env[] = {(char[]){"ASAN_OPTIONS=detect_leaks=1"}, NULL};
    posix_spawn_file_actions_t files;
    pid_t pid;

    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 1, said, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    posix_spawn_file_actions_adddup2(&files, 1, 2);
    assert_int_equal(posix_spawn(&pid, p->program, &files, NULL, args, env), 0);
    posix_spawn_file_actions_destroy(&files);
    return finish(pid);
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

/* ---- several ranks ---- */

static uint16_t free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    close(fd);
    return ntohs(a.sin_port);
}

static void write_secret(const struct place *p)
{
    static const char hex[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
    BT_AUTO char *secret = bt_printf("%s/secret", p->dir);

    assert_int_equal(bt_file_write(secret, 0600, hex, sizeof hex - 1, NULL), 0);
}

static int run_world(const struct place *p, const char *name, int world)
{
    struct place_in_world in = {.world = world, .port = free_port()};
    pid_t pids[8];
    int status = 0;

    write_secret(p);
    for (in.rank = 0; in.rank < world; in.rank++)
        pids[in.rank] = launch_rank(p, name, NULL, NULL, in);
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

static void any_number_of_ranks_draws_the_same_curve(void **state)
{
    static const int worlds[] = {2, 4};
    const struct place *p = *state;
    double one[64], many[64];

    assert_int_equal(finish(launch(p, "one", NULL, NULL)), 0);
    assert_int_equal(read_losses(p, "one", one, 64), 24);
    for (size_t i = 0; i < BT_ARRAY_LEN(worlds); i++) {
        BT_AUTO char *name = bt_printf("w%d", worlds[i]), *again = bt_printf("again%d", worlds[i]);
        BT_AUTO char *a = bt_printf("%s/model.safetensors", name);
        BT_AUTO char *b = bt_printf("%s/model.safetensors", again);

        assert_int_equal(run_world(p, name, worlds[i]), 0);
        assert_int_equal(read_losses(p, name, many, 64), 24);
        for (int k = 0; k < 24; k++)
            assert_true(fabs(many[k] / one[k] - 1) < 1e-5);
        assert_int_equal(run_world(p, again, worlds[i]), 0);
        assert_same_file(p, a, b);
    }
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

static void a_checkpoint_goes_on_with_another_number_of_ranks(void **state)
{
    const struct place *p = *state;
    double one[64], mixed[64];

    assert_int_equal(finish(launch(p, "one", NULL, NULL)), 0);
    assert_int_equal(run_world(p, "mixed", 2), 0);
    remove_file(p, "mixed.checkpoint/step-0000000024.ckpt");
    assert_int_equal(run_world(p, "mixed", 3), 0);
    assert_int_equal(read_losses(p, "one", one, 64), 24);
    assert_int_equal(read_losses(p, "mixed", mixed, 64), 24);
    for (int k = 0; k < 24; k++)
        assert_true(fabs(mixed[k] / one[k] - 1) < 1e-5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_finished_run_leaves_every_promised_file, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_resumed_run_ends_in_the_same_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(told_to_stop_it_checkpoints_and_asks_for_requeue, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(killed_it_goes_on_to_the_same_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_truncated_model_is_neither_sampled_nor_continued, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_corpus_without_text_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lost_rank_ends_the_others_in_one_sentence, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(bad_input_is_refused_in_one_sentence, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_checkpoint_is_refused_and_kept, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_checkpoint_of_another_run_is_not_continued, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(any_number_of_ranks_draws_the_same_curve, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_checkpoint_goes_on_with_another_number_of_ranks, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
