/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/base/enc.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/record/jcs.h"
#include "lib/record/leaf.h"
#include "lib/record/sign.h"

static void write_sigs(struct jcs *w, const struct leaf_sig *sigs, size_t n)
{
    if (!n)
        return;
    jcs_array(w, "sigs");
    for (size_t i = 0; i < n; i++) {
        BT_BUF_AUTO struct bt_buf sig = {0};

        bt_base64(&sig, sigs[i].sig, sizeof sigs[i].sig);
        jcs_object(w, NULL);
        jcs_hex(w, "key", sigs[i].key, sizeof sigs[i].key);
        jcs_str(w, "role", sigs[i].role);
        jcs_str(w, "sig", bt_buf_text(&sig));
        jcs_close_object(w);
    }
    jcs_close_array(w);
}

static int check_sigs(enum leaf_kind kind, const struct leaf_sig *sigs, size_t n,
                      const struct bt_buf *body, struct bt_err *err)
{
    int rc = 0;

    if (n > LEAF_SIGS_MAX)
        return bt_fail(err, BT_ERR_TOO_LARGE, "%zu signatures on one entry", n);
    if ((int)n < leaf_kind_signers(kind))
        return bt_fail(err, BT_ERR_INVALID, "an entry of kind %s needs a signature",
                       leaf_kind_name(kind));
    for (size_t i = 0; i < n && rc == 0; i++) {
        if (!bt_is_name(sigs[i].role, sizeof sigs[i].role - 1))
            return bt_fail(err, BT_ERR_INVALID, "a signature without a role");
        rc = record_verify(sigs[i].key, body->p, body->n, sigs[i].sig, err);
    }
    return rc;
}

/* The leaf's one spelling from its parts. body is canonical. */
static int spell(enum leaf_kind kind, const struct bt_buf *body, const struct leaf_sig *sigs,
                 size_t n, struct bt_buf *out, struct bt_err *err)
{
    struct jcs w = {.to = out};

    bt_buf_str(out, "{\"body\":");
    bt_buf_add(out, body->p, body->n);
    bt_buf_char(out, ',');
    jcs_str(&w, "kind", leaf_kind_name(kind));
    write_sigs(&w, sigs, n);
    jcs_int(&w, "v", LEAF_VERSION);
    bt_buf_char(out, '}');
    return jcs_end(&w, err);
}

/* The canonical spelling of an object. */
static int respell(const struct json *v, struct bt_buf *to, struct bt_err *err)
{
    if (json_is(v) != JSON_IS_OBJECT)
        return bt_fail(err, BT_ERR_INVALID, "an entry's body is not a JSON object");
    return jcs_value(v, to, err);
}

int leaf_build(enum leaf_kind kind, const char *body, size_t n_body, const struct leaf_sig *sigs,
               size_t n_sigs, struct bt_buf *out, struct bt_err *err)
{
    JSON_AUTO struct json *v = NULL;
    BT_BUF_AUTO struct bt_buf canonical = {0}, text = {.max = LEAF_MAX};
    int rc = json_parse(body, n_body, LEAF_MAX, &v, err);

    if (rc == 0)
        rc = respell(v, &canonical, err);
    if (rc == 0 && (canonical.n != n_body || memcmp(bt_buf_text(&canonical), body, n_body) != 0))
        rc = bt_fail(err, BT_ERR_INVALID, "an entry's body is not in its canonical spelling");
    if (rc == 0)
        rc = check_sigs(kind, sigs, n_sigs, &canonical, err);
    if (rc == 0)
        rc = spell(kind, &canonical, sigs, n_sigs, &text, err);
    if (rc == 0)
        bt_buf_add(out, text.p, text.n);
    return rc;
}

static int read_sig(const struct json *v, struct leaf_sig *ret, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf sig = {0};
    const char *text = json_str(json_get(v, "sig"), "");

    if (json_len(v) != 3 || bt_unhex(json_str(json_get(v, "key"), ""), ret->key, 32) < 0 ||
        !bt_copy(ret->role, sizeof ret->role, json_str(json_get(v, "role"), "")) ||
        strlen(text) > 88 || bt_unbase64(&sig, text, strlen(text)) < 0 || sig.n != sizeof ret->sig)
        return bt_fail(err, BT_ERR_INVALID, "an entry's signature is malformed");
    memcpy(ret->sig, sig.p, sig.n);
    return 0;
}

static int read_leaf(const char *text, size_t n, struct leaf *leaf, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf body = {0}, again = {0};
    const struct json *sigs = json_get(leaf->root, "sigs");
    int kind = leaf_kind_parse(json_str(json_get(leaf->root, "kind"), ""));
    int rc;

    if (kind < 0)
        return bt_fail(err, BT_ERR_INVALID, "an entry of an unknown kind");
    leaf->kind = (enum leaf_kind)kind;
    leaf->body = json_get(leaf->root, "body");
    leaf->n_sigs = json_len(sigs);
    if (leaf->n_sigs > LEAF_SIGS_MAX)
        return bt_fail(err, BT_ERR_TOO_LARGE, "%zu signatures on one entry", leaf->n_sigs);
    rc = respell(leaf->body, &body, err);
    for (size_t i = 0; i < leaf->n_sigs && rc == 0; i++)
        rc = read_sig(json_at(sigs, i), &leaf->sigs[i], err);
    if (rc == 0)
        rc = spell(leaf->kind, &body, leaf->sigs, leaf->n_sigs, &again, err);
    if (rc == 0 && (again.n != n || memcmp(bt_buf_text(&again), text, n) != 0))
        rc = bt_fail(err, BT_ERR_INVALID, "an entry is not in its canonical spelling");
    return rc < 0 ? rc : check_sigs(leaf->kind, leaf->sigs, leaf->n_sigs, &body, err);
}

int leaf_parse(const char *text, size_t n, struct leaf *ret, struct bt_err *err)
{
    struct leaf leaf = {0};
    int rc = json_parse(text, n, LEAF_HARD_MAX, &leaf.root, err);

    if (rc == 0)
        rc = read_leaf(text, n, &leaf, err);
    if (rc < 0) {
        leaf_done(&leaf);
        return rc;
    }
    *ret = leaf;
    return 0;
}

void leaf_done(struct leaf *leaf)
{
    json_free(leaf->root);
    leaf->root = NULL;
    leaf->body = NULL;
}
