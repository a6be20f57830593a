/* collective_none.c - built where NCCL's header is not: ranks on GPUs cannot meet.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "kernels/cuda/backend.h"

int back_coll_open(struct cuda *c, struct coll *meet, int64_t timeout_us, struct coll **ret,
                   struct bt_err *err)
{
    (void)c;
    (void)meet;
    (void)timeout_us;
    (void)ret;
    return bt_fail(err, BT_ERR_UNSUPPORTED, "this module was built without NCCL");
}
