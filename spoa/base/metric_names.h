/*
 * base/metric_names: which metrics there are. Private to base/metrics.
 *
 * A new metric is a row of the table in metric_names.c, sorted by name.
 */
#ifndef BASE_METRIC_NAMES_H
#define BASE_METRIC_NAMES_H

#include "base/metrics.h"

enum metric_type { COUNTER = 0, GAUGE = 1, HISTOGRAM = 2 };

/* The type of a metric. Cells hold whole numbers; `decimals` of their digits
 * are printed behind the point, so that microseconds appear as the seconds that
 * Prometheus asks for. */
struct metric_kind {
	enum metric_type type;
	unsigned decimals; /* of a COUNTER or HISTOGRAM */
	/* the buckets of a HISTOGRAM: upper bound in the unit of the cells,
	 * and as the label that is printed */
	struct {
		uint64_t at;
		const char *le;
	} v[METRIC_BUCKETS]; /* the last one used is +Inf */
};

struct metric_name {
	const char *name;
	const struct metric_kind *kind;
	const char *help;
};

/* Sorted by name in the order of strcmp(). */
extern const struct metric_name metric_names[];

/* The row of a name. One that is not in the table, or a table out of order, is
 * a bug: assert. At most UINT8_MAX, because base/metrics keeps it in a byte. */
unsigned metric_names_find(const char *name);

#endif
