/* base/utf8: strict UTF-8 (RFC 3629, section 4: the table of its syntax). */
#include "base/utf8.h"

static bool tail(struct str s, size_t i)
{
	return ((unsigned char)s.p[i] & 0xc0) == 0x80;
}

size_t utf8_len(struct str s)
{
	unsigned c, d;

	if (s.len == 0)
		return 0;
	c = (unsigned char)s.p[0];
	if (c < 0x80)
		return 1;
	if (c < 0xc2 || c > 0xf4 || s.len < 2 || !tail(s, 1))
		return 0;
	if (c < 0xe0)
		return 2;
	d = (unsigned char)s.p[1];
	if (s.len < 3 || !tail(s, 2))
		return 0;
	if (c < 0xf0) {
		bool overlong = c == 0xe0 && d < 0xa0;
		bool surrogate = c == 0xed && d > 0x9f;

		return overlong || surrogate ? 0 : 3;
	}
	if (s.len < 4 || !tail(s, 3))
		return 0;
	return (c == 0xf0 && d < 0x90) || (c == 0xf4 && d > 0x8f) ? 0 : 4;
}
