/* Frames between daemon and helper: read by both sides, never out of bounds.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdint.h>
#include <stdlib.h>

#include "daemon/clusters/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct wire_request request;
    struct wire_reply reply;
    struct bt_uuid job;
    int32_t attempt;
    size_t n = size;

    if (wire_unframe(text, size, &text, &n, NULL) != 1) { /* and unframed */
        text = (const char *)data;
        n = size;
    }
    if (n == 0)
        return 0;
    if (wire_request_read(text, n, &request, NULL) == 0)
        wire_request_done(&request);
    if (wire_reply_read(text, n, &reply, NULL) == 0) {
        for (size_t i = 0; reply.jobs && i < reply.n; i++)
            if (wire_comment_parse(reply.jobs[i].comment, &job, &attempt) == 0 && attempt < 1)
                abort();
        wire_reply_done(&reply);
    }
    return 0;
}
