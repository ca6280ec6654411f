/*
 * usage/price: what a request costs.
 *
 * Counts of tokens are at most about 2^41 (usage/record, usage/estimator) and
 * prices 64 bits, so the sum of the products is far from the end of 128 bits.
 */
#include "usage/price.h"

unsigned __int128 price_pico_usd(const struct policy_price *price,
                                 const struct price_use *use)
{
	/* more cached tokens than input: an odd report, all input is cached */
	uint64_t cached = use->cached < use->input ? use->cached : use->input;

	return (unsigned __int128)(use->input - cached) * price->input +
	       (unsigned __int128)cached * price->cached +
	       (unsigned __int128)use->output * price->output +
	       (unsigned __int128)use->requests * price->request;
}

uint64_t price_nano_usd(const struct policy_price *price,
                        const struct price_use *use)
{
	unsigned __int128 nano = (price_pico_usd(price, use) + 999) / 1000;

	/* half of the range, so that limits can add two of them */
	return nano > UINT64_MAX / 2 ? UINT64_MAX / 2 : (uint64_t)nano;
}
