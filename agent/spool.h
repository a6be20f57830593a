/* spool.h - the folder through which an attempt's shepherd and the agent speak: files, each written
 * once. SPDX-License-Identifier: GPL-3.0-or-later
 *
 *   <state>/attempts/<job>.<attempt>/     mode 0700, the agent's own user
 *     order.json     agent     what to run, where, as whom; the folder appears with it
 *     spec.json      agent     the job document as it was submitted
 *     lock           shepherd  POSIX lock held by the living shepherd
 *     identity       shepherd  the claim's foreign_id; the same for every later shepherd
 *     granted        agent     the daemon has granted the claim: ranks may start; its answer, which
 *                              says where the job's data sets are
 *     stop, gone     agent     signal, then grace, then kill; or kill now
 *     ranks          shepherd  before the first rank is forked: never start again
 *     started        shepherd  the ranks run
 *     log.out log.err log.metrics   shepherd, appended, each bounded
 *     ended.json     shepherd  written when every process of the attempt is gone
 *     manifest.txt manifest.json    shepherd: what it left behind; its work is done
 *     told           agent     the daemon has heard all it wants: only cleaning is left
 *
 * Each file but the logs appears by rename or link and is never changed, so either side may be
 * killed at any instruction and its successor goes on from what is there.
 *
 * A node that loses its power has what the facility may ask for again: the folder with order and
 * spec, the identity before it is claimed with, the end and the manifest before they are told. The
 * ranks die with their node, so `started` may be forgotten; `granted` is kept by the fsync of
 * `ranks`, before which nothing ran (a repeated claim gets the same answer); `told` may be
 * forgotten, too: the facility has committed what it was told and refuses it a second time. */
#ifndef BT_AGENT_SPOOL_H
#define BT_AGENT_SPOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/uuid.h"

enum { SPOOL_PATH_MAX = 1024, SPOOL_NAME_MAX = 48, FOREIGN_MAX = 64, SPEC_MAX = 262144 };

/* What the agent orders; all texts are the agent's own or checked by it. */
struct order {
    struct bt_uuid job;
    int64_t number;
    int32_t attempt;
    int32_t walltime_s;
    int32_t grace_s;
    int32_t signal;
    int32_t tier;
    int32_t accelerators;
    int32_t pids_max;
    int32_t nodes; /* of the whole attempt; this one is the first */
    int32_t world; /* accelerators on all of them */
    char mpi[8];   /* for srun: "pmi2", "pmix"; "" or "none": nothing */
    bool slurm;    /* its shepherd is the script of a Slurm job and runs as `user` */
    char kind[16];
    char class[16];
    char mask[20];                /* hex of the accelerators' bits */
    char cpus[256];               /* "0-1,4": cores of the accelerators; "" leaves them free */
    char devices[256];            /* "0,2": GPU indexes; "" none */
    char user[33];                /* Unix account or number; "" the agent's own */
    char work[SPOOL_PATH_MAX];    /* <state>/work */
    char libexec[SPOOL_PATH_MAX]; /* where beamtime-train and beamtime-coll lie */
    char node[64];
    int64_t log_max_bytes;
    int64_t memory_max_bytes; /* 0: unbounded */
    int64_t lease_s;          /* 0: none */
};

/* How the ranks ended; reason is one of the API's words. */
struct verdict {
    char reason[16]; /* exited walltime stopped start-failed lost */
    int32_t exit_code;
    int32_t signal;
    bool checkpointed;
    char text[200];
};

/* What was left behind. */
struct yield {
    uint8_t root[32];
    uint8_t sha256[32]; /* of manifest.txt */
    int64_t files;
    int64_t bytes;
    bool incomplete;
    int64_t uid;       /* owner of the files */
    char metrics[512]; /* JSON object of decimal strings */
};

char *spool_name(struct bt_uuid job, int32_t attempt, char out[SPOOL_NAME_MAX]);
int spool_name_parse(const char *name, struct bt_uuid *job, int32_t *attempt) BT_MUSTUSE; /* -1 */

struct account; /* agent/account.h */

/* Makes <attempts>/<name> with order.json and spec.json in one rename; BT_ERR_CONFLICT if it is
 * there already. `share`: whose shepherd shall use it, when that is not the agent's; or NULL. */
int spool_make(const char *attempts, const struct order *order, const char *spec, size_t n_spec,
               const struct account *share, struct bt_err *err) BT_MUSTUSE;
int spool_order(const char *dir, struct order *ret, struct bt_err *err) BT_MUSTUSE;

bool spool_has(const char *dir, const char *file);
/* Puts a small file there; one that exists stays as it is and counts as success. */
int spool_put(const char *dir, const char *file, const char *text, struct bt_err *err) BT_MUSTUSE;
/* A file that says all by being there: a further name of the lock, since a file made and removed is
 * one more whose number the next ones must step over (ext4 gives none away anew for minutes). It
 * must not be opened. `keep`: also when the power goes. */
int spool_mark(const char *dir, const char *file, bool keep, struct bt_err *err) BT_MUSTUSE;
/* `granted`, which a shepherd that runs as somebody else can read. */
int spool_put_grant(const char *dir, const char *text, struct bt_err *err) BT_MUSTUSE;
/* A descriptor of a plain file, else an error: BT_ERR_NOT_FOUND when there is none. */
int spool_open(const char *dir, const char *file, struct bt_err *err) BT_MUSTUSE;
int spool_get(const char *dir, const char *file, size_t max, struct bt_buf *to,
              struct bt_err *err) BT_MUSTUSE;

int spool_put_verdict(const char *dir, const struct verdict *v, struct bt_err *err) BT_MUSTUSE;
int spool_verdict(const char *dir, struct verdict *ret, struct bt_err *err) BT_MUSTUSE;
/* With manifest.txt, whose text is `manifest`. */
int spool_put_yield(const char *dir, const struct yield *y, const struct bt_buf *manifest,
                    struct bt_err *err) BT_MUSTUSE;
int spool_yield(const char *dir, struct yield *ret, struct bt_err *err) BT_MUSTUSE;

/* Removes the folder: first its name (to old.<name>), so that what is left after a kill is never
 * taken for an attempt; whoever starts next removes every old.* and new.*. */
int spool_remove(const char *dir, struct bt_err *err) BT_MUSTUSE;

/* Takes the shepherd's lock and keeps it until the process ends. BT_ERR_LOCKED when another
 * process has it. The file must not be opened again in this process (fcntl(2), F_SETLK). */
int spool_lock(const char *dir, struct bt_err *err) BT_MUSTUSE;
pid_t spool_shepherd(const char *dir); /* who holds it; 0: nobody */

#endif
