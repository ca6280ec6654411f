/*
 * upstream/health: deployments to leave alone for a while.
 *
 * Azure punishes callers that keep knocking at a throttled deployment
 * (azure.md 4.2), so a 429 closes it until the time Azure named. Errors (408,
 * 5xx) only move it behind its healthy siblings: it is still used when there
 * is no other.
 */
#ifndef UPSTREAM_HEALTH_H
#define UPSTREAM_HEALTH_H

#include "base/clock.h"
#include "base/str.h"

struct health;

enum health_state {
	HEALTH_OK = 0,
	HEALTH_FAILING = 1,   /* errors: rather another one */
	HEALTH_THROTTLED = 2, /* throttled: not before the time */
};

struct health *health_new(const struct clock *clock);
void health_free(struct health *c);

/* The upstream answered `status` for a deployment. `retry_after_ms` is what
 * it asked for, 0 when it asked for nothing. More than HEALTH_REST_MAX_S is not
 * about capacity but about that one request (Azure's 86400) and is ignored. */
enum {
	HEALTH_REST_MAX_S = 120,
	HEALTH_REST_DEFAULT_S = 10,
	HEALTH_REST_ERROR_S = 5
};
void health_report(struct health *c, struct str resource, struct str deployment,
                   int status, uint64_t retry_after_ms);

/* *left_ms (may be NULL): until it may be used again. */
enum health_state health_look(const struct health *c, struct str resource,
                              struct str deployment, uint64_t *left_ms);

#endif
