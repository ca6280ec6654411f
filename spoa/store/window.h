/*
 * store/window: the arithmetic of one limit, without clock, keys or storage.
 *
 *   minute            token bucket: holds `limit`, gains `limit` per 60 s
 *   hour, day, month  fixed UTC windows, counted from 1970
 *   open              no time: taken, and given back. What nobody gives back
 *                     is forgotten with its record: counts are kept by the
 *                     quarter of an hour in which they were taken
 *
 * scripts/common.lua does the same sums for Redis, to the last unit: both
 * count in integers only. Lua has doubles, exact to 2^53, which is where the
 * bounds below come from. A bucket keeps what is less than one unit as 60000th
 * parts (`frac`), so the refill of a small limit asked often does not vanish.
 *
 * All times are milliseconds since 1970. A clock that steps back means that no
 * time has passed: a bucket goes on from the new time without a gain, a window
 * stays in the period it had reached.
 */
#ifndef STORE_WINDOW_H
#define STORE_WINDOW_H

#include "conf/policy.h"

/* The largest limit, reserved amount or use; conf refuses larger limits. */
#define WINDOW_AMOUNT_MAX LIMIT_AMOUNT_MAX

/* Where debts and counts stop. */
#define WINDOW_COUNT_MAX INT64_C(4000000000000000)

enum {
	WINDOW_SLOT_MS = 900000,
	WINDOW_SLOTS = 9, /* STORE_RECORD_TTL_S, and the slot it began in */
	WINDOW_RETRY_MS = 1000, /* nobody knows when a stream ends */
	WINDOW_MINUTE_MS = 60000,
	WINDOW_DEBT_MINUTES = 1000000, /* a bucket's debt stops here, too */
};

struct window {
	enum limit_window kind;
	int64_t limit;
	int64_t count; /* bucket: level, negative in debt; else: used */
	int64_t frac;  /* bucket: 0..59999 of 1/60000 unit */
	int64_t at;    /* bucket: time of `count`; else: the period */
	int64_t open[WINDOW_SLOTS]; /* open: `count` by period, in a ring */
};

/* Full / unused. */
void window_init(struct window *w, enum limit_window kind, int64_t limit,
                 int64_t now);

/* Bring it to `now` under what may be a new limit. When the kind has changed,
 * it begins anew. */
void window_advance(struct window *w, enum limit_window kind, int64_t limit,
                    int64_t now);

/* The following hold for a window just brought to `now`. */

/* What can be taken; negative in debt or when more was used than reserved. */
int64_t window_remaining(const struct window *w);

/* Until the bucket is full / the window ends. */
int64_t window_reset_ms(const struct window *w, int64_t now);

/* 0: `amount` fits. Else the time after which it does, if nobody takes
 * anything meanwhile; a guess for what is open. `amount` must not be more than
 * the limit. */
int64_t window_retry_ms(const struct window *w, int64_t amount, int64_t now);

void window_take(struct window *w, int64_t amount);

/* Replace `reserved` by `used`. `at` is that of the window when it was
 * reserved: a fixed window that has ended since is left as it is. What is open
 * is given back whole. */
void window_settle(struct window *w, int64_t at, int64_t reserved,
                   int64_t used);

/* As good as new: nothing is lost by forgetting it. */
bool window_is_idle(const struct window *w, int64_t now);

/* The period a time is in, and its end. */
int64_t window_period(enum limit_window kind, int64_t now);
int64_t window_period_end(enum limit_window kind, int64_t period);

#endif
