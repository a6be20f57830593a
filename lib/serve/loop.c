/* The one thread that turns libmicrohttpd. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * libmicrohttpd 0.9.75 keeps a connection that waits in its TLS handshake on the list of those that
 * are ready to be read: its own thread turns without pause until the client goes on. Here each
 * turn's bytes are counted at GnuTLS's transport, and after a turn that wanted another one but
 * moved nothing the thread waits for an event. What a session holds decrypted moves no bytes when
 * it is read; callbacks count as well, and the wait is short, so that nothing can hang on it. */
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "lib/serve/own.h"

enum { STALL_MS = 5, LONGEST_MS = 60000 };

/* ---- from the threads that reply ---- */

static void wake(const struct server *s)
{
    (void)!write(s->loop.wake, &(uint64_t){1}, sizeof(uint64_t));
}

/* The server whose loop this thread is. */
static _Thread_local const struct server *own;

/* Several that come while the loop turns wake it once; what its own thread answers need not. */
void loop_resume(struct serve_request *r)
{
    struct server *s = r->s;
    bool first;

    request_ref(r);
    pthread_mutex_lock(&s->loop.lock);
    first = !s->loop.first;
    if (first)
        s->loop.first = r;
    else
        s->loop.last->next = r;
    s->loop.last = r;
    pthread_mutex_unlock(&s->loop.lock);
    if (first && own != s)
        wake(s);
}

static void resume_all(struct server *s)
{
    struct serve_request *r;

    pthread_mutex_lock(&s->loop.lock);
    r = s->loop.first;
    s->loop.first = NULL;
    pthread_mutex_unlock(&s->loop.lock);
    while (r) {
        struct serve_request *next = r->next;

        r->next = NULL;
        r->conn->resumed = true;
        MHD_resume_connection(r->mhd); /* one that is suspended is not gone */
        request_unref(r);
        r = next;
    }
}

/* ---- the thread ---- */

static bool has_resumed(struct server *s)
{
    bool has;

    pthread_mutex_lock(&s->loop.lock);
    has = s->loop.first != NULL;
    pthread_mutex_unlock(&s->loop.lock);
    return has;
}

/* How long poll may wait before the next turn. */
static int wait_ms(struct server *s, bool stalled)
{
    int longest = s->full ? STALL_MS : LONGEST_MS;
    MHD_UNSIGNED_LONG_LONG ms;

    if (has_resumed(s))
        return 0;
    if (MHD_get_timeout(s->mhd, &ms) != MHD_YES)
        return longest;
    if (ms == 0)
        return stalled ? STALL_MS : 0;
    return (int)BT_MIN(ms, (MHD_UNSIGNED_LONG_LONG)longest);
}

static void *run(void *arg)
{
    struct server *s = arg;
    struct pollfd fds[] = {
        {.fd = MHD_get_daemon_info(s->mhd, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, .events = POLLIN},
        {.fd = s->loop.wake, .events = POLLIN},
        {.fd = -1, .events = POLLIN}}; /* the handler's */
    bool stalled = false;

    pthread_setname_np(pthread_self(), "serve");
    own = s;
    while (!atomic_load(&s->loop.end)) {
        uint64_t before = s->moved, woken;
        int ms = wait_ms(s, stalled);
        int n = ms != 0 || fds[2].fd >= 0 ? poll(fds, BT_ARRAY_LEN(fds), ms) : 0;

        if (n > 0 && (fds[1].revents & POLLIN))
            (void)!read(s->loop.wake, &woken, sizeof woken);
        if (n > 0 && fds[2].revents) /* first: what it answers leaves with this turn */
            fds[2].fd = s->handler.turned(s->handler.arg);
        resume_all(s);
        (void)!MHD_run(s->mhd);
        wire_flush(s);
        atomic_fetch_add_explicit(&s->turns, 1, memory_order_relaxed);
        stalled = s->set.cert_pem && s->moved == before;
        if (s->handler.turned && s->moved != before)
            fds[2].fd = s->handler.turned(s->handler.arg);
    }
    return NULL;
}

int loop_start(struct server *s, struct bt_err *err)
{
    s->loop.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->loop.wake < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot make an eventfd");
    pthread_mutex_init(&s->loop.lock, NULL);
    if (pthread_create(&s->loop.thread, NULL, run, s) != 0)
        abort();
    return 0;
}

void loop_stop(struct server *s)
{
    atomic_store(&s->loop.end, true);
    wake(s);
    pthread_join(s->loop.thread, NULL);
    resume_all(s); /* libmicrohttpd must not be stopped while a connection is suspended */
    pthread_mutex_destroy(&s->loop.lock);
    close(s->loop.wake);
}
