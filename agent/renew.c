/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/renew.h"

#include "agent/identity.h"
#include "lib/base/log.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

#define EVERY_US (INT64_C(3600) * BT_US_PER_S)

static int renew(const struct identity *id, renew_ask *ask, void *arg, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf request = {0};
    BT_BUF_AUTO struct bt_buf answer = {0};
    struct cert_key *key = NULL;
    int rc = identity_key(id, &key, err);

    if (rc == 0)
        rc = identity_request(key, NULL, &request, err);
    if (rc == 0)
        rc = ask(arg, &request, &answer, err);
    if (rc == 0)
        rc = identity_keep(id, bt_buf_text(&answer), answer.n, key, false, err);
    cert_key_free(key);
    return rc;
}

void renew_look(struct renewal *r, const struct settings *set, renew_ask *ask, void *arg)
{
    struct identity id;
    struct bt_err e = {0};
    char until[BT_TIME_MAX];

    if (!set->renew_before || bt_mono_us() < r->look_us)
        return;
    r->look_us = bt_mono_us() + EVERY_US;
    identity_of(set, &id);
    if (identity_left_us(&id, bt_now_us()) < set->renew_before * BT_US_PER_S) {
        if (renew(&id, ask, arg, &e) < 0)
            bt_log_err(BT_WARN, "certificate_not_renewed", &e);
        else
            bt_log(BT_INFO, "certificate_renewed", "until",
                   bt_time_format(bt_now_us() + identity_left_us(&id, bt_now_us()), until), NULL);
    }
    identity_done(&id);
}
