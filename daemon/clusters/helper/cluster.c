/* libslurm: nodes, jobs, and what is done to them. SPDX-License-Identifier: GPL-3.0-or-later */
#include <pwd.h>
#include <signal.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "daemon/clusters/helper/cluster_own.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

enum {
    UID_LEAST = 1000,
    RECENT_S = 10, /* jobs that ended are told for so long */
};

struct cluster {
    char *path;
    time_t nodes_at;   /* last_update of what the daemon has */
    uint64_t topology; /* its sum, as the daemon has it */
    time_t jobs_at;
    uid_t slurm_user;
    int64_t recent_until; /* while a job of ours has ended lately, lists are new */
};

/* ---- errors ---- */

static bool is_silence(int e)
{
    return (e >= SLURMCTLD_COMMUNICATIONS_CONNECTION_ERROR &&
            e <= SLURMCTLD_COMMUNICATIONS_SHUTDOWN_ERROR) ||
           e == SLURM_PROTOCOL_SOCKET_IMPL_TIMEOUT || e == ESLURM_PROTOCOL_INCOMPLETE_PACKET ||
           (e >= SLURM_COMMUNICATIONS_CONNECTION_ERROR &&
            e <= SLURM_COMMUNICATIONS_MISSING_SOCKET_ERROR) ||
           e == ECONNREFUSED || e == ECONNRESET || e == ETIMEDOUT || e == EPIPE;
}

/* What mends the errors that people meet. */
static const struct {
    int error;
    const char *next;
} cures[] = {
    {ESLURM_INVALID_PARTITION_NAME, "sinfo lists partitions; beamtime site add … --partition NAME"},
    {ESLURM_DEFAULT_PARTITION_NOT_SET, "beamtime site add … --partition NAME"},
    {ESLURM_USER_ID_MISSING, "let the daemon's helper run as the cluster's SlurmUser"},
    {ESLURM_ACCESS_DENIED, "let the daemon's helper run as the cluster's SlurmUser"},
    {ESLURM_INVALID_NODE_NAME, "beamtime site diff shows nodes that the cluster does not have"},
    {ESLURM_INVALID_ACCOUNT, "sacctmgr show account; beamtime site add … --account NAME"},
    {ESLURM_INVALID_QOS, "sacctmgr show qos; beamtime site add … --qos NAME"},
    {ESLURM_INVALID_GRES, "beamtime site diff shows what each node's GRES should be"},
    {ESLURM_AUTH_CRED_INVALID, "is munged running here and has it the cluster's key?"},
};

int cluster_failed(const char *what, struct bt_err *err)
{
    int e = errno;
    int rc;

    if (e == SLURM_PROTOCOL_AUTHENTICATION_ERROR) /* also when it could not be made */
        return bt_next(err,
                       bt_fail(err, BT_ERR_UNREACHABLE, "munge gives no credential: %s (%d)",
                               slurm_strerror(e), e),
                       "is munged running here? systemctl status munge");
    if (is_silence(e))
        return bt_next(err,
                       bt_fail(err, BT_ERR_UNREACHABLE, "slurmctld does not answer: %s (%d)",
                               slurm_strerror(e), e),
                       "scontrol ping");
    rc = bt_fail(err, e == ESLURM_INVALID_JOB_ID ? BT_ERR_NOT_FOUND : BT_ERR_IMPOSSIBLE,
                 "Slurm refused to %s: %s (%d)", what, slurm_strerror(e), e);
    for (size_t i = 0; i < BT_ARRAY_LEN(cures); i++)
        if (cures[i].error == e)
            bt_next(err, rc, "%s", cures[i].next);
    return rc;
}

/* ---- nodes ---- */

/* "gpu:h200:8(S:0-1),…": the first GRES that has a type counts, else cpu. */
static void read_gres(const char *gres, struct wire_node *n)
{
    char word[128];
    char *type;
    char *count;

    bt_copy(n->class, sizeof n->class, "cpu");
    if (!gres || !*gres)
        return;
    bt_copy(word, sizeof word, gres);
    word[strcspn(word, "(,")] = '\0';
    type = strchr(word, ':');
    count = strrchr(word, ':');
    if (!type || !count)
        return;
    n->n_acc = (int32_t)BT_MIN(strtol(count + 1, NULL, 10), 64);
    *count = '\0';
    bt_copy(n->class, sizeof n->class, type < count ? type + 1 : word);
    if (!bt_is_name(n->class, sizeof n->class - 1))
        bt_copy(n->class, sizeof n->class, "gpu");
}

static void read_trouble(const node_info_t *from, struct wire_node *n)
{
    uint32_t base = from->node_state & NODE_STATE_BASE;
    const char *what = NULL;

    if (from->node_state & NODE_STATE_DRAIN)
        what = "drained";
    else if (from->node_state & NODE_STATE_NO_RESPOND)
        what = "does not respond";
    else if (from->node_state & NODE_STATE_MAINT)
        what = "in maintenance";
    else if (from->node_state & NODE_STATE_RES)
        what = "reserved";
    else if (from->node_state & (NODE_STATE_FAIL | NODE_STATE_INVALID_REG))
        what = "failing";
    else if (base != NODE_STATE_IDLE && base != NODE_STATE_ALLOCATED && base != NODE_STATE_MIXED)
        what = "down";
    if (what)
        (void)snprintf(n->trouble, sizeof n->trouble, "%s%s%.40s", what,
                       from->reason && *from->reason ? ": " : "", from->reason ? from->reason : "");
    if (!bt_is_utf8(n->trouble, strlen(n->trouble)))
        bt_copy(n->trouble, sizeof n->trouble, what);
}

bool cluster_in_list(const char *list, const char *partition)
{
    return !*partition || bt_list_has(list, partition, strlen(partition));
}

/* slurmctld's words when slurmd refused a job whose number still runs there. */
static bool is_duplicate(const node_info_t *n)
{
    return (n->node_state & NODE_STATE_DRAIN) && bt_streq(n->reason, "Duplicate jobid");
}

static int resume(void *arg, const char *node, struct bt_err *err)
{
    node_info_msg_t *m = NULL;
    update_node_msg_t u;
    BT_AUTO char *name = bt_strdup(node);
    bool same;

    (void)arg;
    errno = 0;
    if (slurm_load_node_single(&m, name, SHOW_ALL) != 0)
        return cluster_failed("show a node", err);
    same = m->record_count == 1 && is_duplicate(&m->node_array[0]);
    slurm_free_node_info_msg(m);
    if (!same) /* somebody has seen to it, or has another reason */
        return 0;
    slurm_init_update_node_msg(&u);
    u.node_names = name;
    u.node_state = NODE_RESUME;
    errno = 0;
    return slurm_update_node(&u) != 0 ? cluster_failed("resume a node", err) : 0;
}

static int list_nodes(struct cluster *c, bool fresh, const char *partition,
                      const struct topology *topology, struct wire_reply *ret, struct bt_err *err)
{
    node_info_msg_t *m = NULL;

    errno = 0;
    if (slurm_load_node(fresh ? 0 : c->nodes_at, &m, SHOW_ALL | SHOW_DETAIL | SHOW_MIXED) != 0) {
        if (errno != SLURM_NO_CHANGE_IN_DATA)
            return cluster_failed("list its nodes", err);
        ret->unchanged = true;
        return 0;
    }
    ret->nodes = bt_new_n(struct wire_node, m->record_count + 1);
    for (uint32_t i = 0; i < m->record_count; i++) {
        const node_info_t *from = &m->node_array[i];
        struct wire_node *n = &ret->nodes[ret->n];

        if (!from->name || !cluster_in_list(from->partitions, partition))
            continue;
        bt_copy(n->name, sizeof n->name, from->name);
        n->cpus = from->cpus;
        read_gres(from->gres, n);
        read_trouble(from, n);
        n->duplicate = is_duplicate(from);
        cluster_place(topology, n);
        ret->n++;
    }
    c->nodes_at = m->last_update;
    slurm_free_node_info_msg(m);
    return 0;
}

/* Switches are no part of the nodes' own change stamp, but of what is said about them. */
static int nodes(void *arg, bool fresh, const char *partition, struct wire_reply *ret,
                 struct bt_err *err)
{
    struct cluster *c = arg;
    struct topology *t = NULL;
    int rc = cluster_topology(&t, err);

    if (rc < 0)
        return rc;
    rc = list_nodes(c, fresh || c->topology != cluster_topology_sum(t), partition, t, ret, err);
    if (rc == 0)
        c->topology = cluster_topology_sum(t);
    cluster_topology_free(t);
    return rc;
}

/* ---- jobs ---- */

static void add_hosts(struct bt_buf *to, const char *list)
{
    compat_hosts hosts = slurm_hostlist_create(list);
    char *name;

    while (hosts && (name = slurm_hostlist_shift(hosts))) {
        bt_buf_printf(to, "%s%s", to->n ? "," : "", name);
        free(name); /* NOLINT: the library's, from malloc(3) */
    }
    if (hosts)
        slurm_hostlist_destroy(hosts);
}

static void add_job(struct cluster *c, const slurm_job_info_t *from, struct wire_reply *ret,
                    struct bt_buf *others)
{
    uint32_t state = from->job_state & JOB_STATE_BASE;
    bool over = state > JOB_SUSPENDED && !(from->job_state & JOB_COMPLETING);
    struct wire_job *j = &ret->jobs[ret->n];
    time_t now = time(NULL);

    if (!from->comment || !bt_starts(from->comment, "bt:")) {
        if (over || state == JOB_PENDING)
            return;
        ret->n_others++;
        if (from->nodes)
            add_hosts(others, from->nodes);
        return;
    }
    if (over && from->end_time + RECENT_S < now)
        return;
    if (over)
        c->recent_until = BT_MAX(c->recent_until, from->end_time + RECENT_S);
    j->id = compat_job_id(from);
    j->submit_s = from->submit_time;
    bt_copy(j->comment, sizeof j->comment, from->comment);
    bt_copy(j->name, sizeof j->name, from->name ? from->name : "");
    j->pending = state == JOB_PENDING;
    j->over = over;
    j->suspended = state == JOB_SUSPENDED;
    bt_copy(j->state, sizeof j->state, slurm_job_state_string(from->job_state));
    ret->n++;
}

static int jobs(void *arg, bool fresh, struct wire_reply *ret, struct bt_err *err)
{
    struct cluster *c = arg;
    job_info_msg_t *m = NULL;
    BT_BUF_AUTO struct bt_buf others = {.max = WIRE_HOSTS_MAX - 1};

    errno = 0;
    if (slurm_load_jobs(fresh ? 0 : c->jobs_at, &m, SHOW_ALL | SHOW_LOCAL) != 0) {
        if (errno != SLURM_NO_CHANGE_IN_DATA)
            return cluster_failed("list its jobs", err);
        ret->unchanged = true;
        return 0;
    }
    ret->jobs = bt_new_n(struct wire_job, m->record_count + 1);
    for (uint32_t i = 0; i < m->record_count; i++)
        add_job(c, &m->job_array[i], ret, &others);
    ret->others = bt_strdup(bt_buf_text(&others));
    c->jobs_at = m->last_update;
    slurm_free_job_info_msg(m);
    return 0;
}

/* ---- submit ---- */

/* We may submit for others, so a job for nobody would run as root or SlurmUser: never. */
static bool maps(const struct cluster *c)
{
    return geteuid() < UID_LEAST || geteuid() == c->slurm_user;
}

/* SlurmUser may do anything in Slurm. On a machine of one person that is this person. */
static bool is_slurm(const struct cluster *c, const struct passwd *pw)
{
    const char *shell = pw->pw_shell ? pw->pw_shell : "";

    return pw->pw_uid == c->slurm_user &&
           (pw->pw_uid != geteuid() || bt_ends(shell, "/nologin") || bt_ends(shell, "/false"));
}

/* Whom the job runs as. Only root and the cluster's SlurmUser may submit for others, and Slurm
 * would take uid 0 from them: we do not. */
static int find_user(const struct cluster *c, const char *name, uid_t *ret_uid, gid_t *ret_gid,
                     struct bt_err *err)
{
    if (!*name && maps(c))
        return bt_next(
            err, bt_fail(err, BT_ERR_IMPOSSIBLE, "its person has no Unix account at this site"),
            "beamtime person map PERSON SITE ACCOUNT, or site add … --user ACCOUNT");

    BT_AUTO char *room = bt_alloc(1, PASSWD_ROOM);
    struct passwd pw;
    struct passwd *found = NULL;
    int rc = *name ? getpwnam_r(name, &pw, room, PASSWD_ROOM, &found)
                   : getpwuid_r(geteuid(), &pw, room, PASSWD_ROOM, &found);

    if (rc || !found)
        return bt_next(err,
                       bt_fail(err, BT_ERR_IMPOSSIBLE, "this site has no Unix account '%s'", name),
                       "beamtime person map PERSON SITE ACCOUNT");
    if (found->pw_uid < UID_LEAST)
        return bt_next(err,
                       bt_fail(err, BT_ERR_IMPOSSIBLE, "jobs never run as %s (uid %u, below %d)",
                               found->pw_name, found->pw_uid, UID_LEAST),
                       "beamtime person map PERSON SITE ACCOUNT, or site add … --user ACCOUNT");
    if (is_slurm(c, found))
        return bt_next(err,
                       bt_fail(err, BT_ERR_IMPOSSIBLE,
                               "jobs never run as %s, who may do anything in this cluster",
                               found->pw_name),
                       "beamtime person map PERSON SITE ACCOUNT, or site add … --user ACCOUNT");
    if (found->pw_uid != geteuid() && geteuid() != 0 && geteuid() != c->slurm_user)
        return bt_next(err,
                       bt_fail(err, BT_ERR_IMPOSSIBLE,
                               "uid %u may not submit for %s: it is not the cluster's SlurmUser",
                               geteuid(), found->pw_name),
                       "run the helper as SlurmUser, or map nobody: one account for all");
    *ret_uid = found->pw_uid;
    *ret_gid = found->pw_gid;
    return 0;
}

static char *or_null(const char *s)
{
    return *s ? (char *)(uintptr_t)s : NULL;
}

static int submit(void *arg, const struct wire_submit *job, int64_t *ret_id, struct bt_err *err)
{
    struct cluster *c = arg;
    BT_AUTO char *conf = bt_printf("SLURM_CONF=%s", c->path);
    char path[] = "PATH=/usr/local/bin:/usr/bin:/bin";
    char lang[] = "LANG=C.UTF-8";
    char *env[] = {path, lang, conf, NULL};
    char gres[32];
    submit_response_msg_t *r = NULL;
    job_desc_msg_t d;
    uid_t uid = 0;
    gid_t gid = 0;
    int rc = find_user(c, job->user, &uid, &gid, err);

    if (rc < 0)
        return rc;
    slurm_init_job_desc_msg(&d);
    d.comment = or_null(job->comment);
    d.name = or_null(job->name);
    d.script = job->script;
    d.environment = env;
    d.env_size = 3;
    d.work_dir = or_null("/");
    d.std_in = d.std_out = d.std_err = or_null("/dev/null");
    d.req_nodes = job->hosts;
    d.min_nodes = d.max_nodes = (uint32_t)job->n_hosts;
    d.num_tasks = (uint32_t)job->n_hosts;
    d.ntasks_per_node = 1;
    d.cpus_per_task = (uint16_t)job->cpus;
    d.time_limit = (uint32_t)job->minutes;
    d.requeue = 0;
    d.user_id = uid;
    d.group_id = gid;
    d.partition = or_null(job->partition);
    d.account = or_null(job->account);
    d.qos = or_null(job->qos);
    if (job->exclusive)
        d.shared = 0;
    if (job->per_host) {
        (void)snprintf(gres, sizeof gres, "gres:gpu:%d", job->per_host);
        d.tres_per_node = gres;
    }
    errno = 0;
    if (slurm_submit_batch_job(&d, &r) != 0)
        return cluster_failed("take the job", err);
    *ret_id = compat_submitted(r);
    slurm_free_submit_response_response_msg(r);
    return 0;
}

static int cancel(void *arg, uint32_t id, const char *comment, struct bt_err *err)
{
    job_info_msg_t *m = NULL;
    char text[16];
    bool same;

    (void)arg;
    errno = 0;
    if (slurm_load_job(&m, id, SHOW_LOCAL) != 0)
        return errno == ESLURM_INVALID_JOB_ID ? 0 : cluster_failed("show a job", err);
    same = m->record_count == 1 && bt_streq(m->job_array[0].comment, comment);
    slurm_free_job_info_msg(m);
    if (!same) /* the number was given to another job: ours is gone */
        return 0;
    (void)snprintf(text, sizeof text, "%u", id);
    errno = 0;
    if (slurm_kill_job2(text, SIGKILL, 0, NULL) != 0 && errno != ESLURM_ALREADY_DONE &&
        errno != ESLURM_INVALID_JOB_ID)
        return cluster_failed("end a job", err);
    return 0;
}

/* ---- life ---- */

/* The library is bound by its soname; what differs is the controller. */
static int ask_version(struct cluster *c, struct wire_reply *hello, struct bt_err *err)
{
    slurm_conf_t *conf = NULL;
    unsigned major = SLURM_VERSION_MAJOR(SLURM_VERSION_NUMBER);
    unsigned minor = SLURM_VERSION_MINOR(SLURM_VERSION_NUMBER);
    char built[16];

    errno = 0;
    if (slurm_load_ctl_conf(0, &conf) != 0)
        return cluster_failed("show its configuration", err);
    c->slurm_user = conf->slurm_user_id;
    hello->maps = maps(c);
    bt_copy(hello->version, sizeof hello->version, conf->version ? conf->version : "");
    bt_copy(hello->cluster, sizeof hello->cluster, conf->cluster_name ? conf->cluster_name : "");
    compat_free_conf(conf);
    (void)snprintf(built, sizeof built, "%u.%02u.", major, minor);
    if (!bt_starts(hello->version, built))
        return bt_next(err,
                       bt_fail(err, BT_ERR_UNSUPPORTED,
                               "the cluster runs Slurm %s, beamtime-slurm was built for %u.%02u",
                               hello->version, major, minor),
                       "build beamtime-slurm against the cluster's libslurm");
    hello->ok = true;
    return 0;
}

int cluster_open(const char *slurm_conf, struct cluster **ret, struct wire_reply *hello,
                 struct bt_err *err)
{
    struct cluster *c;
    int rc;

    if (access(slurm_conf, R_OK) < 0)
        return bt_next(err, bt_fail_errno(err, BT_ERR_NOT_FOUND, "cannot read %s", slurm_conf),
                       "beamtime site add … --slurm-conf PATH");
    slurm_init(slurm_conf);
    c = bt_new(struct cluster);
    c->path = bt_strdup(slurm_conf);
    rc = ask_version(c, hello, err);
    if (rc < 0) {
        cluster_close(c);
        return rc;
    }
    *ret = c;
    return 0;
}

void cluster_close(struct cluster *c)
{
    if (!c)
        return;
    slurm_fini();
    bt_free(c->path);
    bt_free(c);
}

void cluster_calls(struct cluster *c, struct calls *ret)
{
    *ret = (struct calls){.nodes = nodes,
                          .jobs = jobs,
                          .submit = submit,
                          .cancel = cancel,
                          .conf = cluster_conf,
                          .queue = cluster_queue,
                          .resume = resume,
                          .fence = cluster_fence,
                          .arg = c};
}
