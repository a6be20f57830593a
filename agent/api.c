/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/api.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "agent/known.h"
#include "agent/trial.h"
#include "lib/api/problem.h"
#include "lib/base/enc.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/json/json.h"

enum { CALL_S = 30, SLACK_S = 10, REPLY_BYTES = 65536 };
#define OCTETS "application/octet-stream"
#define JSON "application/json"

static void answer_done(struct link_answer *a)
{
    bt_buf_done(&a->body);
}
#define ANSWER_AUTO BT_CLEANUP(answer_done)

/* One call; an answer that is no 2xx becomes the error that its problem document names. */
static int call(struct link *l, const struct link_request *r, struct link_answer *a,
                struct bt_err *err)
{
    char id[BT_UUID_TEXT];
    struct bt_err e = {0};

    a->have = -1;
    int rc = l->call(l, r, a, err);
    if (rc < 0 || (a->status >= 200 && a->status < 300))
        return rc;
    problem_read(bt_buf_text(&a->body), a->body.n, a->status, &e, id);
    if (e.code == 0)
        e.code = BT_ERR_INTERNAL;
    if (err)
        *err = e;
    return -e.code;
}

static int post_for(struct link *l, const char *path, const struct bt_buf *body, struct bt_buf *ret,
                    struct bt_err *err)
{
    ANSWER_AUTO struct link_answer a = {0};
    struct link_request r = {.method = "POST",
                             .path = path,
                             .type = JSON,
                             .body = body->p,
                             .n = body->n,
                             .timeout_s = CALL_S};
    int rc = call(l, &r, &a, err);

    if (rc == 0 && ret)
        bt_buf_add(ret, bt_buf_text(&a.body), a.body.n);
    return rc;
}

static int post(struct link *l, const char *path, const struct bt_buf *body, struct bt_err *err)
{
    return post_for(l, path, body, NULL, err);
}

static int get(struct link *l, const char *path, int timeout_s, struct bt_buf *ret,
               struct bt_err *err)
{
    ANSWER_AUTO struct link_answer a = {0};
    struct link_request r = {.method = "GET", .path = path, .timeout_s = timeout_s};
    int rc = call(l, &r, &a, err);

    if (rc == 0)
        bt_buf_add(ret, bt_buf_text(&a.body), a.body.n);
    return rc;
}

int api_register(struct link *l, const struct node_facts *facts, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf b = {0};
    struct json_writer w = {.to = &b};

    jw_object(&w, NULL);
    jw_str(&w, "node", facts->node);
    jw_str(&w, "class", facts->class);
    jw_i64(&w, "accelerators", facts->accelerators);
    jw_str(&w, "boot_id", facts->boot_id);
    jw_str(&w, "version", BT_VERSION);
    jw_raw(&w, "inventory", facts->inventory);
    if (facts->pod || facts->leaf) {
        jw_i64(&w, "pod", facts->pod);
        jw_i64(&w, "leaf", facts->leaf);
    }
    if (*facts->known)
        jw_str(&w, "known", facts->known);
    jw_end_object(&w);
    return post(l, "/v1/agent/register", &b, err);
}

int api_renew(struct link *l, const struct bt_buf *request, struct bt_buf *ret, struct bt_err *err)
{
    return post_for(l, "/v1/agent/renew", request, ret, err);
}

int api_heartbeat(struct link *l, const char *node, const struct live *live, size_t n,
                  bool *ret_measure, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf b = {0};
    BT_BUF_AUTO struct bt_buf reply = {0};
    JSON_AUTO struct json *j = NULL;
    struct json_writer w = {.to = &b};
    int rc;

    jw_object(&w, NULL);
    jw_str(&w, "node", node);
    jw_array(&w, "live");
    for (size_t i = 0; i < n; i++) {
        jw_object(&w, NULL);
        jw_uuid(&w, "job", &live[i].id.job);
        jw_i64(&w, "attempt", live[i].id.attempt);
        if (live[i].checkpoint_us)
            jw_time(&w, "checkpoint_at", live[i].checkpoint_us);
        jw_end_object(&w);
    }
    jw_end_array(&w);
    jw_bool(&w, "trials", true);
    jw_end_object(&w);
    rc = post_for(l, "/v1/agent/heartbeat", &b, &reply, err);
    if (rc == 0 && reply.n && json_parse(reply.p, reply.n, REPLY_BYTES, &j, NULL) == 0)
        *ret_measure = json_bool(json_get(j, "measure"), false);
    return rc;
}

int api_measured(struct link *l, const char *node, int64_t busbw_mbs, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf b = {0};
    struct json_writer w = {.to = &b};

    jw_object(&w, NULL);
    jw_str(&w, "node", node);
    jw_i64(&w, "busbw_mb_per_s", busbw_mbs);
    jw_end_object(&w);
    return post(l, "/v1/agent/measured", &b, err);
}

int api_trial(struct link *l, const char *node, const struct trial_part *part, struct bt_err *err)
{
    struct bt_buf b = {0};
    struct json_writer w = {.to = &b};
    int rc;

    jw_object(&w, NULL);
    jw_str(&w, "node", node);
    jw_i64(&w, "id", part->id);
    jw_str(&w, "address", part->address);
    jw_str(&w, "secret", part->secret);
    jw_end_object(&w);
    rc = post(l, "/v1/agent/trial", &b, err);
    if (b.p)
        bt_wipe(b.p, b.n);
    bt_buf_done(&b);
    return rc;
}

int api_trial_ended(struct link *l, const char *node, int64_t id, const char *outcome,
                    const char *text, const char *links, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf b = {0};
    struct json_writer w = {.to = &b};
    char cut[200];

    bt_copy(cut, sizeof cut, text);
    jw_object(&w, NULL);
    jw_str(&w, "node", node);
    jw_i64(&w, "id", id);
    jw_str(&w, "outcome", outcome);
    if (*cut)
        jw_str(&w, "text", cut);
    if (*links)
        jw_raw(&w, "links", links);
    jw_end_object(&w);
    return post(l, "/v1/agent/trial/ended", &b, err);
}

int api_wants(struct link *l, int64_t after, int wait_s, const char *known, struct bt_buf *ret,
              struct bt_err *err)
{
    char path[96 + MARK_TEXT];

    (void)snprintf(path, sizeof path, "/v1/agent/wants?documents=1&after=%lld&wait=%d%s%s",
                   (long long)BT_MAX(after, 0), wait_s, *known ? "&known=" : "", known);
    return get(l, path, wait_s + SLACK_S, ret, err);
}

int api_spec(struct link *l, struct bt_uuid job, struct bt_buf *ret, struct bt_err *err)
{
    char path[96], id[BT_UUID_TEXT];

    (void)snprintf(path, sizeof path, "/v1/agent/jobs/%s/spec", bt_uuid_format(job, id));
    return get(l, path, CALL_S, ret, err);
}

static void begin(struct json_writer *w, const struct attempt_id *id)
{
    jw_object(w, NULL);
    jw_uuid(w, "job", &id->job);
    jw_i64(w, "attempt", id->attempt);
}

static void begin_claim(struct json_writer *w, const struct attempt_id *id, const char *foreign)
{
    begin(w, id);
    jw_str(w, "foreign_id", foreign);
}

static void write_start(struct json_writer *w, const struct start *s, bool with_ago)
{
    begin_claim(w, &s->id, s->foreign);
    if (with_ago)
        jw_i64(w, "ago_ms", BT_MAX(0, bt_mono_us() - s->since_us) / 1000);
}

static void write_along(struct json_writer *w, const struct start_list *along, int n)
{
    if (n == 0)
        return;
    jw_array(w, "started");
    for (int i = 0; i < n; i++) {
        write_start(w, &along->v[i], true);
        jw_end_object(w);
    }
    jw_end_array(w);
}

int api_claim(struct link *l, const struct attempt_id *id, const char *foreign,
              const struct start_list *along, struct bt_buf *ret, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf b = {0};
    struct json_writer w = {.to = &b};

    begin_claim(&w, id, foreign);
    write_along(&w, along, along->n);
    jw_end_object(&w);
    return post_for(l, "/v1/agent/claim", &b, ret, err);
}

int api_started(struct link *l, const struct start_list *list, bool plain, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf b = {0};
    struct json_writer w = {.to = &b};

    write_start(&w, &list->v[list->n - 1], !plain);
    write_along(&w, list, plain ? 0 : list->n - 1);
    jw_end_object(&w);
    return post(l, "/v1/agent/started", &b, err);
}

static void write_made(struct json_writer *w, const struct yield *y)
{
    jw_hex(w, "root", y->root, sizeof y->root);
    jw_hex(w, "sha256", y->sha256, sizeof y->sha256);
    jw_i64(w, "files", y->files);
    jw_i64(w, "bytes", y->bytes);
    jw_bool(w, "incomplete", y->incomplete);
    jw_raw(w, "metrics", *y->metrics ? y->metrics : "{}");
}

int api_ended(struct link *l, const struct attempt_id *id, const struct verdict *v,
              const struct yield *y, const struct start_list *along, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf b = {0};
    struct json_writer w = {.to = &b};

    begin(&w, id);
    jw_str(&w, "reason", v->reason);
    jw_i64(&w, "exit_code", v->exit_code);
    jw_i64(&w, "signal", v->signal);
    jw_bool(&w, "checkpointed", v->checkpointed);
    jw_str(&w, "text", v->text);
    if (y) {
        jw_object(&w, "manifest");
        write_made(&w, y);
        jw_end_object(&w);
    }
    write_along(&w, along, along ? along->n : 0);
    jw_end_object(&w);
    return post(l, "/v1/agent/ended", &b, err);
}

int api_manifest(struct link *l, const struct attempt_id *id, const struct yield *y,
                 struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf b = {0};
    struct json_writer w = {.to = &b};

    begin(&w, id);
    write_made(&w, y);
    jw_end_object(&w);
    return post(l, "/v1/agent/manifest", &b, err);
}

/* {"have":n} of a reply or a problem document. */
static int64_t have_of(const struct link_answer *a)
{
    JSON_AUTO struct json *j = NULL;

    if (a->body.n == 0 || json_parse(a->body.p, a->body.n, JSON_MAX_BYTES, &j, NULL) < 0)
        return a->have;
    return json_i64(json_get(j, "have"), a->have);
}

int api_log(struct link *l, const struct attempt_id *id, const struct log_part *part,
            int64_t *ret_have, struct bt_err *err)
{
    ANSWER_AUTO struct link_answer a = {0};
    char path[200], job[BT_UUID_TEXT];
    struct link_request r = {.method = "PUT",
                             .path = path,
                             .type = OCTETS,
                             .body = part->p,
                             .n = part->n,
                             .timeout_s = 2 * CALL_S};

    (void)snprintf(path, sizeof path, "/v1/agent/jobs/%s/log?attempt=%d&stream=%s&offset=%lld%s",
                   bt_uuid_format(id->job, job), id->attempt, part->stream, (long long)part->offset,
                   part->eof ? "&eof=1" : "");
    int rc = call(l, &r, &a, err);
    int64_t have = have_of(&a);
    if (have >= 0)
        *ret_have = have;
    if (rc < 0 && a.status == 409 && have >= 0)
        return bt_fail(err, BT_ERR_CONFLICT, "the daemon has %lld bytes of this stream",
                       (long long)have);
    return rc;
}

/* One part at *at, which becomes what the daemon then has, also when it had another length:
 * 1 when the blob is complete, 0 to go on from *at. */
static int put_part(struct link *l, const char *path, const void *p, size_t n, int64_t *at,
                    struct bt_err *err)
{
    ANSWER_AUTO struct link_answer a = {0};
    struct link_request r = {
        .method = "PUT", .path = path, .type = OCTETS, .body = p, .n = n, .timeout_s = 4 * CALL_S};
    int rc = call(l, &r, &a, err);
    int64_t have = have_of(&a);

    if (rc == -BT_ERR_CONFLICT && have >= 0 && have != *at) {
        *at = have;
        return 0;
    }
    if (rc == 0)
        *at = have >= 0 ? have : *at + (int64_t)n;
    return rc < 0 ? rc : a.status == 201;
}

static int ask_have(struct link *l, const char *path, int64_t *ret, struct bt_err *err)
{
    ANSWER_AUTO struct link_answer a = {0};
    struct link_request r = {.method = "HEAD", .path = path, .timeout_s = CALL_S};
    int rc = call(l, &r, &a, err);

    if (rc == -BT_ERR_NOT_FOUND) {
        *ret = 0;
        return 0;
    }
    *ret = BT_MAX(a.have, 0);
    return rc;
}

/* Sends fd from `at` on. Another upload of the same bytes may be ahead of us; that the daemon
 * goes back is the end of bytes that were not ours, so it may happen once. */
static int send_blob(struct link *l, const char *base, int fd, int64_t at, int64_t total,
                     struct bt_err *err)
{
    BT_AUTO char *part = bt_alloc(1, (size_t)BT_MAX(1, BT_MIN(total, API_PART_BYTES)));
    char path[160];
    int complete = 0;

    for (int back = 0; !complete;) {
        ssize_t n =
            at > total ? -1 : pread(fd, part, (size_t)BT_MIN(total - at, API_PART_BYTES), at);
        int64_t before = at;

        if (n < 0 || (n == 0 && at < total))
            return bt_fail(err, BT_ERR_CONFLICT, "the file changed after it was hashed");
        (void)snprintf(path, sizeof path, "%s?offset=%lld&total=%lld", base, (long long)at,
                       (long long)total);
        complete = put_part(l, path, part, (size_t)n, &at, err);
        if (!complete && at == before)
            return bt_fail(err, BT_ERR_IO, "the daemon takes no more of %s", base);
        if (!complete && at < before && back++)
            return bt_fail(err, BT_ERR_CONFLICT, "these are not the bytes of %s", base);
    }
    return complete < 0 ? complete : 0;
}

int api_blob(struct link *l, const uint8_t sha256[32], int fd, int64_t total, struct bt_err *err)
{
    char hex[65], base[96];
    int64_t at = 0;

    (void)snprintf(base, sizeof base, "/v1/agent/blobs/%s", bt_hex(sha256, 32, hex));
    int rc = ask_have(l, base, &at, err);
    /* Also when all bytes are there: only the last part makes the daemon look at them. */
    return rc < 0 ? rc : send_blob(l, base, fd, at, total, err);
}

int api_kept(struct link *l, const uint8_t sha256[32], struct bt_err *err)
{
    ANSWER_AUTO struct link_answer a = {0};
    char hex[65], path[96];
    struct link_request r = {.method = "PUT", .path = path, .timeout_s = CALL_S};

    (void)snprintf(path, sizeof path, "/v1/agent/blobs/%s/kept", bt_hex(sha256, 32, hex));
    return call(l, &r, &a, err);
}

bool api_is_final(int rc)
{
    switch (-rc) {
    case BT_ERR_FENCED:
    case BT_ERR_NOT_FOUND:
    case BT_ERR_INVALID:
    case BT_ERR_CONFLICT:
    case BT_ERR_JOB_STATE:
    case BT_ERR_TOO_LARGE:
    case BT_ERR_STALE:
    case BT_ERR_METHOD:
    case BT_ERR_DUPLICATE_ID:
        return true;
    default:
        return false;
    }
}
