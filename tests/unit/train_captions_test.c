/* Pictures with captions: reading, holding out, and whole runs of --arch flamingo.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/train_fixture.h"

#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/train/captions.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

/* A picture of width x height in one colour, its left half transparent. */
static void write_png(const char *path, int width, int height, const uint8_t colour[3])
{
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)width,
                       .height = (png_uint_32)height,
                       .format = PNG_FORMAT_RGBA};
    BT_AUTO uint8_t *rgba = bt_new_n(uint8_t, (size_t)width * (size_t)height * 4);

    for (int i = 0; i < width * height; i++) {
        memcpy(rgba + (size_t)i * 4, colour, 3);
        rgba[(size_t)i * 4 + 3] = i % width < width / 2 ? 0 : 255;
    }
    assert_true(png_image_write_to_file(&image, path, 0, rgba, 0, NULL));
}

static char *in(const struct place *p, const char *name)
{
    return bt_printf("%s/pictures/%s", p->dir, name);
}

/* n pictures 0.png .. with captions that only the picture tells: its number, its colour. */
static char *write_pictures(const struct place *p, int n)
{
    BT_AUTO char *dir = in(p, "a");

    assert_int_equal(bt_mkdirs(dir, 0755, NULL), 0);
    for (int i = 0; i < n; i++) {
        BT_AUTO char *png = bt_printf("%s/%d.png", dir, i), *txt = bt_printf("%s/%d.txt", dir, i);
        BT_AUTO char *text = bt_printf("Number %d.\nde.utf8=Nummer %d.\npt_BR.utf8=N\303\272mero "
                                       "%d.\nsr@latin.utf8=Broj %d.\nfi.utf8=\nnonsense\n",
                                       i, i, i, i);
        const uint8_t colour[3] = {(uint8_t)(i * 97), (uint8_t)(i * 31), (uint8_t)(255 - i * 53)};

        write_png(png, 20 + i, 10, colour);
        assert_int_equal(bt_file_write(txt, 0644, text, strlen(text), NULL), 0);
    }
    return bt_printf("%s/pictures", p->dir);
}

static void pictures_are_shrunk_onto_white(void **state)
{
    static const uint8_t red[3] = {255, 0, 0};
    const struct place *p = *state;
    BT_AUTO char *root = write_pictures(p, 1), *png = in(p, "a/0.png");
    struct captions c;
    struct corpus as;
    const float *x;

    write_png(png, 32, 16, red);
    assert_int_equal(captions_open(&c, &as, root, 8, "", NULL), 0);
    assert_int_equal(c.n_pictures, 1);
    x = c.pixels[0];
    for (int i = 0; i < 8 * 8; i++) { /* rows 2..5 hold the picture, its right half is red */
        bool is_red = i / 8 >= 2 && i / 8 < 6 && i % 8 >= 4;

        assert_true(fabs((double)x[i * 3] - 1) < 1e-6);
        assert_true(fabs((double)x[i * 3 + 1] - (is_red ? -1 : 1)) < 1e-6);
        assert_true(fabs((double)x[i * 3 + 2] - (is_red ? -1 : 1)) < 1e-6);
    }
    captions_close(&c);
    corpus_close(&as);
}

static void captions_are_read_by_language_and_held_out_by_name(void **state)
{
    const struct place *p = *state;
    BT_AUTO char *root = write_pictures(p, 64);
    struct captions c, again;
    struct corpus as, same;
    int n = 0;

    assert_int_equal(captions_open(&c, &as, root, 4, "", NULL), 0);
    assert_int_equal(c.n_pictures, 64);
    assert_int_equal(as.n_languages, 3);
    assert_int_equal(as.n_files, 128);
    for (int k = 0; k < CAPTIONS_PARTS; k++) {
        n += c.parts[k].n;
        assert_true(c.parts[k].n > 0);
    }
    assert_int_equal(n, 64 * 3);
    for (int i = 0; i < c.parts[CAPTIONS_UNSEEN].n; i++) {
        for (int k = 0; k < c.parts[CAPTIONS_TRAIN].n; k++)
            assert_int_not_equal(c.parts[CAPTIONS_UNSEEN].all[i].picture,
                                 c.parts[CAPTIONS_TRAIN].all[k].picture);
    }
    for (int i = 0; i < 3; i++) {
        const struct caption *one = &c.parts[CAPTIONS_TRAIN].all[i];

        assert_true(bt_starts(one->text, as.languages[one->language].tag));
        assert_int_equal(one->text[strlen(one->text) - 1], '\n');
        assert_int_equal(one->text[one->prompt - 1], ' ');
    }
    assert_int_equal(captions_open(&again, &same, root, 4, "de,xx", NULL), 0);
    assert_int_equal(same.n_languages, 1);
    captions_close(&c);
    captions_close(&again);
    corpus_close(&as);
    corpus_close(&same);
}

static void what_is_no_picture_is_refused_by_name(void **state)
{
    static const struct {
        const char *png, *txt, *said;
        int code;
    } cases[] = {
        {"not a picture", "Text.\n", "0.png is no picture", BT_ERR_CORRUPT},
        {"\211PNG\r\n\032\n", "Text.\n", "0.png is no picture", BT_ERR_CORRUPT},
        {NULL, "caf\351\n", "0.txt is not UTF-8 text", BT_ERR_CORRUPT},
        {NULL, "\n", "holds no picture NAME.png with captions", BT_ERR_NOT_FOUND},
    };
    const struct place *p = *state;

    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        BT_AUTO char *root = write_pictures(p, 1);
        BT_AUTO char *png = in(p, "a/0.png"), *txt = in(p, "a/0.txt");
        struct captions c;
        struct corpus as;
        struct bt_err err = {0};

        if (cases[i].png)
            assert_int_equal(bt_file_write(png, 0644, cases[i].png, strlen(cases[i].png), NULL), 0);
        assert_int_equal(bt_file_write(txt, 0644, cases[i].txt, strlen(cases[i].txt), NULL), 0);
        assert_int_equal(captions_open(&c, &as, root, 8, "", &err), -cases[i].code);
        if (!strstr(err.text, cases[i].said))
            fail_msg("said: %s", err.text);
    }
}

/* ---- whole runs ---- */

static int look(const struct place *p, const char *name, const char *set)
{
    BT_AUTO char *out = bt_printf("%s/%s", p->dir, name), *from = bt_printf("%s/lm", p->dir);
    BT_AUTO char *images = bt_printf("%s/pictures", p->dir);
    char *args[] = {p->program,
                    (char[]){"--arch"},
                    (char[]){"flamingo"},
                    (char[]){"--from"},
                    from,
                    (char[]){"--images"},
                    images,
                    (char[]){"--output"},
                    out,
                    (char[]){"--set"},
                    (char[]){"steps=8"},
                    (char[]){"--set"},
                    (char[]){"context=48"},
                    (char[]){"--set"},
                    (char[]){"image_size=8"},
                    (char[]){"--set"},
                    (char[]){"patch=4"},
                    (char[]){"--set"},
                    (char[]){"vision_width=12"},
                    (char[]){"--set"},
                    (char[]){"checkpoint_every=4"},
                    (char[]){"--set"},
                    (char[]){"peak_gflops=100"},
                    (char[]){"--set"},
                    (char *)(uintptr_t)set,
                    NULL};

    return run_with(p, args);
}

static void eyes_are_trained_resumed_and_published(void **state)
{
    const struct place *p = *state;
    BT_AUTO char *images = write_pictures(p, 40);

    assert_non_null(images);
    assert_int_equal(finish(launch(p, "lm", NULL, NULL)), 0);
    assert_int_equal(look(p, "a", "seed=3"), 0);
    assert_int_equal(look(p, "b", "seed=3"), 0);
    assert_same_file(p, "lm/model.safetensors", "a/model.safetensors"); /* it stayed frozen */
    assert_same_file(p, "a/adapter.safetensors", "b/adapter.safetensors");
    remove_file(p, "b.checkpoint/step-0000000008.ckpt");
    remove_file(p, "b/adapter.safetensors");
    assert_int_equal(look(p, "b", "seed=3"), 0);
    assert_same_file(p, "a/adapter.safetensors", "b/adapter.safetensors");
    assert_same_file(p, "a/vision.json", "b/vision.json");
    assert_int_not_equal(look(p, "a", "vision_layers=1"), 0);
    assert_one_sentence(p, "said", "holds");
}

static void impossible_eyes_are_refused_in_one_sentence(void **state)
{
    static const struct {
        const char *set, *said;
    } cases[] = {
        {"patch=3", "image_size (8) is not a multiple of patch (3)"},
        {"vision_heads=5", "vision_width (12) is not a multiple of vision_heads (5)"},
        {"languages=xx", "holds no picture"},
    };
    const struct place *p = *state;
    BT_AUTO char *images = write_pictures(p, 2), *output = bt_printf("%s/out", p->dir);
    BT_AUTO char *published = bt_printf("%s/vision.json", output);

    assert_non_null(images);
    assert_int_equal(finish(launch(p, "lm", NULL, NULL)), 0);
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        assert_int_not_equal(look(p, "out", cases[i].set), 0);
        assert_one_sentence(p, "said", cases[i].said);
        assert_int_equal(access(published, F_OK), -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pictures_are_shrunk_onto_white, train_set_up,
                                        train_tear_down),
        cmocka_unit_test_setup_teardown(captions_are_read_by_language_and_held_out_by_name,
                                        train_set_up, train_tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_picture_is_refused_by_name, train_set_up,
                                        train_tear_down),
        cmocka_unit_test_setup_teardown(eyes_are_trained_resumed_and_published, train_set_up,
                                        train_tear_down),
        cmocka_unit_test_setup_teardown(impossible_eyes_are_refused_in_one_sentence, train_set_up,
                                        train_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
