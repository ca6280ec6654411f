/* base/backoff: how long to wait before a retry. */
#include "base/backoff.h"

#include <sys/random.h>

uint64_t backoff_jitter(uint64_t value)
{
	uint64_t tenth = value / 10;
	uint32_t r;

	/* Without random bytes only the spread is lost; that is no reason to
	 * fail. GRND_NONBLOCK: the loop must not wait for the entropy pool. */
	if (tenth == 0 || getrandom(&r, sizeof(r), GRND_NONBLOCK) < 0)
		return value;
	return value - tenth + r % (2 * tenth + 1);
}

uint64_t backoff_after(unsigned n_failures, uint64_t min, uint64_t max)
{
	uint64_t wait = min;

	/* ends at max, so a long outage cannot overflow the product */
	while (n_failures > 1 && wait < max) {
		wait *= 2;
		n_failures--;
	}
	return backoff_jitter(wait < max ? wait : max);
}
