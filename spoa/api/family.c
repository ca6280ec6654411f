/* api/family: which objects of the Responses API were made together. */
#include "api/family.h"

enum {
	OLD_LEN = 48, /* time, random, family */
	NEW_LEN = 50, /* family, version, time, random */
	NEW_TIME_AT = 18,
};

static bool fam_is_hex(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!((s.p[i] >= '0' && s.p[i] <= '9') ||
		      (s.p[i] >= 'a' && s.p[i] <= 'f')))
			return false;
	return true;
}

/* Seconds since 1970 in 8 digits, from 2021 to 2038. */
static bool fam_is_time(char first)
{
	return first == '6' || first == '7';
}

struct str family_of(struct str id)
{
	struct str digits = str_from(id, str_find(id, '_') + 1), family;

	if (!fam_is_hex(digits))
		return STR_NONE;
	if (digits.len == NEW_LEN && digits.p[FAMILY_LEN] == '0' &&
	    fam_is_time(digits.p[NEW_TIME_AT]))
		family = str_first(digits, FAMILY_LEN);
	else if (digits.len == OLD_LEN && fam_is_time(digits.p[0]))
		family = str_from(digits, OLD_LEN - FAMILY_LEN);
	else
		return STR_NONE;
	return family.p[0] == '0' ? family : STR_NONE;
}

bool family_is_kept(struct str id)
{
	return str_starts(id, STR("resp_")) || str_starts(id, STR("conv_"));
}
