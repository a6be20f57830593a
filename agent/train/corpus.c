/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/train/corpus.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <math.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "agent/train/model.h"
#include "kernels/kernels.h"
#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/crypto/hash.h"

enum { TAG_STREAM = 0x73616d706c65 }; /* keeps the sampler's numbers apart from the weights' */

/* ---- language tags ---- */

static size_t letters(const char *s, int (*is)(int))
{
    size_t n = 0;

    while (is((unsigned char)s[n]))
        n++;
    return n;
}

bool corpus_read_tag(const char *text, size_t n, char to[CORPUS_TAG_MAX])
{
    char s[CORPUS_TAG_MAX] = "";
    size_t at, part;

    if (n < 2 || n >= CORPUS_TAG_MAX)
        return false;
    memcpy(s, text, n);
    at = letters(s, isalpha);
    if (at < 2 || at > 3)
        return false;
    for (size_t i = 0; i < n; i++)
        s[i] = (char)(s[i] == '_' ? '-' : tolower((unsigned char)s[i]));
    part = s[at] == '-' ? letters(s + at + 1, isalpha) : 0;
    if (part == 4) {
        s[at + 1] = (char)toupper((unsigned char)s[at + 1]);
        at += 5;
        part = s[at] == '-' ? letters(s + at + 1, isalpha) : 0;
    }
    if (part == 2) {
        s[at + 1] = (char)toupper((unsigned char)s[at + 1]);
        s[at + 2] = (char)toupper((unsigned char)s[at + 2]);
        at += 3;
    } else if (s[at] == '-' && letters(s + at + 1, isdigit) == 3) {
        at += 4;
    }
    if (at != n)
        return false;
    memcpy(to, s, sizeof s);
    return true;
}

static void language_of(const char *path, char tag[CORPUS_TAG_MAX])
{
    const char *part = path;

    for (const char *slash; (slash = strchr(part, '/')); part = slash + 1) {
        if (corpus_read_tag(part, (size_t)(slash - part), tag))
            return;
    }
    if (!corpus_read_tag(part, strlen(part) - strlen(".txt"), tag))
        bt_copy(tag, CORPUS_TAG_MAX, "und");
}

/* ---- the tree ---- */

struct found {
    struct corpus_file file;
    char tag[CORPUS_TAG_MAX];
};

struct scan {
    struct found *found;
    int n, cap;
};

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int by_language(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    int order = strcmp(x->tag, y->tag);

    return order ? order : strcmp(x->file.path, y->file.path);
}

static void add_found(struct scan *s, const char *path)
{
    struct found *f;

    BT_GROW(s->found, s->n, s->cap);
    f = &s->found[s->n++];
    memset(f, 0, sizeof *f);
    f->file.path = bt_strdup(path);
    language_of(path, f->tag);
}

static int scan_tree(struct scan *s, const char *root, struct bt_err *err)
{
    BT_AUTO char *copy = bt_strdup(root);
    char *roots[] = {copy, NULL};
    size_t skip = strlen(root) + 1;
    FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
    int rc = 0;

    if (!fts)
        return bt_fail_errno(err, BT_ERR_IO, "cannot read the corpus %s", root);
    for (FTSENT *e; rc == 0 && (e = fts_read(fts));) {
        if (e->fts_info == FTS_D && e->fts_level > 0 && e->fts_name[0] == '.')
            fts_set(fts, e, FTS_SKIP);
        else if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR || e->fts_info == FTS_NS)
            rc = bt_fail(err, e->fts_errno == ENOENT ? BT_ERR_NOT_FOUND : BT_ERR_IO,
                         "cannot read the corpus %s: %s", e->fts_path, strerror(e->fts_errno));
        else if (e->fts_info == FTS_F && e->fts_level > 0 && e->fts_name[0] != '.' &&
                 bt_ends(e->fts_name, ".txt"))
            add_found(s, e->fts_path + skip);
        if (s->n > CORPUS_FILES_MAX)
            rc = bt_fail(err, BT_ERR_TOO_LARGE, "the corpus %s has more than %d files", root,
                         CORPUS_FILES_MAX);
    }
    fts_close(fts);
    if (rc == 0 && s->n == 0)
        rc = bt_next(err, bt_fail(err, BT_ERR_NOT_FOUND, "the corpus %s has no file *.txt", root),
                     "deploy/fetch-corpus --small %s", root);
    return rc;
}

static int map_text(const char *root, struct corpus_file *f, struct bt_err *err)
{
    BT_AUTO char *path = bt_printf("%s/%s", root, f->path);
    BT_FD_AUTO int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    void *p;

    if (fd < 0 || fstat(fd, &st) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot read %s", path);
    if (!st.st_size)
        return 0;
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return bt_fail_errno(err, BT_ERR_IO, "cannot map %s", path);
    f->text = p;
    f->bytes = (size_t)st.st_size;
    return 0;
}

static int check_text(const char *root, struct corpus_file *f, struct bt_err *err)
{
    uint8_t sum[BT_SHA256_SIZE];
    const char *text = (const char *)f->text, *end = text + f->bytes;

    bt_sha256(f->text, f->bytes, sum);
    bt_hex(sum, sizeof sum, f->sha256);
    if (!f->bytes || bt_is_utf8(text, f->bytes))
        return 0;
    for (int line = 1; text < end; line++) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        size_t n = (size_t)((stop ? stop + 1 : end) - text);

        if (!bt_is_utf8(text, n))
            return bt_fail(err, BT_ERR_CORRUPT, "%s/%s is not UTF-8 text: line %d", root, f->path,
                           line);
        text += n;
    }
    return bt_fail(err, BT_ERR_CORRUPT, "%s/%s is not UTF-8 text", root, f->path);
}

/* ---- languages ---- */

static bool is_listed(const char *list, const char *tag)
{
    size_t n = strlen(tag);

    for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',') {
        p += strspn(p, " ");
        if (strcspn(p, ", ") == n && !memcmp(p, tag, n))
            return true;
    }
    return false;
}

/* Drops files of languages that were not asked for; each one asked for must be there. */
static int keep_listed(struct scan *s, const char *list, const char *root, struct bt_err *err)
{
    int n = 0;

    if (!list || !*list)
        return 0;
    for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',') {
        BT_AUTO char *tag = NULL;
        bool there = false;

        p += strspn(p, " ");
        tag = bt_strndup(p, strcspn(p, ", "));
        for (int i = 0; i < s->n; i++)
            there |= bt_streq(s->found[i].tag, tag);
        if (!there)
            return bt_fail(err, BT_ERR_NOT_FOUND, "the corpus %s has no text in '%s'", root, tag);
    }
    for (int i = 0; i < s->n; i++) {
        if (is_listed(list, s->found[i].tag))
            s->found[n++] = s->found[i];
        else
            bt_free(s->found[i].file.path);
    }
    s->n = n;
    return 0;
}

static int group(struct corpus *c, struct scan *s, struct bt_err *err)
{
    c->files = bt_new_n(struct corpus_file, s->n);
    c->languages = bt_new_n(struct corpus_language, s->n);
    for (int i = 0; i < s->n; i++) {
        struct corpus_language *l = &c->languages[c->n_languages];

        if (i == 0 || strcmp(s->found[i].tag, l[-1].tag) != 0) {
            l->first_file = i;
            memcpy(l->tag, s->found[i].tag, sizeof l->tag);
            c->n_languages++;
        }
        c->files[i] = s->found[i].file;
        c->files[i].language = c->n_languages - 1;
        c->languages[c->n_languages - 1].n_files++;
        c->n_files++;
    }
    if (c->n_languages > CORPUS_LANGUAGES_MAX)
        return bt_fail(err, BT_ERR_TOO_LARGE, "the corpus %s names %d languages, more than %d",
                       c->root, c->n_languages, CORPUS_LANGUAGES_MAX);
    return 0;
}

/* Walks a language's files from the end until `want` bytes are held out. */
static void hold_out(struct corpus *c, struct corpus_language *l, int64_t want)
{
    for (int i = l->first_file + l->n_files - 1; i >= l->first_file; i--) {
        struct corpus_file *f = &c->files[i];
        int64_t rest = want - l->held_bytes;

        f->train_bytes = f->bytes;
        if (rest >= (int64_t)f->bytes) {
            f->train_bytes = 0;
        } else if (rest > 0) {
            const uint8_t *from = f->text + f->bytes - rest;
            const uint8_t *line = memchr(from, '\n', (size_t)rest);

            f->train_bytes = line ? (size_t)(line + 1 - f->text) : f->bytes;
        }
        l->held_bytes += (int64_t)(f->bytes - f->train_bytes);
    }
}

static void count_tokens(struct corpus *c, struct corpus_language *l)
{
    for (int i = l->first_file; i < l->first_file + l->n_files; i++) {
        struct corpus_file *f = &c->files[i];

        f->first_token = l->train_tokens;
        l->train_tokens += f->train_bytes ? (int64_t)f->train_bytes + 1 : 0;
    }
}

static int share_out(struct corpus *c, const struct corpus_config *config, struct bt_err *err)
{
    double sum = 0;

    for (int i = 0; i < c->n_languages; i++) {
        struct corpus_language *l = &c->languages[i];
        double want;

        for (int k = l->first_file; k < l->first_file + l->n_files; k++)
            l->bytes += (int64_t)c->files[k].bytes;
        want = fmin((double)l->bytes * config->held_out, (double)config->held_max);
        hold_out(c, l, (int64_t)want);
        count_tokens(c, l);
        c->bytes += l->bytes;
        l->share = l->train_tokens ? pow((double)l->train_tokens, 1 / config->temperature) : 0;
        sum += l->share;
    }
    if (sum <= 0)
        return bt_fail(err, BT_ERR_NOT_FOUND, "the corpus %s holds no text to train on", c->root);
    for (int i = 0; i < c->n_languages; i++)
        c->languages[i].share /= sum;
    return 0;
}

static int open_files(struct corpus *c, struct bt_err *err)
{
    int rc = 0;

    for (int i = 0; rc == 0 && i < c->n_files; i++) {
        rc = map_text(c->root, &c->files[i], err);
        if (rc == 0)
            rc = check_text(c->root, &c->files[i], err);
    }
    return rc;
}

int corpus_open(struct corpus *ret, const char *root, const struct corpus_config *config,
                struct bt_err *err)
{
    struct corpus c = {.root = bt_strdup(root)};
    struct scan s = {0};
    size_t n = strlen(root);
    int rc;

    while (n > 1 && c.root[n - 1] == '/')
        c.root[--n] = '\0';
    rc = scan_tree(&s, c.root, err);
    if (rc == 0)
        qsort(s.found, (size_t)s.n, sizeof *s.found, by_language);
    if (rc == 0)
        rc = keep_listed(&s, config->languages, c.root, err);
    if (rc == 0)
        rc = group(&c, &s, err);
    else
        for (int i = 0; i < s.n; i++)
            bt_free(s.found[i].file.path);
    bt_free(s.found);
    if (rc == 0)
        rc = open_files(&c, err);
    if (rc == 0)
        rc = share_out(&c, config, err);
    if (rc < 0) {
        corpus_close(&c);
        return rc;
    }
    *ret = c;
    return 0;
}

void corpus_close(struct corpus *c)
{
    for (int i = 0; i < c->n_files; i++) {
        struct corpus_file *f = &c->files[i];

        if (f->text)
            munmap((void *)(uintptr_t)f->text, f->bytes);
        bt_free(f->path);
    }
    bt_free(c->files);
    bt_free(c->languages);
    bt_free(c->root);
    *c = (struct corpus){0};
}

/* ---- samples ---- */

static uint64_t below(uint64_t random, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)random * n) >> 64);
}

static const struct corpus_language *pick(const struct corpus *c, double u)
{
    const struct corpus_language *last = NULL;

    for (int i = 0; i < c->n_languages; i++) {
        const struct corpus_language *l = &c->languages[i];

        if (l->share <= 0)
            continue;
        last = l;
        if (u < l->share)
            return l;
        u -= l->share;
    }
    return last;
}

/* The file of a language that holds its token number `at`. */
static int file_at(const struct corpus *c, const struct corpus_language *l, int64_t at)
{
    int low = l->first_file, high = l->first_file + l->n_files;

    while (high - low > 1) {
        int middle = (low + high) / 2;

        if (c->files[middle].first_token <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Token `at` of file f; the one behind its text ends the document. */
static int32_t token(const struct corpus_file *f, int64_t at)
{
    return at < (int64_t)f->train_bytes ? f->text[at] : TOKEN_EOS;
}

void corpus_sample(const struct corpus *c, uint64_t seed, uint64_t i, int t, int32_t *in,
                   int32_t *target)
{
    const struct corpus_language *l;
    const struct corpus_file *f;
    uint32_t u[4];
    int64_t at;

    kern_philox(seed, TAG_STREAM, i, u);
    l = pick(c, u[0] * 0x1p-32);
    assert(l); /* corpus_open leaves no corpus without a share */
    at = (int64_t)below((uint64_t)u[2] << 32 | u[3], (uint64_t)l->train_tokens);
    f = &c->files[file_at(c, l, at)];
    at -= f->first_token;
    while (at < (int64_t)f->train_bytes && (f->text[at] & 0xc0) == 0x80)
        at++; /* begin with a whole character */
    for (int k = 0; k <= t; k++, at++) {
        while (!f->train_bytes || at > (int64_t)f->train_bytes) {
            at = 0;
            f = f + 1 < c->files + l->first_file + l->n_files ? f + 1 : c->files + l->first_file;
        }
        if (k < t)
            in[k] = token(f, at);
        if (k > 0)
            target[k - 1] = token(f, at);
    }
}

size_t corpus_held(const struct corpus *c, int language, int64_t from, size_t n, uint8_t *to)
{
    const struct corpus_language *l = &c->languages[language];
    size_t done = 0;

    for (int i = l->first_file; i < l->first_file + l->n_files && done < n; i++) {
        const struct corpus_file *f = &c->files[i];
        int64_t held = (int64_t)(f->bytes - f->train_bytes);
        size_t part;

        if (from >= held) {
            from -= held;
            continue;
        }
        part = BT_MIN(n - done, (size_t)(held - from));
        memcpy(to + done, f->text + f->train_bytes + from, part);
        done += part;
        from = 0;
    }
    return done;
}
