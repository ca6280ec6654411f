/*
 * decide/objects: what a request refers to must be its caller's.
 *
 * Every id in the path and in the body is looked up. One that is unknown and
 * one that is somebody else's get the same answer: it does not exist. What is
 * found binds the request to the resource that holds it, and a response also
 * to the model that it was made with, which is then authorized again.
 *
 * The id of a streamed answer becomes known with its last byte, so a client
 * may be quicker than the usage record that tells it: what is not known is
 * asked for again for a moment.
 */
#include "decide/decider.h"
#include "decide/lookup.h"
#include "decide/step.h"
#include "decide/verdict.h"
#include "request/table.h"
#include "store/objects.h"

enum { AGAIN_MS = 30, AGAIN_UNTIL_MS = 150 };

/* The ids of path and body, one after the other; empty behind the last. */
static struct str id_at(const struct request *r, size_t i)
{
	const struct api_call *call = &r->call.api;
	const struct refs *uses = &r->facts.refs;

	if (i < call->n_ids)
		return call->ids[i];
	i -= call->n_ids;
	return i < uses->n ? uses->ids[i] : STR_NONE;
}

static enum step_result deny_unknown(struct request *r, struct str id,
                                     const char *why)
{
	verdict_deny(r, DENY_OBJECT_UNKNOWN,
	             "'%" STR_FMT "' was not found at this gateway.",
	             STR_ARG(str_first(id, 128)));
	verdict_detail(r, "%s", why);
	return STEP_DONE;
}

/* The object of the path, where it has a model. */
static void take_model(struct request *r, const struct object *o)
{
	r->call.model_name = arena_str(&r->arena, o->model);
	r->call.model = policy_model(r->policy, o->model);
	r->call.origin = arena_str(&r->arena, o->origin);
}

/* An object was found: STEP_NEXT when the request may use it. */
static enum step_result take(struct request *r, struct str id,
                             const struct object *o)
{
	const struct policy_resource *at;

	if (!str_eq(o->owner, r->caller.owner))
		return deny_unknown(r, id, "it belongs to another caller");
	at = policy_resource(r->policy, o->resource);
	if (!at)
		return deny_unknown(r, id, "its resource is not configured");
	if (r->call.pinned && r->call.pinned != at)
		return verdict_deny(r, DENY_OBJECTS_APART, NULL);
	r->call.pinned = at;
	if (r->call.api.traits.model == MODEL_OBJECT && r->call.n_owned == 0)
		take_model(r, o);
	r->call.n_owned++;
	return STEP_NEXT;
}

static void on_again(void *data)
{
	struct request *r = data;

	requests_wake(r->table, r->ref);
}

static enum step_result unknown(struct request *r, struct str id)
{
	uint64_t now = clock_mono_us(r->decider->clock);

	if (now - r->started_us > AGAIN_UNTIL_MS * 1000)
		return deny_unknown(r, id, "nobody has made it here");
	loop_timer_start(r->decider->loop, &r->again, AGAIN_MS, on_again, r);
	requests_park(r, "objects");
	return STEP_PARKED;
}

static enum step_result conclude(struct request *r, struct str id,
                                 enum object_status status,
                                 const struct object *o)
{
	if (status == OBJECT_FOUND)
		return take(r, id, o);
	if (status == OBJECT_UNKNOWN)
		return unknown(r, id);
	return verdict_deny(r, DENY_OBJECT_STORE, NULL);
}

static enum step_result look_up(struct request *r, struct str id)
{
	struct object o;
	enum object_status status = lookup_object(r, id, OBJECT_LIVES_ON, &o);

	return status == OBJECT_WAIT ? STEP_PARKED
	                             : conclude(r, id, status, &o);
}

enum step_result decide_objects(struct request *r)
{
	struct str id;

	/* answered from the configuration: no resource is asked */
	if (r->call.api.traits.discover != DISCOVER_NOT)
		return STEP_NEXT;
	if (r->caller.owner.len == 0) {
		r->caller.owner = identity_owner(&r->arena, r->caller.identity);
		if (r->facts.refs.too_many)
			return verdict_deny(r, DENY_TOO_MANY_OBJECTS, NULL);
	}
	while ((id = id_at(r, r->call.n_owned)).len > 0) {
		enum step_result res = look_up(r, id);

		if (res != STEP_NEXT)
			return res;
	}
	return STEP_NEXT;
}
