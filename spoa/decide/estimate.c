/* decide/estimate: how many tokens a request will take, before it runs. */
#include "decide/estimate.h"

#include "agent/agent.h"
#include "decide/step.h"

#include <stdlib.h>

enum {
	LEARN_MIN_BYTES = 200,
	LEARN_MAX_MODELS = 1000,
	/* A picture: the flat price of a middle-sized one. */
	ESTIMATE_DATA_URL_TOKENS = 765,
	/* What the chat format adds around the text. */
	ESTIMATE_BASE_TOKENS = 8,
};

static const double ratio_first = 3.5, ratio_min = 1.3, ratio_max = 8.0;
static const double ratio_weight = 0.05; /* of one new observation */

struct estimator {
	struct map by_model; /* name -> double, owned */
};

struct estimator *estimator_new(void)
{
	struct estimator *l = calloc(1, sizeof(*l));

	if (l)
		map_init(&l->by_model, LEARN_MAX_MODELS);
	return l;
}

void estimator_free(struct estimator *l)
{
	struct map_node *n;

	if (!l)
		return;
	map_each (&l->by_model, n)
		free(n->value);
	map_done(&l->by_model);
	free(l);
}

double estimator_ratio(const struct estimator *l, struct str model)
{
	const double *ratio = map_get(&l->by_model, model);

	return ratio ? *ratio : ratio_first;
}

void estimator_learn(struct estimator *l, struct str model, uint64_t text_bytes,
                 uint64_t prompt_tokens)
{
	double *ratio = map_get(&l->by_model, model);
	double seen;

	if (text_bytes < LEARN_MIN_BYTES || prompt_tokens == 0)
		return;
	if (!ratio) {
		ratio = malloc(sizeof(*ratio));
		if (!ratio)
			return;
		*ratio = ratio_first;
		if (!map_put(&l->by_model, model, ratio)) {
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

unsigned __int128 price_pico_usd(const struct policy_price *price,
                                const struct price_use *use)
{
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

	return nano > UINT64_MAX / 2 ? UINT64_MAX / 2 : (uint64_t)nano;
}

static uint64_t output_of(const struct request *r)
{
	const struct scan_result *scan = &r->facts.scan;
	const struct policy_model *m = r->plan.model;
	uint64_t each, n = scan->n > 0 ? scan->n : 1;

	if (r->plan.call.operation == API_EMBEDDINGS)
		return 0;
	each = scan->has_max_output ? scan->max_output
	                            : m->default_output_tokens;
	if (m->max_output_tokens > 0 && each > m->max_output_tokens)
		each = m->max_output_tokens;
	if (m->adapt.cap_output_tokens > 0 && !r->facts.body_cut &&
	    each > m->adapt.cap_output_tokens)
		each = m->adapt.cap_output_tokens;
	/* 2^40 tokens are more than any limit can hold: enough to be told
	 * "never", and far from overflow */
	if (each > (1ULL << 40) / n)
		return 1ULL << 40;
	return each * n;
}

/* Of a body that was cut, all bytes count as text. */
static uint64_t text_bytes_of(const struct request_facts *f)
{
	if (!f->body_cut)
		return f->scan.text_bytes;
	return f->body_size > f->body_len ? f->body_size : f->body_len;
}

enum step_result decide_estimate(struct request *r)
{
	struct request_plan *plan = &r->plan;
	double ratio;
	uint64_t bytes = text_bytes_of(&r->facts);

	if (plan->call.traits.tokens == TOKENS_NONE)
		return STEP_NEXT;
	ratio = estimator_ratio(r->agent->estimator, plan->model->name);
	if (bytes > 1ULL << 40)
		bytes = 1ULL << 40;
	plan->prompt_tokens =
		(uint64_t)((double)bytes / ratio) + ESTIMATE_BASE_TOKENS +
		r->facts.scan.n_data_urls * ESTIMATE_DATA_URL_TOKENS;
	plan->output_tokens = output_of(r);
	plan->nano_usd = price_nano_usd(
		&plan->model->price,
		&(struct price_use){.input = plan->prompt_tokens,
	                               .output = plan->output_tokens,
	                               .requests = 1});
	return STEP_NEXT;
}
