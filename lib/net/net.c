/* Calls over libcurl. SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/net/net.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "lib/api/limits.h"
#include "lib/api/problem.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"
#include "lib/json/json.h"

struct net_client {
    CURL *curl;
    char *url;
    char *agent;
    char *relay; /* NULL: none */
    struct curl_slist *connect_to;
    bool anonymous; /* has no certificate */
    int deadline_ms;
    int unreachable_ms;
    const atomic_bool *cancel;
    char why[CURL_ERROR_SIZE];
};

/* One try of a call. */
struct attempt {
    struct net_client *c;
    const struct net_request *q;
    struct net_reply *r;
    struct bt_buf body;
    int sink_rc;
    bool streamed; /* the sink has seen bytes */
    int64_t retry_after_s;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* ---- life ---- */

static int check_file(const char *path, struct bt_err *err)
{
    if (path && access(path, R_OK) != 0)
        return bt_fail_errno(err, BT_ERR_NOT_FOUND, "cannot read %s", path);
    return 0;
}

static void set_tls(CURL *h, const struct net_settings *s)
{
    curl_easy_setopt(h, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
    if (s->ca_file)
        curl_easy_setopt(h, CURLOPT_CAINFO, s->ca_file);
    curl_easy_setopt(h, CURLOPT_CAPATH, NULL);
    if (s->cert_file) {
        curl_easy_setopt(h, CURLOPT_SSLCERT, s->cert_file);
        curl_easy_setopt(h, CURLOPT_SSLKEY, s->key_file);
    }
}

/* Every host and port stands for the relay's. */
static void set_relay(struct net_client *c, const char *relay)
{
    BT_AUTO char *all = bt_printf("::%s", relay);

    c->relay = bt_strdup(relay);
    c->connect_to = curl_slist_append(NULL, all);
    curl_easy_setopt(c->curl, CURLOPT_CONNECT_TO, c->connect_to);
}

int net_client_new(const struct net_settings *s, struct net_client **ret, struct bt_err *err)
{
    struct net_client *c;
    int rc;

    if (!bt_starts(s->url, "https://") && !bt_starts(s->url, "http://"))
        return bt_fail(err, BT_ERR_INVALID, "'%.80s' is no http:// or https:// address", s->url);
    if (bt_starts(s->url, "https://") && !s->ca_file)
        return bt_fail(err, BT_ERR_INVALID, "%.80s needs the facility's root certificate", s->url);
    if (s->cert_file && !s->key_file)
        return bt_fail(err, BT_ERR_INVALID, "a client certificate needs its key");
    rc = check_file(s->ca_file, err);
    rc = rc < 0 ? rc : check_file(s->cert_file, err);
    rc = rc < 0 ? rc : check_file(s->key_file, err);
    if (rc < 0)
        return rc;
    pthread_once(&once, init_curl);
    c = bt_new(struct net_client);
    c->curl = curl_easy_init();
    if (!c->curl)
        abort();
    c->url = bt_strdup(s->url);
    if (bt_ends(c->url, "/"))
        c->url[strlen(c->url) - 1] = '\0';
    c->agent = bt_printf("%s/" BT_VERSION, s->program ? s->program : "beamtime");
    c->deadline_ms = s->deadline_ms ? s->deadline_ms : 60000;
    c->unreachable_ms = s->unreachable_ms ? s->unreachable_ms : 5000;
    c->cancel = s->cancel;
    c->anonymous = !s->cert_file;
    set_tls(c->curl, s);
    if (s->relay)
        set_relay(c, s->relay);
    *ret = c;
    return 0;
}

void net_client_free(struct net_client *c)
{
    if (!c)
        return;
    curl_easy_cleanup(c->curl);
    curl_slist_free_all(c->connect_to);
    bt_free(c->relay);
    bt_free(c->url);
    bt_free(c->agent);
    bt_free(c);
}

void net_reply_done(struct net_reply *r)
{
    bt_free(r->body);
    r->body = NULL;
}

/* ---- libcurl's callbacks ---- */

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct attempt *a = arg;
    long status = 0;

    n *= size;
    curl_easy_getinfo(a->c->curl, CURLINFO_RESPONSE_CODE, &status);
    if (a->q->sink && status / 100 == 2) {
        a->streamed = true;
        a->sink_rc = a->q->sink(a->q->sink_arg, p, n);
        return a->sink_rc < 0 ? 0 : n;
    }
    bt_buf_add(&a->body, p, n);
    return a->body.over ? 0 : n;
}

/* The value of a header line if it is `name`'s. */
static bool header_is(const char *p, size_t n, const char *name, char *out, size_t size)
{
    size_t k = strlen(name);

    if (n <= k || strncasecmp(p, name, k) != 0 || p[k] != ':')
        return false;
    for (p += k + 1, n -= k + 1; n && (*p == ' ' || *p == '\t'); p++, n--)
        ;
    while (n && (p[n - 1] == '\r' || p[n - 1] == '\n' || p[n - 1] == ' '))
        n--;
    if (n >= size)
        return false;
    memcpy(out, p, n);
    out[n] = '\0';
    return true;
}

static int64_t number(const char *s)
{
    int64_t v;

    return bt_parse_i64(s, "header", 0, INT64_MAX, &v, NULL) < 0 ? -1 : v;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    struct attempt *a = arg;
    struct net_reply *r = a->r;
    char s[512];

    n *= size;
    if (header_is(p, n, "Beamtime-Request-Id", s, sizeof s))
        bt_copy(r->request_id, sizeof r->request_id, s);
    else if (header_is(p, n, "Beamtime-Offset", s, sizeof s))
        r->offset = number(s);
    else if (header_is(p, n, "Beamtime-Have", s, sizeof s))
        r->have = number(s);
    else if (header_is(p, n, "Beamtime-Eof", s, sizeof s))
        r->eof = !strcmp(s, "1");
    else if (header_is(p, n, "ETag", s, sizeof s))
        bt_copy(r->etag, sizeof r->etag, s);
    else if (header_is(p, n, "Location", s, sizeof s))
        bt_copy(r->location, sizeof r->location, s);
    else if (header_is(p, n, "Retry-After", s, sizeof s))
        a->retry_after_s = number(s);
    return n;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct net_client *client = arg;

    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return client->cancel && atomic_load(client->cancel);
}

/* ---- one try ---- */

static struct curl_slist *headers_of(const struct net_request *q, const struct bt_uuid *id)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    char line[160], text[BT_UUID_TEXT];

    if (q->body) {
        snprintf(line, sizeof line, "Content-Type: %s", q->type ? q->type : "application/json");
        list = curl_slist_append(list, line);
    }
    if (id) {
        snprintf(line, sizeof line, "Idempotency-Key: %s", bt_uuid_format(*id, text));
        list = curl_slist_append(list, line);
    }
    if (q->if_none_match) {
        snprintf(line, sizeof line, "If-None-Match: %s", q->if_none_match);
        list = curl_slist_append(list, line);
    }
    return list;
}

static void set_request(struct attempt *a, const char *url, int64_t left_ms)
{
    CURL *h = a->c->curl;
    const char *method = a->q->method ? a->q->method : "GET";

    curl_easy_setopt(h, CURLOPT_URL, url);
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h, CURLOPT_PROXY, "");
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(h, CURLOPT_USERAGENT, a->c->agent);
    curl_easy_setopt(h, CURLOPT_ERRORBUFFER, a->c->why);
    curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)left_ms);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)BT_MIN(left_ms, a->c->unreachable_ms));
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, a);
    curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(h, CURLOPT_HEADERDATA, a);
    curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(h, CURLOPT_XFERINFODATA, a->c);
    curl_easy_setopt(h, CURLOPT_NOPROGRESS, a->c->cancel ? 0L : 1L);
    if (a->q->body || !strcmp(method, "POST") || !strcmp(method, "PUT")) {
        curl_easy_setopt(h, CURLOPT_NOBODY, 0L);
        curl_easy_setopt(h, CURLOPT_POST, 1L);
        curl_easy_setopt(h, CURLOPT_POSTFIELDS, a->q->body ? a->q->body : "");
        curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)a->q->n);
    } else if (!strcmp(method, "HEAD")) {
        curl_easy_setopt(h, CURLOPT_NOBODY, 1L);
    } else {
        curl_easy_setopt(h, CURLOPT_HTTPGET, 1L);
    }
    curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, a->q->follow && a->c->anonymous ? 1L : 0L);
    curl_easy_setopt(h, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h, CURLOPT_MAXREDIRS, 3L);
}

static CURLcode try_once(struct attempt *a, const struct bt_uuid *id, int64_t left_ms)
{
    BT_AUTO char *url = bt_printf("%s%s", a->c->url, a->q->path);
    struct curl_slist *headers = headers_of(a->q, id);
    long status = 0;
    CURLcode rc;

    net_reply_done(a->r);
    *a->r = (struct net_reply){.offset = -1, .have = -1, .tries = a->r->tries + 1};
    bt_buf_clear(&a->body);
    a->body.max = LIMIT_REPLY_BYTES;
    a->body.over = false;
    a->retry_after_s = -1;
    a->c->why[0] = '\0';
    set_request(a, url, left_ms);
    curl_easy_setopt(a->c->curl, CURLOPT_HTTPHEADER, headers);
    rc = curl_easy_perform(a->c->curl);
    curl_easy_setopt(a->c->curl, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(a->c->curl, CURLOPT_POSTFIELDS, NULL);
    curl_slist_free_all(headers);
    curl_easy_getinfo(a->c->curl, CURLINFO_RESPONSE_CODE, &status);
    a->r->status = rc == CURLE_OK ? (int)status : 0;
    if (a->body.n) {
        a->r->n = a->body.n;
        a->r->body = bt_buf_take(&a->body);
    }
    return rc;
}

/* ---- what an outcome means ---- */

static bool no_connection(CURLcode rc)
{
    return rc == CURLE_COULDNT_CONNECT || rc == CURLE_COULDNT_RESOLVE_HOST;
}

static bool lost(CURLcode rc)
{
    return rc == CURLE_RECV_ERROR || rc == CURLE_SEND_ERROR || rc == CURLE_GOT_NOTHING ||
           rc == CURLE_PARTIAL_FILE || rc == CURLE_SSL_CONNECT_ERROR;
}

static bool try_again(const struct attempt *a, CURLcode rc)
{
    int s = a->r->status;

    if (a->q->once || a->streamed)
        return false;
    if (rc != CURLE_OK)
        return no_connection(rc) || lost(rc);
    return s == 429 || s == 502 || s == 503 || s == 504;
}

static const char *why(const struct net_client *c, CURLcode rc)
{
    return c->why[0] ? c->why : curl_easy_strerror(rc);
}

/* Either the relay was not reached, or it cut the connection because it does not reach the server.
 */
static int relay_error(const struct net_client *c, CURLcode rc, struct bt_err *err)
{
    if (no_connection(rc))
        return bt_next(err,
                       bt_fail(err, BT_ERR_UNREACHABLE,
                               "the relay %.60s to %.60s cannot be reached: %.80s", c->relay,
                               c->url, why(c, rc)),
                       "check the relay's address, and that beamtime-relay runs there");
    return bt_next(err,
                   bt_fail(err, BT_ERR_UNREACHABLE, "%.60s is not reached through the relay %.60s",
                           c->url, c->relay),
                   "beamtime-relay says there whether it reaches the facility");
}

static int transport_error(const struct attempt *a, CURLcode rc, struct bt_err *err)
{
    const struct net_client *c = a->c;
    bool writes = a->q->method && strcmp(a->q->method, "GET") && strcmp(a->q->method, "HEAD");

    if (a->sink_rc < 0)
        return bt_fail(err, (enum bt_errno) - a->sink_rc, "the reader of %.80s stopped",
                       a->q->path);
    if (a->body.over)
        return bt_fail(err, BT_ERR_TOO_LARGE, "the reply has more than %d bytes",
                       (int)LIMIT_REPLY_BYTES);
    if (rc == CURLE_ABORTED_BY_CALLBACK)
        return bt_fail(err, BT_ERR_TIMEOUT, "the call was cancelled");
    if (rc == CURLE_PEER_FAILED_VERIFICATION)
        return bt_next(err,
                       bt_fail(err, BT_ERR_SIGNATURE,
                               "%.80s does not have a certificate of this facility: %.80s", c->url,
                               why(c, rc)),
                       "check the address and ca.pem of the profile");
    if (rc == CURLE_SSL_CERTPROBLEM)
        return bt_next(err,
                       bt_fail(err, BT_ERR_UNAUTHENTICATED,
                               "the client certificate cannot be used: %.100s", why(c, rc)),
                       "beamtime enrol");
    if (c->relay && (no_connection(rc) || rc == CURLE_SSL_CONNECT_ERROR))
        return relay_error(c, rc, err);
    if (no_connection(rc))
        return bt_next(
            err,
            bt_fail(err, BT_ERR_UNREACHABLE, "%.80s cannot be reached: %.100s", c->url, why(c, rc)),
            "check the address, and that beamtimed runs there");
    if (writes)
        return bt_next(err,
                       bt_fail(err, BT_ERR_UNKNOWN_OUTCOME, "the answer of %.80s was lost: %.80s",
                               c->url, why(c, rc)),
                       "repeat it with the same id");
    if (rc == CURLE_OPERATION_TIMEDOUT)
        return bt_fail(err, BT_ERR_TIMEOUT, "%.80s did not answer in time", c->url);
    return bt_fail(err, BT_ERR_UNREACHABLE, "the connection to %.80s broke: %.100s", c->url,
                   why(c, rc));
}

static void read_have(struct net_reply *r)
{
    JSON_AUTO struct json *root = NULL;

    if (r->have < 0 && r->body && r->n < 4096 && r->body[0] == '{' &&
        json_parse(r->body, r->n, JSON_MAX_BYTES, &root, NULL) == 0)
        r->have = json_i64(json_get(root, "have"), -1);
}

static int finish(const struct attempt *a, CURLcode rc, struct bt_err *err)
{
    struct net_reply *r = a->r;
    char id[BT_UUID_TEXT];
    struct bt_err e;

    if (rc != CURLE_OK)
        return transport_error(a, rc, err);
    read_have(r);
    if (r->status / 100 == 2 || (r->status == 304 && a->q->if_none_match) || r->status == 302)
        return 0;
    problem_read(r->body ? r->body : "", r->n, r->status, &e, id);
    if (!r->request_id[0])
        bt_copy(r->request_id, sizeof r->request_id, id);
    if (err)
        *err = e;
    return -e.code;
}

/* Full jitter: anywhere from 0 to 0.1 s doubled with each try, at most 5 s; not before Retry-After.
 */
static int64_t pause_ms(int tries, int64_t retry_after_s)
{
    int64_t top = 100 << BT_MIN(tries - 1, 6);
    uint32_t dice;

    bt_random(&dice, sizeof dice);
    top = 1 + dice % BT_MIN(top, 5000);
    return retry_after_s > 0 ? retry_after_s * 1000 + top : top;
}

static void pause_for(const struct net_client *c, int64_t ms)
{
    while (ms > 0 && !(c->cancel && atomic_load(c->cancel))) {
        int piece = (int)BT_MIN(ms, c->cancel ? 200 : ms);

        poll(NULL, 0, piece);
        ms -= piece;
    }
}

int net_call(struct net_client *c, const struct net_request *request, struct net_reply *reply,
             struct bt_err *err)
{
    bool writes =
        request->method && (!strcmp(request->method, "POST") || !strcmp(request->method, "PUT"));
    int64_t from = bt_mono_us() / 1000, connected = from, left;
    int64_t end = from + (request->deadline_ms ? request->deadline_ms : c->deadline_ms);
    struct bt_uuid fresh = bt_uuid_new(bt_now_us());
    const struct bt_uuid *id = request->id ? request->id : writes ? &fresh : NULL;
    struct attempt a = {.c = c, .q = request, .r = reply};
    CURLcode rc;

    *reply = (struct net_reply){.offset = -1, .have = -1};
    for (;;) {
        int64_t now = bt_mono_us() / 1000, wait;

        left = BT_MAX(end - now, 1);
        rc = try_once(&a, id, left);
        if (!try_again(&a, rc))
            break;
        now = bt_mono_us() / 1000;
        if (!no_connection(rc))
            connected = now;
        wait = pause_ms(reply->tries, a.retry_after_s);
        if (now + wait >= end || (no_connection(rc) && now + wait - connected >= c->unreachable_ms))
            break;
        pause_for(c, wait);
    }
    bt_buf_done(&a.body);
    return finish(&a, rc, err);
}

int net_get(struct net_client *c, const char *path, struct net_reply *reply, struct bt_err *err)
{
    struct net_request q = {.path = path};

    return net_call(c, &q, reply, err);
}

int net_post(struct net_client *c, const char *path, const char *json, struct net_reply *reply,
             struct bt_err *err)
{
    struct net_request q = {.method = "POST", .path = path, .body = json, .n = strlen(json)};

    return net_call(c, &q, reply, err);
}

void net_escape(struct bt_buf *to, const char *s)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

    for (; *s; s++) {
        if (strchr(plain, *s))
            bt_buf_char(to, *s);
        else
            bt_buf_printf(to, "%%%02X", (unsigned char)*s);
    }
}

/* ---- uploads ---- */

static int send_part(struct net_client *c, const char *path, int fd, int64_t size, int64_t *at,
                     struct bt_err *err)
{
    size_t n = (size_t)BT_MIN(size - *at, LIMIT_PART_BYTES);
    BT_AUTO char *part = bt_alloc(n + 1, 1);
    BT_AUTO char *url = bt_printf("%s?offset=%" PRId64 "&total=%" PRId64, path, *at, size);
    struct net_request q = {
        .method = "PUT", .path = url, .type = "application/octet-stream", .body = part, .n = n};
    struct net_reply r;
    int rc;

    for (size_t have = 0; have < n;) {
        ssize_t k = pread(fd, part + have, n - have, (off_t)(*at + (int64_t)have));

        if (k <= 0)
            return bt_fail_errno(err, BT_ERR_IO, "cannot read what is to be uploaded");
        have += (size_t)k;
    }
    rc = net_call(c, &q, &r, err);
    if (rc == 0)
        *at = r.status == 201 ? size : r.have > *at ? r.have : *at + (int64_t)n;
    else if (r.status == 409 && r.have >= 0 && r.have < size && r.have != *at)
        rc = 1; /* the server is elsewhere: go on from there */
    if (rc == 1)
        *at = r.have;
    if (rc == 0 && *at >= size && r.status != 201)
        rc = bt_fail(err, BT_ERR_CONFLICT, "the server did not confirm %.100s", path);
    net_reply_done(&r);
    return rc;
}

int net_upload(struct net_client *c, const char *path, int fd, int64_t size, struct bt_err *err)
{
    struct net_request q = {.method = "HEAD", .path = path};
    struct net_reply r;
    int64_t at = 0;
    int moved = 0;
    int rc = net_call(c, &q, &r, err);

    if (rc == 0 && r.have > 0)
        at = r.have;
    net_reply_done(&r);
    if (rc < 0 && rc != -BT_ERR_NOT_FOUND)
        return rc;
    if (at > size || (at == size && rc == 0 && size > 0))
        return at == size ? 0
                          : bt_fail(err, BT_ERR_CONFLICT, "the server has more of %.100s", path);
    do {
        rc = send_part(c, path, fd, size, &at, err);
        if (rc == 1 && ++moved > 8)
            return bt_fail(err, BT_ERR_CONFLICT, "another upload of %.100s is under way", path);
    } while (rc >= 0 && (at < size || rc == 1));
    return rc < 0 ? rc : 0;
}
