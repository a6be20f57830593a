/* A helper that runs at its site: it calls, its bytes come and go in requests, and to the driver
 * it is a helper like another. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the site sends lies in remote.in until the driver's thread takes it, what the driver says
 * in remote.out until the site's next request. A session is as long as one helper lives. Whatever
 * breaks ends it: then what was asked is in doubt, as after the death of a helper beside the
 * daemon.
 */
#include <string.h>

#include "daemon/clusters/slurm_set.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

enum {
    GONE_US = 45000000,           /* not heard for so long: a long poll and some */
    HELD_MAX = 2 * WIRE_MAX + 64, /* of bytes that wait, a direction */
};

/* The lock is held. */
static void close_session(struct remote *r)
{
    r->open = false;
    bt_buf_clear(&r->in);
    bt_buf_clear(&r->out);
}

/* ---- for the driver's thread ---- */

bool remote_waits(struct driver *d)
{
    bool waits;

    pthread_mutex_lock(&d->lock);
    waits = d->remote.open && !bt_uuid_eq(d->remote.session, d->helper.session);
    pthread_mutex_unlock(&d->lock);
    return waits;
}

int remote_start(struct driver *d, struct bt_err *err)
{
    struct helper *h = &d->helper;
    bool open;

    pthread_mutex_lock(&d->lock);
    open = d->remote.open && !bt_uuid_eq(d->remote.session, h->session);
    if (open)
        h->session = d->remote.session;
    pthread_mutex_unlock(&d->lock);
    if (!open)
        return bt_next(err,
                       bt_fail(err, BT_ERR_UNREACHABLE, "the helper at the site is not connected"),
                       "at the site: beamtime-agent helper /etc/slurm/slurm.conf");
    h->pid = REMOTE;
    h->fd = h->err = -1;
    h->words[0] = '\0';
    return 0;
}

void remote_end(struct driver *d)
{
    pthread_mutex_lock(&d->lock);
    if (bt_uuid_eq(d->remote.session, d->helper.session))
        close_session(&d->remote);
    pthread_mutex_unlock(&d->lock);
    d->all->set.wake(d->all->set.arg, d->name);
}

/* Whether the session of the driver is still the site's. The lock is held. */
static int check(struct driver *d, struct bt_err *err)
{
    if (!d->remote.open || !bt_uuid_eq(d->remote.session, d->helper.session))
        return bt_fail(err, BT_ERR_IO, "the helper at the site came anew");
    if (bt_mono_us() - d->remote.heard_us > GONE_US)
        return bt_fail(err, BT_ERR_IO, "the helper at the site was not heard for %d s",
                       GONE_US / 1000000);
    return 0;
}

int remote_take(struct driver *d, struct bt_buf *to, struct bt_err *err)
{
    int rc;

    pthread_mutex_lock(&d->lock);
    rc = check(d, err);
    if (rc == 0 && d->remote.in.n) {
        bt_buf_add(to, d->remote.in.p, d->remote.in.n);
        bt_buf_clear(&d->remote.in);
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}

int remote_give(struct driver *d, struct bt_buf *from, struct bt_err *err)
{
    int rc;

    if (!from->n)
        return 0;
    pthread_mutex_lock(&d->lock);
    rc = check(d, err);
    if (rc == 0 && d->remote.out.n + from->n > HELD_MAX)
        rc = bt_fail(err, BT_ERR_IO, "the helper at the site takes nothing");
    if (rc == 0)
        bt_buf_add(&d->remote.out, from->p, from->n);
    pthread_mutex_unlock(&d->lock);
    bt_buf_clear(from);
    if (rc == 0)
        d->all->set.wake(d->all->set.arg, d->name);
    return rc;
}

/* ---- for the requests of the site ---- */

static struct driver *find(struct clusters *c, const char *site, struct bt_err *err)
{
    struct driver *d = clusters_driver(c, site);
    bool remote = false;

    if (d) {
        pthread_mutex_lock(&d->lock);
        remote = d->conf.remote && !bt_streq(d->state, "removed");
        pthread_mutex_unlock(&d->lock);
    }
    if (remote)
        return d;
    (void)bt_next(
        err, bt_fail(err, BT_ERR_NOT_FOUND, "there is no site '%.40s' with its own helper", site),
        "beamtime site add %.40s --remote", site);
    return NULL;
}

int clusters_attach(struct clusters *c, const char *site, const char *from,
                    struct bt_uuid *ret_session, struct bt_err *err)
{
    struct driver *d = find(c, site, err);

    if (!d)
        return -BT_ERR_NOT_FOUND;
    pthread_mutex_lock(&d->lock);
    close_session(&d->remote);
    d->remote.session = bt_uuid_new(bt_now_us());
    d->remote.open = true;
    d->remote.heard_us = bt_mono_us();
    d->remote.since_us = bt_now_us();
    bt_copy(d->remote.from, sizeof d->remote.from, from);
    *ret_session = d->remote.session;
    pthread_mutex_unlock(&d->lock);
    clusters_wake(d);
    d->all->set.wake(d->all->set.arg, d->name); /* an earlier one hears that it is over */
    return 0;
}

/* Whether the request is of the present session. The lock is held. */
static int hear(struct driver *d, struct bt_uuid session, struct bt_err *err)
{
    if (!d->remote.open || !bt_uuid_eq(session, d->remote.session))
        return bt_fail(err, BT_ERR_FENCED, "this session of site %s is over", d->name);
    d->remote.heard_us = bt_mono_us();
    return 0;
}

int clusters_put(struct clusters *c, const char *site, struct bt_uuid session, const void *p,
                 size_t n, struct bt_err *err)
{
    struct driver *d = find(c, site, err);
    int rc;

    if (!d)
        return -BT_ERR_NOT_FOUND;
    pthread_mutex_lock(&d->lock);
    rc = hear(d, session, err);
    if (rc == 0 && d->remote.in.n + n > HELD_MAX)
        rc = bt_fail(err, BT_ERR_TOO_MANY, "site %s sends faster than it is heard", site);
    if (rc == 0 && n)
        bt_buf_add(&d->remote.in, p, n);
    pthread_mutex_unlock(&d->lock);
    clusters_wake(d);
    return rc;
}

int clusters_get(struct clusters *c, const char *site, struct bt_uuid session, struct bt_buf *to,
                 struct bt_err *err)
{
    struct driver *d = find(c, site, err);
    int rc;

    if (!d)
        return -BT_ERR_NOT_FOUND;
    pthread_mutex_lock(&d->lock);
    rc = hear(d, session, err);
    if (rc == 0 && d->remote.out.n) {
        bt_buf_add(to, d->remote.out.p, d->remote.out.n);
        bt_buf_clear(&d->remote.out);
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}

bool clusters_have(struct clusters *c, const char *site)
{
    struct driver *d = clusters_driver(c, site);
    bool has = true;

    if (d) {
        pthread_mutex_lock(&d->lock);
        has = !d->remote.open || d->remote.out.n;
        pthread_mutex_unlock(&d->lock);
    }
    return has;
}
