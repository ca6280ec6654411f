/*
 * request/scan: what the agent must know of a request body, in one pass.
 *
 * Strict RFC 8259 over one object: no duplicate keys at the levels that are
 * read (top level, `stream_options`, `reasoning`), escaped key names are
 * resolved before they are compared, bounded depth, valid UTF-8, no
 * U+0000, nothing behind the object but blanks, no BOM. It allocates nothing.
 *
 * At those levels also refused, because an upstream might read them in its
 * own way: a key that differs from a known one in letter case only, more than
 * SCAN_MAX_KEYS keys, and a known member of the wrong type (`stream` not a
 * boolean, `max_tokens` negative or with fraction or exponent). A known
 * member that is null counts as absent.
 *
 * Strings in the result point into the body or, where they held escapes, into
 * the arena.
 */
#ifndef REQUEST_SCAN_H
#define REQUEST_SCAN_H

#include "base/arena.h"
#include "base/str.h"

enum {
	SCAN_MAX_DEPTH = 128,
	SCAN_MAX_KEYS = 128,     /* in one object that is read */
	SCAN_MAX_KEY_LEN = 128,  /* bytes, at the levels that are read */
	SCAN_MAX_NAME = 1024,    /* bytes of model, response id, cache key */
	SCAN_MAX_CHOICES = 128,  /* `n` and `best_of` */
	SCAN_TOKEN_ID_BYTES = 4, /* text_bytes for one token id */
};

enum scan_status {
	SCAN_OK = 0,
	SCAN_PARTIAL = 1, /* the bytes ended before the object did */
	SCAN_BAD = 2,
};

struct scan_result {
	struct str model; /* decoded; empty when absent */
	bool has_model;
	bool stream;
	bool has_stream_options;
	bool include_usage;
	bool has_max_output; /* of max_tokens, max_completion_tokens,
	                      * max_output_tokens the largest */
	uint64_t max_output;
	uint64_t n; /* answers that will be generated: `n` or `best_of`, for
	             * each entry of an array `prompt`; at least 1 */
	struct str previous_response_id;
	struct str prompt_cache_key;
	uint64_t text_bytes;  /* unescaped bytes of strings that are not keys
	                       * and not data, and SCAN_TOKEN_ID_BYTES for each
	                       * number in `input` and `prompt`; the size the
	                       * estimate uses */
	uint64_t n_data_urls; /* base64 in data: URLs and members `data` */
	/* SCAN_BAD: what is wrong and at which byte */
	const char *error; /* a constant sentence */
	size_t error_at;
};

/* SCAN_PARTIAL fills what stood before the end: callers use it only for a
 * body that HAProxy cut (body_len < body_size). A `model` counts only when
 * its value was complete. */
enum scan_status scan_body(struct str body, struct arena *arena,
                           struct scan_result *out);

#endif
