/*
 * keys/caller: a caller as one line of text, and back.
 *
 *   KEY|TID|APP|OBJECT|MIRID|SCOPES|ROLE ROLE ..|GROUP GROUP ..|BLUEPRINT
 *
 * Everything a rule may ask of a caller is in it, so that one who comes with
 * the secret of a session is judged as whoever has asked for it.
 */
#ifndef KEYS_CALLER_H
#define KEYS_CALLER_H

#include "base/arena.h"
#include "base/buf.h"
#include "conf/policy.h"
#include "keys/identity.h"

enum { CALLER_TEXT_MAX = 1400 }; /* with the rest of an object */

/* Empty, in place of what would not come back the same: too long, or with a
 * character that separates. */
struct str caller_text(const struct identity *who, struct buf *out);

/* A reference the caller must give back; NULL when that is no text of ours,
 * or its tenant or gateway key is not of this policy any more, or the key has
 * expired at `now_s`. */
struct identity *caller_of(struct str text, const struct policy *p,
                           int64_t now_s, struct arena *arena);

#endif
