/* main.c - beamtime-coll: collective benchmarks in the shape of nccl-tests, over NCCL or our ring.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <unistd.h>

#include "agent/coll/sweep.h"
#include "agent/train/ranks.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/json/json.h"

static const char usage[] =
    "Usage: beamtime-coll [COLLECTIVE] [OPTION VALUE]...\n"
    "       beamtime-coll FILE      the same words from a file\n"
    "\n"
    "Measures all_reduce, all_gather, reduce_scatter, broadcast, reduce, alltoall or sendrecv; or\n"
    "links: each pair of neighbours for itself.\n"
    "  -b SIZE  smallest size (32M)      -e SIZE  largest size (32M)\n"
    "  -f X     factor between sizes (2) -i SIZE  step between sizes instead\n"
    "  -n N     iterations (20)          -w N     warm-up calls (1)\n"
    "  -c 0|1   check results (1)        -o OP    sum, min, max\n"
    "  -d TYPE  uint8 int32 int64 float double    -r N  root\n"
    "  -T S     deadline of a call (600) --device auto|cpu|cuda  NCCL between GPUs, else our ring\n"
    "  -J FILE  results as JSON; else coll.json in $BEAM_OUTPUT when that is set\n"
    "\n"
    "nccl-tests' long names (--minbytes, ...) are known too. $NCCL_TESTS_MIN_BW: an average bus\n"
    "bandwidth below 0.9 of it is a failure.\n"
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

/* -J of a run that failed: who asked is told why. What failed matters more than this file. */
static void write_failure(const struct sweep_options *o, const struct bt_err *why)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    struct json_writer w = {.to = &text};
    struct bt_err err = {0};

    if (!*o->json)
        return;
    jw_object(&w, NULL);
    jw_i64(&w, "errors", 1);
    jw_str(&w, "error", bt_err_name(why->code));
    jw_str(&w, "text", why->text);
    jw_end_object(&w);
    if (bt_file_write(o->json, 0644, text.p, text.n, &err) < 0)
        fprintf(stderr, "beamtime-coll: %s\n", err.text);
}

/* What was measured is told by rank 0; of links by all, for each has its own -J. */
static int report(const struct sweep_options *o, const struct coll *c, const struct sweep *s,
                  struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    int rc = 0;

    if (c->rank == 0) {
        sweep_foot(s, &text);
        fputs(bt_buf_text(&text), stdout);
    }
    if (c->rank == 0 || (s->links && *o->json))
        rc = write_json(o, c, s, err);
    return rc < 0 ? rc : sweep_verdict(o, s, err);
}

/* What a run holds; zeroed: nothing. */
struct session {
    struct ranks ranks;
    struct coll *alone; /* when there is one rank */
    struct sweep_place place;
};

static struct coll *host_of(const struct session *s)
{
    return s->ranks.coll ? s->ranks.coll : s->alone;
}

static int find_device(struct session *s, struct bt_err *err)
{
    const char *text = getenv("BEAM_LOCAL_RANK");
    int64_t index = s->ranks.rank;
    struct cuda_about about;
    int rc = cuda_load(&s->place.ops, err);

    if (rc == 0 && text && *text)
        rc = bt_parse_i64(text, "BEAM_LOCAL_RANK", 0, COLL_WORLD_MAX, &index, err);
    if (rc == 0)
        rc = s->place.ops->open((int)index, &s->place.dev, err);
    if (rc < 0)
        return rc;
    s->place.ops->about(s->place.dev, &about);
    bt_copy(s->place.name, sizeof s->place.name, about.name);
    s->place.host = host_of(s);
    return 0;
}

/* All ranks on GPUs or none. */
static int open_device(struct session *s, struct sweep_options *o, struct bt_err *err)
{
    struct bt_err why = {0};
    double missing;
    int rc;

    if (bt_streq(o->device, "cpu"))
        return 0;
    missing = find_device(s, &why) < 0;
    rc = ranks_sum(&s->ranks, &missing, 1, err);
    if (rc < 0)
        return rc;
    if (missing == 0) {
        o->place = &s->place;
        return s->place.ops->coll_open(s->place.dev, s->place.host, o->timeout_s * BT_US_PER_S,
                                       &s->ranks.fabric, err);
    }
    if (!why.code)
        (void)bt_fail(&why, BT_ERR_UNSUPPORTED, "another rank found no GPU");
    if (!bt_streq(o->device, "auto"))
        return bt_fail(err, BT_ERR_UNSUPPORTED, "%s", why.text);
    if (s->ranks.rank == 0)
        printf("# on the CPU: %s\n", why.text);
    return 0;
}

static int open_session(struct session *s, struct sweep_options *o, struct bt_err *err)
{
    const struct coll_config one = {.world = 1, .timeout_us = BT_US_PER_S};
    int rc = ranks_open(&s->ranks, err);

    if (rc == 0 && !s->ranks.coll)
        rc = coll_ring.open(&one, &s->alone, err);
    return rc < 0 ? rc : open_device(s, o, err);
}

static void close_session(struct session *s)
{
    ranks_close(&s->ranks); /* its fabric uses the device */
    if (s->place.dev)
        s->place.ops->close(s->place.dev);
    coll_ring.close(s->alone);
}

static int run(struct sweep_options *o, struct bt_err *err)
{
    BT_AUTO struct sweep *s = bt_new(struct sweep);
    BT_BUF_AUTO struct bt_buf head = {0};
    struct session session = {0};
    int rc = open_session(&session, o, err);
    struct coll *c = session.ranks.fabric ? session.ranks.fabric : host_of(&session);

    if (rc == 0 && c->rank == 0) {
        sweep_head(o, c, &head);
        fputs(bt_buf_text(&head), stdout);
        fflush(stdout);
    }
    if (rc == 0)
        rc = sweep_run(o, c, s, show, o, err);
    if (rc == 0)
        rc = report(o, c, s, err);
    else
        write_failure(o, err);
    sweep_done(s);
    o->place = NULL; /* it is the session's */
    close_session(&session);
    return rc;
}

int main(int argc, char **argv)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    struct sweep_options o;
    struct bt_err err = {0};
    const char *least = getenv("NCCL_TESTS_MIN_BW");
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
    if (rc == 0 && least && *least)
        rc = bt_parse_f64(least, "NCCL_TESTS_MIN_BW", &o.min_bus_gb, &err);
    if (rc == 0)
        rc = run(&o, &err);
    return rc < 0 ? fail(&err) : 0;
}
