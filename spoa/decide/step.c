/*
 * decide/step: the steps of a decision, in their order.
 *
 * What the order rests on:
 *   - `authenticate` is first: neither limits nor objects are asked about a
 *     caller that has not proved who it is;
 *   - `objects` comes before `authorize`, because the model of a stored
 *     response, which the rules are about, is known from the object alone;
 *   - `reserve` is the first step that changes something outside the request;
 *     what denies after it makes the pipeline give that back (reserve_undo);
 *   - `adapt` edits for the deployment that `route` has chosen;
 *   - `credential` is last, because what it writes is valid until the next
 *     turn of the loop only, so no step may park behind it.
 */
#include "decide/step.h"

const struct step step_table[REQUEST_N_STEPS] = {
	{"authenticate", decide_authenticate}, /* who is calling? */
	{"resolve", decide_resolve},           /* which operation and model? */
	{"objects", decide_objects},       /* does the caller own the ids? */
	{"authorize", decide_authorize},   /* does a rule allow it? */
	{"estimate", decide_estimate},     /* how many tokens and dollars? */
	{"reserve", decide_reserve},       /* do the limits have them? */
	{"route", decide_route},           /* which deployment? */
	{"adapt", decide_adapt},           /* what changes in the body? */
	{"credential", decide_credential}, /* as whom do we call it? */
};

const char *step_name(unsigned step)
{
	return step < REQUEST_N_STEPS ? step_table[step].name : "done";
}
