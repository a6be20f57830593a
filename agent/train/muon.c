/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/train/muon.h"

#include <math.h>

#include "lib/base/mem.h"

static bool is_inside_a_layer(const struct model_tensor *t)
{
    return t->cols && !strncmp(t->name, "model.layers.", 13);
}

void muon_init(struct muon *m, const struct model *model, const struct ranks *r)
{
    struct model_tensor t;
    int total = 0;

    while (model_tensor(&model->shape, total, &t))
        total++;
    *m = (struct muon){.matrices = bt_new_n(struct kern_matrix, total), .lo = SIZE_MAX};
    for (int i = 0; i < total; i++) {
        size_t end;

        (void)model_tensor(&model->shape, i, &t);
        if (!is_inside_a_layer(&t))
            continue;
        end = t.offset + (size_t)t.rows * (size_t)t.cols;
        m->lo = BT_MIN(m->lo, t.offset);
        m->hi = BT_MAX(m->hi, end);
        if (t.offset >= r->hi || end <= r->lo)
            continue;
        m->matrices[m->n++] = (struct kern_matrix){model->grad + t.offset, t.rows, t.cols};
        m->each = BT_MAX(m->each, kern_orthogonal_scratch(t.rows, t.cols));
    }
    m->n_scratch = m->each * (size_t)kern_threads();
    m->scratch = kern_floats(m->n_scratch);
}

void muon_done(struct muon *m)
{
    bt_free(m->matrices);
    kern_free_floats(m->scratch, m->n_scratch);
    *m = (struct muon){0};
}

int muon_step(const struct muon *m, struct ranks *r, const struct muon_step *s, struct bt_err *err)
{
    size_t lo = BT_MIN(BT_MAX(m->lo, r->lo), r->hi), hi = BT_MAX(BT_MIN(m->hi, r->hi), lo);
    float *mean = s->mean + (lo - r->lo), *grad = s->grad + lo;
    float b = (float)s->momentum, scale = (float)s->grad_scale, keep;
    int rc;

#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < hi - lo; i++) {
        float g = grad[i] * scale;

        mean[i] = b * mean[i] + (1 - b) * g;
        grad[i] = b * mean[i] + (1 - b) * g;
    }
    rc = ranks_gather(r, s->grad, err);
    if (rc < 0)
        return rc;
    kern_orthogonal(m->matrices, m->n, m->scratch, m->each);
    keep = (float)(1 - s->lr * s->decay);
    for (int i = 0; i < m->n; i++) {
        const struct kern_matrix *x = &m->matrices[i];
        size_t at = (size_t)(x->x - s->grad), end = at + (size_t)x->rows * (size_t)x->cols;
        float rate = (float)(s->lr * 0.2 * sqrt(BT_MAX(x->rows, x->cols)));

        end = BT_MIN(end, r->hi);
        for (at = BT_MAX(at, r->lo); at < end; at++)
            s->w[at] = keep * s->w[at] - rate * s->grad[at];
    }
    return 0;
}
