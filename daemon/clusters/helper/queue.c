/* Every job of a cluster, for a site that only watches. SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <stdlib.h>

#include "daemon/clusters/helper/cluster_own.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

/* How many accelerators "gres:gpu:h200:8,…" or "gpu:8" asks for; 0: none of that name. */
static int64_t gpus_of(const char *tres)
{
    const char *at = tres ? strstr(tres, "gpu") : NULL;
    size_t n = at ? strcspn(at, ",;(") : 0;
    const char *last = NULL;

    if (!at)
        return 0;
    for (size_t i = 0; i < n; i++)
        if (at[i] == ':' || at[i] == '=')
            last = at + i + 1;
    return last && *last >= '0' && *last <= '9' ? strtoll(last, NULL, 10) : 1;
}

static int32_t per_host(const slurm_job_info_t *from, int64_t n_hosts)
{
    int64_t in_all = gpus_of(from->tres_per_job);

    if (!in_all && from->tres_per_task)
        in_all = gpus_of(from->tres_per_task) *
                 (from->num_tasks && from->num_tasks != NO_VAL ? from->num_tasks : 1);
    if (!in_all && !from->tres_per_node)
        in_all = gpus_of(from->gres_total);
    if (in_all)
        return (int32_t)BT_MIN((in_all + n_hosts - 1) / n_hosts, 64);
    return (int32_t)BT_MIN(gpus_of(from->tres_per_node), 64);
}

static bool is_held(const slurm_job_info_t *from, uint32_t state)
{
    return state == JOB_PENDING &&
           (from->priority == 0 || from->state_reason == WAIT_DEPENDENCY ||
            from->state_reason == WAIT_HELD || from->state_reason == WAIT_HELD_USER ||
            from->state_reason == WAIT_TIME || from->state_reason == WAIT_DEP_INVALID);
}

static int64_t seconds(time_t t)
{
    return t > 0 ? (int64_t)t : 0;
}

static void add(const slurm_job_info_t *from, struct wire_reply *ret)
{
    uint32_t state = from->job_state & JOB_STATE_BASE;
    int64_t n_hosts = BT_MIN(BT_MAX(from->num_nodes, 1U), 65536U);
    struct wire_queued *j = &ret->queue[ret->n++];

    *j = (struct wire_queued){
        .id = compat_job_id(from),
        .state = state == JOB_PENDING                             ? WIRE_PENDING
                 : state == JOB_RUNNING || state == JOB_SUSPENDED ? WIRE_RUNNING
                                                                  : WIRE_OVER,
        .held = is_held(from, state),
        .exclusive = from->shared == 0,
        .submit_s = seconds(from->submit_time),
        .start_s = seconds(from->start_time),
        .end_s = seconds(from->end_time),
        .n_hosts = (int32_t)n_hosts,
        .per_host = per_host(from, n_hosts),
        .cpus = (int32_t)BT_MIN((BT_MAX(from->num_cpus, 1U) + n_hosts - 1) / n_hosts, 65536),
        .hosts = bt_strdup(from->nodes && state != JOB_PENDING ? from->nodes : ""),
    };
    if (from->time_limit != INFINITE && from->time_limit != NO_VAL)
        j->minutes = (int32_t)BT_MIN(from->time_limit, (uint32_t)INT32_MAX);
}

int cluster_queue(void *arg, bool fresh, const char *partition, struct wire_reply *ret,
                  struct bt_err *err)
{
    job_info_msg_t *m = NULL;

    (void)arg;
    (void)fresh;
    errno = 0;
    if (slurm_load_jobs(0, &m, SHOW_ALL | SHOW_LOCAL) != 0)
        return cluster_failed("list its jobs", err);
    ret->queue = bt_new_n(struct wire_queued, m->record_count + 1);
    for (uint32_t i = 0; i < m->record_count; i++)
        if (cluster_in_list(m->job_array[i].partition, partition))
            add(&m->job_array[i], ret);
    slurm_free_job_info_msg(m);
    return 0;
}
