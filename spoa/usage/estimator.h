/*
 * usage/estimator: how many tokens a prompt has, before anybody has counted it.
 *
 *   decide/estimate --estimator_prompt--> reserved, and written in the ticket
 *   usage/settlement --estimator_learn--> bytes per token of this model and
 *                                         consumer
 *
 * This is the only estimate of a prompt: what is reserved is also what is
 * charged when the resource reports no usage.
 *
 * Bytes of text are divided by bytes per token, which are learned from settled
 * requests: a moving average (EWMA), clamped to 1.3 .. 8, 3.5 at first
 * (azure.md 6). It is learned per model and consumer: what one consumer sends
 * does not move the reservations of another, and one request moves those of its
 * own consumer by 1.25 % at most. The pairs used last are known, at most
 * ESTIMATOR_PAIRS_MAX. Each worker learns on its own, nothing is stored.
 */
#ifndef USAGE_ESTIMATOR_H
#define USAGE_ESTIMATOR_H

#include "base/str.h"

struct estimator;

enum {
	/* Of about 200 bytes. One more takes the place of the one that was not
	 * used for the longest time, which begins at 3.5 again. */
	ESTIMATOR_PAIRS_MAX = 4096,
};

/* NULL without memory. */
struct estimator *estimator_new(void);
void estimator_free(struct estimator *e);

/* Bytes per token of a model and consumer; 3.5 while nothing is known. */
double estimator_ratio(struct estimator *e, struct str model,
                       struct str consumer);

/* Tokens of a prompt with so many bytes of text and so many `data:` URLs, which
 * are no text: pictures. Never 0, and at most about 2^41. */
uint64_t estimator_prompt(struct estimator *e, struct str model,
                          struct str consumer, uint64_t text_bytes,
                          uint64_t n_data_urls);

/* A settled request: so many bytes of text were so many prompt tokens. Prompts
 * under 200 bytes are passed over: the tokens that every request adds would
 * outweigh those of the text. To be called only where the prompt was text that
 * was seen whole: ticket.text_bytes is 0 where it was not. */
void estimator_learn(struct estimator *e, struct str model, struct str consumer,
                     uint64_t text_bytes, uint64_t prompt_tokens);

#endif
