/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/train/gpu.h"

#include <math.h>

#include "kernels/kernels.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

#define CALL_TIMEOUT_US (600 * BT_US_PER_S)

enum { PER_LAYER = 9, ALIGN = 256 };

/* What one layer keeps between forward and backward. */
struct layer_acts {
    kern_bf16 *sum1, *norm1, *qkv, *att, *sum2, *norm2, *gu, *h;
    float *rstd1, *rstd2, *lse;
};

/* Where a layer's tensors begin, in elements of the arena. */
struct layer_at {
    size_t norm1, qkv, o, norm2, gate_up, down;
};

struct gpu {
    const struct cuda_ops *ops;
    struct cuda *dev;
    struct cuda_about about;
    struct model_shape s;
    struct bt_err failed; /* code 0: nothing has */
    size_t n_params, n_arena, lo, hi;
    struct layer_at *at; /* [layers] */
    size_t embed, head, final_norm;

    void *arena, *acts; /* the two allocations */
    kern_bf16 *w;
    float *grad, *master, *m, *v;

    struct layer_acts *layer;
    kern_bf16 *embedded, *branch, *sum, *norm, *dres, *dnorm, *dwide, *dlogits;
    float *rstd, *loss, *logits, *partial, *delta, *cos, *sin;
    int32_t *in, *target;
    double *squares;
};

/* ---- memory: counted with base NULL, then handed out ---- */

struct carve {
    char *base;
    size_t at;
};

static void *take(struct carve *k, size_t count, size_t size)
{
    void *p = k->base ? k->base + k->at : NULL;

    k->at += (count * size + ALIGN - 1) / ALIGN * ALIGN;
    return p;
}

static int qkv_width(const struct model_shape *s)
{
    return (s->heads + 2 * s->kv_heads) * s->head_dim;
}

static void carve_layer(struct carve *k, const struct model_shape *s, size_t n,
                        struct layer_acts *a)
{
    size_t c = (size_t)s->width, f = (size_t)s->ffn, heads = (size_t)s->heads;

    a->sum1 = take(k, n * c, 2);
    a->norm1 = take(k, n * c, 2);
    a->rstd1 = take(k, n, 4);
    a->qkv = take(k, n * (size_t)qkv_width(s), 2);
    a->att = take(k, n * heads * (size_t)s->head_dim, 2);
    a->lse = take(k, n * heads, 4);
    a->sum2 = take(k, n * c, 2);
    a->norm2 = take(k, n * c, 2);
    a->rstd2 = take(k, n, 4);
    a->gu = take(k, n * 2 * f, 2);
    a->h = take(k, n * f, 2);
}

static void carve_acts(struct carve *k, struct gpu *g, size_t n)
{
    const struct model_shape *s = &g->s;
    size_t c = (size_t)s->width, v = (size_t)s->vocab, hd = (size_t)s->heads * s->head_dim;
    size_t chunk = (size_t)cuda_loss_rows((int)n, s->vocab) * v;
    size_t wide = BT_MAX((size_t)qkv_width(s) + hd, (size_t)s->ffn);
    size_t angles = (size_t)s->context * s->head_dim / 2;

    for (int l = 0; l < s->layers; l++)
        carve_layer(k, s, n, &g->layer[l]);
    g->embedded = take(k, n * c, 2);
    g->branch = take(k, n * c, 2);
    g->sum = take(k, n * c, 2);
    g->norm = take(k, n * c, 2);
    g->rstd = take(k, n, 4);
    g->dres = take(k, n * c, 2);
    g->dnorm = take(k, n * c, 2);
    g->dwide = take(k, n * wide, 2);
    g->dlogits = take(k, chunk, 2);
    g->logits = take(k, chunk, 4);
    g->loss = take(k, n, 4);
    g->partial = take(k, (size_t)cuda_norm_parts((int)n) * c, 4);
    g->delta = take(k, n * (size_t)s->heads, 4);
    g->cos = take(k, angles, 4);
    g->sin = take(k, angles, 4);
    g->in = take(k, n, 4);
    g->target = take(k, n, 4);
    g->squares = take(k, 1, 8);
}

static void carve_arena(struct carve *k, struct gpu *g)
{
    size_t own = g->hi - g->lo;

    g->w = take(k, g->n_arena, 2);
    g->grad = take(k, g->n_arena, 4);
    g->master = take(k, own, 4);
    g->m = take(k, own, 4);
    g->v = take(k, own, 4);
}

static int allocate(struct gpu *g, int rows, struct bt_err *err)
{
    size_t n = (size_t)rows * (size_t)g->s.context;
    struct carve arena = {0}, acts = {0};
    int rc;

    carve_arena(&arena, g);
    carve_acts(&acts, g, n);
    rc = g->ops->alloc(g->dev, arena.at, &g->arena, err);
    if (rc == 0)
        rc = g->ops->alloc(g->dev, acts.at, &g->acts, err);
    if (rc < 0)
        return bt_next(err, rc, "a smaller micro_batch, context or preset");
    arena = (struct carve){.base = g->arena};
    acts = (struct carve){.base = g->acts};
    carve_arena(&arena, g);
    carve_acts(&acts, g, n);
    return 0;
}

/* ---- opening ---- */

static size_t offset_of(const struct model_shape *s, int tensor)
{
    struct model_tensor t = {.offset = 0};

    (void)model_tensor(s, tensor, &t);
    return t.offset;
}

static void find_tensors(struct gpu *g)
{
    const struct model_shape *s = &g->s;
    int last = 1 + s->layers * PER_LAYER;

    g->embed = offset_of(s, 0);
    g->final_norm = offset_of(s, last);
    g->head = s->tied ? g->embed : offset_of(s, last + 1);
    for (int l = 0; l < s->layers; l++) {
        int first = 1 + l * PER_LAYER;

        g->at[l] = (struct layer_at){.norm1 = offset_of(s, first),
                                     .qkv = offset_of(s, first + 1),
                                     .o = offset_of(s, first + 4),
                                     .norm2 = offset_of(s, first + 5),
                                     .gate_up = offset_of(s, first + 6),
                                     .down = offset_of(s, first + 8)};
    }
}

static void make_angles(struct gpu *g)
{
    size_t n = (size_t)g->s.context * (size_t)g->s.head_dim / 2;
    BT_AUTO float *cos = bt_new_n(float, n), *sin = bt_new_n(float, n);

    kern_rope_table(cos, sin, g->s.context, g->s.head_dim, g->s.rope_theta);
    g->ops->put(g->dev, g->cos, cos, n * sizeof(float));
    g->ops->put(g->dev, g->sin, sin, n * sizeof(float));
}

/* Which of the machine's devices: ranks of a node count from 0. */
static int device_index(const struct ranks *r)
{
    const char *text = getenv("BEAM_LOCAL_RANK");
    int64_t index = r->rank;

    if (text && *text && bt_parse_i64(text, "BEAM_LOCAL_RANK", 0, COLL_WORLD_MAX, &index, NULL) < 0)
        index = r->rank;
    return (int)index;
}

/* Whether this machine has a device that can run the model; nothing of the model is there yet. */
static int find(struct gpu *g, const struct ranks *r, struct bt_err *err)
{
    const struct model_shape *s = &g->s;
    int rc = cuda_fits(s->width, s->ffn, s->heads, s->kv_heads, s->head_dim, s->vocab, err);

    if (rc == 0)
        rc = cuda_load(&g->ops, err);
    if (rc == 0)
        rc = g->ops->open(device_index(r), &g->dev, err);
    if (rc < 0)
        return rc;
    g->ops->about(g->dev, &g->about);
    if (s->head_dim == 128 && g->about.shared_bytes < CUDA_SHARED_128)
        return bt_fail(err, BT_ERR_UNSUPPORTED,
                       "%s has too little shared memory for heads of 128; 64 would fit",
                       g->about.name);
    return 0;
}

/* All ranks on GPUs or none: 1 when all found theirs. */
static int all_found(struct ranks *r, bool found, struct bt_err *err)
{
    double missing = !found;
    int rc = ranks_sum(r, &missing, 1, err);

    return rc < 0 ? rc : missing == 0;
}

static int settle(struct gpu *g, int rows, struct ranks *r, struct bt_err *err)
{
    int rc = 0;

    g->n_params = (size_t)model_params(&g->s);
    g->n_arena = BT_MAX(r->shard * (size_t)r->world, g->n_params);
    g->lo = r->lo;
    g->hi = r->hi;
    find_tensors(g);
    if (r->world > 1)
        rc = g->ops->coll_open(g->dev, r->coll, CALL_TIMEOUT_US, &r->fabric, err);
    if (rc == 0)
        rc = allocate(g, rows, err);
    if (rc == 0)
        make_angles(g);
    return rc;
}

int gpu_open(const char *device, const struct model_shape *s, int rows, struct ranks *ranks,
             struct gpu **ret, struct bt_err *why, struct bt_err *err)
{
    struct gpu *g;
    int found, rc;

    *ret = NULL;
    if (bt_streq(device, "cpu"))
        return 0;
    g = bt_new(struct gpu);
    g->s = *s;
    g->at = bt_new_n(struct layer_at, s->layers);
    g->layer = bt_new_n(struct layer_acts, s->layers);
    rc = find(g, ranks, why);
    found = all_found(ranks, rc == 0, err);
    if (found == 1) {
        rc = settle(g, rows, ranks, err);
    } else if (found < 0) {
        rc = found;
    } else {
        if (rc == 0)
            rc = bt_fail(why, BT_ERR_UNSUPPORTED, "another rank found no GPU");
        if (bt_streq(device, "cuda") && err)
            *err = *why;
        else if (!bt_streq(device, "cuda"))
            rc = 0;
    }
    if (found != 1 || rc < 0) {
        if (ranks->fabric)
            ranks->fabric->ops->close(ranks->fabric);
        ranks->fabric = NULL;
        gpu_close(g);
    } else {
        *ret = g;
    }
    return rc;
}

void gpu_close(struct gpu *g)
{
    if (!g)
        return;
    if (g->dev) {
        g->ops->release(g->dev, g->acts);
        g->ops->release(g->dev, g->arena);
        g->ops->close(g->dev);
    }
    bt_free(g->at);
    bt_free(g->layer);
    bt_free(g);
}

const struct cuda_about *gpu_about(const struct gpu *g)
{
    return &g->about;
}

int gpu_check(struct gpu *g, struct bt_err *err)
{
    if (!g->failed.code)
        (void)g->ops->wait(g->dev, &g->failed);
    if (!g->failed.code)
        return 0;
    if (err)
        *err = g->failed;
    return -g->failed.code;
}

double gpu_peak_gflops(struct gpu *g)
{
    int size = g->about.emulated ? 64 : 4096;
    size_t n = (size_t)size * (size_t)size * sizeof(kern_bf16);
    struct cuda_product p = {.kind = CUDA_LINEAR, .n = size, .in = size, .out = size};
    void *all = NULL;
    double best = 0;

    if (g->about.peak_gflops > 0)
        return g->about.peak_gflops;
    if (g->ops->alloc(g->dev, 3 * n, &all, NULL) < 0)
        return 0;
    p.a = all;
    p.b = (kern_bf16 *)all + n / sizeof(kern_bf16);
    p.to = (kern_bf16 *)all + 2 * n / sizeof(kern_bf16);
    for (int i = 0; i < 5; i++) {
        g->ops->mark(g->dev, 0);
        g->ops->product(g->dev, &p);
        g->ops->mark(g->dev, 1);
        if (g->ops->wait(g->dev, NULL) < 0)
            break;
        best = fmax(best, 2e-3 * pow(size, 3) / fmax(g->ops->marked_us(g->dev), 1));
    }
    g->ops->release(g->dev, all);
    return best;
}

/* ---- forward ---- */

static void product(struct gpu *g, enum cuda_product_kind kind, void *to, const kern_bf16 *a,
                    const kern_bf16 *b, const int dims[3])
{
    const struct cuda_product p = {
        .kind = kind, .to = to, .a = a, .b = b, .n = dims[0], .in = dims[1], .out = dims[2]};

    g->ops->product(g->dev, &p);
}

/* dw (+)= dy^T x */
static void weight_gradient(struct gpu *g, size_t weight, const kern_bf16 *dy, const kern_bf16 *x,
                            const int dims[3], bool fresh)
{
    const struct cuda_product p = {.kind = CUDA_LINEAR_DW,
                                   .to = g->grad + weight,
                                   .a = dy,
                                   .b = x,
                                   .n = dims[0],
                                   .in = dims[1],
                                   .out = dims[2],
                                   .wide = true,
                                   .add = !fresh};

    g->ops->product(g->dev, &p);
}

static void rope(struct gpu *g, kern_bf16 *qkv, int n, int t, bool inverse)
{
    const struct cuda_rope a = {.x = qkv,
                                .cos = g->cos,
                                .sin = g->sin,
                                .n = n,
                                .t = t,
                                .stride = qkv_width(&g->s),
                                .heads = g->s.heads + g->s.kv_heads,
                                .d = g->s.head_dim,
                                .inverse = inverse};

    g->ops->rope(g->dev, &a);
}

static void layer_forward(struct gpu *g, int l, const kern_bf16 *x, const kern_bf16 *y, int b,
                          int t)
{
    const struct model_shape *s = &g->s;
    struct layer_acts *a = &g->layer[l];
    const struct layer_at *at = &g->at[l];
    int n = b * t, c = s->width, hd = s->heads * s->head_dim, q = qkv_width(s);
    struct cuda_add_norm norm = {.out = a->norm1,
                                 .sum = a->sum1,
                                 .rstd = a->rstd1,
                                 .x = x,
                                 .y = y,
                                 .w = g->w + at->norm1,
                                 .n = n,
                                 .c = c,
                                 .eps = (float)s->norm_eps};

    g->ops->add_norm(g->dev, &norm);
    product(g, CUDA_LINEAR, a->qkv, a->norm1, g->w + at->qkv, (const int[]){n, c, q});
    rope(g, a->qkv, n, t, false);
    g->ops->attention(g->dev, &(struct cuda_attention){.qkv = a->qkv,
                                                       .out = a->att,
                                                       .lse = a->lse,
                                                       .b = b,
                                                       .t = t,
                                                       .heads = s->heads,
                                                       .kv_heads = s->kv_heads,
                                                       .d = s->head_dim});
    product(g, CUDA_LINEAR, g->branch, a->att, g->w + at->o, (const int[]){n, hd, c});
    norm.out = a->norm2;
    norm.sum = a->sum2;
    norm.rstd = a->rstd2;
    norm.x = a->sum1;
    norm.y = g->branch;
    norm.w = g->w + at->norm2;
    g->ops->add_norm(g->dev, &norm);
    product(g, CUDA_LINEAR, a->gu, a->norm2, g->w + at->gate_up, (const int[]){n, c, 2 * s->ffn});
    g->ops->swiglu(g->dev, &(struct cuda_swiglu){.h = a->h, .gu = a->gu, .n = n, .f = s->ffn});
    product(g, CUDA_LINEAR, g->branch, a->h, g->w + at->down, (const int[]){n, s->ffn, c});
}

static void forward(struct gpu *g, int b, int t)
{
    const kern_bf16 *x = g->embedded, *y = NULL;
    int n = b * t;

    g->ops->embed(
        g->dev,
        &(struct cuda_embed){
            .out = g->embedded, .table = g->w + g->embed, .ids = g->in, .n = n, .c = g->s.width});
    for (int l = 0; l < g->s.layers; l++) {
        layer_forward(g, l, x, y, b, t);
        x = g->layer[l].sum2;
        y = g->branch;
    }
    g->ops->add_norm(g->dev, &(struct cuda_add_norm){.out = g->norm,
                                                     .sum = g->sum,
                                                     .rstd = g->rstd,
                                                     .x = x,
                                                     .y = y,
                                                     .w = g->w + g->final_norm,
                                                     .n = n,
                                                     .c = g->s.width,
                                                     .eps = (float)g->s.norm_eps});
}

/* Uploads, runs forward, and the loss with gradients of scale * loss, or (scale 0) without. */
static void run_loss(struct gpu *g, const int32_t *const ids[2], int b, int t, float scale,
                     bool fresh)
{
    size_t bytes = (size_t)b * (size_t)t * sizeof(int32_t);
    struct cuda_linear_loss a = {.x = g->norm,
                                 .w = g->w + g->head,
                                 .target = g->target,
                                 .loss = g->loss,
                                 .logits = g->logits,
                                 .n = b * t,
                                 .c = g->s.width,
                                 .v = g->s.vocab};

    g->ops->put(g->dev, g->in, ids[0], bytes);
    g->ops->put(g->dev, g->target, ids[1], bytes);
    forward(g, b, t);
    if (scale != 0) {
        a.dx = g->dnorm;
        a.dw = g->grad + g->head;
        a.dlogits = g->dlogits;
        a.scale = scale;
        a.add = !fresh;
    }
    g->ops->linear_loss(g->dev, &a);
}

/* Waits; the rows' losses summed in order. */
static double collect(struct gpu *g, int n, float *row_loss)
{
    BT_AUTO float *own = row_loss ? NULL : bt_new_n(float, n);
    float *to = row_loss ? row_loss : own;
    double sum = 0;

    if (g->failed.code || g->ops->get(g->dev, to, g->loss, (size_t)n * sizeof *to, &g->failed) < 0)
        return (double)NAN;
    for (int i = 0; i < n; i++)
        sum += (double)to[i];
    return sum;
}

double gpu_loss(struct gpu *g, const int32_t *in, const int32_t *target, int b, int t,
                float *row_loss)
{
    run_loss(g, (const int32_t *const[]){in, target}, b, t, 0, false);
    return collect(g, b * t, row_loss);
}

/* ---- backward ---- */

static void norm_backward(struct gpu *g, const kern_bf16 *sum, const float *rstd, size_t weight,
                          int n, bool fresh)
{
    const struct cuda_norm_backward a = {.dsum = g->dres,
                                         .dsum_is_empty = weight == g->final_norm,
                                         .dw = g->grad + weight,
                                         .add = !fresh,
                                         .partial = g->partial,
                                         .dout = g->dnorm,
                                         .sum = sum,
                                         .rstd = rstd,
                                         .w = g->w + weight,
                                         .n = n,
                                         .c = g->s.width};

    g->ops->norm_backward(g->dev, &a);
}

static void feed_forward_backward(struct gpu *g, int l, int n, bool fresh)
{
    const struct layer_at *at = &g->at[l];
    struct layer_acts *a = &g->layer[l];
    int c = g->s.width, f = g->s.ffn;
    const int down[] = {n, f, c}, up[] = {n, c, 2 * f};

    product(g, CUDA_LINEAR_DX, g->dwide, g->dres, g->w + at->down, down);
    weight_gradient(g, at->down, g->dres, a->h, down, fresh);
    g->ops->swiglu_backward(
        g->dev, &(struct cuda_swiglu_backward){.gu = a->gu, .dh = g->dwide, .n = n, .f = f});
    product(g, CUDA_LINEAR_DX, g->dnorm, a->gu, g->w + at->gate_up, up);
    weight_gradient(g, at->gate_up, a->gu, a->norm2, up, fresh);
    norm_backward(g, a->sum2, a->rstd2, at->norm2, n, fresh);
}

static void attention_backward(struct gpu *g, int l, int b, int t, bool fresh)
{
    const struct model_shape *s = &g->s;
    const struct layer_at *at = &g->at[l];
    struct layer_acts *a = &g->layer[l];
    int n = b * t, c = s->width, hd = s->heads * s->head_dim, q = qkv_width(s);
    const int o[] = {n, hd, c}, in[] = {n, c, q};
    kern_bf16 *datt = g->dwide, *dqkv = g->dwide + (size_t)n * (size_t)hd;

    product(g, CUDA_LINEAR_DX, datt, g->dres, g->w + at->o, o);
    weight_gradient(g, at->o, g->dres, a->att, o, fresh);
    g->ops->attention_backward(g->dev, &(struct cuda_attention_backward){.dqkv = dqkv,
                                                                         .delta = g->delta,
                                                                         .qkv = a->qkv,
                                                                         .out = a->att,
                                                                         .dout = datt,
                                                                         .lse = a->lse,
                                                                         .b = b,
                                                                         .t = t,
                                                                         .heads = s->heads,
                                                                         .kv_heads = s->kv_heads,
                                                                         .d = s->head_dim});
    rope(g, dqkv, n, t, true);
    product(g, CUDA_LINEAR_DX, g->dnorm, dqkv, g->w + at->qkv, in);
    weight_gradient(g, at->qkv, dqkv, a->norm1, in, fresh);
    norm_backward(g, a->sum1, a->rstd1, at->norm1, n, fresh);
}

double gpu_gradient(struct gpu *g, const int32_t *in, const int32_t *target, int b, int t,
                    float scale, bool fresh)
{
    const struct model_shape *s = &g->s;
    int n = b * t;

    run_loss(g, (const int32_t *const[]){in, target}, b, t, scale, fresh);
    norm_backward(g, g->sum, g->rstd, g->final_norm, n, fresh);
    for (int l = s->layers - 1; l >= 0; l--) {
        feed_forward_backward(g, l, n, fresh);
        attention_backward(g, l, b, t, fresh);
    }
    if (!s->tied && fresh)
        g->ops->zero(g->dev, g->grad + g->embed, (size_t)s->vocab * s->width * sizeof(float));
    g->ops->embed_backward(g->dev, &(struct cuda_embed_backward){.dtable = g->grad + g->embed,
                                                                 .dout = g->dres,
                                                                 .ids = g->in,
                                                                 .one_hot = g->dlogits,
                                                                 .n = n,
                                                                 .c = s->width,
                                                                 .v = s->vocab});
    return collect(g, n, NULL);
}

void gpu_zero_gradient(struct gpu *g)
{
    g->ops->zero(g->dev, g->grad, g->n_arena * sizeof(float));
}

/* ---- between ranks, and the step ---- */

int gpu_sum_gradient(struct gpu *g, struct ranks *r, double *ret, struct bt_err *err)
{
    int rc = gpu_check(g, err); /* before others are made to wait */

    if (rc == 0)
        rc = ranks_sum_gradient(r, g->grad, err);
    if (rc < 0)
        return rc;
    g->ops->sum_squares(g->dev, g->squares, g->grad + g->lo, g->hi - g->lo);
    return g->ops->get(g->dev, ret, g->squares, sizeof *ret, err);
}

int gpu_update(struct gpu *g, struct ranks *r, const struct gpu_update *u, struct bt_err *err)
{
    const struct cuda_adamw a = {
        .master = g->master,
        .m = g->m,
        .v = g->v,
        .w = g->w + g->lo,
        .grad = g->grad + g->lo,
        .count = g->hi - g->lo,
        .decayed = BT_MIN(BT_MAX(u->n_matrix, g->lo), g->hi) - g->lo,
        .lr = u->lr,
        .beta1 = u->beta1,
        .beta2 = u->beta2,
        .eps = u->eps,
        .decay = u->decay,
        .grad_scale = u->grad_scale,
        .step = u->step,
    };
    int rc;

    g->ops->adamw(g->dev, &a);
    rc = gpu_check(g, err);
    return rc < 0 ? rc : ranks_gather_bytes(r, g->w, sizeof *g->w, err);
}

int gpu_push(struct gpu *g, const float *w, const float *m, const float *v, struct bt_err *err)
{
    size_t own = (g->hi - g->lo) * sizeof(float);

    g->ops->put(g->dev, g->grad, w, g->n_params * sizeof(float)); /* on its way through */
    g->ops->round(g->dev, g->w, g->grad, g->n_params);
    g->ops->put(g->dev, g->master, w + g->lo, own);
    g->ops->put(g->dev, g->m, m, own);
    g->ops->put(g->dev, g->v, v, own);
    return gpu_check(g, err);
}

int gpu_pull(struct gpu *g, struct ranks *r, float *w, float *m, float *v, struct bt_err *err)
{
    size_t own = (g->hi - g->lo) * sizeof(float);
    int rc;

    g->ops->copy(g->dev, g->grad + g->lo, g->master, own);
    rc = gpu_check(g, err);
    if (rc == 0)
        rc = ranks_gather_bytes(r, g->grad, sizeof *g->grad, err);
    if (rc == 0)
        rc = g->ops->get(g->dev, w, g->grad, g->n_params * sizeof(float), err);
    if (rc == 0)
        rc = g->ops->get(g->dev, m, g->m, own, err);
    return rc < 0 ? rc : g->ops->get(g->dev, v, g->v, own, err);
}
