/*
 * report: who consumed what, from the ledger.
 *
 * Sums of requests, tokens and dollars by any columns of the ledger, exact to
 * the token. Dollars are derived from the prices of the configuration that is
 * given, so history can be priced anew; for a model that it does not know, the
 * cost that was written down counts. A batch counts once, however often it was
 * asked for, at the price of batches.
 *
 * Provisioned throughput (`ptu`) costs what its hours cost, whatever runs: from
 * `from`, or the first line when that is open, to `to` or now, whichever is
 * earlier. Each row has the part of it that its tokens are of the capacity,
 * and the rest is a row of its own, "(idle)". Without a stated capacity, or
 * when more was used than that, they are parts of what was used, and nothing is
 * idle. All parts together are the cost, to the pico-dollar.
 */
#ifndef COMMANDS_REPORT_H
#define COMMANDS_REPORT_H

#include "base/buf.h"
#include "conf/policy.h"

enum report_format { REPORT_TABLE = 0, REPORT_CSV = 1, REPORT_JSON = 2 };

enum { REPORT_COLUMNS_MAX = 8, REPORT_ROWS_MAX = 200000 };

struct report_options {
	const char *config;  /* gateway.json */
	struct str ledger;   /* a file; empty: that of the config, with all it
	                      * was rotated to */
	struct str from, to; /* "2026-11", "2026-11-22", "2026-11-22T14:00:00Z";
	                      * from is inside, to is not; empty: open */
	struct str by;       /* columns, with commas; default "consumer" */
	int format;          /* enum report_format */
	int64_t now_ms;      /* unix; what is paid by the hour is paid up to
	                      * now at most */
};

/* The words behind `foundry-spoa report`. False with a sentence. */
bool report_read_options(int argc, char **argv, struct report_options *out,
                         struct buf *error);
void report_usage(struct buf *out);

/* False with a sentence in `error`. Lines that are no ledger lines are counted
 * there, too, without failing: a crash may have cut the last one. */
bool report_run(const struct report_options *o, const struct policy *p,
                struct buf *out, struct buf *error);

#endif
