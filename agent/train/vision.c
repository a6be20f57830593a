/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/train/vision.h"

#include <math.h>

#include "agent/train/export.h"
#include "agent/train/safetensors.h"
#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/crypto/hash.h"
#include "lib/json/json.h"

enum { PER_ROW = 4, HELD_MAX = 2048 };

static struct flamingo_shape shape_of(const struct config *c)
{
    return (struct flamingo_shape){.image = (int)c->image_size,
                                   .patch = (int)c->patch,
                                   .width = (int)c->vision_width,
                                   .heads = (int)c->vision_heads,
                                   .layers = (int)c->vision_layers,
                                   .latents = (int)c->latents,
                                   .resampler = (int)c->resampler_layers,
                                   .every = (int)c->cross_every};
}

int vision_open(struct vision *v, const struct config *c, const char *lm_dir, struct corpus *as,
                struct bt_err *err)
{
    BT_AUTO char *weights = bt_printf("%s/model.safetensors", lm_dir);
    struct flamingo_shape shape = shape_of(c);
    struct model_shape lm = config_shape(c);
    uint8_t sum[BT_SHA256_SIZE];
    size_t tokens;
    int rc = flamingo_shape_check(&shape, err);

    *v = (struct vision){.blind = c->blind,
                         .rows = (int)c->micro_batch,
                         .context = (int)c->context,
                         .per_row = PER_ROW};
    if (rc == 0)
        rc = captions_open(&v->data, as, c->images, shape.image, c->languages, err);
    if (rc < 0)
        return rc;
    tokens = (size_t)v->rows * (size_t)v->context;
    model_init(&v->lm, &lm, v->rows, MODEL_FROZEN);
    flamingo_init(&v->f, &shape, &v->lm, v->rows, v->rows * v->per_row);
    flamingo_random(&v->f, (uint64_t)c->seed);
    v->in = bt_new_n(int32_t, tokens);
    v->target = bt_new_n(int32_t, tokens);
    v->loss = bt_new_n(float, tokens);
    v->images = bt_new_n(const float *, (size_t)v->rows *(size_t)v->per_row);
    v->text = bt_new_n(struct kern_span, (size_t)v->rows * (size_t)v->per_row);
    rc = safetensors_read(&v->lm, weights, err);
    if (rc < 0)
        return rc;
    bt_sha256(v->lm.w, v->lm.n_params * sizeof(float), sum);
    bt_hex(sum, sizeof sum, v->frozen_sha256);
    return 0;
}

void vision_close(struct vision *v)
{
    captions_close(&v->data);
    flamingo_done(&v->f);
    model_done(&v->lm);
    bt_free(v->in);
    bt_free(v->target);
    bt_free(v->loss);
    bt_free(v->images);
    bt_free(v->text);
    *v = (struct vision){0};
}

/* ---- sequences ---- */

/* Tokens of one caption into a row from `at` on; returns how many fit. counted: targets. */
static int put_caption(const struct vision *v, const struct caption *c, int32_t *in,
                       int32_t *target, int at, int *counted)
{
    int n = BT_MIN((int)strlen(c->text), v->context - at);

    for (int k = 0; k < n; k++) {
        bool counts = k >= c->prompt;

        *counted += counts;
        if (in) {
            in[at + k] = k ? (uint8_t)c->text[k - 1] : TOKEN_EOS;
            target[at + k] = counts ? (uint8_t)c->text[k] : -1;
        }
    }
    return n;
}

static void pad(const struct vision *v, int32_t *in, int32_t *target, int at)
{
    for (; at < v->context; at++) {
        in[at] = TOKEN_PAD;
        target[at] = -1;
    }
}

/* One row of the batch: captions with their pictures and spans. */
static void add_to(struct vision *v, struct flamingo_batch *b, const struct caption *c, int row,
                   int *at, const float *picture)
{
    int counted = 0, n;
    size_t from = (size_t)row * (size_t)v->context;

    n = put_caption(v, c, v->in + from, v->target + from, *at, &counted);
    v->images[b->n_images] = picture;
    if (!v->blind && n > 0)
        v->text[b->n_text++] = (struct kern_span){.q = (int)from + *at, .n_q = n, .k = b->n_images};
    b->n_images++;
    *at += n;
}

static struct flamingo_batch empty(struct vision *v, int n)
{
    return (struct flamingo_batch){.images = v->images,
                                   .in = v->in,
                                   .target = v->target,
                                   .b = n,
                                   .t = v->context,
                                   .text = v->text};
}

int vision_targets(struct vision *v, uint64_t seed, uint64_t i)
{
    int at = 0, counted = 0;

    for (int k = 0; k < v->per_row && at < v->context; k++)
        at += put_caption(v, captions_sample(&v->data, seed, i, (uint64_t)k), NULL, NULL, at,
                          &counted);
    return counted;
}

double vision_gradient(struct vision *v, uint64_t seed, uint64_t first, int n, float scale,
                       bool fresh)
{
    struct flamingo_batch b = empty(v, n);

    for (int row = 0; row < n; row++) {
        size_t from = (size_t)row * (size_t)v->context;
        int at = 0;

        for (int k = 0; k < v->per_row && at < v->context; k++) {
            const struct caption *c =
                captions_sample(&v->data, seed, first + (uint64_t)row, (uint64_t)k);

            add_to(v, &b, c, row, &at, v->data.pixels[c->picture]);
        }
        pad(v, v->in + from, v->target + from, at);
    }
    return flamingo_gradient(&v->f, &b, scale, fresh);
}

/* ---- evaluation ---- */

struct tally {
    double *nats, *bytes; /* by language */
    double all_nats, all_bytes;
};

static void score(struct vision *v, const struct flamingo_batch *b, const struct caption *first,
                  struct tally *t)
{
    (void)flamingo_loss(&v->f, b, v->loss);
    for (int row = 0; row < b->b; row++) {
        for (int k = 0; k < v->context; k++) {
            size_t at = (size_t)row * (size_t)v->context + (size_t)k;

            if (v->target[at] < 0)
                continue;
            t->all_nats += (double)v->loss[at];
            t->all_bytes++;
            if (t->nats) {
                t->nats[first[row].language] += (double)v->loss[at];
                t->bytes[first[row].language]++;
            }
        }
    }
}

/* Each caption alone in a row, with its picture or (other) with that of a caption half-way through
 * the list. Bits per byte; negative when told to stop. */
static double bits_of(struct vision *v, enum captions_part which, bool other, bool (*stop)(void *),
                      struct tally *t)
{
    const struct part *p = &v->data.parts[which];
    int n = BT_MIN(p->n, HELD_MAX);

    for (int i = 0; i < n; i += v->rows) {
        int rows = BT_MIN(v->rows, n - i);
        struct flamingo_batch b = empty(v, rows);

        if (stop && stop(NULL))
            return -1;
        for (int row = 0; row < rows; row++) {
            const struct caption *c = &p->all[i + row];
            const struct caption *seen = other ? &p->all[(i + row + n / 2) % n] : c;
            size_t from = (size_t)row * (size_t)v->context;
            int at = 0;

            add_to(v, &b, c, row, &at, v->data.pixels[seen->picture]);
            pad(v, v->in + from, v->target + from, at);
        }
        score(v, &b, &p->all[i], t);
    }
    return t->all_bytes > 0 ? t->all_nats / M_LN2 / t->all_bytes : 0;
}

int vision_evaluate(struct vision *v, bool (*stop)(void *), struct evaluation *ret)
{
    BT_AUTO double *nats = bt_new_n(double, CORPUS_LANGUAGES_MAX);
    BT_AUTO double *bytes = bt_new_n(double, CORPUS_LANGUAGES_MAX);
    struct tally held = {.nats = nats, .bytes = bytes}, unseen = {0}, other = {0};
    struct vision_scores s = {.n_held = v->data.parts[CAPTIONS_HELD].n,
                              .n_unseen = v->data.parts[CAPTIONS_UNSEEN].n};

    s.held = bits_of(v, CAPTIONS_HELD, false, stop, &held);
    if (s.held >= 0)
        s.unseen = bits_of(v, CAPTIONS_UNSEEN, false, stop, &unseen);
    if (s.held >= 0 && s.unseen >= 0)
        s.other = bits_of(v, CAPTIONS_HELD, true, stop, &other);
    if (s.held < 0 || s.unseen < 0 || s.other < 0)
        return 1;
    v->scores = s;
    ret->n = 0;
    for (int l = 0; l < CORPUS_LANGUAGES_MAX; l++) {
        ret->bytes[l] = (int64_t)bytes[l];
        ret->bits[l] = bytes[l] > 0 ? nats[l] / M_LN2 / bytes[l] : 0;
        if (bytes[l] > 0)
            ret->n = l + 1;
    }
    ret->mean = s.held; /* over all bytes: languages have few captions each */
    return 0;
}

/* ---- publishing ---- */

static bool tensor(const void *arg, int i, struct model_tensor *ret)
{
    return flamingo_tensor(arg, i, ret);
}

static void write_json(const struct vision *v, struct bt_buf *to)
{
    const struct flamingo_shape *s = &v->f.shape;
    struct json_writer w = {.to = to};

    jw_object(&w, NULL);
    jw_str(&w, "adapter", "adapter.safetensors");
    jw_i64(&w, "image_size", s->image);
    jw_i64(&w, "patch", s->patch);
    jw_i64(&w, "vision_width", s->width);
    jw_i64(&w, "vision_heads", s->heads);
    jw_i64(&w, "vision_layers", s->layers);
    jw_i64(&w, "latents", s->latents);
    jw_i64(&w, "resampler_layers", s->resampler);
    jw_i64(&w, "cross_every", s->every);
    jw_i64(&w, "adapter_params", (int64_t)v->f.n_params);
    jw_i64(&w, "pictures", v->data.n_pictures);
    jw_i64(&w, "captions", v->data.parts[CAPTIONS_TRAIN].n);
    jw_i64(&w, "captions_held", v->scores.n_held);
    jw_i64(&w, "captions_unseen", v->scores.n_unseen);
    jw_bool(&w, "blind", v->blind);
    jw_f64(&w, "bits_per_byte_held", v->scores.held);
    jw_f64(&w, "bits_per_byte_held_with_another_picture", v->scores.other);
    jw_f64(&w, "bits_per_byte_unseen", v->scores.unseen);
    jw_end_object(&w);
    bt_buf_char(to, '\n');
}

int vision_export(const struct vision *v, const char *dir, struct bt_err *err)
{
    BT_AUTO char *weights = bt_printf("%s/adapter.safetensors", dir);
    BT_AUTO char *path = bt_printf("%s/vision.json", dir);
    BT_BUF_AUTO struct bt_buf text = {0};
    int rc = safetensors_write_tensors(tensor, &v->f, v->f.w, weights, err);

    if (rc < 0)
        return rc;
    write_json(v, &text);
    return bt_file_write(path, 0644, bt_buf_text(&text), text.n, err);
}
