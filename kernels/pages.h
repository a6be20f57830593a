/* pages.h - large pages for the memory that products walk through.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Private to kernels/. */
#ifndef BT_KERNELS_PAGES_H
#define BT_KERNELS_PAGES_H

/* Has BLAS map its panels now, for so many threads, and asks for large pages there. */
void pages_for_products(int threads);

#endif
