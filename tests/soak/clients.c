/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/enc.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"
#include "lib/json/json.h"
#include "tests/soak/soak.h"

enum {
    KEPT = 32,       /* jobs that a client remembers */
    RUNNING_MAX = 5, /* of them, left to run */
    BODY = 640,
    TRIES = 60,
};

struct own_job {
    struct bt_uuid id;
    char body[BODY];
    int64_t number;
    bool acked, left; /* left to run */
    char ended[16];   /* its terminal state once it was seen */
};

static const struct {
    const char *name, *argv, *requeue;
    int walltime_s;
} sorts[N_SORTS] = {
    [SORT_TRUE] = {"true", "[\"/bin/true\"]", "on-facility", 60},
    [SORT_FALSE] = {"false", "[\"/bin/false\"]", "never", 60},
    [SORT_SLEEP] = {"sleep", "[\"/bin/sleep\",\"0.1\"]", "on-facility", 60},
    [SORT_FILE] = {"file", "[\"/bin/sh\",\"-c\",\"echo $BEAM_JOB | tee $BEAM_OUTPUT/said\"]",
                   "on-facility", 60},
    [SORT_LONG] = {"long", "[\"/bin/sleep\",\"300\"]", "never", 600},
};

static bool is_over(const char *state)
{
    return bt_streq(state, "completed") || bt_streq(state, "failed") ||
           bt_streq(state, "cancelled") || bt_streq(state, "timeout");
}

/* Nobody knows whether it was done: to be sent again, with the same id. */
static bool is_unknown(int rc)
{
    return rc == -BT_ERR_UNKNOWN_OUTCOME || rc == -BT_ERR_UNREACHABLE || rc == -BT_ERR_TIMEOUT ||
           rc == -BT_ERR_BUSY || rc == -BT_ERR_DB_RETRY;
}

/* Calls until there is a certain answer; net_call waits with growing pauses in each. */
static int call(struct client *c, const struct net_request *q, struct net_reply *reply,
                struct bt_err *err)
{
    int rc = -BT_ERR_TIMEOUT;

    for (int i = 0; i < TRIES && is_unknown(rc); i++) {
        if (i > 0) {
            net_reply_done(reply);
            c->all->totals.unknown++;
            c->all->totals.repeated++;
        }
        *reply = (struct net_reply){0};
        rc = net_call(c->net, q, reply, err);
    }
    if (is_unknown(rc))
        soak_found(c->all->found, "service", "no answer to %s %s: %s",
                   q->method ? q->method : "GET", q->path, err->text);
    return rc;
}

static void field(const struct net_reply *reply, const char *key, char *to, size_t size,
                  int64_t *ret_number)
{
    JSON_AUTO struct json *doc = NULL;

    to[0] = '\0';
    if (json_parse(reply->body ? reply->body : "", reply->n, JSON_MAX_BYTES, &doc, NULL) < 0)
        return;
    bt_copy(to, size, json_str(json_get(doc, key), ""));
    if (ret_number)
        *ret_number = json_i64(json_get(doc, "number"), -1);
}

static void keep_ack(struct clients *all, const struct own_job *j)
{
    uint8_t sha256[BT_SHA256_SIZE];
    char hex[2 * BT_SHA256_SIZE + 1];
    char id[BT_UUID_TEXT];

    bt_sha256(j->body, strlen(j->body), sha256);
    bt_hex(sha256, sizeof sha256, hex);
    pthread_mutex_lock(&all->acks_lock);
    fprintf(all->acks, "%s %s\n", bt_uuid_format(j->id, id), hex);
    fflush(all->acks);
    pthread_mutex_unlock(&all->acks_lock);
    all->totals.acked++;
}

static int send_body(struct client *c, struct own_job *j, const char *body, int64_t *ret_number,
                     struct bt_err *err)
{
    struct net_request q = {
        .method = "POST", .path = "/v1/jobs", .body = body, .n = strlen(body), .id = &j->id};
    struct net_reply reply = {0};
    char state[16];
    int rc = call(c, &q, &reply, err);

    if (rc >= 0)
        field(&reply, "state", state, sizeof state, ret_number);
    net_reply_done(&reply);
    return rc;
}

static int submit(struct client *c, enum job_sort sort, struct own_job *j)
{
    struct bt_err err = {0};
    char id[BT_UUID_TEXT];
    int rc;

    *j = (struct own_job){.id = bt_uuid_new(bt_now_us())};
    snprintf(
        j->body, sizeof j->body,
        "{\"id\":\"%s\",\"name\":\"%s-%d\",\"project\":\"p0\",\"kind\":\"command\","
        "\"code\":{\"argv\":%s},\"accelerators\":{\"count\":1,\"class\":\"cpu\"},"
        "\"walltime_s\":%d,\"requeue\":\"%s\",\"purpose\":\"benchmark\",\"domains\":[\"general\"],"
        "\"data\":[\"public\"]}",
        bt_uuid_format(j->id, id), sorts[sort].name, c->person, sorts[sort].argv,
        sorts[sort].walltime_s, sorts[sort].requeue);
    rc = send_body(c, j, j->body, &j->number, &err);
    if (rc >= 0) {
        j->acked = true;
        keep_ack(c->all, j);
    } else if (!is_unknown(rc)) {
        soak_found(c->all->found, "service", "job %s was refused: %s", id, err.text);
    }
    return rc;
}

int client_submit(struct client *c, enum job_sort sort, struct bt_uuid *ret_id)
{
    struct own_job j;
    int rc = submit(c, sort, &j);

    if (rc >= 0)
        *ret_id = j.id;
    return rc;
}

/* The same id with the same body is the same job; with another body it is refused. */
static void repeat(struct client *c, struct own_job *j)
{
    BT_AUTO char *other = bt_strdup(j->body);
    struct bt_err err = {0};
    char id[BT_UUID_TEXT];
    int64_t number = -1;
    int rc = send_body(c, j, j->body, &number, &err);

    bt_uuid_format(j->id, id);
    c->all->totals.repeated++;
    if (rc >= 0 && number != j->number)
        soak_found(c->all->found, "I1", "job %s was number %" PRId64 " and is %" PRId64, id,
                   j->number, number);
    else if (rc < 0 && !is_unknown(rc))
        soak_found(c->all->found, "I1", "job %s sent again is refused: %s", id, err.text);
    strstr(other, "_s\":6")[4] = '7'; /* of the walltime */
    rc = send_body(c, j, other, &number, &err);
    if (rc != -BT_ERR_DUPLICATE_ID && !is_unknown(rc))
        soak_found(c->all->found, "I1", "job %s with another body is answered by %s", id,
                   rc < 0 ? err.text : "an acknowledgement");
}

static void cancel(struct client *c, struct own_job *j)
{
    char id[BT_UUID_TEXT];
    BT_AUTO char *path = bt_printf("/v1/jobs/%s/cancel", bt_uuid_format(j->id, id));
    struct bt_uuid key = bt_uuid_new(bt_now_us());
    struct net_request q = {
        .method = "POST", .path = path, .body = "{\"reason\":\"a test\"}", .n = 19, .id = &key};
    struct net_reply reply = {0};
    struct bt_err err = {0};
    int rc = call(c, &q, &reply, &err);

    if (rc >= 0)
        c->all->totals.cancels++;
    else if (rc != -BT_ERR_JOB_STATE && !is_unknown(rc)) /* it may have ended meanwhile */
        soak_found(c->all->found, "I1", "job %s cannot be cancelled: %s", id, err.text);
    net_reply_done(&reply);
}

/* What was acknowledged is there, and what has ended stays as it was. */
static void query(struct client *c, struct own_job *j)
{
    char id[BT_UUID_TEXT];
    BT_AUTO char *path = bt_printf("/v1/jobs/%s", bt_uuid_format(j->id, id));
    struct net_request q = {.path = path};
    struct net_reply reply = {0};
    struct bt_err err = {0};
    char state[16];
    int rc = call(c, &q, &reply, &err);

    if (rc >= 0) {
        c->all->totals.queries++;
        field(&reply, "state", state, sizeof state, NULL);
        if (j->ended[0] && !bt_streq(state, j->ended))
            soak_found(c->all->found, "I4", "job %s was %s and is %s", id, j->ended, state);
        if (is_over(state)) {
            bt_copy(j->ended, sizeof j->ended, state);
            j->left = false;
        }
    } else if (!is_unknown(rc)) {
        soak_found(c->all->found, "I1", "job %s was acknowledged and cannot be read: %s", id,
                   err.text);
    }
    net_reply_done(&reply);
}

bool client_wait(struct client *c, struct bt_uuid id, const char *state, int limit_s,
                 char ret_state[16])
{
    int64_t until = bt_mono_us() + limit_s * BT_US_PER_S;
    char text[BT_UUID_TEXT];

    bt_uuid_format(id, text);
    ret_state[0] = '\0';
    while (bt_mono_us() < until) {
        BT_AUTO char *path = bt_printf("/v1/jobs/%s/watch?after=%s&wait=5", text, ret_state);
        struct net_request q = {.path = path, .deadline_ms = 10000};
        struct net_reply reply = {0};
        struct bt_err err = {0};
        int rc = call(c, &q, &reply, &err);

        if (rc >= 0)
            field(&reply, "state", ret_state, 16, NULL);
        net_reply_done(&reply);
        if (rc < 0) {
            soak_found(c->all->found, "I1", "job %s cannot be watched: %s", text, err.text);
            return false;
        }
        if (is_over(ret_state) || bt_streq(ret_state, state))
            return true;
    }
    return false;
}

/* ---- one client ---- */

static int n_left(const struct client *c)
{
    int n = 0;

    for (int i = 0; i < KEPT; i++)
        n += c->jobs[i].left;
    return n;
}

/* A place that no job is left to run from. */
static struct own_job *place(struct client *c)
{
    struct own_job *j;

    do
        j = &c->jobs[soak_random(&c->seed, KEPT)];
    while (j->left);
    return j;
}

static void step(struct client *c)
{
    struct own_job *j = &c->jobs[soak_random(&c->seed, KEPT)];
    uint64_t what = soak_random(&c->seed, 16);

    if (what < 8 || !j->acked) {
        bool leave = n_left(c) < RUNNING_MAX && what % 2;

        j = place(c);
        if (submit(c, (enum job_sort)soak_random(&c->seed, SORT_LONG), j) < 0)
            return;
        j->left = leave;
        if (!leave)
            cancel(c, j);
    } else if (what == 8) {
        repeat(c, j);
    } else if (what == 9) {
        cancel(c, j);
    } else {
        query(c, j);
    }
}

static void *run(void *arg)
{
    struct client *c = arg;

    while (!atomic_load(&c->all->stop))
        step(c);
    return NULL;
}

static struct client *open_client(struct client *c, struct clients *all, int person)
{
    struct rig *r = &all->site->rig;
    BT_AUTO char *url = bt_printf("https://127.0.0.1:%d", r->people);
    BT_AUTO char *ca = bt_printf("%s/pki/root.pem", r->dir);
    BT_AUTO char *cert = bt_printf("%s/u%d.pem", r->ids, person);
    BT_AUTO char *key = bt_printf("%s/u%d.key", r->ids, person);
    struct net_settings s = {.url = url,
                             .ca_file = ca,
                             .cert_file = cert,
                             .key_file = key,
                             .deadline_ms = 2000,
                             .unreachable_ms = 1500};
    struct bt_err err = {0};

    *c = (struct client){.all = all, .person = person};
    c->seed = all->seed + (uint64_t)person * 1000003;
    c->jobs = bt_new_n(struct own_job, KEPT);
    if (net_client_new(&s, &c->net, &err) < 0)
        rig_die("%s", err.text);
    return c;
}

struct client *client_new(struct clients *all, int person)
{
    return open_client(bt_new(struct client), all, person);
}

static void close_client(struct client *c)
{
    net_client_free(c->net);
    bt_free(c->jobs);
}

void client_free(struct client *c)
{
    close_client(c);
    bt_free(c);
}

void clients_start(struct clients *all)
{
    all->client = bt_new_n(struct client, (size_t)all->n);
    for (int i = 0; i < all->n; i++) {
        struct client *c = open_client(&all->client[i], all, i + 1);

        if (pthread_create(&c->thread, NULL, run, c))
            rig_die("cannot start a thread");
    }
}

void clients_stop(struct clients *all)
{
    atomic_store(&all->stop, true);
    for (int i = 0; i < all->n; i++)
        pthread_join(all->client[i].thread, NULL);
    for (int i = 0; i < all->n; i++)
        close_client(&all->client[i]);
    bt_free(all->client);
}
