/* main.c - beamtimed: reads its settings, starts the facility, waits for signals.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "daemon/facility.h"
#include "daemon/upkeep.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/str.h"

static int complain(const struct bt_err *err)
{
    fprintf(stderr, "beamtimed: %s\n", err->text);
    if (err->next[0])
        fprintf(stderr, "  next: %s\n", err->next);
    return bt_err_exit(err->code);
}

/* Plans of many jobs come and go as large arrays: they go back to the system at once, and threads
 * share a few heaps instead of keeping one each. */
static void tame_malloc(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
    (void)mallopt(M_ARENA_MAX, 2);
}

/* As many connections as the system lets us have. */
static void raise_descriptors(void)
{
    struct rlimit l;

    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &l) < 0)
            bt_log(BT_WARN, "descriptors-not-raised", NULL);
    }
}

/* Signals come as reads of a descriptor: blocked before any thread starts, in all of them. */
static int take_signals(struct bt_err *err)
{
    sigset_t set;
    int fd;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL))
        return bt_fail(err, BT_ERR_INTERNAL, "cannot block signals");
    signal(SIGPIPE, SIG_IGN);
    fd = signalfd(-1, &set, SFD_CLOEXEC);
    return fd < 0 ? bt_fail_errno(err, BT_ERR_IO, "cannot wait for signals") : fd;
}

static int wait_for_end(struct facility *f, int signals, struct bt_err *err)
{
    struct pollfd fds[2] = {{.fd = signals, .events = POLLIN},
                            {.fd = facility_event_fd(f), .events = POLLIN}};

    for (;;) {
        int rc;

        if (poll(fds, 2, 1000) < 0 && errno != EINTR)
            return bt_fail_errno(err, BT_ERR_IO, "cannot wait for signals");
        if (fds[0].revents & POLLIN) {
            struct signalfd_siginfo info;

            if (read(signals, &info, sizeof info) == sizeof info && info.ssi_signo != SIGHUP) {
                bt_log(BT_INFO, "stopping", "signal", strsignal((int)info.ssi_signo), NULL);
                return 0;
            }
        }
        rc = facility_poll(f, err);
        if (rc < 0)
            return rc;
    }
}

static int serve(const struct settings *set)
{
    struct facility *f = NULL;
    struct bt_err err = {0};
    int signals = take_signals(&err);
    int rc;

    if (signals < 0)
        return complain(&err);
    raise_descriptors();
    tame_malloc();
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) /* keys must not reach a core file */
        bt_log(BT_WARN, "dumpable", NULL);
    do {
        err = (struct bt_err){0};
        rc = facility_start(set, &f, &err);
        if (rc < 0)
            return complain(&err);
        bt_log(BT_INFO, "serving", "facility", set->facility, "state_dir", set->state_dir, NULL);
        rc = wait_for_end(f, signals, &err);
        if (rc < 0)
            bt_log_err(BT_ERROR, "fatal", &err);
        facility_stop(f);
    } while (rc == -BT_ERR_BEHIND); /* the next life only reads */
    close(signals);
    bt_log(BT_INFO, "stopped", NULL);
    return rc < 0 ? bt_err_exit(err.code) : 0;
}

int main(int argc, char **argv)
{
    struct settings set;
    struct conf_args args = {0};
    struct bt_err err = {0};
    int status;

    bt_log_init("beamtimed", BT_INFO);
    conf_init(&settings_table, &set);
    if (conf_args(&settings_table, &set, argc, argv, &args, &err) < 0) {
        status = complain(&err);
    } else if (args.print.n) {
        status = fwrite(args.print.p, 1, args.print.n, stdout) == args.print.n ? 0 : 1;
    } else {
        const char *command = args.n_rest ? args.rest[0] : "serve";

        bt_log_init("beamtimed", (enum bt_level)set.log_level);
        if (bt_streq(command, "serve") && args.n_rest <= 1) {
            status = serve(&set);
        } else if (upkeep_knows(command, args.n_rest)) {
            int n = upkeep(&set, command, args.n_rest > 1 ? args.rest[1] : NULL, &err);

            status = n < 0 ? complain(&err) : n > 0;
        } else {
            bt_fail(&err, BT_ERR_USAGE, "'%s' is not a command", command);
            bt_next(&err, -BT_ERR_USAGE, "beamtimed --help");
            status = complain(&err);
        }
    }
    conf_args_done(&args);
    conf_done(&settings_table, &set);
    return status;
}
