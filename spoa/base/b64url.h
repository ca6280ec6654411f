/*
 * base/b64url: base64url without padding (RFC 4648, 5 and 3.2).
 *
 * The alphabet is A-Z a-z 0-9 - _: such a text needs no quoting in a log line,
 * in JSON or in a URL.
 */
#ifndef BASE_B64URL_H
#define BASE_B64URL_H

#include "base/buf.h"

/* Bytes that a text of `len` characters holds at most. */
#define B64URL_BYTES(len) ((len) / 4 * 3 + (len) % 4 * 3 / 4)

/* Append the text of `bytes`. False when the buffer has failed. */
bool b64url_write(struct buf *out, struct str bytes);

/* The bytes of `text` into `out`, which has room for B64URL_BYTES(text.len)
 * and may be the memory of `text` itself. Accepted is the one spelling that
 * b64url_write() has for these bytes: no padding, no other character, unused
 * bits of the last character zero. False leaves *len untouched, but not the
 * memory of `out`. */
bool b64url_read(struct str text, char *out, size_t *len);

#endif
