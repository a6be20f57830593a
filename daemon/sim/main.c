/* main.c - beamtime-sim: replays a history of jobs under a policy and says what came of it.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <getopt.h>
#include <math.h>
#include <stdio.h>

#include "daemon/sim/options.h"
#include "daemon/sim/report.h"
#include "lib/base/attr.h"
#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/base/time.h"

static int simulate(struct sim *s, const struct sim_options *o, struct sim_result *r,
                    struct bt_err *err)
{
    int64_t t0 = bt_mono_us();
    int rc = 0;
    if (o->arrived_percent > 0) {
        r->held = sim_fill(s, o->policy, o->arrived_percent, o->seed);
        r->fill = true;
    } else if (o->policy == SIM_BEAMTIME) {
        rc = sim_core(s, err);
    } else if (o->policy == SIM_BESTFIT) {
        sim_bestfit(s);
    } else {
        sim_pool(s, o->policy);
    }
    r->wall_s = (double)(bt_mono_us() - t0) / 1e6;
    return rc;
}

int main(int argc, char **argv)
{
    struct sim_options o;
    struct bt_err err = {0};
    struct sim s = {0};
    struct sim_result r = {0};
    int rc = options_parse(argc, argv, &o, &err);
    if (rc > 0)
        return 0;
    if (rc >= 0 && (rc = options_load(&o, &s, &err)) >= 0 && (rc = simulate(&s, &o, &r, &err)) >= 0)
        rc = report(&s, &o, &r, &err);
    options_unload(&o, &s);
    if (rc >= 0)
        return 0;
    fprintf(stderr, "beamtime-sim: %s%s%s\n", err.text, *err.next ? "; " : "", err.next);
    return bt_err_exit(-rc);
}
