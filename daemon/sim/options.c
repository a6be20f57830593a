/* options.c - the command line, the facility file and the nations file.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A facility file has a line for each group of equal pods, words in any order, `#` comments:
 *     pods=25 leaves=16 nodes=32 accelerators=8 class=0 tier=4 site=0
 * (nodes: of one leaf; accelerators: of one node). A list of nodes with the columns
 * sn,cpu_milli,memory_mib,gpu,model is read as one pod, 32 nodes a leaf, a class for each model.
 * A nations file has a line for each nation: name,guaranteed accelerators,weight. */
#include "daemon/sim/options.h"

#include <getopt.h>
#include <stdio.h>

#include "lib/base/attr.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

#include <zlib.h>

enum { MAX_FILE = 64 << 20, MAX_NATIONS = 4096 };

static const char *const names[] = {"fifo", "sjf", "easy", "conservative", "bestfit", "beamtime"};

static const char help[] =
    "usage: beamtime-sim (--facility FILE | --accelerators N) (--trace FILE | --sacct FILE)\n"
    "                    [--policy fifo|sjf|easy|conservative|bestfit|beamtime] [options]\n"
    "\n"
    "Replays a history of jobs (our CSV, SWF, sacct -P; gzipped or not) with a virtual clock.\n"
    "\n"
    "  --no-topology          one pool of accelerators instead of nodes of 8 in leaves and pods\n"
    "  --exact-walltimes      jobs ask for exactly as long as they run\n"
    "  --nations FILE         name,guaranteed,weight; a job belongs to the nation of its group\n"
    "  --fair-share           each group (or user) of the trace is a nation of equal weight\n"
    "  --owned-percent P      share of a nation's jobs that ask to run on its guarantee (50)\n"
    "  --arrived-percent P    jobs drawn from the trace arrive until P % of the capacity has been\n"
    "                         asked for, and none leaves: how much is allocated?\n"
    "  --seed N               of that draw\n"
    "  --promise-slack S      promise = first plan + max(S, wait x percent / 100); 3600\n"
    "  --promise-percent P    100\n"
    "  --plan-every S         seconds of facility time between full plans; 60\n"
    "  --timeline FILE        use and queue over time as CSV\n"
    "  --plot FILE            the same as SVG\n"
    "  --json                 one JSON object on stdout\n";

const char *policy_name(enum sim_policy p)
{
    return names[p];
}

enum option_key {
    O_FACILITY = 256,
    O_ACCELERATORS,
    O_TRACE,
    O_SACCT,
    O_POLICY,
    O_NO_TOPOLOGY,
    O_EXACT,
    O_SEED,
    O_ARRIVED,
    O_NATIONS,
    O_FAIR,
    O_OWNED,
    O_SLACK,
    O_PERCENT,
    O_EVERY,
    O_TIMELINE,
    O_PLOT,
    O_JSON,
    O_HELP
};

static const struct option longs[] = {{"facility", 1, NULL, O_FACILITY},
                                      {"accelerators", 1, NULL, O_ACCELERATORS},
                                      {"trace", 1, NULL, O_TRACE},
                                      {"sacct", 1, NULL, O_SACCT},
                                      {"policy", 1, NULL, O_POLICY},
                                      {"no-topology", 0, NULL, O_NO_TOPOLOGY},
                                      {"exact-walltimes", 0, NULL, O_EXACT},
                                      {"seed", 1, NULL, O_SEED},
                                      {"arrived-percent", 1, NULL, O_ARRIVED},
                                      {"nations", 1, NULL, O_NATIONS},
                                      {"fair-share", 0, NULL, O_FAIR},
                                      {"owned-percent", 1, NULL, O_OWNED},
                                      {"promise-slack", 1, NULL, O_SLACK},
                                      {"promise-percent", 1, NULL, O_PERCENT},
                                      {"plan-every", 1, NULL, O_EVERY},
                                      {"timeline", 1, NULL, O_TIMELINE},
                                      {"plot", 1, NULL, O_PLOT},
                                      {"json", 0, NULL, O_JSON},
                                      {"help", 0, NULL, O_HELP},
                                      {0}};

static int parse_policy(const char *s, enum sim_policy *ret, struct bt_err *err)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(names); i++) {
        if (!bt_streq(s, names[i]))
            continue;
        *ret = (enum sim_policy)i;
        return 0;
    }
    return bt_fail(err, BT_ERR_USAGE, "unknown policy %s", s);
}

static int parse_one(int c, struct sim_options *o, struct bt_err *err)
{
    int64_t seed;
    int rc = 0;
    switch (c) {
    case O_FACILITY:
        o->facility = optarg;
        break;
    case O_TRACE:
        o->trace = optarg;
        break;
    case O_SACCT:
        o->trace = optarg;
        o->sacct = true;
        break;
    case O_NATIONS:
        o->nations = optarg;
        break;
    case O_TIMELINE:
        o->timeline = optarg;
        break;
    case O_PLOT:
        o->plot = optarg;
        break;
    case O_NO_TOPOLOGY:
        o->no_topology = true;
        break;
    case O_EXACT:
        o->exact = true;
        break;
    case O_FAIR:
        o->fair_share = true;
        break;
    case O_JSON:
        o->json = true;
        break;
    case O_POLICY:
        return parse_policy(optarg, &o->policy, err);
    case O_ARRIVED:
        return bt_parse_f64(optarg, "--arrived-percent", &o->arrived_percent, err);
    case O_ACCELERATORS:
        return bt_parse_i64(optarg, "--accelerators", 1, 8 << 20, &o->accelerators, err);
    case O_OWNED:
        return bt_parse_i64(optarg, "--owned-percent", 0, 100, &o->owned_percent, err);
    case O_SLACK:
        return bt_parse_i64(optarg, "--promise-slack", 0, 86400 * 365, &o->slack_s, err);
    case O_PERCENT:
        return bt_parse_i64(optarg, "--promise-percent", 0, 10000, &o->slack_percent, err);
    case O_EVERY:
        return bt_parse_i64(optarg, "--plan-every", 1, 86400, &o->plan_every_s, err);
    case O_SEED:
        rc = bt_parse_i64(optarg, "--seed", 0, INT64_MAX, &seed, err);
        if (rc >= 0)
            o->seed = (uint64_t)seed;
        break;
    default:
        return bt_fail(err, BT_ERR_USAGE, "see beamtime-sim --help");
    }
    return rc;
}

int options_parse(int argc, char **argv, struct sim_options *o, struct bt_err *err)
{
    *o = (struct sim_options){.policy = SIM_BEAMTIME,
                              .seed = 1,
                              .slack_s = 3600,
                              .slack_percent = 100,
                              .plan_every_s = 60,
                              .owned_percent = 50};
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        if (c == O_HELP) {
            fputs(help, stdout);
            return 1;
        }
        int rc = parse_one(c, o, err);
        if (rc < 0)
            return rc;
    }
    if (!o->trace || (!o->facility && !o->accelerators) || optind != argc)
        return bt_next(err, bt_fail(err, BT_ERR_USAGE, "a facility and a trace are needed"),
                       "see beamtime-sim --help");
    return 0;
}

/* ---- the facility ---- */

struct nodes {
    struct plan_node *v;
    uint32_t n, cap, n_leaves, n_pods;
};

static void add_pod(struct nodes *to, uint32_t leaves, uint32_t per_leaf, struct plan_node node)
{
    node.pod = to->n_pods++;
    for (uint32_t l = 0; l < leaves; l++) {
        node.leaf = to->n_leaves++;
        for (uint32_t i = 0; i < per_leaf; i++) {
            BT_GROW(to->v, to->n, to->cap);
            to->v[to->n++] = node;
        }
    }
}

static struct plan_node node_of(uint32_t acc)
{
    uint64_t mask = acc >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << acc) - 1;
    return (struct plan_node){.usable_mask = mask, .free_mask = mask, .tier = 4};
}

static int facility_line(struct nodes *to, char *line, struct bt_err *err)
{
    static const char *const keys[] = {"pods",  "leaves", "nodes", "accelerators",
                                       "class", "tier",   "site"};
    static const int64_t max[] = {65536, 65536, 65536, 64, 31, 15, 1024};
    int64_t v[] = {1, 1, 1, 8, 0, 4, 0};
    for (char *word; (word = strsep(&line, " \t")) != NULL;) {
        char *value = strchr(word, '=');
        if (!*word)
            continue;
        size_t k = 0;
        if (value)
            *value++ = '\0';
        while (k < BT_ARRAY_LEN(keys) && !bt_streq(word, keys[k]))
            k++;
        if (!value || k == BT_ARRAY_LEN(keys))
            return bt_fail(err, BT_ERR_INVALID, "unknown word %.40s in the facility file", word);
        int rc = bt_parse_i64(value, keys[k], k < 4 ? 1 : 0, max[k], &v[k], err);
        if (rc < 0)
            return rc;
    }
    if ((int64_t)to->n + v[0] * v[1] * v[2] > PLAN_MAX_NODES)
        return bt_fail(err, BT_ERR_TOO_LARGE, "more than %d nodes", PLAN_MAX_NODES);
    struct plan_node node = node_of((uint32_t)v[3]);
    node.accel_class = (uint8_t)v[4];
    node.tier = (uint8_t)v[5];
    node.site = (uint32_t)v[6];
    for (int64_t p = 0; p < v[0]; p++)
        add_pod(to, (uint32_t)v[1], (uint32_t)v[2], node);
    return 0;
}

/* One line of a list of nodes: sn,cpu_milli,memory_mib,gpu,model. */
static int list_line(struct nodes *to, struct bt_map *models, char *line, struct bt_err *err)
{
    char *f[5] = {line};
    for (int i = 1; i < 5; i++) {
        f[i] = f[i - 1] ? strchr(f[i - 1], ',') : NULL;
        if (f[i])
            *f[i]++ = '\0';
    }
    int64_t acc;
    if (!f[4] || bt_parse_i64(f[3], "gpu", 0, PLAN_MAX_ACC, &acc, err) < 0)
        return bt_fail(err, BT_ERR_INVALID, "the list of nodes has a malformed line");
    if (!acc)
        return 0;
    uint32_t model;
    uint64_t key = bt_map_hash(f[4], strlen(f[4]));
    if (!bt_map_get(models, key, &model)) {
        model = (uint32_t)BT_MIN(models->n, PLAN_MAX_CLASS - 1);
        bt_map_put(models, key, model);
    }
    if (to->n == PLAN_MAX_NODES)
        return bt_fail(err, BT_ERR_TOO_LARGE, "more than %d nodes", PLAN_MAX_NODES);
    struct plan_node node = node_of((uint32_t)acc);
    node.accel_class = (uint8_t)model;
    node.leaf = to->n / 32;
    BT_GROW(to->v, to->n, to->cap);
    to->v[to->n++] = node;
    return 0;
}

static int read_text(const char *path, struct bt_buf *to, struct bt_err *err)
{
    gzFile f = gzopen(path, "rbe");
    if (!f)
        return bt_fail_errno(err, BT_ERR_NOT_FOUND, "cannot open %s", path);
    to->max = MAX_FILE;
    int n = 0;
    for (char *room; (room = bt_buf_room(to, 4096)) != NULL && (n = gzread(f, room, 4096)) > 0;)
        to->n += (size_t)n;
    gzclose(f);
    bt_buf_char(to, '\n');
    return to->over || n < 0 ? bt_fail(err, BT_ERR_CORRUPT, "%s cannot be read", path) : 0;
}

static int load_facility(const char *path, struct nodes *to, struct bt_err *err)
{
    struct bt_buf text BT_BUF_AUTO = {0};
    struct bt_map models = {0};
    int rc = read_text(path, &text, err);
    bool list = false;
    char *rest = text.p;
    for (char *line; rc >= 0 && (line = strsep(&rest, "\n")) != NULL;) {
        line[strcspn(line, "\r#")] = '\0';
        if (!line[strspn(line, " \t")])
            continue;
        if (bt_starts(line, "sn,"))
            list = true;
        else
            rc = list ? list_line(to, &models, line, err) : facility_line(to, line, err);
    }
    bt_map_done(&models);
    if (rc >= 0 && !to->n)
        return bt_fail(err, BT_ERR_INVALID, "%s describes no nodes", path);
    return rc;
}

static void pool_facility(struct nodes *to, int64_t n)
{
    for (; n > 0; n -= 64) {
        add_pod(to, 1, (uint32_t)BT_MIN(n, 64), node_of(1));
        to->n_pods = 0;
    }
}

static void tree_facility(struct nodes *to, int64_t n)
{
    for (int64_t nodes = (n + 7) / 8, i = 0; nodes > 0; nodes -= 32, i++) {
        to->n_pods = (uint32_t)(i / 16);
        add_pod(to, 1, (uint32_t)BT_MIN(nodes, 32), node_of(8));
    }
}

static int make_facility(const struct sim_options *o, struct sim *s, struct bt_err *err)
{
    struct nodes nodes = {0};
    int rc = o->facility ? load_facility(o->facility, &nodes, err) : 0;
    int64_t acc = o->accelerators;
    for (uint32_t i = 0; i < nodes.n; i++)
        acc += __builtin_popcountll(nodes.v[i].usable_mask);
    if (rc >= 0 && o->no_topology) {
        bt_free(nodes.v);
        nodes = (struct nodes){0};
        pool_facility(&nodes, acc);
    } else if (rc >= 0 && !o->facility) {
        tree_facility(&nodes, acc);
    }
    s->nodes = nodes.v;
    s->n_nodes = nodes.n;
    for (uint32_t i = 0; i < nodes.n; i++)
        s->capacity += (uint32_t)__builtin_popcountll(nodes.v[i].usable_mask);
    return rc;
}

/* ---- nations and jobs ---- */

static uint32_t add_nation(struct sim *s, uint32_t *cap, const char *name, int64_t guaranteed,
                           int64_t weight)
{
    BT_GROW(s->nations, s->n_nations, *cap);
    s->nations[s->n_nations] =
        (struct sim_nation){.name = bt_strdup(name), .guaranteed = guaranteed, .weight = weight};
    return s->n_nations++;
}

static int load_nations(const char *path, struct sim *s, uint32_t *cap, struct bt_err *err)
{
    struct bt_buf text BT_BUF_AUTO = {0};
    int rc = read_text(path, &text, err);
    char *rest = text.p;
    for (char *line; rc >= 0 && (line = strsep(&rest, "\n")) != NULL;) {
        line[strcspn(line, "\r#")] = '\0';
        char *name = strsep(&line, ","), *g = strsep(&line, ","), *w = strsep(&line, ",");
        int64_t guaranteed, weight = 1;
        if (!*name || bt_streq(name, "name"))
            continue;
        if (!g || s->n_nations == MAX_NATIONS)
            return bt_fail(err, BT_ERR_INVALID, "nation %.40s: name,guaranteed,weight", name);
        if ((rc = bt_parse_i64(g, "guaranteed", 0, INT32_MAX, &guaranteed, err)) >= 0 && w)
            rc = bt_parse_i64(w, "weight", 1, INT32_MAX, &weight, err);
        if (rc >= 0)
            add_nation(s, cap, name, guaranteed, weight);
    }
    return rc;
}

/* The nation of each name of the trace; made on first sight. */
static uint32_t nation_of(struct sim *s, uint32_t *cap, const struct trace *t, uint32_t name,
                          uint32_t *of)
{
    if (name == UINT32_MAX)
        return PLAN_NONE;
    for (uint32_t i = 0; of[name] == PLAN_NONE && i < s->n_nations; i++)
        if (bt_streq(s->nations[i].name, t->names[name]))
            of[name] = i;
    if (of[name] == PLAN_NONE && s->n_nations < MAX_NATIONS)
        of[name] = add_nation(s, cap, t->names[name], 0, 1);
    return of[name];
}

static void make_jobs(struct sim_options *o, struct sim *s, const struct trace *t, uint32_t *cap)
{
    uint32_t *of BT_AUTO = bt_new_n(uint32_t, t->n_names + 1);
    for (uint32_t i = 0; i < t->n_names; i++)
        of[i] = PLAN_NONE;
    bool nations = o->nations || o->fair_share;
    s->jobs = bt_new_n(struct sim_job, t->n_jobs + 1);
    s->n_jobs = t->n_jobs;
    for (uint32_t i = 0; i < t->n_jobs; i++) {
        const struct trace_job *j = &t->jobs[i];
        int64_t limit = o->exact ? j->duration_s : j->walltime_s;
        limit = BT_MIN(limit, PLAN_MAX_WALLTIME_S);
        uint32_t name = j->group == UINT32_MAX ? j->user : j->group;
        uint32_t nation = nations ? nation_of(s, cap, t, name, of) : PLAN_NONE;
        s->jobs[i] = (struct sim_job){
            .submit_s = j->submit_s,
            .run_s = BT_MIN(j->duration_s, limit),
            .walltime_s = limit,
            .start_s = -1,
            .promise_s = -1,
            .first_plan_s = -1,
            .acc = j->acc,
            .nation = nation,
            .owned = nation != PLAN_NONE && s->nations[nation].guaranteed > 0 &&
                     i * INT64_C(2654435761) % 4294967296 * 100 / 4294967296 < o->owned_percent};
    }
}

int options_load(struct sim_options *o, struct sim *s, struct bt_err *err)
{
    struct trace t = {0};
    uint32_t cap = 0;
    int rc = make_facility(o, s, err);
    if (rc >= 0 && o->nations)
        rc = load_nations(o->nations, s, &cap, err);
    if (rc >= 0)
        rc = trace_read(o->trace, &t, err);
    if (rc < 0)
        return rc;
    o->has_walltimes = t.has_walltimes;
    if (!t.has_walltimes && !o->exact && !o->arrived_percent)
        fprintf(stderr, "the trace has no requested times: durations serve as walltimes\n");
    if (t.n_skipped)
        fprintf(stderr, "%u lines without a whole accelerator or a run time were left out\n",
                t.n_skipped);
    make_jobs(o, s, &t, &cap);
    s->fair_share = o->nations || o->fair_share;
    s->slack_s = (uint32_t)o->slack_s;
    s->slack_percent = (uint32_t)o->slack_percent;
    s->plan_every_s = (uint32_t)o->plan_every_s;
    trace_done(&t);
    return 0;
}

void options_unload(const struct sim_options *o, struct sim *s)
{
    (void)o;
    for (uint32_t i = 0; i < s->n_nations; i++)
        bt_free(s->nations[i].name);
    bt_free(s->nations);
    bt_free(s->jobs);
    bt_free(s->nodes);
    bt_free(s->samples);
}
