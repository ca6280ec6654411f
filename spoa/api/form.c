/* api/form: the field `model` of a multipart/form-data body. */
#include "api/form.h"

enum { BOUNDARY_MAX = 70, HEADERS_MAX = 16 };

static const struct str crlf = STR_INIT("\r\n");

static enum form_status bad(struct form *out, const char *error)
{
	out->model = STR_NONE;
	out->error = error;
	return FORM_BAD;
}

bool form_is(struct str content_type)
{
	struct str type =
		str_trim(str_first(content_type, str_find(content_type, ';')));

	return str_eq_nocase(type, STR("multipart/form-data"));
}

/* RFC 2046, 5.1.1: bcharsnospace, as clients use them. */
static bool is_boundary(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      (c >= '0' && c <= '9') || memchr("'()+_,-./:=?", c, 12)))
			return false;
	}
	return s.len > 0 && s.len <= BOUNDARY_MAX;
}

/* The one parameter `boundary`; empty when it is missing or not plain. */
static struct str boundary_of(struct str type)
{
	struct str found = STR_NONE;

	type = str_from(type, str_find(type, ';') + 1);
	while (type.len > 0) {
		struct str one = str_trim(str_first(type, str_find(type, ';')));
		size_t eq = str_find(one, '=');

		type = str_from(type, str_find(type, ';') + 1);
		if (!str_eq_nocase(str_first(one, eq), STR("boundary")))
			continue;
		if (found.len > 0)
			return STR_NONE;
		found = str_from(one, eq + 1);
		if (found.len >= 2 && found.p[0] == '"' &&
		    found.p[found.len - 1] == '"')
			found = str_of(found.p + 1, found.len - 2);
		if (!is_boundary(found))
			return STR_NONE;
	}
	return found;
}

static size_t find(struct str s, struct str what)
{
	const char *p = s.len > 0 ? memmem(s.p, s.len, what.p, what.len) : NULL;

	return p ? (size_t)(p - s.p) : s.len;
}

/* `"text"` off the front of *s, without its quotes. */
static bool take_quoted(struct str *s, struct str *out)
{
	struct str inside;

	if (s->len < 2 || s->p[0] != '"')
		return false;
	inside = str_from(*s, 1);
	*out = str_first(inside, str_find(inside, '"'));
	if (out->len == inside.len || str_find(*out, '\\') < out->len)
		return false;
	*s = str_from(inside, out->len + 1);
	return true;
}

/* form-data; name="x"[; filename="y"] */
static bool read_disposition(struct str s, struct str *name, bool *file)
{
	struct str skip;

	if (!str_starts_nocase(s, STR("form-data; name=")))
		return false;
	s = str_from(s, 16);
	if (!take_quoted(&s, name))
		return false;
	*file = s.len > 0;
	if (!*file)
		return true;
	if (!str_starts_nocase(s, STR("; filename=")))
		return false;
	s = str_from(s, 11);
	return take_quoted(&s, &skip) && s.len == 0;
}

/* The lines up to an empty one. *head is behind them. */
static const char *read_headers(struct str *s, struct str *name, bool *file)
{
	static const struct str key = STR_INIT("content-disposition:");
	bool found = false;
	unsigned n;

	for (n = 0; n < HEADERS_MAX; n++) {
		size_t len = find(*s, crlf);
		struct str line = str_first(*s, len);

		*s = str_from(*s, len + 2);
		if (line.len == 0)
			return found ? NULL : "a part of the form has no name";
		if (line.p[0] == ' ' || line.p[0] == '\t' ||
		    str_find(line, '\n') < line.len ||
		    str_find(line, '\r') < line.len)
			return "a header of the form is folded or broken";
		if (!str_starts_nocase(line, key))
			continue;
		if (found ||
		    !read_disposition(str_trim(str_from(line, key.len)), name,
		                      file))
			return "a part of the form has an unusual "
			       "Content-Disposition";
		found = true;
	}
	return "a part of the form has too many headers";
}

static const char *take_part(struct str name, bool file, struct str value,
                             struct form *out)
{
	if (!str_eq_nocase(name, STR("model")))
		return NULL;
	if (file || !str_eq(name, STR("model")))
		return "the form's `model` is not a plain field";
	if (out->model.len > 0)
		return "the form has `model` twice";
	if (value.len == 0 || value.len > FORM_MODEL_MAX)
		return "the form's `model` is empty or too long";
	out->model = value;
	return NULL;
}

/* `s` begins behind a delimiter. */
static enum form_status read_parts(struct str s, struct str delimiter,
                                   struct form *out)
{
	unsigned n;

	for (n = 0; n < FORM_PARTS_MAX; n++) {
		struct str name = STR_NONE, value;
		bool file = false;
		const char *error;
		size_t head, len;

		/* to some readers the form goes on behind such an end */
		if (str_starts(s, STR("--")) && s.len > 2 &&
		    !str_starts(STR("--\r\n"), s))
			return bad(out, "something stands behind the form");
		if (str_starts(s, STR("--")))
			return FORM_OK;
		if (s.len < 2)
			return FORM_PARTIAL;
		if (!str_starts(s, crlf))
			return bad(out, "a boundary of the form goes on");
		s = str_from(s, 2);
		head = find(s, STR("\r\n\r\n"));
		if (head == s.len)
			return FORM_PARTIAL;
		error = read_headers(&s, &name, &file);
		if (error)
			return bad(out, error);
		len = find(s, delimiter);
		if (len == s.len)
			return FORM_PARTIAL;
		value = str_first(s, len);
		error = take_part(name, file, value, out);
		if (error)
			return bad(out, error);
		s = str_from(s, len + delimiter.len);
	}
	return bad(out, "the form has too many parts");
}

enum form_status form_read(struct str content_type, struct str body,
                           struct form *out)
{
	struct str boundary = boundary_of(content_type), delimiter;
	char text[BOUNDARY_MAX + 4] = "\r\n--";

	*out = (struct form){0};
	if (boundary.len == 0)
		return bad(out, "the form has no usable boundary");
	memcpy(text + 4, boundary.p, boundary.len);
	delimiter = str_of(text, boundary.len + 4);
	/* the first one needs no line before it; nothing else may be there */
	if (body.len < delimiter.len - 2)
		return FORM_PARTIAL;
	if (!str_starts(body, str_from(delimiter, 2)))
		return bad(out, "the form does not begin with its boundary");
	return read_parts(str_from(body, delimiter.len - 2), delimiter, out);
}
