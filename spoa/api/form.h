/*
 * api/form: the field `model` of a multipart/form-data body (RFC 7578).
 *
 * Uploads (audio, images to edit) name their model in a form. The resource
 * parses the same bytes with a parser of its own, and the two must not see
 * different models. Parsers agree on the form that clients write and on little
 * else: email and werkzeug (Python) end a line at a bare LF or CR, Go does so
 * when the first boundary line does, ASP.NET decodes =?utf-8?B?..?= in names
 * and takes the charset of a part's own Content-Type, append-field and PHP
 * read model[] as model. So only the form that clients write is accepted:
 *
 * - a Content-Type by api/content_type with one boundary of letters, digits
 *   and '()+_-./:=? in at most 70 characters (RFC 2046, 5.1.1; no blanks and
 *   commas, on which parsers differ);
 * - CRLF at every line end; "--boundary" nowhere but in boundary lines;
 *   nothing in front of the first, nothing behind the last but a line end;
 * - header lines "name: value" that are neither folded nor broken nor given
 *   twice; one Content-Disposition, form-data; name=".."[; filename=".."], in
 *   quotes without escapes or a token (.NET), and the filename*= that .NET
 *   writes behind; no multipart inside; a Content-Transfer-Encoding that
 *   changes nothing (7bit, 8bit, binary);
 * - `model` at most once, as printable ASCII in text/plain, without a file
 *   name. No field whose name another parser could take for it (base/fold,
 *   blanks around it, model[..], encoded words), and no `_charset_`.
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
