/* base/utf8: strict UTF-8 (RFC 3629). */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include "base/str.h"

/* Length in bytes of the valid sequence s begins with, 0 when it begins with
 * none: overlong forms, surrogates and values above U+10FFFF are invalid. */
size_t utf8_len(struct str s);

#endif
