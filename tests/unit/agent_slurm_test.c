/* A shepherd that Slurm starts: it waits for its folder, and its user gets no further than that.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/handover.h"
#include "agent/slurm.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

enum { OTHER = 65534 };

struct bed {
    char base[64], attempts[80], dir[160];
    struct order order;
    struct account user;
};

static int start(void **state)
{
    static struct bed b;
    char name[SPOOL_NAME_MAX];

    b = (struct bed){.base = "/tmp/bt-slurm-XXXXXX",
                     .order = {.attempt = 1, .walltime_s = 60, .slurm = true, .nodes = 1},
                     .user = {.name = "nobody", .uid = OTHER, .gid = OTHER}};
    assert_non_null(mkdtemp(b.base));
    assert_int_equal(0, chmod(b.base, 0711));
    b.order.job.b[0] = 1;
    (void)snprintf(b.attempts, sizeof b.attempts, "%s/attempts", b.base);
    (void)snprintf(b.order.work, sizeof b.order.work, "%s/work", b.base);
    (void)snprintf(b.dir, sizeof b.dir, "%s/%s", b.attempts, spool_name(b.order.job, 1, name));
    assert_int_equal(0, mkdir(b.attempts, 0700));
    assert_int_equal(0, mkdir(b.order.work, 0711));
    assert_int_equal(0, handover_open(b.attempts, NULL));
    if (geteuid() != 0)
        b.user = (struct account){.name = "me", .uid = geteuid(), .gid = getegid()};
    *state = &b;
    return 0;
}

static int stop(void **state)
{
    const struct bed *b = *state;

    return bt_remove_tree(b->base, NULL);
}

static void *prepare(void *arg)
{
    struct bed *b = arg;
    int rc = spool_make(b->attempts, &b->order, "{}", 2, &b->user, NULL);

    handover_turn(b->attempts);
    return rc == 0 ? b : NULL;
}

static void a_shepherd_waits_for_a_folder_that_is_not_there_yet(void **state)
{
    struct bed *b = *state;
    pthread_t agent;
    void *made;
    struct bt_err err = {0};

    assert_int_equal(0, pthread_create(&agent, NULL, prepare, b));
    assert_int_equal(0, slurm_await_folder(b->dir, &err));
    assert_int_equal(0, pthread_join(agent, &made));
    assert_non_null(made);
    assert_int_equal(0, slurm_await_folder(b->dir, &err)); /* and finds one that is there */
}

static void a_wrong_agent_dir_is_said_at_once(void **state)
{
    struct bt_err err = {0};

    (void)state;
    assert_int_equal(-BT_ERR_NOT_FOUND, slurm_await_folder("/nowhere/attempts/x.1", &err));
    assert_non_null(strstr(err.next, "agent_dir"));
}

/* As the job's user: 0 when it may do what it needs and nothing else. */
static int try_as_user(const struct bed *b)
{
    BT_AUTO char *order = bt_printf("%s/order.json", b->dir);
    BT_AUTO char *mine = bt_printf("%s/mine", b->dir);
    BT_AUTO char *link = bt_printf("%s/log.out", b->dir);
    struct order o;

    if (setgid(OTHER) < 0 || setuid(OTHER) < 0)
        return 1;
    if (spool_order(b->dir, &o, NULL) < 0 || spool_lock(b->dir, NULL) < 0)
        return 2;
    if (spool_put(b->dir, "identity", "slurm:1", NULL) < 0)
        return 3;
    if (unlink(order) == 0 || open(order, O_WRONLY | O_CLOEXEC) >= 0)
        return 4;
    if (bt_file_write(mine, 0600, "x", 1, NULL) < 0 || rename(mine, order) == 0)
        return 5;
    return symlink("/etc/shadow", link) < 0 ? 6 : 0;
}

static void its_user_may_add_files_and_replace_none(void **state)
{
    struct bed *b = *state;
    struct places p;
    struct stat st;
    int status;
    pid_t pid;

    if (geteuid() != 0)
        skip();
    assert_int_equal(0, handover_home(&b->order, &b->user, NULL));
    assert_non_null(prepare(b));
    pid = fork();
    if (pid == 0)
        _exit(try_as_user(b));
    assert_int_equal(pid, waitpid(pid, &status, 0));
    assert_int_equal(0, status);
    assert_true(spool_has(b->dir, "identity"));
    assert_int_equal(-BT_ERR_IO, spool_open(b->dir, "log.out", NULL)); /* a link is no log */
    places_of(&b->order, &p);
    assert_int_equal(0, stat(p.home, &st));
    assert_int_equal(OTHER, st.st_uid);
    assert_int_equal(0, stat(p.checkpoint, &st));
    assert_int_equal(OTHER, st.st_uid);
}

static void what_is_no_plain_file_is_not_read(void **state)
{
    struct bed *b = *state;
    BT_AUTO char *pipe = NULL;
    BT_AUTO char *twin = NULL;
    BT_AUTO char *order = NULL;

    assert_non_null(prepare(b));
    pipe = bt_printf("%s/pipe", b->dir);
    twin = bt_printf("%s/twin", b->dir);
    order = bt_printf("%s/spec.json", b->dir);
    assert_int_equal(0, mkfifo(pipe, 0600));
    assert_int_equal(-BT_ERR_IO, spool_open(b->dir, "pipe", NULL));
    assert_int_equal(0, link(order, twin));
    assert_int_equal(-BT_ERR_IO, spool_open(b->dir, "twin", NULL)); /* a second name of a file */
    assert_int_equal(-BT_ERR_NOT_FOUND, spool_open(b->dir, "none", NULL));
}

static void ranks_over_nodes_are_started_by_srun(void **state)
{
    static const char *const argv[] = {"job", "--steps", "7", NULL};
    struct order o = {.nodes = 4};
    struct slurm_words w;

    (void)state;
    assert_int_equal(-BT_ERR_INVALID, slurm_words(&o, 6, "job", argv, &w, NULL));
    assert_int_equal(0, slurm_words(&o, 8, "job", argv, &w, NULL));
    assert_string_equal("srun", w.v[0]);
    assert_string_equal("--nodes=4", w.v[1]);
    assert_string_equal("--ntasks=8", w.v[2]);
    assert_string_equal("--ntasks-per-node=2", w.v[3]);
    assert_string_equal("--mpi=none", w.v[5]);
    assert_string_equal("rank", w.v[11]);
    assert_string_equal("job", w.v[12]);
    assert_string_equal("--steps", w.v[13]);
    assert_string_equal("7", w.v[14]);
    assert_null(w.v[15]);
    bt_copy(o.mpi, sizeof o.mpi, "pmix");
    assert_int_equal(0, slurm_words(&o, 8, "job", argv, &w, NULL));
    assert_string_equal("--mpi=pmix", w.v[5]);
}

static void the_first_rank_that_failed_is_named(void **state)
{
    struct bed *b = *state;
    struct places p;
    char text[100];
    int status;
    static const struct {
        const char *said;
        bool ok;
        int status;
        const char *text;
    } rows[] = {
        {"2304 1 n2\n", true, 2304, "rank 1 on n2 exited with status 9"},
        {"9 0 n1\n", true, 9, "rank 0 on n1 was killed by signal 9"},
        {"0 0 n1\n", false, 0, NULL},
        {"", false, 0, NULL},
        {"99999999 1 n1\n", false, 0, NULL},
        {"9 0 $(id)\n", false, 0, NULL},
    };

    places_of(&b->order, &p);
    assert_int_equal(0, mkdir(p.home, 0700));
    assert_false(slurm_failed(&p, &status, text, sizeof text));
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        BT_AUTO char *path = bt_printf("%s/" SLURM_FAILED, p.home);

        assert_int_equal(0, bt_file_write(path, 0600, rows[i].said, strlen(rows[i].said), NULL));
        assert_int_equal(rows[i].ok, slurm_failed(&p, &status, text, sizeof text));
        if (!rows[i].ok)
            continue;
        assert_int_equal(rows[i].status, status);
        assert_string_equal(rows[i].text, text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_shepherd_waits_for_a_folder_that_is_not_there_yet, start,
                                        stop),
        cmocka_unit_test(a_wrong_agent_dir_is_said_at_once),
        cmocka_unit_test_setup_teardown(its_user_may_add_files_and_replace_none, start, stop),
        cmocka_unit_test_setup_teardown(what_is_no_plain_file_is_not_read, start, stop),
        cmocka_unit_test(ranks_over_nodes_are_started_by_srun),
        cmocka_unit_test_setup_teardown(the_first_rank_that_failed_is_named, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
