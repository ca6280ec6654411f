/*
 * base/usd: US dollars as whole pico-dollars (10^-12), exact.
 *
 * Amounts are read and written digit by digit: a double would not hold them.
 */
#ifndef BASE_USD_H
#define BASE_USD_H

#include "base/buf.h"

/* A million dollars: more is refused. */
#define USD_PICO_MAX UINT64_C(1000000000000000000)

/* "1.25", "0", "2.5e-06". False, and *pico untouched, when it is no such
 * number, is larger than USD_PICO_MAX, or has more than twelve decimals. */
bool usd_read(struct str number, uint64_t *pico);

/* With its twelve decimals: "0.000002500000". */
void usd_write(struct buf *out, unsigned __int128 pico);

#endif
