/* slurm_own.h - what the parts of a Slurm site's driver share; private to slurm*.c.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_DAEMON_CLUSTERS_SLURM_OWN_H
#define BT_DAEMON_CLUSTERS_SLURM_OWN_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "daemon/clusters/observe.h"
#include "daemon/clusters/site_conf.h"
#include "daemon/clusters/slots.h"
#include "daemon/clusters/slurm.h"
#include "lib/base/map.h"

enum {
    ASKED_MAX = 64,              /* requests at the helper at a time */
    STDERR_MAX = 240,            /* of the helper's last words */
    SUBMIT_ROOM = ASKED_MAX - 8, /* so that lists are not kept waiting */
};

/* A request at the helper; they are answered in order. */
struct asked {
    int64_t q;
    enum wire_op op;
    int64_t sent_us;
    struct bt_uuid job; /* SUBMIT */
    int32_t attempt;
};

enum { REMOTE = -1 }; /* a helper's pid when it runs at its site */

struct helper {
    pid_t pid;              /* 0: none */
    int fd;                 /* our end of the socketpair; -1: it is remote */
    int err;                /* its standard error */
    struct bt_uuid session; /* of a remote one */
    bool ready;
    int64_t q;
    struct bt_buf in, out;
    struct asked asked[ASKED_MAX];
    int first, n_asked;
    int64_t retry_us; /* no new one before */
    int failures;
    char words[STDERR_MAX]; /* its last line */
};

/* The site's end of a remote helper (slurm_remote.c). */
struct remote {
    bool open;
    struct bt_uuid session;
    char from[64];              /* its address */
    int64_t heard_us, since_us; /* monotonic; UTC */
    struct bt_buf in, out;      /* from the site, to it */
};

struct known_node {
    struct wire_node node;
    bool others; /* jobs of others run there */
    char told[sizeof((struct site_node *)0)->trouble];
};

/* What a site's slurmdbd knows of the facility's projects. */
struct site_fence {
    bool seen; /* a round was answered; these up to the blank line under the driver's lock */
    bool enforced;
    struct fence_item *items; /* that differ; owned */
    size_t n_items;
    char text[240], next[160]; /* why there is none */

    int64_t due_us, asked_us;
    bool under_way;
    struct fence_row *asked; /* owned */
    size_t n_asked;
    struct bt_map pairs; /* accounts and users that are there */
};

struct driver {
    struct clusters *all;
    char name[32];
    int32_t id;
    pthread_t thread;
    bool runs;
    int wake; /* eventfd */
    atomic_bool stopping;

    pthread_mutex_t lock; /* over what follows, up to the next blank line */
    struct site_conf conf;
    char state[16];
    bool changed; /* conf or state */
    struct want *wants;
    size_t n_wants, cap_wants;
    bool hurries; /* among them is one to be met at once */
    bool reachable;
    int64_t since_us; /* not reachable since */
    char cluster[64], version[32];
    char text[240], next[160];
    int64_t n_jobs, n_others;
    int64_t *suspended; /* Slurm's numbers of jobs of ours that an administrator suspended */
    size_t n_suspended, cap_suspended;
    struct known_node *nodes;
    size_t n_nodes;
    struct wire_conf settings; /* of the cluster, for `site check` */
    bool has_settings;
    struct site_fence fence;  /* in part */
    struct observer observer; /* of a site that is only observed */
    struct remote remote;

    /* the thread's own */
    struct site_conf use;
    bool removed;
    struct helper helper;
    struct slots slots;
    bool tell_all; /* the core shall hear of every node */
    bool maps;     /* wire_reply.maps */
    int64_t jobs_due_us, nodes_due_us, conf_due_us, queue_due_us;
    int64_t jobs_asked_us, jobs_every_us;
    bool observer_loaded;
};

/* slurm.c: the partition that jobs go to starts nothing. The lock is held. */
bool driver_partition_shut(const struct driver *d);

/* slurm_helper.c: the process and its frames. */
int helper_start(struct driver *d, struct bt_err *err) BT_MUSTUSE;
void helper_end(struct driver *d); /* kills it; what was asked is in doubt */
/* Queues a request; false when too many are under way. */
bool helper_ask(struct driver *d, const struct wire_request *r, struct bt_uuid job,
                int32_t attempt);
/* Reads and writes what is possible; BT_ERR_IO when the helper has gone. */
int helper_pump(struct driver *d, short revents, struct bt_err *err) BT_MUSTUSE;
void helper_words(struct driver *d); /* what it said on standard error */

/* slurm_remote.c: a helper that called from its site. Whether a new one did; it becomes the
 * driver's helper; it is let go; bytes of it, and for it (then `from` is empty). BT_ERR_IO when it
 * has gone. */
bool remote_waits(struct driver *d);
int remote_start(struct driver *d, struct bt_err *err) BT_MUSTUSE;
void remote_end(struct driver *d);
int remote_take(struct driver *d, struct bt_buf *to, struct bt_err *err) BT_MUSTUSE;
int remote_give(struct driver *d, struct bt_buf *from, struct bt_err *err) BT_MUSTUSE;

/* slurm_fence.c: asks when it is due; whether jobs may go under that account as that user ("" the
 * site's own). */
void fence_ask(struct driver *d);
void fence_reply(struct driver *d, struct wire_reply *r); /* takes its items */
bool fence_knows(struct driver *d, const char *account, const char *user);
void fence_cut(struct driver *d); /* the helper is gone */
void fence_done(struct driver *d);

/* slurm_watch.c: what a site that is only observed does; its file in the state directory. */
void watch_load(struct driver *d);
void watch_queue(struct driver *d, const struct wire_reply *r);

/* slurm.c: called for each reply. */
void driver_reply(struct driver *d, const struct asked *a, struct wire_reply *r);
void driver_hello(struct driver *d, const struct wire_reply *r);

#endif
