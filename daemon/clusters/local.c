/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/clusters/local.h"

#include <pthread.h>
#include <string.h>

#include "daemon/clusters/papers.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/json/json.h"

struct entry {
    struct want want; /* places is NULL */
    uint64_t mask;
    int64_t seq; /* of its node, when it came */
};

/* Documents go with the wants until the answer has so many bytes; the others are asked for. */
enum { WITH_DOCUMENTS_BYTES = 256 * 1024 };

struct node {
    char name[64];
    int64_t seq;
    struct entry *entries;
    struct view_trial trial; /* id 0: none */
    size_t n, cap;
};

struct wants_board {
    pthread_mutex_t lock;
    struct bt_map index; /* hash of the name, then the next free key, -> nodes */
    struct node **nodes;
    size_t n, cap;
    struct papers *papers;
    int64_t base; /* seq of a node that never had a want */
};

static const char *const actions[] = {
    [WANT_RUN] = "run",
    [WANT_STOP] = "stop",
    [WANT_GONE] = "gone",
};

struct wants_board *board_new(int64_t now_us)
{
    struct wants_board *b = bt_new(struct wants_board);

    pthread_mutex_init(&b->lock, NULL);
    b->papers = papers_new();
    b->base = now_us;
    return b;
}

void board_free(struct wants_board *board)
{
    if (!board)
        return;
    for (size_t i = 0; i < board->n; i++) {
        bt_free(board->nodes[i]->entries);
        bt_wipe(&board->nodes[i]->trial, sizeof board->nodes[i]->trial);
        bt_free(board->nodes[i]);
    }
    bt_free(board->nodes);
    bt_map_done(&board->index);
    papers_free(board->papers);
    pthread_mutex_destroy(&board->lock);
    bt_free(board);
}

/* The node of that name; NULL if there is none. ret_key is where it is or would be. */
static struct node *find(const struct wants_board *b, const char *name, uint64_t *ret_key)
{
    uint64_t key = bt_map_hash(name, strlen(name));
    uint32_t i;

    for (; bt_map_get(&b->index, key, &i); key++)
        if (bt_streq(b->nodes[i]->name, name))
            break;
    *ret_key = key;
    return bt_map_get(&b->index, key, &i) ? b->nodes[i] : NULL;
}

/* Index in b->nodes. */
static size_t find_or_add(struct wants_board *b, const char *name)
{
    uint64_t key;
    uint32_t i;
    struct node *node = find(b, name, &key);

    if (node && bt_map_get(&b->index, key, &i))
        return i;
    if (b->n == b->cap) {
        b->cap = b->cap ? 2 * b->cap : 8;
        b->nodes = bt_realloc(b->nodes, b->cap, sizeof(struct node *)); /* NOLINT: of pointers */
    }
    node = bt_new(struct node);
    bt_copy(node->name, sizeof node->name, name);
    node->seq = b->base;
    bt_map_put(&b->index, key, (uint32_t)b->n);
    b->nodes[b->n] = node;
    return b->n++;
}

/* In two steps: the index may be of an array that has just moved. */
static struct node *node_of(struct wants_board *b, const char *name)
{
    size_t i = find_or_add(b, name);

    return b->nodes[i];
}

static bool same(const struct entry *a, const struct entry *b)
{
    return a->mask == b->mask && a->want.action == b->want.action &&
           a->want.walltime_s == b->want.walltime_s && a->want.grace_s == b->want.grace_s &&
           a->want.signal == b->want.signal && a->want.tier == b->want.tier &&
           a->want.accelerators == b->want.accelerators && a->want.number == b->want.number &&
           bt_streq(a->want.unixname, b->want.unixname) && bt_streq(a->want.kind, b->want.kind);
}

static struct entry *entry_of(struct node *node, const struct want *w)
{
    for (size_t i = 0; i < node->n; i++)
        if (bt_uuid_eq(node->entries[i].want.job, w->job) &&
            node->entries[i].want.attempt == w->attempt)
            return &node->entries[i];
    return NULL;
}

/* Puts one want into its node's list; true if the list changed. */
static bool put(struct node *node, const struct want *w)
{
    struct entry new = {.want = *w, .seq = node->seq + 1};
    struct entry *old = entry_of(node, w);

    new.want.places = NULL;
    new.want.hosts = NULL;
    new.mask = w->n_places > 0 && w->places ? w->places[0].mask : 0;
    if (w->action == WANT_GONE) {
        if (!old)
            return false;
        size_t left = node->n - 1 - (size_t)(old - node->entries);
        memmove(old, old + 1, left * sizeof *old);
        node->n--;
        return !w->told; /* who said it sees it in the next list, and is not woken for it */
    }
    if (old) {
        if (!new.mask) /* a STOP names no places: it stops what runs */
            new.mask = old->mask;
        if (same(old, &new))
            return false;
        new.seq = old->seq;
        *old = new;
        return true;
    }
    BT_GROW(node->entries, node->n, node->cap);
    node->entries[node->n++] = new;
    return true;
}

void board_apply(struct wants_board *board, const struct want *wants, int n)
{
    pthread_mutex_lock(&board->lock);
    for (int i = 0; i < n; i++) {
        struct node *node = node_of(board, wants[i].node);

        if (put(node, &wants[i]))
            node->seq++;
    }
    pthread_mutex_unlock(&board->lock);
}

void board_trials(struct wants_board *board, const struct view_trial *trials, int n)
{
    pthread_mutex_lock(&board->lock);
    for (int i = 0; i < n; i++) {
        struct node *node = node_of(board, trials[i].node);

        node->trial = trials[i];
        node->seq++;
    }
    pthread_mutex_unlock(&board->lock);
}

void board_full(struct wants_board *board, const struct want *wants, int n)
{
    pthread_mutex_lock(&board->lock);
    for (size_t i = 0; i < board->n; i++) {
        board->nodes[i]->n = 0;
        board->nodes[i]->trial = (struct view_trial){.id = 0};
    }
    for (int i = 0; i < n; i++)
        put(node_of(board, wants[i].node), &wants[i]);
    for (size_t i = 0; i < board->n; i++)
        board->nodes[i]->seq++;
    pthread_mutex_unlock(&board->lock);
}

static void write_entry(struct json_writer *w, const struct entry *e, const char *document)
{
    char mask[20];

    (void)snprintf(mask, sizeof mask, "%llx", (unsigned long long)e->mask);
    jw_object(w, NULL);
    jw_uuid(w, "job", &e->want.job);
    jw_i64(w, "number", e->want.number);
    jw_i64(w, "attempt", e->want.attempt);
    jw_str(w, "action", actions[e->want.action]);
    jw_str(w, "kind", e->want.kind);
    jw_i64(w, "walltime_s", e->want.walltime_s);
    jw_i64(w, "grace_s", e->want.grace_s);
    jw_i64(w, "signal", e->want.signal);
    jw_i64(w, "tier", e->want.tier);
    jw_i64(w, "accelerators", e->want.accelerators);
    jw_i64(w, "nodes", e->want.n_places);
    jw_str(w, "mask", mask);
    jw_str(w, "unixname", e->want.unixname);
    if (document)
        jw_str(w, "document", document);
    jw_end_object(w);
}

static void write_trial(struct json_writer *w, const struct view_trial *t)
{
    jw_object(w, "trial");
    jw_i64(w, "id", t->id);
    jw_i64(w, "rank", t->rank);
    jw_i64(w, "world", t->world);
    jw_i64(w, "deadline_s", t->deadline_s);
    jw_str(w, "address", t->address);
    jw_str(w, "secret", t->secret);
    jw_end_object(w);
}

void board_document(struct wants_board *board, struct bt_uuid job, const char *text)
{
    pthread_mutex_lock(&board->lock);
    papers_add(board->papers, job, text);
    pthread_mutex_unlock(&board->lock);
}

/* The lock is held. */
static void write_node(const struct wants_board *b, const struct node *node,
                       const struct board_ask *ask, int64_t seq, struct bt_buf *json)
{
    struct json_writer w = {.to = json};

    jw_object(&w, NULL);
    jw_i64(&w, "seq", seq);
    jw_array(&w, "wants");
    for (size_t i = 0; node && i < node->n; i++) {
        const struct entry *e = &node->entries[i];
        bool with = ask->documents && e->want.action == WANT_RUN && e->seq > ask->after &&
                    json->n < WITH_DOCUMENTS_BYTES;

        write_entry(&w, e, with ? papers_find(b->papers, e->want.job) : NULL);
    }
    jw_end_array(&w);
    if (node && node->trial.id)
        write_trial(&w, &node->trial);
    jw_end_object(&w);
}

bool board_get(struct wants_board *board, const char *node, const struct board_ask *ask,
               struct bt_buf *json, int64_t *ret_seq)
{
    uint64_t key;

    pthread_mutex_lock(&board->lock);
    const struct node *nd = find(board, node, &key);
    int64_t seq = nd ? nd->seq : board->base;
    bool differs = seq != ask->after;
    if (differs && json)
        write_node(board, nd, ask, seq, json);
    pthread_mutex_unlock(&board->lock);
    if (ret_seq)
        *ret_seq = seq;
    return differs;
}
