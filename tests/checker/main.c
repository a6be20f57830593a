/* main.c - bt-check: the invariants of a facility, seen from outside.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/checker/checker.h"

static const char usage[] =
    "usage: bt-check --database CONNINFO [--ledger DIR] [--vkey FILE] [--acks FILE]\n"
    "Verifies I1 to I7 (tests/checker/checker.h) on a database and the published ledger.\n"
    "A line each violation on stdout. Exit 0: none, 1: some, 2: could not look.\n";

static void print(void *arg, const char *invariant, const char *what)
{
    (void)arg;
    printf("%s: %s\n", invariant, what);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"database", required_argument, NULL, 'd'}, {"ledger", required_argument, NULL, 'l'},
        {"vkey", required_argument, NULL, 'v'},     {"acks", required_argument, NULL, 'a'},
        {"help", no_argument, NULL, 'h'},           {0},
    };
    struct checker_settings s = {0};
    struct checker_totals t;
    struct bt_err err = {0};
    int o, n;

    while ((o = getopt_long(argc, argv, "", options, NULL)) >= 0)
        switch (o) {
        case 'd':
            s.conninfo = optarg;
            break;
        case 'l':
            s.ledger = optarg;
            break;
        case 'v':
            s.vkey = optarg;
            break;
        case 'a':
            s.acks = optarg;
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs(usage, stderr);
            return 2;
        }
    if (!s.conninfo || optind < argc) {
        fputs(usage, stderr);
        return 2;
    }
    n = checker_run(&s, print, NULL, &t, &err);
    if (n < 0) {
        fprintf(stderr, "bt-check: %s\n", err.text);
        return 2;
    }
    printf("%ld jobs, %ld entries, %ld leaves, %ld allocations, %ld checkpoints, %ld "
           "acknowledgements: %d violations\n",
           t.jobs, t.entries, t.leaves, t.allocations, t.checkpoints, t.acks, n);
    return n > 0;
}
