/*
 * decide/credential: the header that opens the chosen resource.
 *
 * Tokens are fetched ahead in the background; only the first request after a
 * start may find none yet and waits for it.
 */
#include "agent/agent.h"
#include "decide/pipeline.h"
#include "decide/session.h"
#include "decide/verdict.h"

enum step_result decide_credential(struct request *r)
{
	struct request_plan *plan = &r->plan;
	unsigned resource = (unsigned)(plan->resource - r->policy->resources);

	if (plan->call.traits.by_secret)
		return session_credential(r);
	r->wait.wake = pipeline_wake;
	r->wait.ctx = r->agent;
	r->wait.ref = r->ref;
	switch (outbound_header(r->agent->outbound, r->policy, resource,
	                        &plan->auth_name, &plan->auth_value,
	                        &r->wait)) {
	case OUTBOUND_OK:
		return STEP_NEXT;
	case OUTBOUND_WAIT:
		r->waits_for = "outbound token";
		return STEP_PARKED;
	case OUTBOUND_FAILED:
		break;
	}
	return verdict_deny(r, DENY_OUTBOUND, NULL);
}
