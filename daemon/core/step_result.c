/* What a researcher says came out of a job: its entry in the ledger.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core/state.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/record/leaf.h"

static int judge(const struct job *j, const struct actor *who, const struct ev_result *e,
                 struct bt_err *err)
{
    char person[16] = "";

    if (who->person)
        person_leaf_name(who->person->row.id, person);
    if (!job_state_terminal(j->state))
        return bt_next(
            err, bt_fail(err, BT_ERR_JOB_STATE, "job %" PRId64 " has not ended yet", j->number),
            "beamtime job wait %" PRId64, j->number);
    if (!bt_streq(e->person, person))
        return bt_fail(err, BT_ERR_FORBIDDEN, "a result is signed by who says it, %s is not you",
                       e->person);
    if (e->record != j->record_idx)
        return bt_fail(err, BT_ERR_INVALID, "the record of job %" PRId64 " is entry %" PRId64,
                       j->number, j->record_idx);
    if (j->result_idx >= 0)
        return bt_fail(err, BT_ERR_CONFLICT,
                       "job %" PRId64 " has its result already, entry %" PRId64, j->number,
                       j->result_idx);
    return 0;
}

void step_result(struct core *c, const struct event *ev)
{
    const struct ev_result *e = &ev->u.result;
    struct leaf_sig sig = {.role = "researcher"};
    BT_AUTO char *said = NULL;
    const char *before = NULL;
    struct bt_buf leaf = {0};
    struct bt_err err = {0};
    struct actor who;
    uint32_t slot;
    struct job *j = own_job(c, ev, e->job, &slot, &who, &err);
    int rc;

    if (!j) {
        refuse(c, &err, NULL);
        return;
    }
    rc = request_known(c, e->id, e->body_sha256, &before, &err);
    if (before) {
        answer(c, 201, bt_strdup(before));
        return;
    }
    if (rc == 0)
        rc = judge(j, &who, e, &err);
    if (rc == 0) {
        memcpy(sig.key, e->key, sizeof sig.key);
        memcpy(sig.sig, e->sig, sizeof sig.sig);
        rc = leaf_build(LEAF_RESULT, e->body, strlen(e->body), &sig, 1, &leaf, &err);
    }
    if (rc < 0) {
        bt_buf_done(&leaf);
        refuse(c, &err, NULL);
        return;
    }
    emit_leaf(c, "result", j->id, bt_buf_take(&leaf), &j->result_idx);
    emit_job_state(c, j);
    emit_job_event(c, "result", who.text, j, NULL);
    said = bt_printf("{\"index\":%" PRId64 "}", j->result_idx);
    request_done(c, e->id, e->body_sha256, said);
    answer(c, 201, bt_strdup(said));
}
