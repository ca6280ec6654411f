/*
 * jdoc: a strict JSON reader (RFC 8259) that keeps lengths.
 */
#include "jdoc.h"

#include <stdlib.h>

enum { DEPTH_MAX = 256 };

struct reader {
	struct jdoc *d;
	const char *p, *end, *text;
	unsigned depth;
};

static bool value(struct reader *r);

static uint32_t token(struct reader *r, enum jtype type)
{
	struct jdoc *d = r->d;

	if (d->n == d->cap) {
		d->cap = d->cap ? d->cap * 2 : 256;
		d->tok = realloc(d->tok, d->cap * sizeof(*d->tok));
		if (d->tok == NULL)
			abort();
	}
	d->tok[d->n] = (struct jtok){
		.type = (uint8_t)type,
		.start = (uint32_t)(r->p - r->text),
	};
	return d->n++;
}

static void token_end(struct reader *r, uint32_t t)
{
	r->d->tok[t].end = (uint32_t)(r->p - r->text);
	r->d->tok[t].next = r->d->n;
}

static void space(struct reader *r)
{
	while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' ||
	                         *r->p == '\n' || *r->p == '\r'))
		r->p++;
}

static bool take(struct reader *r, char c)
{
	if (r->p >= r->end || *r->p != c)
		return false;
	r->p++;
	return true;
}

static int hex4(const char *p)
{
	int v = 0;

	for (int i = 0; i < 4; i++) {
		char c = p[i];

		if (c >= '0' && c <= '9')
			v = v * 16 + c - '0';
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			v = v * 16 + (c | 0x20) - 'a' + 10;
		else
			return -1;
	}
	return v;
}

/* After the backslash. */
static bool escape(struct reader *r)
{
	if (r->p >= r->end)
		return false;
	if (*r->p == 'u') {
		if (r->end - r->p < 5 || hex4(r->p + 1) < 0)
			return false;
		r->p += 5;
		return true;
	}
	if (*r->p == '\0' || strchr("\"\\/bfnrt", *r->p) == NULL)
		return false;
	r->p++;
	return true;
}

static bool string(struct reader *r)
{
	uint32_t t;

	if (!take(r, '"'))
		return false;
	t = token(r, J_STRING);
	while (r->p < r->end && *r->p != '"') {
		unsigned char c = (unsigned char)*r->p;
		size_t n;

		if (c == '\\') {
			r->p++;
			r->d->tok[t].escaped = true;
			if (!escape(r))
				return false;
			continue;
		}
		n = utf8_len(r->p, (size_t)(r->end - r->p));
		if (c < 0x20 || n == 0)
			return false;
		r->p += n;
	}
	token_end(r, t);
	return take(r, '"');
}

static bool digits(struct reader *r)
{
	const char *from = r->p;

	while (r->p < r->end && *r->p >= '0' && *r->p <= '9')
		r->p++;
	return r->p > from;
}

static bool number(struct reader *r)
{
	uint32_t t = token(r, J_NUMBER);

	take(r, '-');
	if (!take(r, '0') && !digits(r))
		return false;
	if (take(r, '.') && !digits(r))
		return false;
	if (take(r, 'e') || take(r, 'E')) {
		if (!take(r, '+'))
			take(r, '-');
		if (!digits(r))
			return false;
	}
	token_end(r, t);
	return true;
}

static bool word(struct reader *r, const char *z, enum jtype type)
{
	size_t n = strlen(z);
	uint32_t t = token(r, type);

	if (n > (size_t)(r->end - r->p) || memcmp(r->p, z, n) != 0)
		return false;
	r->p += n;
	token_end(r, t);
	return true;
}

/* The inside of an object or array up to its closing character. */
static bool inside(struct reader *r, bool keys, char close)
{
	space(r);
	if (take(r, close))
		return true;
	for (;;) {
		space(r);
		if (keys) {
			if (!string(r))
				return false;
			space(r);
			if (!take(r, ':'))
				return false;
		}
		if (!value(r))
			return false;
		space(r);
		if (take(r, close))
			return true;
		if (!take(r, ','))
			return false;
	}
}

static bool container(struct reader *r, enum jtype type)
{
	uint32_t t = token(r, type);
	bool ok;

	if (++r->depth > DEPTH_MAX)
		return false;
	r->p++;
	ok = inside(r, type == J_OBJECT, type == J_OBJECT ? '}' : ']');
	r->depth--;
	token_end(r, t);
	return ok;
}

static bool value(struct reader *r)
{
	space(r);
	if (r->p >= r->end)
		return false;
	switch (*r->p) {
	case '{':
		return container(r, J_OBJECT);
	case '[':
		return container(r, J_ARRAY);
	case '"':
		return string(r);
	case 't':
		return word(r, "true", J_TRUE);
	case 'f':
		return word(r, "false", J_FALSE);
	case 'n':
		return word(r, "null", J_NULL);
	default:
		return number(r);
	}
}

bool jdoc_parse(struct jdoc *d, const char *text, size_t len)
{
	struct reader r = {.d = d, .p = text, .end = text + len, .text = text};

	d->n = 0;
	d->text = text;
	if (text == NULL || len > UINT32_MAX || !value(&r))
		return false;
	space(&r);
	return r.p == r.end;
}

void jdoc_free(struct jdoc *d)
{
	free(d->tok);
	*d = (struct jdoc){0};
}

static bool key_is(const struct jdoc *d, int i, const char *name)
{
	const struct jtok *t = &d->tok[i];
	size_t n = strlen(name);
	struct sb s = {0};
	bool same;

	if (!t->escaped)
		return t->end - t->start == n &&
		       memcmp(d->text + t->start, name, n) == 0;
	jdoc_string(d, i, &s);
	same = s.len == n && memcmp(s.p, name, n) == 0;
	sb_free(&s);
	return same;
}

int jdoc_get(const struct jdoc *d, int obj, const char *name)
{
	int found = -1;

	if (obj < 0 || d->tok[obj].type != J_OBJECT)
		return -1;
	jdoc_each(d, obj, c)
	{
		if (key_is(d, c, name))
			found = c + 1;
		c++; /* from the key to its value */
	}
	return found;
}

int jdoc_get_as(const struct jdoc *d, int obj, const char *name,
                enum jtype type)
{
	int i = jdoc_get(d, obj, name);

	return i >= 0 && d->tok[i].type == type ? i : -1;
}

static void put_utf8(struct sb *out, unsigned u)
{
	char b[4];
	size_t n = 1;

	if (u < 0x80) {
		b[0] = (char)u;
	} else if (u < 0x800) {
		b[0] = (char)(0xc0 | u >> 6);
		b[1] = (char)(0x80 | (u & 0x3f));
		n = 2;
	} else if (u < 0x10000) {
		b[0] = (char)(0xe0 | u >> 12);
		b[1] = (char)(0x80 | (u >> 6 & 0x3f));
		b[2] = (char)(0x80 | (u & 0x3f));
		n = 3;
	} else {
		b[0] = (char)(0xf0 | u >> 18);
		b[1] = (char)(0x80 | (u >> 12 & 0x3f));
		b[2] = (char)(0x80 | (u >> 6 & 0x3f));
		b[3] = (char)(0x80 | (u & 0x3f));
		n = 4;
	}
	sb_add(out, b, n);
}

/* At the 'u' of a checked escape; returns the byte after it (or after the
 * second half of a surrogate pair). A lone surrogate becomes U+FFFD. */
static const char *put_unicode(struct sb *out, const char *p, const char *end)
{
	unsigned u = (unsigned)hex4(p + 1);

	p += 5;
	if (u >= 0xd800 && u < 0xdc00 && end - p >= 6 && p[0] == '\\' &&
	    p[1] == 'u') {
		unsigned low = (unsigned)hex4(p + 2);

		if (low >= 0xdc00 && low < 0xe000) {
			u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
			p += 6;
		}
	}
	put_utf8(out, u >= 0xd800 && u < 0xe000 ? 0xfffd : u);
	return p;
}

void jdoc_string(const struct jdoc *d, int i, struct sb *out)
{
	static const char from[] = "bfnrt\"\\/", to[] = "\b\f\n\r\t\"\\/";
	const char *p = d->text + d->tok[i].start;
	const char *end = d->text + d->tok[i].end;

	sb_room(out, (size_t)(end - p));
	while (p < end) {
		const char *back = memchr(p, '\\', (size_t)(end - p));

		sb_add(out, p, (size_t)((back ? back : end) - p));
		if (back == NULL)
			break;
		p = back + 1;
		if (*p == 'u') {
			p = put_unicode(out, p, end);
		} else {
			sb_add(out, to + (strchr(from, *p) - from), 1);
			p++;
		}
	}
}

size_t jdoc_string_len(const struct jdoc *d, int i)
{
	struct sb s = {0};
	size_t n;

	if (!d->tok[i].escaped)
		return d->tok[i].end - d->tok[i].start;
	jdoc_string(d, i, &s);
	n = s.len;
	sb_free(&s);
	return n;
}

long jdoc_int(const struct jdoc *d, int i, long otherwise)
{
	char num[32];
	size_t n;

	if (i < 0 || d->tok[i].type != J_NUMBER)
		return otherwise;
	n = d->tok[i].end - d->tok[i].start;
	if (n >= sizeof(num))
		return otherwise;
	memcpy(num, d->text + d->tok[i].start, n);
	num[n] = '\0';
	return (long)strtod(num, NULL);
}
