/* help.h - help and shell completion, made from the command table.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_CLI_HELP_H
#define BT_CLI_HELP_H

#include "cli/args.h"
#include "lib/base/buf.h"

void help_all(const struct cli_cmd *commands, struct bt_buf *to);
void help_noun(const struct cli_cmd *commands, const char *noun, struct bt_buf *to);
void help_command(const struct cli_cmd *cmd, struct bt_buf *to);

void complete_bash(const struct cli_cmd *commands, struct bt_buf *to);
void complete_zsh(const struct cli_cmd *commands, struct bt_buf *to);
/* A manual page in troff. */
void help_man(const struct cli_cmd *commands, struct bt_buf *to);

#endif
