/*
 * usage/estimator: how many tokens a text has, before anybody has counted it.
 *
 * Bytes of text are divided by the bytes per token of the model, which are
 * learned from settled requests: a moving average (EWMA), clamped to 1.3 .. 8,
 * 3.5 at first (azure.md 6).
 */
#ifndef USAGE_ESTIMATOR_H
#define USAGE_ESTIMATOR_H

#include "base/str.h"

struct estimator;

struct estimator *estimator_new(void);
void estimator_free(struct estimator *e);

/* Bytes per token of a model; 3.5 while nothing is known. */
double estimator_ratio(const struct estimator *e, struct str model);

/* A settled request: so many bytes of text were so many prompt tokens. Small
 * prompts are passed over: what every request adds would drown the text. */
void estimator_learn(struct estimator *e, struct str model, uint64_t text_bytes,
                     uint64_t prompt_tokens);

#endif
