/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/metrics.h"

#include <math.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/str.h"
#include "lib/json/json.h"

enum { KEY_MAX = 33, VALUE_MAX = 40 };

struct last {
    struct {
        char key[KEY_MAX];
        char value[VALUE_MAX];
    } v[METRICS_KEYS_MAX];
    int n;
};

/* Nine significant digits, never an exponent, no trailing zeros; false if it is out of range. */
static bool decimal(double x, char out[VALUE_MAX])
{
    double size = fabs(x);

    if (!isfinite(x) || size >= 1e18)
        return false;
    int whole = 1; /* digits before the point; log10() would load all of libm with a shepherd */
    double power = 10;

    while (power <= size) {
        whole++;
        power *= 10;
    }
    int places = size < 1 ? 12 : BT_MAX(0, 9 - whole);
    (void)snprintf(out, VALUE_MAX, "%.*f", places, x);
    if (strchr(out, '.')) {
        size_t n = strlen(out);

        while (out[n - 1] == '0')
            out[--n] = '\0';
        if (out[n - 1] == '.')
            out[n - 1] = '\0';
    }
    if (bt_streq(out, "-0"))
        bt_copy(out, VALUE_MAX, "0");
    return true;
}

static int take(void *arg, const char *key, const struct json *v)
{
    struct last *l = arg;
    char text[VALUE_MAX];
    int i = 0;

    if (json_is(v) == JSON_IS_INT)
        (void)snprintf(text, sizeof text, "%lld", (long long)json_i64(v, 0));
    else if (json_is(v) != JSON_IS_REAL || !decimal(json_f64(v, 0), text))
        return 0;
    if (strlen(key) >= KEY_MAX ||
        strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_.-") != strlen(key))
        return 0;
    while (i < l->n && !bt_streq(l->v[i].key, key))
        i++;
    if (i == METRICS_KEYS_MAX)
        return 0;
    l->n = BT_MAX(l->n, i + 1);
    bt_copy(l->v[i].key, KEY_MAX, key);
    bt_copy(l->v[i].value, VALUE_MAX, text);
    return 0;
}

static void write_json(const struct last *l, char *out)
{
    BT_BUF_AUTO struct bt_buf b = {0};
    struct json_writer w = {.to = &b};

    jw_object(&w, NULL);
    for (int i = 0; i < l->n; i++)
        if (b.n + strlen(l->v[i].key) + strlen(l->v[i].value) + 8 < METRICS_JSON_MAX)
            jw_str(&w, l->v[i].key, l->v[i].value);
    jw_end_object(&w);
    bt_copy(out, METRICS_JSON_MAX, b.p);
}

void metrics_last(const char *text, size_t n, char *out)
{
    struct last l = {0};

    for (const char *p = text, *end = text + n; p < end;) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((eol ? eol : end) - p);
        JSON_AUTO struct json *j = NULL;

        if (len && *p == '{' && json_parse(p, len, METRICS_TAIL_BYTES, &j, NULL) == 0)
            (void)json_each(j, take, &l);
        p += len + 1;
    }
    write_json(&l, out);
}
