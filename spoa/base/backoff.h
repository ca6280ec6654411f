/*
 * base/backoff: when to try again, so that many nodes do not try together.
 */
#ifndef BASE_BACKOFF_H
#define BASE_BACKOFF_H

#include <stdint.h>

/* `value` moved by a random amount of at most +-10 %. */
uint64_t backoff_jitter(uint64_t value);

/* The wait after the n-th failure in a row (n >= 1): min, 2 min, 4 min ... at
 * most max; then jitter. Same unit in and out. */
uint64_t backoff_after(unsigned n_failures, uint64_t min, uint64_t max);

#endif
