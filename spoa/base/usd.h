/*
 * base/usd: amounts of US dollars as whole pico-dollars (10^-12 USD).
 *
 * Prices are given per million tokens, so the price of one token has up to
 * twelve decimals. Amounts are exact: they are read and written digit by
 * digit, because a double cannot represent most decimal fractions and a bill
 * must add up.
 */
#ifndef BASE_USD_H
#define BASE_USD_H

#include "base/buf.h"

/* The largest amount that is read: a million dollars. It fits a uint64_t and
 * leaves room for sums in an unsigned __int128. */
#define USD_PICO_MAX UINT64_C(1000000000000000000)

/* Read an amount as JSON and price lists write it: "1.25", "0", "2.5e-06".
 * False, with *pico untouched, when the text is not such a number, is negative,
 * exceeds USD_PICO_MAX, or needs more than twelve decimals: rounding a price
 * would make every bill wrong. */
bool usd_read(struct str number, uint64_t *pico);

/* Append the amount in dollars with twelve decimals: "0.000002500000". */
void usd_write(struct buf *out, unsigned __int128 pico);

#endif
