/* fuzz_cert.c - certificates and requests from the wire: nothing that is not issued here passes.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>

#include "lib/base/time.h"
#include "lib/crypto/cert.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

#define NOW (INT64_C(1795000000) * BT_US_PER_S)

/* A facility of its own, once: its keys are fresh, so no input can hold a good certificate. */
static struct cert_store *facility(void)
{
    static struct cert_store *store;
    struct cert_key *key;
    struct cert *root;

    if (store)
        return store;
    store = cert_store_new();
    assert(cert_key_new(&key, NULL) == 0);
    assert(cert_make_root("beam.example", key, NOW, &root, NULL) == 0);
    assert(cert_store_add_root(store, root, NULL) == 0);
    cert_free(root);
    cert_key_free(key);
    return store;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    const struct cert_bytes sent = {p, n};
    struct cert_identity id;
    struct cert_pub *pub;
    struct cert *c;
    struct bt_err err;

    assert(cert_verify_client(facility(), &sent, 1, NOW, &id, &err) == -BT_ERR_UNAUTHENTICATED);
    assert(err.text[0]);
    if (cert_csr_parse((const char *)p, n, &pub, &err) == 0)
        cert_pub_free(pub);
    if (cert_from_pem((const char *)p, n, &c, &err) == 0)
        cert_free(c);
    if (cert_from_der(p, n, &c, &err) == 0)
        cert_free(c);
    return 0;
}
