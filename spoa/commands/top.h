/*
 * top: who uses what right now, in the terminal.
 *
 *   /metrics of a running agent, every second -> rows -> rates -> table
 */
#ifndef COMMANDS_TOP_H
#define COMMANDS_TOP_H

#include "base/buf.h"
#include "base/map.h"

enum { TOP_ROWS_MAX = 20000 };

enum top_column {
	TOP_REQUESTS = 0,
	TOP_REFUSED = 1,
	TOP_INPUT = 2, /* tokens, estimated ones included */
	TOP_OUTPUT = 3,
	TOP_STREAMS = 4, /* a level, not a rate */
	TOP_N_COLUMNS = 5,
};

/* One reading of /metrics. */
struct top_sample {
	struct map rows; /* "consumer\nmodel" -> struct top_row */
};

void top_sample_init(struct top_sample *s);
void top_sample_done(struct top_sample *s);

/* Add the series of a page in the Prometheus text format that are about
 * consumers; all others are passed over. False when there are too many. */
bool top_read(struct top_sample *s, struct str page);

/* The table of what happened between two samples: the busiest first, at most
 * max_rows of them, and the sum of all. A counter that fell began again at 0:
 * the agent was restarted. False without memory. */
bool top_write(const struct top_sample *before, const struct top_sample *after,
               uint64_t elapsed_us, size_t max_rows, struct buf *out);

struct top_options {
	const char *url; /* NULL: that of an agent on this host */
	bool once;       /* one table, without control characters */
};

/* The words behind `foundry-spoa top`. False with a sentence. */
bool top_read_options(int argc, char **argv, struct top_options *out,
                      struct buf *error);
void top_usage(struct buf *out);

/* Runs until it is interrupted; with `once` until the table is written. The
 * exit code. */
int top_run(const struct top_options *o);

#endif
