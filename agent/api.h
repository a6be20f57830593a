/* api.h - the agent's verbs of the API over a link. Each may be repeated (lib/api/routes.def).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_AGENT_API_H
#define BT_AGENT_API_H

#include <stdbool.h>

#include "agent/link.h"
#include "agent/spool.h"

struct attempt_id {
    struct bt_uuid job;
    int32_t attempt;
};

struct node_facts {
    const char *node;
    const char *class;
    int accelerators;
    const char *boot_id;
    const char *inventory; /* JSON */
    const char *known;     /* known.h; "": nothing */
    int64_t pod, leaf;     /* 0: not told */
};

/* All return 0 or an error of the daemon (its code) or of the way to it. api_is_final tells an
 * error that no repetition mends from one that may pass. */
int api_register(struct link *l, const struct node_facts *facts, struct bt_err *err) BT_MUSTUSE;
/* An attempt that runs here. */
struct live {
    struct attempt_id id;
    int64_t checkpoint_us; /* last write to its checkpoint folder; 0 = unknown */
};
/* *ret_measure: the facility asks for a measurement. */
int api_heartbeat(struct link *l, const char *node, const struct live *live, size_t n,
                  bool *ret_measure, struct bt_err *err) BT_MUSTUSE;
/* For the key that asks; the text of the reply is identity_keep's. */
int api_renew(struct link *l, const struct bt_buf *request, struct bt_buf *ret,
              struct bt_err *err) BT_MUSTUSE;
int api_measured(struct link *l, const char *node, int64_t busbw_mbs,
                 struct bt_err *err) BT_MUSTUSE;
struct trial_part; /* agent/trial.h */
int api_trial(struct link *l, const char *node, const struct trial_part *part,
              struct bt_err *err) BT_MUSTUSE;
/* outcome: ok, failed, lost, disturbed; links: JSON, "" none. */
int api_trial_ended(struct link *l, const char *node, int64_t id, const char *outcome,
                    const char *text, const char *links, struct bt_err *err) BT_MUSTUSE;
/* The text of the reply; after < 0 asks for the present state at once. known: as in node_facts. */
int api_wants(struct link *l, int64_t after, int wait_s, const char *known, struct bt_buf *ret,
              struct bt_err *err) BT_MUSTUSE;
int api_spec(struct link *l, struct bt_uuid job, struct bt_buf *ret, struct bt_err *err) BT_MUSTUSE;
/* Attempts whose ranks run, told along with something else: the daemon has them when it answers
 * that with 2xx. */
enum { START_LIST_MAX = 32 };
struct start {
    struct attempt_id id;
    char foreign[FOREIGN_MAX + 1];
    int64_t since_us; /* monotonic */
};
struct start_list {
    struct start v[START_LIST_MAX];
    int n;
};
/* The text of the reply is spec_granted's. `along`: may be empty. */
int api_claim(struct link *l, const struct attempt_id *id, const char *foreign,
              const struct start_list *along, struct bt_buf *ret, struct bt_err *err) BT_MUSTUSE;
/* The last one of the list, and the others along; `plain`: to a daemon that takes none along. */
int api_started(struct link *l, const struct start_list *list, bool plain,
                struct bt_err *err) BT_MUSTUSE;
/* y: the manifest in the same breath, where nothing is left to be uploaded; else NULL. along: may
 * be NULL. */
int api_ended(struct link *l, const struct attempt_id *id, const struct verdict *v,
              const struct yield *y, const struct start_list *along, struct bt_err *err) BT_MUSTUSE;
int api_manifest(struct link *l, const struct attempt_id *id, const struct yield *y,
                 struct bt_err *err) BT_MUSTUSE;

/* Appends p[n] at `offset`; *ret_have is how much the daemon then has, also when it had another
 * length (BT_ERR_CONFLICT: send from there). `eof`: the stream is complete. */
struct log_part {
    const char *stream; /* out, err, metrics */
    int64_t offset;
    const void *p;
    size_t n;
    bool eof;
};
int api_log(struct link *l, const struct attempt_id *id, const struct log_part *part,
            int64_t *ret_have, struct bt_err *err) BT_MUSTUSE;

enum { API_PART_BYTES = 4 * 1024 * 1024 };

/* Uploads what the daemon does not have yet of `fd` (total bytes, of that digest) from its
 * beginning on. BT_ERR_CONFLICT when the bytes are not what the digest says. */
int api_blob(struct link *l, const uint8_t sha256[32], int fd, int64_t total,
             struct bt_err *err) BT_MUSTUSE;

/* Says that this node's site keeps the blob (keep.h), which need not be uploaded then.
 * BT_ERR_NOT_FOUND when the facility knows no address of what this site keeps. */
int api_kept(struct link *l, const uint8_t sha256[32], struct bt_err *err) BT_MUSTUSE;

bool api_is_final(int rc); /* of a negative return */

#endif
