/* The trainer on a GPU, emulated on the CPU: the whole model's gradients beside the CPU's, exact
 * resume, two ranks.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/train/gpu.h"
#include "agent/train/model.h"
#include "kernels/kernels.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "tests/unit/port.h"

enum { FILE_MAX = 1 << 26 };

struct place {
    char *dir, *program, *module;
};

static int set_up(void **state)
{
    struct place *p = bt_new(struct place);
    BT_AUTO char *text = NULL, *corpus = NULL;

    p->dir = bt_strdup("/tmp/bt-gpu-XXXXXX");
    if (!mkdtemp(p->dir))
        return -1;
    p->program = bt_printf("%s/agent/train/beamtime-train", getenv("BT_BUILD_ROOT"));
    p->module = bt_printf("%s/kernels/cuda/cuda_emulated.so", getenv("BT_BUILD_ROOT"));
    corpus = bt_printf("%s/corpus", p->dir);
    text = bt_printf("%s/corpus/de.txt", p->dir);
    assert_int_equal(bt_mkdirs(corpus, 0755, NULL), 0);
    BT_BUF_AUTO struct bt_buf lines = {0};
    for (int i = 0; i < 99; i++)
        bt_buf_printf(&lines, "Zeile %d: Straßenbahnen fahren im Kreis.\n", i * i);
    assert_int_equal(bt_file_write(text, 0644, lines.p, lines.n, NULL), 0);
    assert_int_equal(setenv("BEAMTIME_CUDA", p->module, 1), 0);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    int rc = bt_remove_tree(p->dir, NULL);

    bt_free(p->dir);
    bt_free(p->program);
    bt_free(p->module);
    bt_free(p);
    return rc;
}

/* ---- the model ---- */

enum { ROWS = 2, CONTEXT = 40 };

static void fill(int32_t *in, int32_t *target)
{
    for (int i = 0; i < ROWS * CONTEXT; i++) {
        uint32_t r[4];

        kern_philox(3, 0, (uint64_t)i, r);
        in[i] = (int32_t)(r[0] % 256);
        target[i] = r[1] % 9 == 0 ? -1 : (int32_t)(r[2] % 256);
    }
}

/* |a - b| / |b| over the whole arena. */
static double distance(const float *a, const float *b, size_t n)
{
    double off = 0, all = 0;

    for (size_t i = 0; i < n; i++) {
        off += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        all += (double)b[i] * (double)b[i];
    }
    return sqrt(off / all);
}

/* Two micro-batches; the same weights, rounded, on both sides. The gradient comes back as the first
 * moment of a step of AdamW with beta1 = 0. */
static void check_model(bool tied)
{
    const struct model_shape s = {.layers = 2,
                                  .width = 64,
                                  .heads = 4,
                                  .kv_heads = 2,
                                  .head_dim = 64,
                                  .ffn = 72,
                                  .vocab = TOKEN_VOCAB,
                                  .context = CONTEXT,
                                  .tied = tied,
                                  .rope_theta = 10000,
                                  .norm_eps = 1e-5};
    int32_t in[ROWS * CONTEXT], target[ROWS * CONTEXT];
    float there_row[ROWS * CONTEXT], here_row[ROWS * CONTEXT];
    struct ranks one = {.world = 1};
    struct bt_err why = {0}, err = {0};
    struct gpu *g = NULL;
    struct model_tensor t;
    struct model m;
    double here = 0, there = 0, squares = 0;

    kern_init(1);
    model_init(&m, &s, ROWS, MODEL_TRAINS);
    model_random(&m, 11);
    for (size_t i = 0; i < m.n_params; i++)
        m.w[i] = kern_from_bf16(kern_to_bf16(m.w[i]));
    fill(in, target);
    ranks_divide(&one, m.n_params);
    BT_AUTO float *moment = bt_new_n(float, m.n_params), *w = bt_new_n(float, m.n_params);
    BT_AUTO float *v = bt_new_n(float, m.n_params);
    if (gpu_open("cuda", &s, ROWS, &one, &g, &why, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(gpu_push(g, m.w, moment, v, NULL), 0);
    for (int turn = 0; turn < 2; turn++) {
        here += model_gradient(&m, in, target, ROWS, CONTEXT, 0.0125f, turn == 0);
        m.gpu = g;
        there += model_gradient(&m, in, target, ROWS, CONTEXT, 0.0125f, turn == 0);
        m.gpu = NULL;
    }
    assert_true(fabs(here - there) <= 2e-3 * here);
    assert_int_equal(gpu_sum_gradient(g, &one, &squares, NULL), 0);
    assert_true(fabs(squares - kern_sum_squares(m.grad, m.n_params)) <= 0.02 * squares);
    assert_int_equal(gpu_update(g, &one,
                                &(struct gpu_update){.lr = 1e-9,
                                                     .beta2 = 0.5,
                                                     .eps = 1e-8,
                                                     .grad_scale = 1,
                                                     .n_matrix = m.n_matrix,
                                                     .step = 1},
                                NULL),
                     0);
    assert_int_equal(gpu_pull(g, &one, w, moment, v, NULL), 0);
    for (int i = 0; model_tensor(&s, i, &t); i++) {
        size_t n = (size_t)t.rows * (t.cols ? t.cols : 1);
        double off = distance(moment + t.offset, m.grad + t.offset, n);

        if (!(off <= 0.03))
            fail_msg("%s: the gradient is off by %.3g", t.name, off);
    }
    assert_true(distance(w, m.w, m.n_params) <= 1e-6);
    (void)model_loss(&m, in, target, ROWS, CONTEXT, here_row);
    m.gpu = g;
    (void)model_loss(&m, in, target, ROWS, CONTEXT, there_row);
    m.gpu = NULL;
    assert_true(distance(there_row, here_row, ROWS * CONTEXT) <= 0.01);
    gpu_close(g);
    model_done(&m);
}

static void gradients_agree_with_the_cpus(void **state)
{
    (void)state;
    check_model(true);
    check_model(false);
}

static void what_does_not_fit_runs_on_the_cpu_or_is_refused(void **state)
{
    const struct model_shape s = {.layers = 1,
                                  .width = 64,
                                  .heads = 2,
                                  .kv_heads = 2,
                                  .head_dim = 32,
                                  .ffn = 64,
                                  .vocab = 320,
                                  .context = 8};
    struct ranks one = {.world = 1};
    struct bt_err why = {0}, err = {0};
    struct gpu *g = NULL;

    (void)state;
    assert_int_equal(gpu_open("cpu", &s, 1, &one, &g, &why, &err), 0);
    assert_null(g);
    assert_int_equal(why.code, 0);
    assert_int_equal(gpu_open("auto", &s, 1, &one, &g, &why, &err), 0);
    assert_null(g);
    assert_int_equal(why.code, BT_ERR_SHAPE);
    assert_int_equal(gpu_open("cuda", &s, 1, &one, &g, &why, &err), -BT_ERR_SHAPE);
    assert_non_null(strstr(err.text, "head_dim"));
}

/* ---- whole runs ---- */

static pid_t launch(const struct place *p, const char *name, int rank, int world, uint16_t port)
{
    BT_AUTO char *output = bt_printf("%s/%s", p->dir, name);
    BT_AUTO char *corpus = bt_printf("%s/corpus", p->dir);
    BT_AUTO char *said = bt_printf("%s/said.%d", p->dir, rank);
    BT_AUTO char *r = bt_printf("BEAM_RANK=%d", rank), *w = bt_printf("BEAM_WORLD_SIZE=%d", world);
    BT_AUTO char *where = bt_printf("BEAM_RENDEZVOUS=127.0.0.1:%d", port);
    BT_AUTO char *secret = bt_printf("BEAM_SECRET_FILE=%s/secret", p->dir);
    BT_AUTO char *module = bt_printf("BEAMTIME_CUDA=%s", p->module);
    char *args[] = {p->program,
                    (char[]){"--corpus"},
                    corpus,
                    (char[]){"--output"},
                    output,
                    (char[]){"--device"},
                    (char[]){"cuda"},
                    (char[]){"--set"},
                    (char[]){"layers=1"},
                    (char[]){"--set"},
                    (char[]){"width=64"},
                    (char[]){"--set"},
                    (char[]){"heads=1"},
                    (char[]){"--set"},
                    (char[]){"kv_heads=1"},
                    (char[]){"--set"},
                    (char[]){"ffn=64"},
                    (char[]){"--set"},
                    (char[]){"context=16"},
                    (char[]){"--set"},
                    (char[]){"batch=2"},
                    (char[]){"--set"},
                    (char[]){"micro_batch=1"},
                    (char[]){"--set"},
                    (char[]){"steps=4"},
                    (char[]){"--set"},
                    (char[]){"warmup=1"},
                    (char[]){"--set"},
                    (char[]){"eval_bytes=64"},
                    (char[]){"--set"},
                    (char[]){"checkpoint_every=2"},
                    (char[]){"--set"},
                    (char[]){"threads=1"},
                    NULL};
    char *env[] = {r, w, where, secret, module, NULL};
    posix_spawn_file_actions_t files;
    pid_t pid;

    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 1, said, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    posix_spawn_file_actions_adddup2(&files, 1, 2);
    assert_int_equal(posix_spawn(&pid, p->program, &files, NULL, args, env), 0);
    posix_spawn_file_actions_destroy(&files);
    return pid;
}

static void finish(const struct place *p, pid_t pid)
{
    BT_AUTO char *said = bt_printf("%s/said.0", p->dir);
    BT_BUF_AUTO struct bt_buf text = {0};
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        if (bt_file_read(said, 65536, &text, NULL) == 0)
            fail_msg("status %x: %s", (unsigned)status, bt_buf_text(&text));
        fail_msg("status %x", (unsigned)status);
    }
}

static void read_weights(const struct place *p, const char *name, struct bt_buf *to)
{
    BT_AUTO char *path = bt_printf("%s/%s/model.safetensors", p->dir, name);

    assert_int_equal(bt_file_read(path, FILE_MAX, to, NULL), 0);
}

static void a_resumed_run_ends_in_the_same_bytes(void **state)
{
    const struct place *p = *state;
    BT_BUF_AUTO struct bt_buf whole = {0}, resumed = {0};
    BT_AUTO char *dir = bt_printf("%s/b.checkpoint", p->dir);
    BT_AUTO char *find = bt_printf("cp %s/a.checkpoint/*2.* %s/", p->dir, dir);

    finish(p, launch(p, "a", 0, 1, 0));
    assert_int_equal(bt_mkdirs(dir, 0755, NULL), 0);
    assert_int_equal(system(find), 0); /* NOLINT: names of this test's own */
    finish(p, launch(p, "b", 0, 1, 0));
    read_weights(p, "a", &whole);
    read_weights(p, "b", &resumed);
    assert_int_equal(whole.n, resumed.n);
    assert_memory_equal(whole.p, resumed.p, whole.n);
}

/* The two ranks' shares of state, gradients and rounded weights come together as one rank's do. */
static void two_ranks_end_where_one_does(void **state)
{
    const struct place *p = *state;
    BT_BUF_AUTO struct bt_buf one = {0}, two = {0};
    BT_AUTO char *secret = bt_printf("%s/secret", p->dir);
    char hex[65];
    uint16_t port = free_port();
    double worst = 0;

    memset(hex, 'a', 64);
    assert_int_equal(bt_file_write(secret, 0600, hex, 64, NULL), 0);
    pid_t first = launch(p, "two", 0, 2, port), second = launch(p, "two", 1, 2, port);
    finish(p, second);
    finish(p, first);
    read_weights(p, "a", &one);
    read_weights(p, "two", &two);
    assert_int_equal(one.n, two.n);
    uint64_t head;
    memcpy(&head, one.p, 8);
    for (size_t at = 8 + head; at + 4 <= one.n; at += 4) {
        float x, y;

        memcpy(&x, one.p + at, 4);
        memcpy(&y, two.p + at, 4);
        worst = isfinite(y) ? fmax(worst, fabs((double)x - (double)y)) : INFINITY;
    }
    if (!(worst <= 2e-3)) /* a few roundings of a step of the size of the rate, 3e-3 */
        fail_msg("weights differ by %.3g", worst);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_agree_with_the_cpus),
        cmocka_unit_test(what_does_not_fit_runs_on_the_cpu_or_is_refused),
        cmocka_unit_test(a_resumed_run_ends_in_the_same_bytes),
        cmocka_unit_test(two_ranks_end_where_one_does),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
