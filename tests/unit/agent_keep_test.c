/* Files that stay in their site's storage. SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/keep.h"
#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/crypto/hash.h"

enum { SIZE = 3 * 1024 * 1024 + 5 }; /* of several parts */

struct site {
    char dir[64];
    char *root, *path; /* <dir>/sha256, and where the file shall lie */
    char *bytes;
    uint8_t sha[32];
    int fd; /* the job's file */
    struct keep keep;
};

static void site_open(struct site *s)
{
    char hex[65];

    *s = (struct site){.dir = "/tmp/bt-keep-XXXXXX", .bytes = bt_alloc(SIZE, 1)};
    assert_non_null(mkdtemp(s->dir));
    s->root = bt_printf("%s/sha256", s->dir);
    assert_int_equal(mkdir(s->root, 0700), 0);
    bt_random(s->bytes, SIZE);
    bt_sha256(s->bytes, SIZE, s->sha);
    bt_hex(s->sha, 32, hex);
    s->path = bt_printf("%s/%.2s/%s", s->root, hex, hex);
    BT_AUTO char *file = bt_printf("%s/job", s->dir);
    assert_int_equal(bt_file_write(file, 0600, s->bytes, SIZE, NULL), 0);
    s->fd = open(file, O_RDONLY | O_CLOEXEC);
    s->keep = (struct keep){.dir = s->dir, .from = 100};
}

static void site_close(struct site *s)
{
    close(s->fd);
    assert_int_equal(bt_remove_tree(s->dir, NULL), 0);
    bt_free(s->root);
    bt_free(s->path);
    bt_free(s->bytes);
}

static int entries(const char *dir)
{
    DIR *d = opendir(dir);
    int n = -2; /* . and .. */

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void only_large_files_stay_and_only_where_there_is_a_folder(void **state)
{
    const struct keep none = {.from = 0}, empty = {.dir = "", .from = 0}, some = {"/x", 100};

    (void)state;
    assert_false(keep_wants(&none, 1000));
    assert_false(keep_wants(&empty, 1000));
    assert_false(keep_wants(&some, 99));
    assert_true(keep_wants(&some, 100));
}

static void a_file_lies_under_its_digest_for_everybody_to_read(void **state)
{
    BT_BUF_AUTO struct bt_buf got = {0};
    struct site s;
    struct stat st, again;

    (void)state;
    site_open(&s);
    assert_int_equal(keep_file(&s.keep, "1.1", s.sha, s.fd, SIZE, NULL), 0);
    assert_int_equal(bt_file_read(s.path, SIZE + 1, &got, NULL), 0);
    assert_int_equal(got.n, SIZE);
    assert_memory_equal(got.p, s.bytes, SIZE);
    assert_int_equal(stat(s.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
    assert_int_equal(entries(s.root), 1);
    /* a second time nothing is written */
    assert_int_equal(keep_file(&s.keep, "1.2", s.sha, s.fd, SIZE, NULL), 0);
    assert_int_equal(stat(s.path, &again), 0);
    assert_int_equal(st.st_ino, again.st_ino);
    site_close(&s);
}

/* Whoever copied it was killed: of the attempt's first try a part is left. */
static void a_copy_that_was_cut_is_begun_anew(void **state)
{
    BT_BUF_AUTO struct bt_buf got = {0};
    struct site s;

    (void)state;
    site_open(&s);
    BT_AUTO char *part = bt_printf("%s/.1.1", s.root);
    BT_AUTO char *longer = bt_alloc(SIZE + 100, 1);
    assert_int_equal(bt_file_write(part, 0600, longer, SIZE + 100, NULL), 0);
    assert_int_equal(keep_file(&s.keep, "1.1", s.sha, s.fd, SIZE, NULL), 0);
    assert_int_equal(bt_file_read(s.path, SIZE + 100, &got, NULL), 0);
    assert_int_equal(got.n, SIZE);
    assert_int_equal(entries(s.root), 1);
    site_close(&s);
}

static void other_bytes_than_were_hashed_do_not_stay(void **state)
{
    struct site s;
    uint8_t other[32] = {1};

    (void)state;
    site_open(&s);
    assert_int_equal(keep_file(&s.keep, "1.1", other, s.fd, SIZE, NULL), -BT_ERR_CONFLICT);
    assert_int_equal(keep_file(&s.keep, "1.1", s.sha, s.fd, SIZE - 1, NULL), -BT_ERR_CONFLICT);
    assert_int_equal(keep_file(&s.keep, "1.1", s.sha, s.fd, SIZE + 1, NULL), -BT_ERR_CONFLICT);
    assert_int_equal(entries(s.root), 0);
    /* what lies there in another length is replaced */
    BT_AUTO char *dir = bt_strndup(s.path, strlen(s.path) - 65);
    assert_int_equal(mkdir(dir, 0755), 0);
    assert_int_equal(bt_file_write(s.path, 0644, "cut", 3, NULL), 0);
    assert_int_equal(keep_file(&s.keep, "1.1", s.sha, s.fd, SIZE, NULL), 0);
    struct stat st;
    assert_int_equal(stat(s.path, &st), 0);
    assert_int_equal(st.st_size, SIZE);
    site_close(&s);
}

static void storage_that_is_not_mounted_is_found_out(void **state)
{
    struct site s;
    struct bt_err err = {0};

    (void)state;
    site_open(&s);
    assert_int_equal(rmdir(s.root), 0);
    assert_int_equal(keep_file(&s.keep, "1.1", s.sha, s.fd, SIZE, &err), -BT_ERR_NOT_FOUND);
    assert_non_null(strstr(err.next, "mounted"));
    assert_int_equal(access(s.root, F_OK), -1);
    site_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_large_files_stay_and_only_where_there_is_a_folder),
        cmocka_unit_test(a_file_lies_under_its_digest_for_everybody_to_read),
        cmocka_unit_test(a_copy_that_was_cut_is_begun_anew),
        cmocka_unit_test(other_bytes_than_were_hashed_do_not_stay),
        cmocka_unit_test(storage_that_is_not_mounted_is_found_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
