/*
 * decide/ratelimit: headers that tell a caller what is left of its limits.
 *
 *   x-ratelimit-limit-requests: 600         x-ratelimit-limit-tokens: 100000
 *   x-ratelimit-remaining-requests: 599     x-ratelimit-remaining-tokens: 98200
 *   x-ratelimit-reset-requests: 100ms       x-ratelimit-reset-tokens: 1.08s
 *   x-gateway-limit-warning: hr-minute
 *
 * The names and the way durations are written are OpenAI's, whose clients read
 * them. Of several limits of one unit the one with the least left is shown.
 * Dollars and requests in flight have no such header. A limit warns from its
 * share `warn_at` on.
 */
#ifndef DECIDE_RATELIMIT_H
#define DECIDE_RATELIMIT_H

#include "request/request.h"

/* Fill in charge.rate_requests and charge.rate_tokens, and with STORE_OK also
 * charge.warning, from an answer of the store about charge.items: granted or
 * refused, not failed. HAProxy makes the headers from them. */
void ratelimit_set(struct request *r, const struct store_result *res);

/* Append "0s", "120ms", "1.5s", "6m0s" or "23h59m1.02s": as Go prints
 * durations, and OpenAI with it. */
void ratelimit_duration(struct buf *out, uint64_t ms);

#endif
