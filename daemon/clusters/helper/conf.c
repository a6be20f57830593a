/* What the controller and a partition are set to: the facts that `site check` judges.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <pwd.h>
#include <unistd.h>

#include "daemon/clusters/helper/cluster_own.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

enum {
    ASSOCIATIONS = 1
}; /* of accounting_storage_enforce: AccountingStorageEnforce=associations */

static void text(char *to, size_t size, const char *from)
{
    if (!from || !bt_is_utf8(from, strlen(from)))
        from = "";
    bt_copy(to, size, from);
}
#define TEXT(field, from) text(ret->field, sizeof ret->field, from)

static int32_t uid_of(const char *user)
{
    BT_AUTO char *room = bt_alloc(1, PASSWD_ROOM);
    struct passwd pw;
    struct passwd *found = NULL;

    if (!*user)
        return (int32_t)geteuid();
    if (getpwnam_r(user, &pw, room, PASSWD_ROOM, &found) || !found)
        return -1;
    return (int32_t)found->pw_uid;
}

static void read_settings(const slurm_conf_t *from, struct wire_conf *ret)
{
    TEXT(auth, from->authtype);
    TEXT(select, from->select_type);
    TEXT(proctrack, from->proctrack_type);
    TEXT(task, from->task_plugin);
    TEXT(scheduler, from->schedtype);
    TEXT(sched_params, from->sched_params);
    TEXT(preempt, from->preempt_type);
    TEXT(propagate, from->propagate_rlimits);
    TEXT(prolog, from->prolog);
    TEXT(epilog, from->epilog);
    TEXT(health, from->health_check_program);
    TEXT(slurm_user, from->slurm_user_name);
    ret->message_timeout_s = from->msg_timeout;
    ret->min_job_age_s = (int32_t)BT_MIN(from->min_job_age, (uint32_t)INT32_MAX);
    ret->memory_counts = from->select_type_param & CR_MEMORY;
    ret->memory_default = from->def_mem_per_cpu != 0;
    ret->returns = from->ret2service != 0;
    ret->associations = from->accounting_storage_enforce & ASSOCIATIONS;
    ret->private_jobs = from->private_data & PRIVATE_DATA_JOBS;
    ret->uid = (int32_t)geteuid();
    ret->privileged = geteuid() == 0 || geteuid() == from->slurm_user_id;
}

static void read_partition(const partition_info_t *from, struct wire_conf *ret)
{
    TEXT(partition, from->name);
    TEXT(accounts, from->allow_accounts);
    TEXT(qos, from->allow_qos);
    ret->partition_up = from->state_up == PARTITION_UP;
    ret->exclusive = from->max_share == 0;
    ret->may_preempt = from->preempt_mode != PREEMPT_MODE_OFF;
    ret->partition_nodes = (int32_t)BT_MIN(from->total_nodes, (uint32_t)INT32_MAX);
    ret->partition_minutes = from->max_time == INFINITE || from->max_time == NO_VAL
                                 ? 0
                                 : (int32_t)BT_MIN(from->max_time, (uint32_t)INT32_MAX);
    if (from->def_mem_per_cpu)
        ret->memory_default = true;
}

int cluster_conf(void *arg, const char *partition, const char *user, struct wire_conf *ret,
                 struct bt_err *err)
{
    slurm_conf_t *conf = NULL;
    partition_info_msg_t *m = NULL;

    (void)arg;
    errno = 0;
    if (slurm_load_ctl_conf(0, &conf) != 0)
        return cluster_failed("show its configuration", err);
    read_settings(conf, ret);
    compat_free_conf(conf);
    ret->user_uid = uid_of(user);
    errno = 0;
    if (slurm_load_partitions(0, &m, SHOW_ALL) != 0)
        return cluster_failed("list its partitions", err);
    for (uint32_t i = 0; i < m->record_count; i++) {
        const partition_info_t *p = &m->partition_array[i];

        if (*partition ? bt_streq(p->name, partition) : (p->flags & PART_FLAG_DEFAULT) != 0)
            read_partition(p, ret);
    }
    slurm_free_partition_info_msg(m);
    return 0;
}
