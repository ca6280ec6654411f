/*
 * base/backoff: how long to wait before a retry.
 *
 * Exponential backoff with jitter. The jitter keeps the workers of all nodes
 * from retrying in the same moment after a common outage (Redis, Entra).
 *
 * Pure functions of their arguments and of getrandom(); no state. The unit of
 * the result is the unit of the arguments: callers use milliseconds or
 * seconds.
 */
#ifndef BASE_BACKOFF_H
#define BASE_BACKOFF_H

#include <stdint.h>

/* `value` changed by a random amount of at most 10 % in either direction;
 * `value` itself when it is below 10 or no random bytes are available. */
uint64_t backoff_jitter(uint64_t value);

/* The wait after `n_failures` failures in a row (at least 1): min, 2 min,
 * 4 min, ... but at most max; jitter is applied after that, so the result may
 * exceed max by 10 %. */
uint64_t backoff_after(unsigned n_failures, uint64_t min, uint64_t max);

#endif
