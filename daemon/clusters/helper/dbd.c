/* slurmdbd: accounts, QOS and users of the facility's projects.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Adding what is there already changes nothing, so a round that was cut is done again. */
#include <inttypes.h>
#include <stdlib.h>

#include "daemon/clusters/helper/cluster_own.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

/* Of accounting_storage_enforce (AccountingStorageEnforce=associations,limits,qos); not declared
 * in the library's header. */
enum { ENFORCE_ASSOCIATIONS = 1, ENFORCE_LIMITS = 2, ENFORCE_QOS = 8 };

struct dbd {
    void *db;
    char cluster[64];
    uint32_t gpu; /* TRES id of gres/gpu */
    struct fence_row *rows;
    size_t n, cap;
    struct bt_map by_name; /* hash of an account → its row */
    struct bt_map qos_of;  /* hash of an account → id of its QOS */
};

static uint64_t key_of(const char *name)
{
    return bt_map_hash(name, strlen(name));
}

static int failed(const char *what, struct bt_err *err)
{
    int e = errno;

    if (e == ESLURM_ACCESS_DENIED)
        return bt_next(err, bt_fail(err, BT_ERR_IMPOSSIBLE, "slurmdbd refused to %s", what),
                       "sacctmgr modify user %s set adminlevel=operator",
                       geteuid() ? "NAME" : "root");
    return bt_next(
        err,
        bt_fail(err, BT_ERR_IMPOSSIBLE, "slurmdbd did not %s: %s (%d)", what, slurm_strerror(e), e),
        "sacctmgr show cluster; systemctl status slurmdbd");
}

/* ---- what is there ---- */

static struct fence_row *row_of(struct dbd *d, const char *account)
{
    uint32_t at;
    struct fence_row *r;

    if (bt_map_get(&d->by_name, key_of(account), &at))
        return &d->rows[at];
    BT_GROW(d->rows, d->n, d->cap);
    r = &d->rows[d->n];
    *r = (struct fence_row){.cap = FENCE_NO_QOS};
    bt_copy(r->account, sizeof r->account, account);
    bt_map_put(&d->by_name, key_of(account), (uint32_t)d->n++);
    return r;
}

/* "1001=12,4=2": the bound of one TRES. */
static int64_t bound_of(const char *tres, uint32_t id)
{
    for (const char *s = tres; s && *s; s = strchr(s, ',') ? strchr(s, ',') + 1 : NULL) {
        char *end;
        unsigned long which = strtoul(s, &end, 10);

        if (which == id && *end == '=')
            return strtoll(end + 1, NULL, 10);
    }
    return FENCE_NO_CAP;
}

static bool is_ours(const char *name)
{
    return name && bt_starts(name, FENCE_PREFIX) && strlen(name) < FENCE_NAME;
}

static int find_gpu(struct dbd *d, struct bt_err *err)
{
    slurmdb_tres_cond_t cond = {.count = NO_VAL};
    compat_list list;
    compat_iterator at;
    const slurmdb_tres_rec_t *t;

    errno = 0;
    list = slurmdb_tres_get(d->db, &cond);
    if (!list)
        return failed("list its TRES", err);
    at = slurm_list_iterator_create(list);
    while ((t = slurm_list_next(at)))
        if (bt_streq(t->type, "gres") && t->name && bt_streq(t->name, "gpu"))
            d->gpu = t->id;
    slurm_list_iterator_destroy(at);
    slurm_list_destroy(list);
    if (!d->gpu)
        return bt_next(err, bt_fail(err, BT_ERR_IMPOSSIBLE, "slurmdbd does not count gres/gpu"),
                       "AccountingStorageTRES=gres/gpu in slurm.conf, then restart slurmctld");
    return 0;
}

static int read_qos(struct dbd *d, struct bt_err *err)
{
    slurmdb_qos_cond_t cond = {0};
    compat_list list;
    compat_iterator at;
    const slurmdb_qos_rec_t *q;

    errno = 0;
    list = slurmdb_qos_get(d->db, &cond);
    if (!list)
        return failed("list its QOS", err);
    at = slurm_list_iterator_create(list);
    while ((q = slurm_list_next(at)))
        if (is_ours(q->name)) {
            row_of(d, q->name)->cap = bound_of(q->grp_tres, d->gpu);
            bt_map_put(&d->qos_of, key_of(q->name), q->id);
        }
    slurm_list_iterator_destroy(at);
    slurm_list_destroy(list);
    return 0;
}

static void read_association(struct dbd *d, const slurmdb_assoc_rec_t *a)
{
    uint32_t qos = 0;
    struct fence_row *r;

    if (!is_ours(a->acct) || (a->partition && *a->partition))
        return;
    if (!a->user || !*a->user) {
        r = row_of(d, a->acct);
        r->there = true;
        r->own_qos = bt_map_get(&d->qos_of, key_of(a->acct), &qos) && a->def_qos_id == qos;
        return;
    }
    if (strlen(a->user) >= FENCE_USER)
        return;
    BT_GROW(d->rows, d->n, d->cap);
    r = &d->rows[d->n++];
    *r = (struct fence_row){.there = true};
    bt_copy(r->account, sizeof r->account, a->acct);
    bt_copy(r->user, sizeof r->user, a->user);
}

static compat_list list_of(void *one)
{
    compat_list list = slurm_list_create(NULL);

    slurm_list_append(list, one);
    return list;
}

static int read_associations(struct dbd *d, struct bt_err *err)
{
    slurmdb_assoc_cond_t cond = {.cluster_list = list_of(d->cluster)};
    compat_list list;
    compat_iterator at;
    const slurmdb_assoc_rec_t *a;

    errno = 0;
    list = slurmdb_associations_get(d->db, &cond);
    slurm_list_destroy(cond.cluster_list);
    if (!list)
        return failed("list its associations", err);
    at = slurm_list_iterator_create(list);
    while ((a = slurm_list_next(at)))
        read_association(d, a);
    slurm_list_iterator_destroy(at);
    slurm_list_destroy(list);
    return 0;
}

static int read_all(struct dbd *d, struct bt_err *err)
{
    int rc;

    d->n = 0;
    bt_map_done(&d->by_name);
    bt_map_done(&d->qos_of);
    rc = d->gpu ? 0 : find_gpu(d, err);
    if (rc == 0)
        rc = read_qos(d, err);
    return rc < 0 ? rc : read_associations(d, err);
}

/* ---- what is done ---- */

static int set_qos(struct dbd *d, const struct fence_item *i)
{
    char account[FENCE_NAME];
    char text[32];
    slurmdb_qos_rec_t q;
    slurmdb_qos_cond_t cond = {0};
    compat_list list;
    compat_list done;
    int rc;

    bt_copy(account, sizeof account, i->account);
    slurmdb_init_qos_rec(&q, false, NO_VAL);
    (void)snprintf(text, sizeof text, "%u=%" PRId64, d->gpu, i->cap);
    q.grp_tres = text;
    if (i->act == FENCE_ADD_QOS) {
        q.name = account;
        q.description = account;
        list = list_of(&q);
        rc = slurmdb_qos_add(d->db, list);
        slurm_list_destroy(list);
        return rc;
    }
    cond.name_list = list_of(account);
    done = slurmdb_qos_modify(d->db, &cond, &q);
    slurm_list_destroy(cond.name_list);
    if (done)
        slurm_list_destroy(done);
    return done ? 0 : -1;
}

/* An association with the account's own QOS, and nothing but it. */
static int put_association(struct dbd *d, const struct fence_item *i)
{
    char account[FENCE_NAME];
    char user[FENCE_USER];
    char root[] = "root";
    char id[16];
    uint32_t qos = 0;
    slurmdb_assoc_rec_t a;
    slurmdb_assoc_cond_t cond = {0};
    compat_list list;
    int rc;

    bt_copy(account, sizeof account, i->account);
    bt_copy(user, sizeof user, i->user);
    slurmdb_init_assoc_rec(&a, false);
    if (!bt_map_get(&d->qos_of, key_of(account), &qos))
        return -1;
    (void)snprintf(id, sizeof id, "%u", qos);
    if (i->act != FENCE_ADD_USER) {
        a.qos_list = list_of(id);
        a.def_qos_id = qos;
    }
    if (i->act == FENCE_SET_QOS) {
        cond.cluster_list = list_of(d->cluster);
        cond.acct_list = list_of(account);
        cond.user_list = list_of((char[]){""});
        list = slurmdb_associations_modify(d->db, &cond, &a);
        slurm_list_destroy(cond.cluster_list);
        slurm_list_destroy(cond.acct_list);
        slurm_list_destroy(cond.user_list);
        rc = list ? 0 : -1;
    } else {
        a.cluster = d->cluster;
        a.acct = account;
        if (*user)
            a.user = user;
        else
            a.parent_acct = root;
        list = list_of(&a);
        rc = slurmdb_associations_add(d->db, list);
    }
    if (list)
        slurm_list_destroy(list);
    if (a.qos_list)
        slurm_list_destroy(a.qos_list);
    return rc;
}

static int add_account(struct dbd *d, const struct fence_item *i)
{
    char account[FENCE_NAME];
    char organization[] = "beamtime";
    slurmdb_account_rec_t a = {
        .name = account, .description = account, .organization = organization};
    compat_list list = list_of(&a);
    int rc;

    bt_copy(account, sizeof account, i->account);
    rc = slurmdb_accounts_add(d->db, list);
    slurm_list_destroy(list);
    return rc ? rc : put_association(d, i);
}

static int add_user(struct dbd *d, const struct fence_item *i)
{
    char account[FENCE_NAME];
    char user[FENCE_USER];
    slurmdb_user_rec_t u = {
        .name = user, .default_acct = account, .admin_level = SLURMDB_ADMIN_NOTSET};
    compat_list list = list_of(&u);
    int rc;

    bt_copy(account, sizeof account, i->account);
    bt_copy(user, sizeof user, i->user);
    rc = slurmdb_users_add(d->db, list);
    slurm_list_destroy(list);
    return rc ? rc : put_association(d, i);
}

static int act(struct dbd *d, const struct fence_item *i)
{
    switch (i->act) {
    case FENCE_ADD_ACCOUNT:
        return add_account(d, i);
    case FENCE_ADD_QOS:
    case FENCE_SET_CAP:
        return set_qos(d, i);
    case FENCE_SET_QOS:
        return put_association(d, i);
    case FENCE_ADD_USER:
        return add_user(d, i);
    case FENCE_NOTHING:
        break;
    }
    return 0;
}

/* QOS first, since accounts are made with theirs: one transaction each. */
static int do_items(struct dbd *d, const struct fence_item *items, size_t n, bool qos,
                    struct bt_err *err)
{
    bool any = false;

    for (size_t i = 0; i < n; i++) {
        bool is_qos = items[i].act == FENCE_ADD_QOS || items[i].act == FENCE_SET_CAP;

        if (is_qos != qos || items[i].act == FENCE_NOTHING)
            continue;
        any = true;
        errno = 0;
        if (act(d, &items[i]) != 0) {
            int rc = failed("change an association", err);

            (void)slurmdb_connection_commit(d->db, false);
            return rc;
        }
    }
    errno = 0;
    if (any && slurmdb_connection_commit(d->db, true) != 0)
        return failed("keep the change", err);
    return 0;
}

static int mend(struct dbd *d, const struct fence_item *items, size_t n, struct bt_err *err)
{
    int rc = do_items(d, items, n, true, err);

    if (rc == 0)
        rc = read_qos(d, err); /* the numbers of the new ones */
    return rc < 0 ? rc : do_items(d, items, n, false, err);
}

/* ---- the call ---- */

/* Whether what is made there is looked at when a job is submitted. */
static int check_conf(struct dbd *d, struct wire_fenced *ret, struct bt_err *err)
{
    slurm_conf_t *conf = NULL;
    int all = ENFORCE_ASSOCIATIONS | ENFORCE_LIMITS | ENFORCE_QOS;
    int rc = 0;

    errno = 0;
    if (slurm_load_ctl_conf(0, &conf) != 0)
        return cluster_failed("show its configuration", err);
    bt_copy(d->cluster, sizeof d->cluster, conf->cluster_name ? conf->cluster_name : "");
    ret->enforced = (conf->accounting_storage_enforce & all) == all;
    if (!conf->accounting_storage_type ||
        !bt_streq(conf->accounting_storage_type, "accounting_storage/slurmdbd"))
        rc = bt_next(err, bt_fail(err, BT_ERR_UNSUPPORTED, "this cluster has no slurmdbd"),
                     "AccountingStorageType=accounting_storage/slurmdbd, or site add … without "
                     "--fence");
    compat_free_conf(conf);
    return rc;
}

static int round_of(struct dbd *d, bool apply, struct fence_row *want, size_t n_want,
                    struct wire_fenced *ret, struct bt_err *err)
{
    struct fence_item *items;
    size_t n;
    int rc = read_all(d, err);

    if (rc < 0)
        return rc;
    items = fence_compare(want, n_want, d->rows, d->n, &n);
    if (apply && n) {
        rc = mend(d, items, n, err);
        ret->n_done = (int64_t)n;
        bt_free(items);
        items = NULL;
        if (rc == 0)
            rc = read_all(d, err);
        if (rc == 0)
            items = fence_compare(want, n_want, d->rows, d->n, &n);
        if (rc == 0)
            ret->n_done -= (int64_t)n;
    }
    ret->items = items;
    ret->n = rc == 0 ? n : 0;
    return rc;
}

int cluster_fence(void *arg, bool apply, struct fence_row *want, size_t n_want,
                  struct wire_fenced *ret, struct bt_err *err)
{
    struct dbd d = {.db = NULL};
    uint16_t flags = 0;
    int rc = check_conf(&d, ret, err);

    (void)arg;
    if (rc < 0)
        return rc;
    errno = 0;
    d.db = slurmdb_connection_get(&flags);
    rc = d.db ? round_of(&d, apply, want, n_want, ret, err) : failed("answer", err);
    if (d.db)
        (void)slurmdb_connection_close(&d.db);
    bt_map_done(&d.by_name);
    bt_map_done(&d.qos_of);
    bt_free(d.rows);
    return rc;
}
