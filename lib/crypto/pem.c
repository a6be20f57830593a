/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/crypto/pem.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/crypto/fail.h"

enum { KEY_FILE_MAX = 4096 /* a P-256 key in PEM is 241 bytes */ };

int pem_add_key(struct bt_buf *to, const EVP_PKEY *key, struct bt_err *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    long n = 0;

    if (bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1)
        n = BIO_get_mem_data(bio, &text);
    if (n > 0) {
        bt_buf_add(to, text, (size_t)n);
        bt_wipe(text, (size_t)n);
    }
    BIO_free(bio);
    return n > 0 ? 0 : crypto_fail(err, BT_ERR_INTERNAL, "cannot write a private key as PEM");
}

int pem_save_key(const EVP_PKEY *key, const char *path, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf pem = {0};
    int rc;

    if (access(path, F_OK) == 0)
        return bt_fail(err, BT_ERR_CONFLICT, "%s exists and keys are not replaced", path);
    rc = pem_add_key(&pem, key, err);
    if (rc == 0)
        rc = bt_file_write(path, 0600, pem.p, pem.n, err);
    if (pem.p)
        bt_wipe(pem.p, pem.n);
    return rc;
}

int pem_load_key(const char *path, const char *type, EVP_PKEY **ret, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf pem = {0};
    EVP_PKEY *key = NULL;
    struct stat st;
    BIO *bio;
    int rc;

    if (stat(path, &st) == 0 && (st.st_mode & 077))
        return bt_next(err, bt_fail(err, BT_ERR_FORBIDDEN, "others may use the key %s", path),
                       "chmod 600 %s", path);
    rc = bt_file_read(path, KEY_FILE_MAX, &pem, err);
    if (rc < 0)
        return rc;
    bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    if (bio)
        key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    if (pem.p)
        bt_wipe(pem.p, pem.n);
    if (!key)
        return crypto_fail(err, BT_ERR_INVALID, "%s is not a private key in PEM", path);
    if (!EVP_PKEY_is_a(key, type)) {
        EVP_PKEY_free(key);
        return bt_fail(err, BT_ERR_INVALID, "%s does not hold an %s key", path, type);
    }
    *ret = key;
    return 0;
}
