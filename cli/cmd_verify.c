/* cmd_verify.c - the ledger checked from outside: its public key, its files, nothing else is
 * believed. SPDX-License-Identifier: GPL-3.0-or-later */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "cli/link.h"
#include "cli/out.h"
#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"
#include "lib/ledger/verify.h"
#include "lib/record/leaf.h"
#include "lib/record/manifest.h"

enum { VKEY_MAX = 1024, POLL_US = 250000, HEAD_TEXT_MAX = 256 };

struct verifying {
    struct app *app;
    const char *dir;       /* a mirror's folder; NULL: the public listener */
    struct public *public; /* NULL: a mirror */
    struct log_source from;
    struct note_key key;
    bool pinned; /* the key came from --vkey or an earlier run */
    bool files;
    int64_t record; /* -1: the whole ledger */
    struct checkpoint now;
    struct tree_head seen; /* of an earlier run; size 0: none */
    uint64_t kinds[LEAF_KINDS];
    uint64_t n_files, n_incomplete;
    int64_t n_bytes;
    struct bt_buf entry; /* of `record` */
};

/* ---- where files come from ---- */

static int read_public(void *arg, const char *path, size_t max, struct bt_buf *to,
                       struct bt_err *err)
{
    struct verifying *v = arg;

    return public_get(v->public, path, max, to, err);
}

static int read_vkey(struct verifying *v, const struct cli_args *a, struct bt_err *err)
{
    BT_AUTO char *kept = v->app->has_profile ? app_profile_path(v->app, "log.vkey") : NULL;
    const char *file = cli_value(a, "vkey");
    BT_BUF_AUTO struct bt_buf text = {0};
    int rc;

    v->pinned = file || (kept && access(kept, R_OK) == 0);
    if (v->pinned)
        rc = bt_file_read(file ? file : kept, VKEY_MAX, &text, err);
    else
        rc = v->from.read(v->from.arg, "log.vkey", VKEY_MAX, &text, err);
    while (rc >= 0 && text.n && strchr(" \r\n", text.p[text.n - 1]))
        text.p[--text.n] = '\0';
    if (rc >= 0)
        rc = note_vkey_parse(bt_buf_text(&text), &v->key, err);
    if (rc >= 0 && !v->pinned && kept) {
        app_note(v->app, "first look at this ledger: its key %08x is kept in profile '%s'",
                 v->key.id, v->app->profile.name);
        rc = bt_file_write(kept, 0600, text.p, text.n, err);
    }
    return rc;
}

static int open_source(struct verifying *v, const struct cli_args *a, struct bt_err *err)
{
    const char *url = cli_value(a, "url");

    v->from = (struct log_source){.read = read_public, .arg = v};
    v->dir = cli_value(a, "dir");
    if (v->dir) {
        v->from = log_dir_source(v->dir);
        return 0;
    }
    if (!url && v->app->has_profile && *v->app->profile.public_url)
        url = v->app->profile.public_url;
    if (!url)
        return bt_fail(err, BT_ERR_USAGE,
                       "ledger verify wants --url or --dir: there is no profile");
    return public_open(url, &v->public, err);
}

/* ---- what was seen before ---- */

static char *seen_path(const struct verifying *v)
{
    BT_AUTO char *name = bt_printf("seen-%08x", v->key.id);

    return app_profile_path(v->app, name);
}

/* "size hex-root" */
static int load_seen(struct verifying *v, struct bt_err *err)
{
    BT_AUTO char *path = NULL;
    BT_BUF_AUTO struct bt_buf text = {0};
    char *space;
    int64_t size;
    int rc;

    if (!v->app->has_profile)
        return 0;
    path = seen_path(v);
    if (access(path, F_OK) != 0)
        return 0;
    rc = bt_file_read(path, HEAD_TEXT_MAX, &text, err);
    if (rc < 0)
        return rc;
    space = text.p ? strchr(text.p, ' ') : NULL;
    if (space)
        *space++ = '\0';
    if (!space || strlen(space) < 64)
        return bt_fail(err, BT_ERR_CORRUPT, "%s is damaged", path);
    space[64] = '\0';
    if (bt_parse_i64(text.p, "size", 0, INT64_MAX, &size, NULL) < 0 ||
        bt_unhex(space, v->seen.root.b, sizeof v->seen.root.b) < 0)
        return bt_fail(err, BT_ERR_CORRUPT, "%s is damaged", path);
    v->seen.size = (uint64_t)size;
    return 0;
}

static int save_seen(const struct verifying *v, struct bt_err *err)
{
    BT_AUTO char *path = NULL;
    BT_AUTO char *text = NULL;
    char hex[65];

    if (!v->app->has_profile || v->now.head.size < v->seen.size)
        return 0;
    path = seen_path(v);
    text = bt_printf("%" PRIu64 " %s\n", v->now.head.size,
                     bt_hex(v->now.head.root.b, sizeof v->now.head.root.b, hex));
    return bt_file_write(path, 0600, text, strlen(text), err);
}

/* ---- files ---- */

static char *blob_path(const uint8_t sha256[32])
{
    char hex[65];

    return bt_printf("blob/sha256/%s", bt_hex(sha256, 32, hex));
}

static int hash_blob(struct verifying *v, const char *path, uint8_t got[32], int64_t *bytes,
                     struct bt_err *err)
{
    BT_AUTO char *full = NULL;
    BT_FD_AUTO int fd = -1;

    if (v->public)
        return public_hash(v->public, path, got, bytes, err);
    full = bt_printf("%s/%s", v->dir, path);
    fd = open(full, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return bt_fail_errno(err, BT_ERR_NOT_FOUND, "%s", full);
    return bt_sha256_fd(fd, got, bytes, err);
}

static int check_file(struct verifying *v, const struct manifest_file *f, struct bt_err *err)
{
    BT_AUTO char *path = blob_path(f->sha256);
    uint8_t got[32] = {0};
    int64_t bytes = 0;
    int rc = hash_blob(v, path, got, &bytes, err);

    if (rc < 0)
        return rc;
    if (bytes != f->bytes || memcmp(got, f->sha256, sizeof got) != 0)
        return bt_fail(err, BT_ERR_LEDGER, "the file %s is not the one that was published",
                       f->path);
    v->n_files++;
    v->n_bytes += bytes;
    return 0;
}

static int check_manifest(struct verifying *v, const struct json *m, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    MANIFEST_AUTO struct manifest manifest = {0};
    BT_AUTO char *path = NULL;
    struct tree_hash root;
    uint8_t want[32], want_root[32], got[32];
    int rc;

    if (bt_unhex(out_str(m, "sha256"), want, sizeof want) < 0 ||
        bt_unhex(out_str(m, "root"), want_root, sizeof want_root) < 0)
        return bt_fail(err, BT_ERR_LEDGER, "the record's manifest has no digests");
    path = blob_path(want);
    rc = v->from.read(v->from.arg, path, MANIFEST_TEXT_MAX, &text, err);
    if (rc < 0)
        return rc;
    bt_sha256(bt_buf_text(&text), text.n, got);
    if (memcmp(got, want, sizeof got) != 0)
        return bt_fail(err, BT_ERR_LEDGER, "the manifest is not the one that was published");
    rc = manifest_parse(bt_buf_text(&text), text.n, &manifest, err);
    if (rc < 0)
        return rc;
    manifest_root(&manifest, &root);
    if (memcmp(root.b, want_root, sizeof root.b) != 0)
        return bt_fail(err, BT_ERR_LEDGER, "the manifest has another root than the record says");
    for (size_t i = 0; i < manifest.n && rc >= 0; i++)
        rc = check_file(v, &manifest.files[i], err);
    return rc;
}

/* A leaf is read in its one spelling, with its signatures; a record's files are checked if asked.
 */
static int check_leaf(void *arg, uint64_t index, const void *p, size_t n, struct bt_err *err)
{
    struct verifying *v = arg;
    LEAF_AUTO struct leaf leaf = {0};
    const struct json *manifest;
    struct bt_err why = {0};
    int rc = leaf_parse(p, n, &leaf, &why);

    if (rc < 0)
        return bt_fail(err, BT_ERR_LEDGER, "entry %" PRIu64 ": %s", index, why.text);
    v->kinds[leaf.kind]++;
    manifest = json_get(leaf.body, "manifest");
    if (leaf.kind != LEAF_RECORD || !v->files || bt_streq(out_str(manifest, "status"), "none"))
        return 0;
    if (!bt_streq(out_str(manifest, "status"), "complete"))
        v->n_incomplete++;
    rc = check_manifest(v, manifest, &why);
    return rc < 0 ? bt_fail(err, why.code, "record %" PRIu64 ": %s", index, why.text) : 0;
}

/* ---- the order of things ---- */

/* The newest checkpoint; with --wait, the first that covers the record. */
static int get_checkpoint(struct verifying *v, int64_t wait_s, struct bt_err *err)
{
    int64_t until = bt_mono_us() + wait_s * BT_US_PER_S;

    for (;;) {
        struct bt_err why = {0};
        int rc = verify_checkpoint(&v->from, &v->key, &v->now, &why);
        bool covers = rc >= 0 && (v->record < 0 || (uint64_t)v->record < v->now.head.size);
        bool absent = rc == -BT_ERR_NOT_FOUND || rc >= 0;

        if (covers)
            return 0;
        if (!absent || bt_mono_us() >= until) {
            if (rc < 0)
                return bt_next(err, bt_fail(err, why.code, "%s", why.text), "%s", why.next);
            return bt_next(err,
                           bt_fail(err, BT_ERR_NOT_FOUND,
                                   "the newest checkpoint has %" PRIu64
                                   " entries and does not cover record %" PRId64 " yet",
                                   v->now.head.size, v->record),
                           "add --wait 90s: a checkpoint follows within a minute");
        }
        usleep(POLL_US); /* a plain web server has nothing that would tell us */
    }
}

static int verify_one(struct verifying *v, struct bt_err *err)
{
    int rc = verify_entry(&v->from, &v->now.head, (uint64_t)v->record, &v->entry, err);

    if (rc < 0)
        return rc;
    return check_leaf(v, (uint64_t)v->record, bt_buf_text(&v->entry), v->entry.n, err);
}

static int verify_all(struct verifying *v, struct bt_err *err)
{
    const struct verify_visitor visitor = {check_leaf, v};
    struct verify_report report;
    int rc = verify_log(&v->from, &v->key, &visitor, &report, err);

    if (rc >= 0)
        v->now = report.now;
    return rc;
}

static int verify(struct verifying *v, const struct cli_args *a, struct bt_err *err)
{
    int64_t wait_s = 0;
    int rc = 0;

    v->files = cli_has(a, "files");
    v->record = -1;
    if (cli_has(a, "record"))
        rc = bt_parse_i64(cli_value(a, "record"), "--record", 0, INT64_MAX, &v->record, err);
    if (rc >= 0 && cli_has(a, "wait"))
        rc = bt_parse_duration_s(cli_value(a, "wait"), "--wait", &wait_s, err);
    if (rc >= 0)
        rc = open_source(v, a, err);
    if (rc >= 0)
        rc = read_vkey(v, a, err);
    if (rc >= 0)
        rc = load_seen(v, err);
    if (rc >= 0)
        rc = get_checkpoint(v, wait_s, err);
    if (rc >= 0)
        rc = v->record >= 0 ? verify_one(v, err) : verify_all(v, err);
    if (rc >= 0 && v->seen.size)
        rc = verify_extends(&v->from, &v->seen, &v->now.head, err);
    return rc < 0 ? rc : save_seen(v, err);
}

static void tell_json(const struct verifying *v)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    struct json_writer w = {.to = &text};

    jw_object(&w, NULL);
    jw_bool(&w, "verified", true);
    jw_str(&w, "origin", v->now.origin);
    jw_i64(&w, "size", (int64_t)v->now.head.size);
    jw_hex(&w, "root", v->now.head.root.b, sizeof v->now.head.root.b);
    jw_bool(&w, "key_pinned", v->pinned);
    jw_i64(&w, "extends", (int64_t)v->seen.size);
    if (v->record >= 0)
        jw_i64(&w, "record", v->record);
    if (v->files) {
        jw_i64(&w, "files", (int64_t)v->n_files);
        jw_i64(&w, "bytes", v->n_bytes);
        jw_i64(&w, "incomplete", (int64_t)v->n_incomplete);
    }
    jw_end_object(&w);
    bt_buf_char(&text, '\n');
    out_text(&text);
}

static void tell_text(const struct verifying *v)
{
    BT_BUF_AUTO struct bt_buf t = {0};

    bt_buf_printf(&t, "verified checkpoint of %" PRIu64 " entries, signed by %s", v->now.head.size,
                  v->now.origin);
    if (v->record >= 0) {
        bt_buf_str(&t, " · inclusion ok");
    } else {
        bt_buf_str(&t, " · every entry, tile and signature ok (");
        for (int k = 0, any = 0; k < LEAF_KINDS; k++)
            if (v->kinds[k])
                bt_buf_printf(&t, "%s%" PRIu64 " %s", any++ ? ", " : "", v->kinds[k],
                              leaf_kind_name((enum leaf_kind)k));
        bt_buf_char(&t, ')');
    }
    if (v->seen.size)
        bt_buf_printf(&t, " · contains the %" PRIu64 " entries seen before", v->seen.size);
    if (v->files)
        bt_buf_printf(&t, " · %" PRIu64 " of %" PRIu64 " files ok", v->n_files, v->n_files);
    if (v->n_incomplete)
        bt_buf_printf(&t, " · %" PRIu64 " records say that outputs are missing", v->n_incomplete);
    bt_buf_char(&t, '\n');
    out_text(&t);
}

int cmd_ledger_verify(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    struct verifying v = {.app = app};
    int rc;

    /* A profile helps (address, key, what was seen) but is not needed. */
    if (app_profile(app, NULL) < 0)
        app->has_profile = false;
    rc = verify(&v, a, err);
    if (rc >= 0 && app->format == OUT_JSON)
        tell_json(&v);
    else if (rc >= 0)
        tell_text(&v);
    public_close(v.public);
    bt_buf_done(&v.entry);
    return rc < 0 ? rc : 0;
}
