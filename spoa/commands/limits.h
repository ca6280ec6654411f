/*
 * limits: what operators see and change while the gateway runs.
 *
 *   foundry-spoa limits show|set|reset|block|unblock|audit FILE ..
 *       --store/tune--> Redis <--reserve.lua-- every node
 *
 * It writes to Redis what the next reservation on any node reads, and to the
 * stream PREFIX:audit who changed what. The configuration names the limits, the
 * consumers and Redis, and stays as it is. What is set in Redis holds until it
 * is changed back: it outlives reloads and restarts, and has no time to live.
 *
 * Without Redis there is nothing to change: the agent's memory has no door.
 */
#ifndef COMMANDS_LIMITS_H
#define COMMANDS_LIMITS_H

#include "base/buf.h"
#include "conf/policy.h"

/* All are views into argv; empty when not given. */
struct limits_options {
	const char *verb;
	const char *config;      /* path of gateway.json */
	struct str limit, scope; /* which limit, and which part of it */
	struct str amount;       /* in the limit's unit, or "configured" */
	struct str consumer;     /* whose account, or whom to block */
	struct str app, agent;   /* whom to block */
};

/* Read the arguments of `foundry-spoa limits`: VERB, then options and the file
 * in any order. False with a sentence in `error`. */
bool limits_read_options(int argc, char **argv, struct limits_options *out,
                         struct buf *error);

/* Append the verbs and the options, a line each. */
void limits_usage(struct buf *out);

/* Do what the verb says, and append a line per change or value to `out`,
 * columns separated by tabs. Blocks until Redis has answered each call, or the
 * connection is given up (store/redis_link). The policy is referenced during
 * the call only. False with a sentence in `error`; what was done before a
 * failure stays done, and is in `out`. */
bool limits_run(const struct limits_options *o, struct policy *p,
                struct buf *out, struct buf *error);

#endif
