/*
 * usage/price: what a request costs.
 *
 *   input   = text + cached + cache writes + audio + pictures
 *   output  = text + reasoning + audio + pictures
 *
 * Each part has a rate of its own (conf/policy). Rates are pico-dollars per
 * token and per request; sums are exact in 128 bits.
 */
#ifndef USAGE_PRICE_H
#define USAGE_PRICE_H

#include "conf/policy.h"
#include "usage/tokens.h"

/* The prices of a service tier, as usage_tokens has it: "priority", "flex",
 * "batch"; those of the model for any other. */
const struct policy_price *price_of_tier(const struct policy_model *m,
                                         struct str tier);

/* Pico-dollars at these prices, exact. Parts that exceed the whole (an odd
 * report) are cut, never counted twice: the dearer kinds of media first, then
 * cached tokens, cache writes, and what is left is text. */
unsigned __int128 price_pico_usd(const struct policy_price *price,
                                 const struct usage_tokens *t,
                                 uint64_t requests);

/* Nano-dollars, rounded up. */
uint64_t price_nano_usd(const struct policy_price *price,
                        const struct usage_tokens *t, uint64_t requests);

/* Nano-dollars, rounded up, that one request with so many tokens may cost at
 * most: at the dearest rate of every token, of all tiers but batch, and of the
 * prices above a length that a prompt of twice the estimate would have. What is
 * reserved is given back by what is charged, so it may be too much, never too
 * little. */
uint64_t price_dearest_nano_usd(const struct policy_model *m, uint64_t input,
                                uint64_t output);

#endif
