/*
 * usage/record: one end-of-stream line of HAProxy, taken apart.
 *
 *   haproxy log-format (JSON, by UDP) -> record_parse -> record_charge
 *
 * The line is hearsay until a reservation with its id is open: anybody on
 * this host could send one. Nothing is charged or counted for an unknown id.
 */
#ifndef USAGE_RECORD_H
#define USAGE_RECORD_H

#include "base/str.h"
#include "conf/policy.h"
#include "api/operations.h"
#include "store/store.h"

struct usage_tokens {
	uint64_t input;  /* all of the prompt, cached tokens included */
	uint64_t cached; /* of input, read from a cache */
	uint64_t output; /* reasoning included */
	uint64_t reasoning;
	uint64_t audio; /* of input and output */
};

struct usage_record {
	char *text; /* owns all strings below */
	struct str id;
	struct str account, consumer, app, agent, project;
	struct str model, deployment, resource;
	enum api_operation operation;
	struct str termination; /* HAProxy's two letters: "--", "CD", ... */
	struct str verdict;
	struct str code;          /* empty, or why it did not go as allowed */
	int64_t status;           /* to the client; 0 or -1: no answer began */
	struct str object, owner; /* made by a streamed answer */
	struct str origin; /* request that pays for a background response */
	/* A batch that is shown: its id, and a model or deployment. has_usage
	 * then says what it has used so far; the request has used nothing. */
	struct str batch, batch_model;
	uint64_t reserved; /* tokens; 0: this operation does not count any */
	bool counted;
	uint64_t text_bytes;
	uint64_t bytes;            /* sent to the client */
	uint64_t events;           /* of an SSE stream */
	int64_t ttfb_ms, total_ms; /* -1: not reached */
	int64_t ttft_ms;           /* first token of a stream; -1: not seen */
	uint64_t retries;
	bool stream;
	bool spilled; /* Azure let another deployment answer it */
	bool has_usage;
	struct usage_tokens tokens; /* as the upstream reported */
};

enum record_status {
	RECORD_OK = 0,
	RECORD_OTHER = 1, /* not one of ours: HAProxy's own messages */
	RECORD_BAD = 2,   /* ours by its look, but not usable */
};

/* RECORD_OK: the caller must record_done() it. `line` is not kept. */
enum record_status record_parse(struct str line, struct usage_record *out);
void record_done(struct usage_record *rec);

/* The usage object of any API in azure.md 4.7. `first` is the earlier one of
 * an Anthropic stream (message_start), else empty. False when `text` is no
 * such object; *out is untouched then. */
bool record_read_usage(struct str text, struct str first, enum api_operation op,
                       struct usage_tokens *out);

/* What to charge. `ratio` is bytes per prompt token. *estimated is true when
 * the upstream reported nothing: prompt from its bytes, output from events or
 * bytes. A request the upstream refused costs nothing. `m` NULL: no
 * prices, so no cost. */
void record_charge(const struct usage_record *rec, const struct policy_model *m,
                   double ratio, struct usage_tokens *tokens,
                   struct store_usage *used, bool *estimated);

#endif
