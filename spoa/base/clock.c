/* base/clock: the time of day and the time between two events. */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static uint64_t clock_system_mono_us(void *ctx)
{
	struct timespec t;

	(void)ctx;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int64_t clock_system_real_ms(void *ctx)
{
	struct timespec t;

	(void)ctx;
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

const struct clock clock_system = {clock_system_mono_us, clock_system_real_ms,
                                   NULL};

void clock_iso8601(int64_t real_ms, char out[25])
{
	time_t s = (time_t)(real_ms / 1000);
	struct tm tm;
	size_t n;

	gmtime_r(&s, &tm);
	n = strftime(out, 25, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, 25 - n, ".%03dZ", (int)(real_ms % 1000));
}

bool clock_read(struct str text, int64_t *real_ms)
{
	/* The numbers of the format from left to right, each with the
	 * character in front of it. strptime() is no alternative: it accepts
	 * blanks and numbers of fewer digits. */
	static const struct {
		char before; /* 0: none */
		size_t digits;
		uint64_t low, high;
	} parts[] = {
		{0, 4, 1970, 9999}, {'-', 2, 1, 12}, {'-', 2, 1, 31},
		{'T', 2, 0, 23},    {':', 2, 0, 59}, {':', 2, 0, 59},
		{'.', 3, 0, 999},
	};
	enum { N_PARTS = sizeof(parts) / sizeof(*parts) };
	uint64_t v[N_PARTS] = {0, 1, 1}; /* 1st of January, 00:00:00.000 */
	struct tm tm = {0};
	size_t i;

	if (text.len > 0 && text.p[text.len - 1] == 'Z')
		text.len--;
	for (i = 0; i < N_PARTS && (i == 0 || text.len > 0); i++) {
		if (parts[i].before && text.p[0] != parts[i].before)
			return false;
		text = str_from(text, parts[i].before != 0);
		if (text.len < parts[i].digits ||
		    !str_to_u64(str_first(text, parts[i].digits), &v[i]) ||
		    v[i] < parts[i].low || v[i] > parts[i].high)
			return false;
		text = str_from(text, parts[i].digits);
	}
	tm = (struct tm){.tm_year = (int)v[0] - 1900,
	                 .tm_mon = (int)v[1] - 1,
	                 .tm_mday = (int)v[2],
	                 .tm_hour = (int)v[3],
	                 .tm_min = (int)v[4],
	                 .tm_sec = (int)v[5]};
	/* timegm() turns the 31st of June into the 1st of July and stores that
	 * in tm: the day changes exactly when it did not exist */
	v[0] = (uint64_t)timegm(&tm);
	if (text.len > 0 || tm.tm_mday != (int)v[2])
		return false;
	*real_ms = (int64_t)(v[0] * 1000 + v[6]);
	return true;
}
