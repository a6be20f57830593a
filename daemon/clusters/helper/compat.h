/* compat.h - the differences between Slurm's releases, in one place. Tested: 22.05.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Read in slurm.h of the release branches, not tried: 23.02 makes state_reason uint32_t; 23.11
 * makes hostlist_t a pointer's target; 24.11 drops slurm_get_errno (we read errno); 25.11 moves
 * job ids into step_id; 26.05 asks for SLURM_BACKWARD_COMPAT and renames slurm_free_ctl_conf. 25.05
 * hides what slurm_load_topo gives: there nodes have no switches until somebody can try it. */
#ifndef BT_CLUSTERS_HELPER_COMPAT_H
#define BT_CLUSTERS_HELPER_COMPAT_H

#include <stdint.h>

#define SLURM_BACKWARD_COMPAT 1
#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>
#include <slurm/slurmdb.h>

/* Exported by the library, not declared in its header. */
extern char *slurm_job_state_string(uint32_t state);
extern char *slurm_node_state_string(uint32_t state);

#if SLURM_VERSION_NUMBER >= SLURM_VERSION_NUM(23, 11, 0)
typedef hostlist_t *compat_hosts;
#else
typedef hostlist_t compat_hosts;
#endif

#if SLURM_VERSION_NUMBER >= SLURM_VERSION_NUM(23, 11, 0)
typedef list_t *compat_list;
typedef list_itr_t *compat_iterator;
#else
typedef List compat_list;
typedef ListIterator compat_iterator;
#endif

#if SLURM_VERSION_NUMBER >= SLURM_VERSION_NUM(25, 11, 0)
#define compat_submitted(response) ((response)->step_id.job_id)
#define compat_job_id(info) ((info)->step_id.job_id)
#else
#define compat_submitted(response) ((response)->job_id)
#define compat_job_id(info) ((info)->job_id)
#endif

#if SLURM_VERSION_NUMBER < SLURM_VERSION_NUM(25, 5, 0)
#define COMPAT_HAS_TOPOLOGY 1
#endif

#if SLURM_VERSION_NUMBER >= SLURM_VERSION_NUM(26, 5, 0)
#define compat_free_conf slurm_free_conf
#else
#define compat_free_conf slurm_free_ctl_conf
#endif

#endif
