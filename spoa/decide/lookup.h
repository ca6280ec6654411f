/*
 * decide/lookup: an object of the store, for a step that may have to wait.
 *
 *   lookup_object --objects_find--> FOUND | UNKNOWN | FAILED, at once
 *         |                         WAIT: parked
 *         |      Redis answers: r->lookup, requests_wake --> the step again
 *         '--------------------------------------- lookup_object: the answer
 */
#ifndef DECIDE_LOOKUP_H
#define DECIDE_LOOKUP_H

#include "request/request.h"

/* Look up `id`, or take the answer to the look-up that this step has parked
 * for. OBJECT_WAIT: the request was parked, and the step returns STEP_PARKED;
 * when it is run again it must ask for the same id first, because the answer
 * that is there is given whatever `id` says. *out is set with OBJECT_FOUND, and
 * valid until the next look-up. */
enum object_status lookup_object(struct request *r, struct str id,
                                 enum object_life life, struct object *out);

#endif
