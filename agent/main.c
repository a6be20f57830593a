/* beamtime-agent: keeps a node for the facility. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/carry.h"
#include "agent/enrol.h"
#include "agent/inventory.h"
#include "agent/link_http.h"
#include "agent/node.h"
#include "agent/settings.h"
#include "agent/shepherd.h"
#include "agent/slurm.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

/* What people read: one sentence, and the next step. */
static int say(const struct bt_err *e)
{
    (void)fprintf(stderr, "beamtime-agent: %s\n", e->text);
    if (*e->next)
        (void)fprintf(stderr, "  next: %s\n", e->next);
    return bt_err_exit(e->code);
}

/* Runs `beamtime-agent inventory` as a child: its megabytes go with it. */
static int read_inventory(const struct settings *set, struct bt_buf *to, struct bt_err *err)
{
    char groups[24];
    int p[2], status = 0;

    (void)snprintf(groups, sizeof groups, "%lld", (long long)set->accelerators);
    if (pipe2(p, O_CLOEXEC) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot make a pipe");
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(p[1], 1);
        execl("/proc/self/exe", "beamtime-agent", "--accelerators", groups, "--class", set->class,
              "inventory", (char *)NULL);
        _exit(127);
    }
    close(p[1]);
    BT_FD_AUTO int from = p[0];
    if (pid < 0)
        return bt_fail_errno(err, BT_ERR_BUSY, "cannot fork");
    for (;;) {
        char *room = bt_buf_room(to, 4096);
        ssize_t n = room ? read(from, room, 4096) : 0;

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || to->n + (size_t)n > INVENTORY_BYTES)
            break;
        to->n += (size_t)n;
    }
    if (waitpid(pid, &status, 0) < 0 || status != 0 || to->n == 0)
        return bt_next(err, bt_fail(err, BT_ERR_IO, "the inventory failed with status %d", status),
                       "beamtime-agent inventory");
    bt_buf_add(to, "", 0); /* ends it */
    return 0;
}

/* From the inventory: what may run where. */
static int make_plan(const struct settings *set, struct node_plan *ret, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    BT_BUF_AUTO struct bt_buf boot = {0};
    JSON_AUTO struct json *j = NULL;
    struct node_plan p = {0};
    int rc = read_inventory(set, &text, err);

    if (rc == 0)
        rc = json_parse(text.p, text.n, INVENTORY_BYTES, &j, err);
    if (rc == 0)
        rc = bt_file_read("/proc/sys/kernel/random/boot_id", 64, &boot, err);
    if (rc < 0)
        return rc;
    const struct json *list = json_get(j, "accelerators");
    p.accelerators = (int)BT_MIN(json_len(list), ACCELERATORS_MAX);
    for (int i = 0; i < p.accelerators; i++)
        bt_copy(p.cpus[i], sizeof p.cpus[i],
                json_str(json_get(json_at(list, (size_t)i), "cpus"), ""));
    p.gpus = json_len(json_get(j, "gpus")) > 0;
    bt_copy(p.class, sizeof p.class, json_str(json_get(j, "class"), "cpu"));
    bt_copy(p.boot_id, sizeof p.boot_id, bt_buf_text(&boot));
    p.boot_id[strcspn(p.boot_id, "\n")] = '\0';
    while (text.n && text.p[text.n - 1] == '\n')
        text.p[--text.n] = '\0';
    p.inventory = bt_buf_take(&text);
    *ret = p;
    return 0;
}

/* Paths that jobs see must hold wherever they stand. */
static int settle_paths(struct settings *set, struct bt_err *err)
{
    char path[PATH_MAX];

    if (set->state_dir[0] != '/') {
        if (!getcwd(path, sizeof path))
            return bt_fail_errno(err, BT_ERR_IO, "cannot tell the present folder");
        char *full = bt_printf("%s/%s", path, set->state_dir);
        bt_free(set->state_dir);
        set->state_dir = full;
    }
    if (!set->libexec_dir || !*set->libexec_dir) {
        ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

        if (n < 0)
            return bt_fail_errno(err, BT_ERR_IO, "cannot tell where this program lies");
        path[n] = '\0';
        *strrchr(path, '/') = '\0';
        bt_free(set->libexec_dir);
        set->libexec_dir = bt_strdup(path);
    }
    return 0;
}

static int run_agent(struct settings *set, struct bt_err *err)
{
    struct node_plan plan = {0};
    struct link_maker maker;
    struct link_http *http = NULL;
    int rc = settle_paths(set, err);

    if (rc == 0)
        rc = make_plan(set, &plan, err);
    if (rc == 0)
        rc = link_http_new(set, plan.node, sizeof plan.node, &http, &maker, err);
    if (rc == 0)
        rc = node_run(set, &plan, &maker, err);
    link_http_free(http);
    node_plan_done(&plan);
    return rc;
}

static int run_helper(struct settings *set, const char *slurm_conf, struct bt_err *err)
{
    int rc = settle_paths(set, err);

    return rc < 0 ? rc : carry_run(set, slurm_conf, err);
}

static int print_inventory(const struct settings *set, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    int rc = inventory_write(set->class, (int)set->accelerators, &text, err);

    bt_buf_char(&text, '\n');
    return rc < 0 ? rc : bt_write_all(1, text.p, text.n, err);
}

/* The words behind the options. */
static int run_word(struct settings *set, int n, char **words, struct bt_err *err)
{
    const char *word = n ? words[0] : "run";

    if (bt_streq(word, "run") && n <= 1)
        return run_agent(set, err);
    if (bt_streq(word, "inventory") && n == 1)
        return print_inventory(set, err);
    if (bt_streq(word, "shepherd") && n == 2)
        return shepherd_run(words[1], err);
    if (bt_streq(word, "clean") && n == 2)
        return shepherd_clean(words[1], err);
    if (bt_streq(word, "helper") && n == 2)
        return run_helper(set, words[1], err);
    if (bt_streq(word, "enrol") && n == 1)
        return enrol_run(set, err);
    return bt_next(err, bt_fail(err, BT_ERR_USAGE, "\"%s\" is no use of this program", word),
                   "beamtime-agent --help");
}

int main(int argc, char **argv)
{
    struct settings set;
    struct conf_args args = {0};
    struct bt_err err = {0};
    int rc;

    if (argc > 2 && bt_streq(argv[1], "rank")) /* what follows are the rank's own words */
        return slurm_rank(argc - 2, argv + 2, &err) < 0 ? say(&err) : 0;
    conf_init(&settings_table, &set);
    rc = conf_args(&settings_table, &set, argc, argv, &args, &err);
    bt_log_init("beamtime-agent", rc < 0 ? BT_INFO : (enum bt_level)set.log_level);
    if (rc == 0 && args.print.n)
        rc = bt_write_all(1, args.print.p, args.print.n, &err);
    else if (rc == 0)
        rc = run_word(&set, args.n_rest, args.rest, &err);
    conf_args_done(&args);
    conf_done(&settings_table, &set);
    return rc < 0 ? say(&err) : 0;
}
