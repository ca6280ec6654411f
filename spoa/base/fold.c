/* base/fold: names as the most liberal reader compares them. */
#include "base/fold.h"

/* What is not ASCII and folds to ASCII; the Kelvin sign and the long s in
 * simple folding already, the ligatures in full folding, both kinds of i in
 * Turkish. The dotted capital I folds to an i with a combining dot; a reader
 * that drops the dot would see an i. */
static const struct {
	struct str bytes, letters;
} fold_table[] = {
	{STR_INIT("\xe2\x84\xaa"), STR_INIT("k")},   /* U+212A Kelvin sign */
	{STR_INIT("\xc5\xbf"), STR_INIT("s")},       /* U+017F long s */
	{STR_INIT("\xc4\xb0"), STR_INIT("i")},       /* U+0130 dotted I */
	{STR_INIT("\xc4\xb1"), STR_INIT("i")},       /* U+0131 dotless i */
	{STR_INIT("\xc3\x9f"), STR_INIT("ss")},      /* U+00DF sharp s */
	{STR_INIT("\xe1\xba\x9e"), STR_INIT("ss")},  /* U+1E9E capital one */
	{STR_INIT("\xef\xac\x80"), STR_INIT("ff")},  /* U+FB00 ligatures */
	{STR_INIT("\xef\xac\x81"), STR_INIT("fi")},  /* U+FB01 */
	{STR_INIT("\xef\xac\x82"), STR_INIT("fl")},  /* U+FB02 */
	{STR_INIT("\xef\xac\x83"), STR_INIT("ffi")}, /* U+FB03 */
	{STR_INIT("\xef\xac\x84"), STR_INIT("ffl")}, /* U+FB04 */
	{STR_INIT("\xef\xac\x85"), STR_INIT("st")},  /* U+FB05 */
	{STR_INIT("\xef\xac\x86"), STR_INIT("st")},  /* U+FB06 */
};

/* U+0307, which full folding puts behind the i of U+0130. */
static const struct str fold_dot = STR_INIT("\xcc\x87");

static char fold_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* Remove the first character of *text, which is not ASCII, and set *letters to
 * what it folds to. False when that is not ASCII. */
static bool fold_take(struct str *text, struct str *letters)
{
	for (size_t i = 0; i < sizeof(fold_table) / sizeof(*fold_table); i++) {
		if (!str_starts(*text, fold_table[i].bytes))
			continue;
		*text = str_from(*text, fold_table[i].bytes.len);
		*letters = fold_table[i].letters;
		return true;
	}
	return false;
}

bool fold_eq(struct str name, struct str text)
{
	char last = 0;

	while (text.len > 0) {
		struct str letters;

		if ((unsigned char)*text.p < 0x80) {
			if (name.len == 0 || fold_lower(*text.p) != *name.p)
				return false;
			last = *name.p;
			name = str_from(name, 1);
			text = str_from(text, 1);
			continue;
		}
		if (last == 'i' && str_starts(text, fold_dot)) {
			text = str_from(text, fold_dot.len);
			continue;
		}
		if (!fold_take(&text, &letters) || !str_starts(name, letters))
			return false;
		last = letters.p[letters.len - 1];
		name = str_from(name, letters.len);
	}
	return name.len == 0;
}
