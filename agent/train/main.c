/* main.c - beamtime-train: the command line of the trainer.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <getopt.h>
#include <inttypes.h>
#include <unistd.h>

#include "agent/train/config.h"
#include "agent/train/export.h"
#include "agent/train/sample.h"
#include "agent/train/train.h"
#include "kernels/kernels.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

static const char usage[] =
    "Usage: beamtime-train [CONFIG] [--set KEY=VALUE]... [--corpus DIR] [--output DIR]\n"
    "                      [--checkpoint DIR] [--from MODEL-DIR] [--device auto|cpu|cuda]\n"
    "       beamtime-train --arch flamingo --from MODEL-DIR --images DIR [the same options]\n"
    "       beamtime-train finetune --from MODEL-DIR --set tuning=FILE [the same options]\n"
    "       beamtime-train sample --model DIR --prompt TEXT [--tokens N] [--temperature X]\n"
    "                      [--top-k N] [--seed N]\n"
    "       beamtime-train --print-config [CONFIG] [--set KEY=VALUE]...\n"
    "\n"
    "Trains a Llama-shaped language model over bytes on a folder of *.txt files by language\n"
    "and leaves a folder that Hugging Face transformers loads. Interrupted (SIGTERM, SIGUSR1,\n"
    "SIGINT), it writes a checkpoint and exits with status 85; run again, it goes on from there\n"
    "and ends in the same bytes as an undisturbed run.\n"
    "\n"
    "  --corpus DIR      the text; else the setting `corpus`, else $BEAM_INPUT\n"
    "  --output DIR      what is published; else $BEAM_OUTPUT\n"
    "  --checkpoint DIR  checkpoints; else $BEAM_CHECKPOINT, else OUTPUT.checkpoint\n"
    "  --from DIR        begin with the weights and the shape of a published model; its\n"
    "                    computation counts in the lineage\n"
    "  --arch NAME       the same as --set arch=NAME: llama, flamingo\n"
    "  --images DIR      pictures with captions for flamingo; the same as --set images=DIR\n"
    "  --device WHERE    the setting `device`\n"
    "  --set KEY=VALUE   one setting, after those of CONFIG\n"
    "  --print-config    print the whole resulting configuration and stop\n"
    "\n"
    "$BEAM_METRICS names a file that gets one JSON line a step. Ranks: $BEAM_RANK,\n"
    "$BEAM_WORLD_SIZE, $BEAM_RENDEZVOUS (host:port), $BEAM_SECRET_FILE.\n"
    "\n"
    "Settings (a CONFIG has lines KEY = VALUE, # begins a comment):\n";

static int fail(const struct bt_err *err)
{
    fprintf(stderr, "beamtime-train: %s\n", err->text);
    if (*err->next)
        fprintf(stderr, "  try: %s\n", err->next);
    return bt_err_exit(err->code);
}

static int wrong_use(const char *what)
{
    fprintf(stderr, "beamtime-train: %s\n  try: beamtime-train --help\n", what);
    return bt_err_exit(BT_ERR_USAGE);
}

static const char *first_set(const char *a, const char *b, const char *c)
{
    if (a && *a)
        return a;
    return b && *b ? b : c;
}

/* ---- train ---- */

struct command {
    struct config_asked asked;
    struct config config;
    struct train train;
    bool print, help;
};

enum {
    OPT_SET = 256,
    OPT_CORPUS,
    OPT_OUTPUT,
    OPT_CHECKPOINT,
    OPT_FROM,
    OPT_DEVICE,
    OPT_PRINT,
    OPT_VERSION,
    OPT_ARCH,
    OPT_IMAGES
};

static const struct option train_options[] = {
    {"set", required_argument, NULL, OPT_SET},
    {"arch", required_argument, NULL, OPT_ARCH},
    {"images", required_argument, NULL, OPT_IMAGES},
    {"corpus", required_argument, NULL, OPT_CORPUS},
    {"output", required_argument, NULL, OPT_OUTPUT},
    {"checkpoint", required_argument, NULL, OPT_CHECKPOINT},
    {"from", required_argument, NULL, OPT_FROM},
    {"device", required_argument, NULL, OPT_DEVICE},
    {"print-config", no_argument, NULL, OPT_PRINT},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPT_VERSION},
    {0},
};

static int set_named(struct command *c, const char *key, const char *value, struct bt_err *err)
{
    BT_AUTO char *pair = bt_printf("%s=%s", key, value);
    BT_AUTO char *where = bt_printf("--%s", key);

    return config_set(&c->asked, pair, where, err);
}

static int read_option(struct command *c, int option, struct bt_err *err)
{
    switch (option) {
    case OPT_SET:
        return config_set(&c->asked, optarg, "--set", err);
    case OPT_ARCH:
        return set_named(c, "arch", optarg, err);
    case OPT_IMAGES:
        return set_named(c, "images", optarg, err);
    case OPT_CORPUS:
        c->train.corpus = optarg;
        return 0;
    case OPT_OUTPUT:
        c->train.output = optarg;
        return 0;
    case OPT_CHECKPOINT:
        c->train.checkpoint = optarg;
        return 0;
    case OPT_FROM:
        c->train.from = optarg;
        return 0;
    case OPT_DEVICE:
        return set_named(c, "device", optarg, err);
    case OPT_PRINT:
        c->print = true;
        return 0;
    case 'h':
        c->help = true;
        return 0;
    default:
        return bt_fail(err, BT_ERR_USAGE, "wrong option");
    }
}

/* Options may stand before and after CONFIG; --set comes after the file whatever the order. */
static int read_train(struct command *c, int argc, char **argv, struct bt_err *err)
{
    struct config_asked sets = {0};
    int rc = 0, option;

    while (rc == 0 && (option = getopt_long(argc, argv, "h", train_options, NULL)) != -1) {
        if (option == OPT_VERSION) {
            puts("beamtime-train " BT_VERSION);
            exit(0);
        }
        rc = read_option(c, option, err);
    }
    sets = c->asked;
    c->asked = (struct config_asked){0};
    if (rc == 0 && argc - optind > 1)
        rc = bt_fail(err, BT_ERR_USAGE, "more than one CONFIG: %s", argv[optind + 1]);
    if (rc == 0 && argc - optind == 1)
        rc = config_file(&c->asked, argv[optind], err);
    for (int i = 0; rc == 0 && i < sets.n; i++) {
        BT_GROW(c->asked.pairs, c->asked.n, c->asked.cap);
        c->asked.pairs[c->asked.n++] = sets.pairs[i];
    }
    config_asked_done(&sets);
    return rc < 0 ? rc : config_resolve(&c->config, &c->asked, err);
}

static int print_text(void (*write)(const struct config *, struct bt_buf *), const struct config *c)
{
    BT_BUF_AUTO struct bt_buf text = {0};

    write(c, &text);
    fputs(bt_buf_text(&text), stdout);
    return 0;
}

static int print_help(void)
{
    BT_BUF_AUTO struct bt_buf text = {0};

    config_help(&text);
    printf("%s%s", usage, bt_buf_text(&text));
    return 0;
}

/* A model that is continued has its own shape; the settings' is replaced. */
static int take_shape(struct config *c, const char *from, struct bt_err *err)
{
    struct model_shape s;
    int rc = export_read_shape(from, &s, err);

    if (rc < 0)
        return rc;
    if (s.vocab != TOKEN_VOCAB)
        return bt_fail(err, BT_ERR_SHAPE, "%s has a vocabulary of %d, not one of bytes (%d)", from,
                       s.vocab, TOKEN_VOCAB);
    c->layers = s.layers;
    c->width = s.width;
    c->heads = s.heads;
    c->kv_heads = s.kv_heads;
    c->head_dim = s.head_dim;
    c->ffn = s.ffn;
    c->tied = s.tied;
    c->rope_theta = s.rope_theta;
    c->norm_eps = s.norm_eps;
    return 0;
}

static int run_train(struct command *c, struct bt_err *err)
{
    BT_AUTO char *beside = NULL;
    struct train *t = &c->train;
    int rc;

    t->config = &c->config;
    t->corpus = first_set(t->corpus, c->config.corpus, getenv("BEAM_INPUT"));
    t->output = first_set(t->output, getenv("BEAM_OUTPUT"), NULL);
    if (bt_streq(c->config.arch, "flamingo")) {
        t->corpus = NULL;
        if (!t->from || !*c->config.images)
            return wrong_use("flamingo needs --from MODEL-DIR and --images DIR");
    } else if (!t->corpus && !*c->config.tuning)
        return wrong_use("which text? --corpus DIR, the setting `corpus` or $BEAM_INPUT names it");
    if (!t->output)
        return wrong_use("where to? --output DIR or $BEAM_OUTPUT names the folder");
    if (t->from && take_shape(&c->config, t->from, err) < 0)
        return fail(err);
    beside = bt_printf("%s.checkpoint", t->output);
    t->checkpoint = first_set(t->checkpoint, getenv("BEAM_CHECKPOINT"), beside);
    rc = train_run(t, err);
    return rc < 0 ? fail(err) : rc;
}

static int main_train(int argc, char **argv, bool finetune)
{
    struct command c = {0};
    struct bt_err err = {0};
    int rc = read_train(&c, argc, argv, &err);

    if (rc < 0)
        rc = fail(&err);
    else if (finetune && !c.help && !(c.train.from && *c.config.tuning))
        rc = wrong_use("finetune needs --from MODEL-DIR and --set tuning=FILE");
    else if (c.help)
        rc = print_help();
    else if (c.print)
        rc = print_text(config_print, &c.config);
    else
        rc = run_train(&c, &err);
    config_asked_done(&c.asked);
    return rc;
}

/* ---- sample ---- */

static int read_sample(struct sample *s, int argc, char **argv, struct bt_err *err)
{
    static const struct option options[] = {
        {"model", required_argument, NULL, 'm'},   {"prompt", required_argument, NULL, 'p'},
        {"tokens", required_argument, NULL, 'n'},  {"temperature", required_argument, NULL, 't'},
        {"top-k", required_argument, NULL, 'k'},   {"seed", required_argument, NULL, 's'},
        {"threads", required_argument, NULL, 'j'}, {0},
    };
    int64_t tokens = s->tokens, top_k = s->top_k, seed = 1, threads = 0;
    int option, rc = 0;

    while (rc == 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'm')
            s->model = optarg;
        else if (option == 'p')
            s->prompt = optarg;
        else if (option == 'n')
            rc = bt_parse_i64(optarg, "--tokens", 0, 1000000, &tokens, err);
        else if (option == 't')
            rc = bt_parse_f64(optarg, "--temperature", &s->temperature, err);
        else if (option == 'k')
            rc = bt_parse_i64(optarg, "--top-k", 0, 1000000, &top_k, err);
        else if (option == 's')
            rc = bt_parse_i64(optarg, "--seed", 0, INT64_MAX, &seed, err);
        else if (option == 'j')
            rc = bt_parse_i64(optarg, "--threads", 0, 1024, &threads, err);
        else
            rc = bt_fail(err, BT_ERR_USAGE, "wrong option");
    }
    s->tokens = (int)tokens;
    s->top_k = (int)top_k;
    s->seed = (uint64_t)seed;
    s->threads = (int)threads;
    return rc;
}

static int main_sample(int argc, char **argv)
{
    struct sample s = {.prompt = "", .tokens = 256, .temperature = 0.8};
    struct bt_err err = {0};
    int rc = read_sample(&s, argc, argv, &err);

    if (rc == 0 && !s.model)
        return wrong_use("which model? --model DIR names its folder");
    if (rc == 0)
        rc = sample_run(&s, stdout, &err);
    return rc < 0 ? fail(&err) : 0;
}

int main(int argc, char **argv)
{
    kern_wait_patiently(argv);
    if (argc > 1 && bt_streq(argv[1], "sample"))
        return main_sample(argc - 1, argv + 1);
    if (argc > 1 && bt_streq(argv[1], "finetune"))
        return main_train(argc - 1, argv + 1, true);
    return main_train(argc, argv, false);
}
