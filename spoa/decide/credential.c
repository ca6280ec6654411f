/*
 * decide/credential: the header that opens the chosen resource.
 *
 *   target.resource --outbound_header--> target.auth_name, target.auth_value
 *
 * Tokens are fetched ahead in the background, so only the first request after a
 * start may find none yet and waits for it. The caller's own credential is
 * removed by haproxy.cfg, whatever is decided here.
 */
#include "decide/decider.h"
#include "decide/session.h"
#include "decide/step.h"
#include "decide/verdict.h"
#include "keys/outbound.h"
#include "request/table.h"

enum step_result decide_credential(struct request *r)
{
	struct request_target *t = &r->target[0];
	unsigned resource = (unsigned)(t->resource - r->policy->resources);

	/* the resource knows its own secret and would refuse our token */
	if (r->call.api.traits.by_secret)
		return session_credential(r);
	switch (outbound_header(r->decider->outbound, r->policy, resource,
	                        &t->auth_name, &t->auth_value,
	                        requests_waiter(r))) {
	case OUTBOUND_OK:
		return STEP_NEXT;
	case OUTBOUND_WAIT:
		requests_park(r, "outbound token");
		return STEP_PARKED;
	case OUTBOUND_FAILED:
		break;
	}
	return verdict_deny(r, DENY_OUTBOUND, NULL);
}
