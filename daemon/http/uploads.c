/* Blobs and logs: parts that arrive in order and can be resumed, and logs read back live.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 *   blobs_dir/sha256/ab/<hex>        a blob whose bytes were verified, durable
 *   blobs_dir/sha256/ab/<hex>.part   what has arrived of one; locked while somebody writes
 *   logs_dir/<job>/<attempt>.<stream>, and the same with .eof once it is complete
 *
 * The body streams into the file; what is wrong is found at its head, but told only behind the
 * body: a client that is still sending would lose an early answer. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/http/own.h"
#include "daemon/http/uploads.h"
#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/uuid.h"
#include "lib/crypto/hash.h"

static const char *const streams[] = {"out", "err", "metrics", NULL};

struct upload {
    int fd;
    int64_t at;    /* where the next bytes go; what we have */
    int64_t total; /* of a blob */
    bool there;    /* the blob is complete already: the body passes unread */
    bool eof;
    bool ask; /* of a log: whose attempt it is only the database knows; fd is a file without name */
    int64_t offset; /* then: where the client wants its bytes */
    int32_t attempt;
    struct bt_uuid job;
    char *dir;
    char *path;
    char *part;
    struct bt_err err; /* code != 0: tell it behind the body */
};

static void upload_free(void *data)
{
    struct upload *u = data;

    if (u->fd >= 0)
        close(u->fd); /* and with it the lock */
    bt_free(u->dir);
    bt_free(u->path);
    bt_free(u->part);
    bt_free(u);
}

static struct upload *upload_new(struct call *c)
{
    struct upload *u = bt_new(struct upload);

    u->fd = -1;
    c->data = u;
    c->drop_data = upload_free;
    return u;
}

static int number(struct call *c, const char *name, int64_t max, int64_t otherwise, int64_t *ret,
                  struct bt_err *err)
{
    const char *s = serve_query(c->r, name);

    *ret = otherwise;
    return s ? bt_parse_i64(s, name, 0, max, ret, err) : 0;
}

static int chunk(void *user, const void *p, size_t n, struct bt_err *err)
{
    struct upload *u = ((struct call *)user)->data;

    if (u->err.code || u->there)
        return 0;
    while (n) {
        ssize_t k = pwrite(u->fd, p, n, (off_t)u->at);

        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return bt_fail_errno(err,
                                 errno == ENOSPC || errno == EDQUOT ? BT_ERR_DISK_FULL : BT_ERR_IO,
                                 "what arrived cannot be kept");
        u->at += k;
        p = (const char *)p + k;
        n -= (size_t)k;
    }
    return 0;
}

/* Opens the file, alone, and finds its end; the client must go on exactly there. */
static int open_at(struct upload *u, const char *path, int64_t offset, struct bt_err *err)
{
    struct stat st;
    int rc = bt_mkdirs(u->dir, 0700, err);

    if (rc < 0)
        return rc;
    u->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (u->fd < 0)
        return bt_fail_errno(err, errno == ENOSPC ? BT_ERR_DISK_FULL : BT_ERR_IO,
                             "a file cannot be opened");
    if (fstat(u->fd, &st) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "a file cannot be looked at");
    u->at = st.st_size;
    if (flock(u->fd, LOCK_EX | LOCK_NB) < 0)
        return bt_fail(err, BT_ERR_BUSY, "another upload of it is under way");
    if (offset != u->at)
        return bt_fail(err, BT_ERR_CONFLICT, "%" PRId64 " bytes are here, not %" PRId64, u->at,
                       offset);
    return 0;
}

static void answer_have(struct call *c, int status, int64_t have)
{
    struct bt_buf body = {0};
    struct json_writer w = {.to = &body};

    jw_object(&w, NULL);
    jw_i64(&w, "have", have);
    jw_end_object(&w);
    serve_json(c->r, status, body.p, body.n);
}

static void fail_have(struct call *c, const struct bt_err *err, int64_t have)
{
    char more[40];

    snprintf(more, sizeof more, "\"have\":%" PRId64, have);
    serve_problem(c->r, err, 0, more);
}

/* ---- blobs ---- */

bool blob_is_sha256(const char *s)
{
    return strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

char *blob_path(const struct http *h, const char *hex)
{
    return bt_printf("%s/sha256/%.2s/%s", h->set.blobs_dir, hex, hex);
}

static int blob_open(struct call *c, struct upload *u, struct bt_err *err)
{
    const char *hex = c->match.param[0];
    int64_t offset = 0;
    int rc;

    if (!blob_is_sha256(hex))
        return bt_fail(err, BT_ERR_INVALID, "a blob's address is its SHA-256 in 64 digits");
    rc = number(c, "offset", LIMIT_BLOB_BYTES, 0, &offset, err);
    if (rc == 0)
        rc = number(c, "total", LIMIT_BLOB_BYTES, -1, &u->total, err);
    if (rc < 0)
        return rc;
    if (u->total < 0 || offset + serve_body_length(c->r) > u->total)
        return bt_fail(err, BT_ERR_INVALID, "?total= must say the blob's bytes and hold this part");
    u->path = blob_path(c->h, hex);
    u->part = bt_printf("%s.part", u->path);
    u->dir = bt_strndup(u->path, strlen(u->path) - 65);
    u->there = access(u->path, F_OK) == 0;
    return u->there ? 0 : open_at(u, u->part, offset, err);
}

void upload_blob_head(struct call *c)
{
    struct upload *u = upload_new(c);
    struct bt_err err = {0};

    if (blob_open(c, u, &err) < 0)
        u->err = err;
    serve_stream_body(c->r, LIMIT_PART_BYTES, chunk);
}

/* The last byte is here: the whole is read again, and only what has the promised hash stays. */
static int blob_finish(struct call *c, struct upload *u, struct bt_err *err)
{
    uint8_t want[32], have[32];
    int rc;

    if (bt_unhex(c->match.param[0], want, 32) < 0 || lseek(u->fd, 0, SEEK_SET) < 0)
        return bt_fail(err, BT_ERR_IO, "a blob cannot be read again");
    rc = bt_sha256_fd(u->fd, have, NULL, err);
    if (rc < 0)
        return rc;
    if (memcmp(want, have, 32) != 0) {
        unlink(u->part);
        u->at = 0;
        return bt_fail(err, BT_ERR_CONFLICT, "the bytes do not have the SHA-256 of their address");
    }
    if (fsync(u->fd) < 0 || rename(u->part, u->path) < 0)
        return bt_fail_errno(err, errno == ENOSPC ? BT_ERR_DISK_FULL : BT_ERR_IO,
                             "a blob cannot be kept");
    return bt_fsync_dir(u->dir, err);
}

static void blob_settle(struct call *c)
{
    struct upload *u = c->data;
    struct bt_err err = {0};

    if (blob_finish(c, u, &err) < 0)
        fail_have(c, &err, u->at);
    else
        answer_have(c, 201, u->total);
}

void upload_blob(struct call *c)
{
    struct upload *u = c->data;

    if (u->err.code)
        fail_have(c, &u->err, u->at);
    else if (u->there)
        answer_have(c, 201, u->total);
    else if (u->at < u->total)
        answer_have(c, 200, u->at);
    else
        tasks_add(c, blob_settle);
}

void upload_blob_have(struct call *c)
{
    struct serve_reply reply = {.status = 200};
    struct bt_err err;
    struct stat st;
    char have[24];

    if (!blob_is_sha256(c->match.param[0])) {
        bt_fail(&err, BT_ERR_INVALID, "a blob's address is its SHA-256 in 64 digits");
        http_fail(c, &err);
        return;
    }
    BT_AUTO char *path = blob_path(c->h, c->match.param[0]);
    BT_AUTO char *part = bt_printf("%s.part", path);

    if (stat(path, &st) < 0 && stat(part, &st) < 0)
        st.st_size = 0;
    snprintf(have, sizeof have, "%lld", (long long)st.st_size);
    serve_reply_header(&reply, "Beamtime-Have", have);
    serve_reply(c->r, &reply);
}

/* ---- logs: written by the agent whose attempt it is ---- */

enum { KNOWN_MAX = 65536 };

/* Attempts of which is known that they are this node's: asked once, then remembered. */
static struct {
    pthread_mutex_t lock;
    struct bt_map map;
} known = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint64_t known_key(const struct call *c, const struct upload *u)
{
    char text[160], id[BT_UUID_TEXT];

    snprintf(text, sizeof text, "%s.%d@%s", bt_uuid_format(u->job, id), u->attempt,
             c->principal.subject);
    return bt_map_hash(text, strlen(text));
}

static bool is_known(const struct call *c, const struct upload *u)
{
    uint32_t one;
    bool yes;

    pthread_mutex_lock(&known.lock);
    yes = bt_map_get(&known.map, known_key(c, u), &one);
    pthread_mutex_unlock(&known.lock);
    return yes;
}

static void now_known(const struct call *c, const struct upload *u)
{
    pthread_mutex_lock(&known.lock);
    if (known.map.n >= KNOWN_MAX)
        bt_map_done(&known.map);
    bt_map_put(&known.map, known_key(c, u), 1);
    pthread_mutex_unlock(&known.lock);
}

static int stream_of(struct call *c, const char **ret, struct bt_err *err)
{
    const char *s = serve_query(c->r, "stream");

    *ret = "out";
    if (!s)
        return 0;
    for (int i = 0; streams[i]; i++)
        if (!strcmp(s, streams[i])) {
            *ret = streams[i];
            return 0;
        }
    return bt_fail(err, BT_ERR_INVALID, "?stream= must be out, err or metrics");
}

static char *log_path(const struct http *h, struct bt_uuid job, int32_t attempt, const char *stream)
{
    char id[BT_UUID_TEXT];

    return bt_printf("%s/%s/%d.%s", h->set.logs_dir, bt_uuid_format(job, id), attempt, stream);
}

/* Where the first bytes of an attempt wait until it is known whose they are. */
static int open_aside(const struct http *h, struct upload *u, struct bt_err *err)
{
    BT_AUTO char *path = bt_printf("%s/.aside-XXXXXX", h->set.logs_dir);

    u->fd = mkostemp(path, O_CLOEXEC);
    if (u->fd < 0 || unlink(path) < 0)
        return bt_fail_errno(err, errno == ENOSPC ? BT_ERR_DISK_FULL : BT_ERR_IO,
                             "a file cannot be opened");
    return 0;
}

/* The bytes that waited go where they belong. */
static int put_in_place(struct upload *u, struct bt_err *err)
{
    BT_FD_AUTO int aside = u->fd;
    int64_t n = u->at;
    int rc;

    u->fd = -1;
    rc = open_at(u, u->path, u->offset, err);
    if (rc < 0)
        return rc;
    if (lseek(u->fd, (off_t)u->at, SEEK_SET) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "a log cannot be written");
    for (off_t from = 0; from < n; u->at = u->offset + from) {
        ssize_t k = sendfile(u->fd, aside, &from, (size_t)(n - from));

        if (k <= 0)
            return bt_fail_errno(err, errno == ENOSPC ? BT_ERR_DISK_FULL : BT_ERR_IO,
                                 "what arrived cannot be kept");
    }
    return 0;
}

static int log_open(struct call *c, struct upload *u, struct bt_err *err)
{
    const char *stream, *eof = serve_query(c->r, "eof");
    int64_t attempt = 0, offset = 0;
    char id[BT_UUID_TEXT];
    int rc;

    if (bt_uuid_parse(c->match.param[0], &u->job) < 0)
        return bt_fail(err, BT_ERR_INVALID, "'%.40s' is no job's id", c->match.param[0]);
    rc = stream_of(c, &stream, err);
    if (rc == 0)
        rc = number(c, "attempt", JOB_MAX_ATTEMPTS, 0, &attempt, err);
    if (rc == 0)
        rc = number(c, "offset", LIMIT_LOG_BYTES, 0, &offset, err);
    if (rc < 0)
        return rc;
    if (attempt < 1)
        return bt_fail(err, BT_ERR_INVALID, "?attempt= must be at least 1");
    if (offset + serve_body_length(c->r) > LIMIT_LOG_BYTES)
        return bt_fail(err, BT_ERR_TOO_LARGE, "a log may have %d bytes", (int)LIMIT_LOG_BYTES);
    u->attempt = (int32_t)attempt;
    u->eof = eof && !strcmp(eof, "1");
    u->ask = !is_known(c, u);
    u->offset = offset;
    u->dir = bt_printf("%s/%s", c->h->set.logs_dir, bt_uuid_format(u->job, id));
    u->path = log_path(c->h, u->job, u->attempt, stream);
    return u->ask ? open_aside(c->h, u, err) : open_at(u, u->path, offset, err);
}

void upload_log_head(struct call *c)
{
    struct upload *u = upload_new(c);
    struct bt_err err = {0};

    if (log_open(c, u, &err) < 0)
        u->err = err;
    serve_stream_body(c->r, LIMIT_PART_BYTES, chunk);
}

static int mark_complete(const struct upload *u, struct bt_err *err)
{
    BT_AUTO char *mark = bt_printf("%s.eof", u->path);

    if (fsync(u->fd) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "a log cannot be kept");
    return bt_file_write(mark, 0600, "", 0, err);
}

static void log_settle(struct call *c)
{
    struct upload *u = c->data;
    struct http *h = c->h;
    uint64_t key = hub_key('l', u->job.b, sizeof u->job.b);
    struct bt_err err = {0};

    if (u->eof && mark_complete(u, &err) < 0)
        http_fail(c, &err);
    else
        answer_have(c, 200, u->at);
    hub_wake(h, key);
}

/* The first upload of an attempt since the daemon began. */
static void whose_attempt(struct call *c)
{
    struct upload *u = c->data;
    char n[16];
    struct read q = {.name = "attempt_node", .param = {c->match.param[0], n}, .n = 2};
    BT_BUF_AUTO struct bt_buf node = {0};
    struct bt_err err = {0};
    int rc;

    snprintf(n, sizeof n, "%d", u->attempt);
    rc = read_json(c->h, &q, &node, &err);
    if (rc == -BT_ERR_NOT_FOUND || (rc == 0 && !bt_streq(bt_buf_text(&node), c->principal.subject)))
        rc = bt_fail(&err, BT_ERR_FORBIDDEN, "attempt %d of job %s is not of node %s", u->attempt,
                     c->match.param[0], c->principal.subject);
    if (rc < 0) {
        http_fail(c, &err);
        return;
    }
    now_known(c, u);
    if (put_in_place(u, &err) < 0)
        fail_have(c, &err, u->at);
    else
        log_settle(c);
}

void upload_log(struct call *c)
{
    struct upload *u = c->data;

    if (u->err.code)
        fail_have(c, &u->err, u->at);
    else if (u->ask)
        tasks_add(c, whose_attempt);
    else if (u->eof)
        tasks_add(c, log_settle);
    else
        log_settle(c);
}

/* ---- logs, read ---- */

struct tail {
    const char *stream; /* static */
    int64_t attempt, offset, wait_s;
    bool over; /* the attempt cannot write any more */
    struct bt_uuid job;
};

/* Jobs that became terminal lately: a stream without a byte has no mark of its own, so whoever
 * waits for its end hears of the job's. */
static struct {
    pthread_mutex_t lock;
    struct bt_map map;
} ended = {.lock = PTHREAD_MUTEX_INITIALIZER};

void uploads_ended(struct http *h, struct bt_uuid job)
{
    pthread_mutex_lock(&ended.lock);
    if (ended.map.n >= KNOWN_MAX)
        bt_map_done(&ended.map);
    bt_map_put(&ended.map, bt_map_hash(job.b, sizeof job.b), 1);
    pthread_mutex_unlock(&ended.lock);
    hub_wake(h, hub_key('l', job.b, sizeof job.b));
}

static bool has_ended(struct bt_uuid job)
{
    uint32_t one;
    bool yes;

    pthread_mutex_lock(&ended.lock);
    yes = bt_map_get(&ended.map, bt_map_hash(job.b, sizeof job.b), &one);
    pthread_mutex_unlock(&ended.lock);
    return yes;
}

static bool complete(const struct tail *t, const char *path)
{
    BT_AUTO char *mark = bt_printf("%s.eof", path);

    return t->over || has_ended(t->job) || access(mark, F_OK) == 0;
}

/* Are there bytes behind the offset, or will there be none? */
static bool tail_ready(struct call *c)
{
    const struct tail *t = c->data;
    BT_AUTO char *path = log_path(c->h, t->job, (int32_t)t->attempt, t->stream);
    struct stat st;

    return complete(t, path) || (stat(path, &st) == 0 && st.st_size > t->offset);
}

static void tail_end(struct call *c)
{
    struct tail *t = c->data;
    BT_AUTO char *path = log_path(c->h, t->job, (int32_t)t->attempt, t->stream);
    bool eof = complete(t, path); /* before the size: what came in between is seen next time */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct serve_reply reply = {.status = 200, .type = "application/octet-stream"};
    struct stat st = {0};
    char next[24];

    if (fd >= 0 && fstat(fd, &st) < 0)
        st.st_size = 0;
    if (st.st_size > t->offset) {
        reply.file = true;
        reply.fd = fd;
        reply.offset = t->offset;
        reply.length = BT_MIN(st.st_size - t->offset, LIMIT_LOG_REPLY_BYTES);
    } else {
        if (fd >= 0)
            close(fd);
        reply.length = 0;
        t->offset = st.st_size;
    }
    snprintf(next, sizeof next, "%" PRId64, t->offset + reply.length);
    serve_reply_header(&reply, "Beamtime-Offset", next);
    if (eof && t->offset + reply.length >= st.st_size)
        serve_reply_header(&reply, "Beamtime-Eof", "1");
    serve_reply(c->r, &reply);
}

/* Who may read it: the job's nation, operators and the council. */
static int tail_of(struct call *c, struct tail *t, struct bt_err *err)
{
    char attempt[24];
    struct read q = {.name = "job_log", .param = {c->match.param[0], NULL}, .n = 2};
    BT_BUF_AUTO struct bt_buf text = {0};
    JSON_AUTO struct json *info = NULL;
    int rc;

    snprintf(attempt, sizeof attempt, "%" PRId64, t->attempt);
    if (t->attempt)
        q.param[1] = attempt;
    rc = read_job_id(c->h, c->match.param[0], &t->job, err);
    if (rc == 0)
        rc = read_json(c->h, &q, &text, err);
    if (rc == 0)
        rc = json_parse(bt_buf_text(&text), text.n, JSON_MAX_BYTES, &info, err);
    if (rc < 0)
        return rc;
    if (!bt_streq(json_str(json_get(info, "nation"), ""), c->who.nation) &&
        !(c->who.roles & (ROLE_OPERATOR | ROLE_COUNCIL)))
        return bt_fail(err, BT_ERR_FORBIDDEN, "the log of job %s is its nation's",
                       c->match.param[0]);
    t->attempt = BT_MAX(json_i64(json_get(info, "attempt"), 1), 1);
    t->over = !json_bool(json_get(info, "open"), false);
    return 0;
}

static void tail_begin(struct call *c)
{
    struct tail *t = c->data;
    struct bt_err err = {0};

    if (tail_of(c, t, &err) < 0) {
        http_fail(c, &err);
        return;
    }
    hub_register(c, hub_key('l', t->job.b, sizeof t->job.b));
    if (t->wait_s > 0 && !tail_ready(c) && hub_sleep(c, (int)t->wait_s * 1000, tail_end))
        return;
    hub_leave(c);
    tail_end(c);
}

void job_log(struct call *c)
{
    struct tail *t = bt_new(struct tail);
    struct bt_err err = {0};
    int rc;

    c->data = t;
    c->drop_data = bt_free;
    rc = stream_of(c, &t->stream, &err);
    if (rc == 0)
        rc = number(c, "attempt", JOB_MAX_ATTEMPTS, 0, &t->attempt, &err);
    if (rc == 0)
        rc = number(c, "offset", INT64_MAX / 2, 0, &t->offset, &err);
    if (rc == 0)
        rc = number(c, "wait", LIMIT_LONG_POLL_S, 0, &t->wait_s, &err);
    if (rc < 0)
        http_fail(c, &err);
    else
        tasks_add(c, tail_begin);
}
