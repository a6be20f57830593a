/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/bench/bed.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
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

void bed_start(struct bed *b, const char *base, int n, bool cloud, const char *more)
{
    *b = (struct bed){.base = bt_strdup(base), .dir = bt_printf("%s/slurm", base), .n_nodes = n};
    current = b;
    (void)atexit(stop_current);
    if (bed_shell(b,
                  "TB_PREFIX=b TB_CLUSTER=bench TB_PORT=%d %s TB_CPUS=%d TB_MEM=%d "
                  "TB_EXTRA='%s' %s/tests/slurm/testbed start %s %d >&2",
                  33000 + (int)(getpid() % 800) * 20, cloud ? "TB_CLOUD=1" : "", cloud ? 96 : 16,
                  cloud ? 2000000 : 8000, more, BT_SOURCE_ROOT, b->dir, n) != 0)
        rig_die("the Slurm of the bench did not start");
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
