/*
 * decide/step: what every step of a decision looks like, and their order.
 */
#ifndef DECIDE_STEP_H
#define DECIDE_STEP_H

#include "request/request.h"

enum step_result {
	STEP_NEXT = 0,   /* go on */
	STEP_DONE = 1,   /* the verdict is set */
	STEP_PARKED = 2, /* requests_park() was called; a waker is known */
};

/* Every step may deny (verdict_deny + STEP_DONE), go on, or park. A parked
 * step is run again from its start when woken, with r->woken set. */
typedef enum step_result step_fn(struct request *r);

step_fn decide_authenticate, decide_resolve, decide_objects, decide_authorize,
	decide_estimate, decide_reserve, decide_route, decide_adapt,
	decide_credential;

/* A row of the table: the order of a decision. */
struct step {
	const char *name; /* "authenticate": for metrics and logs */
	step_fn *run;
};

extern const struct step steps[REQUEST_N_STEPS];

/* The name of a step; "done" behind the last one. */
const char *step_name(unsigned step);

#endif
