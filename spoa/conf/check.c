/*
 * conf/check: conditions between the parts of a configuration.
 *
 *   errors    the gateway would not do what the file says: nobody can be
 *             recognised, a limit does not count, counters are mixed
 *   warnings  an entry has no effect: a rule that cannot fire, a consumer that
 *             cannot be reached, a name that nothing uses
 *
 * It runs last, on the built policy. Warnings are not computed after an error,
 * because an incomplete list would cause wrong ones. The nested loops are over
 * lists of some hundred entries, once per load.
 */
#include "conf/build.h"

#include <time.h>

static struct place cchk_section(const char *name)
{
	return place_key(NULL, str_c(name));
}

/* --------------------------------------------------- who may reach what */

/* An empty list means all. */
static bool cchk_globs_match(const struct strs *globs, struct str name)
{
	size_t i;

	for (i = 0; i < globs->n; i++)
		if (str_glob(globs->v[i], name))
			return true;
	return globs->n == 0;
}

/* Whether some request of this consumer can be allowed to use this model. The
 * first rule that matches decides; an allowing rule with further conditions may
 * match, and a denying one with further conditions may not. */
static bool cchk_may_reach(const struct policy *p,
                           const struct policy_consumer *c,
                           const struct policy_model *m)
{
	size_t i;

	for (i = 0; i < p->n_rules; i++) {
		const struct policy_rule *r = &p->rules[i];

		if (!cchk_globs_match(&r->consumers, c->name) ||
		    !cchk_globs_match(&r->models, m->name))
			continue;
		if (r->allow)
			return true;
		if (!r->has_match && r->operations == 0)
			return false;
	}
	return false;
}

static bool cchk_uses_limit(const struct policy_consumer *c, size_t limit)
{
	size_t i;

	for (i = 0; i < c->n_limits; i++)
		if (c->limits[i] == limit)
			return true;
	return false;
}

/* --------------------------------------------------------------- errors */

/* Without tenants and keys every request would be refused, and keys.require can
 * demand a kind of credential that is not configured. */
static void cchk_identity(struct build *b)
{
	const struct policy *p = b->policy;
	struct place tenants = cchk_section("tenants");
	struct place keys = cchk_section("keys");
	struct place entries = place_key(&keys, STR("entries"));
	bool token = p->require == REQUIRE_TOKEN || p->require == REQUIRE_BOTH;
	bool key = p->require == REQUIRE_KEY || p->require == REQUIRE_BOTH;

	if (p->n_tenants == 0 && p->n_keys == 0)
		report_error(b->rep, &tenants,
		             "found no tenants and no keys.entries, expected "
		             "one of them: nobody could be recognised");
	else if (token && p->n_tenants == 0)
		report_error(b->rep, &tenants,
		             "found none, expected one because keys.require "
		             "demands a token");
	else if (key && p->n_keys == 0)
		report_error(b->rep, &entries,
		             "found none, expected one because keys.require "
		             "demands a key");
}

/* Memory is per process: without Redis several workers would count and bind on
 * their own. */
static void cchk_workers(struct build *b)
{
	const struct policy *p = b->policy;
	struct place at = cchk_section("workers");

	if (p->workers > 1 && p->objects.enabled && !p->redis.enabled)
		report_error(b->rep, &at,
		             "found %u with objects and without redis, "
		             "expected redis or 1: a process would not know "
		             "what was made through another",
		             p->workers);
	if (p->workers > 1 && p->n_limits > 0 && !p->redis.enabled)
		report_error(b->rep, &at,
		             "found %u with limits and without redis, "
		             "expected redis or 1: limits in memory are per "
		             "process, so callers would get %u times as much",
		             p->workers, p->workers);
}

/* An account of the store is a team, or a consumer without a team. A team and
 * such a consumer with the same name would share their counters. */
static void cchk_accounts(struct build *b)
{
	const struct policy *p = b->policy;
	struct place section = cchk_section("consumers");
	size_t i, j;

	for (i = 0; i < p->n_consumers; i++) {
		const struct policy_consumer *c = &p->consumers[i];
		struct place top = place_key(&section, c->name);
		struct place at = place_key(&top, STR("team"));

		for (j = 0; j < p->n_consumers && c->team.len; j++)
			if (p->consumers[j].team.len == 0 &&
			    str_eq(p->consumers[j].name, c->team))
				report_error(b->rep, &at,
				             "found \"%" STR_FMT
				             "\", the name of a consumer "
				             "without a team, expected "
				             "another one: they would share "
				             "their counters",
				             STR_ARG(c->team));
	}
}

/* A limit in dollars counts nothing for a model without a price. Each model is
 * reported once (`told`), however many limits reach it. */
static void cchk_prices(struct build *b, const struct policy_consumer *c,
                        const struct policy_limit *l, bool *told)
{
	struct place section = cchk_section("models");
	const struct raw_model *raw = b->raw->models.v;
	size_t i;

	for (i = 0; i < b->policy->n_models; i++) {
		const struct policy_model *m = &b->policy->models[i];
		struct place top = place_key(&section, m->name);
		struct place at = place_key(&top, STR("price"));

		if (told[i] || options_given(&options_model, &raw[i], "price"))
			continue;
		if (!cchk_may_reach(b->policy, c, m))
			continue;
		told[i] = true;
		report_error(b->rep, &at,
		             "found nothing, expected a price because limit "
		             "\"%" STR_FMT "\" of consumer \"%" STR_FMT
		             "\" counts usd",
		             STR_ARG(l->name), STR_ARG(c->name));
	}
}

/* A limit per team has no scope to count in on a consumer without a team. */
static void cchk_limits(struct build *b)
{
	const struct policy *p = b->policy;
	struct place section = cchk_section("consumers");
	bool *told = pool_alloc(b->pool, p->n_models, sizeof(*told));
	size_t i, j;

	for (i = 0; i < p->n_consumers && told; i++) {
		const struct policy_consumer *c = &p->consumers[i];
		struct place top = place_key(&section, c->name);
		struct place list = place_key(&top, STR("limits"));

		for (j = 0; j < c->n_limits; j++) {
			const struct policy_limit *l = &p->limits[c->limits[j]];
			struct place at = place_index(&list, j);

			if (l->per == PER_TEAM && c->team.len == 0)
				report_error(b->rep, &at,
				             "found \"%" STR_FMT
				             "\", a limit per team, on a "
				             "consumer without a team, "
				             "expected `team`: it would do "
				             "nothing",
				             STR_ARG(l->name));
			if (l->unit == UNIT_USD)
				cchk_prices(b, c, l, told);
		}
	}
}

/* ------------------------------------------------------------- warnings */

/* Whether every name that matches a pattern of `narrow` also matches a pattern
 * of `wide`. A narrow pattern is matched like a name: if "a*c" matches "a*" as
 * text, then so do all names that "a*c" matches. An empty list is "*". */
static bool cchk_covers(const struct strs *wide, const struct strs *narrow)
{
	size_t i;

	if (wide->n == 0)
		return true;
	for (i = 0; i < narrow->n; i++)
		if (!cchk_globs_match(wide, narrow->v[i]))
			return false;
	return narrow->n > 0 || cchk_globs_match(wide, STR("*"));
}

/* Whether `first` matches every request that `later` matches. */
static bool cchk_hides_rule(const struct policy_rule *first,
                            const struct policy_rule *later)
{
	bool operations = first->operations == 0 ||
	                  (later->operations != 0 &&
	                   (later->operations & ~first->operations) == 0);

	return !first->has_match && operations &&
	       cchk_covers(&first->consumers, &later->consumers) &&
	       cchk_covers(&first->models, &later->models);
}

/* The first rule that matches decides, so a rule whose requests all match an
 * earlier one never does. */
static void cchk_warn_rules(struct build *b)
{
	const struct policy *p = b->policy;
	struct place section = cchk_section("rules");
	size_t i, j;

	for (i = 1; i < p->n_rules; i++) {
		struct place at = place_index(&section, i);

		for (j = 0; j < i; j++)
			if (cchk_hides_rule(&p->rules[j], &p->rules[i]))
				break;
		if (j < i)
			report_warning(b->rep, &at,
			               "rule \"%" STR_FMT
			               "\" can never fire: \"%" STR_FMT
			               "\" before it matches all of it",
			               STR_ARG(p->rules[i].name),
			               STR_ARG(p->rules[j].name));
	}
}

static bool cchk_reaches_anything(const struct policy *p,
                                  const struct policy_consumer *c)
{
	size_t i;

	for (i = 0; i < p->n_models; i++)
		if (cchk_may_reach(p, c, &p->models[i]))
			return true;
	return false;
}

static bool cchk_matches_everybody(const struct policy_consumer *c)
{
	size_t i;

	for (i = 0; i < c->n_match; i++)
		if (c->match[i].any)
			return true;
	return false;
}

/* The first consumer that matches is charged: consumers behind one with "any"
 * are not reached. A consumer without any rule is always refused. */
static void cchk_warn_consumers(struct build *b)
{
	const struct policy *p = b->policy;
	const struct policy_consumer *before = NULL;
	struct place section = cchk_section("consumers");
	size_t i;

	for (i = 0; i < p->n_consumers; i++) {
		const struct policy_consumer *c = &p->consumers[i];
		struct place at = place_key(&section, c->name);

		if (before)
			report_warning(b->rep, &at,
			               "it can never be reached: consumer "
			               "\"%" STR_FMT
			               "\" before it matches everybody",
			               STR_ARG(before->name));
		if (!cchk_reaches_anything(p, c))
			report_warning(b->rep, &at,
			               "no rule allows it anything");
		if (!before && cchk_matches_everybody(c))
			before = c;
	}
}

/* A reservation larger than the whole limit is always refused: STORE_TOO_LARGE.
 */
static void cchk_warn_amounts(struct build *b)
{
	const struct policy *p = b->policy;
	struct place section = cchk_section("limits");
	size_t i, j, k;

	for (i = 0; i < p->n_limits; i++) {
		const struct policy_limit *l = &p->limits[i];
		const struct policy_model *large = NULL;
		struct place top = place_key(&section, l->name);
		struct place at = place_key(&top, STR("amount"));

		for (j = 0; j < p->n_consumers && l->unit == UNIT_TOKENS; j++)
			for (k = 0; k < p->n_models; k++)
				if (cchk_uses_limit(&p->consumers[j], i) &&
				    p->models[k].default_output_tokens >=
				            l->amount &&
				    cchk_may_reach(p, &p->consumers[j],
				                   &p->models[k]))
					large = &p->models[k];
		if (large)
			report_warning(b->rep, &at,
			               "requests to \"%" STR_FMT
			               "\" that name no maximum can never "
			               "pass: its default_output_tokens is "
			               "%llu",
			               STR_ARG(large->name),
			               (unsigned long long)
			                       large->default_output_tokens);
	}
}

static void cchk_warn_if_unused(struct build *b, const char *section,
                                struct str name, bool used)
{
	struct place top = cchk_section(section);
	struct place at = place_key(&top, name);

	if (!used)
		report_warning(b->rep, &at, "nothing uses it");
}

static bool cchk_limit_is_used(const struct policy *p, size_t limit)
{
	size_t i;

	for (i = 0; i < p->n_consumers; i++)
		if (cchk_uses_limit(&p->consumers[i], limit))
			return true;
	return false;
}

static bool cchk_credential_is_used(const struct policy *p, size_t credential)
{
	size_t i;

	for (i = 0; i < p->n_resources; i++)
		if (p->resources[i].credential == credential)
			return true;
	return p->redis.credential == &p->credentials[credential];
}

static bool cchk_resource_is_used(const struct policy *p, size_t resource)
{
	size_t i, j;

	for (i = 0; i < p->n_models; i++)
		for (j = 0; j < p->models[i].n_deployments; j++)
			if (p->models[i].deployments[j].resource == resource)
				return true;
	return false;
}

static void cchk_warn_unused(struct build *b)
{
	const struct policy *p = b->policy;
	size_t i;

	for (i = 0; i < p->n_limits; i++)
		cchk_warn_if_unused(b, "limits", p->limits[i].name,
		                    cchk_limit_is_used(p, i));
	for (i = 0; i < p->n_credentials; i++)
		cchk_warn_if_unused(b, "credentials", p->credentials[i].name,
		                    cchk_credential_is_used(p, i));
	for (i = 0; i < p->n_resources; i++)
		cchk_warn_if_unused(b, "resources", p->resources[i].name,
		                    cchk_resource_is_used(p, i));
}

/* The wall clock of the moment of loading; the request path checks it again. */
static void cchk_warn_keys(struct build *b)
{
	struct place top = cchk_section("keys");
	struct place section = place_key(&top, STR("entries"));
	int64_t now = time(NULL);
	size_t i;

	for (i = 0; i < b->policy->n_keys; i++) {
		const struct policy_key *k = &b->policy->keys[i];
		struct place item = place_key(&section, k->name);
		struct place at = place_key(&item, STR("not_after"));

		if (k->not_after && k->not_after <= now)
			report_warning(b->rep, &at,
			               "the time is in the past: the key is "
			               "refused");
	}
}

void check_policy(struct build *b)
{
	cchk_identity(b);
	cchk_workers(b);
	cchk_accounts(b);
	cchk_limits(b);
	/* after an error the lists are incomplete, and so would be these */
	if (b->rep->n_errors > 0)
		return;
	cchk_warn_keys(b);
	cchk_warn_consumers(b);
	cchk_warn_rules(b);
	cchk_warn_amounts(b);
	cchk_warn_unused(b);
}
