/* bench_policy - what one decision and one load cost.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Decides over jobs of all kinds with the shipped rules; prints one JSON line. */
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/mem.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"
#include "policy/load.h"

enum { JOBS = 1024, ROUNDS = 2000, LOADS = 20 };

static void make_jobs(struct policy_facts *f)
{
    for (int i = 0; i < JOBS; i++) {
        f[i] = (struct policy_facts){.at_us = bt_now_us(), .n_nations = 23};
        policy_fact_num(&f[i], POLICY_FLOP_JOB, 1e18);
        policy_fact_num(&f[i], POLICY_FLOP_LINEAGE, i % 8 ? 1e19 * (i + 1) : 1e22 * (i + 1));
        policy_fact_num(&f[i], POLICY_ACCELS, 1 << i % 14);
        policy_fact_num(&f[i], POLICY_PARAMS, 1e9);
        policy_fact_num(&f[i], POLICY_EMBARGO_DAYS, i % 40);
        policy_fact_num(&f[i], POLICY_PUBLISH_DUE, i % 50 == 0);
        policy_fact_bits(&f[i], POLICY_DATA, POLICY_BIT(POLICY_DATA_PUBLIC + i % 6));
        policy_fact_bits(&f[i], POLICY_DOMAIN, POLICY_BIT(POLICY_DOMAIN_GENERAL + i % 7));
        policy_fact_bits(&f[i], POLICY_PURPOSE, POLICY_BIT(POLICY_PURPOSE_TRAIN + i % 6));
        policy_fact_bits(&f[i], POLICY_WEIGHTS, POLICY_BIT(POLICY_WEIGHTS_OPEN));
        policy_fact_bits(&f[i], POLICY_EGRESS, POLICY_BIT(POLICY_EGRESS_NONE));
        policy_fact_bits(&f[i], POLICY_KIND, POLICY_BIT(POLICY_KIND_TRAIN));
    }
}

int main(int argc, char **argv)
{
    const char *dir = argc > 1 ? argv[1] : "policy";
    struct policy *p = NULL;
    struct policy_facts *jobs = bt_new_n(struct policy_facts, JOBS);
    struct policy_decision d;
    struct bt_err err = {0};
    int64_t load_us;
    int64_t decide_us;
    long hits = 0;

    load_us = bt_mono_us();
    for (int i = 0; i < LOADS; i++) {
        policy_free(p);
        p = NULL;
        if (policy_load(dir, bt_sha256, &p, &err) < 0) {
            fprintf(stderr, "bench_policy: %s (run it in the source folder, or name policy/)\n",
                    err.text);
            bt_free(jobs);
            return 1;
        }
    }
    load_us = (bt_mono_us() - load_us) / LOADS;
    make_jobs(jobs);
    decide_us = bt_mono_us();
    for (int r = 0; r < ROUNDS; r++)
        for (int i = 0; i < JOBS; i++) {
            policy_decide(p, &jobs[i], &d);
            hits += d.n_hits;
        }
    decide_us = bt_mono_us() - decide_us;
    fprintf(stderr, "%.1f rules hit a job on average\n", (double)hits / (ROUNDS * (double)JOBS));
    printf("{\"bench\":\"policy\",\"rules\":%zu,\"ns_per_decision\":%.0f,\"load_ms\":%.2f}\n",
           p->n_rules, (double)decide_us * 1e3 / (ROUNDS * (double)JOBS), (double)load_us / 1e3);
    policy_free(p);
    bt_free(jobs);
    return 0;
}
