/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/pki/pki.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

struct authority {
    char name[CERT_NAME_MAX]; /* nation code, or CERT_OPERATOR */
    char host[CERT_HOST_MAX];
    struct cert *cert;
    struct cert_key *key;
};

struct pki {
    char *dir;
    char *facility;
    struct cert *root;
    struct cert_key *root_key;
    char *root_pem;
    char *server_chain;
    char *server_key;
    int64_t server_until_us;
    struct sign_key *log_key;
    struct cert_store *store;
    pthread_mutex_t lock; /* over what follows */
    struct authority **authorities;
    int n_authorities, cap_authorities;
};

enum { PEM_MAX = 65536, RENEW_DAYS = 180 /* the server's certificate, at a start */ };

static char *path_of(const struct pki *p, const char *name, const char *suffix)
{
    return bt_printf("%s/%s.%s", p->dir, name, suffix);
}

static void authority_free(struct authority *a)
{
    if (!a)
        return;
    cert_free(a->cert);
    cert_key_free(a->key);
    bt_free(a);
}

void pki_free(struct pki *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->n_authorities; i++)
        authority_free(p->authorities[i]);
    bt_free(p->authorities);
    cert_free(p->root);
    cert_key_free(p->root_key);
    sign_key_free(p->log_key);
    cert_store_free(p->store);
    if (p->server_key)
        bt_wipe(p->server_key, strlen(p->server_key));
    bt_free(p->server_key);
    bt_free(p->server_chain);
    bt_free(p->root_pem);
    bt_free(p->facility);
    bt_free(p->dir);
    pthread_mutex_destroy(&p->lock);
    bt_free(p);
}

/* Loads the key of this name, making it first if it is not there. */
static int need_key(struct pki *p, const char *name, struct cert_key **ret, struct bt_err *err)
{
    BT_AUTO char *path = path_of(p, name, "key");

    return cert_key_need(path, ret, err);
}

/* The certificate of this name; *ret NULL when there is none. */
static int load_cert(struct pki *p, const char *name, struct cert **ret, struct bt_err *err)
{
    BT_AUTO char *path = path_of(p, name, "pem");
    BT_BUF_AUTO struct bt_buf pem = {0};
    int rc = bt_file_read(path, PEM_MAX, &pem, err);

    *ret = NULL;
    if (rc == -BT_ERR_NOT_FOUND)
        return 0;
    return rc < 0 ? rc : cert_from_pem(bt_buf_text(&pem), pem.n, ret, err);
}

static int save_cert(struct pki *p, const char *name, const struct cert *leaf,
                     const struct cert *above, struct bt_err *err)
{
    BT_AUTO char *path = path_of(p, name, "pem");
    BT_BUF_AUTO struct bt_buf pem = {0};

    cert_pem(leaf, &pem);
    if (above)
        cert_pem(above, &pem);
    return bt_file_write(path, 0644, pem.p, pem.n, err);
}

static int open_root(struct pki *p, int64_t now_us, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf pem = {0};
    int rc = need_key(p, "root", &p->root_key, err);

    if (rc == 0)
        rc = load_cert(p, "root", &p->root, err);
    if (rc == 0 && !p->root) {
        rc = cert_make_root(p->facility, p->root_key, now_us, &p->root, err);
        if (rc == 0)
            rc = save_cert(p, "root", p->root, NULL, err);
    }
    if (rc == 0)
        rc = cert_matches_key(p->root, p->root_key, err);
    if (rc == 0)
        rc = cert_store_add_root(p->store, p->root, err);
    if (rc < 0)
        return rc;
    cert_pem(p->root, &pem);
    p->root_pem = bt_buf_take(&pem);
    return 0;
}

/* Loads or makes one intermediate and enters it into the store. */
static int open_authority(struct pki *p, const char *name, int64_t now_us, struct authority **ret,
                          struct bt_err *err)
{
    struct authority *a = bt_new(struct authority);
    int rc;

    bt_copy(a->name, sizeof a->name, name);
    snprintf(a->host, sizeof a->host, "%s.%s", name, p->facility);
    rc = need_key(p, name, &a->key, err);
    if (rc == 0)
        rc = load_cert(p, name, &a->cert, err);
    if (rc == 0 && !a->cert) {
        struct cert_pub *pub = cert_key_public(a->key);

        rc = cert_make_intermediate(p->root, p->root_key, a->host, pub, now_us, &a->cert, err);
        cert_pub_free(pub);
        if (rc == 0)
            rc = save_cert(p, name, a->cert, NULL, err);
    }
    if (rc == 0)
        rc = cert_matches_key(a->cert, a->key, err);
    if (rc == 0)
        rc = cert_store_add_issuer(p->store, a->cert, name, a->host, err);
    if (rc < 0) {
        authority_free(a);
        return rc;
    }
    BT_GROW(p->authorities, p->n_authorities, p->cap_authorities);
    p->authorities[p->n_authorities++] = a;
    *ret = a;
    return 0;
}

static struct authority *find(const struct pki *p, const char *name)
{
    for (int i = 0; i < p->n_authorities; i++)
        if (!strcmp(p->authorities[i]->name, name))
            return p->authorities[i];
    return NULL;
}

static int issue_server(struct pki *p, const struct authority *op, const struct cert_key *key,
                        const char *const *names, size_t n_names, int64_t now_us,
                        struct bt_err *err)
{
    struct cert_leaf leaf = {.host = op->host,
                             .id = "beamtimed",
                             .kind = CERT_SERVER,
                             .names = names,
                             .n_names = n_names};
    struct cert_pub *pub = cert_key_public(key);
    struct cert *cert = NULL;
    int rc = cert_issue(op->cert, op->key, pub, &leaf, now_us, &cert, err);

    cert_pub_free(pub);
    if (rc == 0)
        rc = save_cert(p, "server", cert, op->cert, err);
    cert_free(cert);
    return rc;
}

static int open_server(struct pki *p, const struct authority *op, const char *const *names,
                       size_t n_names, int64_t now_us, struct bt_err *err)
{
    BT_AUTO char *path = path_of(p, "server", "pem");
    BT_BUF_AUTO struct bt_buf chain = {0};
    BT_BUF_AUTO struct bt_buf pem = {0};
    struct cert_key *key = NULL;
    struct cert *have = NULL;
    int rc = need_key(p, "server", &key, err);

    if (rc == 0)
        rc = load_cert(p, "server", &have, err);
    if (rc == 0 && (!have || cert_not_after_us(have) < now_us + RENEW_DAYS * 86400 * BT_US_PER_S))
        rc = issue_server(p, op, key, names, n_names, now_us, err);
    if (rc == 0)
        rc = bt_file_read(path, PEM_MAX, &chain, err);
    if (rc == 0)
        rc = cert_key_pem(key, &pem, err);
    cert_free(have);
    have = NULL;
    if (rc == 0)
        rc = cert_from_pem(bt_buf_text(&chain), chain.n, &have, err);
    if (rc == 0)
        p->server_until_us = cert_not_after_us(have);
    cert_free(have);
    cert_key_free(key);
    if (rc < 0)
        return rc;
    p->server_chain = bt_buf_take(&chain);
    p->server_key = bt_buf_take(&pem);
    return 0;
}

static int open_log_key(struct pki *p, struct bt_err *err)
{
    BT_AUTO char *path = path_of(p, "log", "key");
    int rc;

    if (access(path, F_OK) == 0)
        return sign_key_load(path, &p->log_key, err);
    rc = sign_key_new(&p->log_key, err);
    return rc < 0 ? rc : sign_key_save(p->log_key, path, err);
}

/* Every <code>.key beside ours is a nation's. */
static int open_nations(struct pki *p, int64_t now_us, struct bt_err *err)
{
    DIR *dir = opendir(p->dir);
    struct dirent *d;
    int rc = 0;

    if (!dir)
        return bt_fail_errno(err, BT_ERR_IO, "cannot list %s", p->dir);
    while (rc == 0 && (d = readdir(dir))) {
        char name[CERT_NAME_MAX];
        struct authority *a;
        size_t n = strlen(d->d_name);

        if (!bt_ends(d->d_name, ".key") || n - 4 >= sizeof name)
            continue;
        memcpy(name, d->d_name, n - 4);
        name[n - 4] = '\0';
        if (bt_is_name(name, 15) && strcmp(name, "root") != 0 && strcmp(name, "server") != 0 &&
            strcmp(name, "log") != 0 && !find(p, name))
            rc = open_authority(p, name, now_us, &a, err);
    }
    closedir(dir);
    return rc;
}

int pki_open(const char *dir, const char *facility, const char *const *names, size_t n_names,
             int64_t now_us, struct pki **ret, struct bt_err *err)
{
    struct pki *p = bt_new(struct pki);
    struct authority *op = NULL;
    int rc;

    pthread_mutex_init(&p->lock, NULL);
    p->dir = bt_strdup(dir);
    p->facility = bt_strdup(facility);
    p->store = cert_store_new();
    rc = bt_mkdirs(dir, 0700, err);
    if (rc == 0)
        rc = open_root(p, now_us, err);
    if (rc == 0)
        rc = open_authority(p, CERT_OPERATOR, now_us, &op, err);
    if (rc == 0)
        rc = open_server(p, op, names, n_names, now_us, err);
    if (rc == 0)
        rc = open_log_key(p, err);
    if (rc == 0)
        rc = open_nations(p, now_us, err);
    if (rc < 0) {
        pki_free(p);
        return rc;
    }
    *ret = p;
    return 0;
}

int pki_nation(struct pki *p, const char *code, int64_t now_us, uint8_t ret_spki[32],
               struct bt_err *err)
{
    struct authority *a;
    int rc = 0;

    if (!bt_is_name(code, 15) || !strcmp(code, CERT_OPERATOR) || !strcmp(code, "root") ||
        !strcmp(code, "server") || !strcmp(code, "log"))
        return bt_fail(err, BT_ERR_INVALID, "'%s' cannot be a nation's code", code);
    pthread_mutex_lock(&p->lock);
    a = find(p, code);
    if (!a)
        rc = open_authority(p, code, now_us, &a, err);
    if (rc == 0)
        cert_spki_sha256(a->cert, ret_spki);
    pthread_mutex_unlock(&p->lock);
    return rc;
}

int pki_issue(struct pki *p, const struct pki_whom *whom, const char *csr_pem, size_t n_csr,
              int64_t now_us, struct bt_buf *to, struct bt_err *err)
{
    const char *name = whom->nation[0] ? whom->nation : CERT_OPERATOR;
    const struct authority *a;
    struct cert_pub *pub = NULL;
    struct cert *cert = NULL;
    int k = cert_kind_parse(whom->kind);
    int rc;

    pthread_mutex_lock(&p->lock);
    a = find(p, name); /* authorities are never taken away */
    pthread_mutex_unlock(&p->lock);
    if (!a || k < 0)
        return bt_fail(err, BT_ERR_NOT_FOUND, "there is no authority '%s' for a %s", name,
                       whom->kind);
    rc = cert_csr_parse(csr_pem, n_csr, &pub, err);
    if (rc == 0) {
        struct cert_leaf leaf = {.host = a->host, .id = whom->subject, .kind = (enum cert_kind)k};

        rc = cert_issue(a->cert, a->key, pub, &leaf, now_us, &cert, err);
    }
    if (rc == 0) {
        cert_pem(cert, to);
        cert_pem(a->cert, to);
    }
    cert_pub_free(pub);
    cert_free(cert);
    return rc;
}

struct cert_store *pki_store(struct pki *p)
{
    return p->store;
}

const char *pki_root_pem(const struct pki *p)
{
    return p->root_pem;
}

int64_t pki_server_until_us(const struct pki *pki)
{
    return pki->server_until_us;
}

const char *pki_server_chain(const struct pki *p)
{
    return p->server_chain;
}

const char *pki_server_key(const struct pki *p)
{
    return p->server_key;
}

const struct sign_key *pki_log_key(const struct pki *p)
{
    return p->log_key;
}

const char *pki_facility(const struct pki *p)
{
    return p->facility;
}
