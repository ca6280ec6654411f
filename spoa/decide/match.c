/*
 * decide/match: whether a caller fulfils a condition of the configuration.
 *
 * A condition is a list: one of its entries is enough, and an empty list is not
 * asked. What comes from the token is compared exactly, but for xms_mirid;
 * GUIDs are in lower case on both sides (conf/value, keys/claims).
 */
#include "decide/match.h"

/* An absent claim is empty and must not equal an empty entry. */
static bool match_one_of(const struct strs *wanted, struct str value)
{
	size_t i;

	for (i = 0; i < wanted->n; i++)
		if (value.len > 0 && str_eq(wanted->v[i], value))
			return true;
	return false;
}

static bool match_any_of(const struct strs *wanted, const struct str *have,
                         size_t n_have)
{
	size_t i;

	for (i = 0; i < n_have; i++)
		if (match_one_of(wanted, have[i]))
			return true;
	return false;
}

/* `scp` is one string of words (RFC 6749, 3.3). */
static bool match_scope(const struct strs *wanted, struct str scopes)
{
	size_t i;

	for (i = 0; i < wanted->n; i++)
		if (str_has_word(scopes, ' ', wanted->v[i]))
			return true;
	return false;
}

/* ARM ids are compared without case: tokens say "resourcegroups" where ARM
 * says "resourceGroups" (foundry.md 6.14). The pattern may have one '*', for a
 * run of any characters, '/' included: for all projects of an account. */
static bool match_mirid(const struct strs *wanted, struct str mirid)
{
	size_t i;

	for (i = 0; i < wanted->n && mirid.len > 0; i++) {
		struct str w = wanted->v[i];
		size_t star = str_find(w, '*');
		struct str tail = str_from(w, star + 1);

		if (star == w.len) {
			if (str_eq_nocase(w, mirid))
				return true;
		} else if (mirid.len >= star + tail.len &&
		           str_starts_nocase(mirid, str_first(w, star)) &&
		           str_eq_nocase(
				   tail,
				   str_from(mirid, mirid.len - tail.len))) {
			return true;
		}
	}
	return false;
}

static bool match_asks_nothing(const struct policy_match *m)
{
	return m->tenant < 0 && m->apps.n == 0 && m->objects.n == 0 &&
	       m->roles.n == 0 && m->scopes.n == 0 && m->groups.n == 0 &&
	       m->keys.n == 0 && m->mirids.n == 0;
}

bool match_caller(const struct policy_match *m, const struct identity *who)
{
	if (match_asks_nothing(m))
		return m->any;
	if (m->tenant >= 0 && who->tenant != m->tenant)
		return false;
	if (m->apps.n && !match_one_of(&m->apps, who->app))
		return false;
	if (m->objects.n && !match_one_of(&m->objects, who->object))
		return false;
	if (m->roles.n && !match_any_of(&m->roles, who->roles, who->n_roles))
		return false;
	if (m->scopes.n && !match_scope(&m->scopes, who->scopes))
		return false;
	if (m->groups.n &&
	    !match_any_of(&m->groups, who->groups, who->n_groups))
		return false;
	if (m->keys.n && !match_one_of(&m->keys, who->key))
		return false;
	return m->mirids.n == 0 || match_mirid(&m->mirids, who->mirid);
}

bool match_globs(const struct strs *globs, struct str name)
{
	size_t i;

	for (i = 0; i < globs->n; i++)
		if (str_glob(globs->v[i], name))
			return true;
	return globs->n == 0;
}
