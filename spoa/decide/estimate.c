/*
 * decide/estimate: how many tokens and dollars a request may take.
 *
 *   facts: text and pictures --(usage/estimator)-------------> prompt_tokens
 *   facts: max_tokens x n, else the model's default ----------> output_tokens
 *   both x the dearest prices (usage/price) ------------------> nano_usd
 *
 * decide/reserve takes this much from the limits, usage/settle replaces it by
 * what was used. The prompt goes with the ticket: it is charged as it is when
 * no usage is reported. Output counts with all that it may become, as Azure
 * counts it (azure.md 4.1); a request that ends early gives the rest back.
 */
#include "decide/decider.h"
#include "decide/step.h"
#include "usage/estimator.h"
#include "usage/price.h"

/* More tokens than any limit can have: enough to be denied with
 * DENY_LIMIT_NEVER, and far from an overflow in what follows. */
#define ESTI_HUGE (1ULL << 40)

/* What the client allows, else what the operator expects of the model; never
 * more than the model can give. The cap of decide/adapt counts only where adapt
 * can put it into the body. */
static uint64_t esti_output_tokens(const struct request *r)
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
	if (each > ESTI_HUGE / n)
		return ESTI_HUGE;
	return each * n;
}

/* Of a body that was cut, all bytes count as text: what was not seen is taken
 * for the most expensive. */
static uint64_t esti_text_bytes(const struct request_facts *f)
{
	if (!f->body_cut)
		return f->scan.text_bytes;
	return f->body_size > f->body_len ? f->body_size : f->body_len;
}

enum step_result decide_estimate(struct request *r)
{
	r->charge.estimated = true;
	/* without tokens there may be no model either */
	if (r->call.api.traits.tokens == TOKENS_NONE)
		return STEP_NEXT;
	r->charge.prompt_tokens = estimator_prompt(
		r->decider->estimator, r->call.model->name,
		r->caller.consumer ? r->caller.consumer->name : STR_NONE,
		esti_text_bytes(&r->facts), r->facts.scan.n_data_urls);
	r->charge.output_tokens = esti_output_tokens(r);
	r->charge.nano_usd =
		price_dearest_nano_usd(r->call.model, r->charge.prompt_tokens,
	                               r->charge.output_tokens);
	return STEP_NEXT;
}
