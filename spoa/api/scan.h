/*
 * api/scan: what the agent must know of a JSON request body, in one pass.
 *
 * The resource parses the same body with a parser of its own. Were the two to
 * read it differently ({"model":"cheap","model":"dear"}), a request could be
 * authorized as one model and run as another. So a body that allows two
 * readings is refused:
 *
 * - it must be one object by RFC 8259: valid UTF-8, no U+0000, no byte order
 *   mark, bounded depth, only blanks behind it (base/jscan);
 * - at the levels that are read (the top level, `stream_options`, `reasoning`)
 *   no key may occur twice, compared unescaped, and none may look like a known
 *   one: differ from it in letter case only, in any reader's idea of letter
 *   case (base/fold);
 * - a known member must have its type: `stream` a boolean, `max_tokens` an
 *   integer without sign, fraction or exponent. null counts as absent.
 *
 * Nothing is allocated and the body is not copied: strings in the result are
 * views into the body or, where they had escapes, copies in the arena.
 */
#ifndef API_SCAN_H
#define API_SCAN_H

#include "api/refs.h"
#include "base/arena.h"
#include "base/str.h"

enum {
	SCAN_MAX_DEPTH = 128, /* that of base/jscan */
	/* keys of one object that is read: each is compared with all before,
	 * and they take 3 kB of the stack; the APIs have about 40 */
	SCAN_MAX_KEYS = 128,
	SCAN_MAX_KEY_LEN = 128, /* bytes of such a key, unescaped */
	/* bytes of model, response id, cache key: they go into the arena of the
	 * request (24 kB) */
	SCAN_MAX_NAME = 1024,
	SCAN_MAX_CHOICES = 128, /* `n` and `best_of`: OpenAI's limit of `n` */
	/* what one token id counts in text_bytes: English has about 4 bytes per
	 * token */
	SCAN_TOKEN_ID_BYTES = 4,
};

enum scan_status {
	SCAN_OK = 0,
	SCAN_PARTIAL = 1, /* the bytes ended before the object did */
	SCAN_BAD = 2,     /* refused: see `error` */
};

/* Members whose place is noted: decide/adapt may change or remove them. */
enum scan_member {
	SCAN_INCLUDE_USAGE = 0, /* inside stream_options */
	/* from here on: members of the top level */
	SCAN_FIRST_TOP,
	SCAN_MODEL = SCAN_FIRST_TOP,
	SCAN_STREAM_OPTIONS,
	SCAN_MAX_TOKENS,
	SCAN_MAX_COMPLETION_TOKENS,
	SCAN_MAX_OUTPUT_TOKENS,
	SCAN_REASONING_EFFORT,
	SCAN_DATA_SOURCES,
	/* from here on: those that adapt removes but never changes */
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

/* The keys, indexed by enum scan_member. */
extern const struct str scan_member_names[SCAN_N_MEMBERS];

/* The place of a member, as byte offsets into the body. The body is shorter
 * than a frame (SPOP_MAX_FRAME), so 32 bits are enough.
 *
 *   .. "before" : 1 , "key" : value , "next" : ..
 *                  ^  ^    ^^     ^   ^
 *           prev_end key   |value end next
 *                     key_end                                            */
struct scan_span {
	bool found;            /* the other fields are set */
	bool null;             /* the value is null */
	unsigned index;        /* among the members of its object, from 0 */
	uint32_t key, key_end; /* with its quotes */
	uint32_t value, end;
	uint32_t prev_end; /* end of the member before, or of the brace */
	uint32_t next;     /* the next key; 0 for the last member */
	uint64_t number;   /* the value of a limit of output tokens */
};

/* An object to which decide/adapt may add members. */
struct scan_object {
	uint32_t inside; /* offset of the byte behind its opening brace */
	unsigned n_members;
};

struct scan_result {
	struct str model; /* unescaped; empty when absent */
	bool has_model;
	bool stream;
	bool has_stream_options;
	bool include_usage;  /* of stream_options */
	bool has_max_output; /* one of the three limits below is there */
	uint64_t max_output; /* tokens: the largest of max_tokens,
	                      * max_completion_tokens, max_output_tokens */
	uint64_t n; /* answers that will be generated, at least 1: the larger
	             * of `n` and `best_of`, times the entries of `prompt` */
	struct str previous_response_id; /* unescaped; empty when absent */
	struct str prompt_cache_key;     /* unescaped; empty when absent */
	/* The size of the text, from which the tokens are estimated: unescaped
	 * bytes of all strings that are neither keys nor base64, and
	 * SCAN_TOKEN_ID_BYTES for each number in `input` and `prompt`. */
	uint64_t text_bytes;
	/* Strings of base64, in data: URLs and in members `data`: images and
	 * files, each estimated as a whole. */
	uint64_t n_data_urls;
	/* Places for edits; complete only with SCAN_OK. */
	struct scan_object top, stream_options;
	struct scan_span spans[SCAN_N_MEMBERS];
	struct str reasoning_effort; /* unescaped; empty: absent, not a string
	                              * or too long */
	const char *error;           /* SCAN_BAD: a constant sentence */
	size_t error_at;       /* SCAN_BAD: offset of the byte it is about */
	struct str error_name; /* SCAN_BAD: the known name that a key looks
	                        * like, a constant; else empty */
};

/* Scan a body. With SCAN_PARTIAL *out has what came before the end of the bytes
 * (of values that were complete), but a second `model` may follow: the caller
 * accepts that only of a body that HAProxy cut and only where the path names
 * the model (decide/resolve). */
enum scan_status scan_body(struct str body, struct arena *arena,
                           struct scan_result *out);

/* The same, and in the same pass what the body refers to; *refs is set like
 * *out. NULL for `refs`: not asked. */
enum scan_status scan_body_refs(struct str body, struct arena *arena,
                                struct scan_result *out, struct refs *refs);

#endif
