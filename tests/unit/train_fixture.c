/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/train_fixture.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

void write_text(const struct place *p, const char *name, const void *text, size_t n)
{
    BT_AUTO char *path = bt_printf("%s/%s", p->corpus, name);

    assert_int_equal(bt_file_write(path, 0644, text, n, NULL), 0);
}

int train_set_up(void **state)
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

int train_tear_down(void **state)
{
    struct place *p = *state;
    int rc = bt_remove_tree(p->dir, NULL);

    bt_free(p->dir);
    bt_free(p->corpus);
    bt_free(p->program);
    bt_free(p);
    return rc;
}

pid_t launch_rank(const struct place *p, const char *name, const char *metrics, const char *extra,
                  struct place_in_world in)
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

pid_t launch(const struct place *p, const char *name, const char *metrics, const char *extra)
{
    return launch_rank(p, name, metrics, extra, (struct place_in_world){0});
}

int finish(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

void read_output(const struct place *p, const char *name, struct bt_buf *to)
{
    BT_AUTO char *path = bt_printf("%s/%s", p->dir, name);

    bt_buf_clear(to);
    assert_int_equal(bt_file_read(path, FILE_MAX, to, NULL), 0);
}

void assert_same_file(const struct place *p, const char *a, const char *b)
{
    BT_BUF_AUTO struct bt_buf one = {0}, two = {0};

    read_output(p, a, &one);
    read_output(p, b, &two);
    assert_int_equal(one.n, two.n);
    assert_memory_equal(one.p, two.p, one.n);
}

void remove_file(const struct place *p, const char *name)
{
    BT_AUTO char *path = bt_printf("%s/%s", p->dir, name);

    assert_int_equal(unlink(path), 0);
}

bool await_step(int fd, int step)
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

int count_leftovers(const struct place *p, const char *name)
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

void assert_one_sentence(const struct place *p, const char *file, const char *wanted)
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

int run_with(const struct place *p, char *const args[])
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

void write_secret(const struct place *p)
{
    static const char hex[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
    BT_AUTO char *secret = bt_printf("%s/secret", p->dir);

    assert_int_equal(bt_file_write(secret, 0600, hex, sizeof hex - 1, NULL), 0);
}
