/* decide/lookup: an object of the store, for a step that may have to wait. */
#include "decide/lookup.h"

#include "agent/agent.h"
#include "decide/pipeline.h"

/* Redis has answered. The step is run again, and finds this. */
static void on_found(void *ctx, uint64_t ref, enum object_status status,
                     const struct object *o)
{
	struct agent *a = ctx;
	struct request *r = requests_find(a->requests, ref);

	if (!r || !r->parked)
		return;
	r->found_status = status;
	r->found = (struct object){0};
	if (status == OBJECT_FOUND)
		r->found = (struct object){
			.owner = arena_str(&r->arena, o->owner),
			.resource = arena_str(&r->arena, o->resource),
			.model = arena_str(&r->arena, o->model),
			.origin = arena_str(&r->arena, o->origin),
			.caller = arena_str(&r->arena, o->caller),
		};
	r->found_set = true;
	pipeline_wake(a, ref);
}

enum object_status lookup_object(struct request *r, struct str id,
                              enum object_life life, struct object *out)
{
	enum object_status status;

	if (r->found_set) {
		r->found_set = false;
		*out = r->found;
		return r->found_status;
	}
	status = objects_find(r->agent->objects, id, life, on_found, r->agent,
	                      r->ref, out);
	if (status == OBJECT_WAIT)
		r->waits_for = "object store";
	return status;
}
