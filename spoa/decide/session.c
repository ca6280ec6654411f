/* decide/session: a caller that comes with the secret of a realtime session. */
#include "decide/session.h"

#include "decide/decider.h"
#include "keys/caller.h"
#include "decide/lookup.h"
#include "decide/verdict.h"
#include "keys/inbound.h"
#include "keys/jose.h"

#include <stdio.h>

enum { HASH_LEN = 32 };

struct str session_id(struct str hash, char space[SESSION_ID_MAX])
{
	uint8_t sum[HASH_LEN];
	int n;

	if (!str_unhex(hash, sum, sizeof(sum)))
		return STR_NONE;
	/* ':' is in no id that api.c accepts; decide/objects would have to
	 * find it in a body, where the owner alone could use it */
	n = snprintf(space, SESSION_ID_MAX, "secret:%" STR_FMT, STR_ARG(hash));
	return str_of(space, (size_t)n);
}

/* What stands behind "Bearer ", when nothing else came. */
static struct str secret_of(const struct request_facts *f)
{
	if (f->n_authorization != 1 || f->n_api_key > 0 || f->n_x_api_key > 0 ||
	    f->n_custom_key > 0)
		return STR_NONE;
	if (!str_starts_nocase(f->authorization, STR("bearer ")))
		return STR_NONE;
	return str_from(f->authorization, 7);
}

static enum object_status look(struct request *r, struct str secret,
                               struct object *out)
{
	char hash[2 * HASH_LEN + 1], space[SESSION_ID_MAX];
	uint8_t sum[HASH_LEN];

	jose_sha256(secret, sum);
	str_hex(sum, sizeof(sum), hash);
	return lookup_object(r, session_id(str_of(hash, 2 * HASH_LEN), space),
	                     OBJECT_EXPIRES, out);
}

/* Its session is known: the call is its caller's, on its model, there. */
static enum step_result take(struct request *r, const struct object *o)
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
	struct str secret = secret_of(f);
	struct object o;

	if (f->n_authorization == 0 && f->n_api_key == 0 &&
	    f->n_x_api_key == 0 && f->n_custom_key == 0)
		return verdict_deny(r, DENY_NO_CREDENTIAL, NULL);
	if (secret.len == 0)
		return verdict_deny_inbound(r, INBOUND_UNKNOWN_SECRET);
	switch (look(r, secret, &o)) {
	case OBJECT_FOUND:
		return take(r, &o);
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
