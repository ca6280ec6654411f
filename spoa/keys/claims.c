/*
 * keys/claims: checks the claims of a verified token and makes an identity of
 * them.
 *
 *   jose_claims -> clm_check_issuer, _audience, _times     refuse
 *               -> clm_read_caller, clm_read_rights -> struct draft (stack)
 *               -> clm_is_admitted                         refuse
 *               -> clm_build -> struct identity (one allocation)
 *
 * A claim of the wrong type is refused, and never treated as absent: an
 * application that reads it otherwise would see another caller.
 */
#include "keys/claims.h"

#include <stdlib.h>

/* An identity while the claims are read, about 25 kB on the stack. */
struct draft {
	struct str roles[CLAIMS_MAX_ROLES];
	struct str groups[CLAIMS_MAX_GROUPS];
	bool overflow; /* more roles, groups or text than there is room for */
	/* The strings: libjwt's are valid during a call only, and some are
	 * changed. All come from the payload, so they fit unless an escape
	 * makes them longer; then `overflow` is set. */
	char mem[JOSE_TOKEN_MAX];
	size_t used;
	/* views into the above; last, as it ends with a flexible array */
	struct identity of;
};

/* ------------------------------------------------------------- identity */

static size_t clm_text_len(const struct identity *of)
{
	size_t n = of->key.len + of->tid.len + of->app.len + of->object.len +
	           of->mirid.len + of->scopes.len + of->agent_blueprint.len;
	size_t i;

	for (i = 0; i < of->n_roles; i++)
		n += of->roles[i].len;
	for (i = 0; i < of->n_groups; i++)
		n += of->groups[i].len;
	return n;
}

/* Copy a string to *at, make it a view of the copy, and move *at behind it. */
static void clm_copy_text(char **at, struct str *s)
{
	if (s->len)
		memcpy(*at, s->p, s->len);
	s->p = *at;
	*at += s->len;
}

/* The same for an array of strings, whose entries go to *at. */
static struct str *clm_copy_array(char **text, struct str **at,
                                  const struct str *from, size_t n)
{
	struct str *array = *at;
	size_t i;

	for (i = 0; i < n; i++) {
		array[i] = from[i];
		clm_copy_text(text, &array[i]);
	}
	*at += n;
	return array;
}

/* A copy of `of` in one allocation:
 *
 *   struct identity | roles | groups | text of all strings
 */
static struct identity *clm_build(const struct identity *of)
{
	size_t n = of->n_roles + of->n_groups;
	struct identity *i = calloc(1, sizeof(*i) + n * sizeof(struct str) +
	                                       clm_text_len(of));
	struct str *arrays;
	char *text;

	if (!i)
		return NULL;
	/* mem follows pointers in the struct, so it is aligned for them */
	_Static_assert(offsetof(struct identity, mem) % _Alignof(struct str) ==
	                       0,
	               "the arrays in identity.mem need alignment");
	*i = *of;
	i->refs = 1;
	arrays = (struct str *)(void *)i->mem;
	text = i->mem + n * sizeof(struct str);
	i->roles = clm_copy_array(&text, &arrays, of->roles, of->n_roles);
	i->groups = clm_copy_array(&text, &arrays, of->groups, of->n_groups);
	clm_copy_text(&text, &i->key);
	clm_copy_text(&text, &i->tid);
	clm_copy_text(&text, &i->app);
	clm_copy_text(&text, &i->object);
	clm_copy_text(&text, &i->mirid);
	clm_copy_text(&text, &i->scopes);
	clm_copy_text(&text, &i->agent_blueprint);
	return i;
}

struct identity *claims_of_key(struct str name, int64_t exp)
{
	struct identity of = {
		.kind = IDENTITY_KEY, .key = name, .tenant = -1, .exp = exp};

	return clm_build(&of);
}

struct identity *claims_again(const struct identity *of)
{
	return clm_build(of);
}

struct identity *claims_copy(const struct identity *token, struct str key)
{
	struct identity of = *token;

	of.kind = IDENTITY_BOTH;
	of.key = key;
	return clm_build(&of);
}

/* ---------------------------------------------------------------- draft */

/* Room for `len` bytes; NULL, and overflow set, when there is none. */
static char *clm_reserve(struct draft *d, size_t len)
{
	char *p = d->mem + d->used;

	if (len > sizeof(d->mem) - d->used) {
		d->overflow = true;
		return NULL;
	}
	d->used += len;
	return p;
}

static struct str clm_keep(struct draft *d, struct str s)
{
	char *p = clm_reserve(d, s.len);

	if (!p)
		return STR_NONE;
	if (s.len)
		memcpy(p, s.p, s.len);
	return str_of(p, s.len);
}

/* GUIDs come in any letter case, and are compared byte by byte later. */
static struct str clm_keep_lower(struct draft *d, struct str s)
{
	char *p = clm_reserve(d, s.len);

	if (!p)
		return STR_NONE;
	str_copy_lower(p, s);
	return str_of(p, s.len);
}

/* The words of `s` with one space between them, as struct identity has its
 * scopes. */
static struct str clm_keep_words(struct draft *d, struct str s)
{
	char *p = clm_reserve(d, s.len);
	size_t n = 0;

	if (!p)
		return STR_NONE;
	for (;;) {
		size_t end;

		s = str_trim(s);
		if (s.len == 0)
			return str_of(p, n);
		end = str_find(s, ' ');
		if (n > 0)
			p[n++] = ' ';
		memcpy(p + n, s.p, end);
		n += end;
		s = str_from(s, end);
	}
}

static void clm_on_role(void *ctx, struct str s)
{
	struct draft *d = ctx;

	if (d->of.n_roles == CLAIMS_MAX_ROLES)
		d->overflow = true;
	else
		d->roles[d->of.n_roles++] = clm_keep(d, s);
}

static void clm_on_group(void *ctx, struct str s)
{
	struct draft *d = ctx;

	if (d->of.n_groups == CLAIMS_MAX_GROUPS)
		d->overflow = true;
	else
		d->groups[d->of.n_groups++] = clm_keep_lower(d, s);
}

/* --------------------------------------------------------------- checks */

static bool clm_has_claim(const struct jose_claims *c, const char *name)
{
	return jose_claim_present(c, name);
}

/* A claim that may be absent. False when it is there and is no string, or an
 * empty one. */
static bool clm_read_optional(const struct jose_claims *c, const char *name,
                              struct str *out)
{
	*out = jose_claim_str(c, name);
	return out->len > 0 || !clm_has_claim(c, name);
}

static bool clm_read_guid(const struct jose_claims *c, const char *name,
                          struct str *out)
{
	return clm_read_optional(c, name, out) &&
	       (out->len == 0 || str_is_guid(*out));
}

/* v1 and v2 tokens have different issuers (azure.md 1.1); both are configured
 * with their tenant, so neither is put together from the token. */
static enum inbound_status clm_check_issuer(const struct jose_claims *c,
                                            const struct policy_tenant *t,
                                            bool *v1)
{
	struct str iss = jose_claim_str(c, "iss");
	struct str ver = jose_claim_str(c, "ver");
	struct str tid = jose_claim_str(c, "tid");

	if (iss.len == 0 || ver.len == 0 || tid.len == 0)
		return INBOUND_CLAIMS;
	*v1 = str_eq(ver, STR("1.0"));
	if (!*v1 && !str_eq(ver, STR("2.0")))
		return INBOUND_ISSUER;
	if (!str_eq(iss, *v1 ? t->issuer_v1 : t->issuer_v2))
		return INBOUND_ISSUER;
	if (!str_eq_nocase(tid, t->id))
		return INBOUND_TENANT;
	return INBOUND_OK;
}

struct audience_search {
	const struct strs *wanted;
	bool found;
};

/* v1 tokens have the audience as it was asked for, with or without a '/' at
 * its end (azure.md 1.6); everything else is compared byte by byte. */
static void clm_on_audience(void *ctx, struct str aud)
{
	struct audience_search *search = ctx;
	size_t i;

	for (i = 0; i < search->wanted->n; i++) {
		struct str want = search->wanted->v[i];

		if (str_eq(aud, want) ||
		    (aud.len == want.len + 1 && str_starts(aud, want) &&
		     aud.p[want.len] == '/'))
			search->found = true;
	}
}

/* `aud` is a string, or an array of which one entry must match (RFC 7519,
 * 4.1.3). */
static enum inbound_status clm_check_audience(const struct jose_claims *c,
                                              const struct policy_tenant *t)
{
	struct audience_search search = {&t->audiences, false};
	struct str aud = jose_claim_str(c, "aud");

	if (aud.len > 0)
		clm_on_audience(&search, aud);
	else if (!clm_has_claim(c, "aud") ||
	         !jose_claim_strs(c, "aud", clm_on_audience, &search))
		return INBOUND_CLAIMS;
	return search.found ? INBOUND_OK : INBOUND_AUDIENCE;
}

/* exp is required (RFC 7519 makes it optional), nbf is not. skew_s is what the
 * clocks may differ, for both. *exp is without it. */
static enum inbound_status clm_check_times(const struct jose_claims *c,
                                           const struct policy_tenant *t,
                                           int64_t now_s, int64_t *exp)
{
	int64_t nbf = 0;

	if (!jose_claim_time(c, "exp", exp))
		return INBOUND_CLAIMS;
	if (!jose_claim_time(c, "nbf", &nbf) && clm_has_claim(c, "nbf"))
		return INBOUND_CLAIMS;
	if (now_s >= *exp + t->skew_s)
		return INBOUND_EXPIRED;
	if (now_s + t->skew_s < nbf)
		return INBOUND_NOT_YET;
	return INBOUND_OK;
}

/* The claims that name the caller. email, upn and the like are not read: they
 * can be changed by users, so nothing may be decided by them (azure.md 1.7). */
static enum inbound_status clm_read_caller(const struct jose_claims *c, bool v1,
                                           struct draft *d)
{
	struct str app, object, mirid, blueprint;

	if (!clm_read_guid(c, v1 ? "appid" : "azp", &app) ||
	    !clm_read_guid(c, "oid", &object) ||
	    !clm_read_optional(c, "xms_mirid", &mirid) ||
	    !clm_read_optional(c, "xms_par_app_azp", &blueprint))
		return INBOUND_CLAIMS;
	/* without both there is nothing to charge by or to log */
	if (app.len == 0 && object.len == 0)
		return INBOUND_CLAIMS;
	d->of.tid = clm_keep_lower(d, jose_claim_str(c, "tid"));
	d->of.app = clm_keep_lower(d, app);
	d->of.object = clm_keep_lower(d, object);
	d->of.mirid = clm_keep(d, mirid);
	d->of.agent_blueprint = clm_keep_lower(d, blueprint);
	return INBOUND_OK;
}

/* The claims that rules ask for. `scp` may be empty, which means no scope, but
 * must be a string. */
static enum inbound_status clm_read_rights(const struct jose_claims *c,
                                           struct draft *d)
{
	struct str idtyp, scp = jose_claim_str(c, "scp");

	if (!clm_read_optional(c, "idtyp", &idtyp) ||
	    (!scp.p && clm_has_claim(c, "scp")))
		return INBOUND_CLAIMS;
	d->of.app_only =
		str_eq(idtyp, STR("app")) || (idtyp.len == 0 && scp.len == 0);
	if (!d->of.app_only)
		d->of.scopes = clm_keep_words(d, scp);
	if (!jose_claim_strs(c, "roles", clm_on_role, d) ||
	    !jose_claim_strs(c, "groups", clm_on_group, d))
		return INBOUND_CLAIMS;
	/* more groups than Entra puts into a token: it names a URL instead
	 * (azure.md 1.7), and rules that ask for a group do not hold */
	d->of.groups_overage = clm_has_claim(c, "_claim_names") ||
	                       clm_has_claim(c, "hasgroups");
	return d->overflow ? INBOUND_CLAIMS : INBOUND_OK;
}

static bool clm_is_listed_caller(const struct policy_tenant *t, struct str id)
{
	size_t i;

	for (i = 0; id.len > 0 && i < t->callers.n; i++)
		if (str_eq_nocase(t->callers.v[i], id))
			return true;
	return false;
}

/* See the head of claims.h. */
static bool clm_is_admitted(const struct policy_tenant *t,
                            const struct draft *d)
{
	size_t i, k;

	if (!d->of.app_only) {
		for (i = 0; i < t->scopes.n; i++)
			if (str_has_word(d->of.scopes, ' ', t->scopes.v[i]))
				return true;
		return false;
	}
	for (i = 0; i < t->roles.n; i++)
		for (k = 0; k < d->of.n_roles; k++)
			if (str_eq(t->roles.v[i], d->roles[k]))
				return true;
	return clm_is_listed_caller(t, d->of.app) ||
	       clm_is_listed_caller(t, d->of.object);
}

enum inbound_status claims_identity(const struct jose_claims *c,
                                    const struct policy_tenant *t, int tenant,
                                    int64_t now_s, struct identity **out)
{
	enum inbound_status s;
	struct identity *made;
	struct draft d;
	bool v1 = false;

	/* set by hand: `d = {0}` would clear 25 kB for every token */
	d.of = (struct identity){.kind = IDENTITY_TOKEN,
	                         .tenant = tenant,
	                         .roles = d.roles,
	                         .groups = d.groups};
	d.overflow = false;
	d.used = 0;
	s = clm_check_issuer(c, t, &v1);
	if (s == INBOUND_OK)
		s = clm_check_audience(c, t);
	if (s == INBOUND_OK)
		s = clm_check_times(c, t, now_s, &d.of.exp);
	if (s == INBOUND_OK)
		s = clm_read_caller(c, v1, &d);
	if (s == INBOUND_OK)
		s = clm_read_rights(c, &d);
	if (s != INBOUND_OK)
		return s;
	if (!clm_is_admitted(t, &d))
		return INBOUND_PERMISSION;
	made = clm_build(&d.of);
	if (!made)
		return INBOUND_MEMORY;
	*out = made;
	return INBOUND_OK;
}
