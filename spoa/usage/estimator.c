/* usage/estimator: how many tokens a text has. */
#include "usage/estimator.h"

#include "base/map.h"

#include <stdlib.h>

enum {
	LEARN_MIN_BYTES = 200,
	LEARN_MAX_MODELS = 1000,
};

static const double ratio_first = 3.5, ratio_min = 1.3, ratio_max = 8.0;
static const double ratio_weight = 0.05; /* of one new observation */

struct estimator {
	struct map by_model; /* name -> double, owned */
};

struct estimator *estimator_new(void)
{
	struct estimator *e = calloc(1, sizeof(*e));

	if (e)
		map_init(&e->by_model, LEARN_MAX_MODELS);
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

	return ratio ? *ratio : ratio_first;
}

void estimator_learn(struct estimator *e, struct str model, uint64_t text_bytes,
                     uint64_t prompt_tokens)
{
	double *ratio = map_get(&e->by_model, model);
	double seen;

	if (text_bytes < LEARN_MIN_BYTES || prompt_tokens == 0)
		return;
	if (!ratio) {
		ratio = malloc(sizeof(*ratio));
		if (!ratio)
			return;
		*ratio = ratio_first;
		if (!map_put(&e->by_model, model, ratio)) {
			free(ratio);
			return;
		}
	}
	seen = (double)text_bytes / (double)prompt_tokens;
	if (seen < ratio_min)
		seen = ratio_min;
	if (seen > ratio_max)
		seen = ratio_max;
	*ratio += (seen - *ratio) * ratio_weight;
}
