/* A site that is only observed: its queue goes to the observer, its comparisons into a file.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <fcntl.h>
#include <unistd.h>

#include "daemon/clusters/slurm_set.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/time.h"

enum { FILE_MAX = 64 << 20 }; /* 400,000 comparisons; an older file than that begins anew */

static char *path_of(const struct driver *d)
{
    return bt_printf("%s/observed/%s.jsonl", d->all->set.dir, d->name);
}

void watch_load(struct driver *d)
{
    BT_AUTO char *path = path_of(d);
    BT_BUF_AUTO struct bt_buf text = {0};
    struct bt_err err = {0};
    int rc;

    if (d->observer_loaded)
        return;
    d->observer_loaded = true;
    rc = bt_file_read(path, FILE_MAX, &text, &err);
    if (rc < 0 && rc != -BT_ERR_NOT_FOUND)
        bt_log_err(BT_WARN, "observations-not-read", &err);
    if (rc < 0 || !text.n)
        return;
    pthread_mutex_lock(&d->lock);
    observe_load(&d->observer, text.p, text.n);
    pthread_mutex_unlock(&d->lock);
}

/* What is lost here is a line of a report: no reason to stop. */
static void append(const struct driver *d, const struct bt_buf *lines)
{
    BT_AUTO char *dir = bt_printf("%s/observed", d->all->set.dir);
    BT_AUTO char *path = path_of(d);
    struct bt_err err = {0};
    int rc = bt_mkdirs(dir, 0700, &err);
    BT_FD_AUTO int fd = rc < 0 ? -1 : open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

    if (rc == 0 && fd < 0)
        rc = bt_fail_errno(&err, BT_ERR_IO, "cannot write %s", path);
    if (rc == 0)
        rc = bt_write_all(fd, lines->p, lines->n, &err);
    if (rc < 0)
        bt_log_err(BT_WARN, "observations-not-kept", &err);
}

void watch_queue(struct driver *d, const struct wire_reply *r)
{
    struct wire_node *nodes = bt_new_n(struct wire_node, d->n_nodes + 1);
    BT_BUF_AUTO struct bt_buf lines = {0};

    watch_load(d);
    for (size_t i = 0; i < d->n_nodes; i++)
        nodes[i] = d->nodes[i].node;
    pthread_mutex_lock(&d->lock);
    observe_list(&d->observer, nodes, d->n_nodes, r->queue, r->n, bt_now_us());
    observe_new(&d->observer, &lines);
    pthread_mutex_unlock(&d->lock);
    bt_free(nodes);
    if (lines.n)
        append(d, &lines);
}
