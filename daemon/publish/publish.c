/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/publish/publish.h"

#include <inttypes.h>

#include "daemon/publish/files.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

enum { N_MUST = 3 };

struct publisher {
    struct publish_options o;
    struct publish_files files;
    struct log *log;
    struct tree_head saved;        /* the newest checkpoint row */
    struct tree_head signed_;      /* what `last-signed` says */
    struct tree_head must[N_MUST]; /* heads that the log has to pass through */
    uint64_t checked;              /* entries whose files were read again */
    bool due;                      /* DIR/checkpoint or its files are not those of `saved` */
};

bool publish_is_final(int rc)
{
    return rc == -BT_ERR_STALE || rc == -BT_ERR_LEDGER;
}

static int recover_hint(struct bt_err *err, int rc)
{
    return bt_next(err, rc, "restore a newer copy of the database; nothing is signed until then");
}

static int step(struct publisher *p, enum publish_step at, struct bt_err *err)
{
    if (p->o.calls.step && p->o.calls.step(p->o.calls.arg, at))
        return bt_fail(err, BT_ERR_INTERNAL, "stopped at publishing step %d", (int)at);
    return 0;
}

static int before_write(void *arg, struct bt_err *err)
{
    return step(arg, PUBLISH_WRITE, err);
}

/* ---- the guard's file: a checkpoint's text, unsigned ---- */

static int read_last_signed(const struct publish_options *o, struct tree_head *ret,
                            struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    struct checkpoint c;
    int rc = bt_file_read(o->last_signed, NOTE_MAX, &text, err);

    if (rc < 0)
        return rc;
    if (checkpoint_parse(bt_buf_text(&text), text.n, &c, NULL) < 0 ||
        !bt_streq(c.origin, o->key.name))
        return recover_hint(
            err, bt_fail(err, BT_ERR_LEDGER, "%s is damaged or of another log", o->last_signed));
    *ret = c.head;
    return 0;
}

static int write_last_signed(const struct publish_options *o, const struct tree_head *head,
                             struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    struct checkpoint c = {.head = *head};

    bt_copy(c.origin, sizeof c.origin, o->key.name);
    checkpoint_format(&c, &text);
    return bt_file_write(o->last_signed, 0600, text.p, text.n, err);
}

/* ---- opening ---- */

/* The signed checkpoint in the folder; size 0 when there is none. */
static int read_served(const struct publish_options *o, struct tree_head *ret, struct bt_err *err)
{
    const struct log_source from = log_dir_source(o->dir);
    struct checkpoint c;
    int rc = verify_checkpoint(&from, &o->key, &c, err);

    if (rc == -BT_ERR_NOT_FOUND) { /* no file, or a file that another key signed */
        BT_AUTO char *path = bt_printf("%s/checkpoint", o->dir);
        BT_BUF_AUTO struct bt_buf any = {0};

        *ret = (struct tree_head){.size = 0};
        tree_empty_root(&ret->root);
        rc = bt_file_read(path, NOTE_MAX, &any, NULL);
        if (rc == 0)
            return bt_fail(err, BT_ERR_LEDGER, "%s/checkpoint is not signed by %s", o->dir,
                           o->key.name);
        return rc == -BT_ERR_NOT_FOUND ? 0 : bt_fail(err, BT_ERR_IO, "cannot read %s", path);
    }
    if (rc < 0)
        return recover_hint(err, bt_fail(err, BT_ERR_LEDGER, "%s/checkpoint is damaged", o->dir));
    *ret = c.head;
    return 0;
}

static int rolled_back(const char *who, uint64_t was, uint64_t is, struct bt_err *err)
{
    return recover_hint(err, bt_fail(err, BT_ERR_STALE,
                                     "the database was rolled back: %s says %" PRIu64
                                     " entries were signed, it holds %" PRIu64,
                                     who, was, is));
}

/* Reads last-signed; a facility without any checkpoint begins with an empty one. */
static int open_guard(struct publisher *p, struct bt_err *err)
{
    struct tree_head empty = {.size = 0};
    int rc = read_last_signed(&p->o, &p->signed_, err);

    if (rc != -BT_ERR_NOT_FOUND)
        return rc;
    if (p->saved.size)
        return recover_hint(err, bt_fail(err, BT_ERR_STALE,
                                         "%s is gone, so nobody knows what was signed",
                                         p->o.last_signed));
    tree_empty_root(&empty.root);
    p->signed_ = empty;
    return write_last_signed(&p->o, &empty, err);
}

/* What was signed must be in the log: at once if it is within the files picked up, else when the
 * entries come by. */
static int check_contains(struct publisher *p, const struct tree_head *old, unsigned slot,
                          struct bt_err *err)
{
    const struct log_source from = log_dir_source(p->o.dir);
    struct tree_head now;
    int rc;

    log_head(p->log, &now);
    if (old->size > now.size) {
        p->must[slot] = *old;
        return 0;
    }
    rc = verify_extends(&from, old, &now, err);
    if (rc != -BT_ERR_LEDGER)
        return rc;
    return recover_hint(err, bt_fail(err, BT_ERR_LEDGER,
                                     "the tree of %" PRIu64 " entries that was signed is not in "
                                     "the files of %" PRIu64,
                                     old->size, now.size));
}

/* Picks the files up at the saved checkpoint. When they are gone or damaged it plans to write
 * them all again: they are derived. */
static int open_log(struct publisher *p, const struct tree_head *served, struct bt_err *err)
{
    const struct tree_head *const signed_once[N_MUST] = {&p->signed_, served, &p->saved};
    const struct log_source from = log_dir_source(p->o.dir);
    const struct log_sink sink = publish_files_sink(&p->files);
    int rc = log_resume(&from, &sink, &p->saved, &p->log, err);

    for (unsigned i = 0; i < N_MUST && rc == 0; i++)
        rc = check_contains(p, signed_once[i], i, err);
    p->due = served->size != p->saved.size || served->size == 0;
    p->checked = p->saved.size;
    if (rc != -BT_ERR_NOT_FOUND && rc != -BT_ERR_CORRUPT && rc != -BT_ERR_TOO_LARGE)
        return rc;
    log_free(p->log);
    p->log = log_new(&sink);
    p->due = true;
    p->checked = 0;
    for (unsigned i = 0; i < N_MUST; i++)
        p->must[i] = *signed_once[i];
    return 0;
}

static int open_all(struct publisher *p, struct bt_err *err)
{
    struct publish_state state = {0};
    struct tree_head served = {0};
    int rc = p->o.calls.load(p->o.calls.arg, &state, err);

    if (rc == 0)
        rc = bt_mkdirs(p->o.dir, 0755, err);
    if (rc < 0)
        return rc;
    p->saved = state.saved;
    if (p->saved.size == 0)
        tree_empty_root(&p->saved.root);
    rc = open_guard(p, err);
    if (rc == 0)
        rc = read_served(&p->o, &served, err);
    if (rc < 0)
        return rc;
    if (p->signed_.size > state.committed)
        return rolled_back(p->o.last_signed, p->signed_.size, state.committed, err);
    if (served.size > state.committed)
        return rolled_back("the served checkpoint", served.size, state.committed, err);
    if (p->saved.size > state.committed)
        return rolled_back("a checkpoint row", p->saved.size, state.committed, err);
    return open_log(p, &served, err);
}

int publish_open(const struct publish_options *o, struct publisher **ret, struct bt_err *err)
{
    struct publisher *p = bt_new(struct publisher);
    int rc;

    p->o = *o;
    p->files = (struct publish_files){.dir = o->dir, .before = before_write, .arg = p};
    rc = open_all(p, err);
    if (rc < 0) {
        publish_close(p);
        return rc;
    }
    *ret = p;
    return 0;
}

void publish_close(struct publisher *p)
{
    if (!p)
        return;
    log_free(p->log);
    publish_files_done(&p->files);
    bt_free(p);
}

/* ---- adding and committing ---- */

uint64_t publish_size(const struct publisher *p)
{
    return log_frontier(p->log)->size;
}

uint64_t publish_signed(const struct publisher *p)
{
    return p->signed_.size;
}

bool publish_due(const struct publisher *p)
{
    uint64_t size = publish_size(p);

    return size > p->saved.size || (p->due && size == p->saved.size);
}

int publish_add(struct publisher *p, uint64_t index, const void *body, size_t n, struct bt_err *err)
{
    struct tree_head now;
    int rc;

    if (index != publish_size(p))
        return bt_fail(err, BT_ERR_INTERNAL, "entry %" PRIu64 " came when %" PRIu64 " was due",
                       index, publish_size(p));
    rc = log_append(p->log, body, n, err);
    for (unsigned i = 0; i < N_MUST && rc == 0; i++) {
        if (p->must[i].size != index + 1)
            continue;
        log_head(p->log, &now);
        if (!tree_hash_eq(&now.root, &p->must[i].root))
            rc = recover_hint(err, bt_fail(err, BT_ERR_LEDGER,
                                           "the first %" PRIu64
                                           " entries of the database are not those that were "
                                           "signed",
                                           now.size));
        p->must[i].size = 0;
    }
    return rc;
}

/* Every head that was signed or saved must have been passed. */
static int all_passed(const struct publisher *p, struct bt_err *err)
{
    for (unsigned i = 0; i < N_MUST; i++)
        if (p->must[i].size)
            return bt_fail(err, BT_ERR_INTERNAL,
                           "entries up to %" PRIu64 " have to be added before signing",
                           p->must[i].size);
    return 0;
}

static int commit_files(struct publisher *p, const struct tree_head *head, struct bt_err *err)
{
    const struct log_source from = log_dir_source(p->o.dir);
    int rc = log_flush(p->log, err);

    if (rc == 0)
        rc = step(p, PUBLISH_WRITTEN, err);
    if (rc == 0)
        rc = publish_files_sync(&p->files, err);
    if (rc == 0)
        rc = step(p, PUBLISH_SYNCED, err);
    if (rc == 0)
        rc = log_check(&from, p->checked, head, err);
    if (rc < 0)
        return rc;
    p->checked = head->size;
    return step(p, PUBLISH_CHECKED, err);
}

static int commit_row(struct publisher *p, const struct tree_head *head, struct bt_err *err)
{
    int rc = 0;

    if (head->size > p->saved.size)
        rc = p->o.calls.save(p->o.calls.arg, log_frontier(p->log), &head->root, err);
    if (rc < 0)
        return rc;
    p->saved = *head;
    p->due = true;
    return step(p, PUBLISH_SAVED, err);
}

static int commit_signature(struct publisher *p, const struct tree_head *head, struct bt_err *err)
{
    BT_AUTO char *path = bt_printf("%s/checkpoint", p->o.dir);
    BT_BUF_AUTO struct bt_buf note = {0};
    int rc = write_last_signed(&p->o, head, err);

    if (rc == 0)
        rc = step(p, PUBLISH_LAST_SIGNED, err);
    if (rc < 0)
        return rc;
    p->signed_ = *head;
    rc = checkpoint_sign(head, &p->o.key, p->o.sk, &note, err);
    if (rc == 0)
        rc = step(p, PUBLISH_SIGNED, err);
    if (rc == 0)
        rc = bt_file_write(path, 0644, note.p, note.n, err);
    if (rc == 0)
        rc = step(p, PUBLISH_RENAMED, err);
    if (rc < 0)
        return rc;
    p->due = false;
    if (p->o.calls.published)
        p->o.calls.published(p->o.calls.arg, head, note.p, note.n);
    return 0;
}

int publish_commit(struct publisher *p, struct bt_err *err)
{
    struct tree_head head;
    int rc;

    if (!publish_due(p))
        return 0;
    log_head(p->log, &head);
    rc = all_passed(p, err);
    if (rc == 0 && head.size < p->signed_.size)
        rc = rolled_back(p->o.last_signed, p->signed_.size, head.size, err);
    if (rc == 0)
        rc = commit_files(p, &head, err);
    if (rc == 0)
        rc = commit_row(p, &head, err);
    if (rc == 0)
        rc = commit_signature(p, &head, err);
    return rc < 0 ? rc : log_prune(p->log, err);
}

int publish_catch_up(struct publisher *p, uint64_t committed, struct bt_err *err)
{
    int rc = 0;

    while (rc == 0 && (publish_size(p) < committed || publish_due(p))) {
        uint64_t from = publish_size(p);

        if (from < committed)
            rc = p->o.calls.read(p->o.calls.arg, from, p, err);
        if (rc == 0 && from < committed && publish_size(p) == from)
            rc = bt_fail(err, BT_ERR_CORRUPT, "entry %" PRIu64 " of %" PRIu64 " cannot be read",
                         from, committed);
        if (rc == 0 && (from >= committed || all_passed(p, NULL) == 0))
            rc = publish_commit(p, err);
    }
    return rc;
}

/* ---- recovering ---- */

/* The newer of the two heads that were signed; each must be in the files. */
static int newest_signed(const struct publish_options *o, struct tree_head *ret, struct bt_err *err)
{
    const struct log_source from = log_dir_source(o->dir);
    struct tree_head guard = {0}, served = {0};
    int rc = read_last_signed(o, &guard, err);

    if (rc == -BT_ERR_NOT_FOUND) /* only what is served is left to say it */
        rc = 0;
    if (rc == 0)
        rc = read_served(o, &served, err);
    if (rc < 0)
        return rc;
    *ret = guard.size > served.size ? guard : served;
    rc = log_check(&from, 0, ret, err);
    if (rc == 0)
        rc = verify_extends(&from, &guard, ret, err);
    return rc < 0 ? rc : verify_extends(&from, &served, ret, err);
}

/* The entries [first, size) of the bundle that holds `first`. */
static int give_bundle(const struct publish_options *o, uint64_t first, uint64_t size,
                       const struct verify_visitor *put, struct bt_err *err)
{
    const struct log_source from = log_dir_source(o->dir);
    struct tile t = tile_of(TILE_ENTRIES, first, size);
    BT_BUF_AUTO struct bt_buf bundle = {0};
    uint64_t index = t.n * TILE_WIDTH;
    const uint8_t *entry;
    size_t at = 0, n;
    int rc = log_read_tile(&from, &t, &bundle, err);

    if (rc < 0)
        return rc;
    for (; (rc = bundle_next(bundle.p, bundle.n, &at, &entry, &n, err)) == 1; index++) {
        rc = index < first ? 0 : put->entry(put->arg, index, entry, n, err);
        if (rc < 0)
            return rc;
    }
    return rc;
}

int publish_recover(const struct publish_options *o, const struct verify_visitor *put,
                    uint64_t *ret_n, struct bt_err *err)
{
    struct publish_state state = {0};
    struct tree_head head = {0};
    int rc = o->calls.load(o->calls.arg, &state, err);

    if (rc == 0)
        rc = newest_signed(o, &head, err);
    for (uint64_t i = state.committed; i < head.size && rc == 0;
         i = (i / TILE_WIDTH + 1) * TILE_WIDTH)
        rc = give_bundle(o, i, head.size, put, err);
    if (rc == 0)
        *ret_n = head.size > state.committed ? head.size - state.committed : 0;
    return rc;
}
