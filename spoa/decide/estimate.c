/* decide/estimate: how many tokens and dollars a request may take. */
#include "decide/decider.h"
#include "decide/step.h"
#include "usage/estimator.h"
#include "usage/price.h"

static uint64_t output_of(const struct request *r)
{
	const struct scan_result *scan = &r->facts.scan;
	const struct policy_model *m = r->call.model;
	uint64_t each, n = scan->n > 0 ? scan->n : 1;

	if (r->call.api.operation == API_EMBEDDINGS)
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
	r->charge.estimated = true;
	if (r->call.api.traits.tokens == TOKENS_NONE)
		return STEP_NEXT;
	r->charge.prompt_tokens = estimator_prompt(
		r->decider->estimator, r->call.model->name,
		text_bytes_of(&r->facts), r->facts.scan.n_data_urls);
	r->charge.output_tokens = output_of(r);
	r->charge.nano_usd = price_nano_usd(
		&r->call.model->price,
		&(struct price_use){.input = r->charge.prompt_tokens,
	                            .output = r->charge.output_tokens,
	                            .requests = 1});
	return STEP_NEXT;
}
