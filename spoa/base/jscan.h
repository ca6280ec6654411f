/*
 * base/jscan: a strict JSON pull scanner (RFC 8259) that allocates nothing.
 *
 *   bytes --jscan_next--> { KEY STRING NUMBER .. } --> caller
 *
 * Stricter than the RFC where it leaves a choice: U+0000 in a string, a byte
 * order mark, unpaired surrogates and nesting deeper than the caller allows
 * are errors. What it does not look at is duplicate keys: that needs memory,
 * and callers differ in which levels they care about.
 *
 * Bytes that end too early are JSCAN_PARTIAL, never JSCAN_BAD: any prefix of
 * a good document is partial (or, for a number at the root, complete).
 */
#ifndef BASE_JSCAN_H
#define BASE_JSCAN_H

#include "base/arena.h"
#include "base/str.h"

enum { JSCAN_MAX_DEPTH = 128 };

enum jscan_token {
	JSCAN_END = 0,     /* the document is complete; only blanks follow */
	JSCAN_PARTIAL = 1, /* the bytes ended before the document did */
	JSCAN_BAD = 2,     /* `error` and `error_at` say why */
	JSCAN_OBJECT = 3,
	JSCAN_OBJECT_END = 4,
	JSCAN_ARRAY = 5,
	JSCAN_ARRAY_END = 6,
	JSCAN_KEY = 7, /* of an object, its colon is read too */
	JSCAN_STRING = 8,
	JSCAN_NUMBER = 9,
	JSCAN_TRUE = 10,
	JSCAN_FALSE = 11,
	JSCAN_NULL = 12,
};

struct jscan {
	/* of the last token */
	struct str text;    /* KEY, STRING: between the quotes, still escaped;
	                     * NUMBER: as written; PARTIAL: what there is of
	                     * an unfinished string, else empty. A view. */
	size_t decoded_len; /* KEY, STRING: bytes when unescaped */
	size_t at;          /* where the token began */
	unsigned depth;     /* of open objects and arrays */
	const char *error;  /* a constant sentence */
	size_t error_at;

	/* private */
	const char *start, *p, *end;
	unsigned max_depth;
	int state;
	enum jscan_token last; /* END, PARTIAL and BAD stay */
	uint64_t is_object[JSCAN_MAX_DEPTH / 64];
};

/* `text` must outlive the scan; max_depth is at most JSCAN_MAX_DEPTH. */
void jscan_init(struct jscan *s, struct str text, unsigned max_depth);

/* The next token. After END, PARTIAL or BAD the same again for ever. */
enum jscan_token jscan_next(struct jscan *s);

/* Where the last token ended: the offset of the byte behind it (behind the
 * colon for a KEY). */
size_t jscan_pos(const struct jscan *s);

/* Unescape what jscan gave as the text of a KEY or STRING into `out`, which
 * has room for decoded_len bytes. Returns that length. */
size_t jscan_unescape(struct str raw, char *out);

/* The unescaped text of the KEY or STRING just read: a view into the document
 * where nothing was escaped, else in the arena. Empty when that is full. */
struct str jscan_str(const struct jscan *s, struct arena *arena);

/* Compare two raw texts as if unescaped, bytewise as memcmp. */
int jscan_compare(struct str raw_a, struct str raw_b);

/* A NUMBER's text as an integer of 0 or more: no sign, fraction or exponent,
 * at most 2^53. False leaves *out untouched. */
bool jscan_to_u53(struct str number, uint64_t *out);

#endif
