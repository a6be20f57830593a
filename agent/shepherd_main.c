/* beamtime-shepherd: what is started for each attempt, with as few libraries as it needs.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * beamtime-agent knows the same words; but it links what speaks HTTP and finds devices, and to
 * load those 30 libraries costs 9 ms of a core, several times an attempt. */
#include <stdio.h>

#include "agent/shepherd.h"
#include "agent/slurm.h"
#include "lib/base/err.h"
#include "lib/base/log.h"
#include "lib/base/str.h"

static int run(int argc, char **argv, struct bt_err *err)
{
    const char *word = argc > 1 ? argv[1] : "";

    if (bt_streq(word, "shepherd") && argc == 3)
        return shepherd_run(argv[2], err);
    if (bt_streq(word, "clean") && argc == 3)
        return shepherd_clean(argv[2], err);
    if (bt_streq(word, "rank") && argc > 2)
        return slurm_rank(argc - 2, argv + 2, err);
    return bt_next(err, bt_fail(err, BT_ERR_USAGE, "usage: shepherd DIR | clean DIR | rank …"),
                   "beamtime-agent and Slurm start this program");
}

int main(int argc, char **argv)
{
    struct bt_err err = {0};

    bt_log_init("beamtime-shepherd", BT_INFO);
    if (run(argc, argv, &err) == 0)
        return 0;
    (void)fprintf(stderr, "beamtime-shepherd: %s\n", err.text);
    if (*err.next)
        (void)fprintf(stderr, "  next: %s\n", err.next);
    return bt_err_exit(err.code);
}
