/* What a node says of itself. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <sys/stat.h>

#include "agent/inventory.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "tests/unit/check.h"

static void a_gpu_is_classed_by_its_model(void **state)
{
    static const struct {
        const char *name, *class;
    } rows[] = {
        {"NVIDIA H200", "h200"},
        {"NVIDIA H100 80GB HBM3", "h100"},
        {"NVIDIA A100-SXM4-80GB", "a100"},
        {"AMD Instinct MI300X OAM", "mi300x"},
        {"NVIDIA GB200", "gb200"},
        {"Tesla V100-PCIE-16GB", "v100"},
        {"Radeon", "radeon"},
        {"", "gpu"},
    };
    char class[16];

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        inventory_class(rows[i].name, class);
        assert_string_equal(class, rows[i].class);
    }
}

static void this_machine_offers_its_cores(void **state)
{
    static const struct {
        const char *class;
        int groups;
    } rows[] = {{"cpu", 0}, {"cpu", 1}, {"cpu", 7}, {"cpu", 64}};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        BT_BUF_AUTO struct bt_buf text = {0};
        JSON_AUTO struct json *j = NULL;

        assert_int_equal(inventory_write(rows[i].class, rows[i].groups, &text, NULL), 0);
        assert_int_equal(json_parse(text.p, text.n, INVENTORY_BYTES, &j, NULL), 0);
        const struct json *list = json_get(j, "accelerators");
        int64_t cores = json_i64(json_get(j, "cores"), 0);
        assert_true(cores >= 1);
        assert_int_equal(json_len(list), rows[i].groups ? rows[i].groups : cores);
        for (size_t k = 0; k < json_len(list); k++) {
            assert_string_equal(json_str(json_get(json_at(list, k), "class"), ""), "cpu");
            assert_true(strlen(json_str(json_get(json_at(list, k), "cpus"), "")) > 0);
            assert_int_equal(json_i64(json_get(json_at(list, k), "memory_bytes"), -1),
                             json_i64(json_get(j, "memory_bytes"), 0) / (int64_t)json_len(list));
        }
        assert_true(json_i64(json_get(j, "memory_bytes"), 0) > 1 << 20);
    }
}

static void put(const char *dir, const char *file, const char *text)
{
    BT_AUTO char *path = bt_printf("%s/%s", dir, file);

    assert_int_equal(bt_file_write(path, 0644, text, strlen(text), NULL), 0);
}

static void amd_gpus_are_read_from_sysfs(void **state)
{
    char sysfs[] = "/tmp/bt-sysfs-XXXXXX";
    struct gpu g[4];

    (void)state;
    assert_non_null(mkdtemp(sysfs));
    BT_AUTO char *amd = bt_printf("%s/class/drm/card1/device", sysfs);
    BT_AUTO char *intel = bt_printf("%s/class/drm/card0/device", sysfs);
    assert_int_equal(bt_mkdirs(amd, 0755, NULL), 0);
    assert_int_equal(bt_mkdirs(intel, 0755, NULL), 0);
    put(amd, "vendor", "0x1002\n");
    put(amd, "mem_info_vram_total", "206158430208\n");
    put(amd, "product_name", "AMD Instinct MI300X\n");
    put(intel, "vendor", "0x8086\n");
    assert_int_equal(inventory_amd(sysfs, g, 4), 1);
    assert_string_equal(g[0].class, "mi300x");
    assert_int_equal(g[0].memory_bytes, 206158430208);
    assert_int_equal(inventory_amd("/nonexistent", g, 4), 0);
    assert_int_equal(bt_remove_tree(sysfs, NULL), 0);
}

static void other_accelerators_are_read_from_sysfs(void **state)
{
    static const struct {
        const char *folder, *vendor, *type, *bus, *class;
    } rows[] = {
        {"accel0", "0x1da3\n", "GAUDI2\n", "0000:33:00.0\n", "gaudi2"},
        {"accel1", "0x1e52\n", NULL, NULL, "tenstorrent"},
        {"accel2", "0x8086\n", NULL, NULL, NULL}, /* a processor's own */
        {"renderD128", "0x1da3\n", NULL, NULL, NULL},
    };
    char sysfs[] = "/tmp/bt-sysfs-XXXXXX";
    struct gpu g[4];
    int seen = 0;

    (void)state;
    assert_non_null(mkdtemp(sysfs));
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        BT_AUTO char *device = bt_printf("%s/class/accel/%s/device", sysfs, rows[i].folder);

        assert_int_equal(bt_mkdirs(device, 0755, NULL), 0);
        put(device, "vendor", rows[i].vendor);
        if (rows[i].type)
            put(device, "device_type", rows[i].type);
        if (rows[i].bus)
            put(device, "pci_addr", rows[i].bus);
    }
    assert_int_equal(inventory_accel(sysfs, g, 4), 2);
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < 2; i++)
            if (bt_streq(g[k].class, rows[i].class)) {
                assert_string_equal(g[k].vendor, i ? "tenstorrent" : "habana");
                assert_string_equal(g[k].bus, i ? "" : "0000:33:00.0");
                seen |= 1 << i;
            }
    assert_int_equal(seen, 3);
    assert_int_equal(inventory_accel("/nonexistent", g, 4), 0);
    assert_int_equal(bt_remove_tree(sysfs, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gpu_is_classed_by_its_model),
        cmocka_unit_test(this_machine_offers_its_cores),
        cmocka_unit_test(amd_gpus_are_read_from_sysfs),
        cmocka_unit_test(other_accelerators_are_read_from_sysfs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
