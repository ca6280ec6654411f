/*
 * decide/lookup: an object of the store, for a step that may have to wait.
 *
 * The answer waits in r->lookup between the callback and the step: `done` is
 * set by lkp_on_found and cleared when lookup_object has given it away, so each
 * answer is used once.
 */
#include "decide/lookup.h"

#include "decide/decider.h"
#include "request/table.h"

/* Redis has answered, or its time is up. The request may have ended since. The
 * strings of *o are valid during this call only, so they are copied. */
static void lkp_on_found(void *table, uint64_t ref, enum object_status status,
                         const struct object *o)
{
	struct request *r = requests_find(table, ref);

	if (!r || !r->parked)
		return;
	r->lookup = (struct request_lookup){.done = true, .status = status};
	if (status == OBJECT_FOUND)
		r->lookup.object = (struct object){
			.owner = arena_str(&r->arena, o->owner),
			.resource = arena_str(&r->arena, o->resource),
			.model = arena_str(&r->arena, o->model),
			.origin = arena_str(&r->arena, o->origin),
			.caller = arena_str(&r->arena, o->caller),
		};
	requests_wake(table, ref);
}

enum object_status lookup_object(struct request *r, struct str id,
                                 enum object_life life, struct object *out)
{
	enum object_status status;

	if (r->lookup.done) {
		r->lookup.done = false;
		*out = r->lookup.object;
		return r->lookup.status;
	}
	status = objects_find(r->decider->objects, id, life, lkp_on_found,
	                      r->table, r->ref, out);
	if (status == OBJECT_WAIT)
		requests_park(r, "object store");
	return status;
}
