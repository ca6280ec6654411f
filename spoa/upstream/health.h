/*
 * upstream/health: a circuit breaker per deployment.
 *
 *   upstream/feedback (408, 429 or 5xx was answered) ----+
 *   usage/settle (502..504 by HAProxy: not reachable) ---+--> health_report
 *                                                                  |
 *   decide/route, for each candidate --health_look--> state <------+
 *
 * One bad answer trips the breaker; failures are not counted, because a status
 * of Azure names its cause: 429 is a full quota, 408 and 5xx are a fault. There
 * is no half-open state either: when the time is over the breaker is closed,
 * and the next answer decides again.
 *
 * Azure prolongs the throttling of a caller that goes on sending (azure.md
 * 4.2), so a 429 takes the deployment out of use until the time Azure named. An
 * error only puts it behind its healthy siblings: a deployment that fails now
 * and then is better than none.
 *
 * A breaker belongs to one worker and its loop: workers do not tell each other.
 * A restart closes all of them.
 */
#ifndef UPSTREAM_HEALTH_H
#define UPSTREAM_HEALTH_H

#include "base/clock.h"
#include "base/str.h"

struct health; /* the breakers of one worker */

enum health_state {
	/* closed: gets its share of requests */
	HEALTH_OK = 0,
	/* degraded, after 408 or 5xx: chosen when no sibling is HEALTH_OK */
	HEALTH_FAILING = 1,
	/* open, after 429: gets no request before its time */
	HEALTH_THROTTLED = 2,
};

/* For how long an answer keeps the breaker from being closed. */
enum {
	/* A longer Retry-After is ignored: it is not about capacity but about
	 * the one request (86400 is seen, azure.md 4.4). Quotas count by the
	 * minute, and the longest penalty seen is 118 s (azure.md 4.2). */
	HEALTH_OPEN_MAX_S = 120,
	/* 429 without a time: some services send none (azure.md 4.2). */
	HEALTH_OPEN_DEFAULT_S = 10,
	/* 408 or 5xx. Our choice: a burst goes to the siblings, and one bad
	 * answer costs the deployment little of its share. */
	HEALTH_ERROR_S = 5,
};

/* All breakers closed. `clock` is borrowed and outlives this. NULL without
 * memory. */
struct health *health_new(const struct clock *clock);
void health_free(struct health *h); /* accepts NULL */

/* A deployment answered `status`, which must be an error; `retry_after_ms` is
 * its Retry-After, 0 when it sent none, and counts with 429 only. The latest
 * report replaces the one before, also when it ends earlier. The names are
 * copied. Without memory, or for names that are too long, nothing is
 * remembered and the deployment stays in use. */
void health_report(struct health *h, struct str resource, struct str deployment,
                   int status, uint64_t retry_after_ms);

/* The state now; one that was never reported is HEALTH_OK. *left_ms (may be
 * NULL) is set to the milliseconds until it is closed, at least 1, and stays
 * untouched with HEALTH_OK. */
enum health_state health_look(const struct health *h, struct str resource,
                              struct str deployment, uint64_t *left_ms);

#endif
