/*
 * decide/session: a caller that comes with the secret of a realtime session.
 *
 *   sess_secret --> SHA-256 --sess_look_up--> store/objects
 *                                 |  FOUND: owner, resource, model, caller
 *   sess_set_caller <-------------+
 *     caller_of: the text of the caller --> caller.identity
 *
 * The identity is made anew from its text (keys/caller) with the policy of now:
 * a tenant or gateway key that a reload has removed lets nobody in any more.
 */
#include "decide/session.h"

#include "decide/decider.h"
#include "keys/caller.h"
#include "decide/lookup.h"
#include "decide/verdict.h"
#include "keys/inbound.h"
#include "keys/jose.h"

#include <stdio.h>

enum { SESS_HASH_LEN = 32 }; /* bytes of a SHA-256 */

struct str session_id(struct str hash, char space[SESSION_ID_MAX])
{
	uint8_t sum[SESS_HASH_LEN];
	int n;

	if (!str_unhex(hash, sum, sizeof(sum)))
		return STR_NONE;
	/* api/operations accepts no ':' in the id of a path. A body may name
	 * it, but decide/objects lets only its owner do that. */
	n = snprintf(space, SESSION_ID_MAX, "secret:%" STR_FMT, STR_ARG(hash));
	return str_of(space, (size_t)n);
}

/* The bearer token, when it is the only credential; else empty. A second one
 * would leave open who is calling. */
static struct str sess_secret(const struct request_facts *f)
{
	if (f->n_authorization != 1 || f->n_api_key > 0 || f->n_x_api_key > 0 ||
	    f->n_custom_key > 0)
		return STR_NONE;
	if (!str_starts_nocase(f->authorization, STR("bearer ")))
		return STR_NONE;
	return str_from(f->authorization, 7);
}

/* OBJECT_EXPIRES: a secret is not kept for longer because it is used. */
static enum object_status sess_look_up(struct request *r, struct str secret,
                                       struct object *out)
{
	char hash[2 * SESS_HASH_LEN + 1], space[SESSION_ID_MAX];
	uint8_t sum[SESS_HASH_LEN];

	jose_sha256(secret, sum);
	str_hex(sum, sizeof(sum), hash);
	return lookup_object(r,
	                     session_id(str_of(hash, sizeof(hash) - 1), space),
	                     OBJECT_EXPIRES, out);
}

/* The session is known: the request counts as one of the caller that made it,
 * on its model and at its resource. decide/authorize asks the rules again. */
static enum step_result sess_set_caller(struct request *r,
                                        const struct object *o)
{
	int64_t now_s = clock_real_s(r->decider->clock);

	r->call.pinned = policy_resource(r->policy, o->resource);
	r->caller.identity = caller_of(o->caller, r->policy, now_s, &r->arena);
	if (!r->call.pinned || !r->caller.identity || o->model.len == 0) {
		verdict_deny_inbound(r, INBOUND_UNKNOWN_SECRET);
		verdict_detail(r, "its caller or resource is not configured");
		return STEP_DONE;
	}
	r->call.model_name = arena_str(&r->arena, o->model);
	r->call.model = policy_model(r->policy, o->model);
	return STEP_NEXT;
}

enum step_result decide_session(struct request *r)
{
	const struct request_facts *f = &r->facts;
	struct str secret = sess_secret(f);
	struct object o;

	if (f->n_authorization == 0 && f->n_api_key == 0 &&
	    f->n_x_api_key == 0 && f->n_custom_key == 0)
		return verdict_deny(r, DENY_NO_CREDENTIAL, NULL);
	if (secret.len == 0)
		return verdict_deny_inbound(r, INBOUND_UNKNOWN_SECRET);
	switch (sess_look_up(r, secret, &o)) {
	case OBJECT_FOUND:
		return sess_set_caller(r, &o);
	case OBJECT_UNKNOWN:
		return verdict_deny_inbound(r, INBOUND_UNKNOWN_SECRET);
	case OBJECT_WAIT:
		return STEP_PARKED;
	case OBJECT_FAILED:
		break;
	}
	return verdict_deny(r, DENY_OBJECT_STORE, NULL);
}

enum step_result session_credential(struct request *r)
{
	r->target[0].auth_name = STR("authorization");
	r->target[0].auth_value = r->facts.authorization;
	return STEP_NEXT;
}
