/*
 * decide/estimate: how many tokens a request will take, before it runs.
 *
 * Prompt: bytes of text (data: URLs left out) divided by the bytes per token
 * of that model, estimator from what was settled (EWMA, clamped to 1.3 .. 8,
 * 3.5 at first; azure.md 6). Output: what the caller asked for, or the
 * model's default.
 */
#ifndef DECIDE_ESTIMATE_H
#define DECIDE_ESTIMATE_H

#include "base/str.h"
#include "conf/policy.h"

struct estimator;

struct estimator *estimator_new(void);
void estimator_free(struct estimator *l);

/* Bytes per token of a model; 3.5 while nothing is known. */
double estimator_ratio(const struct estimator *l, struct str model);

/* A settled request: so many bytes of text were so many prompt tokens. Small
 * prompts are passed over: what every request adds would drown the text. */
void estimator_learn(struct estimator *l, struct str model, uint64_t text_bytes,
                 uint64_t prompt_tokens);

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
