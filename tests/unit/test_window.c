/* store/window: refill to the last unit, periods to the last millisecond. */
#include "test.h"

#include "store/window.h"

#include <stdlib.h>
#include <time.h>

static const int64_t start = INT64_C(1795005000000);

/* Against the C library's calendar, each day of 400 years. */
static void months_follow_the_calendar(void **state)
{
	int64_t day;

	(void)state;
	for (day = 0; day < 146097 + 366; day++) {
		time_t s = (time_t)(day * 86400);
		struct tm tm;
		int64_t month;

		gmtime_r(&s, &tm);
		month = window_period(WINDOW_MONTH, day * 86400000);
		assert_int_equal(month, (tm.tm_year + 1900) * 12 + tm.tm_mon);
		assert_int_equal(
			window_period(WINDOW_MONTH, day * 86400000 + 86399999),
			month);
		tm.tm_mon++;
		tm.tm_mday = 1;
		assert_int_equal(window_period_end(WINDOW_MONTH, month),
		                 (int64_t)timegm(&tm) * 1000);
	}
}

static void periods_are_adjacent(void **state)
{
	static const enum limit_window kinds[] = {WINDOW_HOUR, WINDOW_DAY,
	                                          WINDOW_MONTH};
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		int64_t p = window_period(kinds[i], start);
		int64_t end = window_period_end(kinds[i], p);

		assert_true(end > start);
		assert_int_equal(window_period(kinds[i], end - 1), p);
		assert_int_equal(window_period(kinds[i], end), p + 1);
	}
}

/* A limit of one a minute looked at each millisecond gains exactly one. */
static void refill_of_a_small_limit_does_not_vanish(void **state)
{
	struct window w;
	int64_t now = start;
	int i;

	(void)state;
	window_init(&w, WINDOW_MINUTE, 1, now);
	window_take(&w, 1);
	for (i = 0; i < 59999; i++) {
		window_advance(&w, WINDOW_MINUTE, 1, ++now);
		assert_int_equal(window_remaining(&w), 0);
		assert_int_equal(window_retry_ms(&w, 1, now), 59999 - i);
	}
	window_advance(&w, WINDOW_MINUTE, 1, ++now);
	assert_int_equal(window_remaining(&w), 1);
}

/* However a minute is cut into pieces, what was gained is the same, and the
 * time that was told is the first at which the amount fits. */
static void refill_does_not_depend_on_when_one_looks(void **state)
{
	int round;

	(void)state;
	srandom(1);
	for (round = 0; round < 2000; round++) {
		int64_t limit = 1 + random() % (round % 2 ? 100 : 1000000000);
		int64_t need = limit * (random() % 100) / 100, wait, t = 0;
		struct window w, whole;

		window_init(&w, WINDOW_MINUTE, limit, start);
		window_take(&w, limit);
		whole = w;
		wait = window_retry_ms(&w, need, start);
		while (t < wait) {
			t += 1 + random() % 5000;
			if (t >= wait)
				t = wait - 1;
			window_advance(&w, WINDOW_MINUTE, limit, start + t);
			assert_true(window_remaining(&w) < need);
			if (t == wait - 1)
				break;
		}
		window_advance(&w, WINDOW_MINUTE, limit, start + wait);
		window_advance(&whole, WINDOW_MINUTE, limit, start + wait);
		assert_true(window_remaining(&w) >= need);
		assert_memory_equal(&w, &whole, sizeof(w));
	}
}

static void debt_has_a_floor(void **state)
{
	static const int64_t limits[] = {0, 1, 1000, WINDOW_AMOUNT_MAX};
	size_t i, n;

	(void)state;
	for (i = 0; i < 4; i++) {
		struct window w;

		window_init(&w, WINDOW_MINUTE, limits[i], start);
		for (n = 0; n < 10; n++)
			window_settle(&w, w.at, 0, WINDOW_AMOUNT_MAX);
		assert_true(w.count >= -WINDOW_COUNT_MAX);
		if (limits[i] < WINDOW_AMOUNT_MAX)
			assert_true(w.count >= -limits[i] * 1000000);
		/* and an end */
		window_advance(&w, WINDOW_MINUTE, limits[i],
		               start + window_reset_ms(&w, start));
		assert_int_equal(w.count, limits[i]);
	}
}

static void a_changed_limit_counts_at_once(void **state)
{
	struct window w;

	(void)state;
	window_init(&w, WINDOW_MINUTE, 100, start);
	window_advance(&w, WINDOW_MINUTE, 10, start);
	assert_int_equal(window_remaining(&w), 10);
	window_advance(&w, WINDOW_MINUTE, 60, start + 1000);
	assert_int_equal(window_remaining(&w), 11);
	window_advance(&w, WINDOW_DAY, 5, start);
	window_take(&w, 3);
	window_advance(&w, WINDOW_DAY, 2, start);
	assert_int_equal(window_remaining(&w), -1);
	window_advance(&w, WINDOW_HOUR, 2, start);
	assert_int_equal(window_remaining(&w), 2);
}

static void idle_is_what_may_be_forgotten(void **state)
{
	struct window w;

	(void)state;
	window_init(&w, WINDOW_MINUTE, 60, start);
	assert_true(window_is_idle(&w, start));
	window_take(&w, 30);
	assert_false(window_is_idle(&w, start + 29999));
	assert_true(window_is_idle(&w, start + 30000));
	window_init(&w, WINDOW_HOUR, 60, start);
	window_take(&w, 1);
	assert_false(window_is_idle(&w, start + 1799999));
	assert_true(window_is_idle(&w, start + 1800000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(months_follow_the_calendar),
		cmocka_unit_test(periods_are_adjacent),
		cmocka_unit_test(refill_of_a_small_limit_does_not_vanish),
		cmocka_unit_test(refill_does_not_depend_on_when_one_looks),
		cmocka_unit_test(debt_has_a_floor),
		cmocka_unit_test(a_changed_limit_counts_at_once),
		cmocka_unit_test(idle_is_what_may_be_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
