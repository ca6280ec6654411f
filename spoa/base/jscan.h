/*
 * base/jscan: a strict JSON pull scanner (RFC 8259) that allocates nothing.
 *
 *   bytes --jscan_next--> { KEY STRING NUMBER .. } --> caller
 *
 * Stricter than the RFC where it leaves a choice: U+0000 in a string, a byte
 * order mark, unpaired surrogates and nesting deeper than the caller allows
 * are errors. Duplicate keys are not detected: that needs memory, and callers
 * differ in the levels at which they have to refuse them (api/scan: those that
 * it reads; base/json: all).
 *
 * A document that ends too early is JSCAN_PARTIAL, never JSCAN_BAD: every
 * prefix of a valid document is partial (or complete, where the root is a
 * number). HAProxy passes only the beginning of a large body, and the caller
 * must be able to tell that from an invalid body.
 */
#ifndef BASE_JSCAN_H
#define BASE_JSCAN_H

#include "base/arena.h"
#include "base/str.h"

/* Nesting of objects and arrays that can be scanned: one bit of state for each
 * level. No API request comes near; cJSON allows 1000, but recurses. */
enum { JSCAN_MAX_DEPTH = 128 };

enum jscan_token {
	JSCAN_END = 0,     /* complete; nothing but blanks followed */
	JSCAN_PARTIAL = 1, /* the bytes ended before the document did */
	JSCAN_BAD = 2,     /* not JSON: see `error` and `error_at` */
	JSCAN_OBJECT = 3,
	JSCAN_OBJECT_END = 4,
	JSCAN_ARRAY = 5,
	JSCAN_ARRAY_END = 6,
	JSCAN_KEY = 7, /* of a member; its colon is consumed, too */
	JSCAN_STRING = 8,
	JSCAN_NUMBER = 9,
	JSCAN_TRUE = 10,
	JSCAN_FALSE = 11,
	JSCAN_NULL = 12,
};

struct jscan {
	/* Of the last token; all offsets are bytes from the start. */
	struct str text;    /* a view into the document. KEY, STRING: the bytes
	                     * between the quotes, still escaped; NUMBER: as
	                     * written; PARTIAL: the part of a string value
	                     * that is there; else empty */
	size_t decoded_len; /* length of `text` when unescaped */
	size_t at;          /* offset of the first byte of the token */
	unsigned depth;     /* number of open objects and arrays; an opening
	                     * token counts, a closing one no longer does */
	const char *error;  /* BAD: a constant sentence */
	size_t error_at;    /* BAD: offset of the byte it is about */

	/* private */
	const char *start, *p, *end;
	unsigned max_depth;
	int state;
	enum jscan_token last;
	uint64_t is_object[JSCAN_MAX_DEPTH / 64]; /* bit d: level d + 1 */
};

/* Start a scan of `text`, which is not copied and must outlive it. A document
 * that is nested deeper than max_depth is JSCAN_BAD; max_depth is at most
 * JSCAN_MAX_DEPTH. */
void jscan_init(struct jscan *s, struct str text, unsigned max_depth);

/* The next token. END, PARTIAL and BAD are final: further calls return the
 * same. */
enum jscan_token jscan_next(struct jscan *s);

/* The offset of the byte behind the last token (behind the colon of a KEY). */
size_t jscan_pos(const struct jscan *s);

/* Unescape the text of a KEY or STRING, as jscan_next() returned it, into
 * `out`, which has room for decoded_len bytes. Returns that length. */
size_t jscan_unescape(struct str raw, char *out);

/* The unescaped text of the last token, a KEY or STRING: a view into the
 * document when it has no escapes, else a copy in the arena. Empty, with
 * `overflow` of the arena set, when that is full. */
struct str jscan_str(const struct jscan *s, struct arena *arena);

/* Compare two texts of KEYs or STRINGs by their unescaped bytes, as memcmp
 * does: less than, equal to or greater than 0. */
int jscan_compare(struct str raw_a, struct str raw_b);

/* Read the text of a NUMBER as an integer from 0 to 2^53, the range in which
 * readers that use doubles see the same value. No sign, fraction or exponent:
 * "1e3" is refused. False leaves *out untouched. */
bool jscan_to_u53(struct str number, uint64_t *out);

#endif
