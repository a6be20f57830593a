/* fuzz_trainconfig.c - a training configuration: refused, or printed so that it reads back the
 * same. SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/train/config.h"
#include "lib/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int resolve(char *text, struct config *c)
{
    struct config_asked asked = {0};
    int rc = config_text(&asked, text, "input", NULL);

    if (rc == 0)
        rc = config_resolve(c, &asked, NULL);
    config_asked_done(&asked);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    BT_BUF_AUTO struct bt_buf first = {0}, second = {0};
    BT_AUTO char *text = NULL, *printed = NULL;
    struct config c = {0}, again = {0};

    if (n > CONFIG_FILE_MAX)
        return 0;
    text = bt_strndup((const char *)data, n);
    if (resolve(text, &c) < 0)
        return 0;
    config_print(&c, &first);
    printed = bt_strdup(bt_buf_text(&first));
    if (resolve(printed, &again) < 0)
        abort();
    config_print(&again, &second);
    if (strcmp(bt_buf_text(&first), bt_buf_text(&second)) != 0)
        abort();
    return 0;
}
