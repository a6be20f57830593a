/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/record/manifest.h"

#include <inttypes.h>

#include "lib/base/enc.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

#define BYTES_MAX ((INT64_C(1) << 53) - 1) /* also the sum of all files */

void manifest_done(struct manifest *m)
{
    for (size_t i = 0; i < m->n; i++)
        bt_free(m->files[i].path);
    bt_free(m->files);
    *m = (struct manifest){0};
}

static bool is_path(const char *s)
{
    size_t n = strlen(s);

    if (n == 0 || n > MANIFEST_PATH_MAX || !bt_is_utf8(s, n))
        return false;
    for (const char *c = s; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return false;
    for (const char *part = s; part;) {
        const char *slash = strchr(part, '/');
        size_t len = slash ? (size_t)(slash - part) : strlen(part);

        if (len == 0 || (len == 1 && part[0] == '.') ||
            (len == 2 && part[0] == '.' && part[1] == '.'))
            return false;
        part = slash ? slash + 1 : NULL;
    }
    return true;
}

int manifest_add(struct manifest *m, const char *path, int64_t bytes, const uint8_t sha256[32],
                 struct bt_err *err)
{
    struct manifest_file *f;

    if (m->n >= MANIFEST_FILES_MAX)
        return bt_fail(err, BT_ERR_TOO_LARGE, "more than %d files", MANIFEST_FILES_MAX);
    if (!is_path(path))
        return bt_fail(err, BT_ERR_INVALID, "\"%.100s\" is not a path that a manifest holds", path);
    if (bytes < 0 || bytes > BYTES_MAX - m->bytes)
        return bt_fail(err, BT_ERR_INVALID, "%s has an impossible size", path);
    BT_GROW(m->files, m->n, m->cap);
    f = &m->files[m->n++];
    *f = (struct manifest_file){.path = bt_strdup(path), .bytes = bytes};
    memcpy(f->sha256, sha256, sizeof f->sha256);
    m->bytes += bytes;
    return 0;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct manifest_file *)a)->path, ((const struct manifest_file *)b)->path);
}

int manifest_sort(struct manifest *m, struct bt_err *err)
{
    if (m->n)
        qsort(m->files, m->n, sizeof *m->files, by_path);
    for (size_t i = 1; i < m->n; i++)
        if (bt_streq(m->files[i].path, m->files[i - 1].path))
            return bt_fail(err, BT_ERR_CONFLICT, "%s appears twice", m->files[i].path);
    return 0;
}

static void add_line(const struct manifest_file *f, struct bt_buf *to)
{
    char hex[65];

    bt_buf_printf(to, "%s %" PRId64 " %s", bt_hex(f->sha256, sizeof f->sha256, hex), f->bytes,
                  f->path);
}

void manifest_text(const struct manifest *m, struct bt_buf *to)
{
    for (size_t i = 0; i < m->n; i++) {
        add_line(&m->files[i], to);
        bt_buf_char(to, '\n');
    }
}

void manifest_line_hash(const struct manifest_file *f, struct tree_hash *ret)
{
    BT_BUF_AUTO struct bt_buf line = {0};

    add_line(f, &line);
    tree_leaf_hash(line.p, line.n, ret);
}

void manifest_root(const struct manifest *m, struct tree_hash *ret)
{
    struct tree_frontier f = {0};

    for (size_t i = 0; i < m->n; i++) {
        struct tree_hash h;

        manifest_line_hash(&m->files[i], &h);
        tree_frontier_add(&f, &h);
    }
    tree_frontier_root(&f, ret);
}

/* One line without its LF. */
static int read_line(struct manifest *m, char *line, size_t number, struct bt_err *err)
{
    uint8_t sha256[32];
    int64_t bytes;
    char *size, *path;

    if (strlen(line) < 68 || line[64] != ' ')
        return bt_fail(err, BT_ERR_INVALID, "line %zu of the manifest is malformed", number);
    line[64] = '\0';
    size = line + 65;
    path = strchr(size, ' ');
    if (!path || (size[0] == '0' && path != size + 1) || bt_unhex(line, sha256, 32) < 0)
        return bt_fail(err, BT_ERR_INVALID, "line %zu of the manifest is malformed", number);
    for (const char *c = line; *c; c++)
        if (*c >= 'A' && *c <= 'F')
            return bt_fail(err, BT_ERR_INVALID, "line %zu spells a digest in capitals", number);
    *path++ = '\0';
    if (bt_parse_i64(size, "size", 0, BYTES_MAX, &bytes, err) < 0 ||
        strspn(size, "0123456789") != strlen(size))
        return bt_fail(err, BT_ERR_INVALID, "line %zu of the manifest has no size", number);
    if (m->n && strcmp(m->files[m->n - 1].path, path) >= 0)
        return bt_fail(err, BT_ERR_INVALID, "line %zu of the manifest is out of order", number);
    return manifest_add(m, path, bytes, sha256, err);
}

int manifest_parse(const char *text, size_t n, struct manifest *ret, struct bt_err *err)
{
    MANIFEST_AUTO struct manifest m = {0};
    const char *at = text;
    size_t number = 0;
    int rc = 0;

    if (n > MANIFEST_TEXT_MAX)
        return bt_fail(err, BT_ERR_TOO_LARGE, "a manifest of %zu bytes", n);
    while (at < text + n && rc == 0) {
        const char *lf = memchr(at, '\n', (size_t)(text + n - at));
        BT_AUTO char *line = NULL;

        number++;
        if (!lf || memchr(at, '\0', (size_t)(lf - at)))
            return bt_fail(err, BT_ERR_INVALID, "line %zu of the manifest does not end", number);
        line = bt_strndup(at, (size_t)(lf - at));
        rc = read_line(&m, line, number, err);
        at = lf + 1;
    }
    if (rc < 0)
        return rc;
    *ret = m;
    m = (struct manifest){0};
    return 0;
}

int manifest_find(const struct manifest *m, const char *path, struct bt_err *err)
{
    size_t low = 0, high = m->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(m->files[mid].path, path);

        if (order == 0)
            return (int)mid;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return bt_fail(err, BT_ERR_NOT_FOUND, "the manifest has no %s", path);
}

/* The root of one complete subtree, hashed from its lines. */
static int node(void *arg, unsigned level, uint64_t index, struct tree_hash *ret,
                struct bt_err *err)
{
    const struct manifest *m = arg;
    struct tree_frontier f = {0};

    for (uint64_t i = index << level; i < (index + 1) << level; i++) {
        struct tree_hash h;

        if (i >= m->n)
            return bt_fail(err, BT_ERR_INTERNAL, "a subtree beyond the manifest");
        manifest_line_hash(&m->files[i], &h);
        tree_frontier_add(&f, &h);
    }
    tree_frontier_root(&f, ret);
    return 0;
}

int manifest_prove(const struct manifest *m, size_t index, struct tree_proof *ret,
                   struct bt_err *err)
{
    struct manifest copy = *m; /* the reader's argument is not const */
    const struct tree_reader r = {.node = node, .arg = &copy};

    return tree_inclusion_proof(&r, index, m->n, ret, err);
}
