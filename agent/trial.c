/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/trial.h"

#include "agent/api.h"
#include "agent/measure.h"
#include "lib/base/buf.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"

void trial_told(struct trial *t, const struct trial_part *part)
{
    bt_wipe(t->part.secret, sizeof t->part.secret);
    t->part = *part;
}

bool trial_is_on(const struct trial *t)
{
    return t->run ||
           (t->part.id && t->part.id != t->ended && (t->part.rank == 0 || *t->part.address));
}

static int begin(struct trial *t, const struct settings *set, struct link *l, const char *node,
                 struct bt_err *err)
{
    struct trial_part part = t->part;
    struct measure *m = NULL;
    int rc = part.rank == 0 ? measure_invite(set, &part, err) : 0;

    if (rc == 0)
        rc = measure_join(set, &part, &m, err);
    if (rc == 0) {
        t->run = m;
        t->running = part.id;
        if (part.rank == 0)
            rc = api_trial(l, node, &part, err);
        if (rc < 0)
            measure_stop(m);
    }
    bt_wipe(part.secret, sizeof part.secret);
    return rc;
}

static const char *outcome_of(const struct trial *t, int rc)
{
    if (t->disturbed)
        return "disturbed";
    if (rc == 0)
        return "ok";
    return rc == -BT_ERR_RANK_LOST || rc == -BT_ERR_TIMEOUT ? "lost" : "failed";
}

static int tell(struct trial *t, struct link *l, const char *node, int ran, const char *links,
                const struct bt_err *why, struct bt_err *err)
{
    int rc = api_trial_ended(l, node, t->running, outcome_of(t, ran), ran < 0 ? why->text : "",
                             t->part.rank == 0 && ran == 0 ? links : "", err);

    if (rc == 0 || api_is_final(rc)) {
        t->ended = t->running;
        return 0;
    }
    return rc; /* it is run once more when the daemon is back, if it is wanted still */
}

int trial_look(struct trial *t, const struct settings *set, struct link *l, const char *node,
               int attempts, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf links = {0};
    struct bt_err why = {0};
    int64_t mbs;
    int rc;

    if (t->run) {
        t->disturbed |= attempts > t->attempts;
        if (t->part.id != t->running)
            measure_stop(t->run);
        if (!measure_over(t->run))
            return 0;
        rc = measure_end(t->run, &mbs, &links, &why);
        t->run = NULL;
        if (rc < 0)
            bt_log_err(BT_WARN, "trial_failed", &why);
        return t->part.id == t->running ? tell(t, l, node, rc, bt_buf_text(&links), &why, err) : 0;
    }
    if (!trial_is_on(t))
        return 0;
    t->attempts = attempts;
    t->disturbed = false;
    rc = begin(t, set, l, node, &why);
    if (rc == 0 || t->run) /* it is over soon, and told then */
        return 0;
    bt_log_err(BT_WARN, "trial_failed", &why);
    t->running = t->part.id;
    return tell(t, l, node, rc, "", &why, err);
}
