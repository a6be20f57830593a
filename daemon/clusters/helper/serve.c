/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/clusters/helper/serve.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

enum { CHUNK = 65536 };

static int64_t processor_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int call(const struct calls *c, const struct wire_request *r, struct wire_reply *ret,
                struct bt_err *err)
{
    switch ((enum wire_op)r->op) {
    case WIRE_NODES:
        return c->nodes(c->arg, r->fresh, r->partition, ret, err);
    case WIRE_JOBS:
        return c->jobs(c->arg, r->fresh, ret, err);
    case WIRE_SUBMIT:
        return c->submit(c->arg, &r->submit, &ret->id, err);
    case WIRE_CANCEL:
        return c->cancel(c->arg, r->id, r->comment, err);
    case WIRE_CONF:
        ret->conf = bt_new(struct wire_conf);
        return c->conf(c->arg, r->partition, r->user, ret->conf, err);
    case WIRE_QUEUE:
        return c->queue(c->arg, r->fresh, r->partition, ret, err);
    case WIRE_RESUME:
        return c->resume(c->arg, r->node, err);
    case WIRE_FENCE:
        ret->fenced = bt_new(struct wire_fenced);
        return c->fence(c->arg, r->apply, r->fence, r->n_fence, ret->fenced, err);
    case WIRE_OPS:
        break;
    }
    return bt_fail(err, BT_ERR_INVALID, "there is no such request");
}

static int answer(const struct calls *c, const char *text, size_t n, struct bt_buf *out,
                  struct bt_err *err)
{
    struct wire_request request;
    struct wire_reply reply = {0};
    struct bt_err said = {0};
    int64_t began_us = processor_us();
    int rc = wire_request_read(text, n, &request, err);

    if (rc < 0)
        return rc;
    rc = call(c, &request, &reply, &said);
    reply.cost_us = processor_us() - began_us;
    reply.q = request.q;
    reply.ok = rc >= 0;
    reply.code = said.code;
    bt_copy(reply.text, sizeof reply.text, said.text);
    bt_copy(reply.next, sizeof reply.next, said.next);
    wire_reply_write(&reply, (enum wire_op)request.op, out);
    wire_reply_done(&reply);
    wire_request_done(&request);
    return 0;
}

int serve_frame(const struct calls *calls, struct bt_buf *in, struct bt_buf *out,
                struct bt_err *err)
{
    const char *text;
    size_t n;
    int rc = wire_unframe(in->p, in->n, &text, &n, err);

    if (rc <= 0)
        return rc;
    rc = answer(calls, text, n, out, err);
    if (rc < 0)
        return rc;
    in->n -= 4 + n;
    if (in->n)
        memmove(in->p, in->p + 4 + n, in->n);
    return 1;
}

/* An answer leaves at once: the next request may take long. */
static int serve_all(const struct calls *calls, struct bt_buf *in, struct bt_buf *out, int fd,
                     struct bt_err *err)
{
    int rc;

    while ((rc = serve_frame(calls, in, out, err)) > 0) {
        rc = bt_write_all(fd, out->p, out->n, err);
        if (rc < 0)
            return rc;
        bt_buf_clear(out);
    }
    return rc;
}

int serve_fd(const struct calls *calls, const struct wire_reply *hello, int fd, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf in = {0};
    BT_BUF_AUTO struct bt_buf out = {0};
    int rc;

    wire_reply_write(hello, WIRE_OPS, &out);
    rc = bt_write_all(fd, out.p, out.n, err);
    bt_buf_clear(&out);
    while (rc == 0) {
        char *room = bt_buf_room(&in, CHUNK);
        ssize_t n = read(fd, room, CHUNK);

        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return bt_fail_errno(err, BT_ERR_IO, "cannot read from the daemon");
        in.n += n > 0 ? (size_t)n : 0;
        rc = serve_all(calls, &in, &out, fd, err);
    }
    return rc;
}
