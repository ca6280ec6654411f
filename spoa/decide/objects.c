/*
 * decide/objects: what a request refers to must be its caller's.
 *
 *   ids of path and body --dobj_id_at--> lookup_object --> FOUND dobj_bind_call
 *          ^                                               UNKNOWN
 * dobj_retry_or_deny
 *          '------------- the next one <-------------------        else denied
 *
 * Files, responses, vector stores and conversations are shared by all callers
 * of a resource, so the gateway keeps who made which (store/objects). Every id
 * in the path and in the body is looked up. One that is unknown and one that
 * is somebody else's get the same answer, or ids could be probed.
 *
 * What is found binds the request to the resource that holds it, and an object
 * of the path that was made with a model also to that model, about which
 * decide/authorize then asks the rules.
 *
 * The id of a streamed answer is in the usage record that HAProxy sends after
 * the last byte (usage/settle), so a client may use it before it is stored: an
 * unknown id is looked up again for a moment.
 */
#include "decide/decider.h"
#include "decide/lookup.h"
#include "decide/step.h"
#include "decide/verdict.h"
#include "request/table.h"
#include "store/objects.h"

/* Milliseconds between two look-ups of an unknown id, and since the start of
 * the request until the last one: a usage record takes a few on one host, and
 * the default decision_timeout_ms (250) leaves room for the steps behind. */
enum { DOBJ_AGAIN_MS = 30, DOBJ_UNTIL_MS = 150 };

/* Id number `i`, those of the path first; empty behind the last. */
static struct str dobj_id_at(const struct request *r, size_t i)
{
	const struct api_call *call = &r->call.api;
	const struct refs *uses = &r->facts.refs;

	if (i < call->n_ids)
		return call->ids[i];
	i -= call->n_ids;
	return i < uses->n ? uses->ids[i] : STR_NONE;
}

/* `why` is for the log only: the caller must not learn which it was. */
static enum step_result dobj_deny_unknown(struct request *r, struct str id,
                                          const char *why)
{
	verdict_deny(r, DENY_OBJECT_UNKNOWN,
	             "'%" STR_FMT "' was not found at this gateway.",
	             STR_ARG(str_first(id, 128)));
	verdict_detail(r, "%s", why);
	return STEP_DONE;
}

/* The request runs on the model of its object, under the name that this had
 * when it was made: the policy may not know it any more. */
static void dobj_set_model(struct request *r, const struct object *o)
{
	r->call.model_name = arena_str(&r->arena, o->model);
	r->call.model = policy_model(r->policy, o->model);
	r->call.origin = arena_str(&r->arena, o->origin);
}

/* An object was found: STEP_NEXT when the request may use it. All of them must
 * be at one resource, which is then the only candidate of decide/route. */
static enum step_result dobj_bind_call(struct request *r, struct str id,
                                       const struct object *o)
{
	const struct policy_resource *at;

	if (!str_eq(o->owner, r->caller.owner))
		return dobj_deny_unknown(r, id, "it belongs to another caller");
	at = policy_resource(r->policy, o->resource);
	if (!at)
		return dobj_deny_unknown(r, id,
		                         "its resource is not configured");
	if (r->call.pinned && r->call.pinned != at)
		return verdict_deny(r, DENY_OBJECTS_APART, NULL);
	r->call.pinned = at;
	/* the first id of such an operation is the one of the path */
	if (r->call.api.traits.model == MODEL_OBJECT && r->call.n_owned == 0)
		dobj_set_model(r, o);
	r->call.n_owned++;
	return STEP_NEXT;
}

static void dobj_on_retry(void *data)
{
	struct request *r = data;

	requests_wake(r->table, r->ref);
}

/* The timer wakes the request; releasing the request stops the timer. */
static enum step_result dobj_retry_or_deny(struct request *r, struct str id)
{
	uint64_t now = clock_mono_us(r->decider->clock);

	if (now - r->started_us > DOBJ_UNTIL_MS * UINT64_C(1000))
		return dobj_deny_unknown(r, id, "nobody has made it here");
	loop_timer_start(r->decider->loop, &r->again, DOBJ_AGAIN_MS,
	                 dobj_on_retry, r);
	requests_park(r, "objects");
	return STEP_PARKED;
}

static enum step_result dobj_handle_status(struct request *r, struct str id,
                                           enum object_status status,
                                           const struct object *o)
{
	if (status == OBJECT_FOUND)
		return dobj_bind_call(r, id, o);
	if (status == OBJECT_UNKNOWN)
		return dobj_retry_or_deny(r, id);
	return verdict_deny(r, DENY_OBJECT_STORE, NULL);
}

static enum step_result dobj_look_up(struct request *r, struct str id)
{
	struct object o;
	enum object_status status = lookup_object(r, id, OBJECT_LIVES_ON, &o);

	return status == OBJECT_WAIT ? STEP_PARKED
	                             : dobj_handle_status(r, id, status, &o);
}

enum step_result decide_objects(struct request *r)
{
	/* discovery is answered from the configuration: no resource is asked */
	if (r->call.api.traits.discover != DISCOVER_NOT)
		return STEP_NEXT;
	if (r->caller.owner.len == 0) { /* not woken: the first time */
		r->caller.owner = identity_owner(&r->arena, r->caller.identity);
		if (r->facts.refs.too_many)
			return verdict_deny(r, DENY_TOO_MANY_OBJECTS, NULL);
	}
	/* n_owned grows with each id that is found, also across a wait */
	for (;;) {
		struct str id = dobj_id_at(r, r->call.n_owned);
		enum step_result res;

		if (id.len == 0)
			return STEP_NEXT;
		res = dobj_look_up(r, id);
		if (res != STEP_NEXT)
			return res;
	}
}
