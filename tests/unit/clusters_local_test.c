/* What an agent reads from the board of wants.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "daemon/clusters/local.h"
#include "daemon/clusters/papers.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/json/json.h"
#include "tests/unit/check.h"

enum { START = 1000 };

static struct want want_of(uint8_t job, int attempt, enum want_action action, const char *node)
{
    struct want w = {.attempt = attempt, .action = action, .number = job, .walltime_s = 60};

    memset(w.job.b, job, sizeof w.job.b);
    bt_copy(w.node, sizeof w.node, node);
    bt_copy(w.kind, sizeof w.kind, "script");
    return w;
}

static void apply(struct wants_board *b, uint8_t job, int attempt, enum want_action action,
                  const char *node)
{
    struct place place = {.node = 1, .mask = 0xf0};
    struct want w = want_of(job, attempt, action, node);

    if (action == WANT_RUN) {
        w.places = &place;
        w.n_places = 1;
    }
    board_apply(b, &w, 1);
}

/* "1.1 run f0, 2.1 stop 0" of a node, and its seq. */
static int64_t state_of(struct wants_board *b, const char *node, char *out, size_t size)
{
    BT_BUF_AUTO struct bt_buf json = {0};
    BT_BUF_AUTO struct bt_buf text = {0};
    JSON_AUTO struct json *j = NULL;
    int64_t seq = 0;

    assert_true(board_get(b, node, &(struct board_ask){.after = -1}, &json, &seq));
    assert_int_equal(json_parse(json.p, json.n, JSON_MAX_BYTES, &j, NULL), 0);
    assert_int_equal(json_i64(json_get(j, "seq"), 0), seq);
    const struct json *wants = json_get(j, "wants");
    for (size_t i = 0; i < json_len(wants); i++) {
        const struct json *w = json_at(wants, i);

        bt_buf_printf(&text, "%s%d.%d %s %s", i ? ", " : "",
                      (int)json_i64(json_get(w, "number"), 0),
                      (int)json_i64(json_get(w, "attempt"), 0),
                      json_str(json_get(w, "action"), "?"), json_str(json_get(w, "mask"), "?"));
    }
    bt_copy(out, size, bt_buf_text(&text));
    return seq;
}

static void a_node_reads_what_it_shall_run(void **state)
{
    static const struct {
        uint8_t job;
        int attempt;
        enum want_action action;
        const char *node;
        const char *then; /* state of n1 */
        int steps;        /* of its seq */
    } rows[] = {
        {1, 1, WANT_RUN, "n1", "1.1 run f0", 1},
        {1, 1, WANT_RUN, "n1", "1.1 run f0", 0},
        {2, 1, WANT_RUN, "n2", "1.1 run f0", 0},
        {3, 1, WANT_RUN, "n1", "1.1 run f0, 3.1 run f0", 1},
        {1, 1, WANT_STOP, "n1", "1.1 stop f0, 3.1 run f0", 1},
        {1, 2, WANT_GONE, "n1", "1.1 stop f0, 3.1 run f0", 0},
        {1, 1, WANT_GONE, "n1", "3.1 run f0", 1},
        {1, 2, WANT_RUN, "n1", "3.1 run f0, 1.2 run f0", 1},
        {9, 1, WANT_STOP, "n1", "3.1 run f0, 1.2 run f0, 9.1 stop 0", 1},
    };
    struct wants_board *b = board_new(START);
    char text[256];
    int64_t seq = START;

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        apply(b, rows[i].job, rows[i].attempt, rows[i].action, rows[i].node);
        int64_t now = state_of(b, "n1", text, sizeof text);
        assert_string_equal(text, rows[i].then);
        assert_int_equal(now - seq, rows[i].steps);
        seq = now;
    }
    board_free(b);
}

static void an_agent_is_not_woken_for_what_it_said(void **state)
{
    struct wants_board *b = board_new(START);
    struct want gone = want_of(1, 1, WANT_GONE, "n1");
    char text[256];

    (void)state;
    apply(b, 1, 1, WANT_RUN, "n1");
    apply(b, 2, 1, WANT_RUN, "n1");
    gone.told = true;
    board_apply(b, &gone, 1);
    assert_int_equal(START + 2, state_of(b, "n1", text, sizeof text));
    assert_string_equal("2.1 run f0", text); /* but it is in no list any more */
    board_free(b);
}

static void an_unchanged_node_is_not_told_twice(void **state)
{
    struct wants_board *b = board_new(START);
    BT_BUF_AUTO struct bt_buf json = {0};
    int64_t seq = 0;

    (void)state;
    assert_false(board_get(b, "n1", &(struct board_ask){.after = START}, &json, &seq));
    assert_int_equal(seq, START);
    assert_int_equal(json.n, 0);
    assert_true(board_get(b, "n1", &(struct board_ask){.after = START - 1}, &json, NULL));
    assert_string_equal(json.p, "{\"seq\":1000,\"wants\":[]}");
    board_free(b);
}

/* "1 one, 2 -" : the wants of n1 with their documents. */
static int64_t documents_of(struct wants_board *b, int64_t after, char *out, size_t size)
{
    const struct board_ask ask = {.after = after, .documents = true};
    BT_BUF_AUTO struct bt_buf json = {0};
    BT_BUF_AUTO struct bt_buf text = {0};
    JSON_AUTO struct json *j = NULL;
    int64_t seq = 0;

    assert_true(board_get(b, "n1", &ask, &json, &seq));
    assert_int_equal(json_parse(json.p, json.n, JSON_MAX_BYTES, &j, NULL), 0);
    const struct json *wants = json_get(j, "wants");
    for (size_t i = 0; i < json_len(wants); i++)
        bt_buf_printf(&text, "%s%d %s", i ? ", " : "",
                      (int)json_i64(json_get(json_at(wants, i), "number"), 0),
                      json_str(json_get(json_at(wants, i), "document"), "-"));
    bt_copy(out, size, bt_buf_text(&text));
    return seq;
}

static void a_new_want_brings_its_document_once(void **state)
{
    struct wants_board *b = board_new(START);
    char text[256];
    int64_t seq;

    (void)state;
    board_document(b, want_of(1, 1, WANT_RUN, "n1").job, "one \"1\"");
    board_document(b, want_of(2, 1, WANT_RUN, "n1").job, "two");
    apply(b, 1, 1, WANT_RUN, "n1");
    seq = documents_of(b, -1, text, sizeof text);
    assert_string_equal(text, "1 one \"1\"");
    apply(b, 2, 1, WANT_RUN, "n1");
    apply(b, 3, 1, WANT_RUN, "n1"); /* of which nothing is known here */
    seq = documents_of(b, seq, text, sizeof text);
    assert_string_equal(text, "1 -, 2 two, 3 -");
    apply(b, 2, 1, WANT_STOP, "n1");
    (void)documents_of(b, seq, text, sizeof text);
    assert_string_equal(text, "1 -, 2 -, 3 -");
    (void)documents_of(b, -1, text, sizeof text);
    assert_string_equal(text, "1 one \"1\", 2 -, 3 -"); /* what shall stop needs none */
    board_free(b);
}

static struct bt_uuid job_of(uint32_t i)
{
    struct bt_uuid id = {{0}};

    memcpy(id.b, &i, sizeof i);
    return id;
}

static void the_oldest_documents_go_first(void **state)
{
    static const struct {
        size_t bytes; /* of each text */
        uint32_t n, kept;
    } rows[] = {
        {10, PAPERS_MAX + 7, PAPERS_MAX},
        {PAPERS_TEXT_BYTES, 50, PAPERS_BYTES / PAPERS_TEXT_BYTES},
        {PAPERS_TEXT_BYTES + 1, 3, 0},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct papers *p = papers_new();
        BT_AUTO char *text = bt_alloc(1, rows[i].bytes + 1);
        uint32_t kept = 0;

        memset(text, 'x', rows[i].bytes);
        for (uint32_t k = 0; k < rows[i].n; k++) {
            papers_add(p, job_of(k), text);
            assert_int_equal(papers_find(p, job_of(k)) != NULL, rows[i].kept != 0);
        }
        for (uint32_t k = 0; k < rows[i].n; k++) {
            kept += papers_find(p, job_of(k)) != NULL;
            assert_int_equal(papers_find(p, job_of(k)) != NULL, k >= rows[i].n - rows[i].kept);
        }
        assert_int_equal(kept, rows[i].kept);
        papers_free(p);
    }
}

static void a_full_state_replaces_everything_and_changes_every_seq(void **state)
{
    struct wants_board *b = board_new(START);
    struct want w = want_of(7, 3, WANT_RUN, "n2");
    char text[256];

    (void)state;
    apply(b, 1, 1, WANT_RUN, "n1");
    board_full(b, &w, 1);
    assert_int_equal(state_of(b, "n1", text, sizeof text), START + 2);
    assert_string_equal(text, "");
    state_of(b, "n2", text, sizeof text);
    assert_string_equal(text, "7.3 run 0");
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_reads_what_it_shall_run),
        cmocka_unit_test(an_agent_is_not_woken_for_what_it_said),
        cmocka_unit_test(an_unchanged_node_is_not_told_twice),
        cmocka_unit_test(a_new_want_brings_its_document_once),
        cmocka_unit_test(the_oldest_documents_go_first),
        cmocka_unit_test(a_full_state_replaces_everything_and_changes_every_seq),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
