/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/train/checkpoint.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/train/outfile.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/crypto/hash.h"
#include "lib/json/json.h"

#define MAGIC "BTCKPT1\n"
enum { HEADER_MAX = 16384, PARTS = 3, KEEP = 2 };

/* ---- names ---- */

/* The step of a checkpoint's name, -1 for any other name. */
static int64_t step_of(const char *name)
{
    int64_t step = 0;

    if (strncmp(name, "step-", 5) != 0 || strspn(name + 5, "0123456789") != 10 ||
        strcmp(name + 15, ".ckpt") != 0)
        return -1;
    for (int i = 5; i < 15; i++)
        step = step * 10 + (name[i] - '0');
    return step;
}

/* Steps of all checkpoints in dir, newest first; *ret is the caller's (bt_free). */
static int list_steps(const char *dir, int64_t **ret, int *ret_n, struct bt_err *err)
{
    DIR *d = opendir(dir);
    int64_t *steps = NULL;
    int n = 0, cap = 0;

    if (!d)
        return bt_fail_errno(err, BT_ERR_IO, "cannot read the checkpoints in %s", dir);
    for (struct dirent *e; (e = readdir(d));) {
        int64_t step = step_of(e->d_name);
        int at = n;

        if (step < 0)
            continue;
        BT_GROW(steps, n, cap);
        for (n++; at > 0 && steps[at - 1] < step; at--)
            steps[at] = steps[at - 1];
        steps[at] = step;
    }
    closedir(d);
    *ret = steps;
    *ret_n = n;
    return 0;
}

static char *name_of(const char *dir, int64_t step)
{
    return bt_printf("%s/step-%010" PRId64 ".ckpt", dir, step);
}

int checkpoint_newest(const char *dir, char **ret, struct bt_err *err)
{
    BT_AUTO int64_t *steps = NULL;
    int n, rc = list_steps(dir, &steps, &n, err);

    if (rc == 0)
        *ret = n ? name_of(dir, steps[0]) : NULL;
    return rc;
}

/* ---- writing ---- */

static void write_header(const struct checkpoint_info *info, size_t n_params, struct bt_buf *to)
{
    struct json_writer w = {.to = to};

    jw_object(&w, NULL);
    jw_i64(&w, "step", info->step);
    jw_i64(&w, "tokens", info->tokens);
    jw_f64(&w, "parent_flops", info->parent_flops);
    jw_i64(&w, "params", (int64_t)n_params);
    jw_str(&w, "about", info->about);
    jw_end_object(&w);
    while (to->n % 8)
        bt_buf_char(to, ' ');
}

static int write_parts(struct outfile *f, size_t n_params, checkpoint_piece *give, void *arg,
                       struct bt_err *err)
{
    BT_AUTO float *buffer = bt_new_n(float, BT_MIN(n_params, (size_t)CHECKPOINT_PIECE));
    int rc = 0;

    for (int part = 0; rc == 0 && part < PARTS; part++) {
        for (size_t at = 0; rc == 0 && at < n_params; at += CHECKPOINT_PIECE) {
            size_t n = BT_MIN((size_t)CHECKPOINT_PIECE, n_params - at);

            rc = give(arg, part, at, buffer, n, err);
            if (rc == 0)
                rc = outfile_write(f, buffer, n * sizeof(float), err);
        }
    }
    return rc;
}

static int write_whole(struct outfile *f, const struct checkpoint_info *info, size_t n_params,
                       checkpoint_piece *give, void *arg, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf header = {0};
    uint8_t sum[BT_SHA256_SIZE];
    struct bt_sha256 h;
    uint64_t size;
    int rc;

    write_header(info, n_params, &header);
    size = htole64(header.n);
    rc = outfile_write(f, MAGIC, 8, err);
    if (rc == 0)
        rc = outfile_write(f, &size, 8, err);
    if (rc == 0)
        rc = outfile_write(f, header.p, header.n, err);
    if (rc == 0)
        rc = write_parts(f, n_params, give, arg, err);
    if (rc < 0)
        return rc;
    h = f->sum;
    bt_sha256_end(&h, sum);
    return outfile_write(f, sum, sizeof sum, err);
}

static int remove_old(const char *dir, struct bt_err *err)
{
    BT_AUTO int64_t *steps = NULL;
    int n = 0, rc = list_steps(dir, &steps, &n, err);

    for (int i = KEEP; rc == 0 && i < n; i++) {
        BT_AUTO char *old = name_of(dir, steps[i]);

        if (unlink(old) < 0 && errno != ENOENT)
            rc = bt_fail_errno(err, BT_ERR_IO, "cannot remove %s", old);
    }
    return rc;
}

int checkpoint_write(const char *dir, const struct checkpoint_info *info, size_t n_params,
                     checkpoint_piece *give, void *arg, struct bt_err *err)
{
    BT_AUTO char *path = name_of(dir, info->step);
    struct outfile f;
    int rc = outfile_open(&f, path, err);

    if (rc < 0)
        return rc;
    rc = write_whole(&f, info, n_params, give, arg, err);
    if (rc < 0) {
        outfile_abandon(&f);
        return rc;
    }
    rc = outfile_commit(&f, err);
    return rc < 0 ? rc : remove_old(dir, err);
}

/* ---- reading ---- */

/* Names the first line in which two descriptions differ. */
static int compare_about(const char *path, const char *have, const char *want, struct bt_err *err)
{
    while (*have || *want) {
        int a = (int)strcspn(have, "\n"), b = (int)strcspn(want, "\n");

        if (a != b || memcmp(have, want, (size_t)a) != 0)
            return bt_next(err,
                           bt_fail(err, BT_ERR_CONFLICT,
                                   "%.100s belongs to another run: it has %.*s, this run %.*s",
                                   path, a ? BT_MIN(a, 50) : 7, a ? have : "no such",
                                   b ? BT_MIN(b, 50) : 4, b ? want : "none"),
                           "use another checkpoint folder");
        have += a + (have[a] == '\n');
        want += b + (want[b] == '\n');
    }
    return 0;
}

static int read_header(const uint8_t *p, size_t size, size_t n_params, struct checkpoint_info *info,
                       size_t *ret_data, struct bt_err *err)
{
    JSON_AUTO struct json *root = NULL;
    uint64_t n;

    if (size < 16 + BT_SHA256_SIZE || memcmp(p, MAGIC, 8) != 0)
        return bt_fail(err, BT_ERR_CORRUPT, "not a checkpoint");
    memcpy(&n, p + 8, 8);
    n = le64toh(n);
    if (n > HEADER_MAX || n > size - 16 - BT_SHA256_SIZE)
        return bt_fail(err, BT_ERR_CORRUPT, "the header is cut off");
    if (json_parse((const char *)p + 16, n, HEADER_MAX, &root, err) < 0)
        return bt_fail(err, BT_ERR_CORRUPT, "the header is not JSON");
    info->step = json_i64(json_get(root, "step"), -1);
    info->tokens = json_i64(json_get(root, "tokens"), -1);
    info->parent_flops = json_f64(json_get(root, "parent_flops"), 0);
    if (info->step < 0 || info->tokens < 0 ||
        !bt_copy(info->about, sizeof info->about, json_str(json_get(root, "about"), "")))
        return bt_fail(err, BT_ERR_CORRUPT, "the header lacks its members");
    if (json_i64(json_get(root, "params"), -1) != (int64_t)n_params)
        return bt_fail(err, BT_ERR_CONFLICT, "it holds %" PRId64 " weights, this model has %zu",
                       json_i64(json_get(root, "params"), -1), n_params);
    if (size - 16 - n - BT_SHA256_SIZE != n_params * sizeof(float) * PARTS)
        return bt_fail(err, BT_ERR_CORRUPT, "the file is cut off");
    *ret_data = 16 + n;
    return 0;
}

static int put_parts(const uint8_t *data, size_t n_params, checkpoint_piece *put, void *arg,
                     struct bt_err *err)
{
    BT_AUTO float *buffer = bt_new_n(float, BT_MIN(n_params, (size_t)CHECKPOINT_PIECE));
    int rc = 0;

    for (int part = 0; rc == 0 && part < PARTS; part++) {
        for (size_t at = 0; rc == 0 && at < n_params; at += CHECKPOINT_PIECE) {
            size_t n = BT_MIN((size_t)CHECKPOINT_PIECE, n_params - at);

            memcpy(buffer, data + ((size_t)part * n_params + at) * sizeof(float),
                   n * sizeof(float));
            rc = put(arg, part, at, buffer, n, err);
        }
    }
    return rc;
}

struct reading {
    const char *path, *about;
    size_t n_params;
    struct checkpoint_info info;
    checkpoint_piece *put;
    void *arg;
};

static int read_mapped(struct reading *r, const uint8_t *p, size_t size, struct bt_err *err)
{
    uint8_t sum[BT_SHA256_SIZE];
    struct bt_err why = {0};
    size_t data = 0;
    int rc = read_header(p, size, r->n_params, &r->info, &data, &why);

    if (rc == 0) {
        bt_sha256(p, size - sizeof sum, sum);
        if (memcmp(sum, p + size - sizeof sum, sizeof sum) != 0)
            rc = bt_fail(&why, BT_ERR_CORRUPT, "its SHA-256 does not fit");
    }
    if (rc < 0)
        return bt_next(err,
                       bt_fail(err, (enum bt_errno) - rc,
                               "the checkpoint %.100s cannot be used: %s", r->path, why.text),
                       "remove it to go on from the one before");
    rc = compare_about(r->path, r->info.about, r->about, err);
    return rc < 0 ? rc : put_parts(p + data, r->n_params, r->put, r->arg, err);
}

int checkpoint_read(const char *path, const char *about, size_t n_params,
                    struct checkpoint_info *ret, checkpoint_piece *put, void *arg,
                    struct bt_err *err)
{
    BT_FD_AUTO int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct reading r = {.path = path, .about = about, .n_params = n_params, .put = put, .arg = arg};
    struct stat st;
    void *p;
    int rc;

    if (fd < 0 || fstat(fd, &st) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot read %s", path);
    if (!st.st_size)
        return bt_fail(err, BT_ERR_CORRUPT, "the checkpoint %.100s is empty", path);
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return bt_fail_errno(err, BT_ERR_IO, "cannot map %s", path);
    rc = read_mapped(&r, p, (size_t)st.st_size, err);
    munmap(p, (size_t)st.st_size);
    if (rc == 0)
        *ret = r.info;
    return rc;
}
