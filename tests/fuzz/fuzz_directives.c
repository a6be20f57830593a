/* fuzz_directives.c - scripts with #BEAM and #SBATCH lines: read, or refused with a sentence; what
 * is accepted makes a document that the daemon can parse. SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "cli/jobreq.h"
#include "lib/base/mem.h"
#include "lib/json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    BT_BUF_AUTO struct bt_buf doc = {0};
    struct bt_uuid none = {0};
    struct bt_err err = {0};
    struct jobreq r;
    int rc;

    if (n > 16384)
        return 0;
    jobreq_init(&r);
    r.code = bt_strndup((const char *)p, n);
    r.project = bt_strdup("p");
    rc = jobreq_directives(&r, &err);
    if (rc >= 0)
        rc = jobreq_write(&r, none, none, &doc, &err);
    if (rc < 0) {
        assert(err.code && err.text[0]);
    } else {
        JSON_AUTO struct json *j = NULL;

        assert(json_parse(bt_buf_text(&doc), doc.n, 1 << 20, &j, &err) == 0);
        assert(json_get(j, "accelerators"));
    }
    jobreq_done(&r);
    return 0;
}
