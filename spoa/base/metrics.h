/*
 * base/metrics: counters, gauges and histograms that all workers share.
 *
 * One table in shared memory, made before the workers are forked. Any worker
 * can therefore answer /metrics for all, and what a worker has counted stays
 * when it dies. A series is found by its name and labels; code that counts per
 * request looks its series up once and keeps the cell.
 *
 * Counters of all workers add up in one cell. A gauge whose value belongs to a
 * worker needs the label `worker` (metrics_worker).
 *
 * The table has a fixed size, and labels have at most 224 bytes. A look-up that
 * finds no free cell, or has longer labels, is counted in
 * `foundry_metrics_dropped_total` and returns a cell that is never printed, so
 * callers need no error path. Nothing is ever removed: labels must come from a
 * bounded set (the configuration), not from clients.
 *
 * All functions on cells are atomic and may be called by any worker.
 */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include "base/buf.h"

struct metrics;
struct metric; /* one cell of the table, valid as long as the table */

/* Make the table, 4 MB of anonymous shared memory; NULL when mmap() fails. */
struct metrics *metrics_new(void);

/* Unmap the table in this process. Accepts NULL. */
void metrics_free(struct metrics *m);

/* The cell of a counter or gauge, made at the first call; never NULL. `name`
 * must have a row in the table of metrics.c, which gives its type and help text
 * (another name is a bug: assert). `labels` is empty or "key=\"value\",..." as
 * made by metrics_label(); the order of the labels is part of the series. */
struct metric *metrics_get(struct metrics *m, const char *name,
                           struct str labels);

/* Append `key="value"` to `labels`, behind a comma where needed, with the
 * escapes of the Prometheus text format; invalid UTF-8 becomes U+FFFD. */
void metrics_label(struct buf *labels, const char *key, struct str value);

/* Append the label of a gauge whose value belongs to a worker. */
void metrics_worker(struct buf *labels, unsigned number);

void metric_add(struct metric *c, int64_t n);

/* Subtract n, but stop at 0: of a gauge whose increments may have been lost. */
void metric_sub(struct metric *c, int64_t n);

void metric_set(struct metric *c, int64_t value);
int64_t metric_value(const struct metric *c);

/* Buckets of a histogram at most, +Inf included. */
enum { METRIC_BUCKETS = 16 };

/* The cells of one histogram, for code that observes often. The row of its name
 * gives the bounds of the buckets and the unit: microseconds, which are printed
 * as seconds, or a number. The printed count is the sum of the buckets. */
struct metric_kind;
struct metric_histogram {
	const struct metric_kind *kind;
	struct metric *buckets[METRIC_BUCKETS]; /* NULL behind the last */
	struct metric *sum;
};

/* Look up all cells of a histogram. */
void metrics_histogram(struct metrics *m, const char *name, struct str labels,
                       struct metric_histogram *out);

/* Count the value n, in the unit of the row. */
void metric_observe(struct metric_histogram *h, uint64_t n);

/* Look up and observe in one call, for histograms with many series: a series
 * takes cells only for the buckets that it has values in. */
void metrics_observe(struct metrics *m, const char *name, struct str labels,
                     uint64_t n);

/* metric_observe() for histograms whose unit is microseconds. */
static inline void metric_observe_us(struct metric_histogram *h, uint64_t us)
{
	metric_observe(h, us);
}

/* Append all series in the Prometheus text exposition format 0.0.4, sorted by
 * name and labels. Other workers may count meanwhile: each value is read once,
 * but the values are not of one moment. */
void metrics_print(struct metrics *m, struct buf *out);

#endif
