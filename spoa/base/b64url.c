/*
 * base/b64url: base64url without padding.
 *
 *   bytes      |aaaaaabb|bbbbcccc|ccdddddd|     8 bits each
 *   characters |aaaaaa|bbbbbb|cccccc|dddddd|     6 bits each
 *
 * `acc` has the bits that were read and not written yet, the newest lowest;
 * older ones above them are cut off by the masks.
 */
#include "base/b64url.h"

static const char b64u_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "abcdefghijklmnopqrstuvwxyz"
				    "0123456789-_";

bool b64url_write(struct buf *out, struct str bytes)
{
	/* three bytes become four characters, a rest of one or two becomes
	 * two or three */
	size_t want = (bytes.len * 4 + 2) / 3;
	uint32_t acc = 0;
	unsigned bits = 0;
	char *to;

	if (!buf_reserve(out, want))
		return false;
	if (want == 0) /* `out` may have no memory yet */
		return true;
	to = out->p + out->len;
	for (size_t i = 0; i < bytes.len; i++) {
		acc = acc << 8 | (unsigned char)bytes.p[i];
		for (bits += 8; bits >= 6; bits -= 6)
			*to++ = b64u_alphabet[acc >> (bits - 6) & 63];
	}
	if (bits > 0)
		*to = b64u_alphabet[acc << (6 - bits) & 63];
	out->len += want;
	return true;
}

/* RFC 4648, table 2; -1 for any other character, also for padding. */
static int b64u_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '-')
		return 62;
	return c == '_' ? 63 : -1;
}

/* The write position is never ahead of the read position, so `out` may be the
 * memory of the text. */
bool b64url_read(struct str text, char *out, size_t *len)
{
	uint32_t acc = 0;
	unsigned bits = 0;
	size_t n = 0;

	if (text.len % 4 == 1)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		int v = b64u_value(text.p[i]);

		if (v < 0)
			return false;
		acc = acc << 6 | (uint32_t)v;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			out[n++] = (char)(acc >> bits & 0xff);
		}
	}
	if (acc & ((1u << bits) - 1))
		return false;
	*len = n;
	return true;
}
