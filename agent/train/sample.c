/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/train/sample.h"

#include <math.h>

#include "agent/train/export.h"
#include "agent/train/model.h"
#include "agent/train/safetensors.h"
#include "kernels/kernels.h"
#include "lib/base/mem.h"

enum { PROMPT_MAX = 65536 };

struct choice {
    float logit;
    int token;
};

static int likelier_first(const void *a, const void *b)
{
    const struct choice *x = a, *y = b;

    if (x->logit != y->logit)
        return x->logit < y->logit ? 1 : -1;
    return x->token - y->token;
}

/* Only bytes and the end of a document can follow; the vocabulary's padding cannot. */
static int pick(const struct sample *s, const float *logits, uint64_t number)
{
    struct choice c[TOKEN_EOS + 1];
    int n = TOKEN_EOS + 1;
    double sum = 0, u;
    uint32_t random[4];

    for (int i = 0; i < n; i++)
        c[i] = (struct choice){logits[i], i};
    qsort(c, (size_t)n, sizeof *c, likelier_first);
    if (s->temperature <= 0)
        return c[0].token;
    if (s->top_k > 0)
        n = BT_MIN(n, s->top_k);
    for (int i = 0; i < n; i++)
        sum += exp((double)(c[i].logit - c[0].logit) / s->temperature);
    kern_philox(s->seed, 0, number, random);
    u = random[0] * 0x1p-32 * sum;
    for (int i = 0; i < n - 1; i++) {
        u -= exp((double)(c[i].logit - c[0].logit) / s->temperature);
        if (u < 0)
            return c[i].token;
    }
    return c[n - 1].token;
}

static void generate(const struct sample *s, struct model *m, FILE *to)
{
    size_t n = strlen(s->prompt), context = (size_t)m->shape.context;
    BT_AUTO int32_t *ids = bt_new_n(int32_t, n + (size_t)s->tokens + 1);
    BT_AUTO float *logits = bt_new_n(float, m->shape.vocab);

    ids[0] = TOKEN_EOS;
    for (size_t i = 0; i < n; i++)
        ids[i + 1] = (uint8_t)s->prompt[i];
    n++;
    fputs(s->prompt, to);
    for (int k = 0; k < s->tokens; k++) {
        size_t seen = BT_MIN(n, context);

        model_logits(m, ids + n - seen, (int)seen, logits);
        ids[n] = pick(s, logits, (uint64_t)k);
        if (ids[n] == TOKEN_EOS)
            break;
        fputc(ids[n++], to);
        fflush(to);
    }
    fputc('\n', to);
}

int sample_run(const struct sample *s, FILE *to, struct bt_err *err)
{
    BT_AUTO char *weights = bt_printf("%s/model.safetensors", s->model);
    struct model_shape shape;
    struct model m;
    int rc;

    if (strlen(s->prompt) > PROMPT_MAX)
        return bt_fail(err, BT_ERR_TOO_LARGE, "the prompt is longer than %d bytes", PROMPT_MAX);
    rc = export_read_shape(s->model, &shape, err);
    if (rc < 0)
        return rc;
    kern_init(s->threads);
    model_init(&m, &shape, 1, false);
    rc = safetensors_read(&m, weights, err);
    if (rc == 0)
        generate(s, &m, to);
    model_done(&m);
    return rc;
}
