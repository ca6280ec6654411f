/*
 * decide/route: model -> deployment, and the path under which it is reached.
 *
 * Candidates are the model's deployments whose surface can serve the
 * operation. Of those that are not throttled the lowest priority number wins,
 * among equals a draw by weight.
 *
 * What runs must be what was authorized. Surfaces that name the deployment in
 * the path always do. Where the upstream reads `model` from the body, such
 * a deployment is a candidate only when all of the body was seen; decide/adapt
 * then puts the deployment's name there.
 */
#include "decide/adapt.h"
#include "decide/decider.h"
#include "decide/step.h"
#include "decide/verdict.h"
#include "upstream/health.h"
#include "upstream/target.h"

#include <stdlib.h>

/* Edits reach the top level of a JSON body only, so a form, and the model of a
 * realtime session, must name the deployment as they are. */
static bool rte_is_editable(const struct request *r)
{
	return !r->facts.is_form && r->call.api.operation != API_REALTIME;
}

static struct str rte_asked_model(const struct request *r)
{
	const struct request_facts *f = &r->facts;

	return f->scan.model.len > 0 ? f->scan.model : f->refs.session_model;
}

static bool rte_is_eligible(const struct request *r,
                            const struct policy_deployment *d)
{
	enum target_model at = target_model(d->surface, &r->call.api);

	if (r->call.pinned &&
	    r->call.pinned != &r->policy->resources[d->resource])
		return false;
	if (at == TARGET_MODEL_BODY && rte_is_editable(r) &&
	    adapt_possible(&r->facts))
		return true;
	if (at == TARGET_MODEL_BODY)
		return !r->facts.body_cut &&
		       str_eq(rte_asked_model(r), d->name);
	return at == TARGET_MODEL_PATH;
}

static enum health_state rte_health(const struct request *r,
                                    const struct policy_deployment *d,
                                    uint64_t *left_ms)
{
	return health_look(r->decider->health,
	                   r->policy->resources[d->resource].name, d->name,
	                   left_ms);
}

/* A draw by weight among the eligible ones of one priority and state. */
static const struct policy_deployment *rte_draw(const struct request *r,
                                                enum health_state state,
                                                unsigned priority)
{
	const struct policy_model *m = r->call.model;
	const struct policy_deployment *chosen = NULL;
	unsigned total = 0;
	size_t i;

	for (i = 0; i < m->n_deployments; i++) {
		const struct policy_deployment *d = &m->deployments[i];

		if (d->priority != priority || !rte_is_eligible(r, d) ||
		    rte_health(r, d, NULL) != state)
			continue;
		/* keep each with the chance weight / sum so far: one pass,
		 * no list. random() is good enough for balance. */
		total += d->weight;
		if ((unsigned long)random() % total < d->weight)
			chosen = d;
	}
	return chosen;
}

static const struct policy_deployment *rte_choose(const struct request *r,
                                                  enum health_state state)
{
	const struct policy_model *m = r->call.model;
	unsigned best = UINT32_MAX;
	size_t i;

	for (i = 0; i < m->n_deployments; i++)
		if (m->deployments[i].priority < best &&
		    rte_is_eligible(r, &m->deployments[i]) &&
		    rte_health(r, &m->deployments[i], NULL) == state)
			best = m->deployments[i].priority;
	return best == UINT32_MAX ? NULL : rte_draw(r, state, best);
}

/* All are throttled: say when the first one opens again. No candidate at all
 * is another matter. */
static enum step_result rte_deny(struct request *r)
{
	const struct policy_model *m = r->call.model;
	uint64_t soonest = UINT64_MAX, left;
	size_t i;

	for (i = 0; i < m->n_deployments; i++)
		if (rte_is_eligible(r, &m->deployments[i]) &&
		    rte_health(r, &m->deployments[i], &left) ==
		            HEALTH_THROTTLED &&
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
	                    operations_name(r->call.api.operation));
}

/* s.NAME watches the body with a Lua filter: streams, WebSockets (to be cut
 * when their caller is blocked), and answers that may not fit a buffer. r.NAME
 * is cheaper and enough for the rest. */
static bool rte_needs_filter(const struct request *r)
{
	const struct api_call *call = &r->call.api;

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

static void rte_set(struct request *r, const struct policy_resource *at,
                    const struct target_url *url)
{
	struct request_target *t = &r->target[0];

	t->resource = at;
	t->host = url->host;
	t->path = url->path;
	t->query = url->query;
	t->backend =
		arena_fmt(&r->arena, "%c.%" STR_FMT,
	                  rte_needs_filter(r) ? 's' : 'r', STR_ARG(at->name));
	r->n_targets = 1;
}

/* What works without a model goes to where the objects it names are, else to
 * the resource of the configuration. */
static enum step_result rte_object(struct request *r)
{
	const struct policy *p = r->policy;
	const struct policy_resource *at = r->call.pinned;
	struct target_url url;

	if (!at && !p->objects.enabled)
		return verdict_deny(r, DENY_OBJECTS_OFF, NULL);
	if (!at)
		at = &p->resources[p->objects.resource];
	target_object(&r->call.api, r->facts.query, at, &r->arena, &url);
	rte_set(r, at, &url);
	return STEP_NEXT;
}

enum step_result decide_route(struct request *r)
{
	const struct api_call *call = &r->call.api;
	const struct policy_resource *at;
	const struct policy_deployment *d;
	struct target_url url;

	if (call->traits.model < MODEL_BODY)
		return rte_object(r);
	d = rte_choose(r, HEALTH_OK);
	if (!d)
		d = rte_choose(r, HEALTH_FAILING);
	if (!d)
		return rte_deny(r);
	at = &r->policy->resources[d->resource];
	target_deployment(call, r->facts.query, d, at, &r->arena, &url);
	rte_set(r, at, &url);
	r->target[0].deployment = d;
	r->target[0].model_in_body =
		target_model(d->surface, call) == TARGET_MODEL_BODY &&
		rte_is_editable(r);
	return STEP_NEXT;
}
