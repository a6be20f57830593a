/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/train/export.h"

#include <inttypes.h>

#include "agent/train/card.h"
#include "agent/train/safetensors.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/json/json.h"

enum { METRICS_MAX = 1 << 30, CONFIG_JSON_MAX = 65536 };

static int put(const char *dir, const char *name, const struct bt_buf *b, struct bt_err *err)
{
    BT_AUTO char *path = bt_printf("%s/%s", dir, name);

    return bt_file_write(path, 0644, bt_buf_text(b), b->n, err);
}

/* ---- what Hugging Face transformers reads ---- */

/* Both generations of names: version 5 reads rope_parameters and dtype, version 4 rope_theta and
 * torch_dtype. */
static void write_config(const struct model_shape *s, struct bt_buf *to)
{
    struct json_writer w = {.to = to};

    jw_object(&w, NULL);
    jw_array(&w, "architectures");
    jw_str(&w, NULL, "LlamaForCausalLM");
    jw_end_array(&w);
    jw_str(&w, "model_type", "llama");
    jw_i64(&w, "vocab_size", s->vocab);
    jw_i64(&w, "hidden_size", s->width);
    jw_i64(&w, "intermediate_size", s->ffn);
    jw_i64(&w, "num_hidden_layers", s->layers);
    jw_i64(&w, "num_attention_heads", s->heads);
    jw_i64(&w, "num_key_value_heads", s->kv_heads);
    jw_i64(&w, "head_dim", s->head_dim);
    jw_str(&w, "hidden_act", "silu");
    jw_i64(&w, "max_position_embeddings", s->context);
    jw_f64(&w, "rms_norm_eps", s->norm_eps);
    jw_f64(&w, "initializer_range", 0.02);
    jw_bool(&w, "tie_word_embeddings", s->tied);
    jw_bool(&w, "attention_bias", false);
    jw_bool(&w, "mlp_bias", false);
    jw_f64(&w, "attention_dropout", 0);
    jw_f64(&w, "rope_theta", s->rope_theta);
    jw_null(&w, "rope_scaling");
    jw_object(&w, "rope_parameters");
    jw_str(&w, "rope_type", "default");
    jw_f64(&w, "rope_theta", s->rope_theta);
    jw_end_object(&w);
    jw_i64(&w, "bos_token_id", TOKEN_BOS);
    jw_i64(&w, "eos_token_id", TOKEN_EOS);
    jw_i64(&w, "pad_token_id", TOKEN_PAD);
    jw_str(&w, "torch_dtype", "float32");
    jw_str(&w, "dtype", "float32");
    jw_bool(&w, "use_cache", true);
    jw_end_object(&w);
    bt_buf_char(to, '\n');
}

static void write_generation(struct bt_buf *to)
{
    struct json_writer w = {.to = to};

    jw_object(&w, NULL);
    jw_i64(&w, "bos_token_id", TOKEN_BOS);
    jw_i64(&w, "eos_token_id", TOKEN_EOS);
    jw_i64(&w, "pad_token_id", TOKEN_PAD);
    jw_bool(&w, "do_sample", true);
    jw_f64(&w, "temperature", 0.8);
    jw_end_object(&w);
    bt_buf_char(to, '\n');
}

static const char *const specials[] = {"<|eos|>", "<|bos|>", "<|pad|>"}; /* ids from 256 */

static void write_tokenizer_config(const struct model_shape *s, struct bt_buf *to)
{
    struct json_writer w = {.to = to};

    jw_object(&w, NULL);
    jw_str(&w, "tokenizer_class", "PreTrainedTokenizerFast");
    jw_str(&w, "eos_token", specials[0]);
    jw_str(&w, "bos_token", specials[1]);
    jw_str(&w, "pad_token", specials[2]);
    jw_i64(&w, "model_max_length", s->context);
    jw_bool(&w, "clean_up_tokenization_spaces", false);
    jw_end_object(&w);
    bt_buf_char(to, '\n');
}

/* The character that stands for a byte in a byte-level vocabulary (GPT-2, Radford et al. 2019):
 * printable Latin-1 stands for itself, the rest moves to U+0100 and on, in order. */
static int character_of(int byte)
{
    int moved = 0;

    for (int b = 0; b <= byte; b++) {
        bool itself = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;

        if (b == byte)
            return itself ? b : 256 + moved;
        moved += !itself;
    }
    return 0;
}

static void write_byte_level(struct json_writer *w, const char *key)
{
    jw_object(w, key);
    jw_str(w, "type", "ByteLevel");
    jw_bool(w, "add_prefix_space", false);
    jw_bool(w, "trim_offsets", false);
    jw_bool(w, "use_regex", false);
    jw_end_object(w);
}

static void write_vocabulary(struct json_writer *w)
{
    jw_object(w, "vocab");
    for (int b = 0; b < 256; b++) {
        int c = character_of(b);
        char utf8[3] = {(char)c, 0, 0};

        if (c >= 128) {
            utf8[0] = (char)(0xc0 | c >> 6);
            utf8[1] = (char)(0x80 | (c & 0x3f));
        }
        jw_i64(w, utf8, b);
    }
    jw_end_object(w);
}

static void write_added(struct json_writer *w)
{
    jw_array(w, "added_tokens");
    for (size_t i = 0; i < BT_ARRAY_LEN(specials); i++) {
        jw_object(w, NULL);
        jw_i64(w, "id", TOKEN_EOS + (int64_t)i);
        jw_str(w, "content", specials[i]);
        jw_bool(w, "single_word", false);
        jw_bool(w, "lstrip", false);
        jw_bool(w, "rstrip", false);
        jw_bool(w, "normalized", false);
        jw_bool(w, "special", true);
        jw_end_object(w);
    }
    jw_end_array(w);
}

static void write_tokenizer(struct bt_buf *to)
{
    struct json_writer w = {.to = to};

    jw_object(&w, NULL);
    jw_str(&w, "version", "1.0");
    jw_null(&w, "truncation");
    jw_null(&w, "padding");
    write_added(&w);
    jw_null(&w, "normalizer");
    write_byte_level(&w, "pre_tokenizer");
    jw_null(&w, "post_processor");
    write_byte_level(&w, "decoder");
    jw_object(&w, "model");
    jw_str(&w, "type", "BPE");
    jw_null(&w, "dropout");
    jw_null(&w, "unk_token");
    jw_null(&w, "continuing_subword_prefix");
    jw_null(&w, "end_of_word_suffix");
    jw_bool(&w, "fuse_unk", false);
    jw_bool(&w, "byte_fallback", false);
    jw_bool(&w, "ignore_merges", false);
    write_vocabulary(&w);
    jw_array(&w, "merges");
    jw_end_array(&w);
    jw_end_object(&w);
    jw_end_object(&w);
    bt_buf_char(to, '\n');
}

/* ---- the folder ---- */

int export_metrics(const char *metrics, const char *dir, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    int rc = bt_file_read(metrics, METRICS_MAX, &text, err);

    return rc < 0 ? rc : put(dir, "metrics.jsonl", &text, err);
}

static int put_written(const struct export *e, const char *dir, struct bt_err *err)
{
    const struct model_shape *s = &e->model->shape;
    struct bt_buf text[9] = {0};
    static const char *const names[9] = {"config.json",        "generation_config.json",
                                         "tokenizer.json",     "tokenizer_config.json",
                                         "data-manifest.json", "loss.svg",
                                         "train.conf",         "README.md",
                                         "training.json"};
    int rc = 0;

    write_config(s, &text[0]);
    write_generation(&text[1]);
    write_tokenizer(&text[2]);
    write_tokenizer_config(s, &text[3]);
    card_data_manifest(e, &text[4]);
    report_svg(e->report, e->config->title, &text[5]);
    config_print(e->config, &text[6]);
    card_write(e, &text[7]);
    card_training(e, &text[8]);
    for (int i = 0; i < 9; i++) {
        if (rc == 0)
            rc = put(dir, names[i], &text[i], err);
        bt_buf_done(&text[i]);
    }
    return rc;
}

int export_all(const struct export *e, const char *dir, struct bt_err *err)
{
    BT_AUTO char *weights = bt_printf("%s/model.safetensors", dir);
    int rc = safetensors_write(e->model, weights, err);

    if (rc == 0)
        rc = export_metrics(e->metrics, dir, err);
    return rc < 0 ? rc : put_written(e, dir, err);
}

/* ---- reading ---- */

static int read_number(const struct json *root, const char *name, int max, int *ret,
                       const char *path, struct bt_err *err)
{
    int64_t v = json_i64(json_get(root, name), -1);

    if (v < 1 || v > max)
        return bt_fail(err, BT_ERR_CORRUPT, "%s: %s is not from 1 to %d", path, name, max);
    *ret = (int)v;
    return 0;
}

static int read_shape(const struct json *root, const char *path, struct model_shape *s,
                      struct bt_err *err)
{
    const struct {
        const char *name;
        int max, *to;
    } numbers[] = {
        {"num_hidden_layers", 512, &s->layers},   {"hidden_size", 65536, &s->width},
        {"num_attention_heads", 1024, &s->heads}, {"num_key_value_heads", 1024, &s->kv_heads},
        {"head_dim", 1024, &s->head_dim},         {"intermediate_size", 262144, &s->ffn},
        {"vocab_size", 1048576, &s->vocab},       {"max_position_embeddings", 65536, &s->context},
    };
    const struct json *rope = json_get(root, "rope_parameters");

    if (!bt_streq(json_str(json_get(root, "model_type"), ""), "llama"))
        return bt_fail(err, BT_ERR_CORRUPT, "%s does not describe a llama model", path);
    for (size_t i = 0; i < BT_ARRAY_LEN(numbers); i++) {
        int rc = read_number(root, numbers[i].name, numbers[i].max, numbers[i].to, path, err);

        if (rc < 0)
            return rc;
    }
    s->tied = json_bool(json_get(root, "tie_word_embeddings"), false);
    s->rope_theta =
        json_f64(json_get(root, "rope_theta"), json_f64(json_get(rope, "rope_theta"), 10000));
    s->norm_eps = json_f64(json_get(root, "rms_norm_eps"), 1e-6);
    if (!(s->rope_theta >= 1 && s->rope_theta <= 1e9 && s->norm_eps > 0 && s->norm_eps < 1))
        return bt_fail(err, BT_ERR_CORRUPT, "%s: rope_theta or rms_norm_eps is out of range", path);
    if (s->vocab < TOKEN_COUNT)
        return bt_fail(err, BT_ERR_SHAPE, "%s: a vocabulary of %d does not hold bytes", path,
                       s->vocab);
    return model_shape_check(s, err);
}

int export_read_shape(const char *dir, struct model_shape *ret, struct bt_err *err)
{
    BT_AUTO char *path = bt_printf("%s/config.json", dir);
    BT_BUF_AUTO struct bt_buf text = {0};
    JSON_AUTO struct json *root = NULL;
    struct model_shape s = {0};
    int rc = bt_file_read(path, CONFIG_JSON_MAX, &text, err);

    if (rc == 0)
        rc = json_parse(bt_buf_text(&text), text.n, CONFIG_JSON_MAX, &root, err);
    if (rc == 0)
        rc = read_shape(root, path, &s, err);
    if (rc == 0)
        *ret = s;
    return rc;
}

double export_lineage_flops(const char *dir)
{
    BT_AUTO char *path = bt_printf("%s/training.json", dir);
    BT_BUF_AUTO struct bt_buf text = {0};
    JSON_AUTO struct json *root = NULL;
    double flops;

    if (bt_file_read(path, CONFIG_JSON_MAX, &text, NULL) < 0 ||
        json_parse(bt_buf_text(&text), text.n, CONFIG_JSON_MAX, &root, NULL) < 0)
        return 0;
    flops = json_f64(json_get(root, "lineage_flops"), 0);
    return flops > 0 ? flops : 0;
}
