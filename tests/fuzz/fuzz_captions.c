/* fuzz_captions.c - captions of a picture: only whole, trimmed UTF-8 comes out, under a tag.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/train/captions.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(void *arg, const char *tag, const char *text)
{
    size_t n = strlen(text);
    char again[CORPUS_TAG_MAX];

    ++*(size_t *)arg;
    if (!n || n > CAPTION_MAX || !bt_is_utf8(text, n) || strchr(text, '\n'))
        abort();
    if (!corpus_read_tag(tag, strlen(tag), again) || !bt_streq(again, tag))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    BT_AUTO char *text = NULL;
    size_t captions = 0, lines = 1;

    if (n > 65536)
        return 0;
    text = bt_alloc(n + 1, 1);
    memcpy(text, data, n);
    for (size_t i = 0; i < n; i++)
        lines += data[i] == '\n';
    captions_parse(text, n, check, &captions);
    if (captions > lines)
        abort();
    return 0;
}
