/* Administration: each verb reads its JSON by a table into an EV_ADMIN.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>

#include "daemon/http/own.h"
#include "lib/base/enc.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"
#include "lib/crypto/sign.h"

/* What a verb may say; absent members keep these values. */
struct said {
    char nation[16];
    char institution[64];
    char project[JOB_PROJECT_MAX];
    char person[64];
    char subject[64];
    char site[32];
    char class[JOB_CLASS_MAX];
    char kind[16];
    char state[16];
    char name[128];
    char title[128];
    char role[16];
    char unixname[33];
    char reason[200];
    char nodes[128];
    const struct json *roles;
    int32_t tier;
    int64_t from_us;
    int64_t until_us;
    int64_t amount_mras;
    int64_t rate_milli;
    int64_t peak_gflops;
    uint8_t spki[32];
};

#define AT(member) offsetof(struct said, member)
#define NAME(member, required)                                                                 \
    {                                                                                          \
#member, JSON_F_NAME, AT(member), required, .size = sizeof(((struct said *)0)->member) \
    }
#define TEXT(member, required)                                                                 \
    {                                                                                          \
#member, JSON_F_TEXT, AT(member), required, .size = sizeof(((struct said *)0)->member) \
    }
#define UNTIL(required)                              \
    {                                                \
        "until", JSON_F_TIME, AT(until_us), required \
    }
#define TIER(required)                                             \
    {                                                              \
        "tier", JSON_F_I32, AT(tier), required, .min = 0, .max = 4 \
    }

static const struct json_field nation_fields[] = {NAME(nation, true), TEXT(name, false),
                                                  NAME(state, false)};
static const struct json_field institution_fields[] = {NAME(nation, true), NAME(institution, true),
                                                       TIER(false), UNTIL(false)};
static const struct json_field project_fields[] = {NAME(nation, true), NAME(project, true),
                                                   TEXT(title, false), TIER(false),
                                                   UNTIL(false),       NAME(state, false)};
static const struct json_field member_fields[] = {NAME(nation, false), NAME(person, true),
                                                  TEXT(role, true)};
static const struct json_field person_fields[] = {NAME(nation, true),
                                                  NAME(person, true),
                                                  TEXT(name, false),
                                                  NAME(institution, false),
                                                  {"roles", JSON_F_VALUE, AT(roles)},
                                                  NAME(state, false)};
static const struct json_field clearance_fields[] = {TIER(true), UNTIL(true)};
static const struct json_field token_fields[] = {NAME(kind, true), TEXT(nation, false),
                                                 NAME(subject, true), UNTIL(false)};
static const struct json_field revoke_fields[] = {
    NAME(nation, false), NAME(person, false), {"spki", JSON_F_HEX32, AT(spki)}};
static const struct json_field node_fields[] = {NAME(state, false), TEXT(reason, false),
                                                UNTIL(false), TIER(false)};
static const struct json_field rate_fields[] = {
    NAME(class, true),
    {"rate_milli", JSON_F_I64, AT(rate_milli), true, .min = 0, .max = 1000000},
    {"peak_gflops", JSON_F_I64, AT(peak_gflops), true, .min = 1, .max = INT64_C(1000000000)},
    {"from", JSON_F_TIME, AT(from_us)}};
static const struct json_field guarantee_fields[] = {
    NAME(nation, true),
    {"accelerators", JSON_F_I64, AT(amount_mras), true, .min = 0, .max = INT32_MAX},
    {"from", JSON_F_TIME, AT(from_us)},
    UNTIL(false)};
static const struct json_field outage_fields[] = {
    {"id", JSON_F_I64, AT(amount_mras), .min = 0, .max = INT32_MAX},
    NAME(state, false),
    NAME(kind, false),
    NAME(name, false),
    NAME(nation, false),
    NAME(project, false),
    TEXT(nodes, false),
    TEXT(reason, false),
    {"from", JSON_F_TIME, AT(from_us)},
    UNTIL(false)};
static const struct json_field unixmap_fields[] = {NAME(nation, true), NAME(person, true),
                                                   NAME(site, true), NAME(unixname, true)};
static const struct json_field quota_fields[] = {
    NAME(nation, true),
    NAME(project, false),
    NAME(person, false),
    {"granted_mras", JSON_F_DECIMAL, AT(amount_mras), true, .min = 0,
     .max = INT64_C(3000000000000000000)},
    {"from", JSON_F_TIME, AT(from_us)},
    UNTIL(false),
};

static const struct {
    const char *name;
    int32_t bit;
} role_names[] = {
    {"researcher", ROLE_RESEARCHER},     {"lead", ROLE_LEAD},
    {"nation_admin", ROLE_NATION_ADMIN}, {"nation-admin", ROLE_NATION_ADMIN},
    {"operator", ROLE_OPERATOR},         {"council", ROLE_COUNCIL},
    {"reviewer", ROLE_REVIEWER},
};

static int read_roles(const struct json *list, int32_t *ret, struct bt_err *err)
{
    *ret = 0;
    for (size_t i = 0; i < json_len(list); i++) {
        const char *name = json_str(json_at(list, i), "");
        int32_t bit = 0;

        for (size_t k = 0; k < BT_ARRAY_LEN(role_names); k++)
            if (!strcmp(role_names[k].name, name))
                bit = role_names[k].bit;
        if (!bit)
            return bt_fail(err, BT_ERR_INVALID, "'%.40s' is not a role", name);
        *ret |= bit;
    }
    return 0;
}

static void fill(struct ev_admin *a, const struct said *s)
{
    bt_copy(a->nation, sizeof a->nation, s->nation);
    bt_copy(a->institution, sizeof a->institution, s->institution);
    bt_copy(a->project, sizeof a->project, s->project);
    bt_copy(a->person, sizeof a->person, s->person);
    bt_copy(a->subject, sizeof a->subject, s->subject);
    bt_copy(a->site, sizeof a->site, s->site);
    bt_copy(a->class, sizeof a->class, s->class);
    bt_copy(a->kind, sizeof a->kind, s->kind);
    bt_copy(a->state, sizeof a->state, s->state);
    bt_copy(a->name, sizeof a->name, s->name[0] ? s->name : s->title);
    bt_copy(a->text, sizeof a->text, s->role[0] ? s->role : s->nodes[0] ? s->nodes : s->unixname);
    bt_copy(a->reason, sizeof a->reason, s->reason);
    a->tier = s->tier;
    a->from_us = s->from_us;
    a->until_us = s->until_us;
    a->amount_mras = s->amount_mras;
    a->rate_milli = s->rate_milli;
    a->peak_gflops = s->peak_gflops;
    memcpy(a->spki, s->spki, 32);
}

/* Of what is asked for, wherever in the request it stands. */
static void digest_of(const struct call *c, enum admin_op op, uint8_t ret[32])
{
    BT_BUF_AUTO struct bt_buf what = {0};
    size_t n;
    const char *body = serve_body(c->r, &n);

    bt_buf_printf(&what, "%d\n", (int)op);
    for (size_t i = 0; i < ROUTE_PARAMS && c->match.param[i]; i++)
        bt_buf_printf(&what, "%s\n", c->match.param[i]);
    bt_buf_add(&what, body ? body : "", n);
    bt_sha256(what.p, what.n, ret);
}

void admin_post(struct call *c, struct event *ev, enum admin_op op, int rc, struct bt_err *err)
{
    if (rc < 0) {
        event_free(ev);
        http_fail(c, err);
        return;
    }
    digest_of(c, op, ev->u.admin.body_sha256);
    ev->u.admin.op = op;
    http_post(c, ev, NULL);
}

/* The event of a verb, or NULL after the call was answered. */
static struct event *begin(struct call *c, enum admin_op op, const struct json_field *fields,
                           size_t n, struct said *s)
{
    struct event *ev = http_event(c, EV_ADMIN);
    struct ev_admin *a = &ev->u.admin;
    const char *dry = serve_query(c->r, "dry_run");
    struct bt_err err = {0};
    int rc = json_read(c->body, fields, n, s, &err);

    if (rc == 0)
        rc = http_request_id(c, &a->id, &err);
    if (rc == 0 && s->roles)
        rc = read_roles(s->roles, &a->roles, &err);
    if (rc < 0) {
        event_free(ev);
        http_fail(c, &err);
        return NULL;
    }
    digest_of(c, op, a->body_sha256);
    a->op = op;
    a->dry_run = dry && bt_streq(dry, "1");
    fill(a, s);
    return ev;
}

#define BEGIN(op, fields) begin(c, op, fields, BT_ARRAY_LEN(fields), &s)

void admin_nation(struct call *c)
{
    struct said s = {.tier = -1};
    struct event *ev = BEGIN(ADMIN_NATION, nation_fields);
    struct bt_err err = {0};

    if (!ev)
        return;
    /* Only the council may; an authority made for a request that is then refused does no harm,
     * but is not made for just anybody. */
    if ((c->who.roles & ROLE_COUNCIL) &&
        pki_nation(c->h->set.pki, s.nation, bt_now_us(), ev->u.admin.spki, &err) < 0) {
        event_free(ev);
        http_fail(c, &err);
        return;
    }
    http_post(c, ev, NULL);
}

static void simple(struct call *c, enum admin_op op, const struct json_field *fields, size_t n)
{
    struct said s = {.tier = -1};
    struct event *ev = begin(c, op, fields, n, &s);

    if (ev)
        http_post(c, ev, NULL);
}

void admin_institution(struct call *c)
{
    simple(c, ADMIN_INSTITUTION, institution_fields, BT_ARRAY_LEN(institution_fields));
}

void admin_project(struct call *c)
{
    simple(c, ADMIN_PROJECT, project_fields, BT_ARRAY_LEN(project_fields));
}

void admin_person(struct call *c)
{
    simple(c, ADMIN_PERSON, person_fields, BT_ARRAY_LEN(person_fields));
}

void admin_revoke(struct call *c)
{
    simple(c, ADMIN_REVOKE, revoke_fields, BT_ARRAY_LEN(revoke_fields));
}

void admin_rate(struct call *c)
{
    simple(c, ADMIN_RATE, rate_fields, BT_ARRAY_LEN(rate_fields));
}

void admin_guarantee(struct call *c)
{
    simple(c, ADMIN_GUARANTEE, guarantee_fields, BT_ARRAY_LEN(guarantee_fields));
}

void admin_outage(struct call *c)
{
    simple(c, ADMIN_OUTAGE, outage_fields, BT_ARRAY_LEN(outage_fields));
}

void admin_unixmap(struct call *c)
{
    simple(c, ADMIN_UNIXMAP, unixmap_fields, BT_ARRAY_LEN(unixmap_fields));
}

void admin_quota(struct call *c)
{
    simple(c, ADMIN_QUOTA, quota_fields, BT_ARRAY_LEN(quota_fields));
}

void admin_member(struct call *c)
{
    struct said s = {.tier = -1};
    struct event *ev = BEGIN(ADMIN_MEMBER, member_fields);

    if (!ev)
        return;
    bt_copy(ev->u.admin.person_nation, sizeof ev->u.admin.person_nation, s.nation);
    bt_copy(ev->u.admin.nation, sizeof ev->u.admin.nation, c->match.param[0]);
    bt_copy(ev->u.admin.project, sizeof ev->u.admin.project, c->match.param[1]);
    http_post(c, ev, NULL);
}

void admin_clearance(struct call *c)
{
    struct said s = {.tier = -1};
    struct event *ev = BEGIN(ADMIN_CLEARANCE, clearance_fields);

    if (!ev)
        return;
    bt_copy(ev->u.admin.nation, sizeof ev->u.admin.nation, c->match.param[0]);
    bt_copy(ev->u.admin.person, sizeof ev->u.admin.person, c->match.param[1]);
    http_post(c, ev, NULL);
}

void admin_node(struct call *c)
{
    struct said s = {.tier = -1};
    struct event *ev = BEGIN(ADMIN_NODE, node_fields);

    if (!ev)
        return;
    bt_copy(ev->u.admin.node, sizeof ev->u.admin.node, c->match.param[0]);
    http_post(c, ev, NULL);
}

static const struct json_field measure_fields[] = {NAME(kind, false)};

void admin_measure(struct call *c)
{
    struct said s = {.tier = -1};
    struct event *ev = BEGIN(ADMIN_MEASURE, measure_fields);

    if (!ev)
        return;
    bt_copy(ev->u.admin.node, sizeof ev->u.admin.node, c->match.param[0]);
    http_post(c, ev, NULL);
}

/* ---- tokens: the secret is made here, the core sees only its digest ---- */

enum { TOKEN_LIFE_S = 86400 };

struct secret {
    char text[65];
    int64_t expires_us;
};

static void wipe_secret(void *data)
{
    bt_wipe(data, sizeof(struct secret));
    bt_free(data);
}

/* The same for the same request, so that a repeated one is answered as it was; nobody without the
 * facility's key can make it from the id. */
static int secret_make(struct call *c, struct bt_uuid id, char ret[65], struct bt_err *err)
{
    uint8_t what[48] = "beamtime: token of a request, v1";
    uint8_t signature[SIGN_SIZE], digest[BT_SHA256_SIZE];
    int rc;

    memcpy(what + sizeof what - sizeof id.b, id.b, sizeof id.b);
    rc = sign_bytes(pki_log_key(c->h->set.pki), what, sizeof what, signature, err);
    if (rc < 0)
        return rc;
    bt_sha256(signature, sizeof signature, digest);
    bt_hex(digest, sizeof digest, ret);
    bt_wipe(signature, sizeof signature);
    bt_wipe(digest, sizeof digest);
    return 0;
}

static void token_made(struct call *c, const struct reply *r)
{
    const struct secret *s = c->data;
    struct bt_buf body = {0};
    struct json_writer w = {.to = &body};

    if (r->err.code) {
        http_answer(c, r);
        return;
    }
    jw_object(&w, NULL);
    jw_str(&w, "token", s->text);
    jw_time(&w, "expires_at", s->expires_us);
    jw_end_object(&w);
    serve_json(c->r, 201, body.p, body.n);
}

void admin_token(struct call *c)
{
    static const char *const kinds[] = {"person", "agent", "helper", "operator"};
    struct said s = {.tier = -1};
    struct event *ev = BEGIN(ADMIN_TOKEN, token_fields);
    struct secret *secret;
    bool known = false;
    struct bt_err err;

    if (!ev)
        return;
    for (size_t i = 0; i < BT_ARRAY_LEN(kinds); i++)
        known |= bt_streq(s.kind, kinds[i]);
    if (!known) {
        event_free(ev);
        bt_fail(&err, BT_ERR_INVALID, "a token is for a person, agent, helper or operator");
        http_fail(c, &err);
        return;
    }
    if (!bt_streq(s.kind, "person"))
        ev->u.admin.nation[0] = '\0';
    secret = bt_new(struct secret);
    c->data = secret;
    c->drop_data = wipe_secret;
    if (secret_make(c, ev->u.admin.id, secret->text, &err) < 0) {
        event_free(ev);
        http_fail(c, &err);
        return;
    }
    secret->expires_us =
        s.until_us ? s.until_us
                   : bt_uuid_time_us(ev->u.admin.id) + INT64_C(1) * TOKEN_LIFE_S * BT_US_PER_S;
    ev->u.admin.until_us = secret->expires_us;
    bt_sha256(secret->text, 64, ev->u.admin.secret_sha256);
    http_post(c, ev, token_made);
}
