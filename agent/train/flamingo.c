/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/train/flamingo.h"

#include <math.h>

#include "agent/train/xblock.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

struct flamingo_state {
    int rows, images;                          /* capacity */
    int n_cross;                               /* layers with cross-attention */
    size_t patch, position, latent;            /* matrices */
    size_t feature_norm, media_norm;           /* vectors */
    struct xblock *vision, *resampler, *cross; /* [layers], [resampler], [n_cross] */
    struct xacts *vision_a, *resampler_a, *cross_a;
    struct kern_span *self_spans, *media_spans, *text_spans;
    int n_text;
    float *all; /* the one allocation */
    size_t all_n;
    float *patches, *x, *features, *feature_x, *feature_rstd; /* [images * patches, ...] */
    float *latents, **mixed, *media, *media_x, *media_rstd; /* mixed: a resampler layer's context */
    float *dx, *dfeatures, *dlatents, *dmedia, *dctx;
    struct xscratch scratch;
};

static int patches_of(const struct flamingo_shape *s)
{
    int side = s->image / s->patch;

    return side * side;
}

static int patch_floats(const struct flamingo_shape *s)
{
    return s->patch * s->patch * 3;
}

int flamingo_shape_check(const struct flamingo_shape *s, struct bt_err *err)
{
    if (s->image % s->patch)
        return bt_fail(err, BT_ERR_SHAPE, "image_size (%d) is not a multiple of patch (%d)",
                       s->image, s->patch);
    if (s->width % s->heads)
        return bt_fail(err, BT_ERR_SHAPE,
                       "vision_width (%d) is not a multiple of vision_heads (%d)", s->width,
                       s->heads);
    return 0;
}

/* ---- layout ---- */

static struct xblock block_of(const struct flamingo_shape *s, int c, int context, bool gated)
{
    return (struct xblock){.c = c,
                           .context = context,
                           .inner = s->width,
                           .heads = s->heads,
                           .ffn = 2 * c,
                           .gated = gated};
}

static size_t put(size_t *at, size_t n)
{
    size_t from = *at;

    *at += (n + 15) & ~(size_t)15;
    return from;
}

static void shift(struct xblock *b, int n, size_t by)
{
    for (int i = 0; i < n; i++) {
        b[i].norm1 += by;
        b[i].norm2 += by;
        b[i].gates += by;
    }
}

static void lay_out(struct flamingo *f)
{
    const struct flamingo_shape *s = &f->shape;
    struct flamingo_state *st = f->state;
    size_t matrices = 0, vectors = 0, c = (size_t)s->width;

    st->patch = put(&matrices, c * (size_t)patch_floats(s));
    st->position = put(&matrices, c * (size_t)patches_of(s));
    st->latent = put(&matrices, c * (size_t)s->latents);
    for (int i = 0; i < s->layers; i++) {
        st->vision[i] = block_of(s, s->width, s->width, false);
        xblock_place(&st->vision[i], &matrices, &vectors);
    }
    for (int i = 0; i < s->resampler; i++) {
        st->resampler[i] = block_of(s, s->width, s->width, false);
        xblock_place(&st->resampler[i], &matrices, &vectors);
    }
    for (int i = 0; i < st->n_cross; i++) {
        st->cross[i] = block_of(s, f->lm->shape.width, s->width, true);
        xblock_place(&st->cross[i], &matrices, &vectors);
    }
    st->feature_norm = matrices + put(&vectors, c);
    st->media_norm = matrices + put(&vectors, c);
    shift(st->vision, s->layers, matrices);
    shift(st->resampler, s->resampler, matrices);
    shift(st->cross, st->n_cross, matrices);
    f->n_matrix = matrices;
    f->n_params = matrices + vectors;
}

/* ---- memory ---- */

static void carve_rows(struct flamingo *f, struct xcarve *k)
{
    struct flamingo_state *st = f->state;
    const struct flamingo_shape *s = &f->shape;
    size_t np = (size_t)st->images * (size_t)patches_of(s);
    size_t nl = (size_t)st->images * (size_t)s->latents, c = (size_t)s->width;

    st->patches = xcarve_take(k, np * (size_t)patch_floats(s));
    st->x = xcarve_take(k, np * c);
    st->features = xcarve_take(k, np * c);
    st->feature_x = xcarve_take(k, np * c);
    st->feature_rstd = xcarve_take(k, np);
    st->latents = xcarve_take(k, nl * c);
    st->media = xcarve_take(k, nl * c);
    st->media_x = xcarve_take(k, nl * c);
    st->media_rstd = xcarve_take(k, nl);
    st->dx = xcarve_take(k, np * c);
    st->dfeatures = xcarve_take(k, np * c);
    st->dlatents = xcarve_take(k, nl * c);
    st->dmedia = xcarve_take(k, nl * c);
    st->dctx = xcarve_take(k, (np + nl) * c);
    for (int i = 0; i < s->resampler; i++)
        st->mixed[i] = xcarve_take(k, (np + nl) * c);
}

static void carve_all(struct flamingo *f, struct xcarve *k)
{
    struct flamingo_state *st = f->state;
    const struct flamingo_shape *s = &f->shape;
    int np = st->images * patches_of(s), nl = st->images * s->latents;
    int most = patches_of(s) + s->latents;
    struct xneed need = {.partial = kern_norm_partial(BT_MAX(np, nl), s->width)};

    carve_rows(f, k);
    for (int i = 0; i < s->layers; i++) {
        xacts_carve(&st->vision_a[i], &st->vision[i], np, np, k);
        xneed_add(&need, &st->vision[i], np, np, most);
    }
    for (int i = 0; i < s->resampler; i++) {
        xacts_carve(&st->resampler_a[i], &st->resampler[i], nl, np + nl, k);
        xneed_add(&need, &st->resampler[i], nl, np + nl, most);
    }
    for (int i = 0; i < st->n_cross; i++) {
        xacts_carve(&st->cross_a[i], &st->cross[i], st->rows, nl, k);
        xneed_add(&need, &st->cross[i], st->rows, nl, most);
    }
    xscratch_carve(&st->scratch, &need, k);
}

static void forward_hook(void *arg, int layer, float *stream, int n);
static void backward_hook(void *arg, int layer, float *dstream, int n);

void flamingo_init(struct flamingo *f, const struct flamingo_shape *s, struct model *lm, int rows,
                   int images)
{
    struct flamingo_state *st = bt_new(struct flamingo_state);
    struct xcarve k = {0};
    int np = patches_of(s);

    *f = (struct flamingo){.shape = *s, .lm = lm, .state = st};
    st->rows = rows * lm->shape.context;
    st->images = images;
    st->n_cross = (lm->shape.layers + s->every - 1) / s->every;
    st->vision = bt_new_n(struct xblock, s->layers);
    st->resampler = bt_new_n(struct xblock, s->resampler);
    st->cross = bt_new_n(struct xblock, st->n_cross);
    st->vision_a = bt_new_n(struct xacts, s->layers);
    st->resampler_a = bt_new_n(struct xacts, s->resampler);
    st->cross_a = bt_new_n(struct xacts, st->n_cross);
    st->mixed = bt_new_n(float *, s->resampler);
    st->self_spans = bt_new_n(struct kern_span, images);
    st->media_spans = bt_new_n(struct kern_span, images);
    st->text_spans = bt_new_n(struct kern_span, images);
    for (int i = 0; i < images; i++) {
        st->self_spans[i] = (struct kern_span){i * np, np, i * np, np};
        st->media_spans[i] =
            (struct kern_span){i * s->latents, s->latents, i * (np + s->latents), np + s->latents};
    }
    lay_out(f);
    carve_all(f, &k);
    st->all_n = k.at;
    k = (struct xcarve){.base = st->all = kern_floats(st->all_n)};
    carve_all(f, &k);
    st->scratch.eps = (float)lm->shape.norm_eps;
    f->w = kern_floats(f->n_params + MODEL_PAD);
    f->grad = kern_floats(f->n_params + MODEL_PAD);
    f->insert = (struct model_insert){f, forward_hook, backward_hook};
    lm->insert = &f->insert;
}

void flamingo_done(struct flamingo *f)
{
    struct flamingo_state *st = f->state;

    if (st) {
        kern_free_floats(st->all, st->all_n);
        bt_free(st->vision);
        bt_free(st->resampler);
        bt_free(st->cross);
        bt_free(st->vision_a);
        bt_free(st->resampler_a);
        bt_free(st->cross_a);
        bt_free(st->mixed);
        bt_free(st->self_spans);
        bt_free(st->media_spans);
        bt_free(st->text_spans);
        bt_free(st);
    }
    kern_free_floats(f->w, f->n_params + MODEL_PAD);
    kern_free_floats(f->grad, f->n_params + MODEL_PAD);
    *f = (struct flamingo){0};
}

/* ---- tensors ---- */

static bool block_tensor(const struct xblock *b, int i, struct model_tensor *ret)
{
    const struct {
        const char *name;
        size_t offset;
        int rows, cols;
    } all[] = {
        {"norm1", b->norm1, b->c, 0},
        {"q_proj", b->q, b->inner, b->c},
        {"kv_proj", b->kv, 2 * b->inner, b->context},
        {"o_proj", b->o, b->c, b->inner},
        {"norm2", b->norm2, b->c, 0},
        {"gate_up_proj", b->gate_up, 2 * b->ffn, b->c},
        {"down_proj", b->down, b->c, b->ffn},
        {"gates", b->gates, XBLOCK_GATES, 0},
    };

    if (i >= (int)BT_ARRAY_LEN(all) - !b->gated)
        return false;
    ret->offset = all[i].offset;
    ret->rows = all[i].rows;
    ret->cols = all[i].cols;
    snprintf(ret->name, sizeof ret->name, "%s.weight", all[i].name);
    return true;
}

static bool tensor_of_blocks(const char *prefix, const struct xblock *b, int n, int *i,
                             struct model_tensor *ret)
{
    for (int k = 0; k < n; k++) {
        int of_block = 0;

        for (; block_tensor(&b[k], of_block, ret); of_block++) {
            char name[sizeof ret->name];

            if ((*i)-- > 0)
                continue;
            bt_copy(name, sizeof name, ret->name);
            snprintf(ret->name, sizeof ret->name, "%s.%d.%.32s", prefix, k, name);
            return true;
        }
    }
    return false;
}

bool flamingo_tensor(const struct flamingo *f, int i, struct model_tensor *ret)
{
    const struct flamingo_state *st = f->state;
    const struct flamingo_shape *s = &f->shape;
    const struct model_tensor loose[] = {
        {"vision.patch_embedding.weight", st->patch, s->width, patch_floats(s)},
        {"vision.position_embedding.weight", st->position, patches_of(s), s->width},
        {"vision.norm.weight", st->feature_norm, s->width, 0},
        {"resampler.latents.weight", st->latent, s->latents, s->width},
        {"resampler.norm.weight", st->media_norm, s->width, 0},
    };

    if (i < 0)
        return false;
    if (i < (int)BT_ARRAY_LEN(loose)) {
        *ret = loose[i];
        return true;
    }
    i -= (int)BT_ARRAY_LEN(loose);
    return tensor_of_blocks("vision.layers", st->vision, s->layers, &i, ret) ||
           tensor_of_blocks("resampler.layers", st->resampler, s->resampler, &i, ret) ||
           tensor_of_blocks("cross_attention.layers", st->cross, st->n_cross, &i, ret);
}

void flamingo_random(struct flamingo *f, uint64_t seed)
{
    struct model_tensor t;

    for (int i = 0; flamingo_tensor(f, i, &t); i++) {
        size_t n = (size_t)t.rows * (size_t)(t.cols ? t.cols : 1);
        float fill = bt_ends(t.name, "gates.weight") ? 0 : 1;
        double sd = 1 / sqrt((double)BT_MAX(t.cols, 1));

        if (strstr(t.name, "position") || strstr(t.name, "latents"))
            sd = 0.5;
        if (t.cols) {
            kern_normal(f->w + t.offset, n, sd, seed, (uint64_t)i);
        } else {
            for (size_t k = 0; k < n; k++)
                f->w[t.offset + k] = fill;
        }
    }
}

/* ---- forward ---- */

/* images * (patches + latents) rows: an image's features, then its latents as normed. */
static void mix(const struct flamingo *f, int images, float *to, const float *latents)
{
    const struct flamingo_state *st = f->state;
    size_t np = (size_t)patches_of(&f->shape) * (size_t)f->shape.width;
    size_t nl = (size_t)f->shape.latents * (size_t)f->shape.width;

    for (int i = 0; i < images; i++) {
        memcpy(to + (size_t)i * (np + nl), st->features + (size_t)i * np, np * sizeof(float));
        memcpy(to + (size_t)i * (np + nl) + np, latents + (size_t)i * nl, nl * sizeof(float));
    }
}

static void see(struct flamingo *f, const struct flamingo_batch *batch)
{
    struct flamingo_state *st = f->state;
    const struct flamingo_shape *s = &f->shape;
    int per = patches_of(s), n = batch->n_images * per, line = patch_floats(s);

#pragma omp parallel for schedule(static)
    for (int i = 0; i < batch->n_images; i++)
        kern_patches(st->patches + (size_t)i * (size_t)per * (size_t)line, batch->images[i],
                     s->image, s->patch);
    kern_linear(st->x, st->patches, f->w + st->patch, n, line, s->width);
    kern_add_cycle(st->x, f->w + st->position, n, per, s->width);
    for (int i = 0; i < s->layers; i++) {
        struct xacts *a = &st->vision_a[i];

        a->n = a->m = n;
        a->spans = st->self_spans;
        a->n_spans = batch->n_images;
        xblock_norm(&st->vision[i], f->w, a, &st->scratch, st->x);
        a->ctx = a->norm1;
        xblock_forward(&st->vision[i], f->w, a, &st->scratch, st->x);
    }
    kern_add_norm(&(struct kern_add_norm){.out = st->features,
                                          .sum = st->feature_x,
                                          .rstd = st->feature_rstd,
                                          .x = st->x,
                                          .w = f->w + st->feature_norm,
                                          .n = n,
                                          .c = s->width,
                                          .eps = st->scratch.eps});
}

static void resample(struct flamingo *f, int images)
{
    struct flamingo_state *st = f->state;
    const struct flamingo_shape *s = &f->shape;
    int n = images * s->latents;

    memset(st->latents, 0, (size_t)n * (size_t)s->width * sizeof(float));
    kern_add_cycle(st->latents, f->w + st->latent, n, s->latents, s->width);
    for (int i = 0; i < s->resampler; i++) {
        struct xacts *a = &st->resampler_a[i];

        a->n = n;
        a->m = n + images * patches_of(s);
        a->spans = st->media_spans;
        a->n_spans = images;
        xblock_norm(&st->resampler[i], f->w, a, &st->scratch, st->latents);
        mix(f, images, st->mixed[i], a->norm1);
        a->ctx = st->mixed[i];
        xblock_forward(&st->resampler[i], f->w, a, &st->scratch, st->latents);
    }
    kern_add_norm(&(struct kern_add_norm){.out = st->media,
                                          .sum = st->media_x,
                                          .rstd = st->media_rstd,
                                          .x = st->latents,
                                          .w = f->w + st->media_norm,
                                          .n = n,
                                          .c = s->width,
                                          .eps = st->scratch.eps});
}

static void forward_hook(void *arg, int layer, float *stream, int n)
{
    struct flamingo *f = arg;
    struct flamingo_state *st = f->state;
    struct xacts *a;
    struct xblock *b;

    if (layer % f->shape.every)
        return;
    b = &st->cross[layer / f->shape.every];
    a = &st->cross_a[layer / f->shape.every];
    a->n = n;
    a->spans = st->text_spans;
    a->n_spans = st->n_text;
    a->ctx = st->media;
    xblock_norm(b, f->w, a, &st->scratch, stream);
    xblock_forward(b, f->w, a, &st->scratch, stream);
}

/* What the language model's layers will look at. */
static void prepare(struct flamingo *f, const struct flamingo_batch *batch)
{
    struct flamingo_state *st = f->state;
    int latents = f->shape.latents;

    st->n_text = batch->n_text;
    for (int i = 0; i < batch->n_text; i++) {
        const struct kern_span *t = &batch->text[i];

        st->text_spans[i] = (struct kern_span){t->q, t->n_q, t->k * latents, latents};
    }
    for (int i = 0; i < st->n_cross; i++)
        st->cross_a[i].m = batch->n_images * latents;
    see(f, batch);
    resample(f, batch->n_images);
}

double flamingo_loss(struct flamingo *f, const struct flamingo_batch *batch, float *row_loss)
{
    prepare(f, batch);
    return model_loss(f->lm, batch->in, batch->target, batch->b, batch->t, row_loss);
}

/* ---- backward ---- */

static void backward_hook(void *arg, int layer, float *dstream, int n)
{
    struct flamingo *f = arg;
    struct flamingo_state *st = f->state;
    struct xacts *a;
    struct xblock *b;

    (void)n;
    if (layer % f->shape.every)
        return;
    b = &st->cross[layer / f->shape.every];
    a = &st->cross_a[layer / f->shape.every];
    xblock_backward(b, f->w, f->grad, a, &st->scratch, dstream, st->dctx);
    xblock_norm_backward(b, f->w, f->grad, a, &st->scratch, dstream);
    kern_add(st->dmedia, st->dctx, (size_t)a->m * (size_t)f->shape.width);
}

static void last_norm_backward(struct flamingo *f, size_t weight, float *dx, const float *dout,
                               int n)
{
    struct flamingo_state *st = f->state;
    bool features = weight == st->feature_norm;

    kern_norm_backward(
        &(struct kern_norm_backward){.dsum = dx,
                                     .dsum_is_empty = true,
                                     .dw = f->grad + weight,
                                     .beta = st->scratch.beta,
                                     .partial = st->scratch.partial,
                                     .dout = dout,
                                     .sum = features ? st->feature_x : st->media_x,
                                     .rstd = features ? st->feature_rstd : st->media_rstd,
                                     .w = f->w + weight,
                                     .n = n,
                                     .c = f->shape.width});
}

/* The context's gradient back to features (added) and to the latents' norm (added to dnorm). */
static void unmix(const struct flamingo *f, int images)
{
    const struct flamingo_state *st = f->state;
    size_t np = (size_t)patches_of(&f->shape) * (size_t)f->shape.width;
    size_t nl = (size_t)f->shape.latents * (size_t)f->shape.width;

    for (int i = 0; i < images; i++) {
        kern_add(st->dfeatures + (size_t)i * np, st->dctx + (size_t)i * (np + nl), np);
        kern_add(st->scratch.dnorm + (size_t)i * nl, st->dctx + (size_t)i * (np + nl) + np, nl);
    }
}

static void resample_backward(struct flamingo *f, int images)
{
    struct flamingo_state *st = f->state;
    const struct flamingo_shape *s = &f->shape;
    int n = images * s->latents;
    size_t table = (size_t)s->latents * (size_t)s->width;

    last_norm_backward(f, st->media_norm, st->dlatents, st->dmedia, n);
    memset(st->dfeatures, 0,
           (size_t)images * (size_t)patches_of(s) * (size_t)s->width * sizeof(float));
    for (int i = s->resampler - 1; i >= 0; i--) {
        struct xacts *a = &st->resampler_a[i];

        xblock_backward(&st->resampler[i], f->w, f->grad, a, &st->scratch, st->dlatents, st->dctx);
        unmix(f, images);
        xblock_norm_backward(&st->resampler[i], f->w, f->grad, a, &st->scratch, st->dlatents);
    }
    if (st->scratch.beta <= 0)
        memset(f->grad + st->latent, 0, table * sizeof(float));
    kern_sum_cycle(f->grad + st->latent, st->dlatents, n, s->latents, s->width);
}

static void see_backward(struct flamingo *f, int images)
{
    struct flamingo_state *st = f->state;
    const struct flamingo_shape *s = &f->shape;
    int per = patches_of(s), n = images * per;

    last_norm_backward(f, st->feature_norm, st->dx, st->dfeatures, n);
    for (int i = s->layers - 1; i >= 0; i--) {
        struct xacts *a = &st->vision_a[i];

        xblock_backward(&st->vision[i], f->w, f->grad, a, &st->scratch, st->dx, st->dctx);
        kern_add(st->scratch.dnorm, st->dctx, (size_t)n * (size_t)s->width);
        xblock_norm_backward(&st->vision[i], f->w, f->grad, a, &st->scratch, st->dx);
    }
    if (st->scratch.beta <= 0)
        memset(f->grad + st->position, 0, (size_t)per * (size_t)s->width * sizeof(float));
    kern_sum_cycle(f->grad + st->position, st->dx, n, per, s->width);
    kern_linear_dw(f->grad + st->patch, st->dx, st->patches, n, patch_floats(s), s->width,
                   st->scratch.beta);
}

double flamingo_gradient(struct flamingo *f, const struct flamingo_batch *batch, float scale,
                         bool fresh)
{
    struct flamingo_state *st = f->state;
    size_t media = (size_t)batch->n_images * (size_t)f->shape.latents * (size_t)f->shape.width;
    double loss;

    st->scratch.beta = fresh ? 0 : 1;
    memset(st->dmedia, 0, media * sizeof(float));
    prepare(f, batch);
    loss = model_gradient(f->lm, batch->in, batch->target, batch->b, batch->t, scale, fresh);
    resample_backward(f, batch->n_images);
    see_backward(f, batch->n_images);
    return loss;
}

static double block_weights(const struct xblock *b)
{
    return (double)b->c * (2.0 * b->inner + 3.0 * b->ffn);
}

double flamingo_flops_per_token(const struct flamingo *f, int t, double images_per_sequence)
{
    const struct flamingo_state *st = f->state;
    const struct flamingo_shape *s = &f->shape;
    double image = 0, text = 0, np = patches_of(s), nl = s->latents;

    for (int i = 0; i < s->layers; i++)
        image +=
            np * (block_weights(&st->vision[i]) + 2.0 * s->width * s->width + 2.0 * np * s->width);
    for (int i = 0; i < s->resampler; i++)
        image += nl * block_weights(&st->resampler[i]) +
                 (np + nl) * (2.0 * s->width * s->width + 2.0 * nl * s->width);
    for (int i = 0; i < st->n_cross; i++) {
        text += block_weights(&st->cross[i]) + 2.0 * nl * s->width;
        image += nl * 2.0 * s->width * s->width;
    }
    image += np * patch_floats(s) * s->width;
    /* the frozen model's own weights get no gradient: two thirds of a trained token */
    return model_flops_per_token(&f->lm->shape, t) * 2 / 3 + 6 * text +
           6 * image * images_per_sequence / t;
}
