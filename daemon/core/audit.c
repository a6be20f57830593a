/* audit.c - a change by an administrator as its event tells it: what was asked for, by the names
 * that the API has for it. Never a token's secret.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stddef.h>
#include <string.h>

#include "daemon/core/doing.h"

#define YEAR_10000_US INT64_C(253402300800000000) /* "for ever" has no date */
#define ALL (~UINT32_C(0))
#define OP(op) (UINT32_C(1) << ADMIN_##op)

static const struct {
    const char *name;
    size_t at;
    enum { A_TEXT, A_OWNED, A_I32, A_I64, A_DECIMAL, A_TIME, A_DIGEST, A_JSON } kind;
    uint32_t ops; /* those in which it means this */
} members[] = {
#define MEMBER(name, member, kind, ops)                    \
    {                                                      \
        name, offsetof(struct ev_admin, member), kind, ops \
    }
    MEMBER("nation", nation, A_TEXT, ALL),
    MEMBER("institution", institution, A_TEXT, ALL),
    MEMBER("project", project, A_TEXT, ALL),
    MEMBER("person_nation", person_nation, A_TEXT, ALL),
    MEMBER("person", person, A_TEXT, ALL),
    MEMBER("kind", kind, A_TEXT, ALL),
    MEMBER("subject", subject, A_TEXT, ALL),
    MEMBER("node", node, A_TEXT, ALL),
    MEMBER("site", site, A_TEXT, ALL),
    MEMBER("class", class, A_TEXT, ALL),
    MEMBER("title", name, A_TEXT, OP(PROJECT)),
    MEMBER("name", name, A_TEXT, ~OP(PROJECT)),
    MEMBER("nodes", text, A_TEXT, OP(OUTAGE)),
    MEMBER("unixname", text, A_TEXT, OP(UNIXMAP)),
    MEMBER("path", path, A_OWNED, ALL),
    MEMBER("conf", conf, A_JSON, ALL),
    MEMBER("state", state, A_TEXT, ALL),
    MEMBER("tier", tier, A_I32,
           OP(INSTITUTION) | OP(PROJECT) | OP(CLEARANCE) | OP(SITE) | OP(NODE)),
    MEMBER("granted_mras", amount_mras, A_DECIMAL, OP(QUOTA)),
    MEMBER("accelerators", amount_mras, A_I64, OP(GUARANTEE)),
    MEMBER("rate_milli", rate_milli, A_I64, OP(RATE)),
    MEMBER("peak_gflops", peak_gflops, A_I64, OP(RATE)),
    MEMBER("spki", spki, A_DIGEST, ~OP(DATASET)),
    MEMBER("digest", spki, A_DIGEST, OP(DATASET)),
    MEMBER("from", from_us, A_TIME, ALL),
    MEMBER("until", until_us, A_TIME, ALL),
    MEMBER("reason", reason, A_TEXT, ALL),
#undef MEMBER
};

static void write_member(struct json_writer *w, size_t i, const struct ev_admin *e)
{
    static const uint8_t none[32];
    const char *name = members[i].name;
    const void *at = (const char *)e + members[i].at;
    const char *const *owned = at;
    const int32_t *i32 = at;
    const int64_t *i64 = at;

    switch (members[i].kind) {
    case A_TEXT:
        if (*(const char *)at)
            jw_str(w, name, at);
        break;
    case A_OWNED:
        if (*owned && **owned)
            jw_str(w, name, *owned);
        break;
    case A_JSON:
        if (*owned)
            jw_raw(w, name, *owned);
        break;
    case A_I32:
        if (*i32 >= 0)
            jw_i64(w, name, *i32);
        break;
    case A_I64:
        jw_i64(w, name, *i64);
        break;
    case A_DECIMAL:
        jw_decimal(w, name, *i64);
        break;
    case A_TIME:
        if (*i64 > 0 && *i64 < YEAR_10000_US)
            jw_time(w, name, *i64);
        break;
    case A_DIGEST:
        if (memcmp(at, none, sizeof none) != 0)
            jw_hex(w, name, at, sizeof none);
        break;
    }
}

void roles_write(struct json_writer *w, int32_t roles)
{
    static const char *const names[] = {"researcher", "lead",    "nation_admin",
                                        "operator",   "council", "reviewer"};

    jw_array(w, "roles");
    for (size_t i = 0; i < BT_ARRAY_LEN(names); i++)
        if (roles & 1 << i)
            jw_str(w, NULL, names[i]);
    jw_end_array(w);
}

/* What `beamtime audit --subject` asks for. */
static const char *subject_of(const struct doing *d)
{
    const struct ev_admin *e = d->e;
    const char *const first[] = {e->project, e->person,      e->node, e->name,
                                 e->subject, e->institution, e->site, e->class};

    if (d->about || e->op == ADMIN_NATION)
        return d->about ? d->about : e->nation;
    for (size_t i = 0; i < BT_ARRAY_LEN(first); i++)
        if (first[i][0])
            return first[i];
    return e->nation;
}

void audit(struct core *c, const struct doing *d)
{
    static const char *const names[ADMIN_OPS] = {
        [ADMIN_NATION] = "nation",       [ADMIN_INSTITUTION] = "institution",
        [ADMIN_PROJECT] = "project",     [ADMIN_PERSON] = "person",
        [ADMIN_CLEARANCE] = "clearance", [ADMIN_MEMBER] = "member",
        [ADMIN_QUOTA] = "quota",         [ADMIN_TOKEN] = "token",
        [ADMIN_REVOKE] = "revoke",       [ADMIN_NODE] = "node",
        [ADMIN_RATE] = "rate",           [ADMIN_SITE] = "site",
        [ADMIN_UNIXMAP] = "unixmap",     [ADMIN_GUARANTEE] = "guarantee",
        [ADMIN_OUTAGE] = "outage",       [ADMIN_MEASURE] = "measure",
        [ADMIN_UNIXMAPS] = "unixmaps",   [ADMIN_DATASET] = "dataset",
    };
    struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    const struct ev_admin *e = d->e;

    jw_object(&w, NULL);
    if (d->id)
        jw_i64(&w, "id", d->id);
    for (size_t i = 0; i < BT_ARRAY_LEN(members); i++)
        if (members[i].ops & UINT32_C(1) << e->op)
            write_member(&w, i, e);
    if (e->op == ADMIN_MEMBER) /* "" removes */
        jw_str(&w, "role", e->text);
    if (e->roles)
        roles_write(&w, e->roles);
    unixmaps_audit(&w, e);
    jw_end_object(&w);
    emit_event(c, names[e->op], d->actor.text, subject_of(d), bt_buf_take(&body));
}
