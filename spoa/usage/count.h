/*
 * usage/count: what requests add to /metrics.
 *
 *   decide/decision_log --> count_decision
 *   usage/settle        --> count_record, count_end
 *   usage/settlement    --> count_record, count_usage
 *
 * The names are those of the OpenTelemetry conventions for GenAI in their
 * Prometheus form where there is one, else foundry_*. As there, gen_ai_* tokens
 * are those that the upstream reported; what was charged by an estimate is in
 * a series of its own, and the cost has both.
 *
 * Labels: consumers, models and resources by their names in the configuration
 * and nothing that a caller could make up, so that the number of series is
 * bounded by the configuration. What it does not name (any more) is "other".
 * Metrics are shared by all workers; each call adds at once.
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

/* A usage record has come, or the store has answered for it. `result` is one of
 * the constants that usage/settle.c and usage/settlement.c list. */
void count_record(struct metrics *m, const char *result);

/* An admitted request has ended, however that was: what count_decision() added
 * to the streams of its consumer and model is taken back. */
void count_end(struct metrics *m, const struct policy *p,
               const struct usage_record *rec);

/* A settled request: its tokens, its cost and its times. */
struct count_usage {
	const struct usage_record *rec;
	const struct usage_tokens *tokens;
	bool estimated;
	uint64_t nano_usd;
};
void count_usage(struct metrics *m, const struct policy *p,
                 const struct count_usage *u);

#endif
