/*
 * base/utf8: validation of UTF-8 (RFC 3629).
 *
 * Two readers of the same invalid bytes may see different text, so a body with
 * invalid UTF-8 is refused, and invalid bytes are replaced on output.
 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include "base/str.h"

/* The length in bytes (1 to 4) of the valid sequence at the start of s, 0 when
 * there is none. Invalid are overlong forms, surrogates (U+D800 to U+DFFF),
 * values above U+10FFFF, and a sequence that the end of s cuts. */
size_t utf8_len(struct str s);

#endif
