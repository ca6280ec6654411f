/*
 * api/content_type: the value of a header Content-Type (RFC 9110, 8.3.1).
 *
 *   type/subtype *( ; name=value )
 *
 * Parsers differ on everything unusual in it: a parameter that stands twice or
 * goes on in further ones (boundary*0, RFC 2231), a charset that makes other
 * text of the same bytes (utf-7), blanks around '=', escapes in quotes, a
 * second value behind a comma. So only what clients write is accepted:
 *
 * - blanks at the two sides of a semicolon only, which may also end the value;
 * - a value that is a token, or in quotes without escapes and commas;
 * - the parameters `charset` and `boundary`, each at most once and in any
 *   letter case. `charset` must be utf-8.
 */
#ifndef API_CONTENT_TYPE_H
#define API_CONTENT_TYPE_H

#include "base/str.h"

struct content_type {
	struct str type;     /* "application/json", as written */
	struct str boundary; /* without quotes; empty when absent */
	const char *error;   /* NULL, or a constant: what is not acceptable */
};

/* Read a value. Strings in *out are views into it; with an error `type` is
 * still set, and `boundary` is empty. */
void content_type_read(struct str value, struct content_type *out);

/* Remove the first parameter (";name=value", or ";" at the end) from *s. Both
 * strings are views into *s, as written; `name` is empty for the semicolon at
 * the end. False when it is not plain, as above; commas in quotes are left to
 * the caller, and so is which names may come. Also reads the parameters of a
 * Content-Disposition, which have the same form. */
bool content_type_take(struct str *s, struct str *name, struct str *value);

#endif
