/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/train/train.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>

#include "agent/train/checkpoint.h"
#include "agent/train/corpus.h"
#include "agent/train/evaluate.h"
#include "agent/train/export.h"
#include "agent/train/gpu.h"
#include "agent/train/muon.h"
#include "agent/train/outfile.h"
#include "agent/train/ranks.h"
#include "agent/train/report.h"
#include "agent/train/safetensors.h"
#include "agent/train/tuning.h"
#include "agent/train/vision.h"
#include "kernels/kernels.h"
#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"

struct run {
    const struct train *train;
    const struct config *config;
    struct ranks ranks;
    struct corpus corpus;  /* no languages when only tuned */
    struct tuning tuning;  /* no pairs when trained on the corpus */
    struct model model;    /* of a language model alone */
    struct vision *vision; /* NULL: a language model alone */
    struct arena {         /* what is trained: the model's weights, or those of its eyes */
        float *w, *grad;
        size_t n, n_matrix; /* n_matrix: floats in front that weight decay applies to */
    } arena;
    struct muon muon; /* zeroed: AdamW moves everything */
    struct gpu *gpu;  /* NULL: the CPU */
    struct report report;
    float *m, *v; /* this rank's part of the moments, ranks.hi - ranks.lo floats */
    int32_t *in, *target;
    struct checkpoint_info at; /* where the run stands */
    struct evaluation *evaluation;
    double loss;
};

/* ---- being told to stop ---- */

static volatile sig_atomic_t told_to_stop;

static void on_signal(int number)
{
    (void)number;
    told_to_stop = 1;
}

static void listen_to_signals(void)
{
    static const int signals[] = {SIGTERM, SIGUSR1, SIGINT};
    struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    sigemptyset(&act.sa_mask);
    for (size_t i = 0; i < BT_ARRAY_LEN(signals); i++)
        sigaction(signals[i], &act, NULL);
    act.sa_handler = SIG_IGN; /* a reader of live metrics may go away */
    sigaction(SIGPIPE, &act, NULL);
}

static bool stop_in_evaluation(void *arg)
{
    (void)arg;
    return told_to_stop;
}

/* ---- one step ---- */

double train_rate(const struct config *c, int64_t step)
{
    double low = c->learning_rate * c->min_lr_ratio, rest = c->learning_rate - low;
    double from = (double)c->warmup, end = (double)c->steps, at = (double)step;

    if (step <= c->warmup)
        return c->learning_rate * at / fmax(from, 1);
    if (bt_streq(c->schedule, "constant"))
        return c->learning_rate;
    if (bt_streq(c->schedule, "wsd"))
        from = fmax(from, end * (1 - c->cooldown));
    if (at <= from)
        return c->learning_rate;
    at = fmin(1, (at - from) / fmax(end - from, 1));
    return bt_streq(c->schedule, "wsd") ? low + rest * (1 - at)
                                        : low + rest * 0.5 * (1 + cos(M_PI * at));
}

/* Targets that count in the step's global batch. */
static int64_t count_targets(const struct run *r)
{
    const struct config *c = r->config;
    int64_t sum = 0;

    if (!r->tuning.n && !r->vision)
        return c->batch * c->context;
    for (int64_t i = 0; i < c->batch; i++) {
        uint64_t number = (uint64_t)(r->at.step * c->batch + i);

        sum += r->vision ? vision_targets(r->vision, (uint64_t)c->seed, number)
                         : tuning_sample(&r->tuning, (uint64_t)c->seed, number, (int)c->context,
                                         NULL, NULL);
    }
    return sum;
}

static void fill_row(struct run *r, int row, int64_t sample)
{
    const struct config *c = r->config;
    int t = (int)c->context;
    int32_t *in = r->in + (size_t)row * t, *target = r->target + (size_t)row * t;
    uint64_t number = (uint64_t)(r->at.step * c->batch + sample);

    if (r->tuning.n)
        (void)tuning_sample(&r->tuning, (uint64_t)c->seed, number, t, in, target);
    else
        corpus_sample(&r->corpus, (uint64_t)c->seed, number, t, in, target);
}

/* n samples of the step from `at` on: gradients of scale * loss. */
static double samples_gradient(struct run *r, int64_t at, int n, float scale, bool fresh)
{
    const struct config *c = r->config;

    if (r->vision)
        return vision_gradient(r->vision, (uint64_t)c->seed, (uint64_t)(r->at.step * c->batch + at),
                               n, scale, fresh);
    for (int i = 0; i < n; i++)
        fill_row(r, i, at + i);
    return model_gradient(&r->model, r->in, r->target, n, (int)c->context, scale, fresh);
}

/* This rank's samples of the step, a micro-batch at a time: gradients of the mean loss over the
 * targets of the global batch. Returns this rank's part of the mean. */
static double accumulate(struct run *r)
{
    const struct config *c = r->config;
    int64_t from = c->batch * r->ranks.rank / r->ranks.world;
    int64_t to = c->batch * (r->ranks.rank + 1) / r->ranks.world;
    double sum = 0, counted = (double)count_targets(r);

    if (from == to && r->gpu)
        gpu_zero_gradient(r->gpu);
    else if (from == to)
        memset(r->arena.grad, 0, r->arena.n * sizeof(float));
    for (int64_t at = from; at < to; at += c->micro_batch) {
        int n = (int)BT_MIN(c->micro_batch, to - at);

        sum += samples_gradient(r, at, n, (float)(1 / counted), at == from);
    }
    return sum / counted;
}

/* AdamW on what of from..to is this rank's. */
static void adamw(struct run *r, size_t from, size_t to, double decay, double grad_scale)
{
    const struct config *c = r->config;
    size_t lo = BT_MAX(r->ranks.lo, from), hi = BT_MIN(r->ranks.hi, to);

    if (lo < hi)
        kern_adamw(&(struct kern_adamw){.w = r->arena.w + lo,
                                        .m = r->m + (lo - r->ranks.lo),
                                        .v = r->v + (lo - r->ranks.lo),
                                        .grad = r->arena.grad + lo,
                                        .count = hi - lo,
                                        .lr = train_rate(c, r->at.step + 1),
                                        .beta1 = c->beta1,
                                        .beta2 = c->beta2,
                                        .eps = c->eps,
                                        .decay = decay,
                                        .grad_scale = grad_scale,
                                        .step = r->at.step + 1});
}

/* This rank's part: matrices decay, vectors do not. */
static int update(struct run *r, double grad_scale, struct bt_err *err)
{
    const struct config *c = r->config;
    size_t lo = r->muon.lo, hi = r->muon.hi; /* 0..0 without muon */

    adamw(r, 0, lo, c->weight_decay, grad_scale);
    adamw(r, hi, r->arena.n_matrix, c->weight_decay, grad_scale);
    adamw(r, r->arena.n_matrix, r->arena.n, 0, grad_scale);
    if (!r->muon.matrices)
        return 0;
    return muon_step(&r->muon, &r->ranks,
                     &(struct muon_step){.w = r->arena.w,
                                         .grad = r->arena.grad,
                                         .mean = r->m,
                                         .lr = c->muon_rate * train_rate(c, r->at.step + 1),
                                         .momentum = c->momentum,
                                         .decay = c->weight_decay,
                                         .grad_scale = grad_scale},
                     err);
}

/* The gradient's sum over ranks, of which *ret is this part's sum of squares. */
static int sum_gradient(struct run *r, double *ret, struct bt_err *err)
{
    int rc;

    if (r->gpu)
        return gpu_sum_gradient(r->gpu, &r->ranks, ret, err);
    rc = ranks_sum_gradient(&r->ranks, r->arena.grad, err);
    *ret = rc < 0 ? 0 : kern_sum_squares(r->arena.grad + r->ranks.lo, r->ranks.hi - r->ranks.lo);
    return rc;
}

/* The optimizer's step on each rank's part, then everybody's weights. */
static int move_weights(struct run *r, double grad_scale, struct bt_err *err)
{
    const struct config *c = r->config;

    if (!r->gpu) {
        int rc = update(r, grad_scale, err);

        return rc < 0 ? rc : ranks_gather(&r->ranks, r->arena.w, err);
    }
    return gpu_update(r->gpu, &r->ranks,
                      &(struct gpu_update){.lr = train_rate(c, r->at.step + 1),
                                           .beta1 = c->beta1,
                                           .beta2 = c->beta2,
                                           .eps = c->eps,
                                           .decay = c->weight_decay,
                                           .grad_scale = grad_scale,
                                           .n_matrix = r->arena.n_matrix,
                                           .step = r->at.step + 1},
                      err);
}

/* Returns 1 when any rank was told to stop before this step ended. */
static int step(struct run *r, struct bt_err *err)
{
    const struct config *c = r->config;
    double all[3] = {0}; /* loss, squares, stop */
    double norm, scale;
    int rc;

    all[0] = accumulate(r);
    all[2] = told_to_stop;
    rc = sum_gradient(r, &all[1], err);
    if (rc < 0)
        return rc;
    rc = ranks_sum(&r->ranks, all, 3, err);
    if (rc < 0)
        return rc;
    norm = sqrt(all[1]);
    if (!isfinite(norm) || !isfinite(all[0]))
        return bt_next(err,
                       bt_fail(err, BT_ERR_INVALID, "the loss is not a number at step %" PRId64,
                               r->at.step + 1),
                       "a smaller learning_rate or a longer warmup");
    scale = c->clip > 0 && norm > c->clip ? c->clip / norm : 1;
    rc = move_weights(r, scale, err);
    if (rc < 0)
        return rc;
    r->at.step++;
    r->at.tokens += c->batch * c->context;
    r->loss = all[0];
    rc = report_step(
        &r->report,
        &(struct report_step){.step = r->at.step,
                              .steps = c->steps,
                              .loss = r->loss,
                              .lr = train_rate(c, r->at.step),
                              .grad_norm = norm,
                              .step_tokens = c->batch * c->context,
                              .tokens = r->at.tokens,
                              .flops = (double)r->at.tokens * r->report.flops_per_token},
        err);
    return rc < 0 ? rc : all[2] > 0;
}

/* ---- checkpoints ---- */

static int give_piece(void *arg, int part, size_t at, float *buffer, size_t n, struct bt_err *err)
{
    struct run *r = arg;

    if (part == 0) {
        memcpy(buffer, r->arena.w + at, n * sizeof(float));
        return 0;
    }
    return ranks_piece(&r->ranks, part == 1 ? r->m : r->v, at, buffer, n, err);
}

static int put_piece(void *arg, int part, size_t at, float *buffer, size_t n, struct bt_err *err)
{
    struct run *r = arg;
    size_t lo = BT_MAX(at, r->ranks.lo), hi = BT_MIN(at + n, r->ranks.hi);

    (void)err;
    if (part == 0)
        memcpy(r->arena.w + at, buffer, n * sizeof(float));
    else if (lo < hi)
        memcpy((part == 1 ? r->m : r->v) + (lo - r->ranks.lo), buffer + (lo - at),
               (hi - lo) * sizeof(float));
    return 0;
}

/* Ranks other than 0 take part in bringing the pieces together but write nothing. */
static int save(struct run *r, struct bt_err *err)
{
    size_t n = r->arena.n;
    int rc = r->gpu ? gpu_pull(r->gpu, &r->ranks, r->arena.w, r->m, r->v, err) : 0;

    if (rc < 0)
        return rc;
    if (r->ranks.rank == 0)
        return checkpoint_write(r->train->checkpoint, &r->at, n, give_piece, r, err);
    for (int part = 0; part < 3; part++) {
        BT_AUTO float *buffer = bt_new_n(float, BT_MIN(n, (size_t)CHECKPOINT_PIECE));

        for (size_t at = 0; rc == 0 && at < n; at += CHECKPOINT_PIECE)
            rc = give_piece(r, part, at, buffer, BT_MIN((size_t)CHECKPOINT_PIECE, n - at), err);
    }
    return rc;
}

/* What a resumed run must share with the one that wrote the checkpoint. */
static void describe(struct run *r)
{
    const struct config *c = r->config;
    BT_BUF_AUTO struct bt_buf b = {0};
    struct bt_sha256 h;
    uint8_t sum[BT_SHA256_SIZE];
    char hex[2 * BT_SHA256_SIZE + 1];

    bt_sha256_init(&h);
    for (int i = 0; i < r->corpus.n_files; i++) {
        bt_sha256_add(&h, r->corpus.files[i].path, strlen(r->corpus.files[i].path) + 1);
        bt_sha256_add(&h, r->corpus.files[i].sha256, 64);
    }
    bt_sha256_end(&h, sum);
    bt_buf_printf(&b,
                  "layers=%" PRId64 "\nwidth=%" PRId64 "\nheads=%" PRId64 "\nkv_heads=%" PRId64
                  "\nhead_dim=%" PRId64 "\nffn=%" PRId64 "\ncontext=%" PRId64 "\ntied=%d\n",
                  c->layers, c->width, c->heads, c->kv_heads, c->head_dim, c->ffn, c->context,
                  c->tied);
    bt_buf_printf(&b,
                  "rope_theta=%.17g\nnorm_eps=%.17g\nbatch=%" PRId64 "\nseed=%" PRId64
                  "\ntemperature=%.17g\nheld_out=%.17g\nheld_max=%" PRId64
                  "\nlanguages=%s\ntuning_sha256=%s\ncorpus_sha256=%s\n",
                  c->rope_theta, c->norm_eps, c->batch, c->seed, c->temperature, c->held_out,
                  c->held_max, c->languages, r->tuning.sha256, bt_hex(sum, sizeof sum, hex));
    if (r->muon.matrices)
        bt_buf_printf(&b, "optimizer=muon\nmomentum=%.17g\nmuon_rate=%.17g\n", c->momentum,
                      c->muon_rate);
    if (r->vision)
        bt_buf_printf(
            &b,
            "image_size=%" PRId64 "\npatch=%" PRId64 "\nvision_width=%" PRId64
            "\nvision_heads=%" PRId64 "\nvision_layers=%" PRId64 "\nlatents=%" PRId64
            "\nresampler_layers=%" PRId64 "\ncross_every=%" PRId64 "\nblind=%d\nfrozen_sha256=%s\n",
            c->image_size, c->patch, c->vision_width, c->vision_heads, c->vision_layers, c->latents,
            c->resampler_layers, c->cross_every, c->blind, r->vision->frozen_sha256);
    bt_copy(r->at.about, sizeof r->at.about, bt_buf_text(&b));
}

/* Weights from the newest checkpoint, else from a published model, else random. */
static int begin(struct run *r, struct bt_err *err)
{
    BT_AUTO char *path = NULL, *weights = NULL;
    int rc;

    describe(r);
    rc = checkpoint_newest(r->train->checkpoint, &path, err);
    if (rc < 0)
        return rc;
    if (path)
        return checkpoint_read(path, r->at.about, r->arena.n, &r->at, put_piece, r, err);
    if (r->train->from)
        r->at.parent_flops = export_lineage_flops(r->train->from);
    if (r->vision)
        return 0; /* opened with its weights */
    if (r->train->from) {
        weights = bt_printf("%s/model.safetensors", r->train->from);
        return safetensors_read(&r->model, weights, err);
    }
    model_random(&r->model, (uint64_t)r->config->seed);
    return 0;
}

/* ---- the run ---- */

/* What is trained and its buffers; kernels are ready. */
static int open_model(struct run *r, struct bt_err *err)
{
    const struct config *c = r->config;
    struct model_shape shape = config_shape(c);
    size_t tokens = (size_t)c->micro_batch * (size_t)c->context;
    struct flamingo *f;
    int rc;

    if (!bt_streq(c->arch, "flamingo")) {
        model_init(&r->model, &shape, (int)c->micro_batch, MODEL_TRAINS);
        r->arena = (struct arena){r->model.w, r->model.grad, r->model.n_params, r->model.n_matrix};
        r->in = bt_new_n(int32_t, tokens);
        r->target = bt_new_n(int32_t, tokens);
        r->report.flops_per_token = model_flops_per_token(&shape, (int)c->context);
        return 0;
    }
    r->vision = bt_new(struct vision);
    rc = vision_open(r->vision, c, r->train->from, &r->corpus, err);
    if (rc < 0)
        return rc;
    f = &r->vision->f;
    r->arena = (struct arena){f->w, f->grad, f->n_params, f->n_matrix};
    r->report.flops_per_token = flamingo_flops_per_token(f, (int)c->context, r->vision->per_row);
    return 0;
}

/* Where the run computes, and what that can do at most. Eyes are trained on the CPU. */
static int open_gpu(struct run *r, struct bt_err *err)
{
    const struct config *c = r->config;
    struct model_shape shape = config_shape(c);
    struct bt_err why = {0};
    int rc = 0;

    if (r->muon.matrices)
        (void)bt_fail(&why, BT_ERR_UNSUPPORTED, "optimizer=muon runs there alone so far");
    else if (!r->vision)
        rc = gpu_open(c->device, &shape, (int)c->micro_batch, &r->ranks, &r->gpu, &why, err);
    else if (bt_streq(c->device, "cuda"))
        rc = bt_fail(err, BT_ERR_UNSUPPORTED, "arch=flamingo trains on the CPU alone");
    if (rc < 0)
        return rc;
    r->model.gpu = r->gpu;
    if (why.code && !r->gpu)
        report_say(&r->report, "device    the CPU: %s", why.text);
    if (c->peak_gflops > 0)
        r->report.peak_gflops = c->peak_gflops;
    else
        r->report.peak_gflops =
            r->gpu ? gpu_peak_gflops(r->gpu) : kern_gemm_gflops(1024, 1536, 384, 100000);
    r->report.peak_gflops *= r->ranks.world;
    return 0;
}

static int open_all(struct run *r, struct bt_err *err)
{
    const struct config *c = r->config;
    const struct corpus_config data = {.temperature = c->temperature,
                                       .held_out = c->held_out,
                                       .held_max = c->held_max,
                                       .languages = c->languages};
    int rc = ranks_open(&r->ranks, err);

    if (rc == 0 && r->train->corpus)
        rc = corpus_open(&r->corpus, r->train->corpus, &data, err);
    if (rc == 0 && *c->tuning)
        rc = tuning_open(&r->tuning, c->tuning, err);
    if (rc == 0)
        rc = bt_mkdirs(r->train->output, 0755, err);
    if (rc == 0)
        rc = bt_mkdirs(r->train->checkpoint, 0755, err);
    if (rc == 0 && r->ranks.rank == 0)
        rc = outfile_sweep(r->train->output, err);
    if (rc == 0 && r->ranks.rank == 0)
        rc = outfile_sweep(r->train->checkpoint, err);
    if (rc < 0)
        return rc;
    kern_init((int)c->threads);
    rc = open_model(r, err);
    if (rc < 0)
        return rc;
    ranks_divide(&r->ranks, r->arena.n);
    if (bt_streq(c->optimizer, "muon"))
        muon_init(&r->muon, &r->model, &r->ranks);
    r->m = kern_floats(r->ranks.hi - r->ranks.lo);
    r->v = kern_floats(r->ranks.hi - r->ranks.lo);
    r->evaluation = bt_new(struct evaluation);
    r->report.quiet = r->ranks.rank != 0;
    return open_gpu(r, err);
}

static void close_all(struct run *r)
{
    size_t part = r->ranks.hi - r->ranks.lo;

    report_close(&r->report);
    kern_free_floats(r->m, part);
    kern_free_floats(r->v, part);
    bt_free(r->in);
    bt_free(r->target);
    bt_free(r->evaluation);
    muon_done(&r->muon);
    model_done(&r->model);
    if (r->vision)
        vision_close(r->vision);
    bt_free(r->vision);
    corpus_close(&r->corpus);
    tuning_close(&r->tuning);
    ranks_close(&r->ranks);
    gpu_close(r->gpu); /* its communicator is closed */
}

static void say_hello(struct run *r)
{
    const struct config *c = r->config;
    char params[32], bytes[32], device[128];

    if (r->gpu)
        bt_copy(device, sizeof device, gpu_about(r->gpu)->name);
    else
        (void)snprintf(device, sizeof device, "%d threads, %s", kern_threads(), kern_isa());
    report_say(&r->report,
               "%s: %s, %s weights, %" PRId64 " steps of %" PRId64 " bytes, %d languages, "
               "%s bytes; %s, %.0f GFLOP/s dense",
               c->title, r->vision ? "eyes for a frozen model" : "llama-shaped",
               bt_format_thousands((int64_t)r->arena.n, params), c->steps, c->batch * c->context,
               r->corpus.n_languages, bt_format_thousands(r->corpus.bytes, bytes), device,
               r->report.peak_gflops);
    if (r->at.step)
        report_say(&r->report, "resumed   from the checkpoint of step %" PRId64, r->at.step);
}

/* 1 when told to stop meanwhile. */
static int evaluate_now(struct run *r, struct bt_err *err)
{
    const struct evaluate e = {.model = &r->model,
                               .corpus = &r->corpus,
                               .ranks = &r->ranks,
                               .bytes = r->config->eval_bytes,
                               .rows = (int)r->config->micro_batch,
                               .stop = stop_in_evaluation};
    int rc;

    if (!r->config->eval_bytes || !r->corpus.n_languages)
        return 0;
    if (r->vision) {
        double stopped = vision_evaluate(r->vision, stop_in_evaluation, r->evaluation);

        rc = ranks_sum(&r->ranks, &stopped, 1, err);
        if (rc == 0)
            rc = stopped > 0;
    } else {
        rc = evaluate(&e, r->evaluation, err);
    }
    if (rc != 0)
        return rc;
    return report_evaluation(&r->report, r->at.step, &r->corpus, r->evaluation, err);
}

/* Saves, leaves the metrics with the output, and says what happened. */
static int stop_here(struct run *r, struct bt_err *err)
{
    BT_AUTO char *metrics = bt_printf("%s/metrics.jsonl", r->train->checkpoint);
    int rc = save(r, err);

    if (rc == 0 && r->ranks.rank == 0)
        rc = export_metrics(metrics, r->train->output, err);
    if (rc < 0)
        return rc;
    report_say(&r->report, "stopped   at step %" PRId64 " with a checkpoint; run again to go on",
               r->at.step);
    return TRAIN_REQUEUE;
}

static bool due(int64_t every, int64_t at, int64_t steps)
{
    return every && at % every == 0 && at < steps;
}

/* Returns 1 when told to stop. */
static int loop(struct run *r, struct bt_err *err)
{
    const struct config *c = r->config;
    int rc = 0;

    report_start(&r->report);
    while (rc == 0 && r->at.step < c->steps) {
        bool pause;

        rc = step(r, err);
        if (rc != 0)
            break;
        pause = due(c->checkpoint_every, r->at.step, c->steps) ||
                due(c->eval_every, r->at.step, c->steps);
        if (due(c->checkpoint_every, r->at.step, c->steps))
            rc = save(r, err);
        if (rc == 0 && due(c->eval_every, r->at.step, c->steps))
            rc = evaluate_now(r, err);
        if (pause)
            report_start(&r->report);
    }
    return rc != 0 ? rc : evaluate_now(r, err);
}

static int publish(struct run *r, struct bt_err *err)
{
    BT_AUTO char *metrics = bt_printf("%s/metrics.jsonl", r->train->checkpoint);
    const struct export e = {
        .config = r->config,
        .model = r->vision ? &r->vision->lm : &r->model,
        .corpus = &r->corpus,
        .tuning = &r->tuning,
        .evaluation = r->evaluation,
        .report = &r->report,
        .metrics = metrics,
        .steps = r->at.step,
        .tokens = r->at.tokens,
        .flops = (double)r->at.tokens * r->report.flops_per_token,
        .parent_flops = r->at.parent_flops,
        .parent = r->train->from,
        .last_loss = r->report.n_points ? r->report.points[r->report.n_points - 1].loss : 0,
    };
    int rc;

    if (r->ranks.rank != 0)
        return 0;
    evaluate_gzip(&r->corpus, r->config->eval_bytes, r->evaluation);
    rc = export_all(&e, r->train->output, err);
    if (rc == 0 && r->vision)
        rc = vision_export(r->vision, r->train->output, err);
    if (rc == 0 && r->vision)
        report_say(&r->report,
                   "published %s: %.3f bits per byte of held-out captions, %.3f with another's "
                   "picture, %.3f of unseen pictures",
                   r->train->output, r->vision->scores.held, r->vision->scores.other,
                   r->vision->scores.unseen);
    else if (rc == 0 && r->evaluation->n)
        report_say(&r->report, "published %s: %.3f bits per byte held out, gzip -9 %.3f",
                   r->train->output, r->evaluation->mean, r->evaluation->gzip_mean);
    else if (rc == 0)
        report_say(&r->report, "published %s", r->train->output);
    return rc;
}

int train_run(const struct train *t, struct bt_err *err)
{
    struct run r = {.train = t, .config = t->config, .report = {.metrics_fd = -1, .live_fd = -1}};
    int rc;

    told_to_stop = 0;
    listen_to_signals();
    rc = open_all(&r, err);
    if (rc == 0)
        rc = begin(&r, err);
    if (rc == 0 && r.gpu)
        rc = gpu_push(r.gpu, r.arena.w, r.m, r.v, err);
    if (rc == 0)
        rc = report_open(&r.report, t->checkpoint, r.at.step, err);
    if (rc == 0) {
        say_hello(&r);
        rc = loop(&r, err);
    }
    if (rc == 0)
        rc = save(&r, err);
    if (rc == 0)
        rc = publish(&r, err);
    if (rc == 1)
        rc = stop_here(&r, err);
    close_all(&r);
    return rc;
}
