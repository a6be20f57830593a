/* banned.h - makes calls that have no safe use fail to compile; force-included into every C file.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_BASE_BANNED_H
#define BT_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BT_BANNED(f) sorry_##f##_is_banned_see_lib_base_banned_h

#undef strcpy
#define strcpy(d, s) BT_BANNED(strcpy)
#undef strcat
#define strcat(d, s) BT_BANNED(strcat)
#undef strncpy
#define strncpy(d, s, n) BT_BANNED(strncpy)
#undef strtok
#define strtok(s, d) BT_BANNED(strtok)
#undef sprintf
#define sprintf(...) BT_BANNED(sprintf)
#undef vsprintf
#define vsprintf(...) BT_BANNED(vsprintf)
#undef atoi
#define atoi(s) BT_BANNED(atoi)
#undef atol
#define atol(s) BT_BANNED(atol)
#undef gmtime
#define gmtime(t) BT_BANNED(gmtime)
#undef localtime
#define localtime(t) BT_BANNED(localtime)
#undef ctime
#define ctime(t) BT_BANNED(ctime)

#endif
