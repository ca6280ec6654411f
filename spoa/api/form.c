/*
 * api/form: the field `model` of a multipart/form-data body (RFC 7578).
 *
 *   --boundary CRLF                               form_read
 *   header CRLF ... CRLF                          form_read_headers
 *   value                                         form_read_model
 *   CRLF --boundary CRLF ... next part            form_read_parts
 *   CRLF --boundary-- [CRLF]                      the end
 */
#include "api/form.h"

enum {
	BOUNDARY_MAX = 70, /* RFC 2046, 5.1.1 */
	HEADERS_MAX = 16,  /* of a part; clients send one to three */
};

static const struct str form_crlf = STR_INIT("\r\n");

static enum form_status form_fail(struct form *out, const char *error)
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

/* RFC 2046, 5.1.1: bcharsnospace. A blank inside, which the RFC allows, is not
 * accepted: parsers differ on it. */
static bool form_is_boundary(struct str s)
{
	return s.len > 0 && s.len <= BOUNDARY_MAX &&
	       str_has_only(s, "'()+_,-./:=?");
}

/* The value of the parameter `boundary`, without quotes. Empty when it is
 * missing, given twice or not plain. */
static struct str form_read_boundary(struct str type)
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
		if (!form_is_boundary(found))
			return STR_NONE;
	}
	return found;
}

/* The offset of the first `what` in s, s.len when there is none. */
static size_t form_find(struct str s, struct str what)
{
	/* memmem() must not get a null pointer */
	const char *p = s.len > 0 ? memmem(s.p, s.len, what.p, what.len) : NULL;

	return p ? (size_t)(p - s.p) : s.len;
}

/* Remove a quoted text from the front of *s and set *out to what is between the
 * quotes. False when there is none or it has a backslash: parsers differ on
 * what that means. */
static bool form_take_quoted(struct str *s, struct str *out)
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

/* Read a Content-Disposition: form-data; name="x"[; filename="y"] and nothing
 * else. *file: it has a file name. */
static bool form_read_disposition(struct str s, struct str *name, bool *file)
{
	struct str skip;

	if (!str_starts_nocase(s, STR("form-data; name=")))
		return false;
	s = str_from(s, 16); /* behind name= */
	if (!form_take_quoted(&s, name))
		return false;
	*file = s.len > 0;
	if (!*file)
		return true;
	if (!str_starts_nocase(s, STR("; filename=")))
		return false;
	s = str_from(s, 11); /* behind filename= */
	return form_take_quoted(&s, &skip) && s.len == 0;
}

/* Read the header lines of a part up to the empty line, which *s is behind
 * afterwards. The caller has found that line. NULL, or the error. */
static const char *form_read_headers(struct str *s, struct str *name,
                                     bool *file)
{
	static const struct str key = STR_INIT("content-disposition:");
	bool found = false;
	unsigned n;

	for (n = 0; n < HEADERS_MAX; n++) {
		size_t len = form_find(*s, form_crlf);
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
		    !form_read_disposition(str_trim(str_from(line, key.len)),
		                           name, file))
			return "a part of the form has an unusual "
			       "Content-Disposition";
		found = true;
	}
	return "a part of the form has too many headers";
}

/* Take the value of a part if it is `model`. NULL, or the error. */
static const char *form_read_model(struct str name, bool file, struct str value,
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

/* Read all parts; `s` begins behind a delimiter, which is CRLF and the boundary
 * line. */
static enum form_status form_read_parts(struct str s, struct str delimiter,
                                        struct form *out)
{
	unsigned n;

	for (n = 0; n < FORM_PARTS_MAX; n++) {
		struct str name = STR_NONE, value;
		bool file = false;
		const char *error;
		size_t head, len;

		/* The end of the form. With further bytes behind it, which
		 * some parsers read as more parts, the form is refused. */
		if (str_starts(s, STR("--")) && s.len > 2 &&
		    !str_starts(STR("--\r\n"), s))
			return form_fail(out,
			                 "there are bytes behind the form");
		if (str_starts(s, STR("--")))
			return FORM_OK;
		if (s.len < 2)
			return FORM_PARTIAL;
		if (!str_starts(s, form_crlf))
			return form_fail(out, "a boundary of the form goes on");
		s = str_from(s, 2);
		head = form_find(s, STR("\r\n\r\n"));
		if (head == s.len)
			return FORM_PARTIAL;
		error = form_read_headers(&s, &name, &file);
		if (error)
			return form_fail(out, error);
		len = form_find(s, delimiter);
		if (len == s.len)
			return FORM_PARTIAL;
		value = str_first(s, len);
		error = form_read_model(name, file, value, out);
		if (error)
			return form_fail(out, error);
		s = str_from(s, len + delimiter.len);
	}
	return form_fail(out, "the form has too many parts");
}

enum form_status form_read(struct str content_type, struct str body,
                           struct form *out)
{
	struct str boundary = form_read_boundary(content_type), delimiter;
	char text[BOUNDARY_MAX + 4] = "\r\n--";

	*out = (struct form){0};
	if (boundary.len == 0)
		return form_fail(out, "the form has no usable boundary");
	memcpy(text + 4, boundary.p, boundary.len);
	delimiter = str_of(text, boundary.len + 4);
	/* The first delimiter has no CRLF in front. A preamble, which RFC 2046
	 * allows and no client sends, is refused. */
	if (body.len < delimiter.len - 2)
		return FORM_PARTIAL;
	if (!str_starts(body, str_from(delimiter, 2)))
		return form_fail(out,
		                 "the form does not begin with its boundary");
	return form_read_parts(str_from(body, delimiter.len - 2), delimiter,
	                       out);
}
