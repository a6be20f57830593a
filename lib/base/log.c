/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/time.h"

static const char *program_name = "beamtime";
static enum bt_level least_level = BT_INFO;
static int log_fd = 2;

void bt_log_init(const char *program, enum bt_level least)
{
    program_name = program;
    least_level = least;
}

void bt_log_fd(int fd)
{
    log_fd = fd;
}

static void quote(struct bt_buf *b, const char *s)
{
    bt_buf_char(b, '"');
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c == '"' || c == '\\')
            bt_buf_char(b, '\\');
        if (c < 0x20 || c == 0x7f)
            bt_buf_printf(b, "\\u%04x", c);
        else
            bt_buf_char(b, (char)c);
    }
    bt_buf_char(b, '"');
}

static void pair(struct bt_buf *b, const char *key, const char *value)
{
    bt_buf_char(b, ',');
    quote(b, key);
    bt_buf_char(b, ':');
    quote(b, value ? value : "");
}

static void begin(struct bt_buf *b, enum bt_level level, const char *event)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    char when[BT_TIME_MAX];

    bt_buf_printf(b, "{\"time\":\"%s\",\"level\":\"%s\"", bt_time_format(bt_now_us(), when),
                  names[level]);
    pair(b, "program", program_name);
    pair(b, "event", event);
}

static void end(struct bt_buf *b)
{
    bt_buf_str(b, "}\n");
    if (write(log_fd, b->p, b->n) < 0)
        return; /* nowhere left to say it */
}

void bt_log(enum bt_level level, const char *event, ...)
{
    BT_BUF_AUTO struct bt_buf b = {0};
    va_list ap;

    if (level < least_level)
        return;
    begin(&b, level, event);
    va_start(ap, event);
    for (;;) {
        const char *key = va_arg(ap, const char *);

        if (!key)
            break;
        pair(&b, key, va_arg(ap, const char *));
    }
    va_end(ap);
    end(&b);
}

void bt_log_err(enum bt_level level, const char *event, const struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf b = {0};

    if (level < least_level)
        return;
    begin(&b, level, event);
    pair(&b, "code", bt_err_name(err->code));
    pair(&b, "text", err->text);
    if (err->next[0])
        pair(&b, "next", err->next);
    end(&b);
}
