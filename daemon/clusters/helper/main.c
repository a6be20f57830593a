/* beamtime-slurm: speaks to one Slurm cluster for the daemon, over the socket that is its standard
 * input. SPDX-License-Identifier: GPL-3.0-or-later
 *
 *   beamtime-slurm /path/to/slurm.conf
 *
 * libslurm ends the process on a bad configuration, blocks for up to MessageTimeout and knows one
 * cluster a process: that is why this is a program of its own. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "daemon/clusters/helper/serve.h"
#include "lib/base/str.h"

enum { KEPT_BYTES = 16 << 20 };

/* What could not be opened is said in the protocol, so that people read it at the site. */
static int say(const struct bt_err *e, int fd)
{
    struct calls none = {0};
    struct wire_reply hello = {.code = e->code};
    struct bt_err err = {0};

    bt_copy(hello.text, sizeof hello.text, e->text);
    bt_copy(hello.next, sizeof hello.next, e->next);
    (void)shutdown(fd, SHUT_RD);
    if (serve_fd(&none, &hello, fd, &err) < 0)
        (void)fprintf(stderr, "beamtime-slurm: %s\n", err.text);
    (void)fprintf(stderr, "beamtime-slurm: %s\n", e->text);
    return bt_err_exit(e->code);
}

int main(int argc, char **argv)
{
    struct cluster *cluster = NULL;
    struct wire_reply hello = {0};
    struct calls calls;
    struct bt_err err = {0};
    int rc;

    if (argc != 2 || argv[1][0] != '/') {
        (void)fprintf(stderr, "usage: beamtime-slurm /path/to/slurm.conf (the daemon starts it)\n");
        return 2;
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* libslurm takes and frees some hundred KiB a call: that memory shall not go to the kernel and
     * back each time (a fifth of a submission's time). */
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
    (void)mallopt(M_MMAP_THRESHOLD, KEPT_BYTES);
    (void)signal(SIGPIPE, SIG_IGN);
    rc = cluster_open(argv[1], &cluster, &hello, &err);
    if (rc < 0)
        return say(&err, 0);
    cluster_calls(cluster, &calls);
    rc = serve_fd(&calls, &hello, 0, &err);
    cluster_close(cluster);
    if (rc < 0)
        (void)fprintf(stderr, "beamtime-slurm: %s\n", err.text);
    return rc < 0;
}
