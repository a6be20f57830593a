/* beamtime-relay: lets agents that have no route to the facility reach it through one machine of
 * their site. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * It keeps nothing, so it may be ended and killed at any time: agents connect again. */
#include <stdio.h>
#include <sys/resource.h>

#include "daemon/clusters/relay/relay.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/time.h"
#include "lib/conf/conf.h"

struct settings {
#define S CONF_MEMBER
#include "daemon/clusters/relay/conf.def"
#undef S
};

static const struct conf_row rows[] = {
#define S(...) CONF_ROW(struct settings, __VA_ARGS__)
#include "daemon/clusters/relay/conf.def"
#undef S
};

static const struct conf_table table = {
    .program = "beamtime-relay",
    .summary = "carries the connections of a site's agents to the facility",
    .file = "/etc/beamtime/relay.conf",
    .epilogue =
        "It forwards TLS and reads nothing: agents (settings url and relay) and facility verify\n"
        "each other through it. It needs no key, no certificate and no privilege.\n",
    .rows = rows,
    .n = BT_ARRAY_LEN(rows),
};

enum { SPARE_FDS = 64, TURN_MS = 1000, QUIET_S = 60 };

/* A connection has two descriptors. */
static void make_room(int64_t connections)
{
    struct rlimit l;

    if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur >= (rlim_t)connections * 2 + SPARE_FDS)
        return;
    l.rlim_cur = BT_MIN((rlim_t)connections * 2 + SPARE_FDS, l.rlim_max);
    if (setrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur < (rlim_t)connections * 2 + SPARE_FDS)
        bt_log(BT_WARN, "few_descriptors", "next", "raise LimitNOFILE, or lower connections", NULL);
}

static int begin(const struct settings *set, struct relay **ret, struct bt_err *err)
{
    struct relay_settings s = {.listen = set->listen,
                               .to = set->to,
                               .connections = (int)set->connections,
                               .per_address = (int)set->per_address,
                               .handshakes = (int)set->handshakes,
                               .connect_ms = (int)set->connect_timeout * 1000,
                               .idle_ms = (int)set->idle * 1000};
    char port[8];
    int rc;

    if (!set->to || !*set->to)
        return bt_next(err, bt_fail(err, BT_ERR_USAGE, "where is the facility?"),
                       "beamtime-relay --to HOST:PORT, its listener for agents");
    rc = prefixes_parse(set->allow ? set->allow : "", &s.allow, err);
    if (rc < 0)
        return rc;
    make_room(set->connections);
    rc = relay_open(&s, ret, err);
    if (rc < 0)
        return rc;
    (void)snprintf(port, sizeof port, "%d", relay_port(*ret));
    bt_log(BT_INFO, "relaying", "listen", set->listen, "port", port, "to", set->to, NULL);
    return 0;
}

/* What changed since the last look: the facility lost or reached, connections refused. */
static void tell(const struct relay *r, bool *reaches, uint64_t *refused, int64_t *told_us)
{
    const char *why;
    bool now = relay_reaches(r, &why);
    struct relay_counts c = relay_counts(r);
    char n[24];

    if (now != *reaches && now)
        bt_log(BT_INFO, "facility_reached", NULL);
    else if (now != *reaches)
        bt_log(BT_WARN, "facility_not_reached", "text", why, "next",
               "is beamtimed running there, and is there a route and no firewall between?", NULL);
    *reaches = now;
    if (c.refused == *refused || bt_mono_us() < *told_us)
        return;
    (void)snprintf(n, sizeof n, "%llu", (unsigned long long)(c.refused - *refused));
    bt_log(BT_WARN, "refused", "connections", n, "next",
           "who may connect: allow; how many of one address: per_address", NULL);
    *refused = c.refused;
    *told_us = bt_mono_us() + QUIET_S * BT_US_PER_S;
}

static int run(const struct settings *set, struct bt_err *err)
{
    struct relay *r = NULL;
    bool reaches = true;
    uint64_t refused = 0;
    int64_t told_us = 0;
    int rc = begin(set, &r, err);

    while (rc == 0) {
        rc = relay_turn(r, TURN_MS, err);
        tell(r, &reaches, &refused, &told_us);
    }
    return rc;
}

int main(int argc, char **argv)
{
    struct settings set;
    struct conf_args args = {0};
    struct bt_err err = {0};
    int rc;

    conf_init(&table, &set);
    rc = conf_args(&table, &set, argc, argv, &args, &err);
    bt_log_init("beamtime-relay", rc < 0 ? BT_INFO : (enum bt_level)set.log_level);
    if (rc == 0 && args.print.n)
        rc = bt_write_all(1, args.print.p, args.print.n, &err);
    else if (rc == 0 && args.n_rest)
        rc = bt_fail(&err, BT_ERR_USAGE, "'%s' is not known here", args.rest[0]);
    else if (rc == 0)
        rc = run(&set, &err);
    conf_args_done(&args);
    conf_done(&table, &set);
    if (rc == 0)
        return 0;
    (void)fprintf(stderr, "beamtime-relay: %s\n", err.text);
    if (*err.next)
        (void)fprintf(stderr, "  next: %s\n", err.next);
    return bt_err_exit(err.code);
}
