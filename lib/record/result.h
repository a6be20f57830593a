/* result.h - what a researcher says came out of a job: checked the same way by who signs it and by
 * the facility that enters it. SPDX-License-Identifier: GPL-3.0-or-later
 *
 *   {"facility":…,"finding":"negative","job":UUID,"person":"p12","record":57,"summary":…,
 *    "title":…[,"evaluations":[{"dataset":…,"name":…,"value":"2.059"}]][,"languages":["de","cs"]]
 *    [,"licence":"Apache-2.0"][,"links":["https://…"]]}
 *
 * No other members: what stands in the ledger stays. `person` is the signer's pseudonymous id, as
 * in the machine record. Pure; thread safe. */
#ifndef BT_RECORD_RESULT_H
#define BT_RECORD_RESULT_H

#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/uuid.h"
#include "lib/json/json.h"

enum {
    RESULT_TITLE_MAX = 200,
    RESULT_SUMMARY_MAX = 4000,
    RESULT_LANGUAGES_MAX = 40,
    RESULT_EVALUATIONS_MAX = 32,
    RESULT_LINKS_MAX = 16,
};

struct result_head {
    char facility[128];
    struct bt_uuid job;
    int64_t record; /* index of the machine record that it accounts for */
    char person[16];
};

/* Appends the one spelling of a parsed result, the bytes that are signed. BT_ERR_INVALID names the
 * member and what it may be; then `canonical` is as before. */
int result_read(const struct json *body, struct result_head *ret, struct bt_buf *canonical,
                struct bt_err *err) BT_MUSTUSE;

#endif
