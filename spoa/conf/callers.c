/*
 * conf/callers: tenants, keys, limits, consumers and rules.
 *
 *   tenants, keys <-- match <-- consumers --> limits
 *                       ^           ^
 *                     rules --------+--> models (conf/azure)
 *
 * The part that decides who passes, so a mistake must not open anything: an
 * empty match, the hash of an empty key, or a tenant that accepts every token
 * of Microsoft is an error.
 */
#include "conf/build.h"
#include "conf/url.h"

#include <math.h>

/* ---------------------------------------------------------------- tenants */

/* Whether the audience is a service of Microsoft: every application that may
 * call this service can get tokens for it. */
static bool clrs_is_microsoft(struct str audience)
{
	static const struct str suffixes[] = {
		STR_INIT(".azure.com"),   STR_INIT(".azure.us"),
		STR_INIT(".azure.cn"),    STR_INIT(".microsoft.com"),
		STR_INIT(".windows.net"),
	};
	struct url u;
	size_t i;

	if (!url_parse(audience, &u))
		return false;
	for (i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++)
		if (u.host.len > suffixes[i].len &&
		    str_eq_nocase(
			    str_from(u.host, u.host.len - suffixes[i].len),
			    suffixes[i]))
			return true;
	return false;
}

/* With such an audience, scopes and roles do not tell callers apart; only the
 * list of `callers` does. */
static void clrs_check_audiences(struct build *b, const struct place *top,
                                 const struct policy_tenant *t)
{
	struct place list = place_key(top, STR("audiences"));
	size_t i;

	for (i = 0; i < t->audiences.n && t->callers.n == 0; i++) {
		struct place at = place_index(&list, i);

		if (clrs_is_microsoft(t->audiences.v[i]))
			report_error(b->rep, &at,
			             "found an audience of Microsoft's own, "
			             "expected `callers` to name who may use "
			             "it: every app that may call Azure has "
			             "such tokens");
	}
}

/* The signing keys come from there, so it must be https. A single '/' at the
 * end is removed, because paths are appended. */
static void clrs_build_authority(struct build *b, const struct place *top,
                                 struct policy_tenant *t)
{
	struct place at = place_key(top, STR("authority"));
	struct url u;

	if (!url_parse(t->authority, &u))
		return; /* reported when it was read */
	if (!url_is_safe(&u))
		report_error(b->rep, &at,
		             "found http, expected https: signing keys come "
		             "from there (http is for loopback)");
	if (u.path.len == 1)
		t->authority.len--;
	else if (u.path.len > 1)
		report_error(b->rep, &at,
		             "found a path, expected scheme and host only");
}

/* Issuer and metadata URL of both token versions (azure.md 1.1). The issuer of
 * version 1.0 tokens is only known for the public cloud (azure.md 1.3), so for
 * other clouds it must be configured. */
static void clrs_build_issuers(struct build *b, const struct place *top,
                               struct policy_tenant *t)
{
	struct place at = place_key(top, STR("issuer_v1"));
	bool is_public = str_eq_nocase(
		t->authority, STR("https://login.microsoftonline.com"));

	t->metadata_v1 = pool_fmt(b->pool,
	                          "%" STR_FMT "/%" STR_FMT
	                          "/.well-known/openid-configuration",
	                          STR_ARG(t->authority), STR_ARG(t->id));
	t->metadata_v2 = pool_fmt(b->pool,
	                          "%" STR_FMT "/%" STR_FMT
	                          "/v2.0/.well-known/openid-configuration",
	                          STR_ARG(t->authority), STR_ARG(t->id));
	if (t->issuer_v2.len == 0)
		t->issuer_v2 =
			pool_fmt(b->pool, "%" STR_FMT "/%" STR_FMT "/v2.0",
		                 STR_ARG(t->authority), STR_ARG(t->id));
	if (t->issuer_v1.len == 0 && is_public)
		t->issuer_v1 = pool_fmt(b->pool,
		                        "https://sts.windows.net/%" STR_FMT "/",
		                        STR_ARG(t->id));
	else if (t->issuer_v1.len == 0)
		report_error(b->rep, &at,
		             "found nothing, expected the `issuer` that "
		             "%" STR_FMT " shows, because the authority is "
		             "not the public cloud",
		             STR_ARG(t->metadata_v1));
}

/* `n` tenants were built before this one. */
static void clrs_check_tenant(struct build *b, const struct place *top,
                              const struct policy_tenant *t, size_t n)
{
	struct place id = place_key(top, STR("id"));
	size_t i;

	if (t->scopes.n + t->roles.n + t->callers.n == 0)
		report_error(b->rep, top,
		             "found no scopes, roles or callers, expected "
		             "at least one: nobody could pass");
	clrs_check_audiences(b, top, t);
	for (i = 0; i < n; i++)
		if (t->id.len > 0 && str_eq(b->policy->tenants[i].id, t->id))
			report_error(b->rep, &id,
			             "found the id of tenant \"%" STR_FMT
			             "\", expected another one",
			             STR_ARG(b->policy->tenants[i].name));
}

static void clrs_build_tenants(struct build *b)
{
	struct place section = place_key(NULL, STR("tenants"));
	const struct raw_list *list = &b->raw->tenants;
	const struct raw_tenant *raw = list->v;
	struct policy_tenant *v = pool_alloc(b->pool, list->n, sizeof(*v));
	size_t i;

	b->policy->tenants = v;
	if (!v)
		return;
	for (i = 0; i < list->n; i++, raw++) {
		struct place top = place_key(&section, raw->head.name);

		v[i] = raw->p;
		v[i].name = raw->head.name;
		clrs_build_authority(b, &top, &v[i]);
		clrs_build_issuers(b, &top, &v[i]);
		clrs_check_tenant(b, &top, &v[i], i);
		b->policy->n_tenants++;
	}
}

/* ------------------------------------------------------------------- keys */

/* Two keys with one hash would be one key with two names. */
static void clrs_check_key(struct build *b, const struct place *top,
                           const struct policy_key *k, size_t n)
{
	/* The first bytes of SHA-256(""): what a script computes when its
	 * variable was empty. It would accept an empty key. */
	static const uint8_t of_nothing[] = {0xe3, 0xb0, 0xc4, 0x42};
	/* the field of a hash that conf/value has refused stays zero */
	static const uint8_t refused[32];
	struct place at = place_key(top, STR("sha256"));
	size_t i;

	if (memcmp(k->sha256, refused, sizeof(refused)) == 0)
		return; /* reported when it was read */
	if (memcmp(k->sha256, of_nothing, sizeof(of_nothing)) == 0)
		report_error(b->rep, &at,
		             "found the hash of an empty text, expected that "
		             "of a key");
	for (i = 0; i < n; i++)
		if (memcmp(b->policy->keys[i].sha256, k->sha256, 32) == 0)
			report_error(b->rep, &at,
			             "found the hash of key \"%" STR_FMT
			             "\", expected another one",
			             STR_ARG(b->policy->keys[i].name));
}

static void clrs_build_keys(struct build *b)
{
	struct place top = place_key(NULL, STR("keys"));
	struct place section = place_key(&top, STR("entries"));
	const struct raw_list *list = &b->raw->keys.entries;
	const struct raw_key *raw = list->v;
	struct policy_key *v = pool_alloc(b->pool, list->n, sizeof(*v));
	size_t i;

	b->policy->require = (enum policy_require)b->raw->keys.require;
	b->policy->key_header = b->raw->keys.header;
	b->policy->keys = v;
	if (!v)
		return;
	for (i = 0; i < list->n; i++, raw++) {
		struct place at = place_key(&section, raw->head.name);

		v[i] = raw->p;
		v[i].name = raw->head.name;
		if (options_given(&options_key, raw, "sha256"))
			clrs_check_key(b, &at, &v[i], i);
		b->policy->n_keys++;
	}
}

/* ---------------------------------------------------------------- matches */

static bool clrs_has_conditions(const struct raw_match *m)
{
	return m->tenant.len > 0 || m->p.apps.n || m->p.objects.n ||
	       m->p.roles.n || m->p.scopes.n || m->p.groups.n || m->p.keys.n ||
	       m->p.mirids.n;
}

/* The setting that a match would need to hold at all; NULL when it can hold. An
 * identity comes from a token or from a key, unless keys.require is "both", so
 * conditions on both kinds in one match hold only then. */
static const char *clrs_expected_require(struct build *b,
                                         const struct raw_match *m)
{
	bool key = m->p.keys.n > 0;
	bool token = m->tenant.len > 0 || m->p.apps.n || m->p.objects.n ||
	             m->p.roles.n || m->p.scopes.n || m->p.groups.n ||
	             m->p.mirids.n;

	switch (b->policy->require) {
	case REQUIRE_ANY:
		return key && token ? "keys.require \"both\"" : NULL;
	case REQUIRE_TOKEN:
		return key ? "no keys with keys.require \"token\"" : NULL;
	case REQUIRE_KEY:
		return token ? "only keys with keys.require \"key\"" : NULL;
	case REQUIRE_BOTH:
		break;
	}
	return NULL;
}

/* A match refers to gateway keys by name, and the policy keeps the names. */
static void clrs_check_match_keys(struct build *b, const struct raw_match *raw,
                                  const struct place *top)
{
	struct place list = place_key(top, STR("keys"));
	unsigned ignored;
	size_t i;

	for (i = 0; i < raw->p.keys.n; i++) {
		struct place at = place_index(&list, i);

		build_refer(b, &b->raw->keys.entries, sizeof(struct raw_key),
		            "keys.entries", raw->p.keys.v[i], &at, &ignored);
	}
}

/* An empty match would hold for everybody by accident; for everybody, `any`
 * must be written. Written keys count, and not their values, because a refused
 * value leaves its field empty. Bit 0 of `seen` is `any`, the first row of the
 * table.
 */
static void clrs_build_match(struct build *b, const struct raw_match *raw,
                             const struct place *top, struct policy_match *m)
{
	struct place tenant = place_key(top, STR("tenant"));
	const char *expected = clrs_expected_require(b, raw);
	unsigned index;

	*m = raw->p;
	m->tenant = -1;
	if (build_refer(b, &b->raw->tenants, sizeof(struct raw_tenant),
	                "tenants", raw->tenant, &tenant, &index))
		m->tenant = (int)index;
	clrs_check_match_keys(b, raw, top);
	if (m->any && clrs_has_conditions(raw))
		report_error(b->rep, top,
		             "found \"any\" beside other conditions, "
		             "expected only one of the two");
	if (!m->any && (raw->head.seen & ~UINT64_C(1)) == 0)
		report_error(b->rep, top,
		             "found no condition, expected at least one, or "
		             "{\"any\": true} for everybody");
	if (expected)
		report_warning(b->rep, top,
		               "it can never hold: a caller is known by a "
		               "token or by a key; expected %s",
		               expected);
}

/* -------------------------------------------------------------- consumers */

/* A consumer is matched by any of its list. `match` may also be one object
 * instead of a list; the place of an error then has no index. */
static void clrs_build_matches(struct build *b, const struct raw_consumer *raw,
                               const struct place *top,
                               struct policy_consumer *c)
{
	struct place section = place_key(top, STR("match"));
	const struct raw_match *m = raw->match.v;
	struct policy_match *v = pool_alloc(b->pool, raw->match.n, sizeof(*v));
	size_t i;

	c->match = v;
	if (!v)
		return;
	for (i = 0; i < raw->match.n; i++, m++) {
		struct place at = place_index(&section, i);

		clrs_build_match(b, m, raw->match.single ? &section : &at,
		                 &v[i]);
		c->n_match++;
	}
}

/* A limit named twice would be charged twice, so it is an error. */
static void clrs_build_consumer_limits(struct build *b,
                                       const struct raw_consumer *raw,
                                       const struct place *top,
                                       struct policy_consumer *c)
{
	struct place list = place_key(top, STR("limits"));
	unsigned *v = pool_alloc(b->pool, raw->limits.n, sizeof(*v));
	size_t i, j;

	c->limits = v;
	if (!v)
		return;
	for (i = 0; i < raw->limits.n; i++) {
		struct place at = place_index(&list, i);

		if (!build_refer(b, &b->raw->limits, sizeof(struct raw_limit),
		                 "limits", raw->limits.v[i], &at,
		                 &v[c->n_limits]))
			continue;
		for (j = 0; j < c->n_limits; j++)
			if (v[j] == v[c->n_limits])
				report_error(b->rep, &at,
				             "found \"%" STR_FMT "\" twice, "
				             "expected each limit once",
				             STR_ARG(raw->limits.v[i]));
		c->n_limits++;
	}
}

static void clrs_build_consumers(struct build *b)
{
	struct place section = place_key(NULL, STR("consumers"));
	const struct raw_list *list = &b->raw->consumers;
	const struct raw_consumer *raw = list->v;
	struct policy_consumer *v = pool_alloc(b->pool, list->n, sizeof(*v));
	size_t i;

	b->policy->consumers = v;
	if (!v)
		return;
	for (i = 0; i < list->n; i++, raw++) {
		struct place top = place_key(&section, raw->head.name);

		v[i].name = raw->head.name;
		v[i].team = raw->team;
		v[i].trust_foundry = raw->trust_foundry;
		clrs_build_matches(b, raw, &top, &v[i]);
		clrs_build_consumer_limits(b, raw, &top, &v[i]);
		b->policy->n_consumers++;
	}
}

/* ------------------------------------------------------------------ rules */

static bool clrs_matches_consumer(const struct build *b, struct str glob)
{
	size_t i;

	for (i = 0; i < b->policy->n_consumers; i++)
		if (str_glob(glob, b->policy->consumers[i].name))
			return true;
	return false;
}

/* By public names, as decide/authorize does: an alias is resolved before rules
 * are asked, so a rule that names one would never hold. */
static bool clrs_matches_model(const struct build *b, struct str glob)
{
	size_t i;

	for (i = 0; i < b->policy->n_models; i++)
		if (str_glob(glob, b->policy->models[i].name))
			return true;
	return false;
}

/* A name that does not exist is an error; a pattern that matches nothing is a
 * warning, because it may be meant for entries that are added later. */
static void clrs_check_globs(struct build *b, const struct place *top,
                             const char *key, const struct strs *globs,
                             bool (*matches)(const struct build *b,
                                             struct str glob))
{
	struct place list = place_key(top, str_c(key));
	size_t i;

	for (i = 0; i < globs->n; i++) {
		struct place at = place_index(&list, i);
		struct str glob = globs->v[i];

		if (matches(b, glob))
			continue;
		if (str_find(glob, '*') < glob.len)
			report_warning(b->rep, &at,
			               "\"%" STR_FMT "\" matches none of "
			               "the %s",
			               STR_ARG(glob), key);
		else
			report_error(b->rep, &at,
			             "found \"%" STR_FMT "\", expected a "
			             "name from %s (aliases do not count)",
			             STR_ARG(glob), key);
	}
}

/* effect: 0 deny, 1 allow, the order of its names in conf/options. */
static void clrs_build_rule(struct build *b, const struct raw_rule *raw,
                            const struct place *top, struct policy_rule *r)
{
	struct place caller = place_key(top, STR("caller"));
	struct place name = place_key(top, STR("name"));
	size_t i;

	*r = raw->p;
	r->name = raw->name;
	r->allow = raw->effect == 1;
	r->has_match = options_given(&options_rule, raw, "caller");
	r->match.tenant = -1;
	if (r->has_match)
		clrs_build_match(b, &raw->caller, &caller, &r->match);
	clrs_check_globs(b, top, "consumers", &r->consumers,
	                 clrs_matches_consumer);
	clrs_check_globs(b, top, "models", &r->models, clrs_matches_model);
	for (i = 0; i < b->policy->n_rules; i++)
		if (r->name.len && str_eq(b->policy->rules[i].name, r->name))
			report_error(b->rep, &name,
			             "found \"%" STR_FMT "\" again, expected "
			             "a name of its own",
			             STR_ARG(r->name));
}

static void clrs_build_rules(struct build *b)
{
	struct place section = place_key(NULL, STR("rules"));
	const struct raw_list *list = &b->raw->rules;
	const struct raw_rule *raw = list->v;
	struct policy_rule *v = pool_alloc(b->pool, list->n, sizeof(*v));
	size_t i;

	b->policy->rules = v;
	if (!v)
		return;
	for (i = 0; i < list->n; i++, raw++) {
		struct place at = place_index(&section, i);

		clrs_build_rule(b, raw, &at, &v[i]);
		b->policy->n_rules++;
	}
}

/* ----------------------------------------------------------------- limits */

/* Dollars are stored in nano-dollars. A larger amount is an error here, because
 * the stores refuse it, and with it every request (store/check). */
static void clrs_build_amount(struct build *b, const struct place *top,
                              const struct raw_limit *raw,
                              struct policy_limit *l)
{
	struct place at = place_key(top, STR("amount"));
	bool usd = l->unit == UNIT_USD;
	double units = round(raw->amount * (usd ? 1e9 : 1));
	bool whole = usd || units == raw->amount;

	if (!options_given(&options_limit, raw, "amount"))
		return; /* reported when it was read */
	if (units < 1)
		report_error(b->rep, &at,
		             "found %.10g, expected more than 0: this limit "
		             "would let nothing through",
		             raw->amount);
	else if (units > (double)LIMIT_AMOUNT_MAX || !whole)
		report_error(b->rep, &at, "found %.10g, expected %s",
		             raw->amount,
		             usd ? "at most 1000000 USD"
		                 : "a whole number up to 1e15");
	else
		l->amount = (uint64_t)units;
}

/* A concurrency limit has no window. For all other units the window is
 * required: a wrong default would change a limit by orders of magnitude. */
static void clrs_build_window(struct build *b, const struct place *top,
                              const struct raw_limit *raw,
                              struct policy_limit *l)
{
	struct place at = place_key(top, STR("window"));
	bool given = options_given(&options_limit, raw, "window");

	if (l->unit == UNIT_CONCURRENT) {
		l->window = WINDOW_OPEN;
		if (given)
			report_error(b->rep, &at,
			             "found a window, expected none: "
			             "concurrent counts what is in flight");
		return;
	}
	l->window = (enum limit_window)raw->window;
	if (!given)
		report_error(b->rep, &at,
		             "found nothing, expected one of minute, hour, "
		             "day, month");
}

/* Above 1 the warning would come after the refusal, so never. */
static void clrs_build_warn_at(struct build *b, const struct place *top,
                               const struct raw_limit *raw,
                               struct policy_limit *l)
{
	struct place at = place_key(top, STR("warn_at"));

	if (raw->warn_at > 1)
		report_error(b->rep, &at,
		             "found %.10g, expected a share from 0 to 1",
		             raw->warn_at);
	l->warn_at = raw->warn_at;
}

/* lease_share without mode lease would have no effect, so it is an error. A
 * share that is less than one unit of the amount could never admit anything. */
static void clrs_build_lease(struct build *b, const struct place *top,
                             const struct raw_limit *raw,
                             struct policy_limit *l)
{
	struct place at = place_key(top, STR("lease_share"));
	double share = raw->lease_share;

	if (raw->mode == 0) {
		if (options_given(&options_limit, raw, "lease_share"))
			report_error(b->rep, &at,
			             "found it in mode exact, expected "
			             "\"mode\": \"lease\" beside it");
	} else if (share <= 0 || share > 1) {
		report_error(b->rep, &at,
		             "found %.10g, expected a share above 0 and up "
		             "to 1",
		             share);
	} else if (l->amount > 0 && share * (double)l->amount < 1) {
		report_error(b->rep, &at,
		             "found %.10g, expected at least %.10g: of an "
		             "amount of %llu, nothing could be leased",
		             share, 1 / (double)l->amount,
		             (unsigned long long)l->amount);
	} else {
		l->lease_share = share;
	}
}

static void clrs_build_limits(struct build *b)
{
	struct place section = place_key(NULL, STR("limits"));
	const struct raw_list *list = &b->raw->limits;
	const struct raw_limit *raw = list->v;
	struct policy_limit *v = pool_alloc(b->pool, list->n, sizeof(*v));
	size_t i;

	b->policy->limits = v;
	if (!v)
		return;
	for (i = 0; i < list->n; i++, raw++) {
		struct place at = place_key(&section, raw->head.name);

		v[i].name = raw->head.name;
		v[i].per = (enum limit_per)raw->per;
		v[i].unit = (enum limit_unit)raw->unit;
		v[i].on_store_failure =
			(enum limit_on_failure)raw->on_store_failure;
		clrs_build_window(b, &at, raw, &v[i]);
		clrs_build_amount(b, &at, raw, &v[i]);
		clrs_build_warn_at(b, &at, raw, &v[i]);
		clrs_build_lease(b, &at, raw, &v[i]);
		b->policy->n_limits++;
	}
}

/* Limits before consumers, consumers before rules: each refers to the former.
 */
void callers_build(struct build *b)
{
	clrs_build_tenants(b);
	clrs_build_keys(b);
	clrs_build_limits(b);
	clrs_build_consumers(b);
	clrs_build_rules(b);
}
