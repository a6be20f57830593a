/* vectors.h - reads the files of tests/vectors for unit tests.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_TESTS_UNIT_VECTORS_H
#define BT_TESTS_UNIT_VECTORS_H

#include <stdlib.h>

#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/json/json.h"
#include "tests/unit/check.h"

static inline char *vector_path(const char *name)
{
    const char *root = getenv("BT_SOURCE_ROOT");

    return bt_printf("%s/tests/vectors/%s", root ? root : ".", name);
}

static inline void vector_read(const char *name, struct bt_buf *to)
{
    BT_AUTO char *path = vector_path(name);
    struct bt_err err;

    if (bt_file_read(path, 1 << 20, to, &err) < 0)
        fail_msg("%s", err.text);
}

/* The caller frees it. */
static inline struct json *vector_json(const char *name)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    struct json *v = NULL;
    struct bt_err err;

    vector_read(name, &text);
    if (json_parse(text.p, text.n, 1 << 20, &v, &err) < 0)
        fail_msg("%s: %s", name, err.text);
    return v;
}

static inline void vector_hex32(const struct json *v, void *out)
{
    assert_int_equal(bt_unhex(json_str(v, ""), out, 32), 0);
}

#endif
