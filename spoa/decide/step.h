/*
 * decide/step: what every step of a decision looks like, and their order.
 *
 * A step is one file with one function of this signature. It reads what HAProxy
 * said and what earlier steps wrote (request/request.h says who writes what),
 * writes its own part of the request, and does one of three things. Steps do
 * not call each other, and none of them answers, logs or ends a request:
 * decide/pipeline does.
 */
#ifndef DECIDE_STEP_H
#define DECIDE_STEP_H

#include "request/request.h"

enum step_result {
	/* Nothing against the request: run the next step. */
	STEP_NEXT = 0,
	/* The verdict is set, by a function of decide/verdict: no further step
	 * is run. */
	STEP_DONE = 1,
	/* requests_park() was called, and somebody has the request's reference
	 * to wake it. The step is then run again from its start, with r->woken
	 * set, so it must not do twice what it has done before it parked. */
	STEP_PARKED = 2,
};

typedef enum step_result step_fn(struct request *r);

step_fn decide_authenticate, decide_resolve, decide_objects, decide_authorize,
	decide_estimate, decide_reserve, decide_route, decide_adapt,
	decide_credential;

/* A row of the table: the order of a decision. */
struct step {
	const char *name; /* label of a metric, field of the decision line */
	step_fn *run;
};

extern const struct step step_table[REQUEST_N_STEPS];

/* The name of row `step`, a constant; "done" behind the last one. */
const char *step_name(unsigned step);

#endif
