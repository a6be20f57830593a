/* rig.h - a facility of its own for a bench: a daemon in a temporary folder, people with
 * certificates, one node. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Every function ends the bench with a sentence when it fails. */
#ifndef BT_TESTS_BENCH_RIG_H
#define BT_TESTS_BENCH_RIG_H

#include <stdint.h>
#include <sys/types.h>

#include "lib/net/net.h"

struct rig {
    char *dir;                /* state directory of the daemon */
    char *ids;                /* certificates and keys: <name>.pem, <name>.key */
    pid_t pid;                /* of the daemon */
    int people, agents, open; /* ports */
    int asked[3];             /* ports that the daemon is told to use; 0: any free one */
    struct net_client *council;
};

/* Starts a daemon on a fresh folder and enrols the council. */
void rig_start(struct rig *r);
/* The same on these ports (people, agents, public) at every start, so that clients find it again.
 */
void rig_start_on(struct rig *r, const int ports[3]);
/* Stops it and removes the folder. */
void rig_stop(struct rig *r);

/* Starts the daemon of an existing rig again; returns ms until it serves. `sig` 0: it is stopped.
 */
int64_t rig_restart(struct rig *r);
/* The two halves of it. rig_await: 1 it serves, 0 it has ended (and was reaped), -1 neither within
 * limit_ms (-1: no limit). */
void rig_spawn(struct rig *r);
int rig_await(struct rig *r, int limit_ms);
void rig_kill(struct rig *r, int sig); /* and waits for its end */

/* Nation cz with quota, `projects` projects p0…, `persons` people u0… (member of project i mod
 * projects), each enrolled. */
void rig_people(struct rig *r, int persons, int projects);
/* People u<from>… and projects that rig_people has not made yet. */
void rig_more_people(struct rig *r, int from, int persons, int projects);
/* A node that registers `accelerators` of class cpu and says nothing more. */
void rig_node(struct rig *r, const char *name, int accelerators);
/* A site's helper with a certificate: it may speak for every node. */
void rig_helper(struct rig *r, const char *name);

void rig_enrol(struct rig *r, const char *token, const char *name);
struct net_client *rig_client(struct rig *r, const char *name, int port);
/* One call that must succeed; the body is dropped. */
void rig_call(struct net_client *c, const char *method, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* User and system time of a process in µs; resident memory and its anonymous part in KiB. */
int64_t rig_cpu_us(pid_t pid);
int64_t rig_rss_kb(pid_t pid, const char *field); /* "VmRSS", "RssAnon" */

/* Number of rows of a query in the facility's database (one value). */
int64_t rig_ask(struct rig *r, const char *sql);

/* The folder of this bench's program; static. */
const char *rig_folder(void);

void rig_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
