/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/record/result.h"

#include <stddef.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/record/jcs.h"
#include "lib/record/leaf.h"

struct said {
    struct result_head head;
    int finding;
    char title[RESULT_TITLE_MAX + 1];
    char *summary;
    char licence[64];
    const struct json *languages, *evaluations, *links;
};

struct evaluation {
    char name[64];
    char value[64];
    char dataset[128];
};

static const char *const findings[] = {"positive", "negative", "inconclusive", "failed", NULL};

#define AT(member) offsetof(struct said, member)
static const struct json_field fields[] = {
    {"facility", JSON_F_TEXT, AT(head.facility), true,
     .size = sizeof((struct said *)0)->head.facility},
    {"job", JSON_F_UUID, AT(head.job), true},
    {"record", JSON_F_I64, AT(head.record), true, .min = 0, .max = JCS_INT_MAX},
    {"person", JSON_F_TEXT, AT(head.person), true, .size = sizeof((struct said *)0)->head.person},
    {"finding", JSON_F_ENUM, AT(finding), true, .values = findings},
    {"title", JSON_F_TEXT, AT(title), true, .size = RESULT_TITLE_MAX + 1},
    {"summary", JSON_F_STRING, AT(summary), true, .size = RESULT_SUMMARY_MAX},
    {"licence", JSON_F_TEXT, AT(licence), false, .size = 64},
    {"languages", JSON_F_VALUE, AT(languages), false},
    {"evaluations", JSON_F_VALUE, AT(evaluations), false},
    {"links", JSON_F_VALUE, AT(links), false},
};
#undef AT

static bool blank(const char *s)
{
    return s[strspn(s, " \t\r\n")] == '\0';
}

/* Letters, digits and `more`; not empty, at most `max` bytes. */
static bool plain(const char *s, const char *more, size_t max)
{
    size_t n = 0;

    for (; s[n]; n++)
        if (!((s[n] >= 'a' && s[n] <= 'z') || (s[n] >= 'A' && s[n] <= 'Z') ||
              (s[n] >= '0' && s[n] <= '9') || strchr(more, s[n])))
            return false;
    return n > 0 && n <= max;
}

/* https, no white space or control characters. */
static bool address(const char *s)
{
    size_t n = strlen(s);

    if (strncmp(s, "https://", 8) != 0 || n < 9 || n > 300)
        return false;
    for (size_t i = 0; i < n; i++)
        if (s[i] <= ' ' || s[i] == 0x7f || strchr("\"<>\\", s[i]))
            return false;
    return true;
}

static int list_of(const struct json *list, const char *name, size_t max, struct bt_err *err)
{
    if (list && (json_is(list) != JSON_IS_ARRAY || json_len(list) == 0 || json_len(list) > max))
        return bt_fail(err, BT_ERR_INVALID, "member '%s' is a list of 1 to %zu", name, max);
    return 0;
}

static int check_lists(const struct said *s, struct bt_err *err)
{
    int rc = list_of(s->languages, "languages", RESULT_LANGUAGES_MAX, err);

    if (rc == 0)
        rc = list_of(s->evaluations, "evaluations", RESULT_EVALUATIONS_MAX, err);
    if (rc == 0)
        rc = list_of(s->links, "links", RESULT_LINKS_MAX, err);
    for (size_t i = 0; rc == 0 && i < json_len(s->languages); i++)
        if (!plain(json_str(json_at(s->languages, i), ""), "-", 35))
            rc = bt_fail(err, BT_ERR_INVALID,
                         "member 'languages' names them as BCP 47 does: de, cs, sr-Latn");
    for (size_t i = 0; rc == 0 && i < json_len(s->links); i++)
        if (!address(json_str(json_at(s->links, i), "")))
            rc = bt_fail(err, BT_ERR_INVALID,
                         "member 'links' holds addresses that begin with https://");
    return rc;
}

static int check_evaluations(const struct json *list, struct bt_err *err)
{
    static const struct json_field of[] = {
        {"name", JSON_F_TEXT, offsetof(struct evaluation, name), true, .size = 64},
        {"value", JSON_F_TEXT, offsetof(struct evaluation, value), true, .size = 64},
        {"dataset", JSON_F_TEXT, offsetof(struct evaluation, dataset), false, .size = 128},
    };

    for (size_t i = 0; i < json_len(list); i++) {
        struct evaluation e = {.name = ""};
        int rc = json_read(json_at(list, i), of, BT_ARRAY_LEN(of), &e, err);

        if (rc == 0 && (blank(e.name) || !leaf_is_decimal(e.value)))
            rc = bt_fail(err, BT_ERR_INVALID,
                         "member 'evaluations' has a name and a decimal value, such as \"2.059\"");
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int check(const struct said *s, struct bt_err *err)
{
    int rc;

    if (blank(s->title) || strpbrk(s->title, "\r\n"))
        return bt_fail(err, BT_ERR_INVALID,
                       "member 'title' is one line that says what it is about");
    if (blank(s->summary))
        return bt_fail(err, BT_ERR_INVALID, "member 'summary' says what came out, in a paragraph");
    if (s->licence[0] && !plain(s->licence, ".-+() ", 63))
        return bt_fail(err, BT_ERR_INVALID,
                       "member 'licence' is an SPDX expression: Apache-2.0, CC-BY-4.0");
    rc = check_lists(s, err);
    return rc < 0 ? rc : check_evaluations(s->evaluations, err);
}

int result_read(const struct json *body, struct result_head *ret, struct bt_buf *canonical,
                struct bt_err *err)
{
    struct said s = {.summary = NULL};
    size_t before = canonical->n;
    int rc = json_read(body, fields, BT_ARRAY_LEN(fields), &s, err);

    if (rc == 0)
        rc = check(&s, err);
    if (rc == 0)
        rc = jcs_value(body, canonical, err);
    if (rc == 0)
        *ret = s.head;
    else
        canonical->n = before;
    bt_free(s.summary);
    return rc;
}
