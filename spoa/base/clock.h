/*
 * base/clock: the time of day and the time between two events.
 *
 * Code that needs the time gets a `const struct clock *` instead of calling
 * clock_gettime(), so that tests can set the time. The program passes
 * &clock_system.
 *
 * Use the monotonic clock for durations and deadlines (NTP may step the other
 * one), the real clock for what is compared with the outside: expiry of
 * tokens, windows of limits, entries of the ledger.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/str.h"

struct clock {
	uint64_t (*mono_us)(void *ctx); /* microseconds, never steps back */
	int64_t (*real_ms)(void *ctx);  /* milliseconds since 1970, UTC */
	void *ctx;
};

/* CLOCK_MONOTONIC and CLOCK_REALTIME of the kernel. */
extern const struct clock clock_system;

static inline uint64_t clock_mono_us(const struct clock *c)
{
	return c->mono_us(c->ctx);
}

static inline int64_t clock_real_ms(const struct clock *c)
{
	return c->real_ms(c->ctx);
}

static inline int64_t clock_real_s(const struct clock *c)
{
	return clock_real_ms(c) / 1000;
}

/* Write "2026-11-22T14:03:05.123Z" and a NUL into out, 25 bytes. `real_ms`
 * must be from 1970 to 9999. */
void clock_iso8601(int64_t real_ms, char out[25]);

/* Read a time in that format into *real_ms. The text may stop after any of
 * its numbers ("2026-11", "2026-11-22T14:03") and then means the first
 * millisecond of that month, day, hour ...; the "Z" may be missing; there are
 * no other time zones. False, with *real_ms untouched, for any other text and
 * for a day that the month does not have (31st of June). */
bool clock_read(struct str text, int64_t *real_ms);

#endif
