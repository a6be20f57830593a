/* train_fixture.h - a folder with a small corpus, and runs of beamtime-train in it.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_TESTS_TRAIN_FIXTURE_H
#define BT_TESTS_TRAIN_FIXTURE_H

#include "tests/unit/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/base/buf.h"
#include "tests/unit/port.h"

enum { FILE_MAX = 1 << 26, ANSWER_MS = 60000 };

/* Which of several ranks a process is; zeroed: the only one. */
struct place_in_world {
    int rank, world;
    uint16_t port;
};

struct place {
    char *dir, *corpus, *program;
};

void write_text(const struct place *p, const char *name, const void *text, size_t n);
int train_set_up(void **state);
int train_tear_down(void **state);
/* Starts a run into dir/name with steps of a tiny model; metrics may be NULL; extra is one more
 * --set or NULL. What rank 0 says goes to dir/said. */
pid_t launch_rank(const struct place *p, const char *name, const char *metrics, const char *extra,
                  struct place_in_world in);
pid_t launch(const struct place *p, const char *name, const char *metrics, const char *extra);
int finish(pid_t pid);
void read_output(const struct place *p, const char *name, struct bt_buf *to);
void assert_same_file(const struct place *p, const char *a, const char *b);
void remove_file(const struct place *p, const char *name);
/* Reads the pipe until the line of step `step` has come; false when the run ended before. */
bool await_step(int fd, int step);
/* Half-written files below dir/name: there are never any when a run has ended by itself. */
int count_leftovers(const struct place *p, const char *name);
/* One line that names the program, at most one more with the next step. */
void assert_one_sentence(const struct place *p, const char *file, const char *wanted);
/* Runs the program with other arguments than launch's; returns its status, dir/said what it said.
 */
int run_with(const struct place *p, char *const args[]);
void write_secret(const struct place *p);

#endif
