/* fuzz_jobdoc.c - job documents from strangers: read, and what was read is written and read again.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/api/jobdoc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    BT_BUF_AUTO struct bt_buf text = {0}, again = {0};
    struct job_code code = {0}, code2 = {0};
    struct job_spec spec, spec2;

    if (jobdoc_parse((const char *)data, n, &spec, &code, NULL) < 0)
        return 0;
    jobdoc_write(&text, &spec, &code);
    if (jobdoc_parse(text.p, text.n, &spec2, &code2, NULL) < 0)
        abort();
    jobdoc_write(&again, &spec2, &code2);
    if (text.n != again.n || memcmp(text.p, again.p, text.n) != 0)
        abort();
    job_code_done(&code);
    job_code_done(&code2);
    return 0;
}
