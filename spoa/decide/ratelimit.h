/*
 * decide/ratelimit: what the caller is told of its limits.
 *
 *   x-ratelimit-limit-requests: 600         x-ratelimit-limit-tokens: 100000
 *   x-ratelimit-remaining-requests: 599     x-ratelimit-remaining-tokens: 98200
 *   x-ratelimit-reset-requests: 100ms       x-ratelimit-reset-tokens: 1.08s
 *   x-gateway-limit-warning: hr-minute
 *
 * The names and the way durations are written are OpenAI's. Of several limits
 * of one unit the one with the least left is shown; dollars have no such
 * header. A limit warns from its share `warn_at` on.
 */
#ifndef DECIDE_RATELIMIT_H
#define DECIDE_RATELIMIT_H

#include "request/request.h"

/* Fill in charge.rate_* and, when the request was granted, charge.warning, from
 * an answer of the store about charge.items. */
void ratelimit_set(struct request *r, const struct store_result *res);

/* "0s", "120ms", "1.5s", "6m0s", "23h59m1.02s": as Go prints durations. */
void ratelimit_duration(struct buf *out, uint64_t ms);

#endif
