/* keys/caller: a caller as one line of text, and back. */
#include "keys/caller.h"

#include "keys/claims.h"

enum { N_PARTS = 9 };

enum part {
	PART_KEY = 0,
	PART_TID = 1,
	PART_APP = 2,
	PART_OBJECT = 3,
	PART_MIRID = 4,
	PART_SCOPES = 5,
	PART_ROLES = 6,
	PART_GROUPS = 7,
	PART_BLUEPRINT = 8,
};

/* ------------------------------------------------------------------- text */

static bool is_part(struct str s, char separator)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < ' ' || c == 0x7f || c == '|' || s.p[i] == separator)
			return false;
	}
	return true;
}

/* False: it would be read as something else. */
static bool add(struct buf *out, struct str s)
{
	buf_fmt(out, "%" STR_FMT "|", STR_ARG(s));
	return is_part(s, '|');
}

static bool add_list(struct buf *out, const struct str *list, size_t n)
{
	bool good = true;

	for (size_t i = 0; i < n; i++) {
		buf_fmt(out, "%s%" STR_FMT, i > 0 ? " " : "", STR_ARG(list[i]));
		good = good && list[i].len > 0 && is_part(list[i], ' ');
	}
	buf_fmt(out, "|");
	return good;
}

struct str caller_text(const struct identity *who, struct buf *out)
{
	bool good = add(out, who->key) && add(out, who->tid) &&
	            add(out, who->app) && add(out, who->object) &&
	            add(out, who->mirid) && add(out, who->scopes) &&
	            add_list(out, who->roles, who->n_roles) &&
	            add_list(out, who->groups, who->n_groups) &&
	            is_part(who->agent_blueprint, '|');

	buf_fmt(out, "%" STR_FMT, STR_ARG(who->agent_blueprint));
	if (!good || out->failed || out->len > CALLER_TEXT_MAX)
		return STR_NONE;
	return buf_str(out);
}

/* --------------------------------------------------------------- and back */

static bool split(struct str text, struct str part[N_PARTS])
{
	for (size_t i = 0; i < N_PARTS; i++) {
		size_t n = str_find(text, '|');

		if ((n < text.len) != (i < N_PARTS - 1))
			return false;
		part[i] = str_first(text, n);
		text = str_from(text, n + 1);
	}
	return true;
}

/* The words of `s`; NULL when there are none, or no room. */
static struct str *words(struct str s, struct arena *arena, size_t *n)
{
	struct str *list;
	size_t max = 1;

	*n = 0;
	for (size_t i = 0; i < s.len; i++)
		max += s.p[i] == ' ';
	list = s.len > 0 ? arena_alloc(arena, max * sizeof(*list)) : NULL;
	while (list && s.len > 0) {
		struct str word = str_first(s, str_find(s, ' '));

		list[(*n)++] = word;
		s = str_from(s, word.len + 1);
	}
	return list;
}

static int tenant_of(const struct policy *p, struct str tid)
{
	for (size_t i = 0; i < p->n_tenants; i++)
		if (str_eq(p->tenants[i].id, tid))
			return (int)i;
	return -1;
}

static bool is_good_key(const struct policy *p, struct str name, int64_t now_s)
{
	for (size_t i = 0; i < p->n_keys; i++)
		if (str_eq(p->keys[i].name, name))
			return p->keys[i].not_after == 0 ||
			       now_s < p->keys[i].not_after;
	return false;
}

struct identity *caller_of(struct str text, const struct policy *p,
                           int64_t now_s, struct arena *arena)
{
	struct str part[N_PARTS];
	struct identity who = {.tenant = -1, .kind = IDENTITY_KEY};

	if (!split(text, part))
		return NULL;
	who.key = part[PART_KEY];
	who.tid = part[PART_TID];
	if (who.tid.len > 0) {
		who.kind = who.key.len > 0 ? IDENTITY_BOTH : IDENTITY_TOKEN;
		who.tenant = tenant_of(p, who.tid);
	}
	if (who.tid.len > 0 ? who.tenant < 0 : who.key.len == 0)
		return NULL;
	if (who.key.len > 0 && !is_good_key(p, who.key, now_s))
		return NULL;
	who.app = part[PART_APP];
	who.object = part[PART_OBJECT];
	who.mirid = part[PART_MIRID];
	who.scopes = part[PART_SCOPES];
	who.roles = words(part[PART_ROLES], arena, &who.n_roles);
	who.groups = words(part[PART_GROUPS], arena, &who.n_groups);
	who.agent_blueprint = part[PART_BLUEPRINT];
	return arena->overflow ? NULL : claims_again(&who);
}
