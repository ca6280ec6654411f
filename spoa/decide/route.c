/*
 * decide/route: model -> deployment, and the URL under which it is reached.
 *
 *   call.model --rte_is_eligible--> deployments whose surface can serve this
 *        |        rte_choose        of these the healthy, else the failing ones
 *        |                          with the lowest priority number
 *        |        rte_draw          of these one, by weight
 *        |        target_deployment, rte_set_target --> target[0]
 *        |
 *   no model -----rte_route_object--> the resource that holds the objects
 *
 * A throttled deployment is no candidate until the time that Azure has named
 * (upstream/health): each further request would prolong it (azure.md 4.2).
 *
 * What runs must be what was authorized. Surfaces that name the deployment in
 * the path always do. Where the upstream reads `model` from the body, such a
 * deployment is a candidate only when all of the body was seen; decide/adapt
 * then puts the deployment's name there.
 */
#include "decide/adapt.h"
#include "decide/decider.h"
#include "decide/step.h"
#include "decide/verdict.h"
#include "upstream/health.h"
#include "upstream/target.h"

#include <stdlib.h>

/* Whether decide/adapt can put the deployment's name into the body. It reaches
 * the top level of a JSON body only: a form and the `session` of a realtime
 * request must name the deployment themselves. */
static bool rte_is_editable(const struct request *r)
{
	return !r->facts.is_form && r->call.api.operation != API_REALTIME;
}

/* The model that the upstream would read from a body that is not edited. */
static struct str rte_asked_model(const struct request *r)
{
	const struct request_facts *f = &r->facts;

	return f->scan.model.len > 0 ? f->scan.model : f->refs.session_model;
}

/* Whether the names of the further models in the body (api/refs), which are not
 * edited, mean at this resource the models that were authorized. */
static bool rte_has_models(const struct request *r, size_t resource)
{
	const struct refs *u = &r->facts.refs;

	for (size_t i = 0; i < u->n_models; i++) {
		struct str name = u->models[i].name;
		const struct policy_model *m = policy_model(r->policy, name);
		bool found = false;

		for (size_t k = 0; m && k < m->n_deployments && !found; k++)
			found = m->deployments[k].resource == resource &&
			        str_eq(m->deployments[k].name, name);
		if (!found)
			return false;
	}
	return true;
}

/* Whether the deployment can serve this request in this form, healthy or not:
 * at the resource of its objects, by a surface that has the operation, and
 * under the name that the body has or will have. */
static bool rte_is_eligible(const struct request *r,
                            const struct policy_deployment *d)
{
	enum target_model at = target_model(d->surface, &r->call.api);

	if (r->call.pinned &&
	    r->call.pinned != &r->policy->resources[d->resource])
		return false;
	if (!rte_has_models(r, d->resource))
		return false;
	if (at == TARGET_MODEL_BODY && rte_is_editable(r) &&
	    adapt_possible(&r->facts))
		return true;
	if (at == TARGET_MODEL_BODY)
		return !r->facts.body_cut &&
		       str_eq(rte_asked_model(r), d->name);
	return at == TARGET_MODEL_PATH;
}

/* left_ms, which may be NULL: see health_look(). */
static enum health_state rte_look_health(const struct request *r,
                                         const struct policy_deployment *d,
                                         uint64_t *left_ms)
{
	return health_look(r->decider->health,
	                   r->policy->resources[d->resource].name, d->name,
	                   left_ms);
}

/* A draw by weight among the eligible deployments of one priority and state;
 * there is at least one. One pass without a list (reservoir sampling): each
 * takes the place of the one before with the chance weight / sum so far. */
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
		    rte_look_health(r, d, NULL) != state)
			continue;
		/* for balance only: random() need not be unpredictable */
		total += d->weight;
		if ((unsigned long)random() % total < d->weight)
			chosen = d;
	}
	return chosen;
}

/* NULL when no eligible deployment is in this state. */
static const struct policy_deployment *rte_choose(const struct request *r,
                                                  enum health_state state)
{
	const struct policy_model *m = r->call.model;
	unsigned best = UINT32_MAX;
	size_t i;

	for (i = 0; i < m->n_deployments; i++)
		if (m->deployments[i].priority < best &&
		    rte_is_eligible(r, &m->deployments[i]) &&
		    rte_look_health(r, &m->deployments[i], NULL) == state)
			best = m->deployments[i].priority;
	return best == UINT32_MAX ? NULL : rte_draw(r, state, best);
}

/* Or another deployment would do; but most likely it is the names. */
static enum step_result rte_deny_models(struct request *r)
{
	const struct refs_model *side = &r->facts.refs.models[0];

	return verdict_deny(r, DENY_NO_ROUTE,
	                    "No resource that can serve the request has a "
	                    "deployment named '%" STR_FMT
	                    "' of the model of that name, which the request "
	                    "names as `%s`.",
	                    STR_ARG(str_first(side->name, 128)), side->member);
}

/* No deployment was chosen. Those that could serve the request are throttled:
 * 429 with the time until the first one opens again. None can serve it in this
 * form: retrying would not help. */
static enum step_result rte_deny_no_candidate(struct request *r)
{
	const struct policy_model *m = r->call.model;
	uint64_t soonest = UINT64_MAX, left;
	size_t i;

	for (i = 0; i < m->n_deployments; i++)
		if (rte_is_eligible(r, &m->deployments[i]) &&
		    rte_look_health(r, &m->deployments[i], &left) ==
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
	if (r->facts.refs.n_models > 0)
		return rte_deny_models(r);
	return verdict_deny(r, DENY_NO_ROUTE,
	                    "No deployment of '%" STR_FMT
	                    "' can serve %s in this form. Where a deployment "
	                    "reads the model from the body, `model` must be "
	                    "the deployment's name.",
	                    STR_ARG(m->name),
	                    operations_name(r->call.api.operation));
}

/* Bytes of a request whose answer fits a buffer, also when all of it is
 * repeated there three times as long. */
enum { RTE_SHORT_MAX = 65536 };

/* Which of the two backends of a resource (upstream/render). s.NAME reads the
 * answer with a Lua filter while it passes: for streams, for WebSockets (cut
 * when their caller is blocked), and for answers that may not fit a buffer:
 * embeddings, images, and those to large requests, of which Responses repeats
 * instructions, tools and metadata, perhaps with more escapes.
 * r.NAME waits for the answer and reads it with rules of haproxy.cfg, which
 * costs a fraction, and serves the rest. */
static bool rte_needs_filter(const struct request *r)
{
	const struct api_call *call = &r->call.api;

	if (call->traits.upgrade)
		return true;
	/* body_cut is set for an upload, too, but its answer is short */
	if (call->traits.body == BODY_ANY || call->traits.body == BODY_SDP)
		return false;
	return r->facts.scan.stream || r->facts.body_cut ||
	       r->facts.body_len > RTE_SHORT_MAX ||
	       call->operation == API_EMBEDDINGS ||
	       call->operation == API_IMAGES ||
	       str_eq(operations_query_get(r->facts.query, STR("stream")),
	              STR("true"));
}

/* The one candidate, for now without a deployment. */
static void rte_set_target(struct request *r, const struct policy_resource *at,
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

/* A request without a model goes to the resource that holds the objects it
 * names, else, as it makes the first one, to objects.resource of the policy. */
static enum step_result rte_route_object(struct request *r)
{
	const struct policy *p = r->policy;
	const struct policy_resource *at = r->call.pinned;
	struct target_url url;

	if (!at && !p->objects.enabled)
		return verdict_deny(r, DENY_OBJECTS_OFF, NULL);
	if (!at)
		at = &p->resources[p->objects.resource];
	if (!rte_has_models(r, (size_t)(at - p->resources)))
		return rte_deny_models(r);
	target_object(&r->call.api, r->facts.query, at, &r->arena, &url);
	rte_set_target(r, at, &url);
	return STEP_NEXT;
}

enum step_result decide_route(struct request *r)
{
	const struct api_call *call = &r->call.api;
	const struct policy_resource *at;
	const struct policy_deployment *d;
	struct target_url url;

	if (call->traits.model < MODEL_BODY)
		return rte_route_object(r);
	/* a failing one is better than none: the errors may be over */
	d = rte_choose(r, HEALTH_OK);
	if (!d)
		d = rte_choose(r, HEALTH_FAILING);
	if (!d)
		return rte_deny_no_candidate(r);
	at = &r->policy->resources[d->resource];
	target_deployment(call, r->facts.query, d, at, &r->arena, &url);
	rte_set_target(r, at, &url);
	r->target[0].deployment = d;
	r->target[0].model_in_body =
		target_model(d->surface, call) == TARGET_MODEL_BODY &&
		rte_is_editable(r);
	return STEP_NEXT;
}
