/*
 * top: who uses what right now, in the terminal.
 *
 *   /metrics of a running agent, every second
 *       --top_read--> struct top_sample; two of them --top_write--> table
 *
 * It reads the page of metrics and nothing else, so it works from any host that
 * reaches listen.http, and shows all workers of that agent together.
 */
#ifndef COMMANDS_TOP_H
#define COMMANDS_TOP_H

#include "base/buf.h"
#include "base/map.h"

/* Pairs of consumer and model in a page; above the number of series that the
 * fixed table of base/metrics can hold. */
enum { TOP_ROWS_MAX = 20000 };

enum top_column {
	TOP_REQUESTS = 0, /* decisions */
	TOP_REFUSED = 1,  /* of these, with the verdict deny */
	TOP_INPUT = 2,    /* tokens, estimated ones included */
	TOP_OUTPUT = 3,
	TOP_STREAMS = 4, /* in flight: a level, not a rate */
	TOP_N_COLUMNS = 5,
};

/* One reading of /metrics. */
struct top_sample {
	struct map rows; /* "consumer\nmodel" -> struct top_row */
};

void top_sample_init(struct top_sample *s);
void top_sample_done(struct top_sample *s); /* frees the rows */

/* Add the series of a page in the Prometheus text format that are about
 * consumers; all others are skipped. Names are copied. False when rows are
 * missing: no memory, or more than TOP_ROWS_MAX. */
bool top_read(struct top_sample *s, struct str page);

/* Append a table of what happened between two samples, elapsed_us apart: the
 * busiest rows first, at most max_rows of them, then the sum of all rows. An
 * agent that was restarted meanwhile has counted from 0. False without memory,
 * or when `out` reached its maximum. */
bool top_write(const struct top_sample *before, const struct top_sample *after,
               uint64_t elapsed_us, size_t max_rows, struct buf *out);

struct top_options {
	const char *url; /* from argv; NULL: http://127.0.0.1:9102 */
	bool once;       /* one table, without control characters */
};

/* Read the arguments of `foundry-spoa top`. False with a sentence in `error`.
 */
bool top_read_options(int argc, char **argv, struct top_options *out,
                      struct buf *error);

/* Append one line per option. */
void top_usage(struct buf *out);

/* Print tables until the process is interrupted; with `once`, one table.
 * Blocks. Returns the exit status: 0 when a table was printed. */
int top_run(const struct top_options *o);

#endif
