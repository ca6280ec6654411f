/*
 * decide/objects: what a request refers to must be its caller's.
 *
 *   ids of path and body --dobj_ref_at--> lookup_object
 *          ^                                 FOUND   dobj_bind_call
 *          |                                 UNKNOWN dobj_retry_or_deny
 *          '------------ the next one <------'       else denied
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
 * Items of a response have no record of their own. Those that the resource
 * would load by their id are known by their family (api/family), which belongs
 * to whoever made a response or conversation of it. Of those that the body
 * carries itself nothing need be known, but they must not be another caller's.
 *
 * The id of a streamed answer is in the usage record that HAProxy sends after
 * the last byte (usage/settle), so a client may use it before it is stored: an
 * unknown id is looked up again for a moment.
 */
#include "api/family.h"
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

/* What is looked up at position `i`: the ids of the path come first. */
struct dobj_ref {
	struct str id; /* empty: behind the last */
	enum refs_kind kind;
	const char *member, *remedy; /* NULL for an id of the path */
};

static struct dobj_ref dobj_ref_at(const struct request *r, size_t i)
{
	const struct api_call *call = &r->call.api;
	const struct refs *uses = &r->facts.refs;
	const struct refs_id *named;

	if (i < call->n_ids)
		return (struct dobj_ref){.id = call->ids[i]};
	i -= call->n_ids;
	if (i >= uses->n)
		return (struct dobj_ref){.id = STR_NONE};
	named = &uses->ids[i];
	return (struct dobj_ref){named->id, named->kind, named->member,
	                         named->remedy};
}

/* `why` is for the log only: the caller must not learn which it was. */
static enum step_result dobj_deny_unknown(struct request *r,
                                          const struct dobj_ref *ref,
                                          const char *why)
{
	struct str id = str_first(ref->id, 128);

	if (ref->member)
		verdict_deny(r, DENY_OBJECT_UNKNOWN,
		             "'%" STR_FMT "', which the request names as `%s`, "
		             "was not found at this gateway. %s",
		             STR_ARG(id), ref->member, ref->remedy);
	else
		verdict_deny(r, DENY_OBJECT_UNKNOWN,
		             "'%" STR_FMT "' was not found at this gateway.",
		             STR_ARG(id));
	verdict_detail(r, "%s", why);
	return STEP_DONE;
}

/* Objects of kinds that the gateway does not let anybody make: they were made
 * past it, and it cannot tell by whom. */
static enum step_result dobj_check_foreign(struct request *r)
{
	const struct refs *uses = &r->facts.refs;

	for (size_t i = 0; i < uses->n; i++)
		if (uses->ids[i].kind == REFS_FOREIGN)
			return verdict_deny(
				r, DENY_OBJECT_FOREIGN,
				"The member `%s` names something of which the "
				"gateway cannot tell whose it is. %s",
				uses->ids[i].member, uses->ids[i].remedy);
	return STEP_NEXT;
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
static enum step_result dobj_bind_call(struct request *r,
                                       const struct dobj_ref *ref,
                                       const struct object *o)
{
	const struct policy_resource *at;

	if (!str_eq(o->owner, r->caller.owner))
		return dobj_deny_unknown(r, ref,
		                         "it belongs to another caller");
	at = policy_resource(r->policy, o->resource);
	if (!at)
		return dobj_deny_unknown(r, ref,
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
static enum step_result dobj_retry_or_deny(struct request *r,
                                           const struct dobj_ref *ref)
{
	uint64_t now = clock_mono_us(r->decider->clock);

	if (now - r->started_us > DOBJ_UNTIL_MS * UINT64_C(1000))
		return dobj_deny_unknown(r, ref, "nobody has made it here");
	loop_timer_start(r->decider->loop, &r->again, DOBJ_AGAIN_MS,
	                 dobj_on_retry, r);
	requests_park(r, "objects");
	return STEP_PARKED;
}

/* An item that the body carries needs no owner: it may come from an answer that
 * was not stored, or from before the gateway kept families. Only one that is
 * known as somebody else's is refused. */
static enum step_result dobj_check_carried(struct request *r,
                                           const struct dobj_ref *ref,
                                           enum object_status status,
                                           const struct object *o)
{
	if (status == OBJECT_FOUND && !str_eq(o->owner, r->caller.owner))
		return dobj_deny_unknown(r, ref,
		                         "it belongs to another caller");
	r->call.n_owned++;
	return STEP_NEXT;
}

static enum step_result dobj_handle_status(struct request *r,
                                           const struct dobj_ref *ref,
                                           enum object_status status,
                                           const struct object *o)
{
	if (status != OBJECT_FOUND && status != OBJECT_UNKNOWN)
		return verdict_deny(r, DENY_OBJECT_STORE, NULL);
	if (ref->kind == REFS_CARRIED)
		return dobj_check_carried(r, ref, status, o);
	if (status == OBJECT_FOUND)
		return dobj_bind_call(r, ref, o);
	return dobj_retry_or_deny(r, ref);
}

/* An item is known by its family, when its id has one. */
static enum step_result dobj_look_up(struct request *r,
                                     const struct dobj_ref *ref)
{
	char space[OBJECT_FAMILY_MAX];
	struct str id = ref->id;
	enum object_status status;
	struct object o;

	if (ref->kind != REFS_OBJECT && family_of(id).len > 0)
		id = objects_family_id(family_of(id), space);
	status = lookup_object(r, id, OBJECT_LIVES_ON, &o);
	return status == OBJECT_WAIT ? STEP_PARKED
	                             : dobj_handle_status(r, ref, status, &o);
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
		if (dobj_check_foreign(r) != STEP_NEXT)
			return STEP_DONE;
	}
	/* n_owned grows with each id that is found, also across a wait */
	for (;;) {
		struct dobj_ref ref = dobj_ref_at(r, r->call.n_owned);
		enum step_result res;

		if (ref.id.len == 0)
			return STEP_NEXT;
		res = dobj_look_up(r, &ref);
		if (res != STEP_NEXT)
			return res;
	}
}
