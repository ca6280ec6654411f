/* usage/estimator: how many tokens a prompt has. */
#include "usage/estimator.h"

#include "base/map.h"

#include <stdlib.h>

enum {
	/* What the chat format adds around the text of one message, rounded
	 * up: 3 for it, 1 for its role, 3 to begin the answer (azure.md 6). */
	ESTIMATOR_BASE_TOKENS = 8,
	/* A picture, whose size is not known here: OpenAI's price of one of
	 * 1024 x 1024 at high detail, 85 + 4 tiles x 170. */
	ESTIMATOR_DATA_URL_TOKENS = 765,
	ESTIMATOR_LEARN_MIN_BYTES = 200,
	/* Names come from the policy, but outlive it: a bound for an agent that
	 * is reloaded with new names for years. */
	ESTIMATOR_MAX_MODELS = 1000,
};

/* More is more than any limit can hold: enough for "never", and far from the
 * overflow of the sums and prices that follow. */
static const uint64_t estm_tokens_max = 1ULL << 40;

/* Bytes per token. English has about 4, Chinese and base64 less than 2. */
static const double estm_first = 3.5, estm_min = 1.3, estm_max = 8.0;
/* Of one new observation. One odd request in twenty changes little, and a
 * change of what a model is used for is followed within a hundred. */
static const double estm_weight = 0.05;

struct estimator {
	struct map by_model; /* name -> double, owned */
};

struct estimator *estimator_new(void)
{
	struct estimator *e = calloc(1, sizeof(*e));

	if (e)
		map_init(&e->by_model, ESTIMATOR_MAX_MODELS);
	return e;
}

void estimator_free(struct estimator *e)
{
	struct map_node *n;

	if (!e)
		return;
	map_each (&e->by_model, n)
		free(n->value);
	map_done(&e->by_model);
	free(e);
}

double estimator_ratio(const struct estimator *e, struct str model)
{
	const double *ratio = map_get(&e->by_model, model);

	return ratio ? *ratio : estm_first;
}

uint64_t estimator_prompt(const struct estimator *e, struct str model,
                          uint64_t text_bytes, uint64_t n_data_urls)
{
	uint64_t urls_max = estm_tokens_max / ESTIMATOR_DATA_URL_TOKENS;

	if (text_bytes > estm_tokens_max)
		text_bytes = estm_tokens_max;
	if (n_data_urls > urls_max)
		n_data_urls = urls_max;
	return (uint64_t)((double)text_bytes / estimator_ratio(e, model)) +
	       ESTIMATOR_BASE_TOKENS + n_data_urls * ESTIMATOR_DATA_URL_TOKENS;
}

static double estm_clamp(double ratio)
{
	if (ratio < estm_min)
		return estm_min;
	return ratio > estm_max ? estm_max : ratio;
}

void estimator_learn(struct estimator *e, struct str model, uint64_t text_bytes,
                     uint64_t prompt_tokens)
{
	double *ratio = map_get(&e->by_model, model);

	if (text_bytes < ESTIMATOR_LEARN_MIN_BYTES || prompt_tokens == 0)
		return;
	if (!ratio) {
		ratio = malloc(sizeof(*ratio));
		if (!ratio)
			return;
		*ratio = estm_first;
		if (!map_put(&e->by_model, model, ratio)) {
			free(ratio);
			return;
		}
	}
	*ratio += (estm_clamp((double)text_bytes / (double)prompt_tokens) -
	           *ratio) *
	          estm_weight;
}
