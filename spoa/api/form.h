/*
 * api/form: the field `model` of a multipart/form-data body (RFC 7578).
 *
 * Uploads (audio, images to edit) name their model in a form. The resource
 * parses the same bytes with a parser of its own, and the two must not see
 * different models. So only the form that clients write is accepted:
 *
 * - a plain boundary, given once, without which no part can be found;
 * - CRLF at every line end, no folded header lines;
 * - one Content-Disposition per part: form-data; name="..", optionally
 *   followed by filename="..", in quotes, without escapes;
 * - `model` at most once, without a file name, and no field whose name differs
 *   from it in letter case only;
 * - nothing behind the last boundary but a line end.
 *
 * Anything else is FORM_BAD, and the request is refused. Nothing is allocated
 * or copied; the other fields are not looked at.
 */
#ifndef API_FORM_H
#define API_FORM_H

#include "base/arena.h"
#include "base/str.h"

enum {
	FORM_MODEL_MAX = 1024, /* bytes; that of a JSON body: SCAN_MAX_NAME */
	FORM_PARTS_MAX = 256,  /* clients send about ten; bounds the work */
};

enum form_status {
	FORM_OK = 0,
	FORM_PARTIAL = 1, /* the bytes ended before the last boundary */
	FORM_BAD = 2,     /* not acceptable: see `error` */
};

struct form {
	struct str model;  /* a view into the body; empty when not seen */
	const char *error; /* FORM_BAD: a constant sentence */
};

/* True for the media type multipart/form-data, with any parameters. */
bool form_is(struct str content_type);

/* Read `body`, whose boundary is in the value of the header Content-Type. With
 * FORM_PARTIAL *out has what came before the end: a part that was not seen may
 * hold another `model`, so the caller must not route by it alone. */
enum form_status form_read(struct str content_type, struct str body,
                           struct form *out);

#endif
