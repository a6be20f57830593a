/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/clusters/slots.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

void slots_done(struct slots *s)
{
    for (size_t i = 0; i < s->n; i++)
        bt_free(s->v[i].hosts);
    bt_free(s->v);
    bt_free(s->strays);
    bt_free(s->acts);
    for (size_t i = 0; i < s->n_numbers; i++)
        bt_free(s->numbers[i].hosts);
    bt_free(s->numbers);
    *s = (struct slots){0};
}

struct slot *slots_find(struct slots *s, struct bt_uuid job, int32_t attempt)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i].attempt == attempt && bt_uuid_eq(s->v[i].job, job))
            return &s->v[i];
    return NULL;
}

static void drop(struct slots *s, struct slot *slot)
{
    bt_free(slot->hosts);
    *slot = s->v[--s->n];
}

static void remember(struct slots *s, const struct slot *slot)
{
    struct slot_number *at;

    if (!s->numbers)
        s->numbers = bt_new_n(struct slot_number, SLOT_NUMBERS);
    for (size_t i = 0; i < s->n_numbers; i++)
        if (s->numbers[i].id == slot->id && s->numbers[i].attempt == slot->attempt &&
            bt_uuid_eq(s->numbers[i].job, slot->job))
            return;
    at = &s->numbers[s->next_number];
    s->next_number = (s->next_number + 1) % SLOT_NUMBERS;
    s->n_numbers = BT_MIN(s->n_numbers + 1, (size_t)SLOT_NUMBERS);
    bt_free(at->hosts);
    *at = (struct slot_number){slot->id, ++s->seq, slot->job, slot->attempt,
                               slot->hosts ? bt_strdup(slot->hosts) : NULL};
}

static bool is_over(const struct slots *s, const struct slot_number *n)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i].attempt == n->attempt && bt_uuid_eq(s->v[i].job, n->job))
            return s->v[i].state == SLOT_LEAVING && s->v[i].settled;
    return true;
}

bool slots_doubled(const struct slots *s, const char *node)
{
    size_t len = strlen(node);

    for (size_t i = 0; i < s->n_numbers; i++) {
        const struct slot_number *a = &s->numbers[i];

        for (size_t k = 0; k < s->n_numbers && bt_list_has(a->hosts, node, len); k++) {
            const struct slot_number *b = &s->numbers[k];

            if (a->id == b->id && a->seq < b->seq && bt_list_has(b->hosts, node, len) &&
                is_over(s, a))
                return true;
        }
    }
    return false;
}

static int32_t count_hosts(const char *hosts)
{
    int32_t n = 1;

    for (; *hosts; hosts++)
        n += *hosts == ',';
    return n;
}

static struct slot *add(struct slots *s, const struct want *w)
{
    struct slot *slot;

    BT_GROW(s->v, s->n, s->cap);
    slot = &s->v[s->n++];
    *slot = (struct slot){
        .job = w->job,
        .attempt = w->attempt,
        .state = s->listed ? SLOT_WANTED : SLOT_DOUBT,
        .claimed = w->claimed || w->action == WANT_STOP || !w->hosts,
        .walltime_s = w->walltime_s,
        .grace_s = w->grace_s,
        .per_host = w->per_host,
        .n_hosts = w->hosts ? count_hosts(w->hosts) : 0,
        .hosts = w->hosts ? bt_strdup(w->hosts) : NULL,
    };
    if (slot->claimed)
        slot->state = SLOT_DOUBT;
    bt_copy(slot->user, sizeof slot->user, w->unixname);
    bt_copy(slot->account, sizeof slot->account, w->account);
    return slot;
}

void slots_want(struct slots *s, const struct want *w, int64_t now_us)
{
    struct slot *slot = slots_find(s, w->job, w->attempt);

    if (!slot && (w->action != WANT_GONE || !w->settled))
        slot = add(s, w);
    if (!slot)
        return;
    if (w->action == WANT_STOP)
        slot->claimed = slot->stopping = true;
    if (w->action != WANT_GONE)
        return;
    slot->gone = true;
    slot->settled |= w->settled;
    if (slot->state == SLOT_WANTED || slot->state == SLOT_LOST) {
        drop(s, slot);
    } else if (slot->state != SLOT_ASKED) {
        slot->state = SLOT_LEAVING;
        slot->seen_us = now_us;
    }
}

void slots_placed(struct slots *s, struct bt_uuid job, int32_t attempt, int64_t id, int64_t now_us)
{
    struct slot *slot = slots_find(s, job, attempt);

    if (!slot || slot->state != SLOT_ASKED)
        return;
    slot->id = id;
    slot->pending = true;
    slot->seen_us = now_us;
    slot->state = slot->gone ? SLOT_LEAVING : SLOT_PLACED;
    remember(s, slot);
}

void slots_doubt(struct slots *s, struct bt_uuid job, int32_t attempt)
{
    struct slot *slot = slots_find(s, job, attempt);

    if (slot && slot->state == SLOT_ASKED)
        slot->state = slot->gone ? SLOT_LEAVING : SLOT_DOUBT;
}

void slots_refused(struct slots *s, struct bt_uuid job, int32_t attempt)
{
    struct slot *slot = slots_find(s, job, attempt);

    if (!slot || slot->state != SLOT_ASKED)
        return;
    if (slot->gone)
        drop(s, slot);
    else
        slot->state = SLOT_LOST;
}

void slots_cut(struct slots *s)
{
    s->listed = false;
    for (size_t i = 0; i < s->n; i++) {
        struct slot *slot = &s->v[i];

        if (slot->state == SLOT_ASKED)
            slot->state = slot->gone ? SLOT_LEAVING : SLOT_DOUBT;
        else if (slot->state == SLOT_WANTED)
            slot->state = SLOT_DOUBT;
    }
}

/* ---- a list ---- */

static struct slot_act *act(struct slots *s)
{
    BT_GROW(s->acts, s->n_acts, s->cap_acts);
    s->acts[s->n_acts] = (struct slot_act){0};
    return &s->acts[s->n_acts++];
}

static void cancel(struct slots *s, int64_t id, const char *comment)
{
    struct slot_act *a = act(s);

    a->kind = SLOT_CANCEL;
    a->id = id;
    bt_copy(a->comment, sizeof a->comment, comment);
}

static struct slot_act *unplaced(struct slots *s, struct slot *slot)
{
    struct slot_act *a = act(s);

    a->kind = SLOT_UNPLACED;
    a->job = slot->job;
    a->attempt = slot->attempt;
    slot->state = SLOT_LOST;
    return a;
}

static void unplace(struct slots *s, struct slot *slot, const char *state)
{
    struct slot_act *a = unplaced(s, slot);

    if (state)
        (void)snprintf(a->text, sizeof a->text, "Slurm ended job %" PRId64 " (%s) before a claim",
                       slot->id, state);
    else
        (void)snprintf(a->text, sizeof a->text, "Slurm does not know job %" PRId64 " any more",
                       slot->id);
}

/* A running job with our mark that nobody wants: its shepherd finds out and ends by itself; one
 * that does not is cancelled after a while. */
static void stray(struct slots *s, const struct wire_job *j, int64_t now_us)
{
    for (size_t i = 0; i < s->n_strays; i++)
        if (s->strays[i].id == j->id) {
            s->strays[i].found = true;
            if (now_us - s->strays[i].seen_us > SLOT_STRAY_S * BT_US_PER_S) {
                cancel(s, j->id, j->comment);
                s->strays[i] = s->strays[--s->n_strays];
            }
            return;
        }
    BT_GROW(s->strays, s->n_strays, s->cap_strays);
    s->strays[s->n_strays++] = (struct slot_stray){j->id, now_us, true};
}

/* One of two jobs of the same attempt: a pending one is a ghost of the other. */
static void twin(struct slots *s, struct slot *slot, const struct wire_job *j)
{
    if (j->over)
        return;
    if (j->pending) {
        cancel(s, j->id, j->comment);
    } else if (slot->pending || !slot->found) { /* the one that runs is the one that counts */
        if (slot->found)
            cancel(s, slot->id, j->comment);
        slot->id = j->id;
        slot->pending = false;
        slot->found = true;
        remember(s, slot);
    }
}

static bool is_frozen(const struct slot *slot)
{
    return slot->suspended && (slot->stopping || slot->state == SLOT_LEAVING);
}

static void meet(struct slots *s, struct slot *slot, const struct wire_job *j)
{
    if (slot->state == SLOT_DOUBT || slot->state == SLOT_WANTED) {
        if (j->over && !slot->claimed)
            return; /* an earlier try of the same attempt: it may be tried again */
        slot->state = SLOT_PLACED;
        slot->id = j->id;
        remember(s, slot);
    }
    if (slot->id && slot->id != j->id) {
        twin(s, slot, j);
        return;
    }
    if (slot->state == SLOT_LOST && slot->id == j->id && !j->pending && !j->over)
        slot->state = SLOT_PLACED; /* it was claimed just then */
    slot->id = j->id;
    slot->found = true;
    slot->pending = j->pending;
    slot->suspended = j->suspended;
    if ((slot->state == SLOT_LEAVING && j->pending) || is_frozen(slot))
        cancel(s, j->id, j->comment);
    else if (slot->state == SLOT_LEAVING && j->over)
        slot->found = false;
    else if (slot->state == SLOT_PLACED && j->over)
        unplace(s, slot, j->state);
}

static void settle(struct slots *s, struct slot *slot, int64_t now_us)
{
    char comment[WIRE_COMMENT];

    if (slot->found) {
        if (slot->state == SLOT_LEAVING && !slot->pending &&
            now_us - slot->seen_us >
                (slot->settled ? SLOT_SETTLED_S : SLOT_LINGER_S) * BT_US_PER_S) {
            wire_comment(slot->job, slot->attempt, comment);
            cancel(s, slot->id, comment);
            slot->seen_us = now_us;
        }
        return;
    }
    if (slot->state == SLOT_DOUBT)
        slot->state = slot->claimed ? SLOT_LOST : SLOT_WANTED;
    else if (slot->state == SLOT_PLACED)
        unplace(s, slot, NULL);
    else if (slot->state == SLOT_LEAVING)
        drop(s, slot);
}

void slots_list(struct slots *s, const struct wire_job *jobs, size_t n, const char *name,
                int64_t now_us)
{
    struct bt_uuid job;
    int32_t attempt;

    s->n_acts = 0;
    for (size_t i = 0; i < s->n; i++)
        s->v[i].found = false;
    for (size_t i = 0; i < s->n_strays; i++)
        s->strays[i].found = false;
    for (size_t i = 0; i < n; i++) {
        struct slot *slot;

        if (!bt_streq(jobs[i].name, name) ||
            wire_comment_parse(jobs[i].comment, &job, &attempt) < 0)
            continue; /* of another facility */
        slot = slots_find(s, job, attempt);
        if (slot)
            meet(s, slot, &jobs[i]);
        else if (jobs[i].pending)
            cancel(s, jobs[i].id, jobs[i].comment);
        else if (!jobs[i].over)
            stray(s, &jobs[i], now_us);
    }
    for (size_t i = s->n; i-- > 0;)
        settle(s, &s->v[i], now_us);
    for (size_t i = s->n_strays; i-- > 0;)
        if (!s->strays[i].found)
            s->strays[i] = s->strays[--s->n_strays];
    s->listed = true;
}

void slots_blocked(struct slots *s, const char *others)
{
    for (size_t i = 0; i < s->n; i++) {
        struct slot *slot = &s->v[i];
        size_t len = 0;

        if (slot->state != SLOT_PLACED || !slot->pending || !slot->found || slot->claimed)
            continue;
        for (const char *h = slot->hosts; h && *h; h += len, h += *h == ',') {
            len = strcspn(h, ",");
            if (!bt_list_has(others, h, len))
                continue;
            struct slot_act *a = unplaced(s, slot);

            (void)snprintf(a->text, sizeof a->text,
                           "Slurm's job %" PRId64 " waited for jobs of others on %.*s", slot->id,
                           (int)BT_MIN(len, (size_t)40), h);
            break;
        }
    }
}

bool slots_frozen(const struct slots *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (is_frozen(&s->v[i]))
            return true;
    return false;
}

size_t slots_count(const struct slots *s, enum slot_state state)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n; i++)
        n += s->v[i].state == state;
    return n;
}

int64_t slots_list_every_us(int64_t cost_us)
{
    const int64_t longest_us = SLOT_LIST_MAX_S * BT_US_PER_S;

    if (cost_us >= longest_us / SLOT_LIST_SHARE)
        return longest_us;
    return BT_MAX(SLOT_LIST_S * BT_US_PER_S, cost_us * SLOT_LIST_SHARE);
}

bool slots_wait(const struct slots *s, int64_t now_us)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct slot *slot = &s->v[i];
        int64_t age_us = now_us - slot->seen_us;

        if (slot->state == SLOT_DOUBT || is_frozen(slot) ||
            (slot->state == SLOT_PLACED && slot->pending && age_us > SLOT_CLAIM_S * BT_US_PER_S) ||
            (slot->state == SLOT_LEAVING && age_us > SLOT_SETTLED_S * BT_US_PER_S))
            return true;
    }
    return s->n_strays > 0;
}
