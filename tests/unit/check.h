/* check.h - what every unit test includes, in the order that cmocka wants.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_TESTS_UNIT_CHECK_H
#define BT_TESTS_UNIT_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka after these */
#include <cmocka.h>

#endif
