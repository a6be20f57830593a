/* GPUs without any of their headers: NVML by dlopen with our own prototypes (NVIDIA Management
 * Library reference, nvml.h of release 12), AMD's by sysfs.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <ctype.h>
#include <dlfcn.h>
#include <string.h>

#include "agent/dir.h"
#include "agent/inventory.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

struct nvml_memory {
    unsigned long long total, free, used;
};

struct nvml_pci {
    char bus_id_legacy[16];
    unsigned int domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
};

struct nvml {
    int (*init)(void);
    int (*shutdown)(void);
    int (*count)(unsigned int *n);
    int (*handle)(unsigned int index, void **device);
    int (*name)(void *device, char *out, unsigned int size);
    int (*uuid)(void *device, char *out, unsigned int size);
    int (*memory)(void *device, struct nvml_memory *out);
    int (*pci)(void *device, struct nvml_pci *out);
};

/* dlsym gives an object pointer for a function; POSIX promises that the copy works. */
static bool bind(void *library, const char *symbol, void *to, size_t size)
{
    void *p = dlsym(library, symbol);

    memcpy(to, &p, size);
    return p != NULL;
}
#define BIND(lib, field, symbol) bind((lib), (symbol), &(field), sizeof(field))

static bool load(void *library, struct nvml *n)
{
    return BIND(library, n->init, "nvmlInit_v2") && BIND(library, n->shutdown, "nvmlShutdown") &&
           BIND(library, n->count, "nvmlDeviceGetCount_v2") &&
           BIND(library, n->handle, "nvmlDeviceGetHandleByIndex_v2") &&
           BIND(library, n->name, "nvmlDeviceGetName") &&
           BIND(library, n->uuid, "nvmlDeviceGetUUID") &&
           BIND(library, n->memory, "nvmlDeviceGetMemoryInfo") &&
           BIND(library, n->pci, "nvmlDeviceGetPciInfo_v3");
}

/* The next run of letters and digits of *p in lower case; false at the end. ret_model: it has both.
 */
static bool next_word(const char **p, char word[64], bool *ret_model)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    static const char digits[] = "0123456789";
    size_t n;

    *p += strcspn(*p, alphabet);
    n = strspn(*p, alphabet);
    (void)snprintf(word, 64, "%.*s", (int)BT_MIN(n, 63), *p);
    *p += n;
    for (char *c = word; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    *ret_model = word[strcspn(word, digits)] != '\0' && word[strspn(word, digits)] != '\0';
    return n > 0;
}

void inventory_class(const char *name, char out[16])
{
    char word[64];
    bool model = false;

    bt_copy(out, 16, "gpu");
    while (!model && next_word(&name, word, &model))
        bt_copy(out, 16, word);
}

static bool read_one(const struct nvml *v, unsigned int i, struct gpu *g)
{
    struct nvml_memory memory = {0};
    struct nvml_pci pci = {0};
    void *device;

    *g = (struct gpu){.vendor = "nvidia"};
    if (v->handle(i, &device) || v->name(device, g->name, sizeof g->name))
        return false;
    inventory_class(g->name, g->class);
    if (v->uuid(device, g->uuid, sizeof g->uuid))
        g->uuid[0] = '\0';
    if (v->memory(device, &memory) == 0)
        g->memory_bytes = (int64_t)memory.total;
    if (v->pci(device, &pci) == 0)
        bt_copy(g->bus, sizeof g->bus, pci.bus_id);
    return true;
}

int inventory_nvidia(struct gpu *ret, int max)
{
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    struct nvml v;
    unsigned int count = 0;
    int n = 0;

    if (!library)
        return 0;
    if (load(library, &v) && v.init() == 0) {
        if (v.count(&count) == 0)
            for (unsigned int i = 0; i < count && n < max; i++)
                n += read_one(&v, i, &ret[n]);
        (void)v.shutdown();
    }
    dlclose(library);
    return n;
}

/* First line of a small file; false if it is not there. */
static bool line_of(const char *dir, const char *file, char *out, size_t size)
{
    BT_AUTO char *path = bt_printf("%s/%s", dir, file);
    BT_BUF_AUTO struct bt_buf b = {0};

    if (bt_file_read(path, 4096, &b, NULL) < 0 || b.n == 0)
        return false;
    b.p[strcspn(b.p, "\n")] = '\0';
    bt_copy(out, size, b.p);
    return true;
}

/* <sysfs>/class/drm/cardN/device of AMD's vendor id that compute (they have VRAM and a
 * compute partition or are render nodes). */
static bool read_amd(const char *device, struct gpu *g)
{
    char text[96];

    *g = (struct gpu){.vendor = "amd"};
    if (!line_of(device, "vendor", text, sizeof text) || !bt_streq(text, "0x1002") ||
        !line_of(device, "mem_info_vram_total", text, sizeof text))
        return false;
    if (bt_parse_i64(text, "vram", 0, INT64_MAX, &g->memory_bytes, NULL) < 0)
        return false;
    if (!line_of(device, "product_name", g->name, sizeof g->name) || !*g->name)
        bt_copy(g->name, sizeof g->name, "AMD GPU");
    inventory_class(bt_starts(g->name, "AMD ") ? g->name + 4 : g->name, g->class);
    (void)line_of(device, "unique_id", g->uuid, sizeof g->uuid);
    (void)line_of(device, "pci_slot_name", g->bus, sizeof g->bus);
    return true;
}

/* <sysfs>/class/CLASS/PREFIX<number>/device, each as its reader sees it. */
static int each_device(const char *sysfs, const char *class, const char *prefix,
                       bool (*reader)(const char *device, struct gpu *g), struct gpu *ret, int max)
{
    BT_AUTO char *folder = bt_printf("%s/class/%s", sysfs, class);
    DIR *dir = opendir(folder);
    struct dirent *e;
    int n = 0;

    while (dir && n < max && (e = dir_next(dir))) {
        BT_AUTO char *device = bt_printf("%s/%s/device", folder, e->d_name);

        if (bt_starts(e->d_name, prefix) && !strchr(e->d_name, '-')) /* card0-DP-1: a connector */
            n += reader(device, &ret[n]);
    }
    if (dir)
        closedir(dir);
    return n;
}

int inventory_amd(const char *sysfs, struct gpu *ret, int max)
{
    return each_device(sysfs, "drm", "card", read_amd, ret, max);
}

/* Who makes accelerators for machine rooms, by PCI vendor id; NULL: what else is there (the
 * neural units of desktop processors) runs no jobs. */
static const char *vendor_of(const char *id)
{
    static const char *const known[][2] = {
        {"0x1da3", "habana"}, {"0x1e52", "tenstorrent"}, {"0x17cb", "qualcomm"}};

    for (size_t i = 0; i < BT_ARRAY_LEN(known); i++)
        if (bt_streq(id, known[i][0]))
            return known[i][1];
    return NULL;
}

/* <sysfs>/class/accel/accelN/device: the kernel's subsystem for compute accelerators that are no
 * GPUs (Documentation/accel). Their model is what the driver calls device_type, where it does. */
static bool read_accel(const char *device, struct gpu *g)
{
    char id[16];

    *g = (struct gpu){.memory_bytes = 0};
    if (!line_of(device, "vendor", id, sizeof id))
        return false;
    g->vendor = vendor_of(id);
    if (!g->vendor)
        return false;
    if (line_of(device, "device_type", g->name, sizeof g->name) && *g->name)
        inventory_class(g->name, g->class);
    else
        bt_copy(g->class, sizeof g->class, g->vendor);
    if (!*g->name)
        bt_copy(g->name, sizeof g->name, g->vendor);
    (void)line_of(device, "pci_addr", g->bus, sizeof g->bus);
    return true;
}

int inventory_accel(const char *sysfs, struct gpu *ret, int max)
{
    return each_device(sysfs, "accel", "accel", read_accel, ret, max);
}

int inventory_gpus(struct gpu *ret, int max)
{
    int n = inventory_nvidia(ret, max);

    n = n ? n : inventory_amd("/sys", ret, max);
    return n ? n : inventory_accel("/sys", ret, max);
}
