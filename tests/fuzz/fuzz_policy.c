/* fuzz_policy - any bytes as a policy tree and as test cases: refused, or decided without harm.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "policy/cases.h"
#include "policy/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void decide_all(const struct policy *p)
{
    static const uint32_t known[] = {0, UINT32_MAX, 0x55555555};
    struct policy_decision d;

    for (size_t i = 0; i < BT_ARRAY_LEN(known); i++) {
        struct policy_facts f = {.known = known[i], .values = i, .n_nations = 7, .at_us = 1};
        struct bt_buf text = {0};

        policy_decide(p, &f, &d);
        if (d.tier < 0 || d.tier >= TIERS || d.n_hits > (int)p->n_rules + 2)
            abort();
        policy_explain(p, &f, true, &text);
        bt_buf_done(&text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct policy *p = NULL;
    struct policy_cases cases = {0};
    struct bt_err err;

    if (n > 0 && data[0] == '#') { /* text: a file of cases */
        char *text = bt_strndup((const char *)data, n);

        if (policy_cases_parse(text, &cases, &err) == 0)
            policy_cases_done(&cases);
        bt_free(text);
    } else if (policy_decode(data, n, &p, &err) == 0) {
        decide_all(p);
        policy_free(p);
    }
    return 0;
}
