/*
 * usage/record: one end-of-stream line of HAProxy, taken apart.
 *
 *   haproxy log-format (JSON, by UDP) -> record_parse -> record_charge
 *
 * The line is hearsay until its ticket is verified (usage/seal): anybody on
 * this host could send one. Nothing of it is charged or counted before.
 */
#ifndef USAGE_RECORD_H
#define USAGE_RECORD_H

#include "conf/policy.h"
#include "store/store.h"
#include "usage/ticket.h"
#include "usage/tokens.h"

/* Of the line, `"v":`. An older HAProxy configuration writes another one. */
enum {
	RECORD_VERSION = 2,
	/* Bytes of a line. The same number is in haproxy.cfg (`log ... len`)
	 * and in net/udp. It holds a ticket of 4096 (TICKET_BYTES_MAX as
	 * base64url), `usage` and `usage_first` of RECORD_USAGE_MAX each with
	 * all of their bytes escaped, and 4 KiB of all else.
	 * A longer line would be cut, and be none. */
	RECORD_LINE_MAX = 40960,
	/* Bytes of a usage object: lua/usage.lua, and haproxy.cfg. */
	RECORD_USAGE_MAX = 8000,
};

/* The members of the line: haproxy.cfg, log-format. What the agent knew itself
 * comes back in `ticket`; the rest is what HAProxy and its Lua filter alone
 * know. An unset variable is "" or "-": absent. */
/* clang-format off */
#define RECORD_FIELDS(X)                                                       \
	X(COUNT, v, INNER)                                                     \
	X(TEXT, id, INNER)            /* of the request; the ledger's own */   \
	X(TEXT, nonce, INNER)         /* told to the agent and nobody else */  \
	X(SIGNED, status, LEDGER)     /* to the client; -1: none was sent */   \
	X(TEXT, termination, LEDGER)  /* HAProxy's two letters; "--": good */  \
	X(COUNT, retries, INNER)      /* connections tried again */            \
	/* -1: no connection to the resource was made. Of an answer that        \
	 * HAProxy replaced by its own, `upstream` is what the resource said;   \
	 * -1: it has not answered */                                          \
	X(SIGNED, connect_ms, INNER)                                           \
	X(SIGNED, upstream, INNER)    /* status of the resource's answer */    \
	X(COUNT, bytes, LEDGER)       /* sent to the client */                 \
	X(SIGNED, ttfb_ms, LEDGER)    /* head of the answer; -1: none came */  \
	X(SIGNED, total_ms, LEDGER)                                            \
	X(TEXT, verdict, INNER)       /* "allow"; empty: no decision came */   \
	X(TEXT, code, INNER)          /* why it did not go as allowed */       \
	X(TICKET, ticket, INNER)      /* absent: nothing was reserved */       \
	X(COUNT, events, LEDGER)      /* of an SSE stream */                   \
	X(SIGNED, token_ms, INNER)    /* head to first token; -1: not seen */  \
	X(TEXT, usage_first, INNER)   /* of Anthropic's message_start */       \
	X(TEXT, usage, INNER)         /* JSON object, as the resource said */  \
	X(TEXT, object, INNER)        /* id that a streamed answer has made */ \
	X(FLAG, spilled, LEDGER)      /* by Azure, to another deployment */    \
	/* a batch that was shown: its id, and a model or deployment.          \
	 * `usage` is then what the batch has used so far; the request has     \
	 * used nothing */                                                     \
	X(TEXT, batch, INNER)                                                  \
	X(TEXT, batch_model, INNER)
/* clang-format on */

struct usage_record {
#define RECORD_MEMBER(kind, name, where) FIELD_MEMBER(kind, name)
	RECORD_FIELDS(RECORD_MEMBER)
#undef RECORD_MEMBER
	struct ticket_proof proof; /* of the ticket; empty without one */
	char *text;      /* owns all texts of the record and its ticket */
	int64_t ttft_ms; /* first token of a stream; -1: not seen */
	bool has_usage;  /* `usage` and `usage_first` are tokens: */
	struct usage_tokens tokens;
};

enum record_status {
	RECORD_OK = 0,
	RECORD_OTHER = 1, /* not one of ours: HAProxy's own messages */
	RECORD_BAD = 2,   /* ours by its look, but not usable */
	/* ours, but not of RECORD_VERSION: haproxy.cfg and agent differ */
	RECORD_OTHER_VERSION = 3,
};

/* RECORD_OK: the caller must record_done() it. Otherwise *out is untouched.
 * `line` is not kept. */
enum record_status record_parse(struct str line, struct usage_record *out);

/* Also of a record that is zeroed, or done already. */
void record_done(struct usage_record *rec);

/* The usage object of any API (azure.md 4.7, openai-python and
 * anthropic-sdk-python: types). `first` is the earlier one of an Anthropic
 * stream (message_start), else empty. False when `text` is no such object; *out
 * is untouched then.
 *
 * Anthropic's `iterations` are summed: what its outermost members say is
 * without compactions and advisors. All of them have the price of the model
 * that was asked, also where an iteration names another.
 *
 * The service tier is read where it stands inside the object, as Anthropic has
 * it. OpenAI's APIs have it beside `usage`, where nothing of it arrives here.
 */
bool record_read_usage(struct str text, struct str first, enum api_operation op,
                       struct usage_tokens *out);

/* What to charge. *estimated is true when the upstream reported nothing: then
 * the prompt is what was reserved for it, and the output follows from events or
 * bytes. A request that the upstream refused, or that was never sent, costs
 * nothing. `m` NULL: no prices, so no cost. */
void record_charge(const struct usage_record *rec, const struct policy_model *m,
                   struct usage_tokens *tokens, struct store_usage *used,
                   bool *estimated);

#endif
