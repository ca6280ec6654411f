/*
 * report_rows: what `foundry-spoa report` adds up. Private to report*.c.
 *
 *   report.c      lines -> rows
 *   report_ptu.c  what is paid by the hour -> rows
 *   report_print.c                            rows -> table, csv, json
 */
#ifndef COMMANDS_REPORT_ROWS_H
#define COMMANDS_REPORT_ROWS_H

#include "commands/report.h"
#include "usage/entry.h"

struct sums {
	uint64_t requests, estimated, failed;
	uint64_t input, cached, output, reasoning, audio;
	unsigned __int128 pico_usd;
};

struct row {
	struct sums sums;
	bool idle; /* nobody's: throughput that was paid and not used */
	struct str values[REPORT_COLUMNS_MAX]; /* in `text` */
	/* weighted tokens on each provisioned deployment, behind the text */
	uint64_t *uses;
	char text[];
};

/* A provisioned deployment in the time of the report. */
struct ptu_period {
	int64_t ms;                 /* that are paid */
	unsigned __int128 pico_usd; /* for them */
	uint64_t used, capacity;    /* weighted tokens; 0: not stated */
};

struct report {
	const struct report_options *o;
	const struct policy *policy;
	entry_column_fn *columns[REPORT_COLUMNS_MAX];
	struct str names[REPORT_COLUMNS_MAX];
	size_t n_columns;
	struct map rows;    /* values with '\n' behind each -> struct row */
	struct map batches; /* id -> struct usage_entry, what was counted */
	char first[24];     /* earliest time of a line, 0: none */
	uint64_t bad_lines;
	bool full;
	struct ptu_period *periods; /* as policy->provisioned; NULL: none */
};

enum { REPORT_KEY_MAX = 1024 };

/* The row of these values, made when there is none. NULL without memory, or
 * when there are too many. */
struct row *report_row(struct report *rep, struct str key);

/* In the order they are shown: by value, what was idle behind; NULL ends. To
 * be freed; NULL without memory. */
struct row **report_sorted(const struct report *rep);

/* A line of a provisioned deployment, `i` of the policy's. */
void report_ptu_add(struct row *row, const struct policy_provisioned *p,
                    size_t i, const struct usage_entry *e);

/* All lines have been added. False without memory. */
bool report_ptu_share(struct report *rep);

/* One line per provisioned deployment: hours, cost, how much was used. */
void report_ptu_tell(const struct report *rep, struct buf *out);

/* False without memory. */
bool report_print(const struct report *rep, struct buf *out);

#endif
