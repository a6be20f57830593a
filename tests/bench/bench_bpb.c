/* bench_bpb.c - bits per byte of held-out text after so many seconds of training, beside gzip -9's.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * bench_bpb --corpus DIR [--preset NAME] [--languages TAGS] [--seconds S]
 * DIR is what deploy/fetch-corpus --small makes. A few steps are timed, then a whole run of as many
 * steps as fit is trained as `beamtime-train` would; both sides see all held-out text of
 * each language, gzip as one file a language. `seconds` is what training really took. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/train/config.h"
#include "agent/train/model.h"
#include "agent/train/train.h"
#include "kernels/kernels.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/json/json.h"

static int real_stdout; /* the run's own lines are prose and go to stderr */

struct bench {
    const char *corpus, *preset, *languages;
    int64_t seconds;
};

/* A training step's seconds, the median of a few. */
static double time_step(const struct config *c)
{
    enum { STEPS = 15 };
    struct model_shape s = config_shape(c);
    int64_t n = c->micro_batch * c->context + 1, took[STEPS];
    BT_AUTO int32_t *tokens = bt_new_n(int32_t, n);
    struct model m;

    for (int64_t i = 0; i < n; i++)
        tokens[i] = (int32_t)(i * i % 251);
    model_init(&m, &s, (int)c->micro_batch, MODEL_TRAINS);
    model_random(&m, 1);
    for (int i = 0; i < STEPS; i++) {
        int64_t start = bt_mono_us();
        int at = i;

        for (int64_t done = 0; done < c->batch; done += c->micro_batch)
            (void)model_gradient(&m, tokens, tokens + 1, (int)c->micro_batch, (int)c->context, 1,
                                 done == 0);
        start = bt_mono_us() - start;
        for (; at > 0 && took[at - 1] > start; at--)
            took[at] = took[at - 1];
        took[at] = start;
    }
    model_done(&m);
    return (double)took[STEPS / 2] * 1e-6;
}

static int configure(const struct bench *b, int64_t steps, struct config *ret, struct bt_err *err)
{
    BT_AUTO char *preset = bt_printf("preset=%s", b->preset);
    BT_AUTO char *languages = bt_printf("languages=%s", b->languages);
    BT_AUTO char *number = bt_printf("steps=%" PRId64, steps);
    const char *const pairs[] = {preset, languages, number, "checkpoint_every=0",
                                 "eval_bytes=1073741824"};
    struct config_asked asked = {0};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < BT_ARRAY_LEN(pairs); i++)
        rc = config_set(&asked, pairs[i], "bench_bpb", err);
    if (rc == 0)
        rc = config_resolve(ret, &asked, err);
    config_asked_done(&asked);
    return rc;
}

struct tally {
    const struct json *gzip;
    int n, below;
};

static int print_language(void *arg, const char *tag, const struct json *v)
{
    struct tally *t = arg;
    BT_BUF_AUTO struct bt_buf line = {0};
    struct json_writer w = {.to = &line};
    double bits = json_f64(v, 0), gzip = json_f64(json_get(t->gzip, tag), 0);

    t->n++;
    t->below += bits < gzip;
    jw_object(&w, NULL);
    jw_str(&w, "bench", "bpb_language");
    jw_str(&w, "language", tag);
    jw_f64(&w, "bits_per_byte", bits);
    jw_f64(&w, "gzip_bits_per_byte", gzip);
    jw_end_object(&w);
    dprintf(real_stdout, "%s\n", bt_buf_text(&line));
    return 0;
}

static int print(const struct bench *b, const struct config *c, const char *dir, double seconds,
                 struct bt_err *err)
{
    BT_AUTO char *path = bt_printf("%s/out/training.json", dir);
    BT_BUF_AUTO struct bt_buf text = {0}, line = {0};
    JSON_AUTO struct json *root = NULL;
    struct json_writer w = {.to = &line};
    int rc = bt_file_read(path, 1 << 20, &text, err);
    struct tally tally = {0};
    double bits, gzip;

    if (rc == 0)
        rc = json_parse(bt_buf_text(&text), text.n, 1 << 20, &root, err);
    if (rc < 0)
        return rc;
    bits = json_f64(json_get(root, "bits_per_byte_mean"), 0);
    gzip = json_f64(json_get(root, "gzip_bits_per_byte_mean"), 0);
    tally.gzip = json_get(root, "gzip_bits_per_byte");
    (void)json_each(json_get(root, "bits_per_byte"), print_language, &tally);
    jw_object(&w, NULL);
    jw_str(&w, "bench", "bpb");
    jw_str(&w, "preset", b->preset);
    jw_str(&w, "languages", b->languages);
    jw_i64(&w, "params", json_i64(json_get(root, "params"), 0));
    jw_i64(&w, "steps", c->steps);
    jw_i64(&w, "tokens", json_i64(json_get(root, "tokens"), 0));
    jw_f64(&w, "seconds", seconds);
    jw_f64(&w, "bits_per_byte", bits);
    jw_f64(&w, "gzip_bits_per_byte", gzip);
    jw_bool(&w, "below_gzip", bits < gzip);
    jw_i64(&w, "n_languages", tally.n);
    jw_i64(&w, "languages_below_gzip", tally.below);
    jw_end_object(&w);
    dprintf(real_stdout, "%s\n", bt_buf_text(&line));
    fprintf(stderr, "%.3f bits per byte after %.0f s, gzip -9 %.3f\n", bits, seconds, gzip);
    return 0;
}

static int run(const struct bench *b, const char *dir, struct bt_err *err)
{
    BT_AUTO char *output = bt_printf("%s/out", dir), *checkpoint = bt_printf("%s/ckpt", dir);
    struct config c;
    struct train t = {
        .config = &c, .corpus = b->corpus, .output = output, .checkpoint = checkpoint};
    int64_t start;
    double step_s;
    int rc = configure(b, 1, &c, err);

    if (rc < 0)
        return rc;
    kern_init((int)c.threads);
    /* the optimizer, metrics and reading the text */
    step_s = time_step(&c) * (bt_streq(c.optimizer, "muon") ? 1.45 : 1.08);
    rc = configure(b, BT_MAX((int64_t)((double)b->seconds / step_s), 1), &c, err);
    if (rc < 0)
        return rc;
    fprintf(stderr, "%" PRId64 " steps of about %.1f ms\n", c.steps, step_s * 1e3);
    start = bt_mono_us();
    rc = train_run(&t, err);
    if (rc == TRAIN_REQUEUE)
        return bt_fail(err, BT_ERR_INVALID, "told to stop");
    return rc < 0 ? rc : print(b, &c, dir, (double)(bt_mono_us() - start) * 1e-6, err);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"corpus", required_argument, NULL, 'c'},
        {"preset", required_argument, NULL, 'p'},
        {"languages", required_argument, NULL, 'l'},
        {"seconds", required_argument, NULL, 's'},
        {0},
    };
    struct bench b = {.preset = "quick", .languages = "de,en,fr", .seconds = 120};
    char dir[] = "/tmp/bt-bpb-XXXXXX";
    struct bt_err err = {0};
    int option, rc = 0;

    kern_wait_patiently(argv);
    while (rc == 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'c')
            b.corpus = optarg;
        else if (option == 'p')
            b.preset = optarg;
        else if (option == 'l')
            b.languages = optarg;
        else if (option == 's')
            rc = bt_parse_i64(optarg, "--seconds", 1, 86400, &b.seconds, &err);
        else
            rc = bt_fail(&err, BT_ERR_USAGE, "wrong option");
    }
    if (rc == 0 && !b.corpus)
        rc = bt_fail(&err, BT_ERR_USAGE, "--corpus DIR: what deploy/fetch-corpus --small makes");
    real_stdout = dup(STDOUT_FILENO);
    if (rc == 0 && (real_stdout < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0))
        rc = bt_fail_errno(&err, BT_ERR_IO, "cannot move the output");
    if (rc == 0 && !mkdtemp(dir))
        rc = bt_fail_errno(&err, BT_ERR_IO, "cannot make a folder");
    if (rc == 0) {
        rc = run(&b, dir, &err);
        if (bt_remove_tree(dir, NULL) < 0)
            fprintf(stderr, "bench_bpb: %s stays\n", dir);
    }
    if (rc < 0)
        fprintf(stderr, "bench_bpb: %s\n", err.text);
    return rc < 0 ? bt_err_exit(err.code) : 0;
}
