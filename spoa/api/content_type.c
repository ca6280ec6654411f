/* api/content_type: the value of a header Content-Type. */
#include "api/content_type.h"

/* RFC 9110, 5.6.2: tchar. '*' is left out: in the name of a parameter it means
 * an encoding or a part of a value (RFC 2231, RFC 8187), and no value that
 * clients write has one. */
static bool ctype_is_token(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      (c >= '0' && c <= '9') ||
		      (c > ' ' && memchr("!#$%&'+-.^_`|~", c, 14))))
			return false;
	}
	return s.len > 0;
}

static struct str ctype_skip_blanks(struct str s)
{
	while (s.len > 0 && (*s.p == ' ' || *s.p == '\t'))
		s = str_from(s, 1);
	return s;
}

/* The length of a quoted value at the start of s with its quotes; 0 when it is
 * not plain. */
static size_t ctype_quoted_len(struct str s)
{
	for (size_t i = 1; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '"')
			return i + 1;
		if (c < ' ' || c == 0x7f || c == '\\')
			return 0;
	}
	return 0;
}

bool content_type_take(struct str *s, struct str *name, struct str *value)
{
	struct str rest = ctype_skip_blanks(*s);
	size_t eq, len;

	*name = *value = STR_NONE;
	if (rest.len == 0 || *rest.p != ';')
		return false;
	rest = ctype_skip_blanks(str_from(rest, 1));
	*s = rest;
	if (rest.len == 0)
		return true;
	eq = str_find(rest, '=');
	*name = str_first(rest, eq);
	rest = str_from(rest, eq + 1);
	if (rest.len == 0 || !ctype_is_token(*name))
		return false;
	if (*rest.p == '"') {
		len = ctype_quoted_len(rest);
		if (len < 2)
			return false;
		*value = str_of(rest.p + 1, len - 2);
	} else {
		for (len = 0; len < rest.len; len++)
			if (!ctype_is_token(str_of(rest.p + len, 1)))
				break;
		if (len == 0)
			return false;
		*value = str_first(rest, len);
	}
	*s = str_from(rest, len);
	return true;
}

/* NULL, or why the parameter is not acceptable. */
static const char *ctype_add(struct content_type *out, struct str name,
                             struct str value, bool *has_charset)
{
	/* a comma ends a value for those who take the header for a list */
	if (value.len == 0 || str_find(value, ',') < value.len)
		return "a parameter of its Content-Type is empty or has a "
		       "comma";
	if (str_eq_nocase(name, STR("boundary"))) {
		if (out->boundary.len > 0)
			return "its Content-Type has `boundary` twice";
		out->boundary = value;
		return NULL;
	}
	if (!str_eq_nocase(name, STR("charset")))
		return "its Content-Type has a parameter other than `charset` "
		       "and `boundary`";
	if (*has_charset)
		return "its Content-Type has `charset` twice";
	*has_charset = true;
	if (!str_eq_nocase(value, STR("utf-8")))
		return "the `charset` of its Content-Type is not utf-8";
	return NULL;
}

void content_type_read(struct str value, struct content_type *out)
{
	struct str name, text, rest;
	bool has_charset = false;
	size_t slash;

	value = str_trim(value);
	*out = (struct content_type){
		.type = str_trim(str_first(value, str_find(value, ';')))};
	slash = str_find(out->type, '/');
	if (!ctype_is_token(str_first(out->type, slash)) ||
	    !ctype_is_token(str_from(out->type, slash + 1)))
		out->error = "its Content-Type is not type/subtype";
	rest = str_from(value, str_find(value, ';'));
	while (rest.len > 0 && !out->error) {
		if (!content_type_take(&rest, &name, &text))
			out->error = "a parameter of its Content-Type is not "
				     "plain name=value";
		else if (name.len > 0)
			out->error = ctype_add(out, name, text, &has_charset);
	}
	if (out->error)
		out->boundary = STR_NONE;
}
