/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/handover.h"
#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/json/json.h"

#define TEXT(m)                                                                        \
    {                                                                                  \
#m, JSON_F_TEXT, offsetof(struct order, m), true, sizeof((struct order *)0)->m \
    }
#define I32(m, max)                                                  \
    {                                                                \
#m, JSON_F_I32, offsetof(struct order, m), true, 0, 0, (max) \
    }
#define I64(m)                                                           \
    {                                                                    \
#m, JSON_F_I64, offsetof(struct order, m), true, 0, 0, INT64_MAX \
    }

static const struct json_field order_fields[] = {
    {"job", JSON_F_UUID, offsetof(struct order, job), true},
    I64(number),
    I32(attempt, INT32_MAX),
    I32(walltime_s, INT32_MAX),
    I32(grace_s, INT32_MAX),
    I32(signal, 64),
    I32(tier, 9),
    I32(accelerators, 64),
    I32(pids_max, INT32_MAX),
    {"nodes", JSON_F_I32, offsetof(struct order, nodes), false, 0, 0, INT32_MAX},
    {"world", JSON_F_I32, offsetof(struct order, world), false, 0, 0, INT32_MAX},
    {"slurm", JSON_F_BOOL, offsetof(struct order, slurm)},
    {"mpi", JSON_F_TEXT, offsetof(struct order, mpi), .size = sizeof((struct order *)0)->mpi},
    TEXT(kind),
    TEXT(class),
    TEXT(mask),
    TEXT(cpus),
    TEXT(devices),
    TEXT(user),
    TEXT(work),
    TEXT(libexec),
    TEXT(node),
    I64(log_max_bytes),
    I64(memory_max_bytes),
    I64(lease_s),
};

static const struct json_field verdict_fields[] = {
    {"reason", JSON_F_TEXT, offsetof(struct verdict, reason), true, 16},
    {"exit_code", JSON_F_I32, offsetof(struct verdict, exit_code), true, 0, 0, 255},
    {"signal", JSON_F_I32, offsetof(struct verdict, signal), true, 0, 0, 127},
    {"checkpointed", JSON_F_BOOL, offsetof(struct verdict, checkpointed), true},
    {"text", JSON_F_TEXT, offsetof(struct verdict, text), true, 200},
};

static const struct json_field yield_fields[] = {
    {"root", JSON_F_HEX32, offsetof(struct yield, root), true},
    {"sha256", JSON_F_HEX32, offsetof(struct yield, sha256), true},
    {"files", JSON_F_I64, offsetof(struct yield, files), true, 0, 0, INT64_MAX},
    {"bytes", JSON_F_I64, offsetof(struct yield, bytes), true, 0, 0, INT64_MAX},
    {"incomplete", JSON_F_BOOL, offsetof(struct yield, incomplete), true},
    {"uid", JSON_F_I64, offsetof(struct yield, uid), true, 0, 0, UINT32_MAX},
    {"metrics", JSON_F_TEXT, offsetof(struct yield, metrics), true, 512},
};

/* The table backwards: only the kinds that the three structs above have. */
static void write_struct(struct bt_buf *to, const struct json_field *f, size_t n, const void *from)
{
    struct json_writer w = {.to = to};

    jw_object(&w, NULL);
    for (size_t i = 0; i < n; i++) {
        const char *p = (const char *)from + f[i].offset;

        switch (f[i].kind) {
        case JSON_F_UUID:
            jw_uuid(&w, f[i].name, p);
            break;
        case JSON_F_I32:
            jw_i64(&w, f[i].name, *(const int32_t *)(const void *)p);
            break;
        case JSON_F_I64:
            jw_i64(&w, f[i].name, *(const int64_t *)(const void *)p);
            break;
        case JSON_F_BOOL:
            jw_bool(&w, f[i].name, *(const bool *)(const void *)p);
            break;
        case JSON_F_HEX32:
            jw_hex(&w, f[i].name, p, 32);
            break;
        default:
            jw_str(&w, f[i].name, p);
        }
    }
    jw_end_object(&w);
    bt_buf_char(to, '\n');
}

static int read_struct(const char *dir, const char *file, const struct json_field *f, size_t n,
                       void *ret, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    JSON_AUTO struct json *j = NULL;
    int rc = spool_get(dir, file, JSON_MAX_BYTES, &text, err);

    if (rc == 0)
        rc = json_parse(text.p, text.n, JSON_MAX_BYTES, &j, err);
    return rc < 0 ? rc : json_read(j, f, n, ret, err);
}

char *spool_name(struct bt_uuid job, int32_t attempt, char out[SPOOL_NAME_MAX])
{
    char id[BT_UUID_TEXT];

    (void)snprintf(out, SPOOL_NAME_MAX, "%s.%d", bt_uuid_format(job, id), attempt);
    return out;
}

int spool_name_parse(const char *name, struct bt_uuid *job, int32_t *attempt)
{
    char id[BT_UUID_TEXT];
    int64_t n;

    if (strlen(name) < BT_UUID_TEXT || name[BT_UUID_TEXT - 1] != '.')
        return -1;
    bt_copy(id, sizeof id, name);
    if (bt_uuid_parse(id, job) < 0 ||
        bt_parse_i64(name + BT_UUID_TEXT, "attempt", 1, INT32_MAX, &n, NULL) < 0)
        return -1;
    *attempt = (int32_t)n;
    return 0;
}

static char *path_of(const char *dir, const char *file)
{
    return bt_printf("%s/%s", dir, file);
}

/* What shall outlive a loss of power: a text by itself, its name with the folder. */
enum keep { KEEP_NOT = 0, KEEP_TEXT = 1, KEEP_NAME = 2, KEEP = KEEP_TEXT | KEEP_NAME };

/* Another user may make files in a shared folder: never open what is there. */
static int write_as(const char *dir, const char *file, mode_t mode, enum keep keep, const void *p,
                    size_t n, struct bt_err *err)
{
    BT_AUTO char *path = path_of(dir, file);
    BT_AUTO char *temp = bt_printf("%s.%d.tmp", path, (int)getpid());
    int rc;

    (void)unlink(temp);
    int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot create %s", temp);
    rc = bt_write_all(fd, p, n, err);
    if (rc == 0 && fchmod(fd, mode) < 0)
        rc = bt_fail_errno(err, BT_ERR_IO, "cannot open %s to its user", temp);
    if (rc == 0 && n && (keep & KEEP_TEXT) && fsync(fd) < 0)
        rc = bt_fail_errno(err, BT_ERR_IO, "cannot fsync %s", temp);
    close(fd);
    if (rc == 0 && rename(temp, path) < 0)
        rc = bt_fail_errno(err, BT_ERR_IO, "cannot rename %s", temp);
    if (rc < 0) {
        (void)unlink(temp);
        return rc;
    }
    return keep & KEEP_NAME ? bt_fsync_dir(dir, err) : 0;
}

/* A plain file with one name and nothing else: not a link, not somebody's pipe. */
int spool_open(const char *dir, const char *file, struct bt_err *err)
{
    BT_AUTO char *path = path_of(dir, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;

    if (fd < 0)
        return bt_fail_errno(err, errno == ENOENT ? BT_ERR_NOT_FOUND : BT_ERR_IO, "cannot read %s",
                             path);
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1)
        return fd;
    close(fd);
    return bt_fail(err, BT_ERR_IO, "%s is no plain file", path);
}

int spool_make(const char *attempts, const struct order *order, const char *spec, size_t n_spec,
               const struct account *share, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    char name[SPOOL_NAME_MAX];
    BT_AUTO char *temp =
        bt_printf("%s/new.%s", attempts, spool_name(order->job, order->attempt, name));
    BT_AUTO char *dir = path_of(attempts, name);
    int rc;

    if (access(dir, F_OK) == 0)
        return bt_fail(err, BT_ERR_CONFLICT, "the attempt %s is here already", name);
    write_struct(&text, order_fields, BT_ARRAY_LEN(order_fields), order);
    rc = bt_remove_tree(temp, err);
    if (rc == 0)
        rc = bt_mkdirs(temp, 0700, err);
    if (rc == 0)
        rc = write_as(temp, "spec.json", 0600, KEEP_TEXT, spec, n_spec, err);
    if (rc == 0)
        rc = write_as(temp, "order.json", 0600, KEEP, text.p, text.n, err);
    if (rc == 0 && share)
        rc = handover_spool(temp, share, err);
    if (rc == 0 && rename(temp, dir) < 0)
        rc = bt_fail_errno(err, BT_ERR_IO, "cannot rename %s", temp);
    return rc < 0 ? rc : bt_fsync_dir(attempts, err);
}

int spool_remove(const char *dir, struct bt_err *err)
{
    const char *name = strrchr(dir, '/') + 1;
    BT_AUTO char *old = bt_printf("%.*sold.%s", (int)(name - dir), dir, name);
    int rc = bt_remove_tree(old, err);

    if (rc == 0 && rename(dir, old) < 0 && errno != ENOENT)
        rc = bt_fail_errno(err, BT_ERR_IO, "cannot rename %s", dir);
    return rc < 0 ? rc : bt_remove_tree(old, err);
}

int spool_order(const char *dir, struct order *ret, struct bt_err *err)
{
    return read_struct(dir, "order.json", order_fields, BT_ARRAY_LEN(order_fields), ret, err);
}

bool spool_has(const char *dir, const char *file)
{
    BT_AUTO char *path = path_of(dir, file);

    return access(path, F_OK) == 0;
}

int spool_put(const char *dir, const char *file, const char *text, struct bt_err *err)
{
    if (spool_has(dir, file))
        return 0;
    return write_as(dir, file, 0600, KEEP, text, strlen(text), err);
}

int spool_mark(const char *dir, const char *file, bool keep, struct bt_err *err)
{
    BT_AUTO char *lock = path_of(dir, "lock");
    BT_AUTO char *path = path_of(dir, file);

    if (spool_has(dir, file))
        return 0;
    if (link(lock, path) < 0 && errno != EEXIST)
        return write_as(dir, file, 0600, keep ? KEEP_NAME : KEEP_NOT, "", 0, err);
    return keep ? bt_fsync_dir(dir, err) : 0;
}

int spool_put_grant(const char *dir, const char *text, struct bt_err *err)
{
    if (spool_has(dir, "granted"))
        return 0;
    return write_as(dir, "granted", 0644, KEEP_TEXT, text, strlen(text), err);
}

int spool_get(const char *dir, const char *file, size_t max, struct bt_buf *to, struct bt_err *err)
{
    BT_FD_AUTO int fd = spool_open(dir, file, err);
    size_t start = to->n;

    if (fd < 0)
        return fd;
    for (;;) {
        char chunk[16384];
        ssize_t n = read(fd, chunk, sizeof chunk);

        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            return 0;
        if (n < 0 || (size_t)n > max - (to->n - start)) {
            to->n = start;
            return n < 0 ? bt_fail_errno(err, BT_ERR_IO, "cannot read %s/%s", dir, file)
                         : bt_fail(err, BT_ERR_TOO_LARGE, "%s/%s is larger than %zu bytes", dir,
                                   file, max);
        }
        bt_buf_add(to, chunk, (size_t)n);
    }
}

int spool_put_verdict(const char *dir, const struct verdict *v, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    struct verdict clean = *v;

    if (!bt_is_utf8(clean.text, strlen(clean.text))) /* names are quoted and cut */
        for (char *c = clean.text; *c; c++)
            if (*c & 0x80)
                *c = '?';
    write_struct(&text, verdict_fields, BT_ARRAY_LEN(verdict_fields), &clean);
    return spool_put(dir, "ended.json", text.p, err);
}

int spool_verdict(const char *dir, struct verdict *ret, struct bt_err *err)
{
    return read_struct(dir, "ended.json", verdict_fields, BT_ARRAY_LEN(verdict_fields), ret, err);
}

int spool_put_yield(const char *dir, const struct yield *y, const struct bt_buf *manifest,
                    struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    int rc = 0;

    write_struct(&text, yield_fields, BT_ARRAY_LEN(yield_fields), y);
    if (!spool_has(dir, "manifest.txt"))
        rc = write_as(dir, "manifest.txt", 0600, KEEP_TEXT, manifest->p, manifest->n, err);
    return rc < 0 ? rc : spool_put(dir, "manifest.json", text.p, err);
}

int spool_yield(const char *dir, struct yield *ret, struct bt_err *err)
{
    return read_struct(dir, "manifest.json", yield_fields, BT_ARRAY_LEN(yield_fields), ret, err);
}

static int open_lock(const char *dir)
{
    BT_AUTO char *path = path_of(dir, "lock");

    return open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

int spool_lock(const char *dir, struct bt_err *err)
{
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open_lock(dir);

    if (fd < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot open %s/lock", dir);
    if (fcntl(fd, F_SETLK, &l) == 0)
        return 0; /* the descriptor stays open as long as the process */
    int rc = errno == EACCES || errno == EAGAIN
                 ? bt_fail(err, BT_ERR_LOCKED, "another shepherd has %s", dir)
                 : bt_fail_errno(err, BT_ERR_IO, "cannot lock %s/lock", dir);
    close(fd);
    return rc;
}

pid_t spool_shepherd(const char *dir)
{
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    BT_FD_AUTO int fd = open_lock(dir);

    if (fd < 0 || fcntl(fd, F_GETLK, &l) < 0 || l.l_type == F_UNLCK)
        return 0;
    return l.l_pid;
}
