/*
 * decide/authenticate: which credentials came, and whom they prove.
 *
 * Headers are sorted into at most one token and one gateway key. Which of the
 * two counts is the config's rule (keys.require), never accident: a
 * credential that is present and counts must be good.
 */
#include "decide/decider.h"
#include "decide/session.h"
#include "decide/step.h"
#include "decide/verdict.h"
#include "keys/inbound.h"
#include "request/table.h"

struct presented {
	struct str token; /* a JWT by its look */
	struct str key;
	bool ambiguous;
};

/* "Bearer x", with any case of the scheme and exactly one blank
 * (RFC 6750, 2.1). Anything else has no credential for us. */
static struct str bearer_of(struct str header)
{
	if (!str_starts_nocase(header, STR("bearer ")))
		return STR_NONE;
	return str_from(header, 7);
}

/* Three parts, of which the first is a JSON object in base64url ("{\"").
 * Gateway keys are compared by hash, so a wrong guess can only refuse. */
static bool looks_like_jwt(struct str s)
{
	return str_starts(s, STR("eyJ")) && str_find(s, '.') < s.len;
}

static void add_key(struct presented *p, struct str key)
{
	if (key.len == 0)
		return;
	if (p->key.len > 0 && !str_eq_secret(p->key, key))
		p->ambiguous = true;
	p->key = key;
}

/* Foundry connections may format a custom header as "Token {api_key}" or
 * "Bearer {api_key}" (authConfig.format). */
static struct str without_scheme(struct str s)
{
	size_t blank = str_find(s, ' ');

	return blank < s.len ? str_from(s, blank + 1) : s;
}

/* More than one of a kind, or one of which request/ kept nothing because no
 * credential is that long. */
static bool is_unusable(unsigned n, struct str value)
{
	return n > 1 || (n == 1 && value.len == 0);
}

static struct presented collect(const struct request_facts *f)
{
	struct presented p = {
		.ambiguous =
			is_unusable(f->n_authorization, f->authorization) ||
			is_unusable(f->n_api_key, f->api_key) ||
			is_unusable(f->n_x_api_key, f->x_api_key) ||
			is_unusable(f->n_custom_key, f->custom_key),
	};
	struct str bearer = bearer_of(f->authorization);

	if (looks_like_jwt(bearer))
		p.token = bearer;
	else
		add_key(&p, bearer);
	add_key(&p, f->api_key);
	add_key(&p, f->x_api_key);
	add_key(&p, without_scheme(f->custom_key));
	return p;
}

/* Leave only what the rule lets count. False: something required is not
 * there. */
static bool apply_rule(enum policy_require rule, struct presented *p)
{
	switch (rule) {
	case REQUIRE_TOKEN:
		p->key = STR_NONE;
		return p->token.len > 0;
	case REQUIRE_KEY:
		p->token = STR_NONE;
		return p->key.len > 0;
	case REQUIRE_BOTH:
		return p->token.len > 0 && p->key.len > 0;
	case REQUIRE_ANY:
		break;
	}
	return p->token.len > 0 || p->key.len > 0;
}

/* Make the identity from what the two credentials proved. */
static enum step_result conclude(struct request *r, struct identity *token,
                                 struct identity *key)
{
	if (token && key) {
		r->caller.identity = inbound_merge(token, key);
		identity_unref(token);
		identity_unref(key);
	} else {
		r->caller.identity = token ? token : key;
	}
	if (!r->caller.identity)
		return verdict_deny_inbound(r, INBOUND_MEMORY);
	return STEP_NEXT;
}

enum step_result decide_authenticate(struct request *r)
{
	struct presented p = collect(&r->facts);
	struct identity *token = NULL, *key = NULL;
	struct inbound *in = r->decider->inbound;
	enum inbound_status s;

	if (r->call.api.traits.by_secret)
		return decide_session(r);
	if (p.ambiguous)
		return verdict_deny(r, DENY_AMBIGUOUS_CREDENTIAL, NULL);
	if (!apply_rule(r->policy->require, &p)) {
		if (r->facts.authorization.len > 0 || p.key.len > 0 ||
		    r->facts.n_authorization > 0)
			verdict_detail(r, "a credential came, but none that "
			                  "keys.require lets count");
		return verdict_deny(r, DENY_NO_CREDENTIAL, NULL);
	}
	if (p.key.len > 0) {
		s = inbound_key(in, r->policy, p.key, &key);
		if (s != INBOUND_OK)
			return verdict_deny_inbound(r, s);
	}
	if (p.token.len > 0) {
		s = inbound_token(in, r->policy, p.token, requests_waiter(r),
		                  r->woken, &token);
		if (s != INBOUND_OK)
			identity_unref(key);
		if (s == INBOUND_WAIT) {
			requests_park(r, "signing keys");
			return STEP_PARKED;
		}
		if (s != INBOUND_OK)
			return verdict_deny_inbound(r, s);
	}
	return conclude(r, token, key);
}
