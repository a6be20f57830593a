/* attention_body.h - the kernels of attention.cu for one HEAD_DIM; included once for each.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * No include guard: attention.cu defines HEAD_DIM anew before each inclusion.
 * TWICE is how many times 16 rows a warp owns: two halve the traffic of shared
 * memory, one is what the registers of a head of 128 leave in backward. */
#define BODY_JOIN_(a, b) a##b
#define BODY_JOIN(a, b) BODY_JOIN_(a, b)
#define OF_D(name) BODY_JOIN(name, HEAD_DIM)

#define LD (HEAD_DIM + PACK)
#define STEPS (HEAD_DIM / 16) /* of a sum over a head */
#define COLUMNS (HEAD_DIM / 8)

#define FWD_TWICE 2
#define FWD_Q (ATT_WARPS * FWD_TWICE * ROWS)
#define FWD_K 64
#define FWD_SHARED ((FWD_Q + 4 * FWD_K) * LD * 2)

#if HEAD_DIM == 64
#define BWD_TWICE 2
#else
#define BWD_TWICE 1
#endif
#define BWD_STEP 32
#define BWD_OWN (ATT_WARPS * BWD_TWICE * ROWS)
#define BWD_SHARED ((2 * BWD_OWN + 4 * BWD_STEP) * LD * 2 + 4 * BWD_STEP * 4)

/* ---- forward ---- */

/* What a warp holds of its rows: entry [r][h] is row 16 r + lane / 4 + 8 h. */
struct OF_D(rows_) {
    float o[FWD_TWICE][COLUMNS][4];
    float most[FWD_TWICE][2], sum[FWD_TWICE][2]; /* in units of log2; sum: this lane's columns */
};

/* x = own[16 rows][head] other[columns][head]^T for each 16 rows that a warp owns: in forward, and
 * with other sizes in backward. */
#define PRODUCT_OF_ROWS(name, twice, columns)                                      \
    DEVICE void OF_D(name)(float x[twice][(columns) / 8][4], const kern_bf16 *own, \
                           const kern_bf16 *other, int first)                      \
    {                                                                              \
        UNROLL                                                                     \
        for (int r = 0; r < (twice); r++) {                                        \
            UNROLL                                                                 \
            for (int n = 0; n < (columns) / 8; n++) {                              \
                UNROLL                                                             \
                for (int i = 0; i < 4; i++)                                        \
                    x[r][n][i] = 0;                                                \
            }                                                                      \
        }                                                                          \
        UNROLL                                                                     \
        for (int step = 0; step < STEPS; step++) {                                 \
            uint32_t l[twice][4];                                                  \
                                                                                   \
            UNROLL                                                                 \
            for (int r = 0; r < (twice); r++)                                      \
                left(l[r], own, first + r * ROWS, step * 16, LD);                  \
            UNROLL                                                                 \
            for (int n = 0; n < (columns) / 16; n++) {                             \
                uint32_t y[4];                                                     \
                                                                                   \
                right(y, other, n * 16, step * 16, LD);                            \
                UNROLL                                                             \
                for (int r = 0; r < (twice); r++) {                                \
                    multiply_add(x[r][2 * n], l[r], y);                            \
                    multiply_add(x[r][2 * n + 1], l[r], y + 2);                    \
                }                                                                  \
            }                                                                      \
        }                                                                          \
    }

PRODUCT_OF_ROWS(scores_, FWD_TWICE, FWD_K)

/* s[row][key] = -inf where the key comes after the query. query, key: of the tile's first. */
DEVICE void OF_D(mask_)(float s[FWD_TWICE][FWD_K / 8][4], int query, int key)
{
    const int lane = (int)threadIdx.x % WARP;

    UNROLL
    for (int r = 0; r < FWD_TWICE; r++) {
        UNROLL
        for (int n = 0; n < FWD_K / 8; n++) {
            UNROLL
            for (int i = 0; i < 4; i++) {
                if (key + n * 8 + 2 * (lane % 4) + i % 2 >
                    query + r * ROWS + lane / 4 + 8 * (i / 2))
                    s[r][n][i] = -INFINITY;
            }
        }
    }
}

/* s becomes probabilities relative to the rows' new maxima; what was summed so far is scaled. */
DEVICE void OF_D(soften_)(struct OF_D(rows_) * w, float s[FWD_TWICE][FWD_K / 8][4], float scale)
{
    UNROLL
    for (int r = 0; r < FWD_TWICE; r++) {
        UNROLL
        for (int h = 0; h < 2; h++) {
            float most = -INFINITY, by, sum = 0;

            UNROLL
            for (int n = 0; n < FWD_K / 8; n++)
                most = fmaxf(most, fmaxf(s[r][n][2 * h], s[r][n][2 * h + 1]));
            most = fmaxf(w->most[r][h], row_max(most) * scale);
            by = exp2_fast(w->most[r][h] - most);
            w->most[r][h] = most;
            UNROLL
            for (int n = 0; n < FWD_K / 8; n++) {
                UNROLL
                for (int i = 2 * h; i < 2 * h + 2; i++) {
                    s[r][n][i] = exp2_fast(s[r][n][i] * scale - most);
                    sum += s[r][n][i];
                }
            }
            w->sum[r][h] = w->sum[r][h] * by + sum;
            UNROLL
            for (int n = 0; n < COLUMNS; n++) {
                w->o[r][n][2 * h] *= by;
                w->o[r][n][2 * h + 1] *= by;
            }
        }
    }
}

DEVICE void OF_D(weigh_)(struct OF_D(rows_) * w, float s[FWD_TWICE][FWD_K / 8][4],
                         const kern_bf16 *v)
{
    UNROLL
    for (int step = 0; step < FWD_K / 16; step++) {
        uint32_t x[FWD_TWICE][4];

        UNROLL
        for (int r = 0; r < FWD_TWICE; r++)
            as_left(x[r], s[r][2 * step], s[r][2 * step + 1]);
        UNROLL
        for (int n = 0; n < HEAD_DIM / 16; n++) {
            uint32_t y[4];

            right_turned(y, v, step * 16, n * 16, LD);
            UNROLL
            for (int r = 0; r < FWD_TWICE; r++) {
                multiply_add(w->o[r][2 * n], x[r], y);
                multiply_add(w->o[r][2 * n + 1], x[r], y + 2);
            }
        }
    }
}

/* A warp's finished rows from its own part of a tile to memory, 16 bytes a lane. */
DEVICE void OF_D(store_rows_)(kern_bf16 *to, size_t stride, const kern_bf16 *tile, int first,
                              int rows, int from, int t)
{
    const int lane = (int)threadIdx.x % WARP;

    warp_sync();
    for (int i = lane; i < rows * COLUMNS; i += WARP) {
        int r = first + i / COLUMNS, p = i % COLUMNS;

        if (from + r < t)
            *(struct pack8 *)(void *)(to + (size_t)(from + r) * stride + (size_t)p * PACK) =
                *(const struct pack8 *)(const void *)(tile + r * LD + p * PACK);
    }
}

/* Rows of a result, times by[h], as bfloat16 into a tile. */
DEVICE void OF_D(keep_rows_)(kern_bf16 *tile, int row, float x[COLUMNS][4], float by_low,
                             float by_high)
{
    const int lane = (int)threadIdx.x % WARP;

    UNROLL
    for (int n = 0; n < COLUMNS; n++) {
        UNROLL
        for (int h = 0; h < 2; h++) {
            float by = h ? by_high : by_low;

            *(uint32_t *)(void *)(tile + (row + lane / 4 + 8 * h) * LD + n * 8 + 2 * (lane % 4)) =
                pack_bf16(x[n][2 * h] * by, x[n][2 * h + 1] * by);
        }
    }
}

DEVICE void OF_D(finish_)(const struct cuda_attention *a, struct OF_D(rows_) * w, kern_bf16 *tile,
                          int bh, int first_query)
{
    const int lane = (int)threadIdx.x % WARP, first = (int)threadIdx.x / WARP * FWD_TWICE * ROWS;

    UNROLL
    for (int r = 0; r < FWD_TWICE; r++) {
        UNROLL
        for (int h = 0; h < 2; h++) {
            int query = first_query + first + r * ROWS + lane / 4 + 8 * h;

            w->sum[r][h] = row_sum(w->sum[r][h]);
            if (lane % 4 == 0 && query < a->t)
                a->lse[(size_t)bh * (size_t)a->t + (size_t)query] =
                    (w->most[r][h] + log2f(w->sum[r][h])) * LN_2;
        }
        OF_D(keep_rows_)(tile, first + r * ROWS, w->o[r], 1.0f / w->sum[r][0], 1.0f / w->sum[r][1]);
    }
    OF_D(store_rows_)
    (a->out + (size_t)(bh / a->heads) * (size_t)a->t * (size_t)(a->heads * HEAD_DIM) +
         (size_t)(bh % a->heads) * HEAD_DIM,
     (size_t)(a->heads * HEAD_DIM), tile, first, FWD_TWICE * ROWS, first_query, a->t);
}

KERNEL(OF_D(attention_), struct cuda_attention, ATT_THREADS, 1)
{
    SHARED_MEMORY(kern_bf16, q);
    kern_bf16 *k = q + FWD_Q * LD, *v = k + 2 * FWD_K * LD;
    const int tiles = (a.t + FWD_Q - 1) / FWD_Q, bh = (int)blockIdx.x / tiles;
    const int from = (tiles - 1 - (int)blockIdx.x % tiles) * FWD_Q; /* the longest first */
    const int first = (int)threadIdx.x / WARP * FWD_TWICE * ROWS;
    const int last = ((from + FWD_Q < a.t ? from + FWD_Q : a.t) - 1) / FWD_K;
    const float scale = LOG2_E / sqrtf((float)HEAD_DIM);
    const struct head at = head_at(bh / a.heads, bh % a.heads, a.t, a.heads, a.kv_heads, HEAD_DIM);
    struct OF_D(rows_) w;

    UNROLL
    for (int r = 0; r < FWD_TWICE; r++) {
        UNROLL
        for (int h = 0; h < 2; h++) {
            w.most[r][h] = -INFINITY;
            w.sum[r][h] = 0;
        }
        UNROLL
        for (int n = 0; n < COLUMNS; n++) {
            UNROLL
            for (int i = 0; i < 4; i++)
                w.o[r][n][i] = 0;
        }
    }
    fetch_tile(q, a.qkv + at.q, at.stride, from, FWD_Q, a.t, HEAD_DIM);
    fetch_tile(k, a.qkv + at.k, at.stride, 0, FWD_K, a.t, HEAD_DIM);
    fetch_tile(v, a.qkv + at.v, at.stride, 0, FWD_K, a.t, HEAD_DIM);
    copies_end_group();
    for (int j = 0; j <= last; j++) {
        kern_bf16 *kj = k + j % 2 * FWD_K * LD, *vj = v + j % 2 * FWD_K * LD;

        if (j < last) {
            fetch_tile(k + (j + 1) % 2 * FWD_K * LD, a.qkv + at.k, at.stride, (j + 1) * FWD_K,
                       FWD_K, a.t, HEAD_DIM);
            fetch_tile(v + (j + 1) % 2 * FWD_K * LD, a.qkv + at.v, at.stride, (j + 1) * FWD_K,
                       FWD_K, a.t, HEAD_DIM);
        }
        copies_end_group();
        COPIES_WAIT(1);
        block_sync();
        if (j * FWD_K <= from + first + FWD_TWICE * ROWS - 1) {
            float s[FWD_TWICE][FWD_K / 8][4];

            OF_D(scores_)(s, q, kj, first);
            if (j * FWD_K + FWD_K - 1 > from + first)
                OF_D(mask_)(s, from + first, j * FWD_K);
            OF_D(soften_)(&w, s, scale);
            OF_D(weigh_)(&w, s, vj);
        }
        block_sync(); /* the next round overwrites this one's keys */
    }
    OF_D(finish_)(&a, &w, q, bh, from);
}

/* What cuda.h promises as CUDA_SHARED_128. */
typedef char OF_D(fits_)[FWD_SHARED <= 104448 && BWD_SHARED <= 104448 ? 1 : -1];

static int OF_D(launch_attention_)(void *stream, const struct cuda_attention *a)
{
    const size_t tiles = (size_t)(a->t + FWD_Q - 1) / FWD_Q;

    LAUNCH(OF_D(attention_), make_grid(tiles * (size_t)a->b * (size_t)a->heads, 1), ATT_THREADS,
           FWD_SHARED, stream, *a);
    return 0;
}

/* ---- backward ---- */

PRODUCT_OF_ROWS(cross_, BWD_TWICE, BWD_STEP)

/* to[16 rows][head] += x[16 rows][BWD_STEP] other[BWD_STEP][head] */
DEVICE void OF_D(spread_)(float to[BWD_TWICE][COLUMNS][4], float x[BWD_TWICE][BWD_STEP / 8][4],
                          const kern_bf16 *other)
{
    UNROLL
    for (int step = 0; step < BWD_STEP / 16; step++) {
        uint32_t l[BWD_TWICE][4];

        UNROLL
        for (int r = 0; r < BWD_TWICE; r++)
            as_left(l[r], x[r][2 * step], x[r][2 * step + 1]);
        UNROLL
        for (int n = 0; n < HEAD_DIM / 16; n++) {
            uint32_t y[4];

            right_turned(y, other, step * 16, n * 16, LD);
            UNROLL
            for (int r = 0; r < BWD_TWICE; r++) {
                multiply_add(to[r][2 * n], l[r], y);
                multiply_add(to[r][2 * n + 1], l[r], y + 2);
            }
        }
    }
}

DEVICE void OF_D(clear_)(float x[BWD_TWICE][COLUMNS][4])
{
    UNROLL
    for (int r = 0; r < BWD_TWICE; r++) {
        UNROLL
        for (int n = 0; n < COLUMNS; n++) {
            UNROLL
            for (int i = 0; i < 4; i++)
                x[r][n][i] = 0;
        }
    }
}

/* A tile of queries with what belongs to each: dout, lse in units of log2, delta. Queries behind t
 * get lse +inf: their probabilities are 0. */
DEVICE void OF_D(fetch_queries_)(const struct cuda_attention_backward *a, kern_bf16 *q,
                                 kern_bf16 *dout, float *terms, int b, int h, int from)
{
    const struct head at = head_at(b, h, a->t, a->heads, a->kv_heads, HEAD_DIM);
    const size_t width = (size_t)(a->heads * HEAD_DIM);
    const size_t row = ((size_t)b * (size_t)a->heads + (size_t)h) * (size_t)a->t;

    fetch_tile(q, a->qkv + at.q, at.stride, from, BWD_STEP, a->t, HEAD_DIM);
    fetch_tile(dout, a->dout + (size_t)b * (size_t)a->t * width + (size_t)h * HEAD_DIM, width, from,
               BWD_STEP, a->t, HEAD_DIM);
    if ((int)threadIdx.x < BWD_STEP) {
        int query = from + (int)threadIdx.x;
        bool there = query < a->t;

        terms[threadIdx.x] = there ? a->lse[row + (size_t)query] * LOG2_E : INFINITY;
        terms[BWD_STEP + (int)threadIdx.x] = there ? a->delta[row + (size_t)query] : 0;
    }
}

/* s (keys x queries) becomes probabilities, dp the gradient of the scores. */
DEVICE void OF_D(turned_gradient_)(float s[BWD_TWICE][BWD_STEP / 8][4],
                                   float dp[BWD_TWICE][BWD_STEP / 8][4], const float *terms,
                                   int key, int query, float scale)
{
    const int lane = (int)threadIdx.x % WARP;

    UNROLL
    for (int r = 0; r < BWD_TWICE; r++) {
        UNROLL
        for (int n = 0; n < BWD_STEP / 8; n++) {
            UNROLL
            for (int i = 0; i < 4; i++) {
                int column = n * 8 + 2 * (lane % 4) + i % 2;
                bool seen = key + r * ROWS + lane / 4 + 8 * (i / 2) <= query + column;
                float p = seen ? exp2_fast(s[r][n][i] * scale - terms[column]) : 0;

                s[r][n][i] = p;
                dp[r][n][i] = p * (dp[r][n][i] - terms[BWD_STEP + column]);
            }
        }
    }
}

/* dK and dV of one tile of keys: all tiles of queries of all query heads that read these keys. */
KERNEL(OF_D(attention_dkv_), struct cuda_attention_backward, ATT_THREADS, 1)
{
    SHARED_MEMORY(kern_bf16, k);
    kern_bf16 *v = k + BWD_OWN * LD, *q = v + BWD_OWN * LD, *dout = q + 2 * BWD_STEP * LD;
    float *terms = (float *)(void *)(dout + 2 * BWD_STEP * LD); /* [2][2][BWD_STEP] */
    const int tiles = (a.t + BWD_OWN - 1) / BWD_OWN, group = a.heads / a.kv_heads;
    const int b = (int)blockIdx.x / tiles / a.kv_heads, kv = (int)blockIdx.x / tiles % a.kv_heads;
    const int from = (int)blockIdx.x % tiles * BWD_OWN; /* the longest first */
    const int first = (int)threadIdx.x / WARP * BWD_TWICE * ROWS;
    const int begin = from / BWD_STEP, steps = (a.t + BWD_STEP - 1) / BWD_STEP - begin;
    const float inverse_root = 1.0f / sqrtf((float)HEAD_DIM);
    const struct head at = head_at(b, kv * group, a.t, a.heads, a.kv_heads, HEAD_DIM);
    float dk[BWD_TWICE][COLUMNS][4], dv[BWD_TWICE][COLUMNS][4];

    OF_D(clear_)(dk);
    OF_D(clear_)(dv);
    fetch_tile(k, a.qkv + at.k, at.stride, from, BWD_OWN, a.t, HEAD_DIM);
    fetch_tile(v, a.qkv + at.v, at.stride, from, BWD_OWN, a.t, HEAD_DIM);
    OF_D(fetch_queries_)(&a, q, dout, terms, b, kv * group, begin * BWD_STEP);
    copies_end_group();
    for (int j = 0; j < group * steps; j++) {
        const int now = j % 2, next = 1 - now, query = (begin + j % steps) * BWD_STEP;

        if (j + 1 < group * steps)
            OF_D(fetch_queries_)
        (&a, q + next * BWD_STEP * LD, dout + next * BWD_STEP * LD, terms + next * 2 * BWD_STEP, b,
         kv * group + (j + 1) / steps, (begin + (j + 1) % steps) * BWD_STEP);
        copies_end_group();
        COPIES_WAIT(1);
        block_sync();
        if (query + BWD_STEP - 1 >= from + first) {
            float s[BWD_TWICE][BWD_STEP / 8][4], dp[BWD_TWICE][BWD_STEP / 8][4];

            OF_D(cross_)(s, k, q + now * BWD_STEP * LD, first);
            OF_D(cross_)(dp, v, dout + now * BWD_STEP * LD, first);
            OF_D(turned_gradient_)
            (s, dp, terms + now * 2 * BWD_STEP, from + first, query, inverse_root * LOG2_E);
            OF_D(spread_)(dv, s, dout + now * BWD_STEP * LD);
            OF_D(spread_)(dk, dp, q + now * BWD_STEP * LD);
        }
        block_sync();
    }
    UNROLL
    for (int r = 0; r < BWD_TWICE; r++) {
        OF_D(keep_rows_)(k, first + r * ROWS, dk[r], inverse_root, inverse_root);
        OF_D(keep_rows_)(v, first + r * ROWS, dv[r], 1, 1);
    }
    OF_D(store_rows_)(a.dqkv + at.k, at.stride, k, first, BWD_TWICE * ROWS, from, a.t);
    OF_D(store_rows_)(a.dqkv + at.v, at.stride, v, first, BWD_TWICE * ROWS, from, a.t);
}

/* s (queries x keys) is not needed afterwards; dp becomes the gradient of the scores. */
DEVICE void OF_D(gradient_)(float s[BWD_TWICE][BWD_STEP / 8][4],
                            float dp[BWD_TWICE][BWD_STEP / 8][4], float lse[BWD_TWICE][2],
                            float delta[BWD_TWICE][2], int query, int key, float scale)
{
    const int lane = (int)threadIdx.x % WARP;

    UNROLL
    for (int r = 0; r < BWD_TWICE; r++) {
        UNROLL
        for (int n = 0; n < BWD_STEP / 8; n++) {
            UNROLL
            for (int i = 0; i < 4; i++) {
                bool seen = key + n * 8 + 2 * (lane % 4) + i % 2 <=
                            query + r * ROWS + lane / 4 + 8 * (i / 2);
                float p = seen ? exp2_fast(s[r][n][i] * scale - lse[r][i / 2]) : 0;

                dp[r][n][i] = p * (dp[r][n][i] - delta[r][i / 2]);
            }
        }
    }
}

/* dQ of one tile of queries. */
KERNEL(OF_D(attention_dq_), struct cuda_attention_backward, ATT_THREADS, 1)
{
    SHARED_MEMORY(kern_bf16, q);
    kern_bf16 *dout = q + BWD_OWN * LD, *k = dout + BWD_OWN * LD, *v = k + 2 * BWD_STEP * LD;
    const int tiles = (a.t + BWD_OWN - 1) / BWD_OWN, bh = (int)blockIdx.x / tiles;
    const int b = bh / a.heads, h = bh % a.heads, lane = (int)threadIdx.x % WARP;
    const int from = (tiles - 1 - (int)blockIdx.x % tiles) * BWD_OWN;
    const int first = (int)threadIdx.x / WARP * BWD_TWICE * ROWS;
    const int last = ((from + BWD_OWN < a.t ? from + BWD_OWN : a.t) - 1) / BWD_STEP;
    const float inverse_root = 1.0f / sqrtf((float)HEAD_DIM);
    const size_t width = (size_t)(a.heads * HEAD_DIM);
    const struct head at = head_at(b, h, a.t, a.heads, a.kv_heads, HEAD_DIM);
    float dq[BWD_TWICE][COLUMNS][4], lse[BWD_TWICE][2], delta[BWD_TWICE][2];

    OF_D(clear_)(dq);
    UNROLL
    for (int r = 0; r < BWD_TWICE; r++) {
        UNROLL
        for (int i = 0; i < 2; i++) {
            int query = from + first + r * ROWS + lane / 4 + 8 * i;
            size_t row = (size_t)bh * (size_t)a.t + (size_t)query;

            lse[r][i] = query < a.t ? a.lse[row] * LOG2_E : INFINITY;
            delta[r][i] = query < a.t ? a.delta[row] : 0;
        }
    }
    fetch_tile(q, a.qkv + at.q, at.stride, from, BWD_OWN, a.t, HEAD_DIM);
    fetch_tile(dout, a.dout + (size_t)b * (size_t)a.t * width + (size_t)h * HEAD_DIM, width, from,
               BWD_OWN, a.t, HEAD_DIM);
    fetch_tile(k, a.qkv + at.k, at.stride, 0, BWD_STEP, a.t, HEAD_DIM);
    fetch_tile(v, a.qkv + at.v, at.stride, 0, BWD_STEP, a.t, HEAD_DIM);
    copies_end_group();
    for (int j = 0; j <= last; j++) {
        kern_bf16 *kj = k + j % 2 * BWD_STEP * LD, *vj = v + j % 2 * BWD_STEP * LD;

        if (j < last) {
            fetch_tile(k + (j + 1) % 2 * BWD_STEP * LD, a.qkv + at.k, at.stride, (j + 1) * BWD_STEP,
                       BWD_STEP, a.t, HEAD_DIM);
            fetch_tile(v + (j + 1) % 2 * BWD_STEP * LD, a.qkv + at.v, at.stride, (j + 1) * BWD_STEP,
                       BWD_STEP, a.t, HEAD_DIM);
        }
        copies_end_group();
        COPIES_WAIT(1);
        block_sync();
        if (j * BWD_STEP <= from + first + BWD_TWICE * ROWS - 1) {
            float s[BWD_TWICE][BWD_STEP / 8][4], dp[BWD_TWICE][BWD_STEP / 8][4];

            OF_D(cross_)(s, q, kj, first);
            OF_D(cross_)(dp, dout, vj, first);
            OF_D(gradient_)(s, dp, lse, delta, from + first, j * BWD_STEP, inverse_root * LOG2_E);
            OF_D(spread_)(dq, dp, kj);
        }
        block_sync();
    }
    UNROLL
    for (int r = 0; r < BWD_TWICE; r++)
        OF_D(keep_rows_)(q, first + r * ROWS, dq[r], inverse_root, inverse_root);
    OF_D(store_rows_)(a.dqkv + at.q, at.stride, q, first, BWD_TWICE * ROWS, from, a.t);
}

static int OF_D(launch_attention_backward_)(void *stream, const struct cuda_attention_backward *a)
{
    const size_t tiles = (size_t)(a->t + BWD_OWN - 1) / BWD_OWN;

    LAUNCH(OF_D(attention_dkv_), make_grid(tiles * (size_t)a->b * (size_t)a->kv_heads, 1),
           ATT_THREADS, BWD_SHARED, stream, *a);
    LAUNCH(OF_D(attention_dq_), make_grid(tiles * (size_t)a->b * (size_t)a->heads, 1), ATT_THREADS,
           BWD_SHARED, stream, *a);
    return 0;
}

#undef PRODUCT_OF_ROWS
#undef BODY_JOIN_
#undef BODY_JOIN
#undef OF_D
#undef LD
#undef STEPS
#undef COLUMNS
#undef FWD_TWICE
#undef FWD_Q
#undef FWD_K
#undef FWD_SHARED
#undef BWD_TWICE
#undef BWD_STEP
#undef BWD_OWN
#undef BWD_SHARED
