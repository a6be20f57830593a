/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/inventory.h"

#include <hwloc.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/cgroup.h"
#include "lib/base/str.h"

enum { GROUPS_MAX = 64, CPUS_TEXT = 64 };

static int count(hwloc_topology_t t, hwloc_obj_type_t type)
{
    int n = hwloc_get_nbobjs_by_type(t, type);

    return n < 0 ? 0 : n;
}

static void write_numa(struct json_writer *w, hwloc_topology_t t)
{
    char cpus[256];

    jw_array(w, "numa");
    for (int i = 0; i < BT_MIN(count(t, HWLOC_OBJ_NUMANODE), 64); i++) {
        hwloc_obj_t o = hwloc_get_obj_by_type(t, HWLOC_OBJ_NUMANODE, (unsigned)i);

        if (!o)
            continue;
        hwloc_bitmap_list_snprintf(cpus, sizeof cpus, o->cpuset);
        jw_object(w, NULL);
        jw_i64(w, "id", o->os_index);
        jw_i64(w, "memory_bytes", (int64_t)o->attr->numanode.local_memory);
        jw_str(w, "cpus", cpus);
        jw_end_object(w);
    }
    jw_end_array(w);
}

static void write_cpu(struct json_writer *w, hwloc_topology_t t)
{
    hwloc_obj_t package = hwloc_get_obj_by_type(t, HWLOC_OBJ_PACKAGE, 0);
    const char *model = package ? hwloc_obj_get_info_by_name(package, "CPUModel") : NULL;

    jw_str(w, "cpu", model && bt_is_utf8(model, strlen(model)) ? model : "unknown");
    jw_i64(w, "packages", count(t, HWLOC_OBJ_PACKAGE));
    jw_i64(w, "cores", count(t, HWLOC_OBJ_CORE));
    jw_i64(w, "threads", count(t, HWLOC_OBJ_PU));
    jw_i64(w, "memory_bytes", (int64_t)hwloc_get_root_obj(t)->total_memory);
    write_numa(w, t);
}

static void write_machine(struct json_writer *w)
{
    char host[256] = "";
    struct utsname u;

    (void)gethostname(host, sizeof host - 1);
    jw_str(w, "hostname", host);
    if (uname(&u) == 0) {
        jw_str(w, "machine", u.machine);
        jw_str(w, "kernel", u.release);
    }
}

static void write_gpus(struct json_writer *w, const struct gpu *gpus, int n)
{
    jw_array(w, "gpus");
    for (int i = 0; i < n; i++) {
        jw_object(w, NULL);
        jw_str(w, "class", gpus[i].class);
        jw_str(w, "name", gpus[i].name);
        jw_str(w, "vendor", gpus[i].vendor);
        jw_str(w, "uuid", gpus[i].uuid);
        jw_str(w, "bus", gpus[i].bus);
        jw_i64(w, "memory_bytes", gpus[i].memory_bytes);
        jw_end_object(w);
    }
    jw_end_array(w);
}

/* The cores first..last-1 in hwloc's order (neighbours share caches) as a list of CPUs. */
static void cpus_of(hwloc_topology_t t, int first, int last, char out[CPUS_TEXT])
{
    hwloc_bitmap_t set = hwloc_bitmap_alloc();

    for (int i = first; i < last; i++) {
        hwloc_obj_t core = hwloc_get_obj_by_type(t, HWLOC_OBJ_CORE, (unsigned)i);

        if (core)
            hwloc_bitmap_or(set, set, core->cpuset);
    }
    if (hwloc_bitmap_list_snprintf(out, CPUS_TEXT, set) >= CPUS_TEXT)
        out[0] = '\0'; /* too ragged to say: not bound */
    hwloc_bitmap_free(set);
}

/* Its own memory; that of the machine is shared by what has none. */
static int64_t memory_of(hwloc_topology_t t, const struct gpu *gpus, int i, int n_gpus, int n)
{
    if (n_gpus)
        return gpus[i].memory_bytes;
    return (int64_t)hwloc_get_root_obj(t)->total_memory / n;
}

static void write_accelerators(struct json_writer *w, hwloc_topology_t t, const char *class,
                               const struct gpu *gpus, int n_gpus, int groups)
{
    int cores = BT_MAX(1, count(t, HWLOC_OBJ_CORE));
    int n = n_gpus ? n_gpus : BT_MIN(groups ? groups : cores, GROUPS_MAX);
    char cpus[CPUS_TEXT];

    jw_str(w, "class", class);
    jw_array(w, "accelerators");
    for (int i = 0; i < n; i++) {
        /* More groups than cores: neighbours share one. */
        int first = i * cores / n, last = BT_MAX(first + 1, (i + 1) * cores / n);

        cpus_of(t, first, last, cpus);
        jw_object(w, NULL);
        jw_i64(w, "index", i);
        jw_str(w, "class", class);
        jw_str(w, "cpus", cpus);
        jw_i64(w, "memory_bytes", memory_of(t, gpus, i, n_gpus, n));
        jw_end_object(w);
    }
    jw_end_array(w);
}

static void write_all(struct bt_buf *to, hwloc_topology_t t, const char *class, int groups)
{
    struct json_writer w = {.to = to};
    static struct gpu gpus[GPUS_MAX];
    int n = bt_streq(class, "cpu") ? 0 : inventory_gpus(gpus, GPUS_MAX);
    struct cage cage;

    cage_find(&cage, "probe");
    if (bt_streq(class, "auto"))
        class = n ? gpus[0].class : "cpu";
    jw_object(&w, NULL);
    write_machine(&w);
    write_cpu(&w, t);
    write_gpus(&w, gpus, n);
    jw_str(&w, "cgroup", cage_kind_name(cage.kind));
    write_accelerators(&w, t, class, gpus, n, groups);
    jw_end_object(&w);
}

int inventory_write(const char *class, int groups, struct bt_buf *to, struct bt_err *err)
{
    hwloc_topology_t t;

    if (hwloc_topology_init(&t) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "hwloc cannot begin");
    if (hwloc_topology_load(t) < 0) {
        hwloc_topology_destroy(t);
        return bt_fail_errno(err, BT_ERR_IO, "hwloc cannot read this machine");
    }
    write_all(to, t, class, groups);
    hwloc_topology_destroy(t);
    return to->n > INVENTORY_BYTES
               ? bt_fail(err, BT_ERR_TOO_LARGE, "the inventory has %zu bytes, at most %d go", to->n,
                         (int)INVENTORY_BYTES)
               : 0;
}
