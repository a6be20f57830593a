/* main.c - beamtime-coll: collective benchmarks in the shape of nccl-tests, over our ring.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <unistd.h>

#include "agent/coll/sweep.h"
#include "agent/train/ranks.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

static const char usage[] =
    "Usage: beamtime-coll [COLLECTIVE] [OPTION VALUE]...\n"
    "       beamtime-coll FILE      the same words from a file\n"
    "\n"
    "Measures all_reduce, all_gather, reduce_scatter, broadcast, reduce, alltoall or sendrecv.\n"
    "  -b SIZE  smallest size (32M)      -e SIZE  largest size (32M)\n"
    "  -f X     factor between sizes (2) -i SIZE  step between sizes instead\n"
    "  -n N     iterations (20)          -w N     warm-up calls (1)\n"
    "  -c 0|1   check results (1)        -o OP    sum, min, max\n"
    "  -d TYPE  uint8 int32 int64 float double    -r N  root\n"
    "  -J FILE  results as JSON; else coll.json in $BEAM_OUTPUT when that is set\n"
    "\n"
    "Ranks: $BEAM_RANK, $BEAM_WORLD_SIZE, $BEAM_RENDEZVOUS (host:port), $BEAM_SECRET_FILE. Exit\n"
    "status 1 when a result is wrong or a rank is lost.\n";

enum { WORDS_MAX = 64, FILE_MAX = 16384 };

static int fail(const struct bt_err *err)
{
    fprintf(stderr, "beamtime-coll: %s\n", err->text);
    if (*err->next)
        fprintf(stderr, "  try: %s\n", err->next);
    return bt_err_exit(err->code);
}

/* Words of a file; a line that begins with # is skipped. The text is cut up and owns the words. */
static int split(struct bt_buf *text, char **words, int *ret_n, struct bt_err *err)
{
    char *save = NULL, *line = strtok_r(text->p, "\n", &save);

    *ret_n = 0;
    for (; line; line = strtok_r(NULL, "\n", &save)) {
        char *inner = NULL;

        if (*line == '#')
            continue;
        for (char *w = strtok_r(line, " \t\r", &inner); w; w = strtok_r(NULL, " \t\r", &inner)) {
            if (*ret_n == WORDS_MAX)
                return bt_fail(err, BT_ERR_TOO_LARGE, "more than %d words", WORDS_MAX);
            words[(*ret_n)++] = w;
        }
    }
    return 0;
}

static void show(void *arg, const struct sweep_row *row)
{
    BT_BUF_AUTO struct bt_buf line = {0};

    sweep_line(arg, row, &line);
    fputs(bt_buf_text(&line), stdout);
    fflush(stdout);
}

static int write_json(const struct sweep_options *o, const struct coll *c, const struct sweep *s,
                      struct bt_err *err)
{
    const char *output = getenv("BEAM_OUTPUT");
    BT_AUTO char *beside = bt_printf("%s/coll.json", output ? output : "");
    BT_BUF_AUTO struct bt_buf text = {0};
    const char *path = *o->json ? o->json : output && *output ? beside : NULL;

    sweep_json(o, c, s, &text);
    return path ? bt_file_write(path, 0644, text.p, text.n, err) : 0;
}

static int report(const struct sweep_options *o, const struct coll *c, const struct sweep *s,
                  struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    int rc = 0;

    if (c->rank == 0) {
        sweep_foot(s, &text);
        fputs(bt_buf_text(&text), stdout);
        rc = write_json(o, c, s, err);
    }
    if (rc == 0 && s->wrong)
        rc = bt_fail(err, BT_ERR_CORRUPT, "%lld values are wrong", (long long)s->wrong);
    return rc;
}

static int run(struct sweep_options *o, struct bt_err *err)
{
    BT_AUTO struct sweep *s = bt_new(struct sweep);
    BT_BUF_AUTO struct bt_buf head = {0};
    struct ranks ranks;
    struct coll *alone = NULL;
    const struct coll_config one = {.world = 1, .timeout_us = 1000000};
    int rc = ranks_open(&ranks, err);

    if (rc < 0)
        return rc;
    if (!ranks.coll)
        rc = coll_ring.open(&one, &alone, err);
    struct coll *c = ranks.coll ? ranks.coll : alone;

    if (rc == 0 && c->rank == 0) {
        sweep_head(o, c, &head);
        fputs(bt_buf_text(&head), stdout);
        fflush(stdout);
    }
    if (rc == 0)
        rc = sweep_run(o, c, s, show, o, err);
    if (rc == 0)
        rc = report(o, c, s, err);
    coll_ring.close(alone);
    ranks_close(&ranks);
    return rc;
}

int main(int argc, char **argv)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    struct sweep_options o;
    struct bt_err err = {0};
    char *words[WORDS_MAX], **from = argv + 1;
    int n = argc - 1, rc = 0;

    if (n && (bt_streq(argv[1], "--help") || bt_streq(argv[1], "-h"))) {
        fputs(usage, stdout);
        return 0;
    }
    if (n == 1 && argv[1][0] != '-' && access(argv[1], R_OK) == 0) {
        rc = bt_file_read(argv[1], FILE_MAX, &text, &err);
        if (rc == 0 && text.n)
            rc = split(&text, words, &n, &err);
        from = words;
        n = text.n ? n : 0;
    }
    sweep_defaults(&o);
    if (rc == 0)
        rc = sweep_parse(&o, n, from, &err);
    if (rc == 0)
        rc = run(&o, &err);
    return rc < 0 ? fail(&err) : 0;
}
