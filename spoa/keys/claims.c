/* keys/claims: the claims of a verified token -> identity, or why not. */
#include "keys/claims.h"

#include <stdlib.h>

/* What is to become an identity; its strings live elsewhere. */
struct draft {
	struct str roles[CLAIMS_MAX_ROLES];
	struct str groups[CLAIMS_MAX_GROUPS];
	bool overflow;
	/* room for strings that are not in the token as such: they come from
	 * its payload, so they are never longer than it */
	char mem[JOSE_TOKEN_MAX];
	size_t used;
	struct identity of; /* points to the above; last, as it is open-ended */
};

/* ------------------------------------------------------------- identity */

static size_t text_len(const struct identity *of)
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

static void move_in(char **at, struct str *s)
{
	if (s->len)
		memcpy(*at, s->p, s->len);
	s->p = *at;
	*at += s->len;
}

static struct str *move_array(char **text, struct str **at,
                              const struct str *from, size_t n)
{
	struct str *array = *at;
	size_t i;

	for (i = 0; i < n; i++) {
		array[i] = from[i];
		move_in(text, &array[i]);
	}
	*at += n;
	return array;
}

/* One block that holds the identity, its arrays and its strings. */
static struct identity *build(const struct identity *of)
{
	size_t n = of->n_roles + of->n_groups;
	struct identity *i =
		calloc(1, sizeof(*i) + n * sizeof(struct str) + text_len(of));
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
	i->roles = move_array(&text, &arrays, of->roles, of->n_roles);
	i->groups = move_array(&text, &arrays, of->groups, of->n_groups);
	move_in(&text, &i->key);
	move_in(&text, &i->tid);
	move_in(&text, &i->app);
	move_in(&text, &i->object);
	move_in(&text, &i->mirid);
	move_in(&text, &i->scopes);
	move_in(&text, &i->agent_blueprint);
	return i;
}

struct identity *claims_of_key(struct str name, int64_t exp)
{
	struct identity of = {
		.kind = IDENTITY_KEY, .key = name, .tenant = -1, .exp = exp};

	return build(&of);
}

struct identity *claims_again(const struct identity *of)
{
	return build(of);
}

struct identity *claims_copy(const struct identity *token, struct str key)
{
	struct identity of = *token;

	of.kind = IDENTITY_BOTH;
	of.key = key;
	return build(&of);
}

/* ---------------------------------------------------------------- draft */

static char *room(struct draft *d, size_t len)
{
	char *p = d->mem + d->used;

	if (len > sizeof(d->mem) - d->used) {
		d->overflow = true;
		return NULL;
	}
	d->used += len;
	return p;
}

static struct str keep(struct draft *d, struct str s)
{
	char *p = room(d, s.len);

	if (!p)
		return STR_NONE;
	if (s.len)
		memcpy(p, s.p, s.len);
	return str_of(p, s.len);
}

static struct str keep_lower(struct draft *d, struct str s)
{
	char *p = room(d, s.len);
	size_t i;

	if (!p)
		return STR_NONE;
	for (i = 0; i < s.len; i++) {
		bool upper = s.p[i] >= 'A' && s.p[i] <= 'Z';

		p[i] = (char)(s.p[i] | (upper ? 0x20 : 0));
	}
	return str_of(p, s.len);
}

/* The words of s with one space between them. */
static struct str keep_words(struct draft *d, struct str s)
{
	char *p = room(d, s.len);
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

static void add_role(void *ctx, struct str s)
{
	struct draft *d = ctx;

	if (d->of.n_roles == CLAIMS_MAX_ROLES)
		d->overflow = true;
	else
		d->roles[d->of.n_roles++] = keep(d, s);
}

static void add_group(void *ctx, struct str s)
{
	struct draft *d = ctx;

	if (d->of.n_groups == CLAIMS_MAX_GROUPS)
		d->overflow = true;
	else
		d->groups[d->of.n_groups++] = keep_lower(d, s);
}

/* --------------------------------------------------------------- checks */

static bool has(const struct jose_claims *c, const char *name)
{
	return jose_claim_present(c, name);
}

/* A claim that may be absent, but when it is there must be a string and not
 * an empty one: for a reader, another type is not the same as nothing. */
static bool optional_str(const struct jose_claims *c, const char *name,
                         struct str *out)
{
	*out = jose_claim_str(c, name);
	return out->len > 0 || !has(c, name);
}

static bool optional_guid(const struct jose_claims *c, const char *name,
                          struct str *out)
{
	return optional_str(c, name, out) &&
	       (out->len == 0 || str_is_guid(*out));
}

static enum inbound_status check_issuer(const struct jose_claims *c,
                                        const struct policy_tenant *t, bool *v1)
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

/* Byte for byte, or with one '/' behind it (azure.md 1.6). */
static void try_audience(void *ctx, struct str aud)
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

static enum inbound_status check_audience(const struct jose_claims *c,
                                          const struct policy_tenant *t)
{
	struct audience_search search = {&t->audiences, false};
	struct str aud = jose_claim_str(c, "aud");

	if (aud.len > 0)
		try_audience(&search, aud);
	else if (!has(c, "aud") ||
	         !jose_claim_strs(c, "aud", try_audience, &search))
		return INBOUND_CLAIMS;
	return search.found ? INBOUND_OK : INBOUND_AUDIENCE;
}

static enum inbound_status check_times(const struct jose_claims *c,
                                       const struct policy_tenant *t,
                                       int64_t now_s, int64_t *exp)
{
	int64_t nbf = 0;

	if (!jose_claim_time(c, "exp", exp))
		return INBOUND_CLAIMS;
	if (!jose_claim_time(c, "nbf", &nbf) && has(c, "nbf"))
		return INBOUND_CLAIMS;
	if (now_s >= *exp + t->skew_s)
		return INBOUND_EXPIRED;
	if (now_s + t->skew_s < nbf)
		return INBOUND_NOT_YET;
	return INBOUND_OK;
}

static enum inbound_status read_caller(const struct jose_claims *c, bool v1,
                                       struct draft *d)
{
	struct str app, object, mirid, blueprint;

	if (!optional_guid(c, v1 ? "appid" : "azp", &app) ||
	    !optional_guid(c, "oid", &object) ||
	    !optional_str(c, "xms_mirid", &mirid) ||
	    !optional_str(c, "xms_par_app_azp", &blueprint))
		return INBOUND_CLAIMS;
	/* nobody to charge and nobody to name in the log */
	if (app.len == 0 && object.len == 0)
		return INBOUND_CLAIMS;
	d->of.tid = keep_lower(d, jose_claim_str(c, "tid"));
	d->of.app = keep_lower(d, app);
	d->of.object = keep_lower(d, object);
	d->of.mirid = keep(d, mirid);
	d->of.agent_blueprint = keep_lower(d, blueprint);
	return INBOUND_OK;
}

static enum inbound_status read_rights(const struct jose_claims *c,
                                       struct draft *d)
{
	struct str idtyp, scp = jose_claim_str(c, "scp");

	if (!optional_str(c, "idtyp", &idtyp) || (!scp.p && has(c, "scp")))
		return INBOUND_CLAIMS;
	d->of.app_only =
		str_eq(idtyp, STR("app")) || (idtyp.len == 0 && scp.len == 0);
	if (!d->of.app_only)
		d->of.scopes = keep_words(d, scp);
	if (!jose_claim_strs(c, "roles", add_role, d) ||
	    !jose_claim_strs(c, "groups", add_group, d))
		return INBOUND_CLAIMS;
	d->of.groups_overage = has(c, "_claim_names") || has(c, "hasgroups");
	return d->overflow ? INBOUND_CLAIMS : INBOUND_OK;
}

static bool is_caller(const struct policy_tenant *t, struct str id)
{
	size_t i;

	for (i = 0; id.len > 0 && i < t->callers.n; i++)
		if (str_eq_nocase(t->callers.v[i], id))
			return true;
	return false;
}

static bool may_enter(const struct policy_tenant *t, const struct draft *d)
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
	return is_caller(t, d->of.app) || is_caller(t, d->of.object);
}

enum inbound_status claims_identity(const struct jose_claims *c,
                                    const struct policy_tenant *t, int tenant,
                                    int64_t now_s, struct identity **out)
{
	enum inbound_status s;
	struct identity *made;
	struct draft d;
	bool v1 = false;

	d.of = (struct identity){.kind = IDENTITY_TOKEN,
	                         .tenant = tenant,
	                         .roles = d.roles,
	                         .groups = d.groups};
	d.overflow = false;
	d.used = 0;
	s = check_issuer(c, t, &v1);
	if (s == INBOUND_OK)
		s = check_audience(c, t);
	if (s == INBOUND_OK)
		s = check_times(c, t, now_s, &d.of.exp);
	if (s == INBOUND_OK)
		s = read_caller(c, v1, &d);
	if (s == INBOUND_OK)
		s = read_rights(c, &d);
	if (s != INBOUND_OK)
		return s;
	if (!may_enter(t, &d))
		return INBOUND_PERMISSION;
	made = build(&d.of);
	if (!made)
		return INBOUND_MEMORY;
	*out = made;
	return INBOUND_OK;
}
