/* wire.h - what the daemon and a site's helper say to each other: frames of JSON over a socketpair.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A frame is a length (4 bytes, big endian, 1..WIRE_MAX) and a JSON object. The daemon asks with
 * {"q":n,"op":…}; the helper answers each request once, in order, with the same q:
 * {"q":n,"ok":true,…} or {"q":n,"ok":false,"code":"UNREACHABLE","text":…,"next":…}. The first
 * frame is the helper's hello with q 0. Both sides read by the tables here. Pure. */
#ifndef BT_DAEMON_CLUSTERS_WIRE_H
#define BT_DAEMON_CLUSTERS_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/clusters/fence.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/uuid.h"
#include "lib/json/json.h"

enum {
    WIRE_MAX = 8 << 20,
    WIRE_COMMENT = 64, /* "bt:<uuid>:<attempt>" */
    WIRE_HOSTS_MAX = 1 << 20,
    WIRE_SCRIPT_MAX = 8192,
};

/* Appends text[n] (at most WIRE_MAX) as a frame. */
void wire_frame(struct bt_buf *to, const char *text, size_t n);
/* The frame that begins at p[n]: 1 with *ret and *ret_n inside p, 0 when it is not complete yet,
 * BT_ERR_INVALID when its length is none. The frame takes 4 + *ret_n bytes. */
int wire_unframe(const char *p, size_t n, const char **ret, size_t *ret_n,
                 struct bt_err *err) BT_MUSTUSE;

enum wire_op {
    WIRE_NODES,
    WIRE_JOBS,
    WIRE_SUBMIT,
    WIRE_CANCEL,
    WIRE_CONF,
    WIRE_QUEUE,
    WIRE_RESUME,
    WIRE_FENCE,
    WIRE_OPS
};

/* A job, wholly decided: which nodes, how much of each, how long, as whom. */
struct wire_submit {
    char comment[WIRE_COMMENT];
    char name[64];
    char *hosts; /* "n1,n2"; owned */
    int32_t n_hosts;
    int32_t per_host; /* accelerators on each; 0: the node has no GRES of that name */
    int32_t cpus;     /* on each */
    int32_t minutes;
    bool exclusive;
    char user[33]; /* Unix account; "" the helper's own */
    char partition[64];
    char account[64];
    char qos[64];
    char *script; /* owned */
};

struct wire_request {
    int64_t q;
    int op;     /* enum wire_op */
    bool fresh; /* NODES, JOBS: everything, not only when it changed */
    struct wire_submit submit;
    uint32_t id;                /* CANCEL: only if it carries the comment */
    char comment[WIRE_COMMENT]; /* CANCEL */
    char partition[64];         /* NODES, CONF, QUEUE: where jobs go; "" the default one, or all */
    char node[64];              /* RESUME */
    char user[33];              /* CONF: whom jobs of unmapped people run as */
    bool apply;                 /* FENCE: also make it so */
    struct fence_row *fence;    /* FENCE: accounts and their users; owned */
    size_t n_fence;
};

void wire_request_write(const struct wire_request *r, struct bt_buf *to); /* with its frame */
int wire_request_read(const char *text, size_t n, struct wire_request *ret,
                      struct bt_err *err) BT_MUSTUSE;
void wire_request_done(struct wire_request *r);

/* A job that carries a comment of ours, and that lives or has ended a moment ago. */
struct wire_job {
    int64_t id;
    int64_t submit_s;
    char comment[WIRE_COMMENT];
    char name[64];
    bool pending;
    bool over;
    bool suspended; /* by an administrator: its processes are stopped */
    char state[24];
};

struct wire_node {
    char name[64];
    char class[16]; /* of its GRES, or cpu */
    int32_t n_acc;  /* of its GRES; 0: it has none */
    int32_t cpus;
    char trouble[64]; /* why Slurm gives it no work; "" it does */
    bool duplicate;   /* drained because a job's number was given away while the job ran there */
    char leaf[64];    /* its switch; "" the cluster has no topology, or leaves it out */
    char pod[64];     /* the switch above, or the same where there is none */
};

/* Any job of the cluster, as somebody who only watches sees it. */
enum wire_state { WIRE_PENDING, WIRE_RUNNING, WIRE_OVER };
struct wire_queued {
    int64_t id;
    int state;        /* enum wire_state */
    bool held;        /* pending: by somebody, or for another job or a time */
    bool exclusive;   /* wants its nodes alone */
    int64_t submit_s; /* seconds since the epoch, as all here; 0 unknown */
    int64_t start_s;  /* when it began; pending: Slurm's own estimate */
    int64_t end_s;    /* when it ended, or will at its limit */
    int32_t minutes;  /* its limit; 0 none */
    int32_t n_hosts;  /* how many nodes */
    int32_t per_host; /* accelerators on each; 0 none */
    int32_t cpus;     /* on each */
    char *hosts;      /* where it runs, "n[1-3]"; owned */
};

/* What decides whether the facility's jobs fare well on a cluster, as the controller has it. */
struct wire_conf {
    char auth[32], select[32], proctrack[32], task[64], scheduler[32];
    char sched_params[256], preempt[32], propagate[128];
    char prolog[128], epilog[128], health[128]; /* programs; "" none */
    int32_t message_timeout_s, min_job_age_s;
    bool memory_counts;  /* jobs are given memory … */
    bool memory_default; /* … and those that ask for none not all of a node */
    bool returns;        /* a node that was down comes back when it registers */
    bool associations;   /* only accounts that slurmdbd knows may submit */
    bool private_jobs;   /* others' jobs are seen by the privileged alone */
    bool privileged;     /* the helper is root or SlurmUser */
    char slurm_user[33];
    int32_t uid;        /* the helper's */
    int32_t user_uid;   /* of the account asked for; -1: there is none */
    char partition[64]; /* "" there is none of that name, or no default */
    bool partition_up;
    bool exclusive;            /* a job has its nodes alone, always */
    bool may_preempt;          /* jobs there may be preempted */
    int32_t partition_minutes; /* its longest job; 0: no limit */
    int32_t partition_nodes;
    char accounts[128], qos[128]; /* that alone may use it; "" all */
};

/* What still differs in slurmdbd. */
struct wire_fenced {
    struct fence_item *items; /* owned */
    size_t n;
    int64_t n_done; /* differences that were mended just now */
    bool enforced;  /* the controller looks at accounts, QOS and limits */
};

/* Whoever reads a list frees it with bt_free. */
struct wire_reply {
    int64_t q;
    bool ok;
    bool unchanged; /* NODES, JOBS: as at the last request */
    int64_t id;     /* SUBMIT */
    char cluster[64];
    char version[32];
    bool maps; /* HELLO: a job without an account's name would run as root or as SlurmUser */
    struct wire_job *jobs;
    struct wire_node *nodes;
    size_t n;                   /* of jobs or nodes */
    char *others;               /* JOBS: nodes that jobs of others use, "n1,n2"; owned */
    int64_t n_others;           /* JOBS: how many jobs of others live */
    int64_t cost_us;            /* JOBS: processor time that reading them took; 0 not known */
    struct wire_conf *conf;     /* CONF; owned */
    struct wire_queued *queue;  /* QUEUE */
    struct wire_fenced *fenced; /* FENCE; owned */
    int code;                   /* BT_ERR_x when not ok */
    char text[240];
    char next[160];
};

void wire_reply_write(const struct wire_reply *r, enum wire_op op, struct bt_buf *to);
int wire_reply_read(const char *text, size_t n, struct wire_reply *ret,
                    struct bt_err *err) BT_MUSTUSE;
void wire_reply_done(struct wire_reply *r);

/* "bt:<uuid>:<attempt>" and back; -1 when it is none of ours. */
void wire_comment(struct bt_uuid job, int32_t attempt, char out[WIRE_COMMENT]);
int wire_comment_parse(const char *comment, struct bt_uuid *job, int32_t *attempt) BT_MUSTUSE;

#endif
