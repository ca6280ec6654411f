/*
 * base/metrics: counters and gauges that all workers share.
 *
 * One table in shared memory, made before the workers are forked, so that
 * whichever worker answers /metrics tells the whole truth, and a worker that
 * dies takes nothing with it. A series is found by its name and labels; hot
 * paths look it up once and keep the cell.
 *
 * The table has a fixed number of places. When it is full (or nearly: a series
 * is looked for in a part of it only), or the labels are over 224 bytes, a
 * look-up is counted in `foundry_metrics_dropped_total` and goes to a cell
 * nobody prints.
 *
 * A gauge that differs between workers needs a `worker` label; counters do
 * not, they add up.
 */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include "base/buf.h"

struct metrics;
struct metric; /* one cell: never NULL, valid as long as the table */

/* The table in anonymous shared memory; NULL when it cannot be had. */
struct metrics *metrics_new(void);
void metrics_free(struct metrics *m);

/* A series. `name` must be in the table of names in metrics.c, which gives
 * type and help text (an unknown name is a bug: assert). `labels` is empty or
 * "key=\"value\",..." as made by metrics_label(). */
struct metric *metrics_get(struct metrics *m, const char *name,
                           struct str labels);

/* Append key="value" with the escapes of the Prometheus text format. */
void metrics_label(struct buf *labels, const char *key, struct str value);

/* The label of a gauge that differs between workers. */
void metrics_worker(struct buf *labels, unsigned number);

void metric_add(struct metric *c, int64_t n);
void metric_take(struct metric *c, int64_t n); /* never below 0 */
void metric_set(struct metric *c, int64_t value);
int64_t metric_value(const struct metric *c);

enum { METRIC_BUCKETS = 16 };

/* A histogram. The row of its name says what is observed and between which
 * bounds it is sorted: microseconds, printed as seconds, or whole things. The
 * count is the sum of the buckets. */
struct metric_kind;
struct metric_histogram {
	const struct metric_kind *kind;
	struct metric *buckets[METRIC_BUCKETS]; /* NULL behind the last */
	struct metric *sum;
};
void metrics_histogram(struct metrics *m, const char *name, struct str labels,
                       struct metric_histogram *out);
void metric_observe(struct metric_histogram *h, uint64_t n);

/* The same for a series with many others beside it: only the places that it
 * needs are taken. */
void metrics_observe(struct metrics *m, const char *name, struct str labels,
                     uint64_t n);

static inline void metric_observe_us(struct metric_histogram *h, uint64_t us)
{
	metric_observe(h, us);
}

/* All series in the Prometheus text exposition format 0.0.4. */
void metrics_print(struct metrics *m, struct buf *out);

#endif
