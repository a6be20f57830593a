/* inventory.h - what this node is made of and what it offers, as JSON.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * hwloc and the vendors' libraries keep megabytes for themselves, so the agent runs the
 * inventory in a process of its own and reads what it prints. */
#ifndef BT_AGENT_INVENTORY_H
#define BT_AGENT_INVENTORY_H

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/json/json.h"

enum { INVENTORY_BYTES = 64 * 1024, GPUS_MAX = 64 };

struct gpu {
    char class[16]; /* "h200", "mi300x" */
    char name[96];
    char uuid[64];
    char bus[24]; /* PCI address */
    int64_t memory_bytes;
    const char *vendor; /* "nvidia", "amd", "habana" … */
};

/* Appends {"hostname","machine","kernel","memory_bytes","packages","cores","threads","numa":[…],
 * "gpus":[…],"cgroup","class","accelerators":[{"index","class","cpus","memory_bytes"}…]}. `class`
 * "auto" or a name; `groups` of cores when there are no GPUs, 0 for one a core (at most 64). */
int inventory_write(const char *class, int groups, struct bt_buf *to,
                    struct bt_err *err) BT_MUSTUSE;

/* NVIDIA's through NVML, AMD's and others through sysfs, of the first kind that is there; 0 when
 * there are none or their libraries are not installed. */
int inventory_gpus(struct gpu *ret, int max);
int inventory_nvidia(struct gpu *ret, int max);
int inventory_amd(const char *sysfs, struct gpu *ret, int max);
/* What the kernel has as compute accelerators (ASICs), by sysfs; their memory is not told there. */
int inventory_accel(const char *sysfs, struct gpu *ret, int max);

/* "NVIDIA H200 NVL" → "h200": the first word that has a digit, without the vendor's; else the
 * last word. */
void inventory_class(const char *name, char out[16]);

#endif
