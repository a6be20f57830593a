/* safetensors.h - a model's weights as the file that other tools load.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Format: u64 little-endian header size, that many bytes of JSON padded with
 * spaces to a multiple of 8, then the tensors without holes, row-major
 * (huggingface/safetensors, README "Format"). Names are those of
 * LlamaForCausalLM. Written as F32; F32 and BF16 are read. */
#ifndef BT_TRAIN_SAFETENSORS_H
#define BT_TRAIN_SAFETENSORS_H

#include "agent/train/model.h"
#include "lib/base/err.h"

enum { SAFETENSORS_HEADER_MAX = 16 * 1024 * 1024 };

/* Any arena: tensor(arg, i, &t) names the i-th piece of w, false behind the last. */
int safetensors_write_tensors(bool (*tensor)(const void *arg, int i, struct model_tensor *ret),
                              const void *arg, const float *w, const char *path,
                              struct bt_err *err) BT_MUSTUSE;
int safetensors_write(const struct model *m, const char *path, struct bt_err *err) BT_MUSTUSE;

/* Fills m->w; every tensor of the shape must be there with its exact shape, none may be left over.
 * BT_ERR_CORRUPT names what is wrong; m->w is then undefined. */
int safetensors_read(struct model *m, const char *path, struct bt_err *err) BT_MUSTUSE;

/* One tensor of a parsed header: where it lies. */
struct safetensors_entry {
    char dtype[8];
    int64_t shape[4];
    int n_shape;
    uint64_t begin, end; /* bytes behind the header */
};

/* Reads a header of n bytes over data_bytes of tensors: calls each(arg, name, entry) for every
 * tensor, in the order of the text, after checking offsets, sizes, holes and overlaps. */
int safetensors_header(const char *text, size_t n, uint64_t data_bytes,
                       int (*each)(void *arg, const char *name, const struct safetensors_entry *e,
                                   struct bt_err *err),
                       void *arg, struct bt_err *err) BT_MUSTUSE;

#endif
