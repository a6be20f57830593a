/* captions.h - pictures with captions in many languages, as samples for a model that looks.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A folder NAME.png beside NAME.txt, anywhere below a root: the layout of
 * Debian's tuxpaint-stamps-default. The first line of the text is the English
 * caption, others read `de.utf8=...`. Pictures are shrunk into a square, white behind
 * them. By name, a sixteenth of the pictures is held out with all its captions (unseen), and of the
 * others a sixteenth of the captions: the picture is known from other languages, that caption not.
 */
#ifndef BT_TRAIN_CAPTIONS_H
#define BT_TRAIN_CAPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/train/corpus.h"
#include "lib/base/err.h"

enum { CAPTION_MAX = 500, PICTURES_MAX = 100000, PICTURE_SIDE_MAX = 16384 };

enum captions_part { CAPTIONS_TRAIN, CAPTIONS_HELD, CAPTIONS_UNSEEN, CAPTIONS_PARTS };

struct caption {
    int picture, language; /* of captions.languages */
    char *text;            /* "de: Ein Apfel.\n" */
    int prompt;            /* bytes of "de: ": given, not asked for */
};

struct captions {
    int size;       /* pixels of a side */
    float **pixels; /* [n_pictures] of [size, size, 3], -1 to 1 */
    int n_pictures, cap_pictures;
    struct part {
        struct caption *all;
        int n, cap;
    } parts[CAPTIONS_PARTS];
};

/* Reads all of it. `as` gets the files with their SHA-256 and the languages, for manifests and
 * cards (corpus_close). languages: comma-separated tags, all when "". BT_ERR_NOT_FOUND without any
 * caption, BT_ERR_CORRUPT names a damaged picture or text. */
int captions_open(struct captions *ret, struct corpus *as, const char *root, int size,
                  const char *languages, struct bt_err *err) BT_MUSTUSE;
void captions_close(struct captions *c);

/* Calls each(arg, tag, text) for the captions in the text of one picture: n bytes at `text`, which
 * are cut up. Lines that are no caption are passed over. */
void captions_parse(char *text, size_t n,
                    void (*each)(void *arg, const char *tag, const char *text), void *arg);

/* The k-th caption of training sequence i: a function of (seed, i, k). */
const struct caption *captions_sample(const struct captions *c, uint64_t seed, uint64_t i,
                                      uint64_t k);

#endif
