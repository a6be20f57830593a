/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/clusters/papers.h"

#include <string.h>

#include "lib/base/map.h"
#include "lib/base/mem.h"

struct paper {
    struct bt_uuid job;
    char *text; /* NULL: an empty place */
    size_t n;
};

struct papers {
    struct paper ring[PAPERS_MAX];
    uint32_t first, n;   /* the oldest, and how many there are */
    size_t bytes;        /* of their texts */
    struct bt_map index; /* hash of the job -> place; of two with one hash the later */
};

static uint64_t key_of(struct bt_uuid job)
{
    return bt_map_hash(job.b, sizeof job.b);
}

struct papers *papers_new(void)
{
    return bt_new(struct papers);
}

static void drop_oldest(struct papers *p)
{
    struct paper *old = &p->ring[p->first];
    uint64_t key = key_of(old->job);
    uint32_t at;

    if (bt_map_get(&p->index, key, &at) && at == p->first)
        bt_map_del(&p->index, key);
    p->bytes -= old->n;
    bt_free(old->text);
    *old = (struct paper){.text = NULL};
    p->first = (p->first + 1) % PAPERS_MAX;
    p->n--;
}

void papers_free(struct papers *p)
{
    if (!p)
        return;
    while (p->n)
        drop_oldest(p);
    bt_map_done(&p->index);
    bt_free(p);
}

void papers_add(struct papers *p, struct bt_uuid job, const char *text)
{
    size_t n = strlen(text);
    uint32_t at;

    if (n > PAPERS_TEXT_BYTES)
        return;
    while (p->n && (p->n == PAPERS_MAX || p->bytes + n > PAPERS_BYTES))
        drop_oldest(p);
    at = (p->first + p->n++) % PAPERS_MAX;
    p->ring[at] = (struct paper){.job = job, .text = bt_strdup(text), .n = n};
    p->bytes += n;
    bt_map_put(&p->index, key_of(job), at);
}

const char *papers_find(const struct papers *p, struct bt_uuid job)
{
    uint32_t at;

    if (!bt_map_get(&p->index, key_of(job), &at) || !bt_uuid_eq(p->ring[at].job, job))
        return NULL;
    return p->ring[at].text;
}
