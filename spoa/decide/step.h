/*
 * decide/step: what every step of a decision looks like.
 */
#ifndef DECIDE_STEP_H
#define DECIDE_STEP_H

#include "request/request.h"

enum step_result {
	STEP_NEXT = 0,   /* go on */
	STEP_DONE = 1,   /* the verdict is set */
	STEP_PARKED = 2, /* somebody will call pipeline_resume(ref) */
};

/* Every step may deny (verdict_deny + STEP_DONE), go on, or park. A parked
 * step is run again from its start when resumed, with r->woken set. */
typedef enum step_result step_fn(struct request *r);

step_fn decide_authenticate, decide_resolve, decide_objects, decide_authorize,
	decide_estimate, decide_reserve, decide_route, decide_adapt,
	decide_credential;

#endif
