/*
 * keys/caller: an identity as one line of text, and back.
 *
 *   identity -> caller_text -> "KEY|TID|..." -> caller_of -> identity
 *
 * There is no escaping: a caller whose claims hold a separator gets no line,
 * and so no use of its session's secret. Claims of Entra do not hold one.
 */
#include "keys/caller.h"

#include "keys/claims.h"

enum { N_FIELDS = 9 };

/* Their order in the line. Never changed: lines are in Redis. */
enum field {
	FIELD_KEY = 0,
	FIELD_TID = 1,
	FIELD_APP = 2,
	FIELD_OBJECT = 3,
	FIELD_MIRID = 4,
	FIELD_SCOPES = 5,
	FIELD_ROLES = 6,
	FIELD_GROUPS = 7,
	FIELD_BLUEPRINT = 8,
};

/* ------------------------------------------------------------------- text */

/* Without control characters (members of an object have none,
 * store/objects.h), '|' and `separator`. */
static bool caller_is_clean(struct str s, char separator)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < ' ' || c == 0x7f || c == '|' || s.p[i] == separator)
			return false;
	}
	return true;
}

/* False when the field would be read as something else. */
static bool caller_add_field(struct buf *out, struct str s)
{
	buf_fmt(out, "%" STR_FMT "|", STR_ARG(s));
	return caller_is_clean(s, '|');
}

/* Entries separated by one blank, so an empty one or one with a blank would be
 * read as another list. */
static bool caller_add_list(struct buf *out, const struct str *list, size_t n)
{
	bool good = true;

	for (size_t i = 0; i < n; i++) {
		buf_fmt(out, "%s%" STR_FMT, i > 0 ? " " : "", STR_ARG(list[i]));
		good = good && list[i].len > 0 && caller_is_clean(list[i], ' ');
	}
	buf_fmt(out, "|");
	return good;
}

struct str caller_text(const struct identity *who, struct buf *out)
{
	bool good = caller_add_field(out, who->key) &&
	            caller_add_field(out, who->tid) &&
	            caller_add_field(out, who->app) &&
	            caller_add_field(out, who->object) &&
	            caller_add_field(out, who->mirid) &&
	            caller_add_field(out, who->scopes) &&
	            caller_add_list(out, who->roles, who->n_roles) &&
	            caller_add_list(out, who->groups, who->n_groups) &&
	            caller_is_clean(who->agent_blueprint, '|');

	buf_fmt(out, "%" STR_FMT, STR_ARG(who->agent_blueprint));
	if (!good || out->failed || out->len > CALLER_TEXT_MAX)
		return STR_NONE;
	return buf_str(out);
}

/* --------------------------------------------------------------- and back */

/* False unless there are exactly N_FIELDS. */
static bool caller_split_fields(struct str text, struct str field[N_FIELDS])
{
	for (size_t i = 0; i < N_FIELDS; i++) {
		size_t n = str_find(text, '|');

		if ((n < text.len) != (i < N_FIELDS - 1))
			return false;
		field[i] = str_first(text, n);
		text = str_from(text, n + 1);
	}
	return true;
}

/* The words of `s`, in the arena; NULL when there are none, or no room (the
 * arena's overflow tells). */
static struct str *caller_split_words(struct str s, struct arena *arena,
                                      size_t *n)
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

/* Index of the tenant with that GUID in the policy of today, -1: not any more.
 * Both are in lower case. */
static int caller_find_tenant(const struct policy *p, struct str tid)
{
	for (size_t i = 0; i < p->n_tenants; i++)
		if (str_eq(p->tenants[i].id, tid))
			return (int)i;
	return -1;
}

static bool caller_key_is_valid(const struct policy *p, struct str name,
                                int64_t now_s)
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
	struct str field[N_FIELDS];
	struct identity who = {.tenant = -1, .kind = IDENTITY_KEY};

	if (!caller_split_fields(text, field))
		return NULL;
	who.key = field[FIELD_KEY];
	who.tid = field[FIELD_TID];
	if (who.tid.len > 0) {
		who.kind = who.key.len > 0 ? IDENTITY_BOTH : IDENTITY_TOKEN;
		who.tenant = caller_find_tenant(p, who.tid);
	}
	/* a tenant that is gone, or neither a token nor a key */
	if (who.tid.len > 0 ? who.tenant < 0 : who.key.len == 0)
		return NULL;
	if (who.key.len > 0 && !caller_key_is_valid(p, who.key, now_s))
		return NULL;
	who.app = field[FIELD_APP];
	who.object = field[FIELD_OBJECT];
	who.mirid = field[FIELD_MIRID];
	who.scopes = field[FIELD_SCOPES];
	who.roles = caller_split_words(field[FIELD_ROLES], arena, &who.n_roles);
	who.groups =
		caller_split_words(field[FIELD_GROUPS], arena, &who.n_groups);
	who.agent_blueprint = field[FIELD_BLUEPRINT];
	return arena->overflow ? NULL : claims_again(&who);
}
