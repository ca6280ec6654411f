/*
 * api/form: the field `model` of a multipart/form-data body (RFC 7578).
 *
 * Strict, because the resource reads the same bytes with a reader of its own:
 * a part has one Content-Disposition of the plain form that clients write,
 * names in quotes without escapes, no folded lines, CRLF everywhere. `model`
 * may stand once, without a file name, and no other field may differ from it
 * in letter case only.
 */
#ifndef API_FORM_H
#define API_FORM_H

#include "base/arena.h"
#include "base/str.h"

enum {
	FORM_MODEL_MAX = 1024,
	FORM_PARTS_MAX = 256,
};

enum form_status {
	FORM_OK = 0,
	FORM_PARTIAL = 1, /* the bytes ended before the last boundary */
	FORM_BAD = 2,
};

struct form {
	struct str model;  /* a view; empty when it was not seen */
	const char *error; /* FORM_BAD: a constant sentence */
};

bool form_is(struct str content_type);

enum form_status form_read(struct str content_type, struct str body,
                           struct form *out);

#endif
