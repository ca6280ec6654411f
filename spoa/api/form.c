/*
 * api/form: the field `model` of a multipart/form-data body (RFC 7578).
 *
 *   --boundary CRLF                               form_read
 *   header CRLF ... CRLF CRLF                     form_read_part
 *     name: value                                   form_read_header
 *   value                                           form_read_model
 *   CRLF --boundary CRLF ... next part            form_read_parts
 *   CRLF --boundary-- [CRLF]                      the end
 */
#include "api/form.h"

#include "api/content_type.h"
#include "base/fold.h"
#include "base/utf8.h"

enum {
	BOUNDARY_MAX = 70, /* RFC 2046, 5.1.1 */
	HEADERS_MAX = 16,  /* of a part; clients send one to four */
};

/* The header lines of a part that are read; each may come once. */
enum form_header {
	HEADER_DISPOSITION = 0,
	HEADER_TYPE = 1,
	HEADER_ENCODING = 2,
	HEADER_LENGTH = 3,
	N_HEADERS = 4,
};

struct form_part {
	struct str headers[N_HEADERS]; /* values; empty when absent */
	struct str name;
	bool file; /* it has a file name */
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

/* RFC 2046, 5.1.1: bcharsnospace, without the comma. */
static bool form_is_boundary(struct str s)
{
	return s.len > 0 && s.len <= BOUNDARY_MAX &&
	       str_has_only(s, "'()+_-./:=?");
}

/* The offset of the first `what` in s, s.len when there is none. */
static size_t form_find(struct str s, struct str what)
{
	/* memmem() must not get a null pointer */
	const char *p = s.len > 0 ? memmem(s.p, s.len, what.p, what.len) : NULL;

	return p ? (size_t)(p - s.p) : s.len;
}

/* True when s holds a control character. */
static bool form_has_control(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
			return true;
	return false;
}

/* ---------------------------------------------------------------- headers */

/* ; filename*=utf-8''a%20b.wav as .NET writes it: the file name once more. RFC
 * 7578 4.2 forbids it, parsers that know it read a file name, and others read
 * nothing. */
static bool form_is_extended_filename(struct str s)
{
	static const struct str key = STR_INIT("; filename*=utf-8''");

	if (!str_starts_nocase(s, key))
		return false;
	s = str_from(s, key.len);
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f ||
		    memchr("*'\"\\;,=", s.p[i], 7))
			return false;
	return s.len > 0;
}

/* form-data; name="x"[; filename="y"[; filename*=..]] and nothing else. */
static bool form_read_disposition(struct str s, struct form_part *part)
{
	struct str key, skip;

	if (!str_starts_nocase(s, STR("form-data; ")))
		return false;
	s = str_from(s, 9); /* behind form-data */
	if (!content_type_take(&s, &key, &part->name) ||
	    !str_eq_nocase(key, STR("name")))
		return false;
	part->file = s.len > 0;
	if (!part->file)
		return true;
	if (!content_type_take(&s, &key, &skip) ||
	    !str_eq_nocase(key, STR("filename")))
		return false;
	return s.len == 0 || form_is_extended_filename(s);
}

/* Take a header line without its CRLF. NULL, or the error. */
static const char *form_read_header(struct str line, struct form_part *part)
{
	static const struct str names[N_HEADERS] = {
		[HEADER_DISPOSITION] = STR_INIT("content-disposition"),
		[HEADER_TYPE] = STR_INIT("content-type"),
		[HEADER_ENCODING] = STR_INIT("content-transfer-encoding"),
		[HEADER_LENGTH] = STR_INIT("content-length"),
	};
	struct str name = str_first(line, str_find(line, ':')), value;

	for (size_t i = 0; i < name.len; i++)
		if ((unsigned char)name.p[i] <= ' ' ||
		    (unsigned char)name.p[i] >= 0x7f || name.p[i] == '"')
			return "a header of the form is folded or broken";
	if (form_has_control(line) || name.len == 0 || name.len == line.len)
		return "a header of the form is folded or broken";
	value = str_trim(str_from(line, name.len + 1));
	for (size_t i = 0; i < N_HEADERS; i++) {
		if (!str_eq_nocase(names[i], name))
			continue;
		if (part->headers[i].len > 0 || value.len == 0)
			return "a part of the form has a header twice, or an "
			       "empty one";
		part->headers[i] = value;
	}
	return NULL;
}

/* Read the header lines `s`, each with its CRLF. NULL, or the error. */
static const char *form_read_headers(struct str s, struct form_part *part)
{
	const char *error = NULL;
	unsigned n;

	for (n = 0; s.len > 0 && !error; n++) {
		size_t len = form_find(s, form_crlf);

		if (n == HEADERS_MAX)
			return "a part of the form has too many headers";
		error = form_read_header(str_first(s, len), part);
		s = str_from(s, len + form_crlf.len);
	}
	return error;
}

/* True for an encoding of parts that changes nothing (RFC 2045, 6.2). */
static bool form_is_identity(struct str encoding)
{
	return encoding.len == 0 || str_eq_nocase(encoding, STR("7bit")) ||
	       str_eq_nocase(encoding, STR("8bit")) ||
	       str_eq_nocase(encoding, STR("binary"));
}

/* Readers that skip invalid bytes would see another name. */
static bool form_is_utf8(struct str s)
{
	while (s.len > 0) {
		size_t n = utf8_len(s);

		if (n == 0)
			return false;
		s = str_from(s, n);
	}
	return true;
}

/* What holds for every part. NULL, or the error. */
static const char *form_check_part(struct form_part *part)
{
	struct str disposition = part->headers[HEADER_DISPOSITION];
	struct str type = part->headers[HEADER_TYPE];

	if (disposition.len == 0)
		return "a part of the form has no Content-Disposition";
	if (!form_read_disposition(disposition, part))
		return "a part of the form has an unusual "
		       "Content-Disposition: send form-data; name=\"..\", and "
		       "filename=\"..\" for a file";
	if (!form_is_identity(part->headers[HEADER_ENCODING]))
		return "a part of the form has a Content-Transfer-Encoding: "
		       "send it as it is";
	/* a parser of mail looks for further parts in it */
	if (str_starts_nocase(type, STR("multipart/")) ||
	    str_starts_nocase(type, STR("message/")))
		return "a part of the form is itself multipart";
	/* RFC 7578, 4.6: the charset of all other fields */
	if (fold_eq(STR("_charset_"), str_trim(part->name)))
		return "the form has a field `_charset_`";
	/* RFC 2047, which ASP.NET decodes in names */
	if (!form_is_utf8(part->name) ||
	    form_find(part->name, STR("=?")) < part->name.len)
		return "a name in the form is not plain UTF-8";
	return NULL;
}

/* ------------------------------------------------------------------ model */

/* True for names that some parser takes for `model`: model[], model[0]. */
static bool form_is_like_model(struct str name)
{
	name = str_first(name, str_find(name, '['));
	return fold_eq(STR("model"), str_trim(name));
}

/* The bytes of `model` must mean the same in the charset of the part: text in
 * ASCII does, in those that clients name. */
static bool form_is_plain_text(struct str type)
{
	static const struct str charsets[] = {STR_INIT("utf-8"),
	                                      STR_INIT("us-ascii"),
	                                      STR_INIT("iso-8859-1")};
	struct str name, charset;

	if (type.len == 0)
		return true;
	if (!str_starts_nocase(type, STR("text/plain")))
		return false;
	type = str_from(type, 10); /* behind text/plain */
	if (type.len == 0)
		return true;
	if (!content_type_take(&type, &name, &charset) || type.len > 0 ||
	    !str_eq_nocase(name, STR("charset")))
		return false;
	for (size_t i = 0; i < sizeof(charsets) / sizeof(*charsets); i++)
		if (str_eq_nocase(charset, charsets[i]))
			return true;
	return false;
}

static bool form_is_ascii(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return false;
	return !form_has_control(s);
}

/* Take the value of a part if it is `model`. NULL, or the error. */
static const char *form_read_model(const struct form_part *part,
                                   struct str value, struct form *out)
{
	if (!form_is_like_model(part->name))
		return NULL;
	if (part->file || !str_eq(part->name, STR("model")) ||
	    !form_is_plain_text(part->headers[HEADER_TYPE]))
		return "the form's `model` is not a plain field";
	if (out->model.len > 0)
		return "the form has `model` twice";
	if (value.len == 0 || value.len > FORM_MODEL_MAX)
		return "the form's `model` is empty or too long";
	if (!form_is_ascii(value))
		return "the form's `model` is not printable ASCII";
	out->model = value;
	return NULL;
}

/* ------------------------------------------------------------------ parts */

/* Read a part, from behind its boundary line up to the CRLF of the next one.
 * NULL, or the error. */
static const char *form_read_part(struct str s, struct form *out)
{
	struct form_part part = {.file = false};
	size_t head = form_find(s, STR("\r\n\r\n"));
	const char *error;

	if (head == s.len)
		return "a part of the form has no empty line behind its "
		       "headers";
	error = form_read_headers(str_first(s, head + form_crlf.len), &part);
	if (!error)
		error = form_check_part(&part);
	if (error)
		return error;
	return form_read_model(&part, str_from(s, head + 4), out);
}

/* What comes behind a boundary: the end, which is *done, or the CRLF of its
 * line. NULL, or the error. */
static const char *form_read_line_end(struct str s, bool *done)
{
	*done = str_starts(s, STR("--"));
	/* Of further bytes behind the end, some parsers read more parts. */
	if (*done && s.len > 2 && !str_starts(STR("--\r\n"), s))
		return "something stands behind the form";
	if (!*done && !str_starts(s, form_crlf))
		return "a boundary of the form goes on";
	return NULL;
}

/* Read all parts; `s` begins behind the first "--boundary", which is `dashed`.
 */
static enum form_status form_read_parts(struct str s, struct str dashed,
                                        struct form *out)
{
	for (unsigned n = 0; n < FORM_PARTS_MAX; n++) {
		const char *error;
		bool done;
		size_t at;

		if (s.len < 2)
			return FORM_PARTIAL;
		error = form_read_line_end(s, &done);
		if (error)
			return form_fail(out, error);
		if (done)
			return FORM_OK;
		s = str_from(s, 2);
		at = form_find(s, dashed);
		if (at == s.len)
			return FORM_PARTIAL;
		/* Behind anything but CRLF it is a boundary for some. */
		if (at < 2 || !str_starts(str_from(s, at - 2), form_crlf))
			return form_fail(out, "the boundary of the form stands "
			                      "within a part");
		error = form_read_part(str_first(s, at - 2), out);
		if (error)
			return form_fail(out, error);
		s = str_from(s, at + dashed.len);
	}
	return form_fail(out, "the form has too many parts");
}

enum form_status form_read(struct str content_type, struct str body,
                           struct form *out)
{
	char text[BOUNDARY_MAX + 2] = "--";
	struct content_type type;
	struct str dashed;

	*out = (struct form){0};
	content_type_read(content_type, &type);
	if (type.error)
		return form_fail(out, type.error);
	if (!form_is_boundary(type.boundary))
		return form_fail(out, "the form has no usable boundary");
	memcpy(text + 2, type.boundary.p, type.boundary.len);
	dashed = str_of(text, type.boundary.len + 2);
	if (body.len < dashed.len)
		return FORM_PARTIAL;
	/* A preamble, which RFC 2046 allows, no client sends. */
	if (!str_starts(body, dashed))
		return form_fail(out,
		                 "the form does not begin with its boundary");
	return form_read_parts(str_from(body, dashed.len), dashed, out);
}
