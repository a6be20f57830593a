/* start.h - turns a fork into a rank: its control group, bounds, user, and then its program.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One thread (it forks). */
#ifndef BT_AGENT_START_H
#define BT_AGENT_START_H

#include <sched.h>
#include <stdbool.h>
#include <sys/types.h>

#include "agent/account.h"
#include "agent/cgroup.h"
#include "lib/base/err.h"

struct start {
    const char *program; /* a path, or a name sought in the new environment's PATH */
    const char *const *argv;
    char **envp;
    const char *dir; /* where it starts; entered as the account */
    const struct account *account;
    const struct cage *cage;
    bool binds; /* to `cpus` */
    cpu_set_t cpus;
    int out, err;  /* descriptors for its standard output and error; input is /dev/null */
    int64_t nproc; /* RLIMIT_NPROC of the account; 0 leaves it */
};

/* Returns after the program was entered: *ret_pid leads its own session and process group. When
 * any step fails nothing of it is left and the error names the step: BT_ERR_USAGE when only the
 * program itself could not be run, else BT_ERR_IO. */
int start_rank(const struct start *s, pid_t *ret_pid, struct bt_err *err) BT_MUSTUSE;

/* "0-1,4" into a set; -1 if it is anything else. */
int start_cpus(const char *list, cpu_set_t *ret);

#endif
