/* A researcher's result: what is accepted is accepted again in its one spelling, and spelt the
 * same. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "lib/base/str.h"
#include "lib/record/result.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static int spell(const char *text, size_t n, struct bt_buf *to)
{
    JSON_AUTO struct json *j = NULL;
    struct result_head head;

    if (json_parse(text, n, 65536, &j, NULL) < 0)
        return -1;
    return result_read(j, &head, to, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    BT_BUF_AUTO struct bt_buf once = {0}, twice = {0};

    if (spell((const char *)p, n, &once) < 0) {
        if (once.n)
            abort();
        return 0;
    }
    if (spell(bt_buf_text(&once), once.n, &twice) < 0 ||
        !bt_streq(bt_buf_text(&once), bt_buf_text(&twice)))
        abort();
    return 0;
}
