/* Whose jobs run as which Unix account of a site: one person, or a whole list, all of it or
 * nothing. SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/core/doing.h"

enum { WRONG_SHOWN = 50 }; /* of the lines that cannot be done */

/* A line that can be done, by numbers. */
struct resolved {
    int32_t person, site;
    const struct unixmap_line *from;
};

static int resolve(struct core *c, const struct unixmap_line *from, struct resolved *ret,
                   struct bt_err *err)
{
    struct nation *n = nation_find(c, from->nation);
    struct person *p = n ? person_find(c, n->row.id, from->person) : NULL;
    struct site *s = site_find(c, from->site);

    if (!n)
        return bt_next(err, bt_fail(err, BT_ERR_NOT_FOUND, "there is no nation '%s'", from->nation),
                       "beamtime nation list");
    if (!p)
        return bt_next(err,
                       bt_fail(err, BT_ERR_NOT_FOUND, "nation %s has no person '%s'", from->nation,
                               from->person),
                       "beamtime person list");
    if (!s)
        return bt_next(err, bt_fail(err, BT_ERR_NOT_FOUND, "there is no site '%s'", from->site),
                       "beamtime site list");
    if (!bt_is_name(from->unixname, 32) || bt_streq(from->unixname, "root"))
        return bt_fail(err, BT_ERR_INVALID, "'%s' cannot be a job's Unix account", from->unixname);
    *ret = (struct resolved){p->row.id, s->row.id, from};
    return 0;
}

static void apply(struct core *c, struct doing *d, const struct resolved *r)
{
    struct row_unixmap *at = NULL;
    bool before = d->changed;

    for (int32_t i = 0; i < c->n_unixmaps && !at; i++)
        if (c->unixmaps[i].row.person == r->person && c->unixmaps[i].row.site == r->site)
            at = &c->unixmaps[i].row;
    if (!at) {
        BT_GROW(c->unixmaps, c->n_unixmaps, c->cap_unixmaps);
        at = &c->unixmaps[c->n_unixmaps++].row;
        *at = (struct row_unixmap){r->person, r->site, NULL};
    }
    d->changed = false;
    set_text(d, &at->unixname, r->from->unixname);
    if (d->changed)
        row_copy(ROW_KIND_unixmap,
                 rows_put(&c->batch->rows, ROW_KIND_unixmap, &at->person, 2 * sizeof(int32_t)), at);
    d->changed |= before;
}

int do_unixmap(struct core *c, struct doing *d)
{
    struct unixmap_line line = {.line = 1};
    struct resolved r;
    int rc;

    bt_copy(line.nation, sizeof line.nation, d->e->nation);
    bt_copy(line.person, sizeof line.person, d->e->person);
    bt_copy(line.site, sizeof line.site, d->e->site);
    if (!bt_copy(line.unixname, sizeof line.unixname, d->e->text))
        return bt_fail(&d->err, BT_ERR_INVALID, "'%s' cannot be a job's Unix account", d->e->text);
    rc = resolve(c, &line, &r, &d->err);
    if (rc < 0)
        return rc;
    apply(c, d, &r);
    if (d->changed)
        data_changed(c);
    return 0;
}

static void wrong(struct json_writer *w, const struct unixmap_line *line, const struct bt_err *err)
{
    BT_AUTO char *at = bt_printf("line %d", line->line);

    jw_object(w, NULL);
    jw_str(w, "lock", at);
    jw_str(w, "text", err->text);
    jw_str(w, "next", err->next);
    jw_end_object(w);
}

/* The same person and site twice: which of the two would be meant? */
static int check_once(const struct resolved *all, int32_t n, const struct resolved *r,
                      struct bt_err *err)
{
    for (int32_t i = 0; i < n; i++)
        if (all[i].person == r->person && all[i].site == r->site)
            return bt_fail(err, BT_ERR_INVALID, "%s/%s at %s is in line %d already",
                           r->from->nation, r->from->person, r->from->site, all[i].from->line);
    return 0;
}

int do_unixmaps(struct core *c, struct doing *d)
{
    const struct ev_admin *e = d->e;
    BT_AUTO struct resolved *all = bt_new_n(struct resolved, (size_t)e->n_maps + 1);
    struct json_writer w = {.to = &d->missing};
    struct bt_err first = {0};
    int32_t n = 0;
    int32_t n_wrong = 0;

    jw_array(&w, "missing");
    for (int32_t i = 0; i < e->n_maps; i++) {
        struct bt_err err = {0};
        int rc = resolve(c, &e->maps[i], &all[n], &err);

        if (rc == 0)
            rc = check_once(all, n, &all[n], &err);
        if (rc == 0) {
            n++;
            continue;
        }
        if (n_wrong < WRONG_SHOWN)
            wrong(&w, &e->maps[i], &err);
        if (!n_wrong++)
            first = err;
    }
    jw_end_array(&w);
    if (n_wrong)
        return bt_fail(&d->err, (enum bt_errno)first.code,
                       "%d of %d lines cannot be done, so none was", n_wrong, e->n_maps);
    bt_buf_done(&d->missing);
    for (int32_t i = 0; i < n; i++)
        apply(c, d, &all[i]);
    if (d->changed)
        data_changed(c);
    bt_buf_printf(&d->body, "{\"changed\":%s,\"lines\":%d}", d->changed ? "true" : "false", n);
    return 0;
}

void unixmaps_audit(struct json_writer *w, const struct ev_admin *e)
{
    if (!e->n_maps)
        return;
    jw_array(w, "maps");
    for (int32_t i = 0; i < e->n_maps; i++) {
        const struct unixmap_line *m = &e->maps[i];
        BT_AUTO char *text = bt_printf("%s/%s %s %s", m->nation, m->person, m->site, m->unixname);

        jw_str(w, NULL, text);
    }
    jw_end_array(w);
}
