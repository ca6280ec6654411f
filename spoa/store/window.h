/*
 * store/window: the arithmetic of one limit, without clock, keys or storage.
 *
 *   minute            token bucket: capacity `limit`, refill `limit` per 60 s
 *   hour, day, month  fixed UTC windows, numbered from 1970
 *   open              concurrency: a count that the settle takes back
 *
 * The count of a concurrency limit is kept per slot of 15 minutes, by the time
 * of the reserve, in a ring of WINDOW_SLOTS. A reservation that is never
 * settled is removed with its slot, which is at least STORE_RECORD_TTL_S later.
 * So no list of open requests is needed.
 *
 * scripts/common.lua does the same sums in Redis, with equal results to the
 * last unit (tests/unit/test_store_model.c compares them). Both count in
 * integers only. The numbers of Lua are doubles, which are exact up to 2^53;
 * the bounds below come from that. A bucket keeps its fraction of a unit in
 * 1/60000
 * (`frac`); without it a small limit that is read often would never refill.
 *
 * All times are milliseconds since 1970. A clock that steps back counts as no
 * time passing: a bucket continues from the new time without a gain, a window
 * stays in the period it had reached.
 */
#ifndef STORE_WINDOW_H
#define STORE_WINDOW_H

#include "conf/policy.h"

/* The largest limit, reserved amount or use; conf refuses larger limits. */
#define WINDOW_AMOUNT_MAX LIMIT_AMOUNT_MAX

/* Bound of counts and debts: 4 * 10^15, so that a sum with another amount
 * (10^15) stays below 2^53, about 9 * 10^15. */
#define WINDOW_COUNT_MAX INT64_C(4000000000000000)

enum {
	/* 8 slots are STORE_RECORD_TTL_S; one more is the slot in which the
	 * reservation began. A lost one is free after 2 h to 2 h 15 min. */
	WINDOW_SLOT_MS = 900000,
	WINDOW_SLOTS = 9,
	/* Retry time of a full concurrency limit: the end of a stream cannot
	 * be predicted. */
	WINDOW_RETRY_MS = 1000,
	WINDOW_MINUTE_MS = 60000,
	/* Second bound of a bucket's debt: a million times its limit. It keeps
	 * a time to refill far below 2^53 ms. */
	WINDOW_DEBT_MINUTES = 1000000,
};

struct window {
	enum limit_window kind;
	int64_t limit;
	int64_t count; /* bucket: level, negative is debt; else: used */
	int64_t frac;  /* bucket: 0..59999, in 1/60000 of a unit */
	int64_t at;    /* bucket: time of `count`; else: number of the period */
	int64_t open[WINDOW_SLOTS]; /* open: `count` per slot, by number modulo
	                             * WINDOW_SLOTS */
};

/* A limit that nobody has used: a full bucket, or a count of 0. */
void window_init(struct window *w, enum limit_window kind, int64_t limit,
                 int64_t now);

/* Advance the window to `now`: refill the bucket, or start a new period. `kind`
 * and `limit` are those in force now. A window whose kind has changed starts
 * unused; a changed limit keeps its count. */
void window_advance(struct window *w, enum limit_window kind, int64_t limit,
                    int64_t now);

/* The functions below expect a window that was advanced to `now`. */

/* Amount that can still be taken. Negative: a debt, or more was used than the
 * window allows. */
int64_t window_remaining(const struct window *w);

/* Time until the bucket is full, or until the window ends. */
int64_t window_reset_ms(const struct window *w, int64_t now);

/* 0: `amount` fits. Otherwise the time after which it fits if nobody else takes
 * anything; WINDOW_RETRY_MS for a concurrency limit. `amount` must be at most
 * the limit. */
int64_t window_retry_ms(const struct window *w, int64_t amount, int64_t now);

/* Take `amount` without asking whether it fits. */
void window_take(struct window *w, int64_t amount);

/* Replace `reserved` by `used`. `at` is w->at at the time of the reserve: a
 * fixed window that has ended since then is not changed. A concurrency limit
 * gets `reserved` back whatever was used. */
void window_settle(struct window *w, int64_t at, int64_t reserved,
                   int64_t used);

/* True when the window equals an unused one at `now`, so that it can be
 * forgotten without loss. */
bool window_is_idle(const struct window *w, int64_t now);

/* Number of the period (hour, day, month or slot) of a time, and the time at
 * which a period ends; for a slot, the time at which its reservations expire.
 */
int64_t window_period(enum limit_window kind, int64_t now);
int64_t window_period_end(enum limit_window kind, int64_t period);

#endif
