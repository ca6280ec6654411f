/*
 * request/scan: what the agent must know of a request body, in one pass.
 *
 * Strict RFC 8259 over one object: no duplicate keys at the levels that are
 * read (top level, `stream_options`, `reasoning`), escaped key names are
 * resolved before they are compared, bounded depth, valid UTF-8, no
 * U+0000, nothing behind the object but blanks, no BOM. It allocates nothing.
 *
 * Strings in the result point into the body or, where they held escapes, into
 * the arena.
 */
#ifndef REQUEST_SCAN_H
#define REQUEST_SCAN_H

#include "base/arena.h"
#include "base/str.h"

enum { SCAN_MAX_DEPTH = 128 };

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
	uint64_t n; /* choices asked for, 1 when absent */
	struct str previous_response_id;
	struct str prompt_cache_key;
	uint64_t text_bytes; /* bytes inside strings that are not keys and
	                      * not data: URLs; the size the estimate uses */
	uint64_t n_data_urls;
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
