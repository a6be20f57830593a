/* corpus.h - a tree of UTF-8 text files by language as one endless, reproducible stream of samples.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Every regular file *.txt below the root counts; its language is the first
 * BCP-47 tag (RFC 5646, as far as language[-Script][-REGION]) among the folders
 * on its path, else its own name without .txt, else "und". Files are mapped,
 * not read. The last part of each language, from the next line on, is held out
 * and never trained on. A file is a document: TOKEN_EOS follows it.
 *
 * Sample number i of a run depends on (seed, i) alone: not on threads, ranks
 * or batches. */
#ifndef BT_TRAIN_CORPUS_H
#define BT_TRAIN_CORPUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

enum {
    CORPUS_LANGUAGES_MAX = 512,
    CORPUS_FILES_MAX = 1000000,
    CORPUS_TAG_MAX = 24,
};

struct corpus_file {
    char *path;          /* below the root */
    const uint8_t *text; /* mapped; NULL when empty */
    size_t bytes;
    size_t train_bytes;  /* the rest is held out */
    int64_t first_token; /* of the language's training stream */
    int language;
    char sha256[65]; /* hex */
};

struct corpus_language {
    char tag[CORPUS_TAG_MAX];
    int first_file, n_files; /* files are sorted by language, then path */
    int64_t bytes;           /* all of it */
    int64_t train_tokens;    /* with the end of each document */
    int64_t held_bytes;
    double share; /* probability of a sample being this language */
};

struct corpus {
    char *root;
    struct corpus_file *files;
    int n_files;
    struct corpus_language *languages; /* sorted by tag */
    int n_languages;
    int64_t bytes;
};

struct corpus_config {
    double temperature;    /* share ~ bytes^(1/temperature) */
    double held_out;       /* part of each language */
    int64_t held_max;      /* at most so many bytes a language */
    const char *languages; /* comma-separated tags to take; all when NULL or "" */
};

/* Maps and checks everything. BT_ERR_NOT_FOUND (no such folder, no
 * text, no text in a language asked for), BT_ERR_CORRUPT (not
 * UTF-8, names file and offset), BT_ERR_TOO_LARGE, BT_ERR_IO. */
int corpus_open(struct corpus *ret, const char *root, const struct corpus_config *config,
                struct bt_err *err) BT_MUSTUSE;
void corpus_close(struct corpus *c);

/* t+1 successive tokens of sample number i: in[0..t) and target[0..t), shifted by one. A language
 * shorter than t+1 tokens starts again from its beginning. */
void corpus_sample(const struct corpus *c, uint64_t seed, uint64_t i, int t, int32_t *in,
                   int32_t *target);

/* "pt_br" -> "pt-BR", "sr-latn" -> "sr-Latn"; false unless all of text[n] is such a tag. */
bool corpus_read_tag(const char *text, size_t n, char to[CORPUS_TAG_MAX]);

/* Copies held-out bytes from..from+n of a language (n clipped to what there is); returns n. */
size_t corpus_held(const struct corpus *c, int language, int64_t from, size_t n, uint8_t *to);

#endif
