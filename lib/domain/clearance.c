/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/domain/clearance.h"

#include <string.h>

#include "lib/base/attr.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

static const char *const tier_names[TIERS] = {
#define T(name, number, text) [number] = (text),
#include "lib/domain/tiers.def"
#undef T
};

static const char *const lock_names[LOCKS] = {
    [LOCK_PERSON] = "person",
    [LOCK_INSTITUTION] = "institution",
    [LOCK_PROTOCOL] = "project protocol",
    [LOCK_SITE] = "site",
};

/* The option that names the object of a lock, and who decides about it. */
static const struct {
    const char *who;
    const char *command;
    const char *option;
} mends[LOCKS] = {
    [LOCK_PERSON] = {"ask your nation", "beamtime clearance request", NULL},
    [LOCK_INSTITUTION] = {"ask your institution", "beamtime clearance request", "--institution"},
    [LOCK_PROTOCOL] = {"ask your nation", "beamtime clearance request", "--project"},
    [LOCK_SITE] = {"choose a certified site", "beamtime site list --tier", NULL},
};

const char *tier_name(int tier)
{
    return tier >= 0 && tier < TIERS ? tier_names[tier] : "unknown";
}

int tier_by_name(const char *name)
{
    for (int t = 0; t < TIERS; t++)
        if (bt_streq(tier_names[t], name))
            return t;
    return -1;
}

const char *clearance_lock_name(enum clearance_lock lock)
{
    return lock_names[lock];
}

static enum clearance_fault judge(const struct clearance *c, int need, int64_t at_us)
{
    if (!c->given)
        return CLEARANCE_MISSING;
    if (c->tier < need)
        return CLEARANCE_LOW;
    if (at_us >= c->expires_us)
        return CLEARANCE_EXPIRED;
    return CLEARANCE_FINE;
}

int clearance_check(const struct clearance_locks *locks, int need, int64_t at_us,
                    struct clearance_report *ret)
{
    *ret = (struct clearance_report){.need = need, .locks = *locks};
    for (int i = 0; i < LOCKS; i++) {
        ret->fault[i] = judge(&locks->lock[i], need, at_us);
        if (ret->fault[i] != CLEARANCE_FINE)
            ret->n_bad++;
    }
    return ret->n_bad;
}

/* "your clearance", "the clearance of fr-cnrs", "the protocol of CZ/multilingual". */
static void subject(enum clearance_lock lock, const struct clearance_names *names,
                    struct bt_buf *to)
{
    const char *name;

    switch (lock) {
    case LOCK_PERSON:
        bt_buf_str(to, "your clearance");
        return;
    case LOCK_INSTITUTION:
        name = names && names->institution ? names->institution : "your institution";
        bt_buf_printf(to, "the clearance of %s", name);
        return;
    case LOCK_PROTOCOL:
        name = names && names->project ? names->project : "your project";
        bt_buf_printf(to, "the safety protocol of %s", name);
        return;
    case LOCK_SITE:
    case LOCKS:
        break;
    }
    name = names && names->site ? names->site : "the site";
    bt_buf_printf(to, "the certification of %s", name);
}

static void date(int64_t us, struct bt_buf *to)
{
    char text[BT_TIME_MAX];

    bt_buf_add(to, bt_time_format(us, text), strlen("2027-03-01"));
}

void clearance_sentence(const struct clearance_report *r, enum clearance_lock lock,
                        const struct clearance_names *names, struct bt_buf *to)
{
    const struct clearance *c = &r->locks.lock[lock];

    subject(lock, names, to);
    if (r->fault[lock] == CLEARANCE_MISSING) {
        bt_buf_str(to, " was never given");
        return;
    }
    bt_buf_printf(to, " is tier %d", c->tier);
    if (r->fault[lock] == CLEARANCE_EXPIRED) {
        bt_buf_str(to, " but ended ");
        date(c->expires_us, to);
    } else if (c->expires_us != CLEARANCE_FOREVER) {
        bt_buf_str(to, " until ");
        date(c->expires_us, to);
    }
}

static const char *object_of(enum clearance_lock lock, const struct clearance_names *names)
{
    const char *name = NULL;

    if (names && lock == LOCK_INSTITUTION)
        name = names->institution;
    if (names && lock == LOCK_PROTOCOL)
        name = names->project;
    return name ? name : "NAME";
}

void clearance_mend(const struct clearance_report *r, enum clearance_lock lock,
                    const struct clearance_names *names, struct bt_buf *who, struct bt_buf *command)
{
    if (r->fault[lock] == CLEARANCE_FINE)
        return;
    bt_buf_str(who, mends[lock].who);
    bt_buf_str(command, mends[lock].command);
    if (mends[lock].option)
        bt_buf_printf(command, " %s %s", mends[lock].option, object_of(lock, names));
    bt_buf_printf(command, lock == LOCK_SITE ? " %d" : " --tier %d", r->need);
}

static void print_bad(const struct clearance_report *r, enum clearance_lock lock,
                      const struct clearance_names *names, struct bt_buf *to)
{
    BT_BUF_AUTO struct bt_buf what = {0};
    BT_BUF_AUTO struct bt_buf who = {0};
    BT_BUF_AUTO struct bt_buf command = {0};

    clearance_sentence(r, lock, names, &what);
    clearance_mend(r, lock, names, &who, &command);
    bt_buf_printf(to, "%-16s  %-46s  %s:  %s\n", clearance_lock_name(lock), bt_buf_text(&what),
                  bt_buf_text(&who), bt_buf_text(&command));
}

void clearance_print(const struct clearance_report *r, const struct clearance_names *names,
                     struct bt_buf *to)
{
    const char *between = "fine: ";

    for (int i = 0; i < LOCKS; i++)
        if (r->fault[i] != CLEARANCE_FINE)
            print_bad(r, (enum clearance_lock)i, names, to);
    if (r->n_bad == LOCKS)
        return;
    for (int i = 0; i < LOCKS; i++) {
        if (r->fault[i] != CLEARANCE_FINE)
            continue;
        bt_buf_printf(to, "%s%s (tier %d)", between, clearance_lock_name((enum clearance_lock)i),
                      r->locks.lock[i].tier);
        between = ", ";
    }
    bt_buf_char(to, '\n');
}
