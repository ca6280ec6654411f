/*
 * Forms are written by strangers: api/form must read them one way only. The
 * input is a Content-Type, a line end and a body. What api/form accepts, a
 * parser that forgives everything must read likewise: it ends lines at CR, LF
 * and both, and takes any name that resembles `model` for it.
 */
#include "api/form.h"

#include <stdlib.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void claim(bool holds)
{
	if (!holds)
		abort();
}

static bool is_line_end(char c)
{
	return c == '\r' || c == '\n';
}

/* The next line without its end, which may be of any kind. */
static struct str take_line(struct str *s)
{
	size_t n = 0, end;

	while (n < s->len && !is_line_end(s->p[n]))
		n++;
	end = n;
	if (end < s->len)
		end += s->p[end] == '\r' && end + 1 < s->len &&
		                       s->p[end + 1] == '\n'
		               ? 2
		               : 1;
	*s = str_from(*s, end);
	return str_of(s->p ? s->p - end : NULL, n);
}

/* Where "--boundary" stands next, at any place. */
static size_t find(struct str s, struct str dashed)
{
	const char *p = s.len ? memmem(s.p, s.len, dashed.p, dashed.len) : NULL;

	return p ? (size_t)(p - s.p) : s.len;
}

/* name=model, name="model", name*=..model: whatever has both words. */
static bool names_model(struct str line)
{
	static const char *const words[] = {"content-disposition", "name",
	                                    "model"};
	size_t w = 0;

	for (size_t i = 0; i < line.len && w < 3; i++)
		if (line.len - i >= strlen(words[w]) &&
		    strncasecmp(line.p + i, words[w], strlen(words[w])) == 0)
			w++;
	return w == 3;
}

/* Each part whose headers speak of a model: its value must be f->model, unless
 * its name only contains the word. */
static size_t count_models(struct str part, const struct form *f)
{
	bool named = false;
	struct str line, value;

	take_line(&part); /* the rest of the boundary line */
	for (;;) {
		struct str before = part;

		if (part.len == 0)
			return 0;
		line = take_line(&part);
		if (line.len == 0)
			break;
		named = named || names_model(line);
		claim(part.p != before.p);
	}
	value = part;
	while (value.len > 0 && is_line_end(value.p[value.len - 1]))
		value.len--;
	return named && str_eq(value, f->model) ? 1 : 0;
}

static void compare(struct str body, struct str dashed, const struct form *f)
{
	size_t models = 0, parts = 0;

	while (body.len > 0) {
		size_t at = find(body, dashed);

		/* in front of it is the end of a line, of one kind only */
		claim(at == body.len || at == 0 ||
		      (at >= 2 && body.p[at - 2] == '\r' &&
		       body.p[at - 1] == '\n'));
		if (at > 0 && parts > 0)
			models += count_models(str_first(body, at), f);
		if (at == body.len)
			break;
		parts++;
		body = str_from(body, at + dashed.len);
	}
	claim(f->model.len == 0 || models >= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str all = str_of((const char *)data, size), type, body, cut;
	char text[80] = "--";
	struct form f, g;
	size_t n;

	n = str_find(all, '\n');
	type = str_first(all, n);
	body = str_from(all, n + 1);
	claim(form_read(type, body, &f) == FORM_BAD ? f.error && !f.model.len
	                                            : !f.error);
	if (f.error || form_read(type, body, &f) != FORM_OK)
		return 0;
	/* the boundary is what the body begins with, up to its line end */
	n = 0;
	while (n < body.len && !is_line_end(body.p[n]))
		n++;
	claim(n >= 3 && n < sizeof(text) + 4);
	if (n > 4 && body.p[n - 1] == '-' && body.p[n - 2] == '-' &&
	    find(type, str_of(body.p + 2, n - 2)) == type.len)
		n -= 2; /* a form without parts */
	claim(n <= sizeof(text));
	memcpy(text, body.p, n);
	claim(find(type, str_of(text + 2, n - 2)) < type.len);
	compare(body, str_of(text, n), &f);
	/* what comes before its end is a part of it */
	cut = str_first(str_trim(body), (size * 7919) % str_trim(body).len);
	claim(form_read(type, cut, &g) == FORM_PARTIAL);
	claim(g.model.len == 0 || str_eq(g.model, f.model));
	return 0;
}
