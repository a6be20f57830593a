/* The agent's uploads against a daemon in memory: what a 409 means, and when it is the end.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/api.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/crypto/hash.h"
#include "tests/unit/check.h"

/* Parts are of 4 MiB: three of them. */
enum { TOTAL = 2 * API_PART_BYTES + 1000 };

struct store {
    struct link link; /* first: the link is the store */
    struct bt_buf part;
    bool kept;
    uint8_t want[32];
    int puts, heads;
    /* what happens before the nth PUT, counted from 1; 0: never */
    int other_sends; /* another agent sends the part that we are about to send */
    int forgets;     /* what has arrived is lost */
    int busy;        /* another upload has the lock */
    const uint8_t *bytes;
};

static int64_t number_in(const char *path, const char *key)
{
    return strtoll(strstr(path, key) + strlen(key), NULL, 10);
}

static void say(struct link_answer *a, int status, const char *code, int64_t have)
{
    a->status = status;
    bt_buf_printf(&a->body, "{\"code\":\"%s\",\"detail\":\"-\",\"have\":%lld}", code,
                  (long long)have);
}

/* As daemon/http/uploads.c does it. */
static void put(struct store *s, const struct link_request *r, struct link_answer *a)
{
    int64_t offset = number_in(r->path, "offset="), total = number_in(r->path, "total=");
    uint8_t have[32];

    s->puts++;
    if (s->puts == s->busy) {
        say(a, 503, "BUSY", (int64_t)s->part.n);
        return;
    }
    if (s->puts == s->other_sends)
        bt_buf_add(&s->part, s->bytes + s->part.n, r->n);
    if (s->puts == s->forgets)
        bt_buf_clear(&s->part);
    if (s->kept) {
        say(a, 201, "", total);
    } else if (offset != (int64_t)s->part.n) {
        say(a, 409, "CONFLICT", (int64_t)s->part.n);
    } else {
        bt_buf_add(&s->part, r->body, r->n);
        if ((int64_t)s->part.n < total) {
            say(a, 200, "", (int64_t)s->part.n);
            return;
        }
        bt_sha256(bt_buf_text(&s->part), s->part.n, have);
        s->kept = !memcmp(have, s->want, 32);
        if (!s->kept)
            bt_buf_clear(&s->part);
        say(a, s->kept ? 201 : 409, s->kept ? "" : "CONFLICT", (int64_t)s->part.n);
    }
}

static int call(struct link *l, const struct link_request *r, struct link_answer *a,
                struct bt_err *err)
{
    struct store *s = (struct store *)l;

    (void)err;
    if (bt_streq(r->method, "HEAD")) {
        s->heads++;
        a->status = 200;
        a->have = (int64_t)s->part.n;
    } else {
        put(s, r, a);
    }
    return 0;
}

struct bench {
    uint8_t *bytes;
    int fd;
    struct store store;
};

static int start(void **state)
{
    struct bench *b = bt_new(struct bench);
    char path[] = "/tmp/bt-api-XXXXXX";

    b->bytes = bt_alloc(1, TOTAL);
    for (size_t i = 0; i < TOTAL; i++)
        b->bytes[i] = (uint8_t)(i * 2654435761U >> 13);
    b->fd = mkostemp(path, O_CLOEXEC);
    assert_true(b->fd >= 0 && unlink(path) == 0);
    assert_int_equal(bt_write_all(b->fd, b->bytes, TOTAL, NULL), 0);
    b->store.link.call = call;
    b->store.bytes = b->bytes;
    bt_sha256(b->bytes, TOTAL, b->store.want);
    *state = b;
    return 0;
}

static int stop(void **state)
{
    struct bench *b = *state;

    close(b->fd);
    bt_buf_done(&b->store.part);
    bt_free(b->bytes);
    bt_free(b);
    return 0;
}

static int upload(struct bench *b)
{
    return api_blob(&b->store.link, b->store.want, b->fd, TOTAL, NULL);
}

static void a_blob_goes_up_in_parts_and_costs_one_request_when_it_is_there(void **state)
{
    struct bench *b = *state;

    assert_int_equal(upload(b), 0);
    assert_true(b->store.kept);
    assert_int_equal(b->store.puts, 3);
    assert_int_equal(upload(b), 0);
    assert_int_equal(b->store.puts, 4);
}

static void an_upload_goes_on_from_what_another_one_sent(void **state)
{
    struct bench *b = *state;

    for (int part = 1; part <= 3; part++) {
        b->store.kept = false;
        b->store.puts = 0;
        b->store.other_sends = part;
        bt_buf_clear(&b->store.part);
        assert_int_equal(upload(b), 0);
        assert_true(b->store.kept);
    }
}

static void an_upload_begins_again_when_the_daemon_lost_its_part(void **state)
{
    struct bench *b = *state;

    b->store.forgets = 3;
    assert_int_equal(upload(b), 0);
    assert_true(b->store.kept);
}

static void all_bytes_are_looked_at_before_a_blob_counts_as_sent(void **state)
{
    struct bench *b = *state;

    /* A daemon that was killed between the last byte and its look at the whole. */
    bt_buf_add(&b->store.part, b->bytes, TOTAL);
    assert_int_equal(upload(b), 0);
    assert_true(b->store.kept);
}

static void bytes_that_others_spoilt_are_sent_again(void **state)
{
    struct bench *b = *state;

    bt_buf_add(&b->store.part, b->bytes + 1, API_PART_BYTES);
    assert_int_equal(upload(b), 0);
    assert_true(b->store.kept);
}

static void a_file_that_changed_is_lost(void **state)
{
    struct bench *b = *state;

    assert_int_equal(pwrite(b->fd, "changed", 7, API_PART_BYTES), 7);
    assert_int_equal(upload(b), -BT_ERR_CONFLICT);
    assert_false(b->store.kept);
    assert_int_equal(ftruncate(b->fd, TOTAL - 1), 0);
    assert_int_equal(upload(b), -BT_ERR_CONFLICT);
}

static void a_blob_under_way_elsewhere_is_tried_later(void **state)
{
    struct bench *b = *state;

    b->store.busy = 2;
    int rc = upload(b);
    assert_int_equal(rc, -BT_ERR_BUSY);
    assert_false(api_is_final(rc));
    assert_int_equal(upload(b), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        T(a_blob_goes_up_in_parts_and_costs_one_request_when_it_is_there),
        T(an_upload_goes_on_from_what_another_one_sent),
        T(an_upload_begins_again_when_the_daemon_lost_its_part),
        T(all_bytes_are_looked_at_before_a_blob_counts_as_sent),
        T(bytes_that_others_spoilt_are_sent_again),
        T(a_file_that_changed_is_lost),
        T(a_blob_under_way_elsewhere_is_tried_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
