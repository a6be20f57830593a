/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/api/openapi.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "lib/api/route.h"
#include "lib/base/str.h"
#include "lib/json/json.h"

struct member {
    const char *name, *type; /* type NULL: the row begins a schema */
    int required;
    const char *text;
};

static const struct member rows[] = {
#define SCHEMA(name, text) {name, NULL, 0, text},
#define M(name, type, required, text) {name, type, required, text},
#include "lib/api/schemas.def"
#undef M
#undef SCHEMA
};

static void ref(struct json_writer *w, const char *schema)
{
    char at[96];

    snprintf(at, sizeof at, "#/components/schemas/%s", schema);
    jw_str(w, "$ref", at);
}

static void type_is(struct json_writer *w, const char *type, bool or_null)
{
    if (!or_null) {
        jw_str(w, "type", type);
        return;
    }
    jw_array(w, "type");
    jw_str(w, NULL, type);
    jw_str(w, NULL, "null");
    jw_end_array(w);
}

/* The members of a type's own schema object. */
static void type_write(struct json_writer *w, const char *type)
{
    static const struct {
        const char *name, *type, *format, *pattern;
    } simple[] = {
        {"string", "string", NULL, NULL},          {"uuid", "string", "uuid", NULL},
        {"time", "string", "date-time", NULL},     {"integer", "integer", "int64", NULL},
        {"number", "number", NULL, NULL},          {"boolean", "boolean", NULL, NULL},
        {"decimal", "string", NULL, "^-?[0-9]+$"}, {"hex", "string", NULL, "^[0-9a-f]{64}$"},
    };
    char name[48];
    size_t n = strlen(type);
    bool or_null = type[n - 1] == '?';

    bt_copy(name, sizeof name, type);
    if (or_null)
        name[n - 1] = '\0';
    if (name[0] == '[') {
        name[strlen(name) - 1] = '\0';
        type_is(w, "array", or_null);
        jw_object(w, "items");
        type_write(w, name + 1);
        jw_end_object(w);
        return;
    }
    for (size_t i = 0; i < BT_ARRAY_LEN(simple); i++) {
        if (strcmp(name, simple[i].name) != 0)
            continue;
        type_is(w, simple[i].type, or_null);
        if (simple[i].format)
            jw_str(w, "format", simple[i].format);
        if (simple[i].pattern)
            jw_str(w, "pattern", simple[i].pattern);
        return;
    }
    if (strcmp(name, "any") != 0)
        ref(w, name);
}

static void schema_write(struct json_writer *w, const struct member *s, const struct member *end)
{
    const struct member *last = s + 1;

    while (last < end && last->type)
        last++;
    jw_object(w, s->name);
    jw_str(w, "type", "object");
    jw_str(w, "description", s->text);
    jw_object(w, "properties");
    for (const struct member *m = s + 1; m < last; m++) {
        jw_object(w, m->name);
        type_write(w, m->type);
        if (m->text[0])
            jw_str(w, "description", m->text);
        jw_end_object(w);
    }
    jw_end_object(w);
    jw_array(w, "required");
    for (const struct member *m = s + 1; m < last; m++)
        if (m->required)
            jw_str(w, NULL, m->name);
    jw_end_array(w);
    jw_end_object(w);
}

/* ---- paths ---- */

static void content_write(struct json_writer *w, const char *what)
{
    const char *type = !strcmp(what, "octets") ? "application/octet-stream"
                       : !strcmp(what, "html") ? "text/html"
                       : !strcmp(what, "text") ? "text/plain"
                                               : "application/json";

    jw_object(w, "content");
    jw_object(w, type);
    jw_object(w, "schema");
    if (!strcmp(what, "html") || !strcmp(what, "text"))
        jw_str(w, "type", "string");
    else if (strcmp(what, "octets") != 0)
        type_write(w, what);
    jw_end_object(w);
    jw_end_object(w);
    jw_end_object(w);
}

/* "/v1/x/{path+}" without the plus, which is ours alone. */
static void pattern_for_openapi(const char *pattern, char *out, size_t size)
{
    size_t n = 0;

    for (; *pattern && n + 1 < size; pattern++)
        if (*pattern != '+')
            out[n++] = *pattern;
    out[n] = '\0';
}

static void params_write(struct json_writer *w, const char *pattern)
{
    if (!strchr(pattern, '{'))
        return;
    jw_array(w, "parameters");
    for (const char *p = strchr(pattern, '{'); p; p = strchr(p + 1, '{')) {
        jw_object(w, NULL);
        jw_strn(w, "name", p + 1, strcspn(p + 1, "+}"));
        jw_str(w, "in", "path");
        jw_bool(w, "required", true);
        jw_object(w, "schema");
        jw_str(w, "type", "string");
        jw_end_object(w);
        jw_end_object(w);
    }
    jw_end_array(w);
}

static void responses_write(struct json_writer *w, const struct route *r)
{
    jw_object(w, "responses");
    jw_object(w, "2XX");
    jw_str(w, "description", "Done");
    if (r->reply[0])
        content_write(w, r->reply);
    jw_end_object(w);
    jw_object(w, "default");
    jw_str(w, "description", "What went wrong");
    jw_object(w, "content");
    jw_object(w, "application/problem+json");
    jw_object(w, "schema");
    ref(w, "Problem");
    jw_end_object(w);
    jw_end_object(w);
    jw_end_object(w);
    jw_end_object(w);
    jw_end_object(w);
}

static void operation_write(struct json_writer *w, const struct route *r)
{
    char name[16], id[64];
    size_t n = 0;

    for (n = 0; r->method[n] && n + 1 < sizeof name; n++)
        name[n] = (char)tolower((unsigned char)r->method[n]);
    name[n] = '\0';
    for (n = 0; r->name[n] && n + 1 < sizeof id; n++)
        id[n] = (char)tolower((unsigned char)r->name[n]);
    id[n] = '\0';
    jw_object(w, name);
    jw_str(w, "operationId", id);
    jw_str(w, "summary", r->summary);
    params_write(w, r->pattern);
    if (r->request[0]) {
        jw_object(w, "requestBody");
        jw_bool(w, "required", true);
        content_write(w, r->request);
        jw_end_object(w);
    }
    jw_array(w, "security");
    if (r->access != ACCESS_PUBLIC && r->access != ACCESS_ENROL) {
        jw_object(w, NULL);
        jw_array(w, r->access == ACCESS_AGENT || r->access == ACCESS_HELPER ? "agent" : "person");
        jw_end_array(w);
        jw_end_object(w);
    }
    jw_end_array(w);
    responses_write(w, r);
    jw_end_object(w);
}

static bool seen_before(int i)
{
    for (int k = 0; k < i; k++)
        if (!strcmp(routes[k].pattern, routes[i].pattern))
            return true;
    return false;
}

static void paths_write(struct json_writer *w)
{
    jw_object(w, "paths");
    for (int i = 0; i < N_ROUTES; i++) {
        char path[128];

        if (seen_before(i))
            continue;
        pattern_for_openapi(routes[i].pattern, path, sizeof path);
        jw_object(w, path);
        for (int k = i; k < N_ROUTES; k++)
            if (!strcmp(routes[k].pattern, routes[i].pattern))
                operation_write(w, &routes[k]);
        jw_end_object(w);
    }
    jw_end_object(w);
}

void openapi_write(struct bt_buf *to, const char *facility, const char *version)
{
    struct json_writer w = {.to = to};
    const struct member *end = rows + BT_ARRAY_LEN(rows);

    jw_object(&w, NULL);
    jw_str(&w, "openapi", "3.1.0");
    jw_object(&w, "info");
    jw_str(&w, "title", facility);
    jw_str(&w, "version", version);
    jw_str(&w, "description",
           "Errors are application/problem+json. Every reply has the header Beamtime-Request-Id. "
           "Clients send an Idempotency-Key with POST and PUT, a UUIDv7 at most 24 h old. "
           "Lists take ?limit= and ?cursor=.");
    jw_end_object(&w);
    paths_write(&w);
    jw_object(&w, "components");
    jw_object(&w, "securitySchemes");
    for (int i = 0; i < 2; i++) {
        jw_object(&w, i ? "agent" : "person");
        jw_str(&w, "type", "mutualTLS");
        jw_end_object(&w);
    }
    jw_end_object(&w);
    jw_object(&w, "schemas");
    for (const struct member *m = rows; m < end; m++)
        if (!m->type)
            schema_write(&w, m, end);
    jw_end_object(&w);
    jw_end_object(&w);
    jw_end_object(&w);
}
