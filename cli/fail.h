/* fail.h - how the command line says that something went wrong.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_CLI_FAIL_H
#define BT_CLI_FAIL_H

#include "cli/app.h"

/* An enum out_format, or -1 (also for NULL). */
int format_parse(const char *word);

/* Prints the error on stderr, as text or as JSON; returns the exit status. */
int fail_print(const struct app *app, const struct bt_err *err);

/* The text of it, for tests: the sentence, every missing lock and rule with the command that mends
 * it, the next step, the request and the status. */
void fail_text(const struct app *app, const struct bt_err *err, struct bt_buf *to);

#endif
