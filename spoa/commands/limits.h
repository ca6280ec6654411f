/*
 * limits: what operators see and change while the gateway runs.
 *
 *   foundry-spoa limits show|set|reset|block|unblock|audit FILE ..
 *
 * It writes to Redis what the next reservation on any node reads, and to the
 * stream PREFIX:audit who changed what. The configuration names the limits,
 * the consumers and Redis; it is not changed, and what is set outlives reloads
 * and restarts.
 */
#ifndef COMMANDS_LIMITS_H
#define COMMANDS_LIMITS_H

#include "base/buf.h"
#include "conf/policy.h"

struct limits_options {
	const char *verb;
	const char *config; /* gateway.json */
	struct str limit, scope, amount, consumer, app, agent;
};

/* The words behind `foundry-spoa limits`. False with a sentence. */
bool limits_read_options(int argc, char **argv, struct limits_options *out,
                         struct buf *error);
void limits_usage(struct buf *out);

/* False with a sentence in `error`. What was done before a failure stays done,
 * and is in `out`. */
bool limits_run(const struct limits_options *o, struct policy *p,
                struct buf *out, struct buf *error);

#endif
