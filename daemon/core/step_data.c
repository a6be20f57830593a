/* Data sets of sites: declared, taken back, found by the jobs that ask for them.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/core/datasets.h"

#include <inttypes.h>
#include <string.h>

#include "daemon/core/doing.h"
#include "lib/base/map.h"

/* ---- who holds what ---- */

static uint64_t key_of(const char *name)
{
    return bt_map_hash(name, strlen(name));
}

static bool is_declared(const struct dataset *t)
{
    return t->row.name != NULL;
}

static struct dataset *find(const struct core *c, int32_t site, const char *name)
{
    for (int32_t i = 0; i < c->n_datasets; i++)
        if (c->datasets[i].row.site == site && is_declared(&c->datasets[i]) &&
            bt_streq(c->datasets[i].row.name, name))
            return &c->datasets[i];
    return NULL;
}

static int32_t declared_at(const struct core *c, int32_t site)
{
    int32_t n = 0;

    for (int32_t i = 0; i < c->n_datasets; i++)
        n += c->datasets[i].row.site == site && is_declared(&c->datasets[i]);
    return n;
}

/* Some site knows only whom it maps: then each has a store, so that people are told apart. */
static bool maps_count(const struct core *c)
{
    for (int32_t i = 0; i < c->n_sites; i++)
        if (c->sites[i].maps && c->n_sites <= PLAN_STORES)
            return true;
    return false;
}

/* A site keeps its store while it declares anything, or people are told apart; true if some site's
 * is another now. */
static bool share_stores(struct core *c)
{
    bool maps = maps_count(c);
    uint32_t used = 0;
    bool moved = false;

    for (int32_t i = 0; i < c->n_sites; i++) {
        if (c->sites[i].store && !maps && !declared_at(c, c->sites[i].row.id)) {
            c->sites[i].store = 0;
            moved = true;
        }
        if (c->sites[i].store)
            used |= UINT32_C(1) << (c->sites[i].store - 1);
    }
    for (int32_t i = 0; i < c->n_sites; i++) {
        if (c->sites[i].store || !(maps || declared_at(c, c->sites[i].row.id)))
            continue;
        c->sites[i].store = (uint8_t)(__builtin_ctz(~used) + 1); /* do_dataset bounds the sites */
        used |= UINT32_C(1) << (c->sites[i].store - 1);
        moved = true;
    }
    return moved;
}

uint32_t data_stores(const struct core *c, const char *names)
{
    uint32_t stores = ~PLAN_NO_STORE;
    char name[DATASET_NAME_MAX];

    if (!*names)
        return 0;
    while (dataset_next(&names, name)) {
        uint32_t with = 0;

        (void)bt_map_get(&c->by_dataset, key_of(name), &with);
        stores &= with;
    }
    return stores ? stores : PLAN_NO_STORE;
}

/* Where each person's jobs have an account. */
static void share_people(struct core *c)
{
    uint32_t all = 0, open = 0;

    for (int32_t i = 0; i < c->n_sites && maps_count(c); i++) {
        const struct site *s = &c->sites[i];
        uint32_t bit = bt_streq(s->row.state, "removed") ? 0 : UINT32_C(1) << (s->store - 1);

        all |= bit;
        open |= s->maps ? 0 : bit;
    }
    for (int32_t i = 0; i < c->n_persons; i++)
        c->persons[i].stores = open;
    for (int32_t i = 0; all && i < c->n_unixmaps; i++) {
        const struct row_unixmap *m = &c->unixmaps[i].row;

        c->persons[m->person - 1].stores |= all & UINT32_C(1) << (c->sites[m->site - 1].store - 1);
    }
    for (int32_t i = 0; all && i < c->n_persons; i++) {
        uint32_t *stores = &c->persons[i].stores;

        *stores = *stores == all ? 0 : *stores ? *stores : PLAN_NO_STORE;
    }
}

void person_added(struct core *c)
{
    if (maps_count(c))
        share_people(c);
}

uint32_t stores_meet(uint32_t a, uint32_t b)
{
    if (!a || !b)
        return a | b;
    return a & b & ~PLAN_NO_STORE ? a & b : PLAN_NO_STORE;
}

uint32_t stores_of(const struct core *c, const struct job *j)
{
    return stores_meet(j->data ? c->data_lists[j->data - 1].stores : 0,
                       j->person > 0 ? c->persons[j->person - 1].stores : 0);
}

bool site_serves(const struct core *c, const struct job *j, int32_t site)
{
    const struct site *s = site > 0 ? &c->sites[site - 1] : NULL;

    return (!s || !s->maps || *unixname_of(c, j->person, site)) && data_held(c, j->data, site);
}

void data_changed(struct core *c)
{
    if (share_stores(c))
        nodes_changed(c);
    share_people(c);
    bt_map_done(&c->by_dataset);
    for (int32_t i = 0; i < c->n_datasets; i++) {
        const struct row_dataset *r = &c->datasets[i].row;
        const struct site *s = &c->sites[r->site - 1];
        uint32_t with = 0;

        if (!r->name || bt_streq(s->row.state, "removed"))
            continue;
        (void)bt_map_get(&c->by_dataset, key_of(r->name), &with);
        bt_map_put(&c->by_dataset, key_of(r->name), with | UINT32_C(1) << (s->store - 1));
    }
    for (uint32_t i = 0; i < c->n_data_lists; i++)
        c->data_lists[i].stores = data_stores(c, word_text(c, c->data_lists[i].word));
    c->plan_due = true;
}

/* ---- lists ---- */

bool data_room(const struct core *c)
{
    return c->n_data_lists < UINT16_MAX; /* job.data */
}

uint16_t data_list_of(struct core *c, const char *names)
{
    uint32_t word, at;

    if (!*names)
        return 0;
    word = word_of(c, names);
    if (bt_map_get(&c->list_by_word, word, &at))
        return (uint16_t)(at + 1);
    if (!data_room(c))
        return 0;
    bt_map_put(&c->list_by_word, word, c->n_data_lists);
    BT_GROW(c->data_lists, c->n_data_lists, c->cap_data_lists);
    c->data_lists[c->n_data_lists++] = (struct data_list){word, data_stores(c, names)};
    return (uint16_t)c->n_data_lists;
}

const char *data_names(const struct core *c, uint32_t list)
{
    return list ? word_text(c, c->data_lists[list - 1].word) : "";
}

bool data_held(const struct core *c, uint32_t list, int32_t site)
{
    const char *at = data_names(c, list);
    char name[DATASET_NAME_MAX];

    while (dataset_next(&at, name))
        if (!find(c, site, name))
            return false;
    return true;
}

void data_lack(const struct core *c, const char *names, struct bt_buf *to)
{
    BT_BUF_AUTO struct bt_buf all = {0};
    BT_BUF_AUTO struct bt_buf none = {0};
    char name[DATASET_NAME_MAX];
    const char *at = names;
    int n = 0, n_none = 0;

    while (dataset_next(&at, name)) {
        bt_buf_printf(&all, "%s%s", n++ ? ", " : "", name);
        if (data_stores(c, name) == PLAN_NO_STORE)
            bt_buf_printf(&none, "%s%s", n_none++ ? ", " : "", name);
    }
    if (n_none)
        bt_buf_printf(to, "data set%s %s: no site holds %s", n_none > 1 ? "s" : "",
                      bt_buf_text(&none), n_none > 1 ? "them" : "it");
    else
        bt_buf_printf(to, "data sets %s: no site holds all of them", bt_buf_text(&all));
}

char *data_found(const struct core *c, uint32_t list, int32_t site)
{
    const char *at = data_names(c, list);
    char name[DATASET_NAME_MAX], digest[DATASET_DIGEST_TEXT];
    static const uint8_t none[32];
    struct bt_buf text = {0};
    struct json_writer w = {.to = &text};

    if (!list)
        return NULL;
    jw_array(&w, NULL);
    while (dataset_next(&at, name)) {
        const struct dataset *t = find(c, site, name);

        if (!t) /* may_start has looked */
            continue;
        jw_object(&w, NULL);
        jw_str(&w, "name", name);
        jw_str(&w, "path", t->row.path);
        if (memcmp(t->row.sha256.b, none, sizeof none))
            jw_str(&w, "digest", dataset_digest_format(t->row.sha256.b, digest));
        jw_end_object(&w);
    }
    jw_end_array(&w);
    return bt_buf_take(&text);
}

/* What the attempt found when it started, else the names alone. */
void data_leaf_of(const struct core *c, const struct job *j, struct data_leaf *ret)
{
    const char *at = data_names(c, j->data), *found = j->att ? j->att->datasets : NULL;
    JSON_AUTO struct json *list = NULL;

    ret->n = 0;
    while (ret->n < JOB_DATASETS && dataset_next(&at, ret->names[ret->n])) {
        ret->v[ret->n] = (struct leaf_dataset){.name = ret->names[ret->n]};
        ret->n++;
    }
    if (!found || json_parse(found, strlen(found), strlen(found), &list, NULL) < 0)
        return;
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *one = json_at(list, i);
        const char *digest = json_str(json_get(one, "digest"), "");

        for (size_t k = 0; k < ret->n; k++)
            if (bt_streq(ret->names[k], json_str(json_get(one, "name"), "")) &&
                dataset_digest_parse(digest, ret->sha256[k], NULL) == 0)
                ret->v[k].sha256 = ret->sha256[k];
    }
}

/* ---- declaring ---- */

static bool has_digest(const struct row_b32 *digest)
{
    static const struct row_b32 none;

    return memcmp(digest, &none, sizeof none) != 0;
}

/* A job may go to any site that holds the name: it must be the same data. */
static int same_elsewhere(const struct core *c, struct doing *d, int32_t site,
                          const struct row_b32 *digest)
{
    char theirs[DATASET_DIGEST_TEXT];

    for (int32_t i = 0; has_digest(digest) && i < c->n_datasets; i++) {
        const struct row_dataset *r = &c->datasets[i].row;

        if (r->site == site || !r->name || !bt_streq(r->name, d->e->name) ||
            !has_digest(&r->sha256) || !memcmp(&r->sha256, digest, sizeof *digest))
            continue;
        return bt_next(&d->err,
                       bt_fail(&d->err, BT_ERR_CONFLICT,
                               "at site %s data set %s is %s: this would not be the same data",
                               c->sites[r->site - 1].row.name, r->name,
                               dataset_digest_format(r->sha256.b, theirs)),
                       "beamtime dataset list");
    }
    return 0;
}

/* Two names of a site must not meet in one variable. */
static int own_variable(const struct core *c, struct doing *d, int32_t site)
{
    char mine[DATASET_VARIABLE_MAX], theirs[DATASET_VARIABLE_MAX];

    dataset_variable(d->e->name, mine);
    for (int32_t i = 0; i < c->n_datasets; i++) {
        const struct row_dataset *r = &c->datasets[i].row;

        if (r->site == site && r->name && !bt_streq(r->name, d->e->name) &&
            bt_streq(dataset_variable(r->name, theirs), mine))
            return bt_fail(&d->err, BT_ERR_CONFLICT,
                           "site %s has data set %s, whose path jobs find in %s too", d->e->site,
                           r->name, mine);
    }
    return 0;
}

static int room_for_one(const struct core *c, struct doing *d, int32_t site)
{
    int32_t n = declared_at(c, site), sites = 0;

    if (n == DATASETS_A_SITE)
        return bt_fail(&d->err, BT_ERR_TOO_MANY, "site %s declares %d data sets already",
                       d->e->site, n);
    for (int32_t i = 0; n == 0 && i < c->n_sites; i++)
        sites += declared_at(c, c->sites[i].row.id) > 0;
    if (sites >= PLAN_STORES)
        return bt_fail(&d->err, BT_ERR_TOO_MANY, "%d sites declare data sets already", sites);
    return 0;
}

static int may_declare(const struct core *c, struct doing *d, int32_t site,
                       const struct row_b32 *digest)
{
    const struct ev_admin *e = d->e;
    int rc = 0;

    if (!e->path || !dataset_is_path(e->path))
        return bt_fail(&d->err, BT_ERR_INVALID,
                       "the path of a data set is absolute, without '..', of at most %d letters, "
                       "digits and /._-+=@,",
                       DATASET_PATH_MAX - 1);
    if (!find(c, site, e->name))
        rc = room_for_one(c, d, site);
    if (rc == 0)
        rc = own_variable(c, d, site);
    return rc < 0 ? rc : same_elsewhere(c, d, site, digest);
}

/* The row of that name, else a free one of the site, else a new one. */
static struct dataset *place_for(struct core *c, int32_t site, const char *name)
{
    struct dataset *t = find(c, site, name);

    for (int32_t i = 0; !t && i < c->n_datasets; i++)
        if (c->datasets[i].row.site == site && !is_declared(&c->datasets[i]))
            t = &c->datasets[i];
    if (t)
        return t;
    BT_GROW(c->datasets, c->n_datasets, c->cap_datasets);
    t = &c->datasets[c->n_datasets++];
    *t = (struct dataset){.row = {.id = c->n_datasets, .site = site}};
    return t;
}

static int take_back(struct core *c, struct doing *d, int32_t site)
{
    struct dataset *t = find(c, site, d->e->name);
    int32_t id;

    if (!t)
        return bt_next(&d->err,
                       bt_fail(&d->err, BT_ERR_NOT_FOUND, "site %s declares no data set '%.80s'",
                               d->e->site, d->e->name),
                       "beamtime dataset list --site %s", d->e->site);
    id = t->row.id;
    row_free_texts(ROW_KIND_dataset, &t->row);
    t->row =
        (struct row_dataset){.id = id, .site = site, .bytes = ROW_NULL64, .since_us = ROW_NULL64};
    d->changed = true;
    EMIT(c, dataset, t);
    data_changed(c);
    return 0;
}

int do_dataset(struct core *c, struct doing *d)
{
    const struct ev_admin *e = d->e;
    const struct site *s = site_find(c, e->site);
    int64_t bytes = e->amount_mras > 0 ? e->amount_mras : ROW_NULL64;
    struct row_b32 digest;
    struct dataset *t;
    int rc;

    memcpy(digest.b, e->spki, sizeof digest.b);
    if (!s || bt_streq(s->row.state, "removed"))
        return bt_next(&d->err,
                       bt_fail(&d->err, BT_ERR_NOT_FOUND, "there is no site '%.60s'", e->site),
                       "beamtime site list");
    if (!dataset_is_name(e->name))
        return bt_fail(&d->err, BT_ERR_INVALID, "'%.80s' cannot be the name of a data set",
                       e->name);
    if (bt_streq(e->state, "removed"))
        return take_back(c, d, s->row.id);
    if (e->state[0] && !bt_streq(e->state, "declared"))
        return bt_fail(&d->err, BT_ERR_INVALID, "a data set's state is declared or removed");
    rc = may_declare(c, d, s->row.id, &digest);
    if (rc < 0)
        return rc;
    t = place_for(c, s->row.id, e->name);
    d->changed = !is_declared(t) || !bt_streq(t->row.path, e->path) ||
                 memcmp(&t->row.sha256, &digest, sizeof digest) || t->row.bytes != bytes;
    if (!d->changed)
        return 0;
    row_free_texts(ROW_KIND_dataset, &t->row);
    t->row = (struct row_dataset){.id = t->row.id,
                                  .site = s->row.id,
                                  .name = bt_strdup(e->name),
                                  .path = bt_strdup(e->path),
                                  .sha256 = digest,
                                  .bytes = bytes,
                                  .since_us = c->now_us};
    EMIT(c, dataset, t);
    data_changed(c);
    return 0;
}
