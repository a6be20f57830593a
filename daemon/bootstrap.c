/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/bootstrap.h"

#include <ctype.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"

enum { SECRET_BYTES = 32, TOKEN_TEXT = 2 * SECRET_BYTES + 1, TOKEN_DAYS = 30 };
#define COUNCIL "council"
#define CHAIR "chair"

void bootstrap_node_name(char ret[64])
{
    char host[256] = "";

    if (gethostname(host, sizeof host - 1) < 0)
        host[0] = '\0';
    host[strcspn(host, ".")] = '\0';
    for (char *c = host; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    bt_copy(ret, 64, bt_is_name(host, 63) ? host : "n1");
}

static struct event *admin(enum admin_op op)
{
    struct event *ev = event_new(EV_ADMIN);

    ev->who.kind = WHO_INSIDE;
    ev->u.admin.op = op;
    ev->u.admin.id = bt_uuid_new(bt_now_us());
    return ev;
}

static int make_council(const struct bootstrap *b, struct bt_err *err)
{
    struct event *ev = admin(ADMIN_NATION);
    int rc;

    bt_copy(ev->u.admin.nation, sizeof ev->u.admin.nation, COUNCIL);
    bt_copy(ev->u.admin.name, sizeof ev->u.admin.name, "The council of nations");
    rc = pki_nation(b->pki, COUNCIL, bt_now_us(), ev->u.admin.spki, err);
    if (rc < 0) {
        event_free(ev);
        return rc;
    }
    rc = b->do_event(b->arg, ev, err);
    if (rc < 0)
        return rc;
    ev = admin(ADMIN_PERSON);
    bt_copy(ev->u.admin.nation, sizeof ev->u.admin.nation, COUNCIL);
    bt_copy(ev->u.admin.person, sizeof ev->u.admin.person, CHAIR);
    bt_copy(ev->u.admin.name, sizeof ev->u.admin.name, "Chair of the council");
    ev->u.admin.roles = ROLE_COUNCIL | ROLE_OPERATOR;
    return b->do_event(b->arg, ev, err);
}

static int make_site(const struct bootstrap *b, struct bt_err *err)
{
    struct event *ev = admin(ADMIN_SITE);
    int rc;

    bt_copy(ev->u.admin.site, sizeof ev->u.admin.site, b->site);
    bt_copy(ev->u.admin.kind, sizeof ev->u.admin.kind, "local");
    ev->u.admin.tier = 1; /* an ordinary machine: nothing that needs supervision */
    ev->u.admin.until_us = bt_now_us() + INT64_C(1825) * 86400 * BT_US_PER_S;
    rc = b->do_event(b->arg, ev, err);
    if (rc < 0)
        return rc;
    ev = admin(ADMIN_RATE);
    bt_copy(ev->u.admin.class, sizeof ev->u.admin.class, "cpu");
    ev->u.admin.rate_milli = 1000; /* where there is nothing else, a core is the reference */
    ev->u.admin.peak_gflops = 250; /* AVX-512 at 2.8 GHz: 227, float32, one core */
    return b->do_event(b->arg, ev, err);
}

static int make_token(const struct bootstrap *b, const char *kind, const char *nation,
                      const char *subject, char text[TOKEN_TEXT], struct bt_err *err)
{
    struct event *ev = admin(ADMIN_TOKEN);
    uint8_t secret[SECRET_BYTES];

    bt_random(secret, sizeof secret);
    bt_hex(secret, sizeof secret, text);
    bt_wipe(secret, sizeof secret);
    bt_copy(ev->u.admin.kind, sizeof ev->u.admin.kind, kind);
    bt_copy(ev->u.admin.nation, sizeof ev->u.admin.nation, nation);
    bt_copy(ev->u.admin.subject, sizeof ev->u.admin.subject, subject);
    bt_sha256(text, strlen(text), ev->u.admin.secret_sha256);
    ev->u.admin.until_us = bt_now_us() + INT64_C(86400) * TOKEN_DAYS * BT_US_PER_S;
    return b->do_event(b->arg, ev, err);
}

static int write_token(const struct bootstrap *b, const char *name, const char *text,
                       struct bt_err *err)
{
    BT_AUTO char *path = bt_printf("%s/%s.token", b->state_dir, name);
    BT_AUTO char *line = bt_printf("%s\n", text);
    int rc = bt_file_write(path, 0600, line, strlen(line), err);

    bt_wipe(line, strlen(line));
    return rc;
}

int bootstrap_facility(const struct bootstrap *b, struct bt_err *err)
{
    BT_AUTO char *done = bt_printf("%s/council.token", b->state_dir);
    char council[TOKEN_TEXT];
    char agent[TOKEN_TEXT];
    char node[64];
    int rc;

    if (access(done, F_OK) == 0)
        return 0;
    bootstrap_node_name(node);
    rc = make_council(b, err);
    if (rc == 0)
        rc = make_site(b, err);
    if (rc == 0)
        rc = make_token(b, "agent", "", node, agent, err);
    if (rc == 0)
        rc = make_token(b, "person", COUNCIL, CHAIR, council, err);
    if (rc == 0)
        rc = write_token(b, "agent", agent, err);
    if (rc == 0)
        rc = write_token(b, "council", council, err);
    bt_wipe(agent, sizeof agent);
    bt_wipe(council, sizeof council);
    return rc;
}
