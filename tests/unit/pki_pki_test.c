/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/pki/pki.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/time.h"

static int make_dir(void **state)
{
    char *dir = bt_strdup("/tmp/bt-pki-XXXXXX");

    *state = mkdtemp(dir);
    return *state ? 0 : -1;
}

static int drop_dir(void **state)
{
    int rc = bt_remove_tree(*state, NULL);

    bt_free(*state);
    return rc;
}

static struct pki *open_pki(const char *dir)
{
    struct pki *p = NULL;
    struct bt_err err;

    if (pki_open(dir, "beamtime.example", NULL, 0, bt_now_us(), &p, &err) < 0)
        fail_msg("%s", err.text);
    return p;
}

/* Issues to a fresh key and verifies what came back as a server would. */
static int issue_and_verify(struct pki *p, const char *nation, const char *kind,
                            const char *subject, struct cert_identity *ret)
{
    BT_BUF_AUTO struct bt_buf csr = {0};
    BT_BUF_AUTO struct bt_buf pem = {0};
    BT_BUF_AUTO struct bt_buf der = {0};
    struct cert_key *key = NULL;
    struct cert *leaf = NULL;
    struct cert_bytes bytes;
    struct bt_err err;
    int rc;

    assert_int_equal(cert_key_new(&key, NULL), 0);
    assert_int_equal(cert_csr_make(key, subject, &csr, NULL), 0);
    rc = pki_issue(p, &(struct pki_whom){nation, kind, subject}, csr.p, csr.n, bt_now_us(), &pem,
                   &err);
    if (rc == 0) {
        assert_int_equal(cert_from_pem(pem.p, pem.n, &leaf, NULL), 0);
        cert_der(leaf, &der);
        bytes = (struct cert_bytes){(const uint8_t *)der.p, der.n};
        rc = cert_verify_client(pki_store(p), &bytes, 1, bt_now_us(), ret, &err);
    }
    cert_free(leaf);
    cert_key_free(key);
    return rc;
}

static void what_it_issues_verifies_also_after_a_restart(void **state)
{
    struct pki *p = open_pki(*state);
    struct cert_identity who = {0};
    uint8_t spki[32];
    uint8_t again[32];

    assert_int_equal(pki_nation(p, "cz", bt_now_us(), spki, NULL), 0);
    assert_int_equal(issue_and_verify(p, "cz", "person", "alice", &who), 0);
    assert_string_equal(who.issuer, "cz");
    assert_string_equal(who.id, "alice");
    assert_memory_equal(who.issuer_spki_sha256, spki, 32);
    pki_free(p);
    p = open_pki(*state);
    assert_int_equal(pki_nation(p, "cz", bt_now_us(), again, NULL), 0);
    assert_memory_equal(again, spki, 32);
    assert_int_equal(issue_and_verify(p, "", "agent", "n1", &who), 0);
    assert_string_equal(who.issuer, CERT_OPERATOR);
    pki_free(p);
}

static void a_nation_names_nobody_but_its_persons(void **state)
{
    struct pki *p = open_pki(*state);
    struct cert_identity who;
    uint8_t spki[32];

    assert_int_equal(pki_nation(p, "cz", bt_now_us(), spki, NULL), 0);
    assert_true(issue_and_verify(p, "cz", "agent", "n1", &who) < 0);
    assert_true(issue_and_verify(p, "fr", "person", "bob", &who) < 0);
    assert_int_equal(pki_nation(p, "operator", bt_now_us(), spki, NULL), -BT_ERR_INVALID);
    assert_int_equal(pki_nation(p, "../x", bt_now_us(), spki, NULL), -BT_ERR_INVALID);
    pki_free(p);
}

static void keys_are_for_the_daemon_alone(void **state)
{
    static const char *const keys[] = {"root", "operator", "server", "log"};
    struct pki *p = open_pki(*state);

    for (size_t i = 0; i < BT_ARRAY_LEN(keys); i++) {
        BT_AUTO char *path = bt_printf("%s/%s.key", (char *)*state, keys[i]);
        struct stat st;

        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    pki_free(p);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make_dir, drop_dir)
    const struct CMUnitTest tests[] = {
        T(what_it_issues_verifies_also_after_a_restart),
        T(a_nation_names_nobody_but_its_persons),
        T(keys_are_for_the_daemon_alone),
    };

    return cmocka_run_group_tests_name("pki_pki", tests, NULL, NULL);
}
