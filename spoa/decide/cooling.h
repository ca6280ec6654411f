/*
 * decide/cooling: deployments to leave alone for a while.
 *
 * Azure punishes callers that keep knocking at a throttled deployment
 * (azure.md 4.2), so a 429 closes it until the time Azure named. Errors (408,
 * 5xx) only move it behind its healthy siblings: it is still used when there
 * is no other.
 */
#ifndef DECIDE_COOLING_H
#define DECIDE_COOLING_H

#include "base/clock.h"
#include "base/str.h"

struct cooling;

enum cooling_state {
	COOLING_NO = 0,
	COOLING_SOFT = 1, /* errors: rather another one */
	COOLING_HARD = 2, /* throttled: not before the time */
};

struct cooling *cooling_new(const struct clock *clock);
void cooling_free(struct cooling *c);

/* The upstream answered `status` for a deployment. `retry_after_ms` is what
 * it asked for, 0 when it asked for nothing. More than COOLING_MAX_S is not
 * about capacity but about that one request (Azure's 86400) and is ignored. */
enum { COOLING_MAX_S = 120, COOLING_DEFAULT_S = 10, COOLING_ERROR_S = 5 };
void cooling_report(struct cooling *c, struct str resource,
                    struct str deployment, int status, uint64_t retry_after_ms);

/* *left_ms (may be NULL): until it may be used again. */
enum cooling_state cooling_look(const struct cooling *c, struct str resource,
                                struct str deployment, uint64_t *left_ms);

#endif
