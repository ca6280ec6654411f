/*
 * usage/tokens: how many tokens of which kind.
 *
 *   usage/record --struct usage_tokens--> usage/price, usage/entry, metrics
 *                                              |
 *                        report <--USAGE_TOKENS-+
 *
 * The kinds are those that Azure, OpenAI and Anthropic price apart. A report
 * that does not tell a kind leaves it 0: its tokens are then plain input or
 * output. The rows are part of ENTRY_FIELDS, so a new one is in the ledger's
 * line, in its reading and in the sums of `report` at once.
 */
#ifndef USAGE_TOKENS_H
#define USAGE_TOKENS_H

#include "usage/field.h"

/* clang-format off */
#define USAGE_TOKENS(X)                                                        \
	X(COUNT, input, LEDGER)        /* all of the prompt, cached included */ \
	X(COUNT, cached, LEDGER)       /* of input, read from a cache */       \
	X(COUNT, output, LEDGER)       /* all, reasoning included */           \
	X(COUNT, reasoning, LEDGER)    /* of output */                         \
	X(COUNT, audio, LEDGER)        /* of input and output: the sum of      \
	                                * the two below */                     \
	X(COUNT, cache_write_5m, RARE) /* of input, written to a cache for 5   \
	                                * minutes, or it is not told how long */ \
	X(COUNT, cache_write_1h, RARE) /* of input, for an hour */             \
	X(COUNT, audio_input, RARE)    /* of input */                          \
	X(COUNT, audio_cached, RARE)   /* of cached and of audio_input */      \
	X(COUNT, audio_output, RARE)   /* of output */                         \
	X(COUNT, image_input, RARE)    /* of input */                          \
	X(COUNT, image_cached, RARE)   /* of cached and of image_input */      \
	X(COUNT, image_output, RARE)   /* of output */
/* clang-format on */

struct usage_tokens {
#define TOKENS_MEMBER(kind, name, where) FIELD_MEMBER(kind, name)
	USAGE_TOKENS(TOKENS_MEMBER)
#undef TOKENS_MEMBER
	/* The longest prompt that is part of `input`, where a request has run
	 * the model more than once (Anthropic's iterations); 0: once. Prices
	 * above a prompt length go by it. */
	uint64_t longest;
	/* As the answer says: "priority", "flex", "batch". Empty: another, or
	 * it does not say. A constant. */
	struct str service_tier;
};

#endif
