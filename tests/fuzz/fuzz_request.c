/* fuzz_request.c - request heads from strangers: whatever the bytes, the walk stays inside them,
 * and a head that passes has one Host, one framing, and lines that end where they seem to.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/serve/head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Writes NULs where libmicrohttpd's parser does: the spaces of the request line, the first colon of
 * each line, line ends. Returns where the target begins, its length in *ret_n. */
static size_t as_parsed(char *mem, size_t n, size_t *ret_n)
{
    char *end = memchr(mem, '\n', n), *space = memchr(mem, ' ', n), *last = NULL;
    size_t line_n = end ? (size_t)(end - mem) : n;
    bool colon = false;

    for (size_t i = 0; i < line_n; i++)
        if (mem[i] == ' ')
            last = mem + i;
    for (size_t i = line_n; i < n; i++) {
        if (mem[i] == '\n') {
            if (i > 0 && mem[i - 1] == '\r')
                mem[i - 1] = '\0';
            mem[i] = '\0';
            colon = false;
        } else if (mem[i] == ':' && !colon) {
            mem[i] = '\0';
            colon = true;
        }
    }
    if (!space || !last || space >= last)
        return 0;
    *space = *last = '\0';
    *ret_n = (size_t)(last - space) - 1;
    return (size_t)(space - mem) + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *mem = bt_alloc(n + 1, 1), *uri;
    size_t uri_at, uri_n = 0;
    struct head h;
    int status;

    memcpy(mem, data, n);
    uri_at = as_parsed(mem, n, &uri_n);
    uri = bt_strndup(mem + uri_at, strnlen(mem + uri_at, n - uri_at));
    if (head_check_target(uri, 2048, NULL) == 0 &&
        head_check(mem, n, uri_at, uri_n, &h, &status, NULL) == 0) {
        if (h.n < 1 || h.n > HEAD_LINES || h.length < 0)
            abort();
        for (int i = 0; i < h.n; i++)
            if (h.lines[i].name < mem || h.lines[i].value + strlen(h.lines[i].value) + 2 > mem + n)
                abort();
    }
    bt_free(uri);
    bt_free(mem);
    return 0;
}
