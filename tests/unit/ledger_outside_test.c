/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/vectors.h"

#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/ledger/verify.h"

/* A log in a folder, and golang.org/x/mod's verifier built beside it. */
struct outside {
    char dir[64];
    char *log, *program, *vkey, *older;
    bool built;
};

static int write_file(void *arg, const char *path, const void *p, size_t n, struct bt_err *err)
{
    BT_AUTO char *full = bt_printf("%s/%s", (const char *)arg, path);
    BT_AUTO char *folder = bt_strdup(full);
    FILE *f;

    *strrchr(folder, '/') = '\0';
    assert_int_equal(bt_mkdirs(folder, 0755, err), 0);
    f = fopen(full, "we"); /* nothing here has to survive a crash */
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    return fclose(f);
}

/* Runs argv with PATH and envp in silence; the exit status, 127 when there is no such program. */
static int execute(char *const argv[], char *const envp[])
{
    int status = 0, null = open("/dev/null", O_RDWR | O_CLOEXEC);
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(null, 1);
        dup2(null, 2);
        execvpe(argv[0], argv, envp);
        _exit(127);
    }
    close(null);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static bool build_verifier(struct outside *o)
{
    BT_AUTO char *source = vector_path("go-verify/main.go");
    BT_AUTO char *cache = bt_printf("GOCACHE=%s/cache", o->dir);
    BT_AUTO char *home = bt_printf("HOME=%s", o->dir);
    const char *path = getenv("PATH");
    BT_AUTO char *path_env = bt_printf("PATH=%s", path ? path : "/usr/bin:/bin");
    char go[] = "go", build[] = "build", out[] = "-o", module[] = "GO111MODULE=off",
         gopath[] = "GOPATH=/usr/share/gocode";
    char *argv[] = {go, build, out, o->program, source, NULL};
    char *envp[] = {cache, home, path_env, module, gopath, NULL};

    if (access("/usr/share/gocode/src/golang.org/x/mod/sumdb/tlog", R_OK) != 0)
        return false;
    return execute(argv, envp) == 0;
}

/* 66,000 entries reach level 2; sizes 300 and 66,000 are signed. */
static void make_log(struct outside *o)
{
    const struct log_sink sink = {.write = write_file, .arg = o->log};
    struct log *log = log_new(&sink);
    uint8_t seed[32] = {4}, pub[32];
    BT_BUF_AUTO struct bt_buf vkey = {0};
    struct note_key key;
    struct sign_key *sk;

    assert_int_equal(sign_key_from_seed(seed, &sk, NULL), 0);
    sign_key_public(sk, pub);
    assert_int_equal(note_key_make("t.example/ledger", NOTE_ED25519, pub, &key, NULL), 0);
    note_vkey_format(&key, &vkey);
    o->vkey = bt_buf_take(&vkey);
    for (int i = 0; i < 66000; i++) {
        BT_AUTO char *e = bt_printf("entry %d", i);

        assert_int_equal(log_append(log, e, strlen(e), NULL), 0);
        if (i + 1 == 300 || i + 1 == 66000) {
            BT_BUF_AUTO struct bt_buf note = {0};
            struct tree_head head;

            log_head(log, &head);
            assert_int_equal(log_flush(log, NULL), 0);
            assert_int_equal(checkpoint_sign(&head, &key, sk, &note, NULL), 0);
            assert_int_equal(
                write_file(o->log, i < 300 ? "checkpoint.300" : "checkpoint", note.p, note.n, NULL),
                0);
        }
    }
    log_free(log);
    sign_key_free(sk);
}

static int setup(void **state)
{
    struct outside *o = bt_new(struct outside);

    memcpy(o->dir, "/tmp/bt-outside-XXXXXX", sizeof "/tmp/bt-outside-XXXXXX");
    assert_non_null(mkdtemp(o->dir));
    o->log = bt_printf("%s/ledger", o->dir);
    o->program = bt_printf("%s/go-verify", o->dir);
    o->older = bt_printf("%s/checkpoint.300", o->log);
    o->built = build_verifier(o);
    if (o->built)
        make_log(o);
    *state = o;
    return 0;
}

static int teardown(void **state)
{
    struct outside *o = *state;

    assert_int_equal(bt_remove_tree(o->dir, NULL), 0);
    bt_free(o->log);
    bt_free(o->program);
    bt_free(o->vkey);
    bt_free(o->older);
    bt_free(o);
    return 0;
}

static int judge(struct outside *o)
{
    char *argv[] = {o->program, o->log, o->vkey, o->older, NULL};
    char *envp[] = {NULL};

    return execute(argv, envp);
}

static void flip(struct outside *o, const char *name, size_t at)
{
    BT_AUTO char *path = bt_printf("%s/%s", o->log, name);
    BT_BUF_AUTO struct bt_buf b = {0};

    assert_int_equal(bt_file_read(path, 1 << 24, &b, NULL), 0);
    assert_true(at < b.n);
    b.p[at] ^= 1;
    assert_int_equal(write_file(o->log, name, b.p, b.n, NULL), 0);
}

static void another_implementation_accepts_our_log_and_finds_each_change(void **state)
{
    static const char *const files[] = {
        "checkpoint", "checkpoint.300", "tile/entries/123",      "tile/0/256",
        "tile/1/000", "tile/2/000.p/1", "tile/entries/257.p/208"};
    struct outside *o = *state;

    if (!o->built) {
        print_message("# skipped: go or golang-golang-x-mod-dev is not installed\n");
        skip();
    }
    assert_int_equal(judge(o), 0);
    for (size_t i = 0; i < BT_ARRAY_LEN(files); i++) {
        flip(o, files[i], 30);
        if (judge(o) != 1)
            fail_msg("a change of %s was not found", files[i]);
        flip(o, files[i], 30);
    }
    assert_int_equal(judge(o), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            another_implementation_accepts_our_log_and_finds_each_change, setup, teardown),
    };

    return cmocka_run_group_tests_name("ledger_outside", tests, NULL, NULL);
}
