/*
 * decide/route: model -> deployment, and the path under which it is reached.
 *
 * Candidates are the model's deployments whose surface can serve the
 * operation. Of those that are not cooling the lowest priority number wins,
 * among equals a draw by weight.
 *
 * What runs must be what was authorized. Surfaces that name the deployment in
 * the path always do. Where the upstream reads `model` from the body, such
 * a deployment is a candidate only when all of the body was seen; decide/adapt
 * then puts the deployment's name there.
 */
#include "agent.h"
#include "decide/adapt.h"
#include "decide/cooling.h"
#include "decide/verdict.h"

#include <stdlib.h>

static const char default_azure_version[] = "2024-10-21";
static const char default_models_version[] = "2024-05-01-preview";

/* Does this surface have this operation, and where is the model? */
enum model_place { PLACE_NONE = 0, PLACE_PATH = 1, PLACE_BODY = 2 };

static enum model_place place_of(enum policy_surface s, enum api_operation op)
{
	switch (s) {
	case SURFACE_AZURE:
		if (op == API_RESPONSES)
			return PLACE_BODY;
		return op == API_MESSAGES ? PLACE_NONE : PLACE_PATH;
	case SURFACE_V1:
		return op == API_MESSAGES ? PLACE_NONE : PLACE_BODY;
	case SURFACE_MODELS:
		return op == API_CHAT || op == API_EMBEDDINGS ? PLACE_BODY
		                                              : PLACE_NONE;
	case SURFACE_ANTHROPIC:
		return op == API_MESSAGES ? PLACE_BODY : PLACE_NONE;
	}
	return PLACE_NONE;
}

static bool eligible(const struct request *r, const struct policy_deployment *d)
{
	enum model_place place = place_of(d->surface, r->plan.call.operation);

	if (place == PLACE_BODY)
		return adapt_possible(&r->facts) ||
		       (!r->facts.body_cut &&
		        str_eq(r->facts.scan.model, d->name));
	return place == PLACE_PATH;
}

static enum cooling_state state_of(const struct request *r,
                                   const struct policy_deployment *d,
                                   uint64_t *left_ms)
{
	return cooling_look(r->agent->cooling,
	                    r->policy->resources[d->resource].name, d->name,
	                    left_ms);
}

/* A draw by weight among the eligible ones of one priority and state. */
static const struct policy_deployment *draw(const struct request *r,
                                            enum cooling_state state,
                                            unsigned priority)
{
	const struct policy_model *m = r->plan.model;
	const struct policy_deployment *chosen = NULL;
	unsigned total = 0;
	size_t i;

	for (i = 0; i < m->n_deployments; i++) {
		const struct policy_deployment *d = &m->deployments[i];

		if (d->priority != priority || !eligible(r, d) ||
		    state_of(r, d, NULL) != state)
			continue;
		/* keep each with the chance weight / sum so far: one pass,
		 * no list. random() is good enough for balance. */
		total += d->weight;
		if ((unsigned long)random() % total < d->weight)
			chosen = d;
	}
	return chosen;
}

static const struct policy_deployment *choose(const struct request *r,
                                              enum cooling_state state)
{
	const struct policy_model *m = r->plan.model;
	unsigned best = UINT32_MAX;
	size_t i;

	for (i = 0; i < m->n_deployments; i++)
		if (m->deployments[i].priority < best &&
		    eligible(r, &m->deployments[i]) &&
		    state_of(r, &m->deployments[i], NULL) == state)
			best = m->deployments[i].priority;
	return best == UINT32_MAX ? NULL : draw(r, state, best);
}

/* All are throttled: say when the first one opens again. No candidate at all
 * is another matter. */
static enum step_result deny_no_deployment(struct request *r)
{
	const struct policy_model *m = r->plan.model;
	uint64_t soonest = UINT64_MAX, left;
	size_t i;

	for (i = 0; i < m->n_deployments; i++)
		if (eligible(r, &m->deployments[i]) &&
		    state_of(r, &m->deployments[i], &left) == COOLING_HARD &&
		    left < soonest)
			soonest = left;
	if (soonest != UINT64_MAX) {
		verdict_deny(r, DENY_COOLING, NULL);
		r->verdict.retry_after_s = (soonest + 999) / 1000;
		return STEP_DONE;
	}
	if (r->facts.body_cut)
		return verdict_deny(r, DENY_TOO_LARGE_BODY, NULL);
	return verdict_deny(r, DENY_NO_ROUTE,
	                    "No deployment of '%" STR_FMT
	                    "' can serve %s in this form. Where a deployment "
	                    "reads the model from the body, `model` must be "
	                    "the deployment's name.",
	                    STR_ARG(m->name),
	                    api_operation_name(r->plan.call.operation));
}

/* An api-version is passed on only in the form Azure uses. */
static bool is_version(struct str s)
{
	size_t i;

	for (i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
		      c == '-' || c == '.'))
			return false;
	}
	return s.len > 0 && s.len <= 32;
}

/* The deployment's own version, else a dated one of the caller, else the
 * surface's default. */
static struct str version_of(const struct request *r,
                             const struct policy_deployment *d,
                             const char *fallback)
{
	struct str asked = api_query_get(r->facts.query, STR("api-version"));

	if (d->api_version.len > 0)
		return d->api_version;
	if (is_version(asked) && str_starts(asked, STR("20")))
		return asked;
	return str_c(fallback);
}

static struct str percent_encode(struct arena *a, struct str s)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnop"
				    "qrstuvwxyz0123456789-._~";
	char *out = arena_alloc(a, s.len * 3 + 1);
	size_t i, n = 0;

	if (!out)
		return STR_NONE;
	for (i = 0; i < s.len; i++) {
		if (memchr(plain, s.p[i], sizeof(plain) - 1)) {
			out[n++] = s.p[i];
		} else {
			out[n++] = '%';
			str_hex(s.p + i, 1, out + n);
			n += 2;
		}
	}
	return str_of(out, n);
}

static void set_target(struct request *r, const struct policy_deployment *d)
{
	struct request_plan *plan = &r->plan;
	struct arena *a = &r->arena;
	struct str suffix = plan->call.suffix;

	switch (d->surface) {
	case SURFACE_AZURE:
		if (plan->call.operation == API_RESPONSES)
			plan->path = STR("/openai/responses");
		else
			plan->path = arena_fmt(
				a, "/openai/deployments/%" STR_FMT "%" STR_FMT,
				STR_ARG(percent_encode(a, d->name)),
				STR_ARG(suffix));
		plan->query = arena_fmt(
			a, "api-version=%" STR_FMT,
			STR_ARG(version_of(r, d, default_azure_version)));
		break;
	case SURFACE_V1:
		plan->path =
			arena_fmt(a, "/openai/v1%" STR_FMT, STR_ARG(suffix));
		if (d->api_version.len > 0)
			plan->query = arena_fmt(a, "api-version=%" STR_FMT,
			                        STR_ARG(d->api_version));
		break;
	case SURFACE_MODELS:
		plan->path = arena_fmt(a, "/models%" STR_FMT, STR_ARG(suffix));
		plan->query = arena_fmt(
			a, "api-version=%" STR_FMT,
			STR_ARG(version_of(r, d, default_models_version)));
		break;
	case SURFACE_ANTHROPIC:
		plan->path =
			arena_fmt(a, "/anthropic/v1%" STR_FMT, STR_ARG(suffix));
		if (str_eq(api_query_get(r->facts.query, STR("beta")),
		           STR("true")))
			plan->query = STR("beta=true");
		break;
	}
}

/* s.NAME watches the body with a Lua filter: streams, and answers that may
 * not fit a buffer. r.NAME is cheaper and enough for the rest. */
static bool needs_filter(const struct request *r)
{
	return r->facts.scan.stream || r->facts.body_cut ||
	       r->plan.call.operation == API_EMBEDDINGS;
}

enum step_result decide_route(struct request *r)
{
	struct request_plan *plan = &r->plan;
	const struct policy_deployment *d = choose(r, COOLING_NO);

	if (!d)
		d = choose(r, COOLING_SOFT);
	if (!d)
		return deny_no_deployment(r);
	plan->deployment = d;
	plan->model_in_body =
		place_of(d->surface, plan->call.operation) == PLACE_BODY;
	plan->resource = &r->policy->resources[d->resource];
	set_target(r, d);
	plan->host = plan->resource->host;
	if (plan->resource->port != (plan->resource->tls ? 443 : 80))
		plan->host = arena_fmt(&r->arena, "%" STR_FMT ":%u",
		                       STR_ARG(plan->resource->host),
		                       plan->resource->port);
	plan->backend = arena_fmt(&r->arena, "%c.%" STR_FMT,
	                          needs_filter(r) ? 's' : 'r',
	                          STR_ARG(plan->resource->name));
	return STEP_NEXT;
}
