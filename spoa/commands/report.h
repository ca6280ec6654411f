/*
 * report: who consumed what, from the ledger.
 *
 *   ledger files + gateway.json --report_run--> table, CSV or JSON
 *
 * Sums of requests, tokens and dollars by any columns of the ledger, exact to
 * the token. Dollars come from the prices of the configuration that is given,
 * so a past month can be priced anew; a model that it does not have counts with
 * the cost in the ledger. A batch counts once, however often its owner asked
 * for it, at the price of batches.
 *
 * Provisioned throughput (`ptu`) is paid by the hour, whatever runs: from
 * `from` (the first line when that is open) to `to` or now, whichever is
 * earlier. A row has the part of the cost that its weighted tokens are of the
 * capacity; the rest of the cost is a row of its own, "(idle)". Where no
 * capacity is stated, or more than it was used, a row has its part of what was
 * used, and nothing is idle. All parts together are the cost, to the
 * pico-dollar.
 */
#ifndef COMMANDS_REPORT_H
#define COMMANDS_REPORT_H

#include "base/buf.h"
#include "conf/policy.h"

enum report_format { REPORT_TABLE = 0, REPORT_CSV = 1, REPORT_JSON = 2 };

/* Choices of ours: a table of more columns fits no screen, and more rows are a
 * job for a database that reads the ledger itself. Batches are bounded by
 * REPORT_ROWS_MAX, too. */
enum { REPORT_COLUMNS_MAX = 8, REPORT_ROWS_MAX = 200000 };

/* Texts are views into argv. */
struct report_options {
	const char *config;  /* path of gateway.json */
	struct str ledger;   /* a file; empty: that of the configuration, with
	                      * all it was rotated to */
	struct str from, to; /* UTC: "2026-11", "2026-11-22",
	                      * "2026-11-22T14:00:00Z"; from is inside, to is
	                      * not; empty: open */
	struct str by;       /* columns, with commas; default "consumer" */
	int format;          /* enum report_format */
	int64_t now_ms;      /* unix; hours are paid up to now at most */
};

/* Read the arguments of `foundry-spoa report`; the configuration is required,
 * and now_ms is the system's. False with a sentence in `error`. */
bool report_read_options(int argc, char **argv, struct report_options *out,
                         struct buf *error);

/* Append a line per option, and the names of all columns. */
void report_usage(struct buf *out);

/* Append the report to `out`. False with a sentence in `error`: bad options, a
 * file that cannot be read, too many rows or batches. False without one when
 * `out` reached its maximum. Lines that are no ledger lines are skipped, and
 * their number is in `error`, also on success. */
bool report_run(const struct report_options *o, const struct policy *p,
                struct buf *out, struct buf *error);

#endif
