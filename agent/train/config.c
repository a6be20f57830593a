/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/train/config.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stddef.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

enum kind { KIND_INT, KIND_REAL, KIND_FLAG, KIND_TEXT, KIND_CHOICE };

struct key {
    const char *name, *standard, *unit, *sentence, *choices;
    enum kind kind;
    size_t offset;
    double min, max;
    int64_t int_max; /* exact, where a double is not */
};

static const struct key keys[] = {
#define AT(name) .offset = offsetof(struct config, name)
#define INT(name_, d, lo, hi, u, s) \
    {.name = #name_,                \
     .standard = #d,                \
     .unit = u,                     \
     .sentence = s,                 \
     .kind = KIND_INT,              \
     AT(name_),                     \
     .min = (double)(lo),           \
     .max = (double)(hi),           \
     .int_max = hi},
#define REAL(name_, d, lo, hi, u, s) \
    {.name = #name_,                 \
     .standard = #d,                 \
     .unit = u,                      \
     .sentence = s,                  \
     .kind = KIND_REAL,              \
     AT(name_),                      \
     .min = lo,                      \
     .max = hi},
#define FLAG(name_, d, s) \
    {.name = #name_, .standard = #d, .unit = "", .sentence = s, .kind = KIND_FLAG, AT(name_)},
#define TEXT(name_, d, s) \
    {.name = #name_, .standard = d, .unit = "", .sentence = s, .kind = KIND_TEXT, AT(name_)},
#define CHOICE(name_, d, c, s) \
    {.name = #name_,           \
     .standard = d,            \
     .unit = "",               \
     .sentence = s,            \
     .choices = c,             \
     .kind = KIND_CHOICE,      \
     AT(name_)},
#include "agent/train/config.def"
#undef AT
};

static const struct {
    const char *name, *pairs;
} presets[] = {
    {"1m", "layers=4 width=128 heads=4 kv_heads=4 head_dim=32 ffn=352 context=128 batch=8 "
           "micro_batch=8 learning_rate=4e-3"},
    {"2m", ""},
    {"quick", "layers=4 width=128 heads=2 kv_heads=2 ffn=352 steps=1700 warmup=50 "
              "learning_rate=4e-3 schedule=wsd cooldown=0.5 min_lr_ratio=0 weight_decay=0.02 "
              "eval_bytes=65536"},
    {"polyglot", "layers=4 width=64 heads=2 kv_heads=2 head_dim=32 ffn=192 tied=false context=128 "
                 "batch=8 micro_batch=8 steps=4200 warmup=30 optimizer=muon learning_rate=8e-3 "
                 "muon_rate=0.45 schedule=wsd cooldown=0.9 min_lr_ratio=0 weight_decay=0.02 "
                 "temperature=100 eval_bytes=65536"},
    {"5m", "layers=6 width=256 heads=4 kv_heads=4 ffn=704 learning_rate=2e-3"},
    {"11m", "layers=6 width=384 heads=6 kv_heads=6 ffn=1024 learning_rate=1.5e-3 steps=1000 "
            "warmup=100"},
    {"45m", "layers=14 width=512 heads=8 kv_heads=8 ffn=1408 context=512 batch=32 "
            "learning_rate=1e-3 steps=5000 warmup=250"},
    {"85m", "layers=12 width=768 heads=12 kv_heads=12 ffn=2048 context=1024 batch=64 "
            "learning_rate=6e-4 steps=20000 warmup=700"},
    {"350m", "layers=28 width=1024 heads=16 kv_heads=16 ffn=2816 context=2048 batch=128 "
             "learning_rate=4e-4 steps=30000 warmup=1000"},
    {"1b", "layers=22 width=2048 heads=32 kv_heads=4 ffn=5632 context=2048 batch=256 "
           "learning_rate=3e-4 steps=60000 warmup=2000"},
};

static const struct key *key_named(const char *name)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(keys); i++) {
        if (bt_streq(keys[i].name, name))
            return &keys[i];
    }
    return NULL;
}

/* ---- one value ---- */

static bool is_choice(const char *choices, const char *value)
{
    size_t n = strlen(value);

    for (const char *p = choices; p && *p; p += strcspn(p, " "), p += *p == ' ') {
        if (n && strcspn(p, " ") == n && !memcmp(p, value, n))
            return true;
    }
    return false;
}

static int set_value(struct config *c, const struct key *k, const char *value, struct bt_err *err)
{
    void *at;
    double real;
    int rc = 0;

    assert(k); /* the caller knows its keys */
    at = (char *)c + k->offset;
    switch (k->kind) {
    case KIND_INT:
        return bt_parse_i64(value, k->name, (int64_t)k->min, k->int_max, at, err);
    case KIND_REAL:
        rc = bt_parse_f64(value, k->name, &real, err);
        if (rc == 0 && !(real >= k->min && real <= k->max))
            return bt_fail(err, BT_ERR_INVALID, "%s is %s, not from %g to %g", k->name, value,
                           k->min, k->max);
        if (rc == 0)
            *(double *)at = real;
        return rc;
    case KIND_FLAG:
        if (!bt_streq(value, "true") && !bt_streq(value, "false"))
            return bt_fail(err, BT_ERR_INVALID, "%s is '%s', not true or false", k->name, value);
        *(bool *)at = bt_streq(value, "true");
        return 0;
    case KIND_CHOICE:
        if (!is_choice(k->choices, value))
            return bt_fail(err, BT_ERR_INVALID, "%s is '%s', not one of: %s", k->name, value,
                           k->choices);
        bt_copy(at, 16, value);
        return 0;
    case KIND_TEXT:
        if (!bt_is_utf8(value, strlen(value)))
            return bt_fail(err, BT_ERR_INVALID, "%s is not UTF-8", k->name);
        if (value[strcspn(value, "\"\n\r\t")])
            return bt_fail(err, BT_ERR_INVALID, "%s holds a quote, a tab or a line break", k->name);
        bt_copy(at, CONFIG_TEXT, value);
        return 0;
    }
    return rc;
}

/* ---- what was asked ---- */

static char *trim(char *s)
{
    size_t n;

    while (isspace((unsigned char)*s))
        s++;
    n = strlen(s);
    while (n && isspace((unsigned char)s[n - 1]))
        s[--n] = '\0';
    if (n >= 2 && s[0] == '"' && s[n - 1] == '"') {
        s[n - 1] = '\0';
        s++;
    }
    return s;
}

int config_set(struct config_asked *a, const char *pair, const char *where, struct bt_err *err)
{
    BT_AUTO char *copy = bt_strdup(pair);
    char *equals = strchr(copy, '='), *key, *value;
    struct config_pair *p;

    if (!equals)
        return bt_fail(err, BT_ERR_INVALID, "%s: '%.80s' is not key = value", where, pair);
    *equals = '\0';
    key = trim(copy);
    value = trim(equals + 1);
    if (!key_named(key))
        return bt_next(err,
                       bt_fail(err, BT_ERR_INVALID, "%s: no setting is called '%.40s'", where, key),
                       "beamtime-train --help");
    if (strlen(value) >= CONFIG_TEXT)
        return bt_fail(err, BT_ERR_TOO_LARGE, "%s: %s is longer than %d bytes", where, key,
                       CONFIG_TEXT - 1);
    BT_GROW(a->pairs, a->n, a->cap);
    p = &a->pairs[a->n++];
    bt_copy(p->key, sizeof p->key, key);
    bt_copy(p->value, sizeof p->value, value);
    bt_copy(p->where, sizeof p->where, where);
    return 0;
}

/* Cuts a comment off, but not inside double quotes. */
static void cut_comment(char *line)
{
    bool quoted = false;

    for (; *line; line++) {
        if (*line == '"')
            quoted = !quoted;
        else if (*line == '#' && !quoted)
            *line = '\0';
        if (!*line)
            return;
    }
}

int config_text(struct config_asked *a, char *text, const char *name, struct bt_err *err)
{
    int rc = 0, line = 1;

    for (char *at = text, *next; rc == 0 && at; at = next, line++) {
        char where[96];

        next = strchr(at, '\n');
        if (next)
            *next++ = '\0';
        cut_comment(at);
        at += strspn(at, " \t\r");
        if (!*at)
            continue;
        snprintf(where, sizeof where, "%.60s, line %d", name, line);
        rc = config_set(a, at, where, err);
    }
    return rc;
}

int config_file(struct config_asked *a, const char *path, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    int rc = bt_file_read(path, CONFIG_FILE_MAX, &text, err);

    if (rc == 0 && !bt_is_utf8(bt_buf_text(&text), text.n))
        rc = bt_fail(err, BT_ERR_INVALID, "%s is not UTF-8", path);
    if (rc == 0 && strlen(bt_buf_text(&text)) != text.n)
        rc = bt_fail(err, BT_ERR_INVALID, "%s holds a NUL byte", path);
    return rc < 0 || !text.n ? rc : config_text(a, text.p, path, err);
}

void config_asked_done(struct config_asked *a)
{
    bt_free(a->pairs);
    *a = (struct config_asked){0};
}

/* ---- resolving ---- */

static int apply_preset(struct config *c, struct bt_err *err)
{
    struct config_asked a = {0};
    const char *p = "";
    int rc = 0;

    for (size_t i = 0; i < BT_ARRAY_LEN(presets); i++) {
        if (bt_streq(presets[i].name, c->preset))
            p = presets[i].pairs;
    }
    for (; rc == 0 && *p; p += strcspn(p, " "), p += *p == ' ') {
        BT_AUTO char *pair = bt_strndup(p, strcspn(p, " "));

        rc = config_set(&a, pair, "preset", err);
    }
    for (int i = 0; rc == 0 && i < a.n; i++)
        rc = set_value(c, key_named(a.pairs[i].key), a.pairs[i].value, err);
    config_asked_done(&a);
    return rc;
}

static int set_asked(struct config *c, const struct config_pair *p, struct bt_err *err)
{
    struct bt_err why;
    int rc = set_value(c, key_named(p->key), p->value, &why);

    return rc < 0 ? bt_fail(err, (enum bt_errno) - rc, "%s: %s", p->where, why.text) : 0;
}

static int check_whole(const struct config *c, struct bt_err *err)
{
    struct model_shape s = config_shape(c);

    if (c->micro_batch * c->context > 16777216)
        return bt_fail(err, BT_ERR_SHAPE,
                       "micro_batch (%" PRId64 ") times context (%" PRId64 ") is over 16777216 "
                       "tokens at once",
                       c->micro_batch, c->context);
    if (bt_streq(c->optimizer, "muon") && bt_streq(c->arch, "flamingo"))
        return bt_next(err,
                       bt_fail(err, BT_ERR_UNSUPPORTED,
                               "optimizer=muon moves the matrices of a language model, not eyes"),
                       "optimizer=adamw");
    if (bt_streq(c->optimizer, "muon") && bt_streq(c->device, "cuda"))
        return bt_next(
            err, bt_fail(err, BT_ERR_UNSUPPORTED, "optimizer=muon runs on the CPU alone so far"),
            "optimizer=adamw, or device=cpu");
    return model_shape_check(&s, err);
}

int config_resolve(struct config *ret, const struct config_asked *a, struct bt_err *err)
{
    struct config c = {0};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < BT_ARRAY_LEN(keys); i++)
        rc = set_value(&c, &keys[i], keys[i].standard, err);
    for (int i = 0; rc == 0 && i < a->n; i++) {
        if (bt_streq(a->pairs[i].key, "preset"))
            rc = set_asked(&c, &a->pairs[i], err);
    }
    if (rc == 0)
        rc = apply_preset(&c, err);
    for (int i = 0; rc == 0 && i < a->n; i++)
        rc = set_asked(&c, &a->pairs[i], err);
    c.micro_batch = BT_MIN(c.micro_batch, c.batch);
    if (rc == 0)
        rc = check_whole(&c, err);
    if (rc == 0)
        *ret = c;
    return rc;
}

struct model_shape config_shape(const struct config *c)
{
    return (struct model_shape){
        .layers = (int)c->layers,
        .width = (int)c->width,
        .heads = (int)c->heads,
        .kv_heads = (int)c->kv_heads,
        .head_dim = (int)c->head_dim,
        .ffn = (int)c->ffn,
        .vocab = TOKEN_VOCAB,
        .context = (int)c->context,
        .tied = c->tied,
        .rope_theta = c->rope_theta,
        .norm_eps = c->norm_eps,
    };
}

/* ---- text ---- */

static void print_value(const struct config *c, const struct key *k, struct bt_buf *to)
{
    const void *at = (const char *)c + k->offset;
    char text[64];

    switch (k->kind) {
    case KIND_INT:
        bt_buf_printf(to, "%" PRId64, *(const int64_t *)at);
        return;
    case KIND_REAL:
        for (int digits = 6; digits <= 17; digits++) {
            snprintf(text, sizeof text, "%.*g", digits, *(const double *)at);
            if (strtod(text, NULL) == *(const double *)at)
                break;
        }
        bt_buf_str(to, text);
        return;
    case KIND_FLAG:
        bt_buf_str(to, *(const bool *)at ? "true" : "false");
        return;
    case KIND_TEXT:
        bt_buf_printf(to, "\"%s\"", (const char *)at);
        return;
    case KIND_CHOICE:
        bt_buf_str(to, at);
        return;
    }
}

void config_print(const struct config *c, struct bt_buf *to)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(keys); i++) {
        bt_buf_printf(to, "%s = ", keys[i].name);
        print_value(c, &keys[i], to);
        bt_buf_char(to, '\n');
    }
}

void config_help(struct bt_buf *to)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(keys); i++) {
        const struct key *k = &keys[i];
        char range[96] = "";

        if (k->kind == KIND_INT)
            snprintf(range, sizeof range, "%.0f..%" PRId64, k->min, k->int_max);
        else if (k->kind == KIND_REAL)
            snprintf(range, sizeof range, "%g..%g", k->min, k->max);
        else if (k->kind == KIND_FLAG)
            bt_copy(range, sizeof range, "true false");
        else if (k->kind == KIND_CHOICE)
            bt_copy(range, sizeof range, k->choices);
        bt_buf_printf(to, "  %-17s%s%s%s%s%s%s\n      %s\n", k->name,
                      *k->standard ? k->standard : "\"\"", *range ? "   [" : "", range,
                      *range ? "]" : "", *k->unit ? " " : "", k->unit, k->sentence);
    }
}
