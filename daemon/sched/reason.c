/* reason.c - the sentences of reasons.def and causes.def.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>

#include "daemon/sched/plan.h"
#include "lib/base/attr.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

struct line {
    const char *name, *sentence;
};

static const struct line reasons[] = {
#define X(name, sentence) {#name, sentence},
#include "daemon/sched/reasons.def"
#undef X
};
static const struct line causes[] = {
#define X(name, sentence) {#name, sentence},
#include "daemon/sched/causes.def"
#undef X
};
static const struct line unknown = {"UNKNOWN", ""};

static const struct line *line_of(const struct line *v, size_t n, int i)
{
    return i >= 0 && (size_t)i < n ? &v[i] : &unknown;
}

const char *sched_reason_name(int reason)
{
    return line_of(reasons, BT_ARRAY_LEN(reasons), reason)->name;
}

const char *sched_reason_sentence(int reason)
{
    return line_of(reasons, BT_ARRAY_LEN(reasons), reason)->sentence;
}

const char *sched_cause_name(int cause)
{
    return line_of(causes, BT_ARRAY_LEN(causes), cause)->name;
}

const char *sched_cause_sentence(int cause)
{
    return line_of(causes, BT_ARRAY_LEN(causes), cause)->sentence;
}

/* Appends the value of the placeholder at p ("{job}…"); returns what follows it, or NULL. */
static const char *placeholder(const char *p, const struct plan_slot *slot, struct bt_buf *to)
{
    const struct {
        const char *word;
        uint32_t value;
    } numbers[] = {{"{nodes}", slot->need_nodes},
                   {"{acc}", slot->n_acc},
                   {"{pod}", slot->reason_pod},
                   {"{job}", slot->blocker},
                   {"{nation}", slot->reason_nation}};
    for (size_t i = 0; i < BT_ARRAY_LEN(numbers); i++) {
        if (!bt_starts(p, numbers[i].word))
            continue;
        if (numbers[i].value == PLAN_NONE)
            bt_buf_str(to, "?");
        else
            bt_buf_printf(to, "%" PRIu32, numbers[i].value);
        return p + strlen(numbers[i].word);
    }
    if (!bt_starts(p, "{time}"))
        return NULL;
    char text[BT_TIME_MAX];
    bt_buf_str(to, bt_time_format(slot->reason_us, text));
    return p + strlen("{time}");
}

void sched_reason_text(const struct plan_slot *slot, struct bt_buf *to)
{
    const char *p = sched_reason_sentence(slot->reason);
    while (*p) {
        const char *next = *p == '{' ? placeholder(p, slot, to) : NULL;
        if (next) {
            p = next;
        } else {
            bt_buf_char(to, *p);
            p++;
        }
    }
}
