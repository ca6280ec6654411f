/*
 * usage/price: what a request costs.
 *
 * Prices are pico-dollars per token and per request (conf/policy); sums are
 * exact in 128 bits.
 */
#ifndef USAGE_PRICE_H
#define USAGE_PRICE_H

#include "conf/policy.h"

/* What a request has used, as far as prices know it. */
struct price_use {
	uint64_t input, cached, output; /* tokens; cached is part of input */
	uint64_t requests;
};

/* Pico-dollars at these prices, exact. */
unsigned __int128 price_pico_usd(const struct policy_price *price,
                                 const struct price_use *use);

/* Nano-dollars, rounded up. */
uint64_t price_nano_usd(const struct policy_price *price,
                        const struct price_use *use);

#endif
