/* base/backoff: when to try again, so that many nodes do not try together. */
#include "base/backoff.h"

#include <sys/random.h>

uint64_t backoff_jitter(uint64_t value)
{
	uint64_t tenth = value / 10;
	uint32_t r;

	/* no randomness is no reason to fail: only the spread is lost */
	if (tenth == 0 || getrandom(&r, sizeof(r), GRND_NONBLOCK) < 0)
		return value;
	return value - tenth + r % (2 * tenth + 1);
}

uint64_t backoff_after(unsigned n_failures, uint64_t min, uint64_t max)
{
	uint64_t wait = min;

	while (n_failures > 1 && wait < max) {
		wait *= 2;
		n_failures--;
	}
	return backoff_jitter(wait < max ? wait : max);
}
