/* The machine now: a heat map with one cell an accelerator, and the same in words.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A node is a row of cells, a leaf a column of nodes, a pod a box of leaves. Cells of one state are
 * one path, and neighbours in a row one run of it: 100,000 cells are some 300 KB and one request,
 * without a script. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/http/pages/html.h"
#include "daemon/http/pages/pages.h"
#include "lib/base/attr.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

enum {
    WIDTH = 620,  /* cells in a row of pods */
    LABEL = 8,    /* above a pod */
    GAP = 6,      /* between pods */
    MAX_ACC = 64, /* of a node */
};

enum cell { CELL_IDLE, CELL_BUSY, CELL_LEAVING, CELL_OUT, CELL_DOWN, CELLS };

static const struct {
    const char *name, *class, *fill;
} cells[CELLS] = {
    [CELL_IDLE] = {"free", "c-idle", "#cfd8e6"},
    [CELL_BUSY] = {"at work", "c-busy", "#1b7a43"},
    [CELL_LEAVING] = {"draining", "c-leaving", "#e8b04b"},
    [CELL_OUT] = {"drained", "c-out", "#8d99ab"},
    [CELL_DOWN] = {"down or broken", "c-down", "#c3271d"},
};

struct unit { /* a node */
    const char *site, *state;
    int64_t pod, leaf;
    uint64_t all, busy;
    uint32_t n;
};

struct pod {
    const char *site;
    int64_t pod;
    uint32_t first, n; /* of units */
    uint32_t width, height, x, y;
    uint32_t cells[CELLS], n_cells, nodes_lost;
};

struct machine {
    struct unit *units;
    struct pod *pods;
    uint32_t n_units, n_pods, cap_pods, width, height;
    uint32_t cells[CELLS], n_cells;
};

/* ---- from JSON ---- */

static enum cell cell_of(const struct unit *u, uint32_t acc)
{
    uint64_t bit = UINT64_C(1) << acc;

    if (bt_streq(u->state, "down") || !(u->all & bit))
        return CELL_DOWN;
    if (u->busy & bit)
        return CELL_BUSY;
    if (bt_streq(u->state, "up"))
        return CELL_IDLE;
    return bt_streq(u->state, "draining") ? CELL_LEAVING : CELL_OUT;
}

static struct unit unit_of(const struct json *a)
{
    int64_t n = json_i64(json_at(a, 3), 0);

    return (struct unit){.site = json_str(json_at(a, 0), ""),
                         .pod = json_i64(json_at(a, 1), 0),
                         .leaf = json_i64(json_at(a, 2), 0),
                         .n = (uint32_t)BT_MAX(0, BT_MIN(n, MAX_ACC)),
                         .all = (uint64_t)json_i64(json_at(a, 4), 0),
                         .busy = (uint64_t)json_i64(json_at(a, 5), 0),
                         .state = json_str(json_at(a, 6), "")};
}

static void count(struct machine *m, struct pod *p, const struct unit *u)
{
    for (uint32_t k = 0; k < u->n; k++) {
        enum cell c = cell_of(u, k);

        p->cells[c]++;
        m->cells[c]++;
    }
    p->n_cells += u->n;
    m->n_cells += u->n;
    p->nodes_lost += !bt_streq(u->state, "up");
}

static bool same_leaf(const struct unit *a, const struct unit *b)
{
    return a->pod == b->pod && a->leaf == b->leaf && bt_streq(a->site, b->site);
}

/* Where a leaf lies in its pod. */
struct spot {
    uint32_t x, y, tall; /* tall: of this row of leaves */
};

/* From unit `i` on: the units of one leaf, their widest and their number; the next leaf's spot. */
static uint32_t next_leaf(const struct machine *m, uint32_t i, uint32_t end, struct spot *s,
                          struct spot *ret_at)
{
    uint32_t k = i, wide = 0;

    for (; k < end && same_leaf(&m->units[i], &m->units[k]); k++)
        wide = BT_MAX(wide, m->units[k].n);
    if (s->x && s->x + wide > WIDTH) {
        s->y += s->tall + 1;
        s->x = s->tall = 0;
    }
    *ret_at = *s;
    s->x += wide + 1;
    s->tall = BT_MAX(s->tall, k - i);
    return k;
}

static void measure(const struct machine *m, struct pod *p)
{
    struct spot s = {0}, at;

    for (uint32_t i = p->first; i < p->first + p->n;) {
        i = next_leaf(m, i, p->first + p->n, &s, &at);
        p->width = BT_MAX(p->width, s.x - 1);
    }
    p->height = s.y + s.tall;
    p->width = BT_MAX(p->width, 40); /* room for its label */
}

static void arrange(struct machine *m)
{
    uint32_t x = 0, y = 0, tall = 0;

    for (uint32_t i = 0; i < m->n_pods; i++) {
        struct pod *p = &m->pods[i];

        measure(m, p);
        if (x && x + p->width > WIDTH) {
            y += tall + GAP;
            x = tall = 0;
        }
        p->x = x;
        p->y = y;
        x += p->width + GAP;
        tall = BT_MAX(tall, p->height + LABEL);
        m->width = BT_MAX(m->width, x - GAP);
    }
    m->height = y + tall;
}

/* The nodes come sorted by site, pod and leaf. */
static struct machine machine_of(const struct json *j)
{
    const struct json *v = json_get(j, "nodes");
    struct machine m = {.n_units = (uint32_t)json_len(v)};

    m.units = bt_new_n(struct unit, m.n_units + 1);
    for (uint32_t i = 0; i < m.n_units; i++) {
        struct unit *u = &m.units[i];
        struct pod *p = m.n_pods ? &m.pods[m.n_pods - 1] : NULL;

        *u = unit_of(json_at(v, i));
        if (!p || p->pod != u->pod || !bt_streq(p->site, u->site)) {
            BT_GROW(m.pods, m.n_pods, m.cap_pods);
            p = &m.pods[m.n_pods++];
            *p = (struct pod){.site = u->site, .pod = u->pod, .first = i};
        }
        p->n++;
        count(&m, p, u);
    }
    arrange(&m);
    return m;
}

static void machine_done(struct machine *m)
{
    bt_free(m->units);
    bt_free(m->pods);
}

static double percent(uint32_t part, uint32_t of)
{
    return of ? 100.0 * part / of : 0;
}

/* ---- the picture ---- */

static void draw_node(struct bt_buf *path, const struct unit *u, uint32_t x, uint32_t y)
{
    for (uint32_t k = 0, end; k < u->n; k = end) {
        enum cell c = cell_of(u, k);

        for (end = k + 1; end < u->n && cell_of(u, end) == c; end++)
            ;
        bt_buf_printf(&path[c], "M%u %uh%uv1h-%uz", x + k, y, end - k, end - k);
    }
}

static void draw_pod(struct bt_buf *path, const struct machine *m, const struct pod *p)
{
    struct spot s = {0}, at;

    for (uint32_t i = p->first; i < p->first + p->n;) {
        uint32_t end = next_leaf(m, i, p->first + p->n, &s, &at);

        for (uint32_t k = 0; i < end; i++, k++)
            draw_node(path, &m->units[i], p->x + at.x, p->y + LABEL + at.y + k);
    }
}

/* Pixels of a cell: a small machine is drawn larger. */
static uint32_t scale(const struct machine *m)
{
    return m->width > WIDTH / 2 ? 2 : m->width > 60 ? 4 : 8;
}

void page_machine_svg(struct bt_buf *to, const struct json *machine)
{
    struct machine m = machine_of(machine);
    struct bt_buf path[CELLS] = {{0}};
    uint32_t px = scale(&m);

    bt_buf_printf(to,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" "
                  "viewBox=\"0 0 %u %u\" role=\"img\" aria-labelledby=\"t\">\n"
                  "<title id=\"t\">%u accelerators, %.1f %% at work, %u down or broken</title>\n"
                  "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
                  m.width * px, m.height * px, m.width, m.height, m.n_cells,
                  percent(m.cells[CELL_BUSY], m.n_cells), m.cells[CELL_DOWN]);
    for (uint32_t i = 0; i < m.n_pods; i++)
        draw_pod(path, &m, &m.pods[i]);
    for (int c = 0; c < CELLS; c++) {
        if (path[c].n)
            bt_buf_printf(to, "<path shape-rendering=\"crispEdges\" fill=\"%s\" d=\"%s\"/>\n",
                          cells[c].fill, bt_buf_text(&path[c]));
        bt_buf_done(&path[c]);
    }
    bt_buf_str(to, "<g font-family=\"sans-serif\" font-size=\"6\" fill=\"#1a2230\">\n");
    for (uint32_t i = 0; i < m.n_pods; i++)
        bt_buf_printf(to, "<text x=\"%u\" y=\"%u\">pod %" PRId64 ": %.0f %%</text>\n", m.pods[i].x,
                      m.pods[i].y + 6, m.pods[i].pod,
                      percent(m.pods[i].cells[CELL_BUSY], m.pods[i].n_cells));
    bt_buf_str(to, "</g>\n</svg>\n");
    machine_done(&m);
}

/* ---- the page ---- */

static void tiles(struct bt_buf *to, const struct machine *m)
{
    char text[32];

    bt_buf_str(to, "<div class=\"tiles\">\n");
    for (int c = 0; c < CELLS; c++)
        bt_buf_printf(
            to, "<div><b>%s</b><span><i class=\"cell %s\"></i> %s, %.1f&nbsp;%%</span></div>\n",
            bt_format_thousands(m->cells[c], text), cells[c].class, cells[c].name,
            percent(m->cells[c], m->n_cells));
    bt_buf_str(to, "</div>\n");
}

static void lost_row(struct bt_buf *to, const struct unit *u, uint32_t nodes, uint32_t acc)
{
    bt_buf_str(to, "<tr><td class=\"w\">");
    html_text(to, u->site);
    bt_buf_printf(to, "</td><td class=\"n\">%" PRId64 "</td><td class=\"n\">%" PRId64 "</td><td>",
                  u->pod, u->leaf);
    html_text(to, u->state);
    bt_buf_printf(to, "</td><td class=\"n\">%u</td><td class=\"n\">%u</td></tr>\n", nodes, acc);
}

/* Nodes that are not up, by leaf and state: one row each. */
static void lost(struct bt_buf *to, const struct machine *m)
{
    bool any = false;

    for (uint32_t i = 0, end; i < m->n_units; i = end) {
        for (end = i + 1; end < m->n_units && same_leaf(&m->units[i], &m->units[end]); end++)
            ;
        for (uint32_t k = i; k < end; k++) {
            uint32_t nodes = 0, acc = 0, first = UINT32_MAX;

            for (uint32_t o = i; o < end; o++) {
                if (!bt_streq(m->units[o].state, m->units[k].state))
                    continue;
                first = BT_MIN(first, o);
                nodes++;
                acc += m->units[o].n;
            }
            if (first != k || bt_streq(m->units[k].state, "up"))
                continue;
            if (!any)
                bt_buf_str(to, "<h2>Out of work</h2>\n<div class=\"scroll\"><table>\n<thead><tr>"
                               "<th>Site</th><th class=\"n\">Pod</th><th class=\"n\">Leaf</th>"
                               "<th>State</th><th class=\"n\">Nodes</th>"
                               "<th class=\"n\">Accelerators</th></tr></thead>\n<tbody>\n");
            any = true;
            lost_row(to, &m->units[k], nodes, acc);
        }
    }
    bt_buf_str(to, any ? "</tbody></table></div>\n"
                       : "<h2>Out of work</h2>\n<p>Every node is up.</p>\n");
}

static void pods(struct bt_buf *to, const struct machine *m)
{
    bt_buf_str(to, "<h2>Pods</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th>Site</th>"
                   "<th class=\"n\">Pod</th><th class=\"n\">Nodes</th>"
                   "<th class=\"n\">not up</th><th class=\"n\">Accelerators</th>"
                   "<th class=\"n\">at work</th><th class=\"n\">at work, %</th></tr></thead>\n"
                   "<tbody>\n");
    for (uint32_t i = 0; i < m->n_pods; i++) {
        const struct pod *p = &m->pods[i];

        bt_buf_str(to, "<tr><td class=\"w\">");
        html_text(to, p->site);
        bt_buf_printf(to,
                      "</td><td class=\"n\">%" PRId64 "</td><td class=\"n\">%u</td>"
                      "<td class=\"n\">%u</td><td class=\"n\">%u</td><td class=\"n\">%u</td>"
                      "<td class=\"n\">%.1f</td></tr>\n",
                      p->pod, p->n, p->nodes_lost, p->n_cells, p->cells[CELL_BUSY],
                      percent(p->cells[CELL_BUSY], p->n_cells));
    }
    bt_buf_str(to, "</tbody></table></div>\n");
}

static void datasets(struct bt_buf *to, const struct json *list)
{
    if (json_len(list) == 0)
        return;
    bt_buf_str(to, "<h2>Data sets</h2>\n<p>A job that asks for one runs only at a site that holds "
                   "it.</p>\n<div class=\"scroll\"><table>\n<thead><tr><th>Name</th><th>Site</th>"
                   "<th class=\"n\">Size</th><th class=\"wide\">SHA-256 of its manifest</th></tr>"
                   "</thead>\n<tbody>\n");
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *one = json_at(list, i);
        int64_t bytes = json_i64(json_get(one, "bytes"), 0);

        bt_buf_str(to, "<tr><td class=\"w\">");
        html_text(to, json_str(json_get(one, "name"), ""));
        bt_buf_str(to, "</td><td>");
        html_text(to, json_str(json_get(one, "site"), ""));
        bt_buf_str(to, "</td><td class=\"n\">");
        if (bytes)
            html_bytes(to, bytes);
        bt_buf_str(to, "</td><td class=\"mono wide\">");
        html_text(to, json_str(json_get(one, "sha256"), ""));
        bt_buf_str(to, "</td></tr>\n");
    }
    bt_buf_str(to, "</tbody></table></div>\n");
}

void page_machine(struct bt_buf *to, const char *facility, const struct json *machine)
{
    struct machine m = machine_of(machine);
    char text[32];

    html_begin(to, facility, "The machine now");
    bt_buf_printf(to,
                  "<h1>The machine now</h1>\n<p class=\"lead\">%s accelerators, each a cell: a "
                  "node is a row of cells, a leaf switch a column of nodes, a pod a box.</p>\n",
                  bt_format_thousands(m.n_cells, text));
    tiles(to, &m);
    if (m.n_cells)
        bt_buf_printf(to,
                      "<figure class=\"map\"><img src=\"/machine.svg\" width=\"%u\" height=\"%u\" "
                      "alt=\"Heat map: %.1f per cent of %u accelerators are at work, %u are down "
                      "or broken; the tables below say the same by leaf and pod\"></figure>\n",
                      m.width * scale(&m), m.height * scale(&m),
                      percent(m.cells[CELL_BUSY], m.n_cells), m.n_cells, m.cells[CELL_DOWN]);
    lost(to, &m);
    pods(to, &m);
    datasets(to, json_get(machine, "datasets"));
    html_end(to);
    machine_done(&m);
}
