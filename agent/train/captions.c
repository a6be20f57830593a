/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/train/captions.h"

#include <ctype.h>
#include <errno.h>
#include <fts.h>
#include <math.h>
#include <png.h>

#include "kernels/kernels.h"
#include "lib/base/buf.h"
#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/crypto/hash.h"

enum {
    TAG_STREAM = 0x63617074696f6e, /* keeps the sampler's numbers apart from the weights' */
    HELD_OF = 16,
    TEXT_MAX = 1 << 20,
    PICTURE_MAX = 64 << 20,
};

/* ---- one picture ---- */

/* Mean colour of the pixels x0..x1, y0..y1 of RGBA rows over white, -1 to 1. */
static void average(const uint8_t *rgba, int width, const int box[4], float to[3])
{
    int64_t sum[3] = {0}, n = (int64_t)(box[1] - box[0]) * (box[3] - box[2]);

    for (int y = box[2]; y < box[3]; y++) {
        for (int x = box[0]; x < box[1]; x++) {
            const uint8_t *p = rgba + ((size_t)y * (size_t)width + (size_t)x) * 4;

            for (int k = 0; k < 3; k++)
                sum[k] += p[k] * p[3] + 255 * (255 - p[3]);
        }
    }
    for (int k = 0; k < 3; k++)
        to[k] = (float)((double)sum[k] / (double)n / (255 * 127.5) - 1);
}

/* Into the middle of a white square of `size`, keeping its proportions. */
static void shrink(const uint8_t *rgba, int width, int height, int size, float *to)
{
    int longer = BT_MAX(width, height);
    int w = BT_MAX(1, (int)((int64_t)width * size / longer));
    int h = BT_MAX(1, (int)((int64_t)height * size / longer));
    int left = (size - w) / 2, top = (size - h) / 2;

    for (int i = 0; i < size * size * 3; i++)
        to[i] = 1;
    for (int y = 0; y < h; y++) {
        for (int x = 0; x < w; x++) {
            int box[4] = {(int)((int64_t)x * width / w), (int)((int64_t)(x + 1) * width / w),
                          (int)((int64_t)y * height / h), (int)((int64_t)(y + 1) * height / h)};

            box[1] = BT_MAX(box[1], box[0] + 1);
            box[3] = BT_MAX(box[3], box[2] + 1);
            average(rgba, width, box, to + ((size_t)(top + y) * (size_t)size + left + x) * 3);
        }
    }
}

static int read_png(const char *path, const struct bt_buf *file, int size, float *to,
                    struct bt_err *err)
{
    png_image image = {.version = PNG_IMAGE_VERSION};
    BT_AUTO uint8_t *rgba = NULL;

    if (!png_image_begin_read_from_memory(&image, bt_buf_text(file), file->n))
        return bt_fail(err, BT_ERR_CORRUPT, "%s is no picture: %.60s", path, image.message);
    if (image.width > PICTURE_SIDE_MAX || image.height > PICTURE_SIDE_MAX ||
        (int64_t)image.width * image.height > PICTURE_MAX) {
        png_image_free(&image);
        return bt_fail(err, BT_ERR_TOO_LARGE, "%s has %u by %u pixels", path, image.width,
                       image.height);
    }
    image.format = PNG_FORMAT_RGBA;
    rgba = bt_alloc(PNG_IMAGE_SIZE(image), 1);
    if (!png_image_finish_read(&image, NULL, rgba, 0, NULL))
        return bt_fail(err, BT_ERR_CORRUPT, "%s is no whole picture: %.60s", path, image.message);
    shrink(rgba, (int)image.width, (int)image.height, size, to);
    return 0;
}

/* ---- captions of one picture ---- */

void captions_parse(char *text, size_t n,
                    void (*each)(void *arg, const char *tag, const char *text), void *arg)
{
    char *at = text, *end = text + n;

    for (int line = 0; at < end; line++) {
        char *stop = memchr(at, '\n', (size_t)(end - at)), *next = stop ? stop + 1 : end;
        char tag[CORPUS_TAG_MAX] = "en", *from = at, *equals;
        size_t left = (size_t)((stop ? stop : end) - at);

        equals = memmem(at, left, ".utf8=", 6);
        if (line > 0) {
            if (!equals || !corpus_read_tag(at, (size_t)(equals - at), tag)) {
                at = next;
                continue;
            }
            from = equals + 6;
            left -= (size_t)(from - at);
        }
        while (left && isspace((unsigned char)*from)) {
            from++;
            left--;
        }
        while (left && isspace((unsigned char)from[left - 1]))
            left--;
        if (left && left <= CAPTION_MAX && bt_is_utf8(from, left) && !memchr(from, '\0', left)) {
            BT_AUTO char *copy = bt_strndup(from, left);

            each(arg, tag, copy);
        }
        at = next;
    }
}

struct adding {
    struct captions *c;
    struct corpus *as;
    const char *path, *languages;
    int cap_languages;
    bool unseen;
};

static bool is_wanted(const char *list, const char *tag)
{
    size_t n = strlen(tag);

    if (!*list)
        return true;
    for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',') {
        p += strspn(p, " ");
        if (strcspn(p, ", ") == n && !memcmp(p, tag, n))
            return true;
    }
    return false;
}

static bool one_of(const char *path, const char *tag)
{
    BT_AUTO char *name = bt_printf("%s\n%s", path, tag);
    uint8_t sum[BT_SHA256_SIZE];

    bt_sha256(name, strlen(name), sum);
    return sum[0] % HELD_OF == 0;
}

static int language_of(struct adding *a, const char *tag)
{
    struct corpus *c = a->as;

    for (int i = 0; i < c->n_languages; i++) {
        if (bt_streq(c->languages[i].tag, tag))
            return i;
    }
    if (c->n_languages == CORPUS_LANGUAGES_MAX)
        return -1;
    BT_GROW(c->languages, c->n_languages, a->cap_languages);
    memset(&c->languages[c->n_languages], 0, sizeof *c->languages);
    bt_copy(c->languages[c->n_languages].tag, CORPUS_TAG_MAX, tag);
    return c->n_languages++;
}

static void add_caption(void *arg, const char *tag, const char *text)
{
    struct adding *a = arg;
    enum captions_part which = a->unseen              ? CAPTIONS_UNSEEN
                               : one_of(a->path, tag) ? CAPTIONS_HELD
                                                      : CAPTIONS_TRAIN;
    struct part *p = &a->c->parts[which];
    int language;

    if (!is_wanted(a->languages, tag))
        return;
    language = language_of(a, tag);
    if (language < 0)
        return;
    BT_GROW(p->all, p->n, p->cap);
    p->all[p->n++] = (struct caption){.picture = a->c->n_pictures,
                                      .language = language,
                                      .text = bt_printf("%s: %s\n", tag, text),
                                      .prompt = (int)strlen(tag) + 2};
    a->as->languages[language].bytes += (int64_t)strlen(text);
    if (which == CAPTIONS_TRAIN)
        a->as->languages[language].share++;
    else
        a->as->languages[language].held_bytes += (int64_t)strlen(text);
}

/* ---- the tree ---- */

static void add_file(struct adding *a, int *cap, const char *path, const struct bt_buf *file)
{
    uint8_t sum[BT_SHA256_SIZE];
    struct corpus_file *f;

    BT_GROW(a->as->files, a->as->n_files, *cap);
    f = &a->as->files[a->as->n_files++];
    memset(f, 0, sizeof *f);
    f->path = bt_strdup(path);
    f->bytes = file->n;
    bt_sha256(file->p, file->n, sum);
    bt_hex(sum, sizeof sum, f->sha256);
    a->as->bytes += (int64_t)file->n;
}

/* root/path.png with root/path.txt; a picture without captions of a language asked for is left out.
 */
static int add_picture(struct adding *a, int *cap_files, const char *root, const char *path,
                       struct bt_err *err)
{
    struct captions *c = a->c;
    BT_AUTO char *stem = bt_strndup(path, strlen(path) - 4);
    BT_AUTO char *png = bt_printf("%s/%s", root, path), *txt = bt_printf("%s/%s.txt", root, stem);
    BT_AUTO char *beside = bt_printf("%s.txt", stem);
    BT_BUF_AUTO struct bt_buf picture = {0}, text = {0};
    int before = c->parts[0].n + c->parts[1].n + c->parts[2].n, rc;
    float *pixels;

    if (access(txt, F_OK) < 0)
        return 0;
    if (c->n_pictures == PICTURES_MAX)
        return bt_fail(err, BT_ERR_TOO_LARGE, "%s holds more than %d pictures", root, PICTURES_MAX);
    rc = bt_file_read(txt, TEXT_MAX, &text, err);
    if (rc == 0)
        rc = bt_file_read(png, PICTURE_MAX, &picture, err);
    if (rc < 0)
        return rc;
    if (!text.n || !bt_is_utf8(bt_buf_text(&text), text.n))
        return bt_fail(err, BT_ERR_CORRUPT, "%s is not UTF-8 text", txt);
    pixels = bt_new_n(float, (size_t)c->size *(size_t)c->size * 3);
    rc = read_png(png, &picture, c->size, pixels, err);
    if (rc < 0) {
        bt_free(pixels);
        return rc;
    }
    add_file(a, cap_files, path, &picture);
    add_file(a, cap_files, beside, &text);
    a->path = path;
    a->unseen = one_of(path, "");
    captions_parse(text.p, text.n, add_caption, a);
    if (c->parts[0].n + c->parts[1].n + c->parts[2].n == before) {
        bt_free(pixels);
        return 0;
    }
    BT_GROW(c->pixels, c->n_pictures, c->cap_pictures);
    c->pixels[c->n_pictures++] = pixels;
    return 0;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int scan(struct adding *a, const char *root, struct bt_err *err)
{
    BT_AUTO char *copy = bt_strdup(root);
    char *roots[] = {copy, NULL};
    size_t skip = strlen(root) + 1;
    FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
    int cap_files = 0, rc = 0;

    if (!fts)
        return bt_fail_errno(err, BT_ERR_IO, "cannot read the pictures in %s", root);
    for (FTSENT *e; rc == 0 && (e = fts_read(fts));) {
        if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR || e->fts_info == FTS_NS)
            rc = bt_fail(err, e->fts_errno == ENOENT ? BT_ERR_NOT_FOUND : BT_ERR_IO,
                         "cannot read the pictures in %s: %s", e->fts_path, strerror(e->fts_errno));
        else if (e->fts_info == FTS_F && e->fts_level > 0 && e->fts_namelen > 4 &&
                 bt_ends(e->fts_name, ".png"))
            rc = add_picture(a, &cap_files, root, e->fts_path + skip, err);
    }
    fts_close(fts);
    return rc;
}

int captions_open(struct captions *ret, struct corpus *as, const char *root, int size,
                  const char *languages, struct bt_err *err)
{
    struct captions c = {.size = size};
    struct corpus described = {.root = bt_strdup(root)};
    struct adding a = {.c = &c, .as = &described, .languages = languages};
    size_t n = strlen(root);
    int rc;

    while (n > 1 && described.root[n - 1] == '/')
        described.root[--n] = '\0';
    rc = scan(&a, described.root, err);
    if (rc == 0 && !c.parts[CAPTIONS_TRAIN].n)
        rc = bt_next(err,
                     bt_fail(err, BT_ERR_NOT_FOUND,
                             "the folder %s holds no picture NAME.png with captions in NAME.txt%s",
                             root, *languages ? " in the languages asked for" : ""),
                     "deploy/fetch-corpus --images %s", root);
    if (rc < 0) {
        captions_close(&c);
        corpus_close(&described);
        return rc;
    }
    for (int i = 0; i < described.n_languages; i++)
        described.languages[i].share /= c.parts[CAPTIONS_TRAIN].n;
    *ret = c;
    *as = described;
    return 0;
}

void captions_close(struct captions *c)
{
    for (int i = 0; i < c->n_pictures; i++)
        bt_free(c->pixels[i]);
    bt_free(c->pixels);
    for (int k = 0; k < CAPTIONS_PARTS; k++) {
        for (int i = 0; i < c->parts[k].n; i++)
            bt_free(c->parts[k].all[i].text);
        bt_free(c->parts[k].all);
    }
    *c = (struct captions){0};
}

const struct caption *captions_sample(const struct captions *c, uint64_t seed, uint64_t i,
                                      uint64_t k)
{
    const struct part *p = &c->parts[CAPTIONS_TRAIN];
    uint32_t u[4];

    kern_philox(seed ^ TAG_STREAM, k, i, u);
    return &p->all[(uint64_t)u[0] * (uint64_t)p->n >> 32];
}
