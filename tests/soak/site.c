/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
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
#include "tests/soak/soak.h"

enum { FIRST_PORT = 20000, PORTS = 12000 }; /* below those that the system gives to clients */

static char *site_program(const char *name)
{
    const char *build = getenv("BT_BUILD_ROOT");
    char exe[4096];
    ssize_t n;

    if (build)
        return bt_printf("%s/%s", build, name);
    n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = '\0';
    *strrchr(exe, '/') = '\0';
    return bt_printf("%s/../../%s", exe, name);
}

static bool is_free(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    rc = bind(fd, (struct sockaddr *)&at, sizeof at);
    close(fd);
    return rc == 0;
}

static void choose_ports(int ports[3])
{
    int port = FIRST_PORT + (int)getpid() * 7 % PORTS;

    for (int i = 0; i < 3; i++) {
        while (!is_free(port))
            port = port < FIRST_PORT + PORTS ? port + 1 : FIRST_PORT;
        ports[i] = port++;
    }
}

/* Runs in the child: the agent, or its command `enrol`. */
static void BT_NORETURN become_agent(char *const *argv, const char *log)
{
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(fd, 1);
    dup2(fd, 2);
    execv(argv[0], argv);
    _exit(127);
}

static pid_t spawn_agent(const struct site *s, const char *command)
{
    BT_AUTO char *log = bt_printf("%s/agent.log", s->rig.ids);
    BT_AUTO char *exe = site_program("agent/beamtime-agent");
    BT_AUTO char *url = bt_printf("--url=https://127.0.0.1:%d", s->rig.agents);
    BT_AUTO char *people = bt_printf("--enrol-url=https://127.0.0.1:%d", s->rig.people);
    BT_AUTO char *dir = bt_printf("--state-dir=%s", s->agent_dir);
    BT_AUTO char *ca = bt_printf("--ca-file=%s/pki/root.pem", s->rig.dir);
    BT_AUTO char *token = bt_printf("--token-file=%s/agent.token", s->rig.dir);
    BT_AUTO char *count = bt_printf("--accelerators=%d", s->accelerators);
    BT_AUTO char *user = bt_printf("--job-user=%s", geteuid() == 0 ? "nobody" : "");
    BT_AUTO char *verb = bt_strdup(command ? command : "");
    char *const argv[] = {exe, url, people, dir, ca, token, count, user, command ? verb : NULL,
                          NULL};
    pid_t pid = fork();

    if (pid == 0)
        become_agent(argv, log);
    return pid;
}

void site_agent(struct site *s)
{
    s->agent = spawn_agent(s, NULL);
}

/* The agent has been heard when its log says so: each line written to it is told. */
static void wait_registered(const struct site *s)
{
    BT_AUTO char *log = bt_printf("%s/agent.log", s->rig.ids);
    BT_BUF_AUTO struct bt_buf text = {0};
    BT_FD_AUTO int fd = inotify_init1(IN_CLOEXEC);

    if (fd < 0 || inotify_add_watch(fd, log, IN_MODIFY) < 0)
        rig_die("cannot watch %s", log);
    while (bt_file_read(log, 1 << 20, &text, NULL) < 0 ||
           !strstr(bt_buf_text(&text), "\"registered\"")) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        char events[4096];

        if (poll(&p, 1, 60000) <= 0 || read(fd, events, sizeof events) < 0)
            rig_die("the agent was not heard, see %s", log);
        bt_buf_clear(&text);
    }
}

void site_start(struct site *s, int accelerators, int persons)
{
    int ports[3];
    int status = -1;
    pid_t pid;

    *s = (struct site){.accelerators = accelerators};
    choose_ports(ports);
    rig_start_on(&s->rig, ports);
    rig_people(&s->rig, persons, 1);
    s->agent_dir = bt_printf("%s/agent", s->rig.ids);
    if (bt_mkdirs(s->agent_dir, 0711, NULL) < 0)
        rig_die("cannot make %s", s->agent_dir);
    pid = spawn_agent(s, "enrol");
    if (waitpid(pid, &status, 0) != pid || status != 0)
        rig_die("the agent could not enrol, see %s/agent.log", s->rig.ids);
    site_agent(s);
    wait_registered(s);
}

pid_t site_postmaster(struct site *s)
{
    BT_AUTO char *path = bt_printf("%s/pg/postmaster.pid", s->rig.dir);
    BT_BUF_AUTO struct bt_buf text = {0};

    if (bt_file_read(path, 4096, &text, NULL) < 0)
        return 0;
    return (pid_t)strtol(bt_buf_text(&text), NULL, 10);
}

/* The parent of a process, and its command line with blanks between the words. */
static bool look_at(pid_t pid, pid_t *ret_parent, struct bt_buf *ret_line)
{
    BT_AUTO char *stat = bt_printf("/proc/%d/stat", (int)pid);
    BT_AUTO char *line = bt_printf("/proc/%d/cmdline", (int)pid);
    BT_BUF_AUTO struct bt_buf text = {0};
    const char *end;
    int parent;

    if (bt_file_read(stat, 4096, &text, NULL) < 0 || !(end = strrchr(text.p, ')')) ||
        sscanf(end, ") %*c %d", &parent) != 1)
        return false;
    *ret_parent = parent;
    bt_buf_clear(ret_line);
    if (bt_file_read(line, 65536, ret_line, NULL) < 0)
        return false;
    for (size_t i = 0; i < ret_line->n; i++)
        if (ret_line->p[i] == '\0')
            ret_line->p[i] = ' ';
    return ret_line->n > 0;
}

pid_t site_pick(uint64_t *seed, pid_t parent, const char *needle)
{
    BT_BUF_AUTO struct bt_buf line = {0};
    DIR *proc = opendir("/proc");
    pid_t picked = 0;
    uint64_t n = 0;
    struct dirent *d;

    while (proc && (d = readdir(proc))) {
        pid_t pid = (pid_t)strtol(d->d_name, NULL, 10);
        pid_t of;

        if (pid <= 0 || !look_at(pid, &of, &line) || (parent && of != parent) ||
            (needle && !strstr(line.p, needle)))
            continue;
        if (soak_random(seed, ++n) == 0)
            picked = pid;
    }
    if (proc)
        closedir(proc);
    return picked;
}

void site_kill(pid_t pid)
{
    BT_FD_AUTO int fd = pidfd_open(pid, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};

    if (fd >= 0 && pidfd_send_signal(fd, SIGKILL, NULL, 0) == 0 && poll(&p, 1, 10000) != 1)
        rig_die("process %d does not die", (int)pid);
}

char *site_shepherds(const struct site *s, const char *attempt)
{
    return bt_printf("shepherd %s/attempts/%s", s->agent_dir, attempt);
}

void site_kill_shepherds(const struct site *s)
{
    BT_AUTO char *needle = site_shepherds(s, "");
    uint64_t seed = 1;
    pid_t pid;

    while ((pid = site_pick(&seed, 0, needle)) > 0)
        site_kill(pid);
}

void site_stop(struct site *s)
{
    kill(s->agent, SIGTERM);
    waitpid(s->agent, NULL, 0);
    site_kill_shepherds(s);
    rig_stop(&s->rig);
    bt_free(s->agent_dir);
}

void site_abandon(struct site *s)
{
    pid_t postmaster = s->rig.dir ? site_postmaster(s) : 0;

    if (s->agent > 0)
        kill(s->agent, SIGKILL);
    if (s->agent_dir)
        site_kill_shepherds(s);
    if (s->rig.pid > 0)
        kill(s->rig.pid, SIGKILL);
    if (postmaster > 0)
        kill(postmaster, SIGQUIT);
    if (s->rig.ids)
        fprintf(stderr, "kept: %s\n", s->rig.ids);
}

char *site_ask(struct site *s, const char *sql)
{
    BT_AUTO char *info = site_conninfo(s);
    PGconn *c = PQconnectdb(info);
    PGresult *res;
    char *v = NULL;

    if (PQstatus(c) != CONNECTION_OK)
        rig_die("%s", PQerrorMessage(c));
    res = PQexec(c, sql);
    if (PQresultStatus(res) != PGRES_TUPLES_OK)
        rig_die("%s", PQerrorMessage(c));
    if (PQntuples(res) > 0)
        v = bt_strdup(PQgetvalue(res, 0, 0));
    PQclear(res);
    PQfinish(c);
    return v;
}

char *site_conninfo(const struct site *s)
{
    return bt_printf("host=%s/run/pg user=beamtime dbname=postgres", s->rig.dir);
}

int site_verify(const struct site *s)
{
    BT_AUTO char *exe = site_program("cli/beamtime");
    BT_AUTO char *config = bt_printf("%s/config", s->rig.ids);
    BT_AUTO char *url = bt_printf("http://127.0.0.1:%d", s->rig.open);
    BT_AUTO char *vkey = bt_printf("%s/pki/log.vkey", s->rig.dir);
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        setenv("BEAMTIME_CONFIG_DIR", config, 1);
        dup2(2, 1);
        execl(exe, exe, "ledger", "verify", "--url", url, "--vkey", vkey, (char *)NULL);
        _exit(127);
    }
    return waitpid(pid, &status, 0) == pid ? status : -1;
}

/* The size that the signed checkpoint states: its second line. */
static int64_t signed_size(const char *path)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    const char *line;

    if (bt_file_read(path, 65536, &text, NULL) < 0)
        return -1;
    line = strchr(bt_buf_text(&text), '\n');
    return line ? strtoll(line + 1, NULL, 10) : -1;
}

bool site_published(struct site *s)
{
    BT_AUTO char *dir = bt_printf("%s/ledger", s->rig.dir);
    BT_AUTO char *path = bt_printf("%s/checkpoint", dir);
    BT_FD_AUTO int fd = inotify_init1(IN_CLOEXEC);
    int64_t size = rig_ask(&s->rig, "SELECT size FROM ledger_head");

    if (fd < 0 || inotify_add_watch(fd, dir, IN_MOVED_TO) < 0)
        rig_die("cannot watch %s", dir);
    while (signed_size(path) < size) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        char events[4096];

        if (poll(&p, 1, 60000) <= 0 || read(fd, events, sizeof events) < 0)
            return false;
    }
    return true;
}
