/*
 * base/utf8: validation of UTF-8, by the syntax of RFC 3629, section 4:
 *
 *   00..7F
 *   C2..DF tail              C0, C1 would be overlong forms of one byte
 *   E0..EF tail tail         E0 80..9F: overlong; ED A0..BF: surrogates
 *   F0..F4 tail tail tail    F0 80..8F: overlong; F4 90..BF: above U+10FFFF
 *
 * where tail is 80..BF.
 */
#include "base/utf8.h"

static bool utf8_is_tail(struct str s, size_t i)
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
	if (c < 0xc2 || c > 0xf4 || s.len < 2 || !utf8_is_tail(s, 1))
		return 0;
	if (c < 0xe0)
		return 2;
	d = (unsigned char)s.p[1];
	if (s.len < 3 || !utf8_is_tail(s, 2))
		return 0;
	if (c < 0xf0) {
		bool overlong = c == 0xe0 && d < 0xa0;
		bool surrogate = c == 0xed && d > 0x9f;

		return overlong || surrogate ? 0 : 3;
	}
	if (s.len < 4 || !utf8_is_tail(s, 3))
		return 0;
	return (c == 0xf0 && d < 0x90) || (c == 0xf4 && d > 0x8f) ? 0 : 4;
}
