/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/train/model.h"

#include <math.h>

#include "agent/train/gpu.h"
#include "kernels/kernels.h"
#include "lib/base/mem.h"

/* Where the parts lie in the arena, in floats. */
struct layout {
    size_t embed, head, layer0, layer_size; /* matrices */
    size_t qkv, o, gate_up, down;           /* inside a layer */
    size_t norms, final_norm, end;          /* vectors: two a layer, then the last */
};

static int qkv_rows(const struct model_shape *s)
{
    return (s->heads + 2 * s->kv_heads) * s->head_dim;
}

static struct layout layout_of(const struct model_shape *s)
{
    size_t c = (size_t)s->width, f = (size_t)s->ffn, hd = (size_t)s->heads * s->head_dim;
    struct layout l = {0};

    l.layer0 = (size_t)s->vocab * c;
    l.o = (size_t)qkv_rows(s) * c;
    l.gate_up = l.o + c * hd;
    l.down = l.gate_up + 2 * f * c;
    l.layer_size = l.down + c * f;
    l.head = l.layer0 + l.layer_size * (size_t)s->layers;
    l.norms = l.head + (s->tied ? 0 : (size_t)s->vocab * c);
    if (s->tied)
        l.head = 0;
    l.final_norm = l.norms + 2 * c * (size_t)s->layers;
    l.end = l.final_norm + c;
    return l;
}

int model_shape_check(const struct model_shape *s, struct bt_err *err)
{
    if (s->heads % s->kv_heads)
        return bt_fail(err, BT_ERR_SHAPE, "heads (%d) is not a multiple of kv_heads (%d)", s->heads,
                       s->kv_heads);
    if (s->head_dim % 2)
        return bt_fail(err, BT_ERR_SHAPE, "head_dim (%d) is odd: rotary embedding turns pairs",
                       s->head_dim);
    if ((double)s->layers * s->width * (4.0 * s->heads * s->head_dim + 3.0 * s->ffn) > 0x1p37)
        return bt_fail(err, BT_ERR_SHAPE,
                       "a model of more than 1e11 weights is beyond this program");
    return 0;
}

int64_t model_params(const struct model_shape *s)
{
    return (int64_t)layout_of(s).end;
}

double model_flops_per_token(const struct model_shape *s, int context)
{
    struct layout l = layout_of(s);
    double in_products = (double)l.layer_size * s->layers + (double)s->vocab * s->width;

    return 6 * in_products + 6.0 * context * s->heads * s->head_dim * s->layers;
}

bool model_tensor(const struct model_shape *s, int i, struct model_tensor *ret)
{
    struct layout l = layout_of(s);
    int c = s->width, hd = s->heads * s->head_dim, kd = s->kv_heads * s->head_dim, f = s->ffn;
    const struct {
        const char *name;
        size_t offset;
        int rows, cols;
    } of_layer[] = {
        {"input_layernorm", 0, c, 0},
        {"self_attn.q_proj", 0, hd, c},
        {"self_attn.k_proj", (size_t)hd * c, kd, c},
        {"self_attn.v_proj", (size_t)(hd + kd) * c, kd, c},
        {"self_attn.o_proj", l.o, c, hd},
        {"post_attention_layernorm", (size_t)c, c, 0},
        {"mlp.gate_proj", l.gate_up, f, c},
        {"mlp.up_proj", l.gate_up + (size_t)f * c, f, c},
        {"mlp.down_proj", l.down, c, f},
    };
    int per = (int)BT_ARRAY_LEN(of_layer), layer = (i - 1) / per, which = (i - 1) % per;
    int last = 1 + s->layers * per;

    if (i < 0 || i > last + (s->tied ? 0 : 1))
        return false;
    if (i == 0) {
        *ret = (struct model_tensor){"model.embed_tokens.weight", l.embed, s->vocab, c};
    } else if (i == last) {
        *ret = (struct model_tensor){"model.norm.weight", l.final_norm, c, 0};
    } else if (i > last) {
        *ret = (struct model_tensor){"lm_head.weight", l.head, s->vocab, c};
    } else {
        bool norm = of_layer[which].cols == 0;

        snprintf(ret->name, sizeof ret->name, "model.layers.%d.%s.weight", layer,
                 of_layer[which].name);
        ret->offset = of_layer[which].offset + (norm ? l.norms + 2 * (size_t)c * (size_t)layer
                                                     : l.layer0 + l.layer_size * (size_t)layer);
        ret->rows = of_layer[which].rows;
        ret->cols = of_layer[which].cols;
    }
    return true;
}

/* ---- activations ---- */

/* What one layer keeps between forward and backward, or all layers share when it only runs. */
struct layer_acts {
    float *sum1, *norm1, *rstd1; /* residual stream and its norm before attention */
    float *qkv, *att, *lse;
    float *sum2, *norm2, *rstd2; /* before the feed-forward part */
    float *gu, *h;
};

struct model_acts {
    float *all; /* the one allocation */
    size_t all_n;
    struct layer_acts *layer; /* [layers] */
    float *embedded, *branch; /* branch: what a sublayer adds to the residual stream */
    float *sum, *norm, *rstd; /* the last norm */
    float *chunk, *scratch, *cos, *sin;
    float *dres, *dnorm, *dwide, *partial; /* gradients; NULL when it only runs */
};

/* Hands out pieces of one array; with base NULL it only counts. */
struct carve {
    float *base;
    size_t at;
};

static float *take(struct carve *k, size_t n)
{
    float *p = k->base ? k->base + k->at : NULL;

    k->at += (n + 15) & ~(size_t)15;
    return p;
}

static void carve_layer(struct carve *k, const struct model_shape *s, size_t n,
                        struct layer_acts *a)
{
    size_t c = (size_t)s->width;

    a->sum1 = take(k, n * c);
    a->norm1 = take(k, n * c);
    a->rstd1 = take(k, n);
    a->qkv = take(k, n * (size_t)qkv_rows(s));
    a->att = take(k, n * (size_t)s->heads * (size_t)s->head_dim);
    a->lse = take(k, n * (size_t)s->heads);
    a->sum2 = take(k, n * c);
    a->norm2 = take(k, n * c);
    a->rstd2 = take(k, n);
    a->gu = take(k, n * 2 * (size_t)s->ffn);
    a->h = take(k, n * (size_t)s->ffn);
}

static void carve_acts(struct carve *k, const struct model_shape *s, int rows, int t, bool trains,
                       struct model_acts *a)
{
    size_t n = (size_t)rows * t, c = (size_t)s->width;
    size_t hd = (size_t)s->heads * s->head_dim;
    size_t wide = BT_MAX(BT_MAX((size_t)qkv_rows(s) + hd, (size_t)s->ffn), c);

    for (int l = 0; l < s->layers; l++) {
        if (l == 0 || trains)
            carve_layer(k, s, n, &a->layer[l]);
        else
            a->layer[l] = a->layer[0];
    }
    a->embedded = take(k, n * c);
    a->branch = take(k, n * c);
    a->sum = take(k, n * c);
    a->norm = take(k, n * c);
    a->rstd = take(k, n);
    a->chunk = take(k, kern_linear_loss_chunk((int)n, s->vocab));
    a->scratch = take(k, kern_attention_scratch(t));
    a->cos = take(k, (size_t)t * (size_t)s->head_dim / 2);
    a->sin = take(k, (size_t)t * (size_t)s->head_dim / 2);
    if (trains) {
        a->dres = take(k, n * c);
        a->dnorm = take(k, n * c);
        a->dwide = take(k, n * wide);
        a->partial = take(k, kern_norm_partial((int)n, s->width));
    }
}

int64_t model_activation_bytes(const struct model_shape *s, int rows, int t)
{
    struct model_acts a = {.layer = bt_new_n(struct layer_acts, s->layers)};
    struct carve k = {0};

    carve_acts(&k, s, rows, t, true, &a);
    bt_free(a.layer);
    return (int64_t)(k.at * sizeof(float));
}

void model_init(struct model *m, const struct model_shape *s, int rows, enum model_use use)
{
    bool trains = use != MODEL_RUNS;
    struct layout l = layout_of(s);
    struct model_acts *a = bt_new(struct model_acts);
    struct carve k = {0};

    a->layer = bt_new_n(struct layer_acts, s->layers);
    carve_acts(&k, s, rows, s->context, trains, a);
    a->all_n = k.at;
    k = (struct carve){.base = a->all = kern_floats(a->all_n)};
    carve_acts(&k, s, rows, s->context, trains, a);
    kern_rope_table(a->cos, a->sin, s->context, s->head_dim, s->rope_theta);
    *m = (struct model){
        .shape = *s,
        .n_params = l.end,
        .n_matrix = l.norms,
        .w = kern_floats(l.end + MODEL_PAD),
        .grad = use == MODEL_TRAINS ? kern_floats(l.end + MODEL_PAD) : NULL,
        .acts = a,
    };
}

void model_done(struct model *m)
{
    if (m->acts) {
        kern_free_floats(m->acts->all, m->acts->all_n);
        bt_free(m->acts->layer);
        bt_free(m->acts);
    }
    kern_free_floats(m->w, m->n_params + MODEL_PAD);
    kern_free_floats(m->grad, m->n_params + MODEL_PAD);
    *m = (struct model){0};
}

void model_random(struct model *m, uint64_t seed)
{
    const struct model_shape *s = &m->shape;
    double into_residual = 0.02 / sqrt(2.0 * s->layers);
    struct model_tensor t;

    for (int i = 0; model_tensor(s, i, &t); i++) {
        size_t n = (size_t)t.rows * (t.cols ? t.cols : 1);
        bool residual = strstr(t.name, "o_proj") || strstr(t.name, "down_proj");

        if (t.cols) {
            kern_normal(m->w + t.offset, n, residual ? into_residual : 0.02, seed, (uint64_t)i);
        } else {
            for (size_t j = 0; j < n; j++)
                m->w[t.offset + j] = 1;
        }
    }
}

/* ---- forward ---- */

/* Attention and feed-forward of layer i; stream comes in as x + y (y NULL: x alone), what the layer
 * leaves is its sum2 plus acts->branch. */
static void layer_forward(struct model *m, int i, const float *x, const float *y, int b, int t)
{
    const struct model_shape *s = &m->shape;
    struct layout l = layout_of(s);
    struct model_acts *acts = m->acts;
    struct layer_acts *a = &acts->layer[i];
    const float *w = m->w + l.layer0 + l.layer_size * (size_t)i;
    const float *norms = m->w + l.norms + 2 * (size_t)i * (size_t)s->width;
    int n = b * t, c = s->width, hd = s->heads * s->head_dim;

    kern_add_norm(&(struct kern_add_norm){.out = a->norm1,
                                          .sum = a->sum1,
                                          .rstd = a->rstd1,
                                          .x = x,
                                          .y = y,
                                          .w = norms,
                                          .n = n,
                                          .c = c,
                                          .eps = (float)s->norm_eps});
    kern_linear(a->qkv, a->norm1, w, n, c, qkv_rows(s));
    kern_rope(&(struct kern_rope){.x = a->qkv,
                                  .cos = acts->cos,
                                  .sin = acts->sin,
                                  .n = n,
                                  .t = t,
                                  .stride = qkv_rows(s),
                                  .heads = s->heads + s->kv_heads,
                                  .d = s->head_dim});
    kern_attention(&(struct kern_attention){.qkv = a->qkv,
                                            .out = a->att,
                                            .lse = a->lse,
                                            .scratch = acts->scratch,
                                            .b = b,
                                            .t = t,
                                            .heads = s->heads,
                                            .kv_heads = s->kv_heads,
                                            .d = s->head_dim});
    kern_linear(acts->branch, a->att, w + l.o, n, hd, c);
    kern_add_norm(&(struct kern_add_norm){.out = a->norm2,
                                          .sum = a->sum2,
                                          .rstd = a->rstd2,
                                          .x = a->sum1,
                                          .y = acts->branch,
                                          .w = norms + c,
                                          .n = n,
                                          .c = c,
                                          .eps = (float)s->norm_eps});
    kern_linear(a->gu, a->norm2, w + l.gate_up, n, c, 2 * s->ffn);
    kern_swiglu(a->h, a->gu, n, s->ffn);
    kern_linear(acts->branch, a->h, w + l.down, n, s->ffn, c);
}

/* x + y in an array of its own, as the insert leaves it: what layers kept stays as it was. */
static const float *insert_forward(struct model *m, int i, const float *x, const float *y, int n)
{
    float *stream = m->acts->embedded;
    size_t size = (size_t)n * (size_t)m->shape.width;

    if (x != stream)
        memcpy(stream, x, size * sizeof(float));
    if (y)
        kern_add(stream, y, size);
    m->insert->forward(m->insert->arg, i, stream, n);
    return stream;
}

/* Leaves the last norm's output in acts->norm. */
static void forward(struct model *m, const int32_t *in, int b, int t)
{
    const struct model_shape *s = &m->shape;
    struct model_acts *acts = m->acts;
    const float *x = acts->embedded, *y = NULL;
    int n = b * t;

    kern_embed(acts->embedded, m->w + layout_of(s).embed, in, n, s->width);
    for (int i = 0; i < s->layers; i++) {
        if (m->insert) {
            x = insert_forward(m, i, x, y, n);
            y = NULL;
        }
        layer_forward(m, i, x, y, b, t);
        x = acts->layer[i].sum2;
        y = acts->branch;
    }
    kern_add_norm(&(struct kern_add_norm){.out = acts->norm,
                                          .sum = acts->sum,
                                          .rstd = acts->rstd,
                                          .x = x,
                                          .y = y,
                                          .w = m->w + layout_of(s).final_norm,
                                          .n = n,
                                          .c = s->width,
                                          .eps = (float)s->norm_eps});
}

double model_loss(struct model *m, const int32_t *in, const int32_t *target, int b, int t,
                  float *row_loss)
{
    if (m->gpu)
        return gpu_loss(m->gpu, in, target, b, t, row_loss);
    forward(m, in, b, t);
    return kern_linear_loss(&(struct kern_linear_loss){.x = m->acts->norm,
                                                       .w = m->w + layout_of(&m->shape).head,
                                                       .target = target,
                                                       .loss = row_loss,
                                                       .chunk = m->acts->chunk,
                                                       .n = b * t,
                                                       .c = m->shape.width,
                                                       .v = m->shape.vocab});
}

void model_logits(struct model *m, const int32_t *in, int t, float *logits)
{
    const struct model_shape *s = &m->shape;

    forward(m, in, 1, t);
    kern_linear(logits, m->acts->norm + (size_t)(t - 1) * s->width, m->w + layout_of(s).head, 1,
                s->width, s->vocab);
}

/* ---- backward ---- */

/* The gradient of a matrix at `at` of the arena, unless the model is frozen. */
static void weight_gradient(struct model *m, size_t at, const float *dy, const float *x, int n,
                            const int size[2], float beta)
{
    if (m->grad)
        kern_linear_dw(m->grad + at, dy, x, n, size[0], size[1], beta);
}

static void norm_backward(struct model *m, const float *dout, const float *sum, const float *rstd,
                          size_t weight, int n, float beta)
{
    kern_norm_backward(
        &(struct kern_norm_backward){.dsum = m->acts->dres,
                                     .dsum_is_empty = weight == layout_of(&m->shape).final_norm,
                                     .dw = m->grad ? m->grad + weight : NULL,
                                     .beta = beta,
                                     .partial = m->acts->partial,
                                     .dout = dout,
                                     .sum = sum,
                                     .rstd = rstd,
                                     .w = m->w + weight,
                                     .n = n,
                                     .c = m->shape.width});
}

static void feed_forward_backward(struct model *m, int i, int n, float beta)
{
    const struct model_shape *s = &m->shape;
    struct layout l = layout_of(s);
    struct model_acts *acts = m->acts;
    struct layer_acts *a = &acts->layer[i];
    size_t at = l.layer0 + l.layer_size * (size_t)i;
    size_t norms = l.norms + 2 * (size_t)i * (size_t)s->width;
    int c = s->width, f = s->ffn;

    kern_linear_dx(acts->dwide, acts->dres, m->w + at + l.down, n, f, c);
    weight_gradient(m, at + l.down, acts->dres, a->h, n, (int[2]){f, c}, beta);
    kern_swiglu_backward(a->gu, acts->dwide, n, f);
    kern_linear_dx(acts->dnorm, a->gu, m->w + at + l.gate_up, n, c, 2 * f);
    weight_gradient(m, at + l.gate_up, a->gu, a->norm2, n, (int[2]){c, 2 * f}, beta);
    norm_backward(m, acts->dnorm, a->sum2, a->rstd2, norms + (size_t)c, n, beta);
}

static void attention_backward(struct model *m, int i, int b, int t, float beta)
{
    const struct model_shape *s = &m->shape;
    struct layout l = layout_of(s);
    struct model_acts *acts = m->acts;
    struct layer_acts *a = &acts->layer[i];
    size_t at = l.layer0 + l.layer_size * (size_t)i;
    int n = b * t, c = s->width, hd = s->heads * s->head_dim, rows = qkv_rows(s);
    float *datt = acts->dwide, *dqkv = acts->dwide + (size_t)n * hd;

    kern_linear_dx(datt, acts->dres, m->w + at + l.o, n, hd, c);
    weight_gradient(m, at + l.o, acts->dres, a->att, n, (int[2]){hd, c}, beta);
    kern_attention_backward(&(struct kern_attention_backward){.dqkv = dqkv,
                                                              .qkv = a->qkv,
                                                              .out = a->att,
                                                              .lse = a->lse,
                                                              .dout = datt,
                                                              .scratch = acts->scratch,
                                                              .b = b,
                                                              .t = t,
                                                              .heads = s->heads,
                                                              .kv_heads = s->kv_heads,
                                                              .d = s->head_dim});
    kern_rope(&(struct kern_rope){.x = dqkv,
                                  .cos = acts->cos,
                                  .sin = acts->sin,
                                  .n = n,
                                  .t = t,
                                  .stride = rows,
                                  .heads = s->heads + s->kv_heads,
                                  .d = s->head_dim,
                                  .inverse = true});
    kern_linear_dx(acts->dnorm, dqkv, m->w + at, n, c, rows);
    weight_gradient(m, at, dqkv, a->norm1, n, (int[2]){c, rows}, beta);
    norm_backward(m, acts->dnorm, a->sum1, a->rstd1, l.norms + 2 * (size_t)i * (size_t)c, n, beta);
}

double model_gradient(struct model *m, const int32_t *in, const int32_t *target, int b, int t,
                      float scale, bool fresh)
{
    const struct model_shape *s = &m->shape;
    struct layout l = layout_of(s);
    struct model_acts *acts = m->acts;
    float beta = fresh ? 0 : 1;
    int n = b * t;
    double loss;

    if (m->gpu)
        return gpu_gradient(m->gpu, in, target, b, t, scale, fresh);
    forward(m, in, b, t);
    loss = kern_linear_loss(&(struct kern_linear_loss){.x = acts->norm,
                                                       .w = m->w + l.head,
                                                       .target = target,
                                                       .dx = acts->dnorm,
                                                       .dw = m->grad ? m->grad + l.head : NULL,
                                                       .scale = scale,
                                                       .beta = beta,
                                                       .chunk = acts->chunk,
                                                       .n = n,
                                                       .c = s->width,
                                                       .v = s->vocab});
    norm_backward(m, acts->dnorm, acts->sum, acts->rstd, l.final_norm, n, beta);
    for (int i = s->layers - 1; i >= 0; i--) {
        feed_forward_backward(m, i, n, beta);
        attention_backward(m, i, b, t, beta);
        if (m->insert)
            m->insert->backward(m->insert->arg, i, acts->dres, n);
    }
    if (!m->grad)
        return loss;
    if (!s->tied && fresh)
        memset(m->grad + l.embed, 0, (size_t)s->vocab * s->width * sizeof(float));
    kern_embed_backward(m->grad + l.embed, acts->dres, in, n, s->width);
    return loss;
}
