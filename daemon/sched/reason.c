/* reason.c - the sentences of reasons.def and causes.def.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <string.h>

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

static void add_number(struct bt_buf *to, uint32_t v)
{
    if (v == PLAN_NONE)
        bt_buf_str(to, "?");
    else
        bt_buf_printf(to, "%" PRIu32, v);
}

/* Appends what the name at p ("{job}…") stands for; returns what follows it, or NULL. */
static const char *add_named(const char *p, const struct plan_slot *slot,
                             const struct plan_names *names, struct bt_buf *to)
{
    size_t n = strcspn(p, "}") + 1;
    char text[BT_TIME_MAX];
    if (bt_starts(p, "{nodes}"))
        bt_buf_printf(to, "%" PRIu32 " node%s", slot->need_nodes, slot->need_nodes == 1 ? "" : "s");
    else if (bt_starts(p, "{pod}"))
        add_number(to, slot->reason_pod);
    else if (bt_starts(p, "{job}"))
        bt_buf_printf(to, "%" PRId64, names->job);
    else if (bt_starts(p, "{nation}"))
        bt_buf_str(to, names->nation);
    else if (bt_starts(p, "{data}"))
        bt_buf_str(to, names->data ? names->data : "its data sets: no site holds them");
    else if (bt_starts(p, "{time}"))
        bt_buf_str(to, bt_time_format(slot->reason_us, text));
    else
        return NULL;
    return p + n;
}

static void add_sentence(const char *p, const struct plan_slot *slot,
                         const struct plan_names *names, struct bt_buf *to)
{
    while (*p) {
        const char *next = *p == '{' ? add_named(p, slot, names, to) : NULL;
        if (next) {
            p = next;
        } else {
            bt_buf_char(to, *p);
            p++;
        }
    }
}

void sched_reason_text(const struct plan_slot *slot, const struct plan_names *names,
                       struct bt_buf *to)
{
    add_sentence(sched_reason_sentence(slot->reason), slot, names, to);
}

void sched_cause_text(const struct plan_slot *slot, const struct plan_names *names,
                      struct bt_buf *to)
{
    add_sentence(sched_cause_sentence(slot->cause), slot, names, to);
}
