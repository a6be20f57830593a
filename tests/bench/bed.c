/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/bench/bed.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/clusters/wire.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/json/json.h"

enum { UP_TRIES = 600 };

static struct bed *current; /* stopped with the bench, also when it dies */

static char *line_of(const struct bed *b, const char *fmt, va_list ap)
{
    char text[4096];

    vsnprintf(text, sizeof text, fmt, ap); /* NOLINT: a bench's own words */
    return bt_printf("export SLURM_CONF=%s/slurm.conf; %s", b->dir, text);
}

int bed_shell(const struct bed *b, const char *fmt, ...)
{
    va_list ap;
    int status;

    va_start(ap, fmt);
    BT_AUTO char *line = line_of(b, fmt, ap);
    va_end(ap);
    status = system(line); /* NOLINT: the words are the bench's own */
    return status < 0 ? -1 : WEXITSTATUS(status);
}

int64_t bed_number(const struct bed *b, const char *fmt, ...)
{
    char text[64] = "";
    va_list ap;
    FILE *f;

    va_start(ap, fmt);
    BT_AUTO char *line = line_of(b, fmt, ap);
    va_end(ap);
    f = popen(line, "re"); /* NOLINT: the words are the bench's own */
    if (!f || !fgets(text, sizeof text, f))
        text[0] = '\0';
    if (f)
        (void)pclose(f);
    return strtoll(text, NULL, 10);
}

static void stop_current(void)
{
    if (current)
        bed_stop(current);
}

static void start_testbed(struct bed *b, const char *more)
{
    if (bed_shell(b,
                  "TB_PREFIX=b TB_CLUSTER=bench TB_PORT=%d %s TB_CPUS=%d TB_MEM=%d "
                  "TB_EXTRA='%s' %s/tests/slurm/testbed start %s %d >&2",
                  20000 + (int)(getpid() % 600) * 20, b->cloud ? "TB_CLOUD=1" : "",
                  b->cloud ? 96 : 16, b->cloud ? 2000000 : 8000, more, BT_SOURCE_ROOT, b->dir,
                  b->n_nodes) != 0)
        rig_die("the Slurm of the bench did not start");
}

void bed_start(struct bed *b, const char *base, int n, bool cloud, const char *more)
{
    *b = (struct bed){
        .base = bt_strdup(base), .dir = bt_printf("%s/slurm", base), .n_nodes = n, .cloud = cloud};
    current = b;
    (void)atexit(stop_current);
    start_testbed(b, more);
}

void bed_resize(struct bed *b, int n, const char *more)
{
    if (bed_shell(b, "%s/tests/slurm/testbed stop %s >&2", BT_SOURCE_ROOT, b->dir) != 0)
        rig_die("the Slurm of the bench did not stop");
    b->n_nodes = n;
    start_testbed(b, more);
}

/* ---- the helper ---- */

static void next_frame(int fd, struct bt_buf *in, struct wire_reply *ret)
{
    struct bt_err err = {0};
    const char *text;
    size_t len;
    int rc;

    while ((rc = wire_unframe(in->p, in->n, &text, &len, &err)) == 0) {
        ssize_t n = read(fd, bt_buf_room(in, 65536), 65536);

        if (n <= 0)
            rig_die("beamtime-slurm ended");
        in->n += (size_t)n;
    }
    if (rc < 0 || wire_reply_read(text, len, ret, &err) < 0 || !ret->ok)
        rig_die("beamtime-slurm: %s%s", err.text, ret->text);
    in->n -= 4 + len;
    if (in->p)
        memmove(in->p, in->p + 4 + len, in->n);
}

static void ask_nodes(int fd, bool fresh, struct bt_buf *in, struct wire_reply *ret)
{
    BT_BUF_AUTO struct bt_buf out = {0};
    struct wire_request r = {.q = 1, .op = WIRE_NODES, .fresh = fresh};

    wire_request_write(&r, &out);
    if (bt_write_all(fd, out.p, out.n, NULL) < 0)
        rig_die("cannot write to beamtime-slurm");
    next_frame(fd, in, ret);
}

int bed_inventory(struct bed *b, double *ret_load_s, double *ret_refresh_s)
{
    BT_AUTO char *program =
        bt_printf("%s/../../daemon/clusters/helper/beamtime-slurm", rig_folder());
    BT_AUTO char *conf = bt_printf("%s/slurm.conf", b->dir);
    BT_BUF_AUTO struct bt_buf in = {0};
    struct wire_reply hello = {0};
    struct wire_reply nodes = {0};
    struct wire_reply again = {0};
    int64_t began = bt_mono_us();
    int sock[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock) < 0 || (pid = fork()) < 0)
        rig_die("cannot start beamtime-slurm");
    if (pid == 0) {
        dup2(sock[1], 0);
        execl(program, program, conf, (char *)NULL);
        _exit(127);
    }
    close(sock[1]);
    next_frame(sock[0], &in, &hello);
    ask_nodes(sock[0], true, &in, &nodes);
    *ret_load_s = (double)(bt_mono_us() - began) / 1e6;
    began = bt_mono_us();
    ask_nodes(sock[0], false, &in, &again);
    *ret_refresh_s = (double)(bt_mono_us() - began) / 1e6;
    int n = (int)nodes.n;
    wire_reply_done(&hello);
    wire_reply_done(&nodes);
    wire_reply_done(&again);
    close(sock[0]);
    waitpid(pid, NULL, 0);
    return n;
}

void bed_leave(struct bed *b)
{
    for (int i = 0; i < b->n_nodes && i < BED_NODES_MAX; i++)
        if (b->agents[i] > 0) {
            kill(b->agents[i], SIGTERM);
            waitpid(b->agents[i], NULL, 0);
            b->agents[i] = 0;
        }
}

void bed_stop(struct bed *b)
{
    current = NULL;
    bed_leave(b);
    (void)bed_shell(b, "%s/tests/slurm/testbed wipe %s >&2", BT_SOURCE_ROOT, b->dir);
    bt_free(b->dir);
    bt_free(b->base);
    *b = (struct bed){0};
}

static void write_token(struct rig *r, const char *node, const char *path)
{
    BT_AUTO char *body =
        bt_printf("{\"kind\":\"agent\",\"nation\":\"operator\",\"subject\":\"%s\"}", node);
    struct net_reply reply = {0};
    JSON_AUTO struct json *doc = NULL;
    struct bt_err err = {0};

    if (net_post(r->council, "/v1/tokens", body, &reply, &err) < 0 ||
        json_parse(reply.body, reply.n, 65536, &doc, &err) < 0)
        rig_die("token for %s: %s", node, err.text);
    const char *token = json_str(json_get(doc, "token"), "");
    if (bt_file_write(path, 0600, token, strlen(token), &err) < 0)
        rig_die("%s", err.text);
    net_reply_done(&reply);
}

static void run_agent(struct bed *b, struct rig *r, int i, const char *token)
{
    BT_AUTO char *program = bt_printf("%s/libexec/beamtime-agent", b->base);
    BT_AUTO char *state = bt_printf("%s/b%d", b->base, i + 1);
    BT_AUTO char *url = bt_printf("https://127.0.0.1:%d", r->agents);
    BT_AUTO char *people = bt_printf("https://127.0.0.1:%d", r->people);
    BT_AUTO char *ca = bt_printf("%s/pki/root.pem", r->dir);
    BT_AUTO char *log = bt_printf("%s/b%d.log", b->base, i + 1);
    pid_t pid = fork();

    if (pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(fd, 2);
        execl(program, program, "--state-dir", state, "--url", url, "--enrol-url", people,
              "--ca-file", ca, "--job-user", geteuid() == 0 ? "nobody" : "", "--class", "h200",
              "--accelerators", "8", "--shepherds", "slurm", "--log-level", "warn",
              token ? "--token-file" : NULL, token, "enrol", (char *)NULL);
        _exit(127);
    }
    if (token)
        waitpid(pid, NULL, 0);
    else
        b->agents[i] = pid;
}

/* How many of the site's nodes are up. */
static int n_up(struct rig *r)
{
    return (int)rig_ask(r, "SELECT count(*) FROM node WHERE state = 'up'");
}

void bed_join(struct bed *b, struct rig *r)
{
    const struct timespec moment = {.tv_nsec = 100000000};
    int tries = 0;

    if (bed_shell(b,
                  "mkdir -p %s/libexec && chmod 755 %s/libexec && install -m 755 "
                  "%s/../../agent/beamtime-agent %s/../../agent/beamtime-shepherd %s/libexec/",
                  b->base, b->base, rig_folder(), rig_folder(), b->base) != 0)
        rig_die("cannot install the agent");
    rig_call(r->council, "POST", "/v1/rates",
             "{\"class\":\"h200\",\"rate_milli\":1000,\"peak_gflops\":1000000}");
    rig_call(r->council, "POST", "/v1/sites",
             "{\"site\":\"bench\",\"kind\":\"slurm\",\"tier\":1,\"until\":\"2099-01-01T00:00:00Z\","
             "\"conf\":{\"slurm_conf\":\"%s/slurm.conf\",\"user\":\"%s\","
             "\"agent\":\"%s/libexec/beamtime-agent\",\"agent_dir\":\"%s/%%n\"}}",
             b->dir, geteuid() == 0 ? "nobody" : "", b->base, b->base);
    for (int i = 0; i < b->n_nodes; i++) {
        BT_AUTO char *name = bt_printf("b%d", i + 1);
        BT_AUTO char *token = bt_printf("%s/b%d.token", b->base, i + 1);
        BT_AUTO char *state = bt_printf("%s/b%d", b->base, i + 1);

        mkdir(state, 0711);
        chmod(state, 0711);
        write_token(r, name, token);
        run_agent(b, r, i, token);
        run_agent(b, r, i, NULL);
    }
    while (n_up(r) < b->n_nodes) {
        if (tries++ == UP_TRIES)
            rig_die("not all nodes are up after a minute");
        nanosleep(&moment, NULL);
    }
}
