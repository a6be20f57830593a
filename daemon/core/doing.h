/* doing.h - one administrative change as it is worked on. Private to daemon/core.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_DAEMON_CORE_DOING_H
#define BT_DAEMON_CORE_DOING_H

#include "daemon/core/state.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/json/json.h"

struct doing {
    const struct ev_admin *e;
    struct actor actor;
    struct nation *nation; /* of e->nation; NULL when it names none */
    struct bt_err err;
    bool changed;
    const char *about;     /* whom the event names; NULL: what the request does */
    int64_t id;            /* number of what was changed; 0: it has none */
    struct bt_buf body;    /* of the reply */
    struct bt_buf missing; /* members of a refusal: what is wrong, all of it */
};

static inline bool has_role(const struct doing *d, int32_t roles)
{
    return (d->actor.roles & roles) != 0;
}

/* Replaces an owned text if it differs; "" in the request keeps what is there. */
static inline void set_text(struct doing *d, char **at, const char *text)
{
    if (!text[0] || bt_streq(*at, text))
        return;
    bt_free(*at);
    *at = bt_strdup(text);
    d->changed = true;
}

static inline void set_i64(struct doing *d, int64_t *at, int64_t v)
{
    d->changed |= *at != v;
    *at = v;
}

static inline void set_i32(struct doing *d, int32_t *at, int32_t v)
{
    d->changed |= *at != v;
    *at = v;
}

#define EMIT(c, kind, thing)                                                                  \
    row_copy(ROW_KIND_##kind,                                                                 \
             rows_put(&(c)->batch->rows, ROW_KIND_##kind, &(thing)->row.id, sizeof(int32_t)), \
             &(thing)->row)

/* audit.c */
void audit(struct core *c, const struct doing *d);

/* step_keys.c */
int do_token(struct core *c, struct doing *d);
int do_revoke(struct core *c, struct doing *d);

/* step_measure.c */
int do_measure(struct core *c, struct doing *d);

/* step_unixmap.c */
int do_unixmap(struct core *c, struct doing *d);
int do_unixmaps(struct core *c, struct doing *d);
void unixmaps_audit(struct json_writer *w, const struct ev_admin *e);

/* step_rights.c */
int do_guarantee(struct core *c, struct doing *d);
int do_outage(struct core *c, struct doing *d);

#endif
