/* soak.h - what the parts of the kill programme share: the facility, its load, what was found.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_TESTS_SOAK_SOAK_H
#define BT_TESTS_SOAK_SOAK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "lib/base/uuid.h"
#include "tests/bench/rig.h"

/* A number below n from a seed (splitmix64, Vigna 2015). */
uint64_t soak_random(uint64_t *seed, uint64_t n);

/* What may not be. Any thread. */
struct findings {
    pthread_mutex_t lock;
    int n;
};
void soak_found(struct findings *f, const char *invariant, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- site.c: the facility's processes ---- */

struct site {
    struct rig rig;
    char *agent_dir;
    int accelerators;
    pid_t agent;
};

/* A daemon on ports of its own, an agent with `accelerators`, people u0… who may submit. */
void site_start(struct site *s, int accelerators, int persons);
void site_stop(struct site *s);
void site_abandon(struct site *s); /* ends every process, leaves the folder; says where it is */

void site_agent(struct site *s); /* starts it; what it said before goes on */
pid_t site_postmaster(struct site *s);
/* One of the processes whose parent is `parent` (0: any) and whose command line has `needle`
 * (NULL: any); 0 if there is none. */
pid_t site_pick(uint64_t *seed, pid_t parent, const char *needle);
/* SIGKILL, and waits until it is gone; of a child, the caller reaps. */
void site_kill(pid_t pid);
void site_kill_shepherds(const struct site *s);                  /* all of them */
char *site_shepherds(const struct site *s, const char *attempt); /* what their command line has */

char *site_conninfo(const struct site *s);
/* The first value of a query as text, owned; NULL without a row. */
char *site_ask(struct site *s, const char *sql);
/* Waits until the signed checkpoint covers all that is committed; false after a minute. */
bool site_published(struct site *s);
/* `beamtime ledger verify` of the public listener with the key alone; its wait status. */
int site_verify(const struct site *s);

/* ---- clients.c: the load ---- */

struct load_totals {
    atomic_llong acked;    /* submissions */
    atomic_llong cancels;  /* acknowledged */
    atomic_llong queries;  /* answered */
    atomic_llong repeated; /* sent again, because the outcome was unknown or as a test */
    atomic_llong unknown;  /* calls without a certain answer */
};

struct clients {
    struct site *site;
    struct findings *found;
    FILE *acks; /* a line "UUID SHA256HEX" each */
    pthread_mutex_t acks_lock;
    struct load_totals totals;
    atomic_bool stop;
    int n;
    struct client *client;
    uint64_t seed;
};

/* One person's connection; the main thread has one too. */
struct client {
    struct clients *all;
    struct net_client *net;
    pthread_t thread;
    uint64_t seed;
    int person;
    struct own_job *jobs;
};

void clients_start(struct clients *c); /* n threads as u1… */
void clients_stop(struct clients *c);  /* each finishes what it has begun */

struct client *client_new(struct clients *all, int person);
void client_free(struct client *c);

enum job_sort { SORT_TRUE, SORT_FALSE, SORT_SLEEP, SORT_FILE, SORT_LONG, N_SORTS };

/* Submits until there is an answer, with the same id; keeps the acknowledgement. */
int client_submit(struct client *c, enum job_sort sort, struct bt_uuid *ret_id);
/* Waits by long polls until the job is in `state`, or has ended; gives its last state. Returns
 * false when `limit_s` have passed. */
bool client_wait(struct client *c, struct bt_uuid id, const char *state, int limit_s,
                 char ret_state[16]);

#endif
