/* slurm.h - a shepherd that Slurm has started as its job's script, and the ranks that srun starts
 * for it. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * It runs as the job's user in the allocation that the broker chose, finds the spool folder that
 * the node's agent has made for it, and otherwise does what every shepherd does. It trusts Slurm
 * for cores, devices and the end of every process; whether ranks may start is the claim's word,
 * which comes through the folder like everywhere. */
#ifndef BT_AGENT_SLURM_H
#define BT_AGENT_SLURM_H

#include <stdbool.h>

#include "agent/environ.h"
#include "agent/spool.h"
#include "lib/base/err.h"

enum { SLURM_WORDS_MAX = 16 };

bool slurm_started_us(void); /* SLURM_JOB_ID is in our environment */

/* "slurm:<job>.<restart>:<boot>:<pid>": unique also when Slurm gives a number again. */
void slurm_identity(const char *boot, char out[FOREIGN_MAX]);

/* Waits until the agent has made the folder: Slurm may be faster than the agent's long poll.
 * BT_ERR_FENCED when it does not come: the attempt is over. */
int slurm_await_folder(const char *dir, struct bt_err *err) BT_MUSTUSE;

/* Adds Slurm's own variables and the devices that it chose: srun and NCCL need them. */
void slurm_environ(struct environ *e);

/* The words of an srun that runs `world` ranks over the nodes of the allocation as
 * `<self> rank PROGRAM WORD…`. `numbers` keeps the texts that words point to. */
struct slurm_words {
    const char *v[SLURM_WORDS_MAX + SPEC_WORDS_MAX];
    char numbers[4][32];
    char self[SPOOL_PATH_MAX];
};
int slurm_words(const struct order *o, int world, const char *program, const char *const *argv,
                struct slurm_words *ret, struct bt_err *err) BT_MUSTUSE;

/* In an attempt's home: wait(2)'s status, rank and node of the first rank that failed. */
#define SLURM_FAILED ".failed"
bool slurm_failed(const struct places *p, int *ret_status, char *text, size_t size);

/* `beamtime-agent rank PROGRAM WORD…`: one of srun's tasks becomes a rank. Does not return on
 * success. */
int slurm_rank(int n, char **words, struct bt_err *err) BT_MUSTUSE;

#endif
