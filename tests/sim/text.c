/*
 * text: growing strings, escaping, encodings, digests and random names.
 */
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include <openssl/evp.h>

void *xmalloc(size_t n)
{
	void *p = calloc(1, n ? n : 1);

	if (p == NULL)
		abort();
	return p;
}

char *xstrndup(const char *p, size_t len)
{
	char *z = xmalloc(len + 1);

	if (len > 0)
		memcpy(z, p, len);
	return z;
}

void sb_free(struct sb *s)
{
	free(s->p);
	*s = (struct sb){0};
}

void sb_room(struct sb *s, size_t more)
{
	size_t cap = s->cap ? s->cap : 256;
	char *p;

	if (s->cap > s->len && s->cap - s->len > more)
		return;
	while (cap - s->len <= more)
		cap *= 2;
	p = realloc(s->p, cap);
	if (p == NULL)
		abort();
	s->p = p;
	s->cap = cap;
}

void sb_add(struct sb *s, const void *p, size_t len)
{
	sb_room(s, len);
	if (len > 0)
		memcpy(s->p + s->len, p, len);
	s->len += len;
	s->p[s->len] = '\0';
}

void sb_z(struct sb *s, const char *z)
{
	sb_add(s, z, strlen(z));
}

void sb_fmt(struct sb *s, const char *fmt, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		abort();
	sb_room(s, (size_t)n + 1);
	vsnprintf(s->p + s->len, (size_t)n + 1, fmt, again);
	va_end(again);
	s->len += (size_t)n;
}

size_t utf8_len(const char *p, size_t len)
{
	const unsigned char *u = (const unsigned char *)p;
	size_t n, i;

	if (len == 0)
		return 0;
	if (u[0] < 0x80)
		return 1;
	n = u[0] >= 0xf0 ? 4 : u[0] >= 0xe0 ? 3 : 2;
	if (u[0] < 0xc2 || u[0] > 0xf4 || n > len)
		return 0;
	for (i = 1; i < n; i++)
		if ((u[i] & 0xc0) != 0x80)
			return 0;
	/* overlong forms, surrogates, beyond U+10FFFF (RFC 3629, 4) */
	if ((u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] > 0x9f) ||
	    (u[0] == 0xf0 && u[1] < 0x90) || (u[0] == 0xf4 && u[1] > 0x8f))
		return 0;
	return n;
}

static void json_char(struct sb *s, unsigned char c)
{
	static const char plain[] = "\b\f\n\r\t\"\\";
	static const char shown[] = "bfnrt\"\\";
	const char *e = c ? strchr(plain, c) : NULL;

	if (e != NULL)
		sb_fmt(s, "\\%c", shown[e - plain]);
	else
		sb_fmt(s, "\\u%04x", c);
}

void sb_json(struct sb *s, const char *p, size_t len)
{
	size_t i = 0, n;

	sb_lit(s, "\"");
	while (i < len) {
		unsigned char c = (unsigned char)p[i];

		n = utf8_len(p + i, len - i);
		if (n == 0)
			sb_lit(s, "\xef\xbf\xbd");
		else if (c < 0x20 || c == '"' || c == '\\')
			json_char(s, c);
		else
			sb_add(s, p + i, n);
		i += n ? n : 1;
	}
	sb_lit(s, "\"");
}

static void b64_with(struct sb *s, const void *p, size_t len, bool url)
{
	size_t n;

	sb_room(s, (len + 2) / 3 * 4 + 1);
	n = (size_t)EVP_EncodeBlock((unsigned char *)s->p + s->len, p,
	                            (int)len);
	for (size_t i = s->len; url && i < s->len + n; i++) {
		if (s->p[i] == '+')
			s->p[i] = '-';
		else if (s->p[i] == '/')
			s->p[i] = '_';
	}
	s->len += n;
	while (url && n > 0 && s->p[s->len - 1] == '=')
		s->len--, n--;
	s->p[s->len] = '\0';
}

void sb_b64(struct sb *s, const void *p, size_t len)
{
	b64_with(s, p, len, false);
}

void sb_b64url(struct sb *s, const void *p, size_t len)
{
	b64_with(s, p, len, true);
}

static int b64_digit(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmn"
				     "opqrstuvwxyz0123456789-_";
	const char *d = c ? strchr(digits, c) : NULL;

	return d ? (int)(d - digits) : -1;
}

bool sb_unb64url(struct sb *s, const char *p, size_t len)
{
	unsigned acc = 0, bits = 0;

	sb_room(s, len);
	for (size_t i = 0; i < len; i++) {
		int d = b64_digit(p[i]);
		char byte;

		if (d < 0)
			return false;
		acc = acc << 6 | (unsigned)d;
		bits += 6;
		if (bits < 8)
			continue;
		bits -= 8;
		byte = (char)(acc >> bits & 0xff);
		sb_add(s, &byte, 1);
	}
	return len % 4 != 1;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void sb_urldecode(struct sb *s, const char *p, size_t len)
{
	sb_room(s, len);
	for (size_t i = 0; i < len; i++) {
		char c = p[i] == '+' ? ' ' : p[i];

		if (c == '%' && i + 2 < len && hex_digit(p[i + 1]) >= 0 &&
		    hex_digit(p[i + 2]) >= 0) {
			c = (char)(hex_digit(p[i + 1]) * 16 +
			           hex_digit(p[i + 2]));
			i += 2;
		}
		sb_add(s, &c, 1);
	}
	s->p[s->len] = '\0';
}

char *form_get(const char *form, size_t len, const char *name)
{
	size_t name_len = strlen(name);
	const char *end = form + len;

	while (form < end) {
		const char *amp = memchr(form, '&', (size_t)(end - form));
		const char *stop = amp ? amp : end;
		size_t n = (size_t)(stop - form);

		if (n > name_len && form[name_len] == '=' &&
		    memcmp(form, name, name_len) == 0) {
			struct sb v = {0};

			sb_urldecode(&v, form + name_len + 1, n - name_len - 1);
			return v.p;
		}
		form = stop + 1;
	}
	return NULL;
}

void sb_sha256_hex(struct sb *s, const void *p, size_t len)
{
	unsigned char md[32];

	if (EVP_Digest(p ? p : "", len, md, NULL, EVP_sha256(), NULL) != 1)
		abort();
	for (size_t i = 0; i < sizeof(md); i++)
		sb_fmt(s, "%02x", md[i]);
}

uint64_t rnd(void)
{
	static uint64_t state;

	while (state == 0)
		if (getrandom(&state, sizeof(state), 0) < 0)
			abort();
	/* xorshift64: names must differ, they need not be secret */
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static void rnd_of(struct sb *s, size_t n, const char *set, size_t set_len)
{
	sb_room(s, n);
	for (size_t i = 0; i < n; i++)
		s->p[s->len++] = set[rnd() % set_len];
	s->p[s->len] = '\0';
}

void sb_rnd_alnum(struct sb *s, size_t n)
{
	rnd_of(s, n,
	       "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
	       62);
}

void sb_rnd_hex(struct sb *s, size_t n)
{
	rnd_of(s, n, "0123456789abcdef", 16);
}

void sb_rnd_guid(struct sb *s)
{
	uint64_t a = rnd(), b = rnd();

	sb_fmt(s, "%08x-%04x-4%03x-8%03x-%012llx", (unsigned)(a >> 32),
	       (unsigned)(a >> 16 & 0xffff), (unsigned)(a & 0xfff),
	       (unsigned)(b >> 52),
	       (unsigned long long)(b & 0xffffffffffffULL));
}

long num_or(const char *z, long otherwise)
{
	bool minus = z != NULL && *z == '-';
	long v = 0;

	if (z == NULL || z[minus] == '\0')
		return otherwise;
	for (z += minus; *z != '\0'; z++) {
		if (*z < '0' || *z > '9' || v > 1000000000000L)
			return otherwise;
		v = v * 10 + *z - '0';
	}
	return minus ? -v : v;
}
