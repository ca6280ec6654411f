/*
 * usage/count: what requests add to /metrics.
 *
 *   decide/decision_log -> admitted | refused     usage/settle -> ended, used
 *
 * The names are those of the OpenTelemetry conventions for GenAI in their
 * Prometheus form where there is one, else ours. As there, gen_ai_* tokens
 * are those that the upstream reported; what was charged by an estimate is in
 * a series of its own, and the cost has both.
 *
 * Labels: consumers, models and resources by their names in the configuration
 * and nothing that a caller could make up, so that the number of series is
 * bounded by the configuration. What it does not name (any more) is "other".
 */
#ifndef USAGE_COUNT_H
#define USAGE_COUNT_H

#include "base/metrics.h"
#include "usage/record.h"

/* A decision on a request of a known consumer. `model` may be empty.
 * `admitted`: it goes on to a resource, and its end will be reported. */
void count_decision(struct metrics *m, const struct policy *p,
                    struct str consumer, struct str model, const char *verdict,
                    bool admitted);

/* An admitted request has ended, however that was. */
void count_end(struct metrics *m, const struct policy *p,
               const struct usage_record *rec);

/* A settled request. */
struct count_usage {
	const struct usage_record *rec;
	const struct usage_tokens *tokens;
	bool estimated;
	uint64_t nano_usd;
};
void count_usage(struct metrics *m, const struct policy *p,
                 const struct count_usage *u);

#endif
