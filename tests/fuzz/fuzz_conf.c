/* fuzz_conf.c - settings files: whatever is read can be written and read again to the same.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/conf/conf.h"

#define SETTINGS(S)                                           \
    S(listen, ADDRESS, "127.0.0.1:1", 0, 0, "", "an address") \
    S(name, TEXT, "a", 0, 0, "", "a text")                    \
    S(count, INT, "1", -5, 100, "things", "a number")         \
    S(size, BYTES, "1KiB", 0, 0, "bytes", "a size")           \
    S(wait, DURATION, "1s", 0, 0, "seconds", "a duration")    \
    S(on, BOOL, "no", 0, 0, "", "a flag")                     \
    S(kind, ENUM, "a", 0, 0, "a|b|c", "a word")

struct settings {
    SETTINGS(CONF_MEMBER)
};
#define ROW(...) CONF_ROW(struct settings, __VA_ARGS__)
static const struct conf_row rows[] = {SETTINGS(ROW)};
static const struct conf_table table = {
    .program = "fuzz", .summary = "fuzzing", .rows = rows, .n = BT_ARRAY_LEN(rows)};

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    BT_BUF_AUTO struct bt_buf first = {0};
    BT_BUF_AUTO struct bt_buf second = {0};
    struct settings s, t;
    struct bt_err err;

    conf_init(&table, &s);
    conf_init(&table, &t);
    if (conf_text(&table, &s, "f", (const char *)p, n, &err) < 0) {
        assert(err.code && err.text[0]);
    } else {
        conf_example(&table, &s, &first);
        assert(conf_text(&table, &t, "f", bt_buf_text(&first), first.n, &err) == 0);
        conf_example(&table, &t, &second);
        assert(!strcmp(bt_buf_text(&first), bt_buf_text(&second)));
    }
    conf_done(&table, &s);
    conf_done(&table, &t);
    return 0;
}
