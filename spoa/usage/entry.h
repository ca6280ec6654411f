/*
 * usage/entry: one line of the ledger.
 *
 *   usage/settlement --entry_write--> file, Redis --entry_read--> report
 *
 * Written once per settled request, read by reports. Tokens are what counts;
 * the cost in the line is that of the prices of its day, and a report derives
 * it anew from whatever prices it is given.
 *
 * Most fields are rows of TICKET_FIELDS and RECORD_FIELDS that are marked
 * LEDGER; the tokens are USAGE_TOKENS. A field of those tables gets into the
 * struct, the line and, when it is a text of the ticket, into `report --by`
 * without being named here.
 */
#ifndef USAGE_ENTRY_H
#define USAGE_ENTRY_H

#include "base/buf.h"
#include "usage/record.h"

/* What only the ledger has. The order of the tables is that of the line, which
 * is for the eye: readers go by names. */
/* clang-format off */
#define ENTRY_FIELDS(X)                                                        \
	X(TEXT, time, LEDGER)      /* of the end, "2026-11-22T14:03:05.123Z" */\
	X(TEXT, id, LEDGER)        /* of the request */                        \
	X(TEXT, team, LEDGER)      /* empty: the consumer has none */          \
	TICKET_FIELDS(X)                                                       \
	X(TEXT, batch, LEDGER)     /* that was shown: the tokens are all that  \
	                            * it has used so far, by each such line    \
	                            * again */                                 \
	RECORD_FIELDS(X)                                                       \
	X(COUNT, ttft_ms, LEDGER)  /* first token of a stream; 0: not seen */  \
	X(FLAG, estimated, LEDGER) /* the tokens; no usage was reported */     \
	X(COUNT, requests, LEDGER) /* to be paid: 0 when the resource refused  \
	                            * it, or showed an earlier answer again */ \
	USAGE_TOKENS(X)                                                        \
	X(COUNT, longest, RARE)    /* prompt, where the model ran repeatedly */\
	X(TEXT, service_tier, RARE) /* "priority", "flex", "batch" */          \
	X(COUNT, nano_usd, LEDGER)
/* clang-format on */

/* The kinds of a ticket and a record as the ledger has them. */
#define ENTRY_AS_TEXT      TEXT
#define ENTRY_AS_COUNT     COUNT
#define ENTRY_AS_SIGNED    COUNT /* 0: not reached */
#define ENTRY_AS_FLAG      FLAG
#define ENTRY_AS_OPERATION TEXT /* its name */

/* Texts that entry_read() gives are as in the line: JSON escapes, if any, are
 * kept. */
struct usage_entry {
#define ENTRY_MEMBER(kind, name, where)                                        \
	FIELD_IF_##where(FIELD_MEMBER(ENTRY_AS_##kind, name))
	ENTRY_FIELDS(ENTRY_MEMBER)
#undef ENTRY_MEMBER
};

enum { ENTRY_LINE_MAX = 4096 };

/* The fields that are those of the record and its ticket under the same name.
 * The texts of *e are views into the record; its other fields are untouched. */
void entry_take(struct usage_entry *e, const struct usage_record *rec);

/* The tokens of an entry, and back. */
void entry_put_tokens(struct usage_entry *e, const struct usage_tokens *t);
struct usage_tokens entry_tokens(const struct usage_entry *e);

/* One line with its newline. The texts of `e` are plain text here. out->failed
 * is set when there is no room. */
void entry_write(const struct usage_entry *e, struct buf *out);

/* A line without its newline; unknown members are passed over. The texts are
 * views into it. False when it is no ledger line. */
bool entry_read(struct str line, struct usage_entry *out);

/* A text column by its name ("consumer", "model", "day", ...): `hour`, `day`
 * and `month` are parts of the time. entry_column() is NULL for a name that
 * there is not; entry_columns() has all names, with commas. */
typedef struct str entry_column_fn(const struct usage_entry *e);
entry_column_fn *entry_column(struct str name);
const char *entry_columns(void);

#endif
