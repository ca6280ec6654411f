/*
 * report_rows: what `foundry-spoa report` adds up. Private to report*.c.
 *
 *   report.c        lines -> rows
 *   report_ptu.c    cost of provisioned throughput -> rows
 *   report_print.c  rows -> table, CSV, JSON
 *
 * A row is a set of values of the columns of --by, with the sums of all lines
 * that have these values. The report owns its rows, batches and periods, and
 * report.c frees them.
 */
#ifndef COMMANDS_REPORT_ROWS_H
#define COMMANDS_REPORT_ROWS_H

#include "commands/report.h"
#include "usage/entry.h"

/* uint64_t holds 10^19 tokens; dollars need more (usage/price). */
struct sums {
	uint64_t requests, estimated, failed;
#define SUMS_MEMBER(kind, name, where) FIELD_MEMBER(kind, name)
	USAGE_TOKENS(SUMS_MEMBER)
#undef SUMS_MEMBER
	unsigned __int128 pico_usd;
};

struct row {
	struct sums sums;
	bool idle; /* throughput that was paid and that nobody used */
	/* views into `text`, with the JSON escapes of the ledger */
	struct str values[REPORT_COLUMNS_MAX];
	/* weighted tokens on each provisioned deployment, in the order of
	 * policy->provisioned; in the same memory, behind the text */
	uint64_t *uses;
	char text[];
};

/* A provisioned deployment in the time of the report. */
struct ptu_period {
	int64_t ms;                 /* that are paid for */
	unsigned __int128 pico_usd; /* their cost */
	uint64_t used;              /* weighted tokens, of all rows */
	uint64_t capacity;          /* weighted tokens; 0: not stated */
};

struct report {
	const struct report_options *o;
	const struct policy *policy;
	entry_column_fn *columns[REPORT_COLUMNS_MAX];
	struct str names[REPORT_COLUMNS_MAX];
	size_t n_columns;
	struct map rows; /* values with '\n' behind each -> struct row */
	struct map
		batches; /* id -> struct usage_entry: totals counted so far */
	char first[24];  /* earliest time of a line; 0 in front: no line */
	uint64_t bad_lines; /* skipped */
	bool full;          /* a row or batch was lost: the report must fail */
	struct ptu_period *periods; /* as policy->provisioned; NULL: none */
};

/* Bytes of all values of a row: 8 columns of 128 on average. Names of the
 * configuration have 128 at most; longer texts come from tokens of callers. */
enum { REPORT_KEY_MAX = 1024 };

/* The row of these values, each with '\n' behind it; made when there is none.
 * Owned by the report. NULL without memory, or when there are too many. */
struct row *report_row(struct report *rep, struct str key);

/* All rows in the order in which they are shown: by value, idle ones last. NULL
 * ends the array, which the caller frees; NULL without memory. */
struct row **report_sorted(const struct report *rep);

/* Weigh a line of the provisioned deployment `p`, number `i` of the policy. */
void report_ptu_add(struct row *row, const struct policy_provisioned *p,
                    size_t i, const struct usage_entry *e);

/* Call it once, when all lines have been added: shares the cost of provisioned
 * throughput over the rows, and makes idle ones. False without memory, or when
 * there are too many rows. */
bool report_ptu_share(struct report *rep);

/* Append one line per provisioned deployment: hours, cost, how much was used.
 */
void report_ptu_tell(const struct report *rep, struct buf *out);

/* Append all rows in the format of the options. False without memory, or when
 * `out` reached its maximum. */
bool report_print(const struct report *rep, struct buf *out);

#endif
