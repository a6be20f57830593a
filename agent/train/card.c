/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/train/card.h"

#include <inttypes.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/json/json.h"

enum { SOURCES_MAX = 1 << 20, SOURCE_COLUMNS = 8 };

/* ---- data-manifest.json ---- */

/* A tab-separated table whose first line names the columns becomes an array of objects. */
static void write_sources(struct json_writer *w, char *table)
{
    char *columns[SOURCE_COLUMNS] = {0};
    int n = 0;

    jw_array(w, "sources");
    for (char *line = table, *next; line; line = next) {
        int column = 0;

        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        if (!*line || *line == '#')
            continue;
        if (n)
            jw_object(w, NULL);
        for (char *cell = line, *tab; cell && column < SOURCE_COLUMNS; cell = tab, column++) {
            tab = strchr(cell, '\t');
            if (tab)
                *tab++ = '\0';
            if (n && column < n)
                jw_str(w, columns[column], cell);
            else if (!n)
                columns[column] = cell;
        }
        if (n)
            jw_end_object(w);
        else
            n = column;
    }
    jw_end_array(w);
}

void card_data_manifest(const struct export *e, struct bt_buf *to)
{
    const struct corpus *c = e->corpus;
    BT_AUTO char *path = bt_printf("%s/SOURCES.tsv", c->root ? c->root : "");
    BT_BUF_AUTO struct bt_buf sources = {0};
    struct json_writer w = {.to = to};

    jw_object(&w, NULL);
    jw_i64(&w, "bytes", c->bytes);
    jw_i64(&w, "seed", e->config->seed);
    jw_f64(&w, "temperature", e->config->temperature);
    jw_array(&w, "languages");
    for (int l = 0; l < c->n_languages; l++) {
        const struct corpus_language *lang = &c->languages[l];

        jw_object(&w, NULL);
        jw_str(&w, "language", lang->tag);
        jw_i64(&w, "files", lang->n_files);
        jw_i64(&w, "bytes", lang->bytes);
        jw_i64(&w, "held_out_bytes", lang->held_bytes);
        jw_f64(&w, "share", lang->share);
        jw_end_object(&w);
    }
    jw_end_array(&w);
    jw_array(&w, "files");
    for (int i = 0; i < c->n_files; i++) {
        jw_object(&w, NULL);
        jw_str(&w, "path", c->files[i].path);
        jw_str(&w, "language", c->languages[c->files[i].language].tag);
        jw_i64(&w, "bytes", (int64_t)c->files[i].bytes);
        jw_str(&w, "sha256", c->files[i].sha256);
        jw_end_object(&w);
    }
    jw_end_array(&w);
    if (e->tuning->n) {
        jw_object(&w, "tuning");
        jw_i64(&w, "pairs", e->tuning->n);
        jw_i64(&w, "bytes", e->tuning->bytes);
        jw_str(&w, "sha256", e->tuning->sha256);
        jw_end_object(&w);
    }
    if (c->root && bt_file_read(path, SOURCES_MAX, &sources, NULL) == 0 && sources.n &&
        bt_is_utf8(sources.p, sources.n) && strlen(sources.p) == sources.n)
        write_sources(&w, sources.p);
    jw_end_object(&w);
    bt_buf_char(to, '\n');
}

/* ---- training.json ---- */

void card_training(const struct export *e, struct bt_buf *to)
{
    const struct evaluation *v = e->evaluation;
    struct json_writer w = {.to = to};

    jw_object(&w, NULL);
    jw_str(&w, "program", "beamtime-train " BT_VERSION);
    jw_str(&w, "title", e->config->title);
    jw_i64(&w, "params", (int64_t)e->model->n_params);
    jw_i64(&w, "steps", e->steps);
    jw_i64(&w, "tokens", e->tokens);
    jw_f64(&w, "flops", e->flops);
    jw_f64(&w, "lineage_flops", e->flops + e->parent_flops);
    jw_str(&w, "parent", e->parent);
    jw_f64(&w, "last_loss", e->last_loss);
    jw_f64(&w, "bits_per_byte_mean", v->mean);
    jw_f64(&w, "gzip_bits_per_byte_mean", v->gzip_mean);
    jw_object(&w, "bits_per_byte");
    for (int l = 0; l < v->n; l++) {
        if (v->bytes[l])
            jw_f64(&w, e->corpus->languages[l].tag, v->bits[l]);
    }
    jw_end_object(&w);
    jw_object(&w, "gzip_bits_per_byte");
    for (int l = 0; l < v->n; l++) {
        if (v->bytes[l])
            jw_f64(&w, e->corpus->languages[l].tag, v->gzip[l]);
    }
    jw_end_object(&w);
    jw_end_object(&w);
    bt_buf_char(to, '\n');
}

/* ---- README.md ---- */

static void front_matter(const struct export *e, struct bt_buf *to)
{
    bt_buf_str(to, "---\n");
    if (e->corpus->n_languages)
        bt_buf_str(to, "language:\n");
    for (int l = 0; l < e->corpus->n_languages; l++) {
        if (e->corpus->languages[l].share > 0)
            bt_buf_printf(to, "- %s\n", e->corpus->languages[l].tag);
    }
    bt_buf_printf(to,
                  "license: %s\nlibrary_name: transformers\npipeline_tag: text-generation\n"
                  "tags:\n- byte-level\n- llama\n- beamtime\n---\n\n",
                  e->config->license);
}

static void section_data(const struct export *e, struct bt_buf *to)
{
    char number[32];

    bt_buf_printf(
        to,
        "## Data\n\n%d languages, %d files, %s bytes; every file with its SHA-256 in "
        "data-manifest.json. A language's share of the samples goes with its bytes to the "
        "power 1/%g. Up to %g %% of each language were held out.\n\n",
        e->corpus->n_languages, e->corpus->n_files, bt_format_thousands(e->corpus->bytes, number),
        e->config->temperature, e->config->held_out * 100);
}

static void section_evaluation(const struct export *e, struct bt_buf *to)
{
    const struct evaluation *v = e->evaluation;

    bt_buf_str(to,
               "## Evaluation\n\nBits per byte of held-out text; gzip -9 on the same language's "
               "held-out text for comparison.\n\n| language | held-out bytes read | this model "
               "| gzip -9 |\n|---|---:|---:|---:|\n");
    for (int l = 0; l < v->n; l++) {
        if (v->bytes[l])
            bt_buf_printf(to, "| %s | %" PRId64 " | %.3f | %.3f |\n", e->corpus->languages[l].tag,
                          v->bytes[l], v->bits[l], v->gzip[l]);
    }
    bt_buf_printf(to, "| mean | | %.3f | %.3f |\n\n", v->mean, v->gzip_mean);
}

static void section_training(const struct export *e, struct bt_buf *to)
{
    const struct config *c = e->config;
    char number[32];

    bt_buf_printf(
        to,
        "## Training\n\n%" PRId64 " steps of %" PRId64 " sequences of %" PRId64
        " bytes (%s tokens), float32, AdamW (%g, %g), peak learning rate %g, %s schedule, "
        "weight decay %g on matrices, gradients clipped at %g, seed %" PRId64
        ". Last training loss %.4f nats per byte; loss.svg shows the curve, metrics.jsonl "
        "every step. Computation: %.4g FLOP",
        e->steps, c->batch, c->context, bt_format_thousands(e->tokens, number), c->beta1, c->beta2,
        c->learning_rate, c->schedule, c->weight_decay, c->clip, c->seed, e->last_loss, e->flops);
    if (e->parent)
        bt_buf_printf(to, ", begun from %s, whose lineage took %.4g FLOP: %.4g FLOP in all",
                      e->parent, e->parent_flops, e->flops + e->parent_flops);
    bt_buf_str(to,
               ".\n\nThe same again: `beamtime-train train.conf --corpus DIR --output OUT` with "
               "the files of data-manifest.json.\n\n");
}

void card_write(const struct export *e, struct bt_buf *to)
{
    const struct model_shape *s = &e->model->shape;
    char number[32];

    front_matter(e, to);
    bt_buf_printf(to,
                  "# %s\n\nA Llama-shaped decoder over bytes: %s weights, %d layers, width %d, %d "
                  "heads (%d for keys and values), SwiGLU of width %d, RMSNorm, rotary embedding, "
                  "context of %d bytes. A token is a byte; 256 ends a document.\n\n",
                  e->config->title, bt_format_thousands((int64_t)e->model->n_params, number),
                  s->layers, s->width, s->heads, s->kv_heads, s->ffn, s->context);
    section_data(e, to);
    section_training(e, to);
    section_evaluation(e, to);
    bt_buf_str(to,
               "## Use\n\n```\nbeamtime-train sample --model . --prompt \"…\"\n```\n\n```python\n"
               "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
               "model = AutoModelForCausalLM.from_pretrained(\".\")\n"
               "tokenizer = AutoTokenizer.from_pretrained(\".\")\n```\n\n");
    bt_buf_str(to,
               "## Limits\n\nA small model of the texts named above: it continues text in their "
               "style and knows nothing else. It was not tuned to follow instructions, its "
               "output is not checked for truth, and languages with little text fare worse, as "
               "the table shows.\n");
}
