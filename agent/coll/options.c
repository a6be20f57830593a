/* options.c - nccl-tests' command line, short and long.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/coll/sweep_own.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

const char *const sweep_types[] = {"uint8", "int32", "int64", "float", "double"};
const char *const sweep_ops[] = {"sum", "min", "max"};
const char *const sweep_operations[] = {"all_reduce", "all_gather", "reduce_scatter", "broadcast",
                                        "reduce",     "alltoall",   "sendrecv",       "links"};

int sweep_index(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (bt_streq(names[i], name))
            return (int)i;
    }
    return -1;
}

enum operation sweep_operation(const struct sweep_options *o)
{
    return (enum operation)sweep_index(sweep_operations, OPERATIONS, o->operation);
}

/* ---- options ---- */

void sweep_defaults(struct sweep_options *o)
{
    *o = (struct sweep_options){.min_bytes = 32 << 20,
                                .max_bytes = 32 << 20,
                                .factor = 2,
                                .iterations = 20,
                                .warmups = 1,
                                .check = true,
                                .timeout_s = 600,
                                .type = COLL_F32};
    bt_copy(o->operation, sizeof o->operation, sweep_operations[ALL_REDUCE]);
    bt_copy(o->device, sizeof o->device, "auto");
}

/* "64M" counts binary, as there. */
static int parse_size(const char *text, const char *what, int64_t *ret, struct bt_err *err)
{
    BT_AUTO char *copy = bt_strdup(text);
    size_t n = strlen(copy);
    int64_t unit = 1, v;
    int rc;

    if (n && strchr("kKmMgG", copy[n - 1])) {
        unit = strchr("kK", copy[n - 1]) ? 1024 : strchr("mM", copy[n - 1]) ? 1 << 20 : 1 << 30;
        copy[n - 1] = '\0';
    }
    rc = bt_parse_i64(copy, what, 0, SWEEP_BYTES_MAX / unit, &v, err);
    if (rc == 0)
        *ret = v * unit;
    return rc;
}

static int parse_name(const char *text, const char *what, const char *const *names, size_t n,
                      int *ret, struct bt_err *err)
{
    int i = sweep_index(names, n, text);

    if (i < 0)
        return bt_fail(err, BT_ERR_INVALID, "%s '%.40s' is not known here", what, text);
    *ret = i;
    return 0;
}

/* nccl-tests' long names. */
static const struct {
    const char *name;
    char letter;
} long_names[] = {
    {"--minbytes", 'b'},      {"--maxbytes", 'e'},
    {"--stepbytes", 'i'},     {"--stepfactor", 'f'},
    {"--iters", 'n'},         {"--warmup_iters", 'w'},
    {"--check", 'c'},         {"--op", 'o'},
    {"--datatype", 'd'},      {"--root", 'r'},
    {"--ngpus", 'g'},         {"--nthreads", 't'},
    {"--blocking", 'z'},      {"--cudagraph", 'G'},
    {"--agg_iters", 'm'},     {"--timeout", 'T'},
    {"--parallel_init", 'p'}, {"--local_register", 'R'},
    {"--output_file", 'J'},   {"--device", 'D'},
};

static char letter_of(const char *word)
{
    if (word[0] == '-' && word[1] != '-' && strlen(word) == 2 && word[1] != 'D')
        return word[1];
    for (size_t i = 0; i < BT_ARRAY_LEN(long_names); i++) {
        if (bt_streq(long_names[i].name, word))
            return long_names[i].letter;
    }
    return '\0';
}

static int parse_device(struct sweep_options *o, const char *text, struct bt_err *err)
{
    static const char *const known[] = {"auto", "cpu", "cuda"};
    int i = 0, rc = parse_name(text, "--device", known, BT_ARRAY_LEN(known), &i, err);

    if (rc == 0)
        bt_copy(o->device, sizeof o->device, known[i]);
    return rc;
}

/* Options of nccl-tests that ask for what a rank does not do: only the value that it does. */
static int parse_fixed(char letter, const char *text, struct bt_err *err)
{
    int64_t v, only = letter == 'g' || letter == 't' || letter == 'm';
    int rc;
    char name[3] = {'-', letter, '\0'};

    rc = bt_parse_i64(text, name, 0, 1000000, &v, err);
    if (rc == 0 && v != only)
        return bt_fail(err, BT_ERR_UNSUPPORTED,
                       "-%c %lld: a rank has one thread, one device, no graphs", letter,
                       (long long)v);
    return rc;
}

static int parse_option(struct sweep_options *o, char letter, const char *text, struct bt_err *err)
{
    int64_t v = 0;
    int i = 0, rc;

    switch (letter) {
    case 'b':
        return parse_size(text, "-b", &o->min_bytes, err);
    case 'e':
        return parse_size(text, "-e", &o->max_bytes, err);
    case 'i':
        return parse_size(text, "-i", &o->step_bytes, err);
    case 'f':
        rc = bt_parse_f64(text, "-f", &o->factor, err);
        return rc < 0 || o->factor >= 1.1
                   ? rc
                   : bt_fail(err, BT_ERR_INVALID, "-f is %s, below 1.1", text);
    case 'n':
        return bt_parse_i64(text, "-n", 1, 1000000, &o->iterations, err);
    case 'w':
        return bt_parse_i64(text, "-w", 0, 1000000, &o->warmups, err);
    case 'c':
        rc = bt_parse_i64(text, "-c", 0, 1, &v, err);
        o->check = v != 0;
        return rc;
    case 'o':
        rc = parse_name(text, "-o", sweep_ops, COLL_MAX + 1, &i, err);
        o->op = (enum coll_op)i;
        return rc;
    case 'd':
        rc = parse_name(text, "-d", sweep_types, COLL_F64 + 1, &i, err);
        o->type = (enum coll_type)i;
        return rc;
    case 'r':
        rc = bt_parse_i64(text, "-r", 0, COLL_WORLD_MAX - 1, &v, err);
        o->root = (int)v;
        return rc;
    case 'J':
        return bt_copy(o->json, sizeof o->json, text)
                   ? 0
                   : bt_fail(err, BT_ERR_TOO_LARGE, "-J names too long a path");
    case 'T':
        return bt_parse_i64(text, "-T", 1, 86400, &o->timeout_s, err);
    case 'z': /* each call is waited for anyway */
    case 'p':
        return bt_parse_i64(text, "-z", 0, 1, &v, err);
    case 'D':
        return parse_device(o, text, err);
    case 'g':
    case 't':
    case 'm':
    case 'G':
    case 'R':
        return parse_fixed(letter, text, err);
    default:
        return bt_fail(err, BT_ERR_USAGE, "no option -%c", letter);
    }
}

int sweep_parse(struct sweep_options *ret, int n, char **words, struct bt_err *err)
{
    struct sweep_options o = *ret;
    int rc = 0, i = 0, which;

    if (n && words[0][0] != '-') {
        rc = parse_name(words[i++], "the collective", sweep_operations, OPERATIONS, &which, err);
        bt_copy(o.operation, sizeof o.operation, words[0]);
    }
    for (; rc == 0 && i < n; i += 2) {
        if (!letter_of(words[i]) || i + 1 == n)
            rc = bt_fail(err, BT_ERR_USAGE, "'%.40s' is not an option with a value", words[i]);
        else
            rc = parse_option(&o, letter_of(words[i]), words[i + 1], err);
    }
    if (rc == 0 && o.max_bytes < o.min_bytes)
        rc = bt_fail(err, BT_ERR_INVALID, "-e is below -b");
    if (rc == 0)
        *ret = o;
    return rc;
}
