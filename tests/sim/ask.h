/*
 * ask: a data plane request as the model sees it: what API, which
 * deployment, how much to say and how fast.
 *
 *   data.c  path, credentials, deployment, limits     -> struct ask
 *   ask.c   body and x-sim-* headers                  -> struct ask
 *   api_*.c the answer in the bytes of that API
 *
 * Prompt tokens are the bytes of text in the prompt / 4, rounded down, at
 * least 1: the decoded `content` strings and `text` parts of messages,
 * `prompt`, `input`, `instructions`, `system`. Not roles, tools or images.
 */
#ifndef SIM_ASK_H
#define SIM_ASK_H

#include "http.h"
#include "jdoc.h"

enum api {
	API_CHAT = 1,
	API_COMPLETIONS = 2,
	API_EMBEDDINGS = 3,
	API_RESPONSES = 4,
	API_MESSAGES = 5,
};

struct ask {
	enum api api;
	struct sb deployment; /* the one that runs; any bytes */
	struct sb model;      /* the name answers carry */
	bool stream;
	bool include_usage; /* stream_options.include_usage */
	bool has_stream_options;
	bool obfuscate; /* stream_options.include_obfuscation, default true */
	bool filters;   /* asynchronous filter: annotation events (sample C) */
	bool cut_short; /* max tokens is less than the model wants to say */
	bool base64;    /* embeddings as text */
	long n;         /* choices */
	long inputs;    /* of an embedding */
	long dims;
	long prompt_tokens, completion_tokens; /* of one choice */
	long cached_tokens, reasoning_tokens;
	long max_tokens;    /* as asked; -1: not said */
	struct sb metadata; /* JSON of the caller, repeated in answers */
	char *tool;         /* answer by calling this function; NULL: by text */
	/* what is said: pieces of `text`, again and again */
	const char *text;
	char *own_text;
	uint32_t *piece; /* n_pieces + 1 offsets */
	long n_pieces;
	/* progress of a stream */
	int phase;
	long step;
	long sequence;
	time_t created;
	char id[64]; /* letters and digits; the API puts its prefix before */
};

/* Everything from body and headers. False when the body is not one JSON
 * object. `path_deployment` is empty for APIs that name the model in the
 * body; the path wins. */
bool ask_read(struct exchange *x, struct jdoc *d, const char *path_deployment,
              size_t len);
void ask_free(struct ask *a);

/* Piece number i of what the model says. */
const char *ask_piece(const struct ask *a, long i, size_t *len);

/* All that is said in one choice, as it stands in a JSON string, unquoted. */
void ask_said(const struct ask *a, struct sb *out);

/* Completion tokens of all choices. */
long ask_total(const struct ask *a);

/* The answers, streamed or whole. x->ask is complete. */
void api_chat(struct exchange *x);
void api_completions(struct exchange *x);
void api_embeddings(struct exchange *x);
void api_responses(struct exchange *x);
void api_messages(struct exchange *x);

/* The harmless verdicts of Azure's content filter. */
#define FILTERS_SAFE                                                           \
	"{\"hate\":{\"filtered\":false,\"severity\":\"safe\"},"                \
	"\"self_harm\":{\"filtered\":false,\"severity\":\"safe\"},"            \
	"\"sexual\":{\"filtered\":false,\"severity\":\"safe\"},"               \
	"\"violence\":{\"filtered\":false,\"severity\":\"safe\"}}"
#define PROMPT_FILTERS_SAFE                                                    \
	"[{\"prompt_index\":0,\"content_filter_results\":{\"hate\":"           \
	"{\"filtered\":false,\"severity\":\"safe\"},\"jailbreak\":"            \
	"{\"filtered\":false,\"detected\":false},\"self_harm\":"               \
	"{\"filtered\":false,\"severity\":\"safe\"},\"sexual\":"               \
	"{\"filtered\":false,\"severity\":\"safe\"},\"violence\":"             \
	"{\"filtered\":false,\"severity\":\"safe\"}}}]"

#endif
