/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/bench/rig.h"

#include <fcntl.h>
#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/cert.h"
#include "lib/json/json.h"

static struct rig *current; /* stopped when the bench dies */

void rig_die(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    if (current && current->pid > 0)
        kill(current->pid, SIGKILL);
    exit(1);
}

static char *program(void)
{
    const char *build = getenv("BT_BUILD_ROOT");

    return build ? bt_printf("%s/daemon/beamtimed", build)
                 : bt_printf("%s/../../daemon/beamtimed", rig_folder());
}

const char *rig_folder(void)
{
    static char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);

    exe[n > 0 ? n : 0] = '\0';
    *strrchr(exe, '/') = '\0';
    return exe;
}

static void read_ports(struct rig *r)
{
    BT_AUTO char *path = bt_printf("%s/run/ports", r->dir);
    FILE *f = fopen(path, "re");

    if (!f || fscanf(f, "people %d agents %d public %d", &r->people, &r->agents, &r->open) != 3)
        rig_die("cannot read %s", path);
    fclose(f);
}

/* Waits for DIR/run/ready without polling: inotify tells of each file made there, the process's
 * descriptor of its end. */
int rig_await(struct rig *r, int limit_ms)
{
    BT_AUTO char *run = bt_printf("%s/run", r->dir);
    BT_AUTO char *ready = bt_printf("%s/ready", run);
    BT_FD_AUTO int events = inotify_init1(IN_CLOEXEC);
    BT_FD_AUTO int end = pidfd_open(r->pid, 0);
    struct pollfd fds[2] = {{.fd = events, .events = POLLIN}, {.fd = end, .events = POLLIN}};
    int64_t until = bt_mono_us() + limit_ms * INT64_C(1000);

    if (events < 0 || end < 0 || bt_mkdirs(run, 0711, NULL) < 0 ||
        inotify_add_watch(events, run, IN_CREATE | IN_MOVED_TO) < 0)
        rig_die("cannot watch %s", run);
    while (access(ready, F_OK) < 0) {
        int64_t left_ms = (until - bt_mono_us()) / 1000;
        char text[4096];

        if (limit_ms >= 0 && left_ms <= 0)
            return -1;
        if (poll(fds, 2, limit_ms < 0 ? -1 : (int)left_ms) < 0)
            rig_die("cannot wait for %s", ready);
        if (fds[1].revents && waitpid(r->pid, NULL, WNOHANG) == r->pid) {
            r->pid = 0;
            return 0;
        }
        if (fds[0].revents && read(events, text, sizeof text) < 0)
            rig_die("cannot read events of %s", run);
    }
    read_ports(r);
    return 1;
}

void rig_spawn(struct rig *r)
{
    BT_AUTO char *exe = program();
    BT_AUTO char *log = bt_printf("%s.log", r->dir);
    BT_AUTO char *ready = bt_printf("%s/run/ready", r->dir);
    char at[3][32];

    for (int i = 0; i < 3; i++)
        snprintf(at[i], sizeof at[i], "127.0.0.1:%d", r->asked[i]);
    unlink(ready);
    r->pid = fork();
    if (r->pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(fd, 2);
        execl(exe, exe, "--embedded", "--state-dir", r->dir, "--listen", at[0], "--listen-agents",
              at[1], "--listen-public", at[2], "--start-grace", "600s", "--log-level", "warn",
              "--policy-dir", BT_SOURCE_ROOT "/policy", (char *)NULL);
        _exit(127);
    }
}

int64_t rig_restart(struct rig *r)
{
    int64_t began = bt_mono_us();

    rig_spawn(r);
    if (rig_await(r, -1) != 1)
        rig_die("the daemon ended before it served, see %s.log", r->dir);
    return (bt_mono_us() - began) / 1000;
}

void rig_kill(struct rig *r, int sig)
{
    int status;

    kill(r->pid, sig);
    waitpid(r->pid, &status, 0);
    r->pid = 0;
}

void rig_start(struct rig *r)
{
    rig_start_on(r, (const int[3]){0, 0, 0});
}

void rig_start_on(struct rig *r, const int ports[3])
{
    BT_BUF_AUTO struct bt_buf token = {0};
    BT_AUTO char *path = NULL;
    char *temp = bt_strdup("/tmp/bt-bench-XXXXXX");

    current = r;
    *r = (struct rig){.asked = {ports[0], ports[1], ports[2]}};
    if (!mkdtemp(temp))
        rig_die("cannot make a temporary folder");
    r->ids = temp;
    r->dir = bt_printf("%s/state", temp);
    chmod(temp, 0711);
    rig_restart(r);
    path = bt_printf("%s/council.token", r->dir);
    if (bt_file_read(path, 200, &token, NULL) < 0)
        rig_die("there is no council token");
    token.p[strcspn(token.p, "\n")] = '\0';
    rig_enrol(r, token.p, "council");
    r->council = rig_client(r, "council", r->people);
}

void rig_stop(struct rig *r)
{
    net_client_free(r->council);
    if (r->pid > 0)
        rig_kill(r, SIGTERM);
    if (bt_remove_tree(r->ids, NULL) < 0)
        fprintf(stderr, "%s is left behind\n", r->ids);
    bt_free(r->dir);
    bt_free(r->ids);
    current = NULL;
}

struct net_client *rig_client(struct rig *r, const char *name, int port)
{
    BT_AUTO char *url = bt_printf("https://127.0.0.1:%d", port);
    BT_AUTO char *ca = bt_printf("%s/pki/root.pem", r->dir);
    BT_AUTO char *cert = bt_printf("%s/%s.pem", r->ids, name);
    BT_AUTO char *key = bt_printf("%s/%s.key", r->ids, name);
    struct net_settings s = {.url = url, .ca_file = ca, .cert_file = cert, .key_file = key};
    struct net_client *c = NULL;
    struct bt_err err;

    if (net_client_new(&s, &c, &err) < 0)
        rig_die("%s", err.text);
    return c;
}

void rig_call(struct net_client *c, const char *method, const char *path, const char *fmt, ...)
{
    struct net_request q = {.method = method, .path = path};
    struct net_reply reply = {0};
    struct bt_err err = {0};
    char body[4096];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(body, sizeof body, fmt, ap);
    va_end(ap);
    q.body = body;
    q.n = strlen(body);
    if (net_call(c, &q, &reply, &err) < 0)
        rig_die("%s %s: %s", method, path, err.text);
    net_reply_done(&reply);
}

void rig_enrol(struct rig *r, const char *token, const char *name)
{
    BT_AUTO char *url = bt_printf("https://127.0.0.1:%d", r->people);
    BT_AUTO char *ca = bt_printf("%s/pki/root.pem", r->dir);
    BT_AUTO char *cert = bt_printf("%s/%s.pem", r->ids, name);
    BT_AUTO char *path = bt_printf("%s/%s.key", r->ids, name);
    struct net_settings s = {.url = url, .ca_file = ca};
    BT_BUF_AUTO struct bt_buf csr = {0};
    BT_BUF_AUTO struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    JSON_AUTO struct json *doc = NULL;
    struct net_reply reply = {0};
    struct net_client *c = NULL;
    struct cert_key *key = NULL;
    struct bt_err err = {0};
    const char *chain;

    if (net_client_new(&s, &c, &err) < 0 || cert_key_new(&key, &err) < 0 ||
        cert_key_save(key, path, &err) < 0 || cert_csr_make(key, name, &csr, &err) < 0)
        rig_die("%s", err.text);
    jw_object(&w, NULL);
    jw_str(&w, "token", token);
    jw_str(&w, "csr", csr.p);
    jw_end_object(&w);
    if (net_post(c, "/v1/enrol", body.p, &reply, &err) < 0 ||
        json_parse(reply.body, reply.n, 65536, &doc, &err) < 0)
        rig_die("enrol %s: %s", name, err.text);
    chain = json_str(json_get(doc, "certificate"), "");
    if (bt_file_write(cert, 0644, chain, strlen(chain), &err) < 0)
        rig_die("%s", err.text);
    net_reply_done(&reply);
    net_client_free(c);
    cert_key_free(key);
}

static void enrol_new(struct rig *r, const char *kind, const char *nation, const char *subject)
{
    BT_AUTO char *body =
        bt_printf("{\"kind\":\"%s\",\"nation\":\"%s\",\"subject\":\"%s\"}", kind, nation, subject);
    struct net_reply reply = {0};
    JSON_AUTO struct json *doc = NULL;
    struct bt_err err = {0};

    if (net_post(r->council, "/v1/tokens", body, &reply, &err) < 0 ||
        json_parse(reply.body, reply.n, 65536, &doc, &err) < 0)
        rig_die("token for %s: %s", subject, err.text);
    rig_enrol(r, json_str(json_get(doc, "token"), ""), subject);
    net_reply_done(&reply);
}

void rig_people(struct rig *r, int persons, int projects)
{
    rig_call(r->council, "POST", "/v1/nations", "{\"nation\":\"cz\",\"name\":\"Czechia\"}");
    rig_call(r->council, "PUT", "/v1/quota",
             "{\"nation\":\"cz\",\"granted_mras\":\"1000000000000000\"}");
    rig_more_people(r, 0, persons, projects);
}

void rig_more_people(struct rig *r, int from, int persons, int projects)
{
    for (int i = 0; i < projects; i++) {
        rig_call(r->council, "POST", "/v1/projects", "{\"nation\":\"cz\",\"project\":\"p%d\"}", i);
        rig_call(r->council, "PUT", "/v1/quota",
                 "{\"nation\":\"cz\",\"project\":\"p%d\",\"granted_mras\":\"90000000000000\"}", i);
    }
    for (int i = from; i < persons; i++) {
        char name[16];
        char path[64];

        snprintf(name, sizeof name, "u%d", i);
        snprintf(path, sizeof path, "/v1/projects/cz/p%d/members", i % projects);
        rig_call(r->council, "POST", "/v1/people", "{\"nation\":\"cz\",\"person\":\"%s\"}", name);
        rig_call(r->council, "POST", path, "{\"person\":\"%s\",\"role\":\"member\"}", name);
        enrol_new(r, "person", "cz", name);
    }
}

void rig_helper(struct rig *r, const char *name)
{
    enrol_new(r, "helper", "operator", name);
}

void rig_node(struct rig *r, const char *name, int accelerators)
{
    struct net_client *c;

    enrol_new(r, "agent", "operator", name);
    c = rig_client(r, name, r->agents);
    rig_call(c, "POST", "/v1/agent/register",
             "{\"node\":\"%s\",\"class\":\"cpu\",\"accelerators\":%d,\"boot_id\":\"bench\","
             "\"version\":\"bench\",\"inventory\":{}}",
             name, accelerators);
    net_client_free(c);
}

int64_t rig_cpu_us(pid_t pid)
{
    char path[64];
    char text[1024];
    unsigned long user;
    unsigned long system;
    FILE *f;
    const char *at;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    f = fopen(path, "re");
    if (!f || !fgets(text, sizeof text, f))
        rig_die("cannot read %s", path);
    fclose(f);
    at = strrchr(text, ')');
    if (!at ||
        sscanf(at, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        rig_die("cannot understand %s", path);
    return (int64_t)(user + system) * 1000000 / sysconf(_SC_CLK_TCK);
}

int64_t rig_rss_kb(pid_t pid, const char *field)
{
    char path[64];
    char line[256];
    int64_t kb = -1;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    f = fopen(path, "re");
    if (!f)
        rig_die("cannot read %s", path);
    while (fgets(line, sizeof line, f))
        if (bt_starts(line, field) && line[strlen(field)] == ':')
            kb = strtoll(line + strlen(field) + 1, NULL, 10);
    fclose(f);
    return kb;
}

int64_t rig_ask(struct rig *r, const char *sql)
{
    BT_AUTO char *info = bt_printf("host=%s/run/pg user=beamtime dbname=postgres", r->dir);
    PGconn *c = PQconnectdb(info);
    PGresult *res;
    int64_t v;

    if (PQstatus(c) != CONNECTION_OK)
        rig_die("%s", PQerrorMessage(c));
    res = PQexec(c, sql);
    if (PQresultStatus(res) != PGRES_TUPLES_OK)
        rig_die("%s", PQerrorMessage(c));
    v = strtoll(PQgetvalue(res, 0, 0), NULL, 10);
    PQclear(res);
    PQfinish(c);
    return v;
}
