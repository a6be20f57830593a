/* Blobs that stay in the storage of the site where they were made, and where readers find them.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 *   blobs_dir/sha256/ab/<hex>.at   names of sites, a line each, the first to say so first
 *
 * What a site says is believed, not seen: bytes are checked by who reads them, against the
 * manifest. The first site stays the first, so nobody takes another's readers away. Lines are
 * only appended; one without its end was never acknowledged. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "daemon/http/own.h"
#include "daemon/http/uploads.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

enum { SITES_MAX = 65536 }; /* bytes of their names */

static char *sites_path(const struct http *h, const char *hex)
{
    BT_AUTO char *path = blob_path(h, hex);

    return bt_printf("%s.at", path);
}

bool keeps_has(const struct http *h, const char *hex)
{
    BT_AUTO char *path = blob_path(h, hex);
    BT_AUTO char *sites = sites_path(h, hex);

    return access(path, F_OK) < 0 && access(sites, F_OK) == 0;
}

/* Appends the whole lines of fd; BT_ERR_TOO_LARGE. */
static int read_names(int fd, struct bt_buf *to, struct bt_err *err)
{
    BT_AUTO char *text = bt_alloc(1, SITES_MAX);
    ssize_t n = pread(fd, text, SITES_MAX, 0);

    if (n < 0)
        return bt_fail_errno(err, BT_ERR_IO, "who keeps a blob cannot be read");
    if (n == SITES_MAX)
        return bt_fail(err, BT_ERR_TOO_LARGE, "too many sites keep this blob");
    while (n && text[n - 1] != '\n')
        n--;
    bt_buf_add(to, text, (size_t)n);
    return 0;
}

static bool names(const struct bt_buf *sites, const char *site)
{
    BT_AUTO char *all = bt_printf("\n%.*s", (int)sites->n, bt_buf_text(sites));
    BT_AUTO char *line = bt_printf("\n%s\n", site);

    return strstr(all, line) != NULL;
}

static int add_site(const struct http *h, const char *hex, const char *site, struct bt_err *err)
{
    BT_AUTO char *path = sites_path(h, hex);
    BT_AUTO char *dir = bt_strndup(path, strlen(path) - strlen("/.at") - 64);
    BT_AUTO char *line = bt_printf("%s\n", site);
    BT_BUF_AUTO struct bt_buf sites = {0};
    int rc = bt_mkdirs(dir, 0700, err);

    if (rc < 0)
        return rc;
    BT_FD_AUTO int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || flock(fd, LOCK_EX) < 0) /* for as long as it takes to write a name */
        return bt_fail_errno(err, errno == ENOSPC ? BT_ERR_DISK_FULL : BT_ERR_IO,
                             "a file cannot be opened");
    rc = read_names(fd, &sites, err);
    if (rc < 0)
        return rc;
    if (!names(&sites, site)) {
        if (lseek(fd, (off_t)sites.n, SEEK_SET) < 0)
            return bt_fail_errno(err, BT_ERR_IO, "who keeps a blob cannot be written");
        rc = bt_write_all(fd, line, strlen(line), err);
    }
    if (rc == 0 && fsync(fd) < 0)
        rc = bt_fail_errno(err, BT_ERR_IO, "who keeps a blob cannot be kept");
    return rc < 0 ? rc : bt_fsync_dir(dir, err);
}

static void note(struct call *c)
{
    const char *node = c->principal.subject;
    const struct read q = {.name = "node_blobs", .param = {node}, .n = 1};
    BT_BUF_AUTO struct bt_buf site = {0};
    struct bt_err err = {0};
    int rc = read_json(c->h, &q, &site, &err);

    if (rc == -BT_ERR_NOT_FOUND)
        (void)bt_next(
            &err,
            bt_fail(&err, BT_ERR_NOT_FOUND, "the site of %s names no address of what it keeps",
                    node),
            "beamtime site add SITE … --blobs URL, or leave blob_dir of its agents empty");
    if (rc == 0)
        rc = add_site(c->h, c->match.param[0], bt_buf_text(&site), &err);
    if (rc < 0)
        http_fail(c, &err);
    else
        serve_json(c->r, 200, bt_strdup("{}"), 2);
}

void keeps_note(struct call *c)
{
    struct bt_err err;

    if (!blob_is_sha256(c->match.param[0])) {
        bt_fail(&err, BT_ERR_INVALID, "a blob's address is its SHA-256 in 64 digits");
        http_fail(c, &err);
        return;
    }
    tasks_add(c, note);
}

static int address_of(struct call *c, struct bt_buf *ret, struct bt_err *err)
{
    BT_AUTO char *path = sites_path(c->h, c->match.param[0]);
    BT_FD_AUTO int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    BT_BUF_AUTO struct bt_buf sites = {0};
    int rc;

    if (fd < 0)
        return bt_fail_errno(err, BT_ERR_IO, "who keeps a blob cannot be read");
    rc = read_names(fd, &sites, err);
    if (rc < 0)
        return rc;
    const struct read q = {
        .name = "public_blobs", .param = {bt_buf_text(&sites)}, .n = 1, .public = true};
    rc = read_json(c->h, &q, ret, err);
    return rc == -BT_ERR_NOT_FOUND
               ? bt_fail(err, BT_ERR_NOT_FOUND, "the site that keeps this blob gives out none now")
               : rc;
}

void keeps_send(struct call *c)
{
    const char *hex = c->match.param[0];
    struct serve_reply reply = {.status = 307};
    BT_BUF_AUTO struct bt_buf url = {0};
    struct bt_err err = {0};
    char at[SERVE_HEADER_MAX];

    if (address_of(c, &url, &err) < 0) {
        http_fail(c, &err);
        return;
    }
    snprintf(at, sizeof at, "%s/sha256/%.2s/%s", bt_buf_text(&url), hex, hex);
    serve_reply_header(&reply, "Location", at);
    serve_reply_header(&reply, "Cache-Control", "max-age=300"); /* sites may move their storage */
    serve_reply(c->r, &reply);
}
