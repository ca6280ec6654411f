/*
 * decide/authenticate: which credentials came, and whom they prove.
 *
 *   Authorization: Bearer --- looks like a JWT ---> token --inbound_token--+
 *                         '-- else -----------+                            |
 *   api-key, x-api-key, key_header -----------+---> key ----inbound_key----+
 *                                                                          v
 *   authn_collect_credentials   authn_apply_require       authn_set_identity
 *
 * Which of the two counts is what keys.require says, not what the client has
 * happened to send. What counts and is there must be good: a bad token next to
 * a good key is refused, or a client could fall back on the weaker one.
 *
 * A call that comes with the secret of a realtime session (traits.by_secret)
 * has a step of its own, decide/session.
 */
#include "decide/decider.h"
#include "decide/session.h"
#include "decide/step.h"
#include "decide/verdict.h"
#include "keys/inbound.h"
#include "request/table.h"

/* What the client has sent; views into the facts. */
struct presented {
	struct str token; /* a JWT by its look */
	struct str key;
	bool ambiguous; /* it cannot be told which one is meant */
};

/* The credential of "Bearer x"; the scheme may have any case (RFC 9110, 11.1).
 * RFC 6750, 2.1 allows several blanks; clients send one, and a further one is
 * taken as part of the credential, which then proves nobody. Any other scheme
 * is no credential of this gateway. */
static struct str authn_bearer(struct str header)
{
	if (!str_starts_nocase(header, STR("bearer ")))
		return STR_NONE;
	return str_from(header, 7);
}

/* A JWT begins with a JSON object in base64url, "{\"" is "eyJ", and has dots
 * between its parts; keys/jose checks all of it. A gateway key that looks so is
 * refused as a bad token: a wrong guess cannot let anybody in. */
static bool authn_looks_like_jwt(struct str s)
{
	return str_starts(s, STR("eyJ")) && str_find(s, '.') < s.len;
}

/* The same key may come in two headers: AnthropicFoundry sends it as x-api-key
 * and as api-key (foundry.md 4.5). Two different ones are refused. */
static void authn_add_key(struct presented *p, struct str key)
{
	if (key.len == 0)
		return;
	if (p->key.len > 0 && !str_eq_secret(p->key, key))
		p->ambiguous = true;
	p->key = key;
}

/* Foundry connections may format the key in a header of their own as "Token
 * {api_key}" or "Bearer {api_key}" (authConfig.format, foundry.md 1.3). */
static struct str authn_without_scheme(struct str s)
{
	size_t blank = str_find(s, ' ');

	return blank < s.len ? str_from(s, blank + 1) : s;
}

/* A header that came twice, or one of which request/ kept nothing: it is empty,
 * or longer than any credential. */
static bool authn_is_unusable(unsigned n, struct str value)
{
	return n > 1 || (n == 1 && value.len == 0);
}

static struct presented authn_collect_credentials(const struct request_facts *f)
{
	struct presented p = {
		.ambiguous = authn_is_unusable(f->n_authorization,
	                                       f->authorization) ||
	                     authn_is_unusable(f->n_api_key, f->api_key) ||
	                     authn_is_unusable(f->n_x_api_key, f->x_api_key) ||
	                     authn_is_unusable(f->n_custom_key, f->custom_key),
	};
	struct str bearer = authn_bearer(f->authorization);

	/* OpenAI's client sends a key as bearer token (foundry.md 4.2) */
	if (authn_looks_like_jwt(bearer))
		p.token = bearer;
	else
		authn_add_key(&p, bearer);
	authn_add_key(&p, f->api_key);
	authn_add_key(&p, f->x_api_key);
	authn_add_key(&p, authn_without_scheme(f->custom_key));
	return p;
}

/* Leave only what keys.require lets count. False: what it requires is not
 * there. */
static bool authn_apply_require(enum policy_require rule, struct presented *p)
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

/* From what the credentials proved; both references are taken over. With both,
 * the identity is the token's with the key's name. */
static enum step_result authn_set_identity(struct request *r,
                                           struct identity *token,
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
	struct presented p = authn_collect_credentials(&r->facts);
	struct identity *token = NULL, *key = NULL;
	struct inbound *in = r->decider->inbound;
	enum inbound_status s;

	/* all of it is run again after a wait, so nothing is kept across it */
	if (r->call.api.traits.by_secret)
		return decide_session(r);
	if (p.ambiguous)
		return verdict_deny(r, DENY_AMBIGUOUS_CREDENTIAL, NULL);
	if (!authn_apply_require(r->policy->require, &p)) {
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
		/* also when it waits: the key is checked again then */
		if (s != INBOUND_OK)
			identity_unref(key);
		if (s == INBOUND_WAIT) {
			requests_park(r, "signing keys");
			return STEP_PARKED;
		}
		if (s != INBOUND_OK)
			return verdict_deny_inbound(r, s);
	}
	return authn_set_identity(r, token, key);
}
