/* What limits mean, told as simply as possible. */
#include "test.h"

#include "store_model.h"

#include <stdlib.h>
#include <time.h>

enum { PARTS = 60000 };

struct model *model_new(const struct store_charge *limits)
{
	struct model *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->limits = limits;
	return m;
}

static bool is_bucket(const struct model *m, size_t i)
{
	return m->limits[i].window == WINDOW_MINUTE;
}

/* A number that grows by the hour, day or month. */
static int64_t period_of(enum limit_window window, int64_t ms)
{
	time_t s = (time_t)(ms / 1000);
	struct tm t;

	assert_non_null(gmtime_r(&s, &t));
	if (window == WINDOW_MONTH)
		return (int64_t)t.tm_year * 100 + t.tm_mon;
	if (window == WINDOW_DAY)
		return (int64_t)t.tm_year * 1000 + t.tm_yday;
	return ((int64_t)t.tm_year * 1000 + t.tm_yday) * 100 + t.tm_hour;
}

/* The period that counts now: never an earlier one than was counted in. */
static int64_t period_at(const struct model *m, size_t i, int64_t now)
{
	int64_t p = period_of(m->limits[i].window, now);

	return m->of[i].begun && m->of[i].at > p ? m->of[i].at : p;
}

static __int128 level_at(const struct model *m, size_t i, int64_t now)
{
	__int128 full = (__int128)m->limits[i].limit * PARTS;
	__int128 level = m->of[i].level;

	if (!m->of[i].begun)
		return full;
	if (now > m->of[i].at)
		level += (__int128)m->limits[i].limit * (now - m->of[i].at);
	return level > full ? full : level;
}

static int64_t charged_in(const struct model *m, size_t i, int64_t period)
{
	int64_t sum = 0;
	size_t k;

	for (k = 0; k < m->n_records; k++) {
		const struct model_record *r = &m->records[k];

		if (r->state != MODEL_NONE && r->charged[i] &&
		    r->period[i] == period)
			sum += (int64_t)(r->state == MODEL_OPEN ? r->amount[i]
			                                        : r->used[i]);
	}
	return sum;
}

static int64_t remaining_at(const struct model *m, size_t i, int64_t now)
{
	__int128 level;

	if (!is_bucket(m, i))
		return (int64_t)m->limits[i].limit -
		       charged_in(m, i, period_at(m, i, now));
	level = level_at(m, i, now);
	/* rounded down, also below zero */
	return (int64_t)((level - (level < 0 ? PARTS - 1 : 0)) / PARTS);
}

int64_t model_remaining(const struct model *m, size_t limit)
{
	return remaining_at(m, limit, m->now);
}

bool model_would_fit(const struct model *m, const bool *charged,
                     const uint64_t *amount, uint64_t after_ms)
{
	size_t i;

	for (i = 0; i < MODEL_LIMITS; i++)
		if (charged[i] &&
		    remaining_at(m, i, m->now + (int64_t)after_ms) <
		            (int64_t)amount[i])
			return false;
	return true;
}

static void begin(struct model *m, size_t i)
{
	m->of[i].level = level_at(m, i, m->now);
	m->of[i].at = is_bucket(m, i) ? m->now : period_at(m, i, m->now);
	m->of[i].begun = true;
}

static void take(struct model *m, struct model_record *r, const bool *charged,
                 const uint64_t *amount)
{
	size_t i;

	r->state = MODEL_OPEN;
	for (i = 0; i < MODEL_LIMITS; i++) {
		r->charged[i] = charged[i];
		if (!charged[i])
			continue;
		begin(m, i);
		r->amount[i] = amount[i];
		r->period[i] = m->of[i].at;
		m->of[i].level -= (__int128)amount[i] * PARTS;
	}
}

enum store_status model_reserve(struct model *m, size_t record,
                                const bool *charged, const uint64_t *amount)
{
	struct model_record *r = &m->records[record];
	size_t i;

	assert_true(record < MODEL_RECORDS);
	if (record >= m->n_records)
		m->n_records = record + 1;
	if (r->state == MODEL_OPEN)
		return STORE_OK;
	for (i = 0; i < MODEL_LIMITS; i++)
		if (charged[i] && amount[i] > m->limits[i].limit)
			return STORE_TOO_LARGE;
	/* time that was stepped back does not pass twice */
	for (i = 0; i < MODEL_LIMITS; i++)
		if (charged[i] && is_bucket(m, i) && m->of[i].begun &&
		    m->of[i].at > m->now)
			begin(m, i);
	if (!model_would_fit(m, charged, amount, 0))
		return STORE_REFUSED;
	take(m, r, charged, amount);
	return STORE_OK;
}

enum store_status model_settle(struct model *m, size_t record,
                               const struct store_usage *used)
{
	const uint64_t by_unit[] = {[UNIT_REQUESTS] = used->requests,
	                            [UNIT_TOKENS] = used->tokens,
	                            [UNIT_USD] = used->nano_usd};
	struct model_record *r = &m->records[record];
	size_t i;

	if (r->state != MODEL_OPEN)
		return STORE_UNKNOWN;
	r->state = MODEL_SETTLED;
	for (i = 0; i < MODEL_LIMITS; i++) {
		r->used[i] = by_unit[m->limits[i].unit];
		if (!r->charged[i])
			continue;
		if (!is_bucket(m, i)) {
			/* too late, also should the clock step back */
			if (period_at(m, i, m->now) != r->period[i])
				r->used[i] = r->amount[i];
			continue;
		}
		begin(m, i);
		m->of[i].level += ((__int128)r->amount[i] - r->used[i]) * PARTS;
		m->of[i].level = level_at(m, i, m->now); /* not over full */
	}
	return STORE_OK;
}
