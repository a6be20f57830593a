/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/core/phrase.h"

#include <assert.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"

struct phrase {
    char *text; /* owned; NULL: nobody uses it */
    uint32_t uses;
    uint32_t next; /* id of the next that nobody uses */
};

void phrases_done(struct phrases *p)
{
    for (uint32_t i = 0; i < p->n; i++)
        bt_free(p->v[i].text);
    bt_free(p->v);
    bt_map_done(&p->index);
    *p = (struct phrases){0};
}

static uint64_t key_of(const char *text)
{
    return bt_map_hash(text, strlen(text));
}

static uint32_t place(struct phrases *p)
{
    uint32_t id = p->unused;

    if (id) {
        p->unused = p->v[id - 1].next;
        return id;
    }
    BT_GROW(p->v, p->n, p->cap);
    return ++p->n;
}

uint32_t phrase_use(struct phrases *p, const char *text)
{
    uint64_t key = key_of(text);
    uint32_t at;
    bool taken = bt_map_get(&p->index, key, &at);
    uint32_t id;

    if (taken && bt_streq(p->v[at].text, text)) {
        p->v[at].uses++;
        return at + 1;
    }
    id = place(p);
    p->v[id - 1] = (struct phrase){.text = bt_strdup(text), .uses = 1};
    if (!taken)
        bt_map_put(&p->index, key, id - 1);
    return id;
}

void phrase_leave(struct phrases *p, uint32_t id)
{
    struct phrase *f;
    uint64_t key;
    uint32_t at;

    if (!id)
        return;
    f = &p->v[id - 1];
    assert(f->uses > 0);
    if (--f->uses)
        return;
    key = key_of(f->text);
    if (bt_map_get(&p->index, key, &at) && at == id - 1)
        (void)bt_map_del(&p->index, key);
    bt_free(f->text);
    *f = (struct phrase){.next = p->unused};
    p->unused = id;
}

const char *phrase_text(const struct phrases *p, uint32_t id)
{
    return id ? p->v[id - 1].text : NULL;
}
