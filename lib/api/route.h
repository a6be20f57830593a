/* route.h - which request a method and a path mean, and what its path says (routes.def).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_API_ROUTE_H
#define BT_API_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/err.h"

enum route_id {
#define ROUTE(name, ...) ROUTE_##name,
#include "lib/api/routes.def"
#undef ROUTE
    N_ROUTES
};

enum route_access {
    ACCESS_PUBLIC,
    ACCESS_ENROL,
    ACCESS_PERSON,
    ACCESS_OPERATOR,
    ACCESS_AGENT,
    ACCESS_HELPER
};

struct route {
    enum route_id id;
    const char *method;
    const char *pattern;
    enum route_access access;
    const char *request; /* schema names, see routes.def */
    const char *reply;
    const char *name; /* "JOB_SUBMIT" */
    const char *summary;
};

extern const struct route routes[N_ROUTES];

enum { ROUTE_PARAMS = 2, ROUTE_PARAM_MAX = 512 };

struct route_match {
    const struct route *route;
    char *param[ROUTE_PARAMS]; /* in the pattern's order, not empty; owned; NULL: no such */
};

void route_match_done(struct route_match *m);

/* Finds the route of `method` and the decoded `path`, among the public ones if `public`, else among
 * the others. HEAD finds a GET where it has no route of its own. Params with control
 * characters, and "." or ".." as a segment, match nothing. BT_ERR_NOT_FOUND; BT_ERR_METHOD when
 * only the method is wrong, naming those that exist. On success *ret is to be released. */
int route_find(const char *method, const char *path, bool public, struct route_match *ret,
               struct bt_err *err) BT_MUSTUSE;

/* The methods that exist for the path, "GET, POST", into out; "" if none. */
void route_allowed(const char *path, bool public, char *out, size_t size);

#endif
