/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/clusters/site_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"

#define TESTED "22.05."

enum {
    UID_LEAST = 1000,
    DAY_MINUTES = 1440,
    TIMEOUT_MOST_S = 30, /* a call at a controller that is silent lasts so long */
    AGE_LEAST_S = 30,    /* ended jobs are looked for every two to ten seconds */
    INTERVAL_S = 60,     /* between two looks at all that waits, unless it is set … */
    INTERVAL_MOST_S = 10,
};

struct check {
    const struct site_look *look;
    const struct wire_conf *c;
    struct json_writer *w;
    int n;
};

enum level { WRONG, ADVICE };

/* Looks at one setting; when it is bad, the sentence and what mends it. */
static void BT_PRINTF(6, 7) rule(struct check *k, bool bad, enum level level, const char *what,
                                 const char *fix, const char *fmt, ...)
{
    char text[240];
    va_list args;

    k->n++;
    if (!bad)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    jw_object(k->w, NULL);
    jw_str(k->w, "level", level == WRONG ? "wrong" : "advice");
    jw_str(k->w, "what", what);
    jw_str(k->w, "text", text);
    jw_str(k->w, "fix", fix);
    jw_end_object(k->w);
}

#define RECONFIGURE " in slurm.conf, then scontrol reconfigure"
#define RESTART " in slurm.conf, then restart slurmctld and slurmd"

static bool has(const char *list, const char *word)
{
    return strstr(list, word) != NULL;
}

/* The number behind "name=" in "a=1,name=5"; `none` when it is not there. */
static long number_of(const char *list, const char *name, long none)
{
    size_t n = strlen(name);

    for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',')
        if (!strncmp(p, name, n) && p[n] == '=')
            return strtol(p + n + 1, NULL, 10);
    return none;
}

static void check_rights(struct check *k)
{
    const struct wire_conf *c = k->c;
    const char *user = k->look->site->user;
    BT_AUTO char *run_as = bt_printf("run beamtimed as %s or root, or map nobody and set --user to "
                                     "the helper's own account",
                                     c->slurm_user);
    BT_AUTO char *add = bt_printf("beamtime site add %s … --user ACCOUNT", k->look->name);

    rule(k, c->user_uid < 0, WRONG, "user", add, "this site has no Unix account '%s'", user);
    rule(k, *user && c->user_uid >= 0 && c->user_uid < UID_LEAST, WRONG, "user", add,
         "jobs of people who are not mapped are refused: they would run as uid %d, below %d",
         c->user_uid, UID_LEAST);
    rule(k, *user && bt_streq(user, c->slurm_user), c->user_uid == c->uid ? ADVICE : WRONG, "user",
         add, "jobs of people who are not mapped are for '%s', who may do anything in this cluster",
         user);
    rule(k, !*user && c->privileged, ADVICE, "user", add,
         "whom nobody has mapped has no account here: such jobs go to other sites, or wait");
    rule(k, !c->privileged && *user && c->user_uid != c->uid, WRONG, "rights", run_as,
         "uid %d may not submit for %s: only %s and root may", c->uid, user, c->slurm_user);
    rule(k, !c->privileged, ADVICE, "rights", run_as,
         "jobs cannot run as the accounts that people are mapped to: the helper is uid %d, not %s",
         c->uid, c->slurm_user);
    rule(k, !c->privileged && c->private_jobs, WRONG, "PrivateData",
         "take jobs out of PrivateData" RECONFIGURE,
         "others' jobs are hidden from the helper: their nodes would look free");
    rule(k, !bt_streq(c->auth, "auth/munge"), WRONG, "AuthType", "AuthType=auth/munge" RESTART,
         "%s lets everybody be whom he says he is", c->auth);
}

static void check_partition(struct check *k)
{
    const struct wire_conf *c = k->c;
    const struct site_conf *s = k->look->site;
    BT_AUTO char *add =
        bt_printf("sinfo lists partitions; beamtime site add %s … --partition NAME", k->look->name);
    BT_AUTO char *up = bt_printf("scontrol update partitionname=%s state=up", c->partition);
    BT_AUTO char *share = bt_printf("OverSubscribe=NO for partition %s" RECONFIGURE, c->partition);
    BT_AUTO char *longer = bt_printf("MaxTime=INFINITE for partition %s" RECONFIGURE, c->partition);
    BT_AUTO char *allow =
        bt_printf("allow it for partition %s, or beamtime site add %s … --account "
                  "NAME --qos NAME",
                  c->partition, k->look->name);

    if (!*c->partition) {
        rule(k, true, WRONG, "partition", add,
             *s->partition ? "there is no partition '%s'"
                           : "the cluster has no default partition%s",
             s->partition);
        return;
    }
    rule(k, !c->partition_up, WRONG, "partition", up, "partition %s starts nothing: it is not up",
         c->partition);
    rule(k, !c->partition_nodes, WRONG, "partition", add, "partition %s has no nodes",
         c->partition);
    rule(k, c->exclusive, WRONG, "OverSubscribe", share,
         "partition %s gives each job whole nodes: of two jobs on one node the second would wait",
         c->partition);
    rule(k, c->partition_minutes && c->partition_minutes < DAY_MINUTES, ADVICE, "MaxTime", longer,
         "partition %s refuses jobs of more than %d minutes", c->partition, c->partition_minutes);
    rule(k, *c->accounts && !s->fence && !bt_list_has(c->accounts, s->account, strlen(s->account)),
         WRONG, "AllowAccounts", allow, "partition %s takes the accounts %.80s only, not '%s'",
         c->partition, c->accounts, s->account);
    rule(k, *c->qos && !s->fence && !bt_list_has(c->qos, s->qos, strlen(s->qos)), WRONG, "AllowQos",
         allow, "partition %s takes the QOS %.80s only, not '%s'", c->partition, c->qos, s->qos);
    rule(k, c->associations && !*s->account && !s->fence, ADVICE, "account", allow,
         "only accounts in slurmdbd may submit, and the site names none: each person needs a "
         "default account");
    rule(k, !bt_streq(c->preempt, "preempt/none") && c->may_preempt, ADVICE, "PreemptMode",
         "PreemptMode=OFF for the broker's partition" RECONFIGURE,
         "%s may end jobs in partition %s; the facility tries them again", c->preempt,
         c->partition);
}

static void check_jobs(struct check *k)
{
    const struct wire_conf *c = k->c;

    rule(k, !bt_streq(c->select, "select/cons_tres"), WRONG, "SelectType",
         "SelectType=select/cons_tres" RESTART,
         "%s cannot give a job some accelerators of each node", c->select);
    rule(k, c->memory_counts && !c->memory_default, WRONG, "DefMemPerCPU",
         "DefMemPerCPU=MEGABYTES" RECONFIGURE,
         "a job that asks for no memory takes all of its node: a second one there would wait");
    rule(k, !bt_streq(c->proctrack, "proctrack/cgroup"), ADVICE, "ProctrackType",
         "ProctrackType=proctrack/cgroup" RESTART,
         "with %s processes that leave their session outlive their job", c->proctrack);
    rule(k, !has(c->task, "task/cgroup"), ADVICE, "TaskPlugin",
         "TaskPlugin=task/cgroup,task/affinity, and ConstrainDevices=yes in cgroup.conf, then "
         "restart slurmd",
         "without task/cgroup a job can use accelerators that it was not given");
    rule(k, !bt_streq(c->propagate, "NONE"), ADVICE, "PropagateResourceLimits",
         "PropagateResourceLimits=NONE" RECONFIGURE,
         "jobs get the resource limits of the daemon's machine instead of their node's");
}

static void check_times(struct check *k)
{
    const struct wire_conf *c = k->c;
    static const char interval[] =
        "SchedulerParameters=sched_interval=5 (and what is there)" RESTART;
    long interval_s = number_of(c->sched_params, "sched_interval", INTERVAL_S);

    rule(k, !has(c->sched_params, "batch_sched_delay=0"), ADVICE, "SchedulerParameters",
         "SchedulerParameters=batch_sched_delay=0 (and what is there)" RESTART,
         "each job waits up to 3 s in Slurm before it is looked at");
    rule(k, interval_s < 0, ADVICE, "SchedulerParameters", interval,
         "jobs that wait when slurmctld is restarted are not looked at for themselves");
    rule(k, interval_s > INTERVAL_MOST_S, ADVICE, "SchedulerParameters", interval,
         "jobs that wait when slurmctld is restarted are looked at every %ld s only", interval_s);
    rule(k, !bt_streq(c->scheduler, "sched/builtin") && !k->look->n_others, ADVICE, "SchedulerType",
         "SchedulerType=sched/builtin where the broker is alone" RESTART,
         "%s plans again what the facility has planned, and holds the controller meanwhile",
         c->scheduler);
    rule(k, c->message_timeout_s > TIMEOUT_MOST_S, ADVICE, "MessageTimeout",
         "MessageTimeout=10" RECONFIGURE, "a controller that hangs is noticed after %d s only",
         c->message_timeout_s);
    rule(k, c->min_job_age_s && c->min_job_age_s < AGE_LEAST_S, ADVICE, "MinJobAge",
         "MinJobAge=300" RECONFIGURE,
         "a job that ended is forgotten after %d s: how it ended may be missed", c->min_job_age_s);
    rule(k, !c->returns, ADVICE, "ReturnToService", "ReturnToService=2" RECONFIGURE,
         "a node that was restarted stays down until somebody resumes it");
}

static void check_programs(struct check *k)
{
    const struct wire_conf *c = k->c;

    rule(k, !*c->prolog, ADVICE, "Prolog",
         "Prolog=/usr/libexec/beamtime/slurm-prolog (deploy/slurm)" RECONFIGURE,
         "a job starts also where what an earlier one left still uses its accelerators");
    rule(k, !*c->epilog, ADVICE, "Epilog",
         "Epilog=/usr/libexec/beamtime/slurm-epilog (deploy/slurm)" RECONFIGURE,
         "what a job left behind stays on its nodes");
    rule(k, !*c->health, ADVICE, "HealthCheckProgram",
         "HealthCheckProgram=/usr/libexec/beamtime/slurm-health (deploy/slurm)" RECONFIGURE,
         "nothing looks at a node's health between jobs");
}

int site_check(const struct site_look *look, struct json_writer *w)
{
    struct check k = {.look = look, .c = look->conf, .w = w};
    BT_AUTO char *diff = bt_printf("beamtime site diff %s", look->name);

    rule(&k, !bt_starts(look->version, TESTED), ADVICE, "version",
         "tests/run 5001-slurm on a machine with this release",
         "Slurm %s is not among the releases that were tested (22.05)", look->version);
    rule(&k, look->n_differ > 0, ADVICE, "nodes", diff, "%d of its nodes take no work from here",
         look->n_differ);
    check_rights(&k);
    check_partition(&k);
    check_jobs(&k);
    check_times(&k);
    check_programs(&k);
    return k.n;
}
