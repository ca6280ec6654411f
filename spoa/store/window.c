/*
 * store/window: the arithmetic of one limit.
 *
 * A change here needs the same change in scripts/common.lua, and the other way
 * round. Products that can pass 2^63 are computed in 128 bits; Lua, which has
 * doubles, splits them instead.
 */
#include "store/window.h"

enum { HOUR_MS = 3600000, DAY_MS = 86400000 };

/* ------------------------------------------------------------- calendar */

/* Days from 1970-01-01 to the first of a month (year * 12 + 0..11). The year is
 * shifted to begin in March, so that the leap day is its last day. The lengths
 * of the months are then 31 30 31 30 31 twice, and 31 (28), which (153 m + 2) /
 * 5 sums up. 719468 is the number of days from 0000-03-01 to 1970-01-01. */
static int64_t win_month_start(int64_t month)
{
	int64_t year = (month - 2) / 12, m = (month - 2) % 12;
	int64_t leap_days = year / 4 - year / 100 + year / 400;

	return 365 * year + leap_days + (153 * m + 2) / 5 - 719468;
}

static int64_t win_month_of_day(int64_t day)
{
	/* A first guess by the mean year of 365.2425 days; it is off by at most
	 * one month, which the loops correct. */
	int64_t month = INT64_C(1970) * 12 + day * 120000 / 3652425;

	while (win_month_start(month + 1) <= day)
		month++;
	while (win_month_start(month) > day)
		month--;
	return month;
}

int64_t window_period(enum limit_window kind, int64_t now)
{
	if (now < 0)
		now = 0;
	if (kind == WINDOW_HOUR)
		return now / HOUR_MS;
	if (kind == WINDOW_OPEN)
		return now / WINDOW_SLOT_MS;
	if (kind == WINDOW_DAY)
		return now / DAY_MS;
	return win_month_of_day(now / DAY_MS);
}

int64_t window_period_end(enum limit_window kind, int64_t period)
{
	if (kind == WINDOW_HOUR)
		return (period + 1) * HOUR_MS;
	if (kind == WINDOW_OPEN)
		return (period + WINDOW_SLOTS) * WINDOW_SLOT_MS;
	if (kind == WINDOW_DAY)
		return (period + 1) * DAY_MS;
	return win_month_start(period + 1) * DAY_MS;
}

/* --------------------------------------------------------------- bucket */

/* Milliseconds until the bucket has gained `need` units, rounded up. */
static int64_t win_bucket_wait_ms(const struct window *w, int64_t need)
{
	__int128 parts = (__int128)need * WINDOW_MINUTE_MS - w->frac;

	if (need <= 0 || w->limit <= 0)
		return 0;
	return (int64_t)((parts + w->limit - 1) / w->limit);
}

/* The deepest debt. The comparison divides instead of multiplying, which could
 * overflow. */
static int64_t win_bucket_floor(int64_t limit)
{
	if (limit >= WINDOW_COUNT_MAX / WINDOW_DEBT_MINUTES)
		return -WINDOW_COUNT_MAX;
	return -limit * WINDOW_DEBT_MINUTES;
}

/* Keep the level between the deepest debt and full. */
static void win_bucket_clamp(struct window *w)
{
	if (w->count >= w->limit) {
		w->count = w->limit;
		w->frac = 0;
	}
	if (w->count < win_bucket_floor(w->limit))
		w->count = win_bucket_floor(w->limit);
}

/* `at` is set to `now` also when the clock has stepped back, without a gain. A
 * bucket that is full keeps no fraction. */
static void win_bucket_refill(struct window *w, int64_t now)
{
	int64_t passed = now > w->at ? now - w->at : 0;
	__int128 parts;

	win_bucket_clamp(w);
	w->at = now;
	if (w->count >= w->limit)
		return;
	if (passed >= win_bucket_wait_ms(w, w->limit - w->count)) {
		w->count = w->limit;
		w->frac = 0;
		return;
	}
	parts = (__int128)w->limit * passed + w->frac;
	w->count += (int64_t)(parts / WINDOW_MINUTE_MS);
	w->frac = (int64_t)(parts % WINDOW_MINUTE_MS);
}

/* ----------------------------------------------------------------- open */

static int64_t *win_open_slot(struct window *w, int64_t period)
{
	return &w->open[period % WINDOW_SLOTS];
}

/* Start a new slot. The ring reuses the slot that is WINDOW_SLOTS older; its
 * count are reservations that were never settled, and they expire here. */
static void win_open_advance(struct window *w, int64_t period)
{
	int64_t p = w->at;
	int i;

	if (period <= p)
		return;
	for (i = 0; i < WINDOW_SLOTS && p < period; i++) {
		int64_t *slot = win_open_slot(w, ++p);

		w->count -= *slot;
		*slot = 0;
	}
	w->at = period;
}

/* A slot that has left the ring has expired already. The amount is cut at the
 * count of the slot: a slot that began anew after a change of the kind has none
 * of it. */
static void win_open_give_back(struct window *w, int64_t at, int64_t amount)
{
	int64_t *slot;

	if (at > w->at || at <= w->at - WINDOW_SLOTS)
		return;
	slot = win_open_slot(w, at);
	if (amount > *slot)
		amount = *slot;
	*slot -= amount;
	w->count -= amount;
}

/* ----------------------------------------------------------------- all */

void window_init(struct window *w, enum limit_window kind, int64_t limit,
                 int64_t now)
{
	bool bucket = kind == WINDOW_MINUTE;

	*w = (struct window){
		.kind = kind,
		.limit = limit,
		.count = bucket ? limit : 0,
		.at = bucket ? now : window_period(kind, now),
	};
}

void window_advance(struct window *w, enum limit_window kind, int64_t limit,
                    int64_t now)
{
	int64_t period;

	if (w->kind != kind) {
		window_init(w, kind, limit, now);
		return;
	}
	w->limit = limit;
	if (kind == WINDOW_MINUTE) {
		win_bucket_refill(w, now);
		return;
	}
	period = window_period(kind, now);
	if (kind == WINDOW_OPEN) {
		win_open_advance(w, period);
		return;
	}
	if (period > w->at) {
		w->at = period;
		w->count = 0;
	}
}

int64_t window_remaining(const struct window *w)
{
	return w->kind == WINDOW_MINUTE ? w->count : w->limit - w->count;
}

int64_t window_reset_ms(const struct window *w, int64_t now)
{
	if (w->kind == WINDOW_MINUTE)
		return win_bucket_wait_ms(w, w->limit - w->count);
	if (w->kind == WINDOW_OPEN && w->count == 0)
		return 0;
	return window_period_end(w->kind, w->at) - now;
}

int64_t window_retry_ms(const struct window *w, int64_t amount, int64_t now)
{
	if (amount <= window_remaining(w))
		return 0;
	if (w->kind == WINDOW_MINUTE)
		return win_bucket_wait_ms(w, amount - w->count);
	if (w->kind == WINDOW_OPEN)
		return WINDOW_RETRY_MS;
	return window_period_end(w->kind, w->at) - now;
}

void window_take(struct window *w, int64_t amount)
{
	if (w->kind == WINDOW_OPEN)
		*win_open_slot(w, w->at) += amount;
	w->count += w->kind == WINDOW_MINUTE ? -amount : amount;
	if (w->count > WINDOW_COUNT_MAX)
		w->count = WINDOW_COUNT_MAX;
}

void window_settle(struct window *w, int64_t at, int64_t reserved, int64_t used)
{
	if (w->kind == WINDOW_MINUTE) {
		w->count += reserved - used;
		win_bucket_clamp(w);
		return;
	}
	if (w->kind == WINDOW_OPEN) {
		win_open_give_back(w, at, reserved);
		return;
	}
	if (w->at != at)
		return;
	w->count += used - reserved;
	if (w->count < 0)
		w->count = 0;
	if (w->count > WINDOW_COUNT_MAX)
		w->count = WINDOW_COUNT_MAX;
}

bool window_is_idle(const struct window *w, int64_t now)
{
	struct window copy = *w;

	window_advance(&copy, w->kind, w->limit, now);
	if (copy.kind == WINDOW_MINUTE)
		return copy.count >= copy.limit;
	return copy.count == 0;
}
