/* A site's helper as a process: started, spoken to, ended.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/clusters/slurm_set.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

enum { CHUNK = 65536 };

static void BT_NORETURN become_helper(const char *program, const char *conf, int sock, int errors)
{
    sigset_t none;

    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    if (dup2(sock, 0) < 0 || dup2(errors, 1) < 0 || dup2(errors, 2) < 0)
        _exit(126);
    execl(program, "beamtime-slurm", conf, (char *)NULL);
    _exit(127);
}

int helper_start(struct driver *d, struct bt_err *err)
{
    struct helper *h = &d->helper;
    int sock[2];
    int errors[2];

    if (d->use.remote)
        return remote_start(d, err);
    if (access(d->all->set.helper, X_OK) < 0)
        return bt_next(err,
                       bt_fail_errno(err, BT_ERR_NOT_FOUND, "cannot run %s", d->all->set.helper),
                       "install beamtime-slurm, or set slurm_helper");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot make a socketpair");
    if (pipe2(errors, O_CLOEXEC) < 0) {
        close(sock[0]);
        close(sock[1]);
        return bt_fail_errno(err, BT_ERR_IO, "cannot make a pipe");
    }
    h->pid = fork();
    if (h->pid == 0)
        become_helper(d->all->set.helper, d->use.slurm_conf, sock[1], errors[1]);
    close(sock[1]);
    close(errors[1]);
    if (h->pid < 0) {
        h->pid = 0;
        close(sock[0]);
        close(errors[0]);
        return bt_fail_errno(err, BT_ERR_BUSY, "cannot fork");
    }
    h->fd = sock[0];
    h->err = errors[0];
    (void)fcntl(h->fd, F_SETFL, O_NONBLOCK);
    (void)fcntl(h->err, F_SETFL, O_NONBLOCK);
    h->words[0] = '\0';
    return 0;
}

static void end_process(struct driver *d)
{
    struct helper *h = &d->helper;

    helper_words(d);
    close(h->fd);
    close(h->err);
    (void)kill(h->pid, SIGKILL);
    while (waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

void helper_end(struct driver *d)
{
    struct helper *h = &d->helper;

    if (!h->pid)
        return;
    if (h->pid == REMOTE)
        remote_end(d);
    else
        end_process(d);
    bt_buf_clear(&h->in);
    bt_buf_clear(&h->out);
    h->pid = 0;
    h->ready = false;
    h->n_asked = 0;
    slots_cut(&d->slots);
    fence_cut(d);
}

bool helper_ask(struct driver *d, const struct wire_request *r, struct bt_uuid job, int32_t attempt)
{
    struct helper *h = &d->helper;
    struct wire_request request = *r;

    if (!h->ready || h->n_asked == ASKED_MAX)
        return false;
    request.q = ++h->q;
    h->asked[(h->first + h->n_asked++) % ASKED_MAX] =
        (struct asked){request.q, (enum wire_op)r->op, bt_mono_us(), job, attempt};
    wire_request_write(&request, &h->out);
    return true;
}

static int send_out(struct helper *h, struct bt_err *err)
{
    while (h->out.n) {
        ssize_t n = send(h->fd, h->out.p, h->out.n, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
        if (n < 0)
            return bt_fail_errno(err, BT_ERR_IO, "the helper has gone");
        h->out.n -= (size_t)n;
        memmove(h->out.p, h->out.p + n, h->out.n);
    }
    return 0;
}

static int take_frame(struct driver *d, const char *text, size_t n, struct bt_err *err)
{
    struct helper *h = &d->helper;
    struct wire_reply r;
    int rc = wire_reply_read(text, n, &r, err);

    if (rc < 0)
        return rc;
    if (!h->ready && r.q == 0) {
        driver_hello(d, &r);
    } else if (h->n_asked && h->asked[h->first].q == r.q) {
        struct asked a = h->asked[h->first];

        h->first = (h->first + 1) % ASKED_MAX;
        h->n_asked--;
        driver_reply(d, &a, &r);
    } else {
        rc = bt_fail(err, BT_ERR_INVALID, "the helper answered what was not asked");
    }
    wire_reply_done(&r);
    return rc;
}

static int read_bytes(struct helper *h, struct bt_err *err)
{
    for (;;) {
        ssize_t n = recv(h->fd, bt_buf_room(&h->in, CHUNK), CHUNK, MSG_DONTWAIT);

        if (n == 0)
            return bt_fail(err, BT_ERR_IO, "the helper ended");
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return bt_fail_errno(err, BT_ERR_IO, "cannot read from the helper");
        if (n < 0)
            return 0;
        h->in.n += (size_t)n;
        if (n < CHUNK)
            return 0;
    }
}

static int read_in(struct driver *d, struct bt_err *err)
{
    struct helper *h = &d->helper;
    size_t at = 0;
    const char *text;
    size_t len;
    int rc = h->pid == REMOTE ? remote_take(d, &h->in, err) : read_bytes(h, err);

    if (rc < 0)
        return rc;
    while (h->pid && (rc = wire_unframe(h->in.p + at, h->in.n - at, &text, &len, err)) != 0) {
        if (rc > 0)
            rc = take_frame(d, text, len, err);
        if (rc < 0)
            return rc;
        at += 4 + len;
    }
    if (at && h->pid) {
        h->in.n -= at;
        memmove(h->in.p, h->in.p + at, h->in.n);
    }
    return 0;
}

int helper_pump(struct driver *d, short revents, struct bt_err *err)
{
    int rc = 0;

    if (revents & (POLLIN | POLLHUP | POLLERR))
        rc = read_in(d, err);
    if (rc == 0 && d->helper.pid == REMOTE)
        return remote_give(d, &d->helper.out, err);
    return rc < 0 ? rc : send_out(&d->helper, err);
}

void helper_words(struct driver *d)
{
    struct helper *h = &d->helper;
    char text[1024];
    ssize_t n;

    while ((n = read(h->err, text, sizeof text - 1)) > 0) {
        char *line = text;

        text[n] = '\0';
        while (n > 0 && text[n - 1] == '\n')
            text[--n] = '\0';
        if (strrchr(text, '\n'))
            line = strrchr(text, '\n') + 1;
        if (bt_is_utf8(line, strlen(line)) && *line)
            bt_copy(h->words, sizeof h->words, line);
    }
}
