/* store/check: validation of names and amounts, the same for both stores. */
#include "store/check.h"

#include "store/window.h"

/* The characters of HAProxy's unique-id, %[uuid()], and some more. */
bool check_id(struct str s)
{
	return s.len > 0 && s.len <= STORE_ID_MAX && str_has_only(s, "-");
}

/* A bad name is a mistake in the configuration of HAProxy (unique-id-format) or
 * of the caller of this function; conf/ refuses such accounts. */
const char *check_names(struct str account, struct str id)
{
	if (account.len == 0 || account.len > CHECK_ACCOUNT_MAX)
		return "account is empty or too long";
	if (memchr(account.p, '{', account.len) ||
	    memchr(account.p, '}', account.len))
		return "account has braces in its name";
	if (memchr(account.p, '\0', account.len))
		return "account has a NUL in its name";
	if (!check_id(id))
		return "request id is not 1-64 letters, digits and dashes";
	return NULL;
}

/* A field named twice would be read once and written twice by reserve.lua: the
 * second write would undo the first. At most 16 fields, so the search is short.
 */
static bool schk_is_repeated(const struct store_reservation *r, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (str_eq(r->charges[i].field, r->charges[n].field))
			return true;
	return false;
}

const char *check_reservation(const struct store_reservation *r)
{
	const char *error = check_names(r->account, r->id);
	size_t i;

	if (error)
		return error;
	if (r->n_charges > STORE_MAX_CHARGES)
		return "too many limits for one request";
	for (i = 0; i < r->n_charges; i++) {
		const struct store_charge *c = &r->charges[i];

		if (c->field.len == 0 || c->field.len > CHECK_FIELD_MAX)
			return "limit name is empty or too long";
		if (schk_is_repeated(r, i))
			return "a limit is named twice";
		if (c->limit > (uint64_t)WINDOW_AMOUNT_MAX)
			return "limit is too large to count exactly";
	}
	return NULL;
}

int64_t check_used(const struct store_usage *used, enum limit_unit unit)
{
	uint64_t n = used->nano_usd;

	if (unit == UNIT_CONCURRENT)
		return 0; /* a settled request is not in flight any more */
	if (unit == UNIT_REQUESTS)
		n = used->requests;
	else if (unit == UNIT_TOKENS)
		n = used->tokens;
	return n < (uint64_t)WINDOW_AMOUNT_MAX ? (int64_t)n : WINDOW_AMOUNT_MAX;
}
