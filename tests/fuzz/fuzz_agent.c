/* What the agent reads from others: wants, job documents with their patterns, metrics of jobs. The
 * first byte chooses. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "agent/metrics.h"
#include "agent/node.h"
#include "agent/spec.h"
#include "lib/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void wants(const char *text, size_t n)
{
    struct wants w = {0};

    if (wants_parse(text, n, &w, NULL) == 0 &&
        (w.seq < 0 || !w.items || (w.trial.id && w.trial.rank >= w.trial.world)))
        abort();
    wants_done(&w);
}

static void document(const char *text, size_t n)
{
    struct spec s;

    if (spec_parse(text, n, &s, NULL) < 0)
        return;
    (void)spec_wants(&s, "a/b/c.txt");
    spec_done(&s);
}

static void grant(const char *text, size_t n)
{
    struct spec s = {.root = NULL};

    if (spec_granted(text, n, &s, NULL) == 0)
        for (int i = 0; i < s.n_datasets; i++)
            if (*s.dataset_path[i] != '/')
                abort();
    spec_done(&s);
}

/* The input's two halves: a pattern and a path; "**" matches whatever is left. */
static void pattern(const char *text)
{
    const char *path = strchr(text, '\n');

    if (!path)
        return;
    BT_AUTO char *glob = bt_strndup(text, (size_t)(path - text));
    BT_AUTO char *all = bt_printf("%s**", "");
    (void)spec_glob(glob, path + 1);
    if (!spec_glob(all, path + 1))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    char out[METRICS_JSON_MAX];

    if (n == 0)
        return 0;
    BT_AUTO char *text = bt_alloc(n, 1); /* one byte less, and a NUL */
    if (n > 1)
        memcpy(text, p + 1, n - 1);
    switch (p[0] & 3) {
    case 0:
        wants(text, n - 1);
        break;
    case 1:
        document(text, n - 1);
        grant(text, n - 1);
        break;
    case 2:
        pattern(text);
        break;
    default:
        metrics_last(text, n - 1, out);
        if (strlen(out) < 2)
            abort();
    }
    return 0;
}
