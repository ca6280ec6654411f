/*
 * decide/route: model -> deployment, and the path under which it is reached.
 *
 * Candidates are the model's deployments whose surface can serve the
 * operation. Of those that are not health the lowest priority number wins,
 * among equals a draw by weight.
 *
 * What runs must be what was authorized. Surfaces that name the deployment in
 * the path always do. Where the upstream reads `model` from the body, such
 * a deployment is a candidate only when all of the body was seen; decide/adapt
 * then puts the deployment's name there.
 */
#include "agent/agent.h"
#include "decide/adapt.h"
#include "upstream/health.h"
#include "decide/verdict.h"

#include <stdlib.h>

static const char default_azure_version[] = "2024-10-21";
static const char default_realtime_version[] = "2025-04-01-preview";
static const char default_models_version[] = "2024-05-01-preview";

/* Does this surface have this operation, and where is the model? */
enum model_place { PLACE_NONE = 0, PLACE_PATH = 1, PLACE_BODY = 2 };

static enum model_place place_of(enum policy_surface s,
                                 const struct api_call *call)
{
	enum api_operation op = call->operation;

	/* the agent writes its query */
	if (call->traits.model == MODEL_QUERY)
		return s == SURFACE_AZURE || s == SURFACE_V1 ? PLACE_PATH
		                                             : PLACE_NONE;
	switch (s) {
	case SURFACE_AZURE:
		if (op == API_RESPONSES || op == API_REALTIME)
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

/* A form, and what stands deeper than at the top, stays as it came. */
static bool is_editable(const struct request *r)
{
	return !r->facts.is_form && r->plan.call.operation != API_REALTIME;
}

static struct str asked_model(const struct request *r)
{
	const struct request_facts *f = &r->facts;

	return f->scan.model.len > 0 ? f->scan.model : f->uses.session_model;
}

static bool eligible(const struct request *r, const struct policy_deployment *d)
{
	enum model_place place = place_of(d->surface, &r->plan.call);

	if (r->plan.pinned &&
	    r->plan.pinned != &r->policy->resources[d->resource])
		return false;
	if (place == PLACE_BODY && is_editable(r) && adapt_possible(&r->facts))
		return true;
	if (place == PLACE_BODY)
		return !r->facts.body_cut && str_eq(asked_model(r), d->name);
	return place == PLACE_PATH;
}

static enum health_state state_of(const struct request *r,
                                   const struct policy_deployment *d,
                                   uint64_t *left_ms)
{
	return health_look(r->agent->health,
	                    r->policy->resources[d->resource].name, d->name,
	                    left_ms);
}

/* A draw by weight among the eligible ones of one priority and state. */
static const struct policy_deployment *draw(const struct request *r,
                                            enum health_state state,
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
                                              enum health_state state)
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
		    state_of(r, &m->deployments[i], &left) == HEALTH_THROTTLED &&
		    left < soonest)
			soonest = left;
	if (soonest != UINT64_MAX) {
		verdict_deny(r, DENY_UPSTREAM_BUSY, NULL);
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
	                    operations_name(r->plan.call.operation));
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
	struct str asked = operations_query_get(r->facts.query, STR("api-version"));

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

/* Younger than the dated API. */
static bool is_v1_only(const struct api_call *call)
{
	return call->operation == API_REALTIME ||
	       (call->operation == API_RESPONSES &&
	        !str_eq(call->suffix, STR("/responses")));
}

/* A WebSocket: the query names the deployment, and we write it. */
static void set_socket(struct request *r, const struct policy_deployment *d)
{
	struct request_plan *plan = &r->plan;
	struct str name = percent_encode(&r->arena, d->name);

	if (d->surface == SURFACE_V1) {
		plan->path = STR("/openai/v1/realtime");
		plan->query =
			arena_fmt(&r->arena, "model=%" STR_FMT, STR_ARG(name));
		return;
	}
	plan->path = STR("/openai/realtime");
	plan->query = arena_fmt(
		&r->arena, "api-version=%" STR_FMT "&deployment=%" STR_FMT,
		STR_ARG(version_of(r, d, default_realtime_version)),
		STR_ARG(name));
}

/* What callers may say to a resource about its objects; all else of their
 * query is left out. */
static bool is_passed_on(struct str name)
{
	static const struct str names[] = {
		STR_INIT("after"),          STR_INIT("before"),
		STR_INIT("limit"),          STR_INIT("order"),
		STR_INIT("include"),        STR_INIT("include[]"),
		STR_INIT("include%5B%5D"),  STR_INIT("stream"),
		STR_INIT("starting_after"), STR_INIT("filter"),
		STR_INIT("webrtcfilter"),
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (str_eq_nocase(name, names[i]))
			return true;
	return false;
}

static struct str object_query(struct request *r)
{
	struct str query = r->facts.query, out = STR_NONE;

	while (query.len > 0) {
		struct str pair = str_first(query, str_find(query, '&'));

		query = str_from(query, pair.len + 1);
		if (is_passed_on(str_first(pair, str_find(pair, '='))))
			out = arena_fmt(&r->arena, "%" STR_FMT "%s%" STR_FMT,
			                STR_ARG(out), out.len > 0 ? "&" : "",
			                STR_ARG(pair));
	}
	return out;
}

/* s.NAME watches the body with a Lua filter: streams, WebSockets (to be cut
 * when their caller is blocked), and answers that may not fit a buffer. r.NAME
 * is cheaper and enough for the rest. */
static bool needs_filter(const struct request *r)
{
	const struct api_call *call = &r->plan.call;

	if (call->traits.upgrade)
		return true;
	/* an upload was not seen either, but its answer is short */
	if (call->traits.body == BODY_ANY || call->traits.body == BODY_SDP)
		return false;
	return r->facts.scan.stream || r->facts.body_cut ||
	       call->operation == API_EMBEDDINGS ||
	       call->operation == API_IMAGES ||
	       str_eq(operations_query_get(r->facts.query, STR("stream")),
	              STR("true"));
}

static void set_backend(struct request *r)
{
	struct request_plan *plan = &r->plan;

	plan->host = plan->resource->host;
	if (plan->resource->port != (plan->resource->tls ? 443 : 80))
		plan->host = arena_fmt(&r->arena, "%" STR_FMT ":%u",
		                       STR_ARG(plan->resource->host),
		                       plan->resource->port);
	plan->backend = arena_fmt(&r->arena, "%c.%" STR_FMT,
	                          needs_filter(r) ? 's' : 'r',
	                          STR_ARG(plan->resource->name));
}

/* What works without a model goes to where the objects it names are, else to
 * the resource of the configuration; there, to the v1 API. */
static enum step_result route_object(struct request *r)
{
	struct request_plan *plan = &r->plan;
	const struct policy *p = r->policy;

	if (!plan->pinned && !p->objects.enabled)
		return verdict_deny(r, DENY_OBJECTS_OFF, NULL);
	plan->resource = plan->pinned ? plan->pinned
	                              : &p->resources[p->objects.resource];
	plan->path = arena_fmt(&r->arena, "/openai/v1%" STR_FMT,
	                       STR_ARG(plan->call.suffix));
	plan->query = object_query(r);
	set_backend(r);
	return STEP_NEXT;
}

static void set_target(struct request *r, const struct policy_deployment *d)
{
	struct request_plan *plan = &r->plan;
	struct arena *a = &r->arena;
	struct str suffix = plan->call.suffix;

	switch (d->surface) {
	case SURFACE_AZURE:
		if (plan->call.traits.model == MODEL_QUERY) {
			set_socket(r, d);
			break;
		}
		if (is_v1_only(&plan->call)) {
			plan->path = arena_fmt(a, "/openai/v1%" STR_FMT,
			                       STR_ARG(suffix));
			break;
		}
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
		if (plan->call.traits.model == MODEL_QUERY) {
			set_socket(r, d);
			break;
		}
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
		if (str_eq(operations_query_get(r->facts.query, STR("beta")),
		           STR("true")))
			plan->query = STR("beta=true");
		break;
	}
}

enum step_result decide_route(struct request *r)
{
	struct request_plan *plan = &r->plan;
	const struct policy_deployment *d;

	if (plan->call.traits.model < MODEL_BODY)
		return route_object(r);
	d = choose(r, HEALTH_OK);
	if (!d)
		d = choose(r, HEALTH_FAILING);
	if (!d)
		return deny_no_deployment(r);
	plan->deployment = d;
	plan->model_in_body = place_of(d->surface, &plan->call) == PLACE_BODY &&
	                      is_editable(r);
	plan->resource = &r->policy->resources[d->resource];
	set_target(r, d);
	set_backend(r);
	return STEP_NEXT;
}
