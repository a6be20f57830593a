/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <ftw.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/publish/publish_thread.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/ledger/verify.h"

/* A facility: a folder, a database in memory, a key. */
struct facility {
    char dir[64];
    char *served, *last_signed;
    struct sign_key *sk;
    struct publish_options o;
    uint64_t committed;
    uint64_t forged; /* entry with other bytes than usual; UINT64_MAX: none */
    struct tree_head saved;
    unsigned saves, fail_saves;
    unsigned steps, stop_at; /* stops at this step; 0: never */
    pthread_mutex_t lock;    /* over the next, which the thread test waits for */
    pthread_cond_t changed;
    struct tree_head published;
    int64_t covered;
    unsigned failures;
    bool final;
};

static void entry_of(const struct facility *f, uint64_t i, struct bt_buf *to)
{
    bt_buf_clear(to);
    bt_buf_printf(to, "{\"entry\":%llu%s}", (unsigned long long)i,
                  i == f->forged ? ",\"forged\":true" : "");
}

static int load(void *arg, struct publish_state *ret, struct bt_err *err)
{
    struct facility *f = arg;

    (void)err;
    *ret = (struct publish_state){.committed = f->committed, .saved = f->saved};
    return 0;
}

static int read_entries(void *arg, uint64_t from, struct publisher *p, struct bt_err *err)
{
    struct facility *f = arg;
    BT_BUF_AUTO struct bt_buf e = {0};
    int rc = 0;

    for (uint64_t i = from; i < f->committed && i < from + 100 && rc == 0; i++) {
        entry_of(f, i, &e);
        rc = publish_add(p, i, e.p, e.n, err);
    }
    return rc;
}

static int save(void *arg, const struct tree_frontier *frontier, const struct tree_hash *root,
                struct bt_err *err)
{
    struct facility *f = arg;
    struct tree_hash want;

    if (f->fail_saves && f->fail_saves--)
        return bt_fail(err, BT_ERR_DB_RETRY, "the database is away");
    tree_frontier_root(frontier, &want);
    assert_true(tree_hash_eq(&want, root));
    assert_true(frontier->size > f->saved.size); /* a checkpoint row is never taken back */
    f->saved = (struct tree_head){frontier->size, *root};
    f->saves++;
    return 0;
}

static void published(void *arg, const struct tree_head *head, const char *note, size_t n)
{
    struct facility *f = arg;
    struct checkpoint c;

    assert_int_equal(checkpoint_open(note, n, &f->o.key, &c, NULL), 0);
    pthread_mutex_lock(&f->lock);
    assert_true(head->size >= f->published.size);
    f->published = *head;
    pthread_cond_signal(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static void covers(void *arg, int64_t size)
{
    struct facility *f = arg;

    pthread_mutex_lock(&f->lock);
    f->covered = size;
    pthread_cond_signal(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static void failed(void *arg, const struct bt_err *err, bool final)
{
    struct facility *f = arg;

    assert_true(err->text[0]);
    pthread_mutex_lock(&f->lock);
    f->failures++;
    f->final = final;
    pthread_cond_signal(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static int step(void *arg, enum publish_step at)
{
    struct facility *f = arg;

    (void)at;
    return ++f->steps == f->stop_at;
}

static struct facility *facility_new(void)
{
    struct facility *f = bt_new(struct facility);
    uint8_t seed[32], pub[32];

    bt_copy(f->dir, sizeof f->dir, "/tmp/bt-publish-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->served = bt_printf("%s/ledger", f->dir);
    f->last_signed = bt_printf("%s/last-signed", f->dir);
    memset(seed, 5, sizeof seed);
    assert_int_equal(sign_key_from_seed(seed, &f->sk, NULL), 0);
    sign_key_public(f->sk, pub);
    f->forged = UINT64_MAX;
    f->o = (struct publish_options){
        .dir = f->served,
        .last_signed = f->last_signed,
        .sk = f->sk,
        .calls = {.load = load,
                  .read = read_entries,
                  .save = save,
                  .published = published,
                  .covers = covers,
                  .failed = failed,
                  .step = step,
                  .arg = f},
    };
    assert_int_equal(note_key_make("t.example/ledger", NOTE_ED25519, pub, &f->o.key, NULL), 0);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    return f;
}

static void facility_free(struct facility *f)
{
    assert_int_equal(bt_remove_tree(f->dir, NULL), 0);
    bt_free(f->served);
    bt_free(f->last_signed);
    sign_key_free(f->sk);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->changed);
    bt_free(f);
}

static int setup(void **state)
{
    *state = facility_new();
    return 0;
}

static int teardown(void **state)
{
    facility_free(*state);
    return 0;
}

/* Opens, publishes everything committed, closes. */
static int run(struct facility *f, struct bt_err *err)
{
    struct publisher *p;
    int rc = publish_open(&f->o, &p, err);

    if (rc < 0)
        return rc;
    rc = publish_catch_up(p, f->committed, err);
    publish_close(p);
    return rc;
}

static void grow(struct facility *f, uint64_t to)
{
    struct bt_err err;

    f->committed = to;
    if (run(f, &err) < 0)
        fail_msg("%s", err.text);
}

static uint64_t size_outside(struct facility *f)
{
    const struct log_source from = log_dir_source(f->served);
    struct verify_report report;
    struct bt_err err;

    if (verify_log(&from, &f->o.key, NULL, &report, &err) < 0)
        fail_msg("%s", err.text);
    return report.entries;
}

static void check_outside(struct facility *f, uint64_t size)
{
    assert_int_equal(size_outside(f), size);
}

static void what_is_committed_verifies_from_outside(void **state)
{
    static const uint64_t sizes[] = {0, 1, 2, 255, 256, 257, 600};
    struct facility *f = *state;

    for (size_t i = 0; i < BT_ARRAY_LEN(sizes); i++) {
        grow(f, sizes[i]);
        check_outside(f, sizes[i]);
        assert_int_equal(f->saved.size, sizes[i]);
        assert_int_equal(f->published.size, sizes[i]);
    }
    grow(f, 600); /* nothing new: nothing is saved again */
    assert_true(f->saves <= 12);
}

/* ---- crashes ---- */

static struct bt_buf *listing;

static int list_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    BT_BUF_AUTO struct bt_buf b = {0};

    (void)st;
    (void)ftw;
    if (type != FTW_F)
        return 0;
    assert_int_equal(bt_file_read(path, 1 << 20, &b, NULL), 0);
    bt_buf_printf(listing, "%zu ", b.n);
    bt_buf_add(listing, b.p, b.n);
    return 0;
}

/* Every file that a verifier asks for, by name and bytes, and the guard's file. */
static void list_files(struct facility *f, struct bt_buf *to)
{
    static const char *const names[] = {"ledger/checkpoint",
                                        "ledger/tile/0/000",
                                        "ledger/tile/0/001",
                                        "ledger/tile/0/002.p/38",
                                        "ledger/tile/1/000.p/2",
                                        "ledger/tile/entries/000",
                                        "ledger/tile/entries/001",
                                        "ledger/tile/entries/002.p/38",
                                        "last-signed"};

    listing = to;
    for (size_t i = 0; i < BT_ARRAY_LEN(names); i++) {
        BT_AUTO char *path = bt_printf("%s/%s", f->dir, names[i]);

        bt_buf_printf(to, "\n%s ", names[i]);
        assert_int_equal(nftw(path, list_one, 4, FTW_PHYS), 0);
    }
}

static void a_crash_at_any_step_signs_the_same_tree_again(void **state)
{
    BT_BUF_AUTO struct bt_buf want = {0};
    unsigned stops = 0;

    (void)state;
    for (unsigned at = 0;; at++) { /* 0: not at all */
        struct facility *f = facility_new();
        BT_BUF_AUTO struct bt_buf got = {0};
        struct tree_head seen;
        struct bt_err err;
        int rc;

        grow(f, 250);
        seen = f->published;
        f->steps = 0;
        f->stop_at = at;
        f->committed = 550;
        rc = run(f, &err);
        if (at && rc == 0) { /* behind the last step */
            facility_free(f);
            break;
        }
        assert_int_equal(rc, at ? -BT_ERR_INTERNAL : 0);
        stops += at > 0;
        f->stop_at = 0;
        assert_true(size_outside(f) >= seen.size); /* what is served stays whole in between */
        grow(f, 550);
        check_outside(f, 550);
        list_files(f, at ? &got : &want);
        if (at) {
            assert_int_equal(got.n, want.n);
            assert_memory_equal(got.p, want.p, got.n);
        }
        facility_free(f);
    }
    assert_true(stops >= 20);
}

/* ---- the guard ---- */

static void a_restored_database_is_refused(void **state)
{
    struct facility *f = *state;
    struct tree_head old;
    struct bt_err err;

    grow(f, 100);
    old = f->saved;
    grow(f, 300);
    f->saved = old;
    f->committed = 120;
    assert_int_equal(run(f, &err), -BT_ERR_STALE);
    assert_non_null(strstr(err.text, "rolled back"));
    assert_non_null(strstr(err.next, "newer copy"));
    assert_true(publish_is_final(-err.code));
    check_outside(f, 300); /* what was signed stays served */
}

static void a_restored_database_is_refused_by_the_served_checkpoint_alone(void **state)
{
    struct facility *f = *state;
    struct bt_err err;

    grow(f, 300);
    assert_int_equal(remove(f->last_signed), 0);
    f->saved = (struct tree_head){.size = 0};
    f->committed = 120;
    assert_int_equal(run(f, &err), -BT_ERR_STALE);
}

struct put {
    struct facility *f;
    uint64_t next;
};

static int put_back(void *arg, uint64_t index, const void *p, size_t n, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf want = {0};
    struct put *put = arg;

    if (index == 590)
        return bt_fail(err, BT_ERR_DISK_FULL, "no room");
    entry_of(put->f, index, &want);
    assert_int_equal(index, put->next++);
    assert_int_equal(n, want.n);
    assert_memory_equal(p, want.p, n);
    return 0;
}

static void a_restored_database_gets_back_what_was_signed(void **state)
{
    struct facility *f = *state;
    struct put put = {.f = f, .next = 120};
    const struct verify_visitor visitor = {put_back, &put};
    struct tree_head old;
    struct bt_err err;
    uint64_t n;

    grow(f, 100);
    old = f->saved;
    grow(f, 580);
    f->saved = old;
    f->committed = 120;
    assert_int_equal(publish_recover(&f->o, &visitor, &n, &err), 0);
    assert_int_equal(n, 460);
    assert_int_equal(put.next, 580);
    grow(f, 580); /* with those it goes on */
    check_outside(f, 580);
    assert_int_equal(publish_recover(&f->o, &visitor, &n, &err), 0);
    assert_int_equal(n, 0);
    grow(f, 600);
    f->committed = put.next = 585;
    assert_int_equal(publish_recover(&f->o, &visitor, &n, &err), -BT_ERR_DISK_FULL);
}

static void files_that_prove_nothing_give_nothing_back(void **state)
{
    struct facility *f = *state;
    BT_AUTO char *path = bt_printf("%s/tile/entries/000", f->served);
    BT_BUF_AUTO struct bt_buf b = {0};
    struct put put = {.f = f, .next = 10};
    const struct verify_visitor visitor = {put_back, &put};
    struct bt_err err;
    uint64_t n;

    grow(f, 300);
    f->committed = 10;
    assert_int_equal(bt_file_read(path, 1 << 20, &b, NULL), 0);
    b.p[b.n - 5] ^= 1;
    assert_int_equal(bt_file_write(path, 0644, b.p, b.n, NULL), 0);
    assert_int_equal(publish_recover(&f->o, &visitor, &n, &err), -BT_ERR_CORRUPT);
    assert_int_equal(put.next, 10);
}

static void a_lost_guard_file_is_refused(void **state)
{
    struct facility *f = *state;
    struct bt_err err;

    grow(f, 10);
    assert_int_equal(remove(f->last_signed), 0);
    assert_int_equal(run(f, &err), -BT_ERR_STALE);
}

static void other_entries_than_those_signed_are_refused(void **state)
{
    struct facility *f = *state;
    struct tree_head old;
    struct bt_err err;

    grow(f, 100);
    old = f->saved;
    grow(f, 300);
    f->saved = old; /* restored, and grown again with another history */
    f->forged = 250;
    f->committed = 400;
    assert_int_equal(run(f, &err), -BT_ERR_LEDGER);
    assert_true(publish_is_final(-err.code));
    assert_int_equal(f->saved.size, 100);
    f->forged = UINT64_MAX; /* with the same history it may go on */
    grow(f, 400);
    check_outside(f, 400);
}

static void a_checkpoint_row_of_another_tree_is_refused(void **state)
{
    struct facility *f = *state;
    struct bt_err err;

    grow(f, 300);
    f->saved.root.b[0] ^= 1;
    assert_int_equal(run(f, &err), -BT_ERR_LEDGER);
}

static void a_damaged_or_foreign_checkpoint_is_refused(void **state)
{
    struct facility *f = *state;
    BT_AUTO char *path = bt_printf("%s/checkpoint", f->served);
    struct bt_err err;

    grow(f, 3);
    assert_int_equal(bt_file_write(path, 0644, "junk", 4, NULL), 0);
    assert_int_equal(run(f, &err), -BT_ERR_LEDGER);
    assert_int_equal(bt_file_write(f->last_signed, 0600, "junk", 4, NULL), 0);
    assert_int_equal(run(f, &err), -BT_ERR_LEDGER);
}

/* ---- derived files ---- */

static void lost_or_damaged_tiles_are_written_again(void **state)
{
    static const char *const names[] = {"tile/1/000.p/2", "tile/0/002.p/38",
                                        "tile/entries/002.p/38", "tile"};
    struct facility *f = *state;

    grow(f, 550);
    for (size_t i = 0; i < BT_ARRAY_LEN(names); i++) {
        BT_AUTO char *path = bt_printf("%s/%s", f->served, names[i]);

        assert_int_equal(bt_remove_tree(path, NULL), 0);
        grow(f, 550);
        check_outside(f, 550);
        if (i < 3) {
            assert_int_equal(bt_file_write(path, 0644, "junk", 4, NULL), 0);
            grow(f, 550);
            check_outside(f, 550);
        }
    }
}

static void partials_stay_until_the_full_tile_is_published(void **state)
{
    struct facility *f = *state;
    BT_AUTO char *kept = bt_printf("%s/tile/0/000.p/7", f->served);
    BT_AUTO char *entries = bt_printf("%s/tile/entries/000.p/7", f->served);
    BT_BUF_AUTO struct bt_buf b = {0};

    grow(f, 7);
    grow(f, 8);
    grow(f, 255);
    assert_int_equal(bt_file_read(kept, 1 << 16, &b, NULL), 0);
    assert_int_equal(b.n, 7 * 32);
    assert_int_equal(bt_file_read(entries, 1 << 16, &b, NULL), 0);
    grow(f, 256);
    assert_int_equal(bt_file_read(kept, 1 << 16, &b, NULL), -BT_ERR_NOT_FOUND);
    assert_int_equal(bt_file_read(entries, 1 << 16, &b, NULL), -BT_ERR_NOT_FOUND);
}

static void entries_are_taken_in_order_only(void **state)
{
    struct facility *f = *state;
    struct publisher *p;
    struct bt_err err;

    assert_int_equal(publish_open(&f->o, &p, &err), 0);
    assert_int_equal(publish_add(p, 0, "a", 1, &err), 0);
    assert_int_equal(publish_add(p, 0, "a", 1, &err), -BT_ERR_INTERNAL);
    assert_int_equal(publish_add(p, 2, "c", 1, &err), -BT_ERR_INTERNAL);
    assert_int_equal(publish_size(p), 1);
    publish_close(p);
}

/* ---- the thread ---- */

static void wait_published(struct facility *f, uint64_t size)
{
    pthread_mutex_lock(&f->lock);
    while (f->published.size < size)
        pthread_cond_wait(&f->changed, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

static void the_thread_publishes_what_it_is_woken_for(void **state)
{
    struct facility *f = *state;
    struct publish_thread *t;

    f->committed = 300; /* before it starts: it finds these by itself */
    assert_int_equal(publish_thread_start(&f->o, 0, &t, NULL), 0);
    wait_published(f, 300);
    for (uint64_t size = 301; size < 320; size++) {
        f->committed = size;
        publish_thread_wake(t, size);
        wait_published(f, size);
    }
    f->committed = 400;
    publish_thread_wake(t, 400);
    publish_thread_stop(t); /* publishes what it was woken for */
    assert_int_equal(f->published.size, 400);
    assert_int_equal(f->covered, 400);
    assert_int_equal(f->failures, 0);
    check_outside(f, 400);
}

/* With an hour between two of them. */
static void the_first_three_checkpoints_come_at_once(void **state)
{
    struct facility *f = *state;
    struct publish_thread *t;

    f->committed = 300;
    assert_int_equal(publish_thread_start(&f->o, 3600 * BT_US_PER_S, &t, NULL), 0);
    for (uint64_t size = 300; size < 303; size++) {
        f->committed = size;
        publish_thread_wake(t, size);
        wait_published(f, size);
    }
    f->committed = 303;
    publish_thread_wake(t, 303);
    publish_thread_stop(t);
    check_outside(f, 303);
}

static void the_thread_goes_on_after_the_database_was_away(void **state)
{
    struct facility *f = *state;
    struct publish_thread *t;

    f->committed = 5;
    f->fail_saves = 1;
    assert_int_equal(publish_thread_start(&f->o, 0, &t, NULL), 0);
    wait_published(f, 5);
    publish_thread_stop(t);
    assert_int_equal(f->failures, 1);
    assert_false(f->final);
    check_outside(f, 5);
}

static void the_thread_stops_signing_when_the_guard_refuses(void **state)
{
    struct facility *f = *state;
    struct publish_thread *t;

    grow(f, 50);
    f->committed = 20;
    f->saved = (struct tree_head){.size = 0};
    f->covered = 50;
    assert_int_equal(publish_thread_start(&f->o, 0, &t, NULL), 0);
    pthread_mutex_lock(&f->lock);
    while (!f->failures)
        pthread_cond_wait(&f->changed, &f->lock);
    pthread_mutex_unlock(&f->lock);
    publish_thread_wake(t, 30);
    publish_thread_stop(t);
    assert_int_equal(f->failures, 1);
    assert_true(f->final);
    assert_int_equal(f->covered, 0); /* nothing of what the database holds will be signed */
    check_outside(f, 50);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_is_committed_verifies_from_outside),
        cmocka_unit_test(a_crash_at_any_step_signs_the_same_tree_again),
        T(a_restored_database_is_refused),
        T(a_restored_database_is_refused_by_the_served_checkpoint_alone),
        T(a_restored_database_gets_back_what_was_signed),
        T(files_that_prove_nothing_give_nothing_back),
        T(a_lost_guard_file_is_refused),
        T(other_entries_than_those_signed_are_refused),
        T(a_checkpoint_row_of_another_tree_is_refused),
        T(a_damaged_or_foreign_checkpoint_is_refused),
        T(lost_or_damaged_tiles_are_written_again),
        T(partials_stay_until_the_full_tile_is_published),
        T(entries_are_taken_in_order_only),
        T(the_thread_publishes_what_it_is_woken_for),
        T(the_first_three_checkpoints_come_at_once),
        T(the_thread_goes_on_after_the_database_was_away),
        T(the_thread_stops_signing_when_the_guard_refuses),
    };

    return cmocka_run_group_tests_name("publish_publish", tests, NULL, NULL);
}
