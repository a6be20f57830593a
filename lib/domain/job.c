/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/domain/job.h"

#include <string.h>

#include "lib/base/time.h"

static const struct {
    const char *text;
    bool terminal;
    bool holds;
} states[] = {
#define S(name, text, terminal, holds) [JOB_##name] = {text, terminal, holds},
#include "lib/domain/job_states.def"
#undef S
};

static const bool legal[JOB_STATES][JOB_STATES] = {
#define T(from, to) [JOB_##from][JOB_##to] = true,
#include "lib/domain/job_states.def"
#undef T
};

static const char *const attempts[] = {
#define A(name, text) [ATTEMPT_##name] = text,
#include "lib/domain/job_states.def"
#undef A
};

static const char *const reasons[] = {
#define H(name, text, sentence) [HELD_##name] = text,
#include "lib/domain/job_states.def"
#undef H
};

static const char *const sentences[] = {
#define H(name, text, sentence) [HELD_##name] = sentence,
#include "lib/domain/job_states.def"
#undef H
};

const char *const job_kind_names[] = {"script", "train", "coll", "command", NULL};
const char *const topo_level_names[] = {"node", "leaf", "pod", "site", "any", NULL};
const char *const requeue_policy_names[] = {"never", "on-facility", "on-failure", NULL};

const char *job_state_name(enum job_state s)
{
    return states[s].text;
}

int job_state_parse(const char *s)
{
    for (int i = 0; i < JOB_STATES; i++)
        if (!strcmp(states[i].text, s))
            return i;
    return -1;
}

bool job_state_terminal(enum job_state s)
{
    return states[s].terminal;
}

bool job_state_holds(enum job_state s)
{
    return states[s].holds;
}

bool job_step_legal(enum job_state from, enum job_state to)
{
    return legal[from][to];
}

static int find(const char *const *names, int n, const char *s)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(names[i], s))
            return i;
    return -1;
}

const char *attempt_state_name(enum attempt_state s)
{
    return attempts[s];
}

int attempt_state_parse(const char *s)
{
    return find(attempts, ATTEMPT_STATES, s);
}

const char *held_reason_name(enum held_reason r)
{
    return reasons[r];
}

int held_reason_parse(const char *s)
{
    return find(reasons, HELD_REASONS, s);
}

const char *held_reason_sentence(enum held_reason r)
{
    return sentences[r];
}

int64_t quota_cost_mras(int64_t accelerators, int64_t seconds, int64_t rate_milli)
{
    int64_t v;

    if (accelerators < 0 || seconds < 0 || rate_milli < 0 ||
        __builtin_mul_overflow(accelerators, seconds, &v) ||
        __builtin_mul_overflow(v, rate_milli, &v))
        return -1;
    return v;
}

int64_t quota_seconds_up(int64_t from_us, int64_t until_us)
{
    if (until_us <= from_us)
        return 0;
    return (until_us - from_us + BT_US_PER_S - 1) / BT_US_PER_S;
}

/* ---- the tasks of an array ---- */

/* A number at *p, which moves behind it; -1 if there is none of at most JOB_MAX_TASK_INDEX. */
static int32_t number_at(const char **p)
{
    int32_t v = 0;

    if (**p < '0' || **p > '9')
        return -1;
    for (; **p >= '0' && **p <= '9'; ++*p) {
        v = v * 10 + (**p - '0');
        if (v > JOB_MAX_TASK_INDEX)
            return -1;
    }
    return v;
}

/* "7", "0-99" or "0-99:2" at *p, which moves behind it; false if it is none of these. */
static bool range_at(const char **p, struct job_tasks *t)
{
    int32_t first = number_at(p), last = first, step = 1;

    if (**p == '-') {
        ++*p;
        last = number_at(p);
        if (**p == ':') {
            ++*p;
            step = number_at(p);
        }
    }
    if (first < 0 || last < first || step < 1 || (t->n && first <= t->index[t->n - 1]))
        return false;
    for (int32_t i = first; i <= last; i += step) {
        if (t->n == JOB_MAX_TASKS)
            return false;
        t->index[t->n++] = i;
    }
    return true;
}

int job_tasks_parse(const char *text, struct job_tasks *ret, struct bt_err *err)
{
    const char *p = text;
    bool good;

    ret->n = ret->at_once = 0;
    while ((good = range_at(&p, ret)) && *p == ',')
        p++;
    if (good && *p == '%') {
        p++;
        ret->at_once = number_at(&p);
        good = ret->at_once > 0;
    }
    if (!good || *p)
        return bt_fail(err, BT_ERR_INVALID,
                       "'%.60s' is no list of tasks such as 0-99 or 1,4,10-20:5%%3: at most %d, "
                       "rising, below %d",
                       text, JOB_MAX_TASKS, JOB_MAX_TASK_INDEX + 1);
    return 0;
}
