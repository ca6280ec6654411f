/*
 * api/family: which objects of the Responses API were made together.
 *
 * An answer holds items (messages, reasoning, tool calls) whose ids a later
 * request may name. The gateway sees the id of the response, not those of its
 * items. But the service puts the same 16 hexadecimal digits into the ids of a
 * conversation, of the responses in it or of a chain of responses, and of all
 * their items: the key by which it stores them together. Here they are called
 * the family of an id.
 *
 *   resp_ 0c7d5a12cbe135ee 00 69d6021a 70048197b30eac95a9b0c028   50 digits
 *   rs_   0c7d5a12cbe135ee 00 69d6021a e4e08197aa623c16d9dd5c8f
 *         family           v  time     random
 *
 *   resp_ 67ccd2be d1ec8190b14f964abc054267 0bb6a6b452d3795b       48 digits
 *   msg_  67ccd2bf 17f0819081ff3bb2cf6508e6 0bb6a6b452d3795b
 *         time     random                   family
 *
 * Neither OpenAI nor Azure document it. It holds for all answers of either
 * service that were found in public (12 of them, with 2 chains; the second form
 * until autumn 2025), and Microsoft's own generators of such ids
 * (FoundryIdGenerator) call it the partition key. What does not have exactly
 * one of the two forms has no family: then nothing is concluded from the id.
 * The first digit of a family is 0 and that of a time 6 or 7 (until 2038), so
 * neither form can be taken for the other, nor a time for a family.
 *
 * A caller cannot make its own object carry the family of another's: the
 * service chooses it at random, or takes it from the response or conversation
 * that is continued, which must be the caller's already (decide/objects).
 */
#ifndef API_FAMILY_H
#define API_FAMILY_H

#include "base/str.h"

enum { FAMILY_LEN = 16 };

/* The family of an id, a view into it; empty when it has none. */
struct str family_of(struct str id);

/* True for an object that begins a family or continues one: a response or a
 * conversation. Whoever makes it owns the items of the family. */
bool family_is_kept(struct str id);

#endif
