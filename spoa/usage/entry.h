/*
 * usage/entry: one line of the ledger.
 *
 * Written once per settled request, read by reports. Tokens are what counts;
 * the cost in it is that of the prices of its day, and a report derives it
 * anew from whatever prices it is given.
 */
#ifndef USAGE_ENTRY_H
#define USAGE_ENTRY_H

#include "base/buf.h"

struct usage_entry {
	/* as in the line: JSON escapes, if any, are kept */
	struct str time; /* end of the request, "2026-11-22T14:03:05.123Z" */
	struct str id;
	struct str consumer, team, app, agent, project;
	struct str operation, model, deployment, resource;
	struct str batch;       /* that was shown: the tokens are all that it
	                         * has used so far, by each such line again */
	struct str termination; /* HAProxy's two letters, "--" is good */
	uint64_t status;
	uint64_t requests; /* to be paid: 0 when the resource refused it, or
	                    * only showed an earlier answer once more */
	uint64_t input, cached, output, reasoning;
	uint64_t audio; /* of input and output */
	uint64_t nano_usd;
	uint64_t bytes, events;
	/* 0 when not reached; ttft_ms, the first token, is seen in streams */
	uint64_t ttfb_ms, ttft_ms, total_ms;
	bool stream, estimated;
	bool spilled; /* by Azure, to what is not provisioned */
};

enum { ENTRY_LINE_MAX = 4096 };

/* One line with its newline. The strings of `e` are plain text here. */
void entry_write(const struct usage_entry *e, struct buf *out);

/* A line without its newline; unknown members are passed over. The strings
 * are views into it. False when it is no ledger line. */
bool entry_read(struct str line, struct usage_entry *out);

/* A text column by its name ("consumer", "model", "day", ...): `day` and
 * `month` are parts of the time. NULL is returned for unknown names by
 * entry_column(); all names, with commas, by entry_columns(). */
typedef struct str entry_column_fn(const struct usage_entry *e);
entry_column_fn *entry_column(struct str name);
const char *entry_columns(void);

#endif
