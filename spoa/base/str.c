/*
 * base/str: text as pointer and length.
 *
 * The functions of <ctype.h> and <strings.h> are not used: they depend on the
 * locale and need NUL-terminated text.
 */
#include "base/str.h"

#include <stdlib.h>

/* Of ASCII; bytes of other letters stay as they are. */
static int str_lower(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

bool str_has_only(struct str s, const char *more)
{
	for (size_t i = 0; i < s.len; i++)
		/* strchr() would find the NUL at the end of `more` */
		if (!str_is_alnum(s.p[i]) &&
		    (s.p[i] == '\0' || !strchr(more, s.p[i])))
			return false;
	return true;
}

bool str_is_one_line(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
			return false;
	return true;
}

void str_copy_lower(char *to, struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		to[i] = (char)str_lower((unsigned char)s.p[i]);
}

bool str_starts(struct str s, struct str prefix)
{
	return s.len >= prefix.len && str_eq(str_first(s, prefix.len), prefix);
}

bool str_ends(struct str s, struct str suffix)
{
	return s.len >= suffix.len &&
	       str_eq(str_from(s, s.len - suffix.len), suffix);
}

bool str_eq_nocase(struct str a, struct str b)
{
	return a.len == b.len && str_starts_nocase(a, b);
}

bool str_starts_nocase(struct str s, struct str prefix)
{
	size_t i;

	if (s.len < prefix.len)
		return false;
	for (i = 0; i < prefix.len; i++)
		if (str_lower((unsigned char)s.p[i]) !=
		    str_lower((unsigned char)prefix.p[i]))
			return false;
	return true;
}

size_t str_find(struct str s, char c)
{
	/* memchr(NULL, c, 0) is undefined; an empty str may have no pointer */
	const char *at = s.len ? memchr(s.p, c, s.len) : NULL;

	return at ? (size_t)(at - s.p) : s.len;
}

bool str_has_word(struct str s, char sep, struct str needle)
{
	while (s.len > 0) {
		size_t n = str_find(s, sep);

		if (n > 0 && str_eq(str_first(s, n), needle))
			return true;
		s = str_from(s, n + 1);
	}
	return false;
}

/* What editors and HTTP leave at the ends of a text. */
static bool str_is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct str str_trim(struct str s)
{
	while (s.len > 0 && str_is_blank(s.p[0]))
		s = str_from(s, 1);
	while (s.len > 0 && str_is_blank(s.p[s.len - 1]))
		s.len--;
	return s;
}

bool str_to_u64(struct str s, uint64_t *out)
{
	uint64_t v = 0;
	size_t i;

	if (s.len == 0)
		return false;
	for (i = 0; i < s.len; i++) {
		/* bytes below '0' wrap around to large numbers */
		unsigned d = (unsigned)(unsigned char)s.p[i] - '0';

		/* v * 10 + d <= UINT64_MAX, without computing it */
		if (d > 9 || v > (UINT64_MAX - d) / 10)
			return false;
		v = v * 10 + d;
	}
	*out = v;
	return true;
}

bool str_glob(struct str pattern, struct str s)
{
	size_t star = str_find(pattern, '*');
	struct str tail;

	if (star == pattern.len)
		return str_eq(pattern, s);
	tail = str_from(pattern, star + 1);
	/* the length is compared first: "ab*ba" must not match "aba", where
	 * the two parts would overlap */
	return s.len >= star + tail.len &&
	       str_starts(s, str_first(pattern, star)) && str_ends(s, tail);
}

char *str_dup(struct str s)
{
	char *z = malloc(s.len + 1);

	if (!z)
		return NULL;
	if (s.len)
		memcpy(z, s.p, s.len);
	z[s.len] = '\0';
	return z;
}

/* The length may be told: those of keys and digests are known to everybody. */
bool str_eq_secret(struct str a, struct str b)
{
	unsigned char diff = 0;
	size_t i;

	if (a.len != b.len)
		return false;
	/* no early end: the loop runs over all bytes in any case */
	for (i = 0; i < a.len; i++)
		diff |= (unsigned char)(a.p[i] ^ b.p[i]);
	return diff == 0;
}

void str_hex(const void *bytes, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *b = bytes;
	size_t i;

	for (i = 0; i < len; i++) {
		out[2 * i] = digits[b[i] >> 4];
		out[2 * i + 1] = digits[b[i] & 15];
	}
	out[2 * len] = '\0';
}

/* The value of a hex digit of either case, -1 for another byte. */
static int str_hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)str_lower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool str_unhex(struct str s, uint8_t *out, size_t len)
{
	size_t i;

	if (s.len != 2 * len)
		return false;
	/* all digits are checked before the first byte is written */
	for (i = 0; i < s.len; i++)
		if (str_hex_value(s.p[i]) < 0)
			return false;
	for (i = 0; i < len; i++) {
		unsigned high = (unsigned)str_hex_value(s.p[2 * i]);
		unsigned low = (unsigned)str_hex_value(s.p[2 * i + 1]);

		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

bool str_is_guid(struct str s)
{
	size_t i;

	if (s.len != 36)
		return false;
	for (i = 0; i < s.len; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? s.p[i] != '-' : str_hex_value(s.p[i]) < 0)
			return false;
	}
	return true;
}
