/* engine_test.c - events posted by several threads: each is committed once, in order, and answered
 * after that, whichever thread does it. SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "daemon/engine/own.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"
#include "policy/load.h"
#include "tests/sql/db.h"

enum { REPLIES = 4096 };

/* What came out of the engine. */
struct seen {
    pthread_mutex_t lock;
    pthread_cond_t came;
    uint64_t seq;      /* of the last batch with rows */
    int http[REPLIES]; /* by reply_to */
    int n_replies, n_twice, n_gaps;
    pthread_t by; /* who gave the last reply out */
};

struct stage {
    struct engine *engine;
    struct policy *policy;
    struct seen seen;
    atomic_int next; /* reply_to */
    atomic_int left; /* commits to break */
    enum store_point point;
    const char *what;
};

static const char *strike(void *arg, enum store_point point, enum row_kind kind)
{
    struct stage *s = arg;

    if (atomic_load(&s->left) <= 0) /* what to do is written before it rises */
        return NULL;
    if (point != s->point || (point == STORE_AT_MESSAGE && kind != ROW_KIND_nation) ||
        atomic_fetch_sub(&s->left, 1) <= 0)
        return NULL;
    return s->what;
}

static void committed(void *arg, const struct batch *b)
{
    struct stage *s = arg;
    struct seen *seen = &s->seen;

    pthread_mutex_lock(&seen->lock);
    if (b->rows.n) {
        seen->n_gaps += seen->seq && b->seq != seen->seq + 1;
        seen->seq = b->seq;
    }
    for (int i = 0; i < b->n_replies; i++) {
        seen->n_twice += seen->http[b->replies[i].to] != 0;
        seen->http[b->replies[i].to] = b->replies[i].http;
        seen->n_replies++;
        seen->by = pthread_self();
    }
    pthread_cond_broadcast(&seen->came);
    pthread_mutex_unlock(&seen->lock);
}

static void fatal(void *arg, const struct bt_err *err)
{
    (void)arg;
    fail_msg("%s", err->text);
}

static void stage_start(struct stage *s)
{
    BT_AUTO char *dir = bt_printf("%s/policy", getenv("BT_SOURCE_ROOT"));
    struct engine_settings set = {
        .store = {.conninfo = embedded_conninfo(db_server(), EMBEDDED_OWNER),
                  .hooks = {.at = strike, .arg = s}},
        .core = core_defaults("test"),
        .committed = committed,
        .fatal = fatal,
        .arg = s};
    struct bt_err err = {0};

    *s = (struct stage){.what = ""};
    pthread_mutex_init(&s->seen.lock, NULL);
    pthread_cond_init(&s->seen.came, NULL);
    db_fresh();
    if (policy_load(dir, bt_sha256, &s->policy, &err) < 0)
        fail_msg("%s", err.text);
    set.policy = s->policy;
    if (engine_start(&set, &s->engine, &err) < 0)
        fail_msg("%s", err.text);
}

static void stage_stop(struct stage *s)
{
    engine_stop(s->engine);
    policy_free(s->policy);
    assert_int_equal(s->seen.n_twice, 0);
    assert_int_equal(s->seen.n_gaps, 0);
    pthread_mutex_destroy(&s->seen.lock);
    pthread_cond_destroy(&s->seen.came);
}

/* A nation is made, or the rights of one are changed; reply 0: nobody waits. */
static struct event *make_nation(const char *name, int reply)
{
    struct event *ev = event_new(EV_ADMIN);

    ev->who.kind = WHO_INSIDE;
    ev->reply_to = (uint64_t)reply;
    ev->u.admin.op = ADMIN_NATION;
    bt_copy(ev->u.admin.nation, sizeof ev->u.admin.nation, name);
    bt_copy(ev->u.admin.name, sizeof ev->u.admin.name, name);
    return ev;
}

static struct event *make_institution(const char *nation, int reply)
{
    struct event *ev = make_nation(nation, reply);

    ev->u.admin.op = ADMIN_INSTITUTION;
    bt_copy(ev->u.admin.institution, sizeof ev->u.admin.institution, "lab");
    ev->u.admin.tier = 1;
    ev->u.admin.until_us = INT64_MAX;
    return ev;
}

static int next_reply(struct stage *s)
{
    return atomic_fetch_add(&s->next, 1) + 1;
}

static int await_reply(struct stage *s, int to)
{
    int http;

    pthread_mutex_lock(&s->seen.lock);
    while (!s->seen.http[to])
        pthread_cond_wait(&s->seen.came, &s->seen.lock);
    http = s->seen.http[to];
    pthread_mutex_unlock(&s->seen.lock);
    return http;
}

static bool is_answered(struct stage *s, int to)
{
    bool yes;

    pthread_mutex_lock(&s->seen.lock);
    yes = s->seen.http[to] != 0;
    pthread_mutex_unlock(&s->seen.lock);
    return yes;
}

/* Turns the engine as a listener does until that answer is there. */
static int turn_until(struct stage *s, const void *self, int to)
{
    for (;;) {
        struct pollfd p = {.fd = engine_turn(s->engine, self), .events = POLLIN};

        if (p.fd < 0 || is_answered(s, to)) /* then others are at it, if any is */
            return await_reply(s, to);
        assert_int_equal(poll(&p, 1, 10000), 1);
    }
}

/* An answer is seen before the thread that gives it out is done with it: what is posted at once
 * then is the core thread's, and so may be everything after it. */
static void await_rest(struct stage *s)
{
    struct engine *e = s->engine;
    int64_t until = bt_mono_us() + 60 * BT_US_PER_S;
    bool rests = false;

    while (!rests) {
        assert_true(bt_mono_us() < until);
        (void)sched_yield();
        pthread_mutex_lock(&e->lock);
        rests = e->flight == FLIGHT_NONE && !e->queue && !e->filling.n && !e->stepping && !e->out &&
                !e->giving;
        pthread_mutex_unlock(&e->lock);
    }
}

static int64_t nations(void)
{
    PGconn *conn = db_connect();
    int64_t n;

    assert_int_equal(
        bt_parse_i64(db_ask(conn, "SELECT count(*) FROM nation"), "n", 0, 99999, &n, NULL), 0);
    PQfinish(conn);
    return n;
}

/* Posts by a turn and waits; whether this thread itself did it. */
static bool turn_one(struct stage *s, const char *name)
{
    int to = next_reply(s);
    bool mine;

    await_rest(s);
    assert_int_equal(engine_post_soon(s->engine, make_nation(name, to), NULL), 0);
    assert_int_equal(turn_until(s, s, to), 200);
    pthread_mutex_lock(&s->seen.lock);
    mine = pthread_equal(s->seen.by, pthread_self());
    pthread_mutex_unlock(&s->seen.lock);
    return mine;
}

static void where_the_engine_rests_the_caller_does_it_itself(void **state)
{
    struct stage s;
    char name[16];
    int mine = 0;

    (void)state;
    stage_start(&s);
    assert_int_equal(engine_turn(s.engine, &s), -1); /* nothing was posted */
    for (int i = 0; i < 40; i++) {
        (void)snprintf(name, sizeof name, "n%d", i);
        mine += turn_one(&s, name);
    }
    assert_true(mine > 20); /* the core thread ticks and plans now and then */
    assert_int_equal(nations(), 40);
    stage_stop(&s);
}

static void a_list_is_stepped_in_order_and_durable_with_its_last_answer(void **state)
{
    struct event *list[3];
    struct stage s;
    int to;

    (void)state;
    stage_start(&s);
    for (int way = 0; way < 2; way++) {
        const char *nation = way ? "fr" : "cz";

        to = next_reply(&s);
        list[0] = make_nation(nation, 0);
        list[1] = make_institution("nowhere", 0); /* refused, and nobody hears it */
        list[2] = make_institution(nation, to);
        list[0]->next = list[1];
        list[1]->next = list[2];
        assert_int_equal(way ? engine_post(s.engine, list[0], NULL)
                             : engine_post_soon(s.engine, list[0], NULL),
                         0);
        assert_int_equal(way ? await_reply(&s, to) : turn_until(&s, &s, to), 200);
        assert_int_equal(nations(), way + 1);
    }
    stage_stop(&s);
}

struct poster {
    struct stage *s;
    pthread_t thread;
    int number;
    bool turns;
};

enum { EACH = 150 };

static void *post_many(void *arg)
{
    struct poster *p = arg;
    int to = 0;

    for (int i = 0; i < EACH; i++) {
        char name[32];
        struct event *ev;
        int rc;

        (void)snprintf(name, sizeof name, "p%d-%d", p->number, i);
        to = next_reply(p->s);
        ev = make_nation(name, to);
        rc = p->turns ? engine_post_soon(p->s->engine, ev, NULL)
                      : engine_post(p->s->engine, ev, NULL);
        if (rc < 0)
            abort();
        if (p->turns)
            (void)engine_turn(p->s->engine, p);
        if (i % 8 == 7 || i + 1 == EACH) /* else the queue only grows */
            (void)(p->turns ? turn_until(p->s, p, to) : await_reply(p->s, to));
    }
    return NULL;
}

static void every_event_of_many_threads_is_answered_once(void **state)
{
    struct poster posters[4];
    struct stage s;

    (void)state;
    stage_start(&s);
    for (int i = 0; i < 4; i++) {
        posters[i] = (struct poster){.s = &s, .number = i, .turns = i % 2};
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(posters[i].thread, NULL);
    assert_int_equal(nations(), 4 * EACH);
    stage_stop(&s);
    assert_int_equal(s.seen.n_replies, 4 * EACH);
    for (int to = 1; to <= 4 * EACH; to++)
        assert_int_equal(s.seen.http[to], 200);
}

#define RAISE "DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '23514'; END $$"

static void what_a_turn_cannot_settle_is_settled_once(void **state)
{
    static const struct {
        enum store_point point;
        const char *what;
        int times, http;
    } cases[] = {
        {STORE_AT_BEGIN, "", 1, 200},      /* cut: nothing was sent */
        {STORE_AT_FLUSH, "", 1, 200},      /* sent, and no answer read */
        {STORE_AT_ANSWER, "", 1, 200},     /* it is committed, and nobody was told */
        {STORE_AT_MESSAGE, RAISE, 1, 200}, /* refused once: loaded anew, stepped again */
        {STORE_AT_MESSAGE, RAISE, 2, 500}, /* and refused again */
    };
    struct stage s;
    int there = 0;

    (void)state;
    stage_start(&s);
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        char name[16];
        int to = next_reply(&s);

        s.point = cases[i].point;
        s.what = cases[i].what;
        (void)snprintf(name, sizeof name, "n%zu", i);
        (void)turn_one(&s, i % 2 ? "before" : "after"); /* made once, then as it is */
        await_rest(&s);
        atomic_store(&s.left, cases[i].times);
        assert_int_equal(engine_post_soon(s.engine, make_nation(name, to), NULL), 0);
        assert_int_equal(turn_until(&s, &s, to), cases[i].http);
        there += cases[i].http == 200;
    }
    assert_int_equal(nations(), there + 2);
    stage_stop(&s);
}

/* Who has sent a batch and does not look for its answer is relieved of it, also as the engine ends.
 */
static void an_answer_that_nobody_looks_for_comes_all_the_same(void **state)
{
    struct stage s;
    int seen = 0;

    (void)state;
    stage_start(&s);
    for (int i = 0; i < 8; i++) {
        char name[16];
        int to = next_reply(&s);

        (void)snprintf(name, sizeof name, "n%d", i);
        if (i % 2 == 0)
            await_rest(&s);
        assert_int_equal(engine_post_soon(s.engine, make_nation(name, to), NULL), 0);
        seen += engine_turn(s.engine, &s) >= 0;
        if (i % 2)
            assert_int_equal(await_reply(&s, to), 200);
    }
    assert_true(seen > 0);
    assert_int_equal(engine_post_soon(s.engine, make_nation("last", next_reply(&s)), NULL), 0);
    (void)engine_turn(s.engine, &s);
    stage_stop(&s);
    assert_int_equal(s.seen.n_replies, 9);
    assert_int_equal(nations(), 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_the_engine_rests_the_caller_does_it_itself),
        cmocka_unit_test(a_list_is_stepped_in_order_and_durable_with_its_last_answer),
        cmocka_unit_test(every_event_of_many_threads_is_answered_once),
        cmocka_unit_test(what_a_turn_cannot_settle_is_settled_once),
        cmocka_unit_test(an_answer_that_nobody_looks_for_comes_all_the_same),
    };

    return cmocka_run_group_tests_name("engine", tests, db_start, db_stop);
}
