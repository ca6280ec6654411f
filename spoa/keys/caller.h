/*
 * keys/caller: an identity as one line of text, and back.
 *
 *   KEY|TID|APP|OBJECT|MIRID|SCOPES|ROLE ROLE ..|GROUP GROUP ..|BLUEPRINT
 *
 * For the secrets of realtime sessions: when a caller makes one, its line is
 * stored under the secret's hash (store/objects, with Redis on all nodes); a
 * call that has only the secret is then authorized as that caller
 * (decide/session). So the line has everything that a rule may ask of a
 * caller. It holds no credential.
 *
 * The nodes of a cluster read each other's lines: the order of the fields is a
 * format on the wire.
 */
#ifndef KEYS_CALLER_H
#define KEYS_CALLER_H

#include "base/arena.h"
#include "base/buf.h"
#include "conf/policy.h"
#include "keys/identity.h"

/* Bytes. An object may have OBJECT_TEXT_MAX (2048) in all its members, and an
 * owner, a resource, a model and an origin beside this one. */
enum { CALLER_TEXT_MAX = 1400 };

/* Append the line to `out`, which must be empty, and return it: a view into
 * `out`. Empty, with anything in `out`, when caller_of() would not make the
 * same identity of it: it is longer than CALLER_TEXT_MAX, or a field has a
 * control character or one that separates. */
struct str caller_text(const struct identity *who, struct buf *out);

/* The identity of a line, judged by the policy of today: its tenant and its
 * gateway key must still be configured, and the key must not have ended at
 * `now_s` (unix seconds). A token's `exp` is not in the line; the secret's own
 * end bounds its use. The result is a reference that the caller must give
 * back; the policy and `text` are only read, `arena` is scratch. NULL when the
 * line is malformed or refused, or without memory. */
struct identity *caller_of(struct str text, const struct policy *p,
                           int64_t now_s, struct arena *arena);

#endif
