/*
 * api/scan: what the agent must know of a request body, in one pass.
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
#ifndef API_SCAN_H
#define API_SCAN_H

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

/* Members that decide/adapt may change or take away. */
enum scan_member {
	SCAN_INCLUDE_USAGE = 0, /* inside stream_options */
	/* from here on: of the top level */
	SCAN_FIRST_TOP,
	SCAN_MODEL = SCAN_FIRST_TOP,
	SCAN_STREAM_OPTIONS,
	SCAN_MAX_TOKENS,
	SCAN_MAX_COMPLETION_TOKENS,
	SCAN_MAX_OUTPUT_TOKENS,
	SCAN_REASONING_EFFORT,
	SCAN_DATA_SOURCES,
	/* from here on: those that can only be taken away */
	SCAN_FIRST_DROPPABLE,
	SCAN_TEMPERATURE = SCAN_FIRST_DROPPABLE,
	SCAN_TOP_P,
	SCAN_PRESENCE_PENALTY,
	SCAN_FREQUENCY_PENALTY,
	SCAN_LOGPROBS,
	SCAN_TOP_LOGPROBS,
	SCAN_LOGIT_BIAS,
	SCAN_PARALLEL_TOOL_CALLS,
	SCAN_SEED,
	SCAN_STOP,
	SCAN_USER,
	SCAN_STORE,
	SCAN_METADATA,
	SCAN_SERVICE_TIER,
	SCAN_VERBOSITY,
	SCAN_PREDICTION,
	SCAN_N_MEMBERS,
};

/* Names, in the order of the enum. */
extern const struct str scan_member_names[SCAN_N_MEMBERS];

/* Where a member stands: byte offsets in the body as it came, which is
 * shorter than a frame.
 *
 *   .. "before" : 1 , "key" : value , "next" : ..
 *                  ^  ^    ^^     ^   ^
 *           prev_end key   |value end next
 *                     key_end                                            */
struct scan_span {
	bool found;
	bool null;
	unsigned index; /* among the members of its object, from 0 */
	uint32_t key, key_end;
	uint32_t value, end;
	uint32_t prev_end; /* index 0: behind the brace */
	uint32_t next;     /* 0 when it is the last member */
	uint64_t number;   /* of a limit of output tokens */
};

/* An object that can get a further member. */
struct scan_object {
	uint32_t inside; /* offset behind its opening brace */
	unsigned n_members;
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
	/* complete only with SCAN_OK; what is not there has found == false */
	struct scan_object top, stream_options;
	struct scan_span spans[SCAN_N_MEMBERS];
	struct str reasoning_effort; /* decoded; empty: absent or no text */
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
