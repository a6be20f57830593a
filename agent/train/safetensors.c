/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/train/safetensors.h"

#include <endian.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "agent/train/outfile.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/json/json.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are written as they lie in memory: little-endian machines only"
#endif

static size_t tensor_size(const struct model_tensor *t)
{
    return (size_t)t->rows * (t->cols ? t->cols : 1);
}

/* ---- writing ---- */

typedef bool next_tensor(const void *arg, int i, struct model_tensor *ret);

static void write_header(next_tensor *tensor, const void *arg, struct bt_buf *to)
{
    struct json_writer w = {.to = to};
    struct model_tensor t;
    int64_t at = 0;

    jw_object(&w, NULL);
    jw_object(&w, "__metadata__");
    jw_str(&w, "format", "pt");
    jw_end_object(&w);
    for (int i = 0; tensor(arg, i, &t); i++) {
        int64_t end = at + (int64_t)(tensor_size(&t) * sizeof(float));

        jw_object(&w, t.name);
        jw_str(&w, "dtype", "F32");
        jw_array(&w, "shape");
        jw_i64(&w, NULL, t.rows);
        if (t.cols)
            jw_i64(&w, NULL, t.cols);
        jw_end_array(&w);
        jw_array(&w, "data_offsets");
        jw_i64(&w, NULL, at);
        jw_i64(&w, NULL, end);
        jw_end_array(&w);
        jw_end_object(&w);
        at = end;
    }
    jw_end_object(&w);
    while (to->n % 8)
        bt_buf_char(to, ' ');
}

int safetensors_write_tensors(next_tensor *tensor, const void *arg, const float *w,
                              const char *path, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf header = {0};
    struct outfile f;
    struct model_tensor t;
    uint64_t size;
    int rc;

    write_header(tensor, arg, &header);
    size = htole64(header.n);
    rc = outfile_open(&f, path, err);
    if (rc < 0)
        return rc;
    rc = outfile_write(&f, &size, sizeof size, err);
    if (rc == 0)
        rc = outfile_write(&f, header.p, header.n, err);
    for (int i = 0; rc == 0 && tensor(arg, i, &t); i++)
        rc = outfile_write(&f, w + t.offset, tensor_size(&t) * sizeof(float), err);
    if (rc < 0) {
        outfile_abandon(&f);
        return rc;
    }
    return outfile_commit(&f, err);
}

static bool of_model(const void *shape, int i, struct model_tensor *ret)
{
    return model_tensor(shape, i, ret);
}

int safetensors_write(const struct model *m, const char *path, struct bt_err *err)
{
    return safetensors_write_tensors(of_model, &m->shape, m->w, path, err);
}

/* ---- reading the header ---- */

struct span {
    uint64_t begin, end;
};

struct header_read {
    uint64_t data_bytes;
    struct span *spans;
    int n, cap;
    int (*each)(void *arg, const char *name, const struct safetensors_entry *e, struct bt_err *err);
    void *arg;
    struct bt_err *err;
};

static int entry_size(const struct safetensors_entry *e, uint64_t *ret)
{
    uint64_t n = bt_streq(e->dtype, "F32") ? 4 : bt_streq(e->dtype, "BF16") ? 2 : 0;

    for (int i = 0; i < e->n_shape; i++) {
        if (e->shape[i] < 0 || __builtin_mul_overflow(n, (uint64_t)e->shape[i], &n))
            return -1;
    }
    *ret = n;
    return n ? 0 : -1;
}

static int read_entry(void *arg, const char *name, const struct json *v)
{
    struct header_read *h = arg;
    const struct json *shape = json_get(v, "shape"), *at = json_get(v, "data_offsets");
    struct safetensors_entry e = {.n_shape = (int)BT_MIN(json_len(shape), (size_t)5)};
    int64_t begin, end;
    uint64_t bytes;

    if (bt_streq(name, "__metadata__"))
        return 0;
    begin = json_i64(json_at(at, 0), -1);
    end = json_i64(json_at(at, 1), -1);
    if (json_is(shape) != JSON_IS_ARRAY || json_len(at) != 2 || e.n_shape > 4 || begin < 0 ||
        end < begin || (uint64_t)end > h->data_bytes)
        return bt_fail(h->err, BT_ERR_CORRUPT, "tensor %.60s has no valid place in the file", name);
    for (int i = 0; i < e.n_shape; i++)
        e.shape[i] = json_i64(json_at(shape, (size_t)i), -1);
    bt_copy(e.dtype, sizeof e.dtype, json_str(json_get(v, "dtype"), ""));
    e.begin = (uint64_t)begin;
    e.end = (uint64_t)end;
    if (entry_size(&e, &bytes) < 0 || bytes != e.end - e.begin)
        return bt_fail(h->err, BT_ERR_CORRUPT,
                       "tensor %.60s of type %s does not fill its %" PRIu64 " bytes", name, e.dtype,
                       e.end - e.begin);
    BT_GROW(h->spans, h->n, h->cap);
    h->spans[h->n++] = (struct span){e.begin, e.end};
    return h->each(h->arg, name, &e, h->err);
}

static int by_begin(const void *a, const void *b)
{
    const struct span *x = a, *y = b;

    return (x->begin > y->begin) - (x->begin < y->begin);
}

static int check_spans(struct header_read *h)
{
    uint64_t at = 0;

    if (h->n)
        qsort(h->spans, (size_t)h->n, sizeof *h->spans, by_begin);
    for (int i = 0; i < h->n; i++) {
        if (h->spans[i].begin != at)
            return bt_fail(h->err, BT_ERR_CORRUPT,
                           "tensors overlap or leave a hole at byte %" PRIu64, at);
        at = h->spans[i].end;
    }
    if (at != h->data_bytes)
        return bt_fail(h->err, BT_ERR_CORRUPT, "the tensors end at byte %" PRIu64 " of %" PRIu64,
                       at, h->data_bytes);
    return 0;
}

int safetensors_header(const char *text, size_t n, uint64_t data_bytes,
                       int (*each)(void *arg, const char *name, const struct safetensors_entry *e,
                                   struct bt_err *err),
                       void *arg, struct bt_err *err)
{
    JSON_AUTO struct json *root = NULL;
    struct header_read h = {.data_bytes = data_bytes, .each = each, .arg = arg, .err = err};
    int rc = json_parse(text, n, SAFETENSORS_HEADER_MAX, &root, err);

    if (rc < 0)
        return bt_fail(err, BT_ERR_CORRUPT, "the safetensors header is not JSON");
    if (json_is(root) != JSON_IS_OBJECT)
        return bt_fail(err, BT_ERR_CORRUPT, "the safetensors header is not an object");
    rc = json_each(root, read_entry, &h);
    if (rc == 0)
        rc = check_spans(&h);
    bt_free(h.spans);
    return rc;
}

/* ---- reading a model ---- */

struct model_read {
    struct model *m;
    const uint8_t *data;
    int n_found;
};

static void copy_bf16(float *to, const uint8_t *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)from[2 * i] << 16 | (uint32_t)from[2 * i + 1] << 24;

        memcpy(to + i, &bits, sizeof bits);
    }
}

static int read_tensor(void *arg, const char *name, const struct safetensors_entry *e,
                       struct bt_err *err)
{
    struct model_read *r = arg;
    struct model_tensor t;

    for (int i = 0; model_tensor(&r->m->shape, i, &t); i++) {
        if (!bt_streq(t.name, name))
            continue;
        if (e->n_shape != (t.cols ? 2 : 1) || e->shape[0] != t.rows ||
            (t.cols && e->shape[1] != t.cols))
            return bt_fail(err, BT_ERR_CORRUPT, "tensor %s is not %d by %d", t.name, t.rows,
                           t.cols ? t.cols : 1);
        if (bt_streq(e->dtype, "F32"))
            memcpy(r->m->w + t.offset, r->data + e->begin, tensor_size(&t) * sizeof(float));
        else
            copy_bf16(r->m->w + t.offset, r->data + e->begin, tensor_size(&t));
        r->n_found++;
        return 0;
    }
    return bt_fail(err, BT_ERR_CORRUPT, "tensor %.60s has no place in this model", name);
}

static int read_mapped(struct model *m, const uint8_t *p, uint64_t size, struct bt_err *err)
{
    struct model_read r = {.m = m};
    struct model_tensor t;
    uint64_t header;
    int n = 0, rc;

    if (size < 8)
        return bt_fail(err, BT_ERR_CORRUPT, "shorter than 8 bytes");
    memcpy(&header, p, 8);
    header = le64toh(header);
    if (header > size - 8 || header > SAFETENSORS_HEADER_MAX)
        return bt_fail(err, BT_ERR_CORRUPT, "the file is shorter than its header says");
    r.data = p + 8 + header;
    rc = safetensors_header((const char *)p + 8, header, size - 8 - header, read_tensor, &r, err);
    if (rc < 0)
        return rc;
    while (model_tensor(&m->shape, n, &t))
        n++;
    if (r.n_found != n)
        return bt_fail(err, BT_ERR_CORRUPT, "%d of %d tensors are there", r.n_found, n);
    return 0;
}

int safetensors_read(struct model *m, const char *path, struct bt_err *err)
{
    BT_FD_AUTO int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct bt_err why = {0};
    struct stat st;
    void *p;
    int rc;

    if (fd < 0 || fstat(fd, &st) < 0)
        return bt_fail_errno(err, BT_ERR_NOT_FOUND, "cannot read %s", path);
    if (st.st_size < 8)
        return bt_fail(err, BT_ERR_CORRUPT, "%s is damaged: shorter than 8 bytes", path);
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return bt_fail_errno(err, BT_ERR_IO, "cannot map %s", path);
    rc = read_mapped(m, p, (uint64_t)st.st_size, &why);
    munmap(p, (size_t)st.st_size);
    return rc < 0 ? bt_fail(err, (enum bt_errno) - rc, "%s is damaged: %s", path, why.text) : 0;
}
