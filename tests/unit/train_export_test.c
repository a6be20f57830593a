/* A published model gives others the logits that it gives us: tests/unit/llama.py reads the files
 * and computes in float64 by the published definition.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/train_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/train/export.h"
#include "agent/train/model.h"
#include "agent/train/safetensors.h"
#include "kernels/kernels.h"
#include "lib/base/mem.h"

enum { IDS = 20 };

/* A short run, so that the weights are no longer those of the start. */
static void train(const struct place *p, char *output, char *const sets[4])
{
    char *args[] = {p->program,
                    (char[]){"--corpus"},
                    p->corpus,
                    (char[]){"--output"},
                    output,
                    (char[]){"--set"},
                    sets[0],
                    (char[]){"--set"},
                    sets[1],
                    (char[]){"--set"},
                    sets[2],
                    (char[]){"--set"},
                    sets[3],
                    (char[]){"--set"},
                    (char[]){"layers=2"},
                    (char[]){"--set"},
                    (char[]){"context=32"},
                    (char[]){"--set"},
                    (char[]){"steps=6"},
                    (char[]){"--set"},
                    (char[]){"eval_bytes=64"},
                    NULL};

    assert_int_equal(run_with(p, args), 0);
}

static void our_logits(const char *dir, const int32_t *ids, float *logits)
{
    BT_AUTO char *weights = bt_printf("%s/model.safetensors", dir);
    struct model_shape shape;
    struct model m;

    assert_int_equal(export_read_shape(dir, &shape, NULL), 0);
    assert_int_equal(shape.vocab, TOKEN_VOCAB);
    kern_init(2);
    model_init(&m, &shape, 1, MODEL_RUNS);
    assert_int_equal(safetensors_read(&m, weights, NULL), 0);
    model_logits(&m, ids, IDS, logits);
    model_done(&m);
}

static void their_logits(const char *dir, const int32_t *ids, double *logits)
{
    BT_BUF_AUTO struct bt_buf command = {0};
    char line[64];
    int n = 0;
    FILE *f;

    bt_buf_printf(&command, "python3 %s/tests/unit/llama.py %s", getenv("BT_SOURCE_ROOT"), dir);
    for (int i = 0; i < IDS; i++)
        bt_buf_printf(&command, " %d", (int)ids[i]);
    f = popen(bt_buf_text(&command), "re"); /* NOLINT(cert-env33-c): a test's own words */
    assert_non_null(f);
    while (fgets(line, sizeof line, f) && n < TOKEN_VOCAB)
        logits[n++] = strtod(line, NULL);
    assert_int_equal(pclose(f), 0);
    assert_int_equal(n, TOKEN_VOCAB);
}

static void another_reader_computes_the_same_logits(void **state)
{
    static const char *const shapes[][4] = {
        {"width=32", "heads=3", "kv_heads=3", "tied=true"},
        {"width=24", "heads=4", "kv_heads=2", "tied=false"},
    };
    struct place *p = *state;
    int32_t ids[IDS];

    for (int i = 0; i < IDS; i++)
        ids[i] = i ? (i * 37 + 60) % 256 : TOKEN_EOS;
    for (size_t s = 0; s < BT_ARRAY_LEN(shapes); s++) {
        BT_AUTO char *dir = bt_printf("%s/out%zu", p->dir, s);
        char sets[4][16];
        float ours[TOKEN_VOCAB];
        double theirs[TOKEN_VOCAB], scale = 0;

        for (int i = 0; i < 4; i++)
            (void)snprintf(sets[i], sizeof sets[i], "%s", shapes[s][i]);
        train(p, dir, (char *[]){sets[0], sets[1], sets[2], sets[3]});
        our_logits(dir, ids, ours);
        their_logits(dir, ids, theirs);
        for (int i = 0; i < TOKEN_VOCAB; i++)
            scale = fmax(scale, fabs(theirs[i]));
        assert_true(scale > 0.1);
        for (int i = 0; i < TOKEN_VOCAB; i++) {
            if (!(fabs((double)ours[i] - theirs[i]) < 1e-5 * scale))
                fail_msg("logit %d is %.9g, another reader's %.9g", i, (double)ours[i], theirs[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(another_reader_computes_the_same_logits, train_set_up,
                                        train_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
