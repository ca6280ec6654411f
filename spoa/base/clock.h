/*
 * base/clock: the time, from outside, so that tests can bring their own.
 *
 * Whatever reads the time gets a `const struct clock *`; the program passes
 * &clock_system.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/str.h"

struct clock {
	uint64_t (*mono_us)(void *ctx); /* microseconds, never steps back */
	int64_t (*real_ms)(void *ctx);  /* milliseconds since 1970, UTC */
	void *ctx;
};

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

/* "2026-11-22T14:03:05.123Z" and a NUL into out (25 bytes). */
void clock_iso8601(int64_t real_ms, char out[25]);

/* Such a text, or a beginning of it that ends with a number ("2026-11",
 * "2026-11-22T14:03"), with or without the Z: its first moment. False, and
 * *real_ms untouched, when it is none: the 31st of June, for one. */
bool clock_read(struct str text, int64_t *real_ms);

#endif
