/* One pass over a copy of the text: strings are decoded where they stand, values lie in an arena of
 * the root's. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/json/json.h"

struct json {
    enum json_is is;
    uint32_t n;      /* of an array or object */
    const char *key; /* of a member */
    union {
        bool b;
        int64_t i;
        double f;
        const char *s;
        const struct json *items;
    } u;
};

struct chunk {
    struct chunk *next;
    size_t used, size;
    struct json at[];
};

/* What the caller owns: the value is its first member. */
struct root {
    struct json value;
    struct chunk *chunks;
    char *text;
};

enum { ROOM = 64, SORT_ABOVE = 12 };

struct reader {
    char *p; /* the text ends with a NUL, which is no part of any value */
    int depth;
    bool too_deep;
    const char *wrong; /* what is wrong at p */
    struct root *root;
    struct json *stack; /* children of what is open, innermost last */
    size_t n_stack, cap_stack;
    struct json room[ROOM];
};

static bool fail(struct reader *r, const char *wrong)
{
    r->wrong = wrong;
    return false;
}

static void skip_space(struct reader *r)
{
    while (*r->p == ' ' || *r->p == '\n' || *r->p == '\r' || *r->p == '\t')
        r->p++;
}

/* ---- strings ---- */

/* Length of the UTF-8 sequence at p (RFC 3629), 0 if it is none. A NUL ends every text. */
static size_t utf8_length(const unsigned char *p)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t n;

    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        n = 2;
    else if ((p[0] & 0xf0) == 0xe0)
        n = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        n = 4;
    else
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0; /* overlong */
    else if (p[0] == 0xed)
        high = 0x9f; /* surrogates */
    else if (p[0] == 0xf0)
        low = 0x90; /* overlong */
    else if (p[0] == 0xf4)
        high = 0x8f; /* above U+10FFFF */
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

static bool read_hex4(const char *p, uint32_t *ret)
{
    *ret = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        uint32_t digit;

        if (c >= '0' && c <= '9')
            digit = (uint32_t)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            digit = (uint32_t)((c | 0x20) - 'a') + 10;
        else
            return false;
        *ret = *ret << 4 | digit;
    }
    return true;
}

static char *put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (char)c;
        return to;
    }
    if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
    } else {
        if (c < 0x10000) {
            *to++ = (char)(0xe0 | c >> 12);
        } else {
            *to++ = (char)(0xf0 | c >> 18);
            *to++ = (char)(0x80 | (c >> 12 & 0x3f));
        }
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
    }
    *to++ = (char)(0x80 | (c & 0x3f));
    return to;
}

/* \uXXXX with p behind the u; a pair of surrogates is one character. */
static bool read_unicode(struct reader *r, char **to)
{
    uint32_t c, low;

    if (!read_hex4(r->p, &c))
        return fail(r, "\\u wants four hexadecimal digits");
    if (c == 0)
        return fail(r, "a NUL (\\u0000) is not taken");
    if (c >= 0xdc00 && c <= 0xdfff)
        return fail(r, "half of a surrogate pair");
    r->p += 4;
    if (c >= 0xd800 && c <= 0xdbff) {
        if (r->p[0] != '\\' || r->p[1] != 'u' || !read_hex4(r->p + 2, &low) || low < 0xdc00 ||
            low > 0xdfff)
            return fail(r, "half of a surrogate pair");
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        r->p += 6;
    }
    *to = put_utf8(*to, c);
    return true;
}

/* p is at the backslash. What an escape stands for is never longer than the escape. */
static bool read_escape(struct reader *r, char **to)
{
    static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
    char c = r->p[1];
    const char *at = c ? strchr(from, c) : NULL;

    if (c == 'u') {
        r->p += 2;
        return read_unicode(r, to);
    }
    if (!at)
        return fail(r, "this escape is not known");
    *(*to)++ = into[at - from];
    r->p += 2;
    return true;
}

/* p is behind the opening quote; the string ends with a NUL in the place of the closing one. */
static bool read_string(struct reader *r, const char **ret)
{
    char *to = r->p;

    *ret = r->p;
    for (;;) {
        unsigned char c = (unsigned char)*r->p;

        if (c == '"')
            break;
        if (c == '\\') {
            if (!read_escape(r, &to))
                return false;
        } else if (c < 0x20) {
            return fail(r, c ? "a control character in a string" : "a string does not end");
        } else {
            size_t n = c < 0x80 ? 1 : utf8_length((const unsigned char *)r->p);

            if (n == 0)
                return fail(r, "this is not UTF-8");
            if (to != r->p)
                memmove(to, r->p, n);
            to += n;
            r->p += n;
        }
    }
    r->p++;
    *to = '\0';
    return true;
}

/* ---- numbers ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool skip_digits(struct reader *r)
{
    if (!is_digit(*r->p))
        return fail(r, "a digit is expected");
    while (is_digit(*r->p))
        r->p++;
    return true;
}

/* The digits at `from` as a whole number, if 64 bits hold it. */
static bool to_whole(const char *from, const char *end, bool minus, int64_t *ret)
{
    int64_t v = 0;

    for (; from < end; from++)
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_sub_overflow(v, (int64_t)(*from - '0'), &v))
            return false;
    if (!minus && v == INT64_MIN)
        return false;
    *ret = minus ? v : -v;
    return true;
}

static bool read_number(struct reader *r, struct json *to)
{
    const char *start = r->p;
    bool minus = *r->p == '-', whole = true;

    r->p += minus;
    const char *digits = r->p;
    if (*r->p == '0' && is_digit(r->p[1]))
        return fail(r, "a number with a leading zero");
    if (!skip_digits(r))
        return false;
    if (*r->p == '.') {
        whole = false;
        r->p++;
        if (!skip_digits(r))
            return false;
    }
    if (*r->p == 'e' || *r->p == 'E') {
        whole = false;
        r->p++;
        if (*r->p == '+' || *r->p == '-')
            r->p++;
        if (!skip_digits(r))
            return false;
    }
    if (whole && to_whole(digits, r->p, minus, &to->u.i)) {
        to->is = JSON_IS_INT;
        return true;
    }
    to->is = JSON_IS_REAL;
    to->u.f = strtod(start, NULL);
    return isfinite(to->u.f) || fail(r, "a number beyond a double's range");
}

/* ---- what holds others ---- */

static struct json *arena(struct root *root, size_t n)
{
    struct chunk *c = root->chunks;

    if (c->size - c->used < n) {
        size_t size = BT_MAX(2 * c->size, n);

        c = bt_alloc(1, sizeof *c + size * sizeof(struct json));
        c->size = size;
        c->next = root->chunks;
        root->chunks = c;
    }
    c->used += n;
    return &c->at[c->used - n];
}

static void push(struct reader *r, const struct json *v)
{
    if (r->n_stack == r->cap_stack) {
        struct json *more = bt_new_n(struct json, 2 * r->cap_stack);

        memcpy(more, r->stack, r->n_stack * sizeof *more);
        if (r->stack != r->room)
            bt_free(r->stack);
        r->stack = more;
        r->cap_stack *= 2;
    }
    r->stack[r->n_stack++] = *v;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool has_twins(const struct json *object)
{
    const struct json *m = object->u.items;
    bool twins = false;

    if (object->n <= SORT_ABOVE) {
        for (uint32_t i = 1; i < object->n; i++)
            for (uint32_t k = 0; k < i; k++)
                if (m[i].key[0] == m[k].key[0] && !strcmp(m[i].key, m[k].key))
                    return true;
        return false;
    }
    const char **keys = (const char **)bt_alloc(object->n, sizeof *keys);
    for (uint32_t i = 0; i < object->n; i++)
        keys[i] = m[i].key;
    qsort(keys, object->n, sizeof *keys, by_key);
    for (uint32_t i = 1; i < object->n && !twins; i++)
        twins = !strcmp(keys[i - 1], keys[i]);
    bt_free(keys);
    return twins;
}

/* Takes the children above `from` off the stack. */
static void gather(struct reader *r, size_t from, struct json *to)
{
    size_t n = r->n_stack - from;
    struct json *items = arena(r->root, n);

    if (n)
        memcpy(items, r->stack + from, n * sizeof *items);
    r->n_stack = from;
    to->n = (uint32_t)n;
    to->u.items = items;
}

static bool read_value(struct reader *r, struct json *to);

static bool read_key(struct reader *r, const char **ret)
{
    if (*r->p != '"')
        return fail(r, "a member's name is expected");
    r->p++;
    if (!read_string(r, ret))
        return false;
    skip_space(r);
    if (*r->p != ':')
        return fail(r, "':' is expected");
    r->p++;
    return true;
}

/* p is behind the opening bracket. */
static bool read_items(struct reader *r, struct json *to, char close)
{
    size_t from = r->n_stack;

    if (++r->depth > JSON_MAX_DEPTH) {
        r->too_deep = true;
        return false;
    }
    skip_space(r);
    while (*r->p != close) {
        struct json item = {.key = NULL};

        if ((close == '}' && !read_key(r, &item.key)) || !read_value(r, &item))
            return false;
        push(r, &item);
        skip_space(r);
        if (*r->p == close)
            break;
        if (*r->p != ',')
            return fail(r, close == '}' ? "',' or '}' is expected" : "',' or ']' is expected");
        r->p++;
        skip_space(r);
        if (*r->p == close)
            return fail(r, "nothing follows the ','");
    }
    gather(r, from, to);
    if (close == '}' && has_twins(to))
        return fail(r, "a member is there twice in the object that ends here");
    r->p++;
    r->depth--;
    return true;
}

static bool read_word(struct reader *r, const char *word)
{
    size_t n = strlen(word);

    if (strncmp(r->p, word, n) != 0)
        return fail(r, "a value is expected");
    r->p += n;
    return true;
}

static bool read_value(struct reader *r, struct json *to)
{
    skip_space(r);
    switch (*r->p) {
    case '{':
        r->p++;
        to->is = JSON_IS_OBJECT;
        return read_items(r, to, '}');
    case '[':
        r->p++;
        to->is = JSON_IS_ARRAY;
        return read_items(r, to, ']');
    case '"':
        r->p++;
        to->is = JSON_IS_STR;
        return read_string(r, &to->u.s);
    case 't':
    case 'f':
        to->is = JSON_IS_BOOL;
        to->u.b = *r->p == 't';
        return read_word(r, to->u.b ? "true" : "false");
    case 'n':
        to->is = JSON_IS_NULL;
        return read_word(r, "null");
    default:
        return *r->p == '-' || is_digit(*r->p) ? read_number(r, to)
                                               : fail(r, "a value is expected");
    }
}

/* ---- the document ---- */

static struct root *root_new(const char *text, size_t n)
{
    struct root *root = bt_new(struct root);
    size_t size = n / 16 + 8;

    root->text = bt_alloc(1, n + 1);
    memcpy(root->text, text, n);
    root->chunks = bt_alloc(1, sizeof *root->chunks + size * sizeof(struct json));
    root->chunks->size = size;
    return root;
}

void json_free(struct json *v)
{
    struct root *root = (struct root *)v;

    if (!root)
        return;
    while (root->chunks) {
        struct chunk *c = root->chunks;

        root->chunks = c->next;
        bt_free(c);
    }
    bt_free(root->text);
    bt_free(root);
}

static int say_where(const struct reader *r, const char *text, struct bt_err *err)
{
    size_t at = (size_t)(r->p - r->root->text), column = 1, line = 1;

    for (size_t i = 0; i < at; i++) {
        column = text[i] == '\n' ? 1 : column + 1;
        line += text[i] == '\n';
    }
    return bt_fail(err, BT_ERR_INVALID, "not JSON at line %zu, column %zu: %s", line, column,
                   r->wrong);
}

int json_parse(const char *text, size_t n, size_t max_bytes, struct json **ret, struct bt_err *err)
{
    struct reader r;
    bool well;
    int rc = 0;

    if (n > max_bytes)
        return bt_fail(err, BT_ERR_TOO_LARGE,
                       "the JSON document has %zu bytes, at most %zu are read", n, max_bytes);
    r.root = root_new(text, n);
    r.p = r.root->text;
    r.depth = 0;
    r.too_deep = false;
    r.wrong = NULL;
    r.stack = r.room;
    r.n_stack = 0;
    r.cap_stack = ROOM;
    well = read_value(&r, &r.root->value);
    if (well) {
        skip_space(&r);
        well = r.p == r.root->text + n || fail(&r, "something follows the value");
    }
    if (r.too_deep)
        rc = bt_fail(err, BT_ERR_TOO_LARGE, "the JSON document is nested deeper than %d levels",
                     JSON_MAX_DEPTH);
    else if (!well)
        rc = say_where(&r, text, err);
    if (r.stack != r.room)
        bt_free(r.stack);
    if (rc < 0)
        json_free(&r.root->value);
    else
        *ret = &r.root->value;
    return rc;
}

/* ---- looking at values ---- */

enum json_is json_is(const struct json *v)
{
    return v ? v->is : JSON_IS_NULL;
}

const struct json *json_get(const struct json *object, const char *key)
{
    if (json_is(object) == JSON_IS_OBJECT)
        for (uint32_t i = 0; i < object->n; i++)
            if (object->u.items[i].key[0] == key[0] && !strcmp(object->u.items[i].key, key))
                return &object->u.items[i];
    return NULL;
}

size_t json_len(const struct json *v)
{
    return json_is(v) == JSON_IS_ARRAY || json_is(v) == JSON_IS_OBJECT ? v->n : 0;
}

const struct json *json_at(const struct json *array, size_t i)
{
    return json_is(array) == JSON_IS_ARRAY && i < array->n ? &array->u.items[i] : NULL;
}

const char *json_str(const struct json *v, const char *otherwise)
{
    return json_is(v) == JSON_IS_STR ? v->u.s : otherwise;
}

int64_t json_i64(const struct json *v, int64_t otherwise)
{
    return json_is(v) == JSON_IS_INT ? v->u.i : otherwise;
}

double json_f64(const struct json *v, double otherwise)
{
    if (json_is(v) == JSON_IS_REAL)
        return v->u.f;
    return json_is(v) == JSON_IS_INT ? (double)v->u.i : otherwise;
}

bool json_bool(const struct json *v, bool otherwise)
{
    return json_is(v) == JSON_IS_BOOL ? v->u.b : otherwise;
}

int json_each(const struct json *object,
              int (*each)(void *arg, const char *key, const struct json *v), void *arg)
{
    if (json_is(object) == JSON_IS_OBJECT)
        for (uint32_t i = 0; i < object->n; i++) {
            int rc = each(arg, object->u.items[i].key, &object->u.items[i]);

            if (rc < 0)
                return rc;
        }
    return 0;
}
