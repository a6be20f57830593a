/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/carry.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/identity.h"
#include "agent/renew.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/json/json.h"
#include "lib/net/net.h"

enum {
    PIECE = 128 * 1024, /* of frames in a request; the facility takes 256 KiB */
    POLL_MS = 40000,    /* a request for frames: the facility answers after 25 s */
    SEND_MS = 20000,    /* one with frames */
    QUIET_MS = 20000,   /* nothing to say for so long: an empty one; an idle connection would end */
    RETRY_US = 1000000, /* to the next session: 1, 2, 4 … */
    RETRY_MAX_US = 30000000,
    LASTED_US = 60000000, /* a session so long: the next comes soon again */
};

struct carry {
    const struct settings *set;
    const char *conf;
    char *program;
    struct identity id;
    struct renewal renewal;
    /* of a session */
    char frames[80]; /* the path of its requests */
    pid_t pid;
    int fd; /* our end of the helper's socketpair */
    atomic_bool over;
};

static int client(struct carry *c, struct net_client **ret, struct bt_err *err)
{
    struct net_settings s = {.url = c->set->url,
                             .ca_file = c->id.ca,
                             .cert_file = c->id.cert,
                             .key_file = c->id.key,
                             .relay = c->set->relay && *c->set->relay ? c->set->relay : NULL,
                             .program = "beamtime-agent",
                             .cancel = &c->over};

    return net_client_new(&s, ret, err);
}

/* ---- the helper ---- */

static void BT_NORETURN become_helper(const struct carry *c, int sock)
{
    sigset_t none;

    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    if (dup2(sock, 0) < 0 || dup2(2, 1) < 0)
        _exit(126);
    execl(c->program, "beamtime-slurm", c->conf, (char *)NULL);
    _exit(127);
}

static int start_helper(struct carry *c, struct bt_err *err)
{
    int sock[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot make a socketpair");
    c->pid = fork();
    if (c->pid == 0)
        become_helper(c, sock[1]);
    close(sock[1]);
    c->fd = sock[0];
    return c->pid > 0 ? 0 : bt_fail_errno(err, BT_ERR_BUSY, "cannot fork");
}

static void end_helper(struct carry *c)
{
    if (c->pid > 0) {
        (void)kill(c->pid, SIGKILL);
        while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    c->pid = 0;
    close(c->fd);
    c->fd = -1;
}

/* ---- from the helper to the facility: a thread ---- */

/* What the helper says next, or nothing after QUIET_MS: -1 when it has ended. */
static ssize_t listen_to(const struct carry *c, char *p)
{
    struct pollfd fd = {.fd = c->fd, .events = POLLIN};
    ssize_t n;

    if (poll(&fd, 1, QUIET_MS) <= 0)
        return 0;
    n = recv(c->fd, p, PIECE, 0);
    return n > 0 ? n : -1;
}

static void *carry_up(void *arg)
{
    struct carry *c = arg;
    BT_AUTO char *p = bt_alloc(1, PIECE);
    struct net_request q = {.method = "POST",
                            .path = c->frames,
                            .type = "application/octet-stream",
                            .body = p,
                            .deadline_ms = SEND_MS,
                            .once = true};
    struct net_client *net = NULL;
    struct bt_err e = {0};
    int rc = client(c, &net, &e);
    ssize_t n;

    while (rc == 0 && !atomic_load(&c->over) && (n = listen_to(c, p)) >= 0) {
        struct net_reply reply = {0};

        q.n = (size_t)n;
        rc = net_call(net, &q, &reply, &e);
        net_reply_done(&reply);
    }
    if (rc < 0 && !atomic_load(&c->over))
        bt_log_err(BT_WARN, "helper_not_heard", &e);
    atomic_store(&c->over, true); /* ends the other direction within a second */
    net_client_free(net);
    return NULL;
}

/* ---- a session ---- */

static int attach(struct carry *c, struct net_client *net, struct bt_err *err)
{
    struct net_request q = {.method = "POST",
                            .path = "/v1/helper/sessions",
                            .body = "{}",
                            .n = 2,
                            .deadline_ms = SEND_MS,
                            .once = true};
    JSON_AUTO struct json *j = NULL;
    struct net_reply reply = {0};
    struct bt_uuid session;
    char text[BT_UUID_TEXT];
    int rc = net_call(net, &q, &reply, err);

    if (rc == 0)
        rc = json_parse(reply.body ? reply.body : "", reply.n, JSON_MAX_BYTES, &j, err);
    net_reply_done(&reply);
    if (rc == 0 && bt_uuid_parse(json_str(json_get(j, "session"), ""), &session) < 0)
        rc = bt_fail(err, BT_ERR_INVALID, "the facility gave no session");
    if (rc == 0)
        (void)snprintf(c->frames, sizeof c->frames, "/v1/helper/sessions/%s/frames",
                       bt_uuid_format(session, text));
    return rc;
}

static int ask_for_renewal(void *arg, const struct bt_buf *request, struct bt_buf *ret,
                           struct bt_err *err)
{
    struct net_request q = {.method = "POST",
                            .path = "/v1/helper/renew",
                            .body = request->p,
                            .n = request->n,
                            .deadline_ms = SEND_MS,
                            .once = true};
    struct net_reply reply = {0};
    int rc = net_call(arg, &q, &reply, err);

    if (rc == 0 && reply.n)
        bt_buf_add(ret, reply.body, reply.n);
    net_reply_done(&reply);
    return rc;
}

static int carry_down(struct carry *c, struct net_client *net, struct bt_err *err)
{
    struct net_request q = {.path = c->frames, .deadline_ms = POLL_MS, .once = true};
    int rc = 0;

    while (rc == 0 && !atomic_load(&c->over)) {
        struct net_reply reply = {0};

        rc = net_call(net, &q, &reply, err);
        if (rc == 0 && reply.n)
            rc = bt_write_all(c->fd, reply.body, reply.n, err);
        net_reply_done(&reply);
        if (rc == 0)
            renew_look(&c->renewal, c->set, ask_for_renewal, net);
    }
    return rc;
}

static int session(struct carry *c, struct net_client *net, struct bt_err *err)
{
    pthread_t up;
    int rc = attach(c, net, err);

    if (rc < 0)
        return rc;
    rc = start_helper(c, err);
    if (rc == 0 && pthread_create(&up, NULL, carry_up, c) != 0)
        rc = bt_fail(err, BT_ERR_BUSY, "cannot start a thread");
    if (rc == 0) {
        bt_log(BT_INFO, "helper_connected", "url", c->set->url, NULL);
        rc = carry_down(c, net, err);
        if (atomic_exchange(&c->over, true))
            rc = bt_fail(err, BT_ERR_IO, "the session is over");
        (void)shutdown(c->fd, SHUT_RDWR); /* wakes the thread */
        pthread_join(up, NULL);
    }
    end_helper(c);
    return rc;
}

static int find_program(const struct settings *set, char **ret, struct bt_err *err)
{
    static const char *const below[] = {"beamtime-slurm", "beamtime/beamtime-slurm",
                                        "../daemon/clusters/helper/beamtime-slurm"};

    for (size_t i = 0; i < BT_ARRAY_LEN(below); i++) {
        *ret = bt_printf("%s/%s", set->libexec_dir, below[i]);
        if (access(*ret, X_OK) == 0)
            return 0;
        bt_free(*ret);
    }
    *ret = NULL;
    return bt_next(
        err, bt_fail(err, BT_ERR_NOT_FOUND, "there is no beamtime-slurm in %s", set->libexec_dir),
        "install it, or say where with --libexec-dir");
}

static void BT_NORETURN carry_on(struct carry *c)
{
    for (int failures = 0;;) {
        struct net_client *net = NULL;
        struct bt_err e = {0};
        int64_t began_us = bt_mono_us();
        int64_t wait_us;

        atomic_store(&c->over, false);
        if (client(c, &net, &e) < 0 || session(c, net, &e) < 0)
            bt_log_err(failures ? BT_DEBUG : BT_WARN, "helper_not_connected", &e);
        net_client_free(net);
        failures = bt_mono_us() - began_us > LASTED_US ? 0 : failures + 1;
        wait_us = BT_MIN((int64_t)RETRY_US << BT_MIN(failures, 5), (int64_t)RETRY_MAX_US);
        (void)poll(NULL, 0, (int)(wait_us / 1000));
    }
}

int carry_run(const struct settings *set, const char *slurm_conf, struct bt_err *err)
{
    struct carry c = {.set = set, .conf = slurm_conf, .fd = -1};
    int rc = find_program(set, &c.program, err);

    identity_of(set, &c.id);
    if (rc == 0 && access(c.id.cert, R_OK) < 0)
        rc = bt_next(
            err, bt_fail(err, BT_ERR_NOT_FOUND, "this helper is not enrolled: no %s", c.id.cert),
            "beamtime-agent --token-file FILE enrol, with a token of kind helper");
    if (rc == 0 && *slurm_conf != '/')
        rc = bt_fail(err, BT_ERR_USAGE, "'%.80s' is no absolute path of a slurm.conf", slurm_conf);
    (void)signal(SIGPIPE, SIG_IGN);
    if (rc == 0)
        carry_on(&c);
    identity_done(&c.id);
    bt_free(c.program);
    return rc;
}
