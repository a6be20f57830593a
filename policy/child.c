/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "policy/child.h"

#include <lauxlib.h>
#include <lua.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/attr.h"
#include "policy/wire.h"

/* Everything that the Lua callbacks share, found through the state's extra space. */
struct sandbox {
    const struct policy_limits *limits;
    size_t used; /* bytes that Lua holds now */
    int64_t steps;
    struct bt_buf *out;
    const char *tiers;
    const char *rules;
};

enum { HOOK_EVERY = 1000 };

static struct sandbox *sandbox_of(lua_State *lua)
{
    return *(struct sandbox **)lua_getextraspace(lua);
}

static void *bounded_alloc(void *arg, void *p, size_t old, size_t new)
{
    struct sandbox *sb = arg;
    void *q;

    if (!p)
        old = 0; /* Lua passes a type tag here, not a size */
    if (new == 0) {
        free(p);
        sb->used -= old;
        return NULL;
    }
    if (new > old &&new - old > sb->limits->memory_bytes - sb->used)
        return NULL;
    q = realloc(p, new);
    if (q)
        sb->used = sb->used - old + new;
    return q;
}

static void count_steps(lua_State *lua, lua_Debug *ar)
{
    struct sandbox *sb = sandbox_of(lua);

    (void)ar;
    sb->steps += HOOK_EVERY;
    if (sb->steps <= sb->limits->steps)
        return;
    luaL_where(lua, 0);
    lua_pushfstring(lua, "over %I steps", (lua_Integer)sb->limits->steps);
    lua_concat(lua, 2);
    lua_error(lua);
}

static const struct {
    const char *name;
    enum policy_op op;
} combinators[] = {
    {"ge", POLICY_GE},   {"gt", POLICY_GT},   {"lt", POLICY_LT},
    {"eq", POLICY_EQ},   {"has", POLICY_HAS}, {"any", POLICY_ANY},
    {"all", POLICY_ALL}, {"no", POLICY_NO},   {"always", POLICY_ALWAYS},
};

/* ge("flop.lineage", 1e25) -> {op = ge, "flop.lineage", 1e25}; any(a, b) -> {op = any, a, b}. */
static int combine(lua_State *lua)
{
    int n = lua_gettop(lua);

    lua_createtable(lua, n, 1);
    lua_insert(lua, 1);
    for (int i = n; i > 0; i--)
        lua_rawseti(lua, 1, i);
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_setfield(lua, 1, "op");
    return 1;
}

static void push_environment(lua_State *lua)
{
    lua_newtable(lua);
    for (size_t i = 0; i < BT_ARRAY_LEN(combinators); i++) {
        lua_pushinteger(lua, (lua_Integer)combinators[i].op);
        if (combinators[i].op == POLICY_ALWAYS) {
            lua_createtable(lua, 0, 1);
            lua_insert(lua, -2);
            lua_setfield(lua, -2, "op");
        } else {
            lua_pushcclosure(lua, combine, 1);
        }
        lua_setfield(lua, -2, combinators[i].name);
    }
}

/* Runs one file and leaves the table that it returns on the stack. */
static void run_file(lua_State *lua, const char *name, const char *text)
{
    if (luaL_loadbufferx(lua, text, strlen(text), name, "t") != LUA_OK)
        lua_error(lua);
    push_environment(lua);
    lua_setupvalue(lua, -2, 1); /* _ENV */
    lua_call(lua, 0, 1);
    if (!lua_istable(lua, -1))
        luaL_error(lua, "%s does not return a table", name + 1);
}

static void put(lua_State *lua, const void *p, size_t n)
{
    struct bt_buf *out = sandbox_of(lua)->out;

    bt_buf_add(out, p, n);
    if (out->over)
        luaL_error(lua, "the policy is larger than %d bytes", POLICY_WIRE_MAX);
}

static void put_byte(lua_State *lua, int v)
{
    uint8_t b = (uint8_t)v;

    put(lua, &b, 1);
}

static void put_double(lua_State *lua, double v)
{
    put(lua, &v, sizeof v);
}

/* The text on top of the stack, which is popped. */
static void put_text(lua_State *lua, const char *where, const char *what)
{
    size_t n;
    const char *s;
    uint16_t n16;

    if (lua_type(lua, -1) != LUA_TSTRING)
        luaL_error(lua, "%s: %s is missing or no text", where, what);
    s = lua_tolstring(lua, -1, &n);
    if (n > UINT16_MAX)
        luaL_error(lua, "%s: %s is too long", where, what);
    n16 = (uint16_t)n;
    put(lua, &n16, sizeof n16);
    put(lua, s, n);
    lua_pop(lua, 1);
}

/* Fails when the table on top has a key that is not in names[n]. */
static void only_keys(lua_State *lua, const char *where, const char *const *names, size_t n)
{
    lua_pushnil(lua);
    while (lua_next(lua, -2)) {
        bool known = false;

        lua_pop(lua, 1);
        for (size_t i = 0; i < n && lua_type(lua, -1) == LUA_TSTRING && !known; i++)
            known = strcmp(lua_tostring(lua, -1), names[i]) == 0;
        if (!known)
            luaL_error(lua, "%s: unknown field '%s'", where, luaL_tolstring(lua, -1, NULL));
    }
}

/* Number of elements of the sequence on top; fails if it has other keys or holes. */
static int sequence_length(lua_State *lua, const char *where, int first)
{
    lua_Integer n = 0;

    lua_pushnil(lua);
    while (lua_next(lua, -2)) {
        lua_pop(lua, 1);
        n++;
    }
    for (lua_Integer i = first; i < first + n; i++) {
        if (lua_rawgeti(lua, -1, i) != LUA_TTABLE)
            luaL_error(lua, "%s: expected entries %d, %d, … without gaps", where, first, first + 1);
        lua_pop(lua, 1);
    }
    return (int)n;
}

static void put_tier(lua_State *lua, int i)
{
    static const char *const names[] = {
        "name",
        "assurance",
        "egress",
        "mfa",
        "two_person",
#define X(field) #field,
        POLICY_TIER_NUMBERS(X)
#undef X
    };
    static const char *const flags[] = {"mfa", "two_person"};
    enum { FIRST_NUMBER = 5 };
    char where[24];

    snprintf(where, sizeof where, "tier %d", i);
    only_keys(lua, where, names, BT_ARRAY_LEN(names));
    lua_getfield(lua, -1, "name");
    put_text(lua, where, "name");
    for (size_t k = FIRST_NUMBER; k < BT_ARRAY_LEN(names); k++) {
        if (lua_getfield(lua, -1, names[k]) != LUA_TNUMBER)
            luaL_error(lua, "%s: %s is missing or no number", where, names[k]);
        put_double(lua, lua_tonumber(lua, -1));
        lua_pop(lua, 1);
    }
    for (size_t k = 1; k <= 2; k++) {
        lua_getfield(lua, -1, names[k]);
        put_text(lua, where, names[k]);
    }
    for (size_t k = 0; k < BT_ARRAY_LEN(flags); k++) {
        if (lua_getfield(lua, -1, flags[k]) != LUA_TBOOLEAN)
            luaL_error(lua, "%s: %s is missing or neither true nor false", where, flags[k]);
        put_byte(lua, lua_toboolean(lua, -1));
        lua_pop(lua, 1);
    }
}

static void put_leaf(lua_State *lua, const char *id, enum policy_op op)
{
    if (lua_rawlen(lua, -1) != 2)
        luaL_error(lua, "%s: a comparison takes an attribute and a value", id);
    lua_rawgeti(lua, -1, 1);
    put_text(lua, id, "the attribute of a comparison");
    lua_rawgeti(lua, -1, 2);
    if (op >= POLICY_EQ) {
        put_text(lua, id, "the value of a comparison");
        return;
    }
    if (lua_type(lua, -1) != LUA_TNUMBER)
        luaL_error(lua, "%s: the threshold of a comparison is no number", id);
    put_double(lua, lua_tonumber(lua, -1));
    lua_pop(lua, 1);
}

/* NOLINTNEXTLINE(misc-no-recursion): stops at POLICY_DEPTH_MAX */
static void put_node(lua_State *lua, const char *id, int depth)
{
    enum policy_op op;
    size_t n;

    luaL_checkstack(lua, 4, "conditions");
    if (depth > POLICY_DEPTH_MAX)
        luaL_error(lua, "%s: nested deeper than %d", id, POLICY_DEPTH_MAX);
    if (!lua_istable(lua, -1) || lua_getfield(lua, -1, "op") != LUA_TNUMBER)
        luaL_error(lua,
                   "%s: a condition is missing, or not made by ge, gt, lt, eq, has, any, "
                   "all, no or always",
                   id);
    op = (enum policy_op)lua_tointeger(lua, -1);
    lua_pop(lua, 1);
    put_byte(lua, (int)op);
    if (op < POLICY_ANY) {
        put_leaf(lua, id, op);
        return;
    }
    if (op == POLICY_ALWAYS)
        return;
    n = lua_rawlen(lua, -1);
    if (n > UINT8_MAX)
        luaL_error(lua, "%s: more than %d conditions side by side", id, UINT8_MAX);
    put_byte(lua, (int)n);
    for (size_t i = 1; i <= n; i++) {
        lua_rawgeti(lua, -1, (lua_Integer)i);
        put_node(lua, id, depth + 1);
        lua_pop(lua, 1);
    }
}

static void put_rule(lua_State *lua, int i)
{
    static const char *const names[] = {"id",     "tier", "forbid", "since",
                                        "before", "when", "reason", "cite"};
    static const char *const texts[] = {"since", "before", "reason", "cite"};
    char where[32];
    int type;

    snprintf(where, sizeof where, "rule %d", i);
    only_keys(lua, where, names, BT_ARRAY_LEN(names));
    if (lua_getfield(lua, -1, "id") == LUA_TSTRING)
        snprintf(where, sizeof where, "%s", lua_tostring(lua, -1));
    put_text(lua, where, "id");
    type = lua_getfield(lua, -1, "tier");
    if (type != LUA_TNUMBER && type != LUA_TNIL)
        luaL_error(lua, "%s: tier is no number", where);
    put_double(lua, type == LUA_TNIL ? (double)NAN : lua_tonumber(lua, -1));
    lua_pop(lua, 1);
    type = lua_getfield(lua, -1, "forbid");
    if (type != LUA_TBOOLEAN && type != LUA_TNIL)
        luaL_error(lua, "%s: forbid is neither true nor false", where);
    put_byte(lua, lua_toboolean(lua, -1));
    lua_pop(lua, 1);
    for (size_t k = 0; k < BT_ARRAY_LEN(texts); k++) {
        if (lua_getfield(lua, -1, texts[k]) == LUA_TNIL && strcmp(texts[k], "before") == 0) {
            lua_pop(lua, 1);
            lua_pushliteral(lua, "");
        }
        put_text(lua, where, texts[k]);
    }
    lua_getfield(lua, -1, "when");
    put_node(lua, where, 1);
    lua_pop(lua, 1);
}

/* Runs under lua_pcall, because every step here may raise an error. */
static int run(lua_State *lua)
{
    const struct sandbox *sb = sandbox_of(lua);
    uint16_t n16;
    int n;

    put(lua, POLICY_WIRE_MAGIC, sizeof POLICY_WIRE_MAGIC - 1);
    run_file(lua, "=tiers.lua", sb->tiers);
    if (sequence_length(lua, "tiers.lua", 0) != TIERS)
        luaL_error(lua, "tiers.lua: expected tiers 0 to %d", TIERS - 1);
    for (int i = 0; i < TIERS; i++) {
        lua_rawgeti(lua, -1, i);
        put_tier(lua, i);
        lua_pop(lua, 1);
    }
    run_file(lua, "=rules.lua", sb->rules);
    n = sequence_length(lua, "rules.lua", 1);
    if (n > POLICY_RULES_MAX)
        luaL_error(lua, "rules.lua: %d rules; at most %d", n, POLICY_RULES_MAX);
    n16 = (uint16_t)n;
    put(lua, &n16, sizeof n16);
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(lua, -1, i);
        put_rule(lua, i);
        lua_pop(lua, 1);
    }
    return 0;
}

void policy_child_run(const char *tiers, const char *rules, const struct policy_limits *limits,
                      struct bt_buf *to)
{
    struct sandbox sb = {.limits = limits, .out = to, .tiers = tiers, .rules = rules};
    lua_State *lua = lua_newstate(bounded_alloc, &sb);
    const size_t start = to->n;
    const char *why = "out of memory";

    bt_buf_char(to, POLICY_CHILD_OK);
    if (lua) {
        *(struct sandbox **)lua_getextraspace(lua) = &sb;
        lua_sethook(lua, count_steps, LUA_MASKCOUNT, HOOK_EVERY);
        lua_pushcfunction(lua, run);
        if (lua_pcall(lua, 0, 0, 0) == LUA_OK) {
            lua_close(lua);
            return;
        }
        if (lua_type(lua, -1) == LUA_TSTRING)
            why = lua_tostring(lua, -1);
    }
    to->n = start;
    to->over = false;
    bt_buf_char(to, POLICY_CHILD_ERROR);
    bt_buf_add(to, why, strnlen(why, 200));
    if (lua)
        lua_close(lua);
}
