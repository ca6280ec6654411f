/* decide/step: the steps of a decision, in their order. */
#include "decide/step.h"

const struct step steps[REQUEST_N_STEPS] = {
	{"authenticate", decide_authenticate}, /* who is calling? */
	{"resolve", decide_resolve},           /* which operation, model? */
	{"objects", decide_objects},           /* are the ids in it its own? */
	{"authorize", decide_authorize},       /* does a rule allow it? */
	{"estimate", decide_estimate},         /* how many tokens, dollars? */
	{"reserve", decide_reserve},           /* do the limits have them? */
	{"route", decide_route},               /* which deployment? */
	{"adapt", decide_adapt},               /* what changes in the body? */
	{"credential", decide_credential},     /* which header opens it? */
};

const char *step_name(unsigned step)
{
	return step < REQUEST_N_STEPS ? steps[step].name : "done";
}
