/* What any store must do, as one table. */
#include "test.h"

#include "store_scenarios.h"

#include <inttypes.h>
#include <stdio.h>

enum op { END, RESERVE, SETTLE, PASS };

/* RESERVE: amounts a and b of the scenario's one or two limits; then status,
 * what remains of each, and retry.
 * SETTLE: used a of the first limit's unit and b of the second's; status.
 * PASS: a milliseconds, also negative. */
struct step {
	enum op op;
	const char *id;
	int64_t a, b;
	enum store_status status;
	int64_t remaining[2];
	int64_t retry_ms;
};

struct limit {
	enum limit_unit unit;
	enum limit_window window;
	uint64_t amount;
};

struct scenario {
	const char *name;
	bool needs_clock;
	struct limit limits[2];
	struct step steps[12];
};

#define TPM(n)                                                                 \
	{                                                                      \
		UNIT_TOKENS, WINDOW_MINUTE, n                                  \
	}
#define RPM(n)                                                                 \
	{                                                                      \
		UNIT_REQUESTS, WINDOW_MINUTE, n                                \
	}
#define RPH(n)                                                                 \
	{                                                                      \
		UNIT_REQUESTS, WINDOW_HOUR, n                                  \
	}
#define RPD(n)                                                                 \
	{                                                                      \
		UNIT_REQUESTS, WINDOW_DAY, n                                   \
	}
#define TPD(n)                                                                 \
	{                                                                      \
		UNIT_TOKENS, WINDOW_DAY, n                                     \
	}
#define USD_MONTH(n)                                                           \
	{                                                                      \
		UNIT_USD, WINDOW_MONTH, n                                      \
	}
#define OPEN(n)                                                                \
	{                                                                      \
		UNIT_CONCURRENT, WINDOW_OPEN, n                                \
	}
#define HALF_HOUR 1800000
#define HOUR      3600000
#define DAY       INT64_C(86400000)

/* clang-format off */
static const struct scenario scenarios[] = {
{ "a window gives until it is used up", false, { TPD(100) }, {
	{ RESERVE, "1", 60, 0, STORE_OK, { 40 }, 0 },
	{ RESERVE, "2", 40, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "3", 1, 0, STORE_REFUSED, { 0 }, -1 } } },
{ "settle replaces reserved by used", false, { TPD(100) }, {
	{ RESERVE, "1", 60, 0, STORE_OK, { 40 }, 0 },
	{ SETTLE, "1", 10, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "2", 90, 0, STORE_OK, { 0 }, 0 } } },
{ "attack: settle twice to be refunded twice", false, { TPD(100) }, {
	{ RESERVE, "1", 60, 0, STORE_OK, { 40 }, 0 },
	{ RESERVE, "2", 40, 0, STORE_OK, { 0 }, 0 },
	{ SETTLE, "1", 0, 0, STORE_OK, { 0 }, 0 },
	{ SETTLE, "1", 0, 0, STORE_UNKNOWN, { 0 }, 0 },
	{ RESERVE, "3", 61, 0, STORE_REFUSED, { 60 }, -1 } } },
{ "attack: settle of an id nobody reserved", false, { TPD(100) }, {
	{ SETTLE, "1", 0, 0, STORE_UNKNOWN, { 0 }, 0 },
	{ SETTLE, "1", 50, 0, STORE_UNKNOWN, { 0 }, 0 },
	{ RESERVE, "2", 1, 0, STORE_OK, { 99 }, 0 } } },
{ "the same id again is not charged again", false, { TPD(100) }, {
	{ RESERVE, "1", 60, 0, STORE_OK, { 40 }, 0 },
	{ RESERVE, "1", 60, 0, STORE_OK, { 40 }, 0 },
	{ SETTLE, "1", 60, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "2", 40, 0, STORE_OK, { 0 }, 0 } } },
{ "all or nothing: the second limit refuses", false, { TPD(100), RPD(1) }, {
	{ RESERVE, "1", 30, 1, STORE_OK, { 70, 0 }, 0 },
	{ RESERVE, "2", 30, 1, STORE_REFUSED, { 70, 0 }, -1 },
	{ SETTLE, "2", 0, 0, STORE_UNKNOWN, { 0 }, 0 },
	{ SETTLE, "1", 0, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "3", 100, 1, STORE_OK, { 0, 0 }, 0 } } },
{ "more than the limit never fits", false, { TPD(100), RPD(5) }, {
	{ RESERVE, "1", 101, 1, STORE_TOO_LARGE, { 100, 5 }, 0 },
	{ RESERVE, "2", 100, 1, STORE_OK, { 0, 4 }, 0 } } },
{ "more used than reserved is owed", false, { TPD(100) }, {
	{ RESERVE, "1", 10, 0, STORE_OK, { 90 }, 0 },
	{ SETTLE, "1", 150, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "2", 0, 0, STORE_REFUSED, { -50 }, -1 } } },
{ "a limit of nothing", false, { TPD(0) }, {
	{ RESERVE, "1", 0, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "2", 1, 0, STORE_TOO_LARGE, { 0 }, 0 } } },
{ "units are settled apart", false, { TPD(100), RPD(5) }, {
	{ RESERVE, "1", 50, 1, STORE_OK, { 50, 4 }, 0 },
	{ SETTLE, "1", 20, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "2", 0, 0, STORE_OK, { 80, 5 }, 0 } } },
{ "dollars by month, to the nano", false, { USD_MONTH(1000000000000000) }, {
	{ RESERVE, "1", 999999999999999, 0, STORE_OK, { 1 }, 0 },
	{ RESERVE, "2", 2, 0, STORE_REFUSED, { 1 }, -1 },
	{ SETTLE, "1", 123456789012345, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "3", 0, 0, STORE_OK, { 876543210987655 }, 0 } } },

{ "what is in flight comes back whole", false, { OPEN(2) }, {
	{ RESERVE, "1", 1, 0, STORE_OK, { 1 }, 0 },
	{ RESERVE, "2", 1, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "3", 1, 0, STORE_REFUSED, { 0 }, 1000 },
	{ SETTLE, "1", 777, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "4", 1, 0, STORE_OK, { 0 }, 0 },
	{ SETTLE, "2", 0, 0, STORE_OK, { 0 }, 0 },
	{ SETTLE, "4", 0, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "5", 1, 0, STORE_OK, { 1 }, 0 } } },
{ "attack: settle twice for two places", false, { OPEN(2) }, {
	{ RESERVE, "1", 1, 0, STORE_OK, { 1 }, 0 },
	{ RESERVE, "2", 1, 0, STORE_OK, { 0 }, 0 },
	{ SETTLE, "1", 0, 0, STORE_OK, { 0 }, 0 },
	{ SETTLE, "1", 0, 0, STORE_UNKNOWN, { 0 }, 0 },
	{ RESERVE, "3", 1, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "4", 1, 0, STORE_REFUSED, { 0 }, 1000 } } },
{ "the other limit refuses: no place is taken", false,
  { OPEN(1), TPD(10) }, {
	{ RESERVE, "1", 1, 10, STORE_OK, { 0, 0 }, 0 },
	{ SETTLE, "1", 0, 10, STORE_OK, { 0 }, 0 },
	{ RESERVE, "2", 1, 5, STORE_REFUSED, { 1, 0 }, -1 },
	{ RESERVE, "3", 1, 0, STORE_OK, { 0, 0 }, 0 } } },
{ "a place that nobody gives back is free after its record", true,
  { OPEN(2) }, {
	{ RESERVE, "1", 1, 0, STORE_OK, { 1 }, 0 },
	{ PASS, NULL, HOUR, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "2", 1, 0, STORE_OK, { 0 }, 0 },
	{ PASS, NULL, HOUR + HALF_HOUR / 2 - 1, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "3", 1, 0, STORE_REFUSED, { 0 }, 1000 },
	{ PASS, NULL, 1, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "4", 1, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "5", 1, 0, STORE_REFUSED, { 0 }, 1000 },
	{ PASS, NULL, DAY, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "6", 1, 0, STORE_OK, { 1 }, 0 } } },
{ "a place outlives a clock that steps back", true, { OPEN(1) }, {
	{ RESERVE, "1", 1, 0, STORE_OK, { 0 }, 0 },
	{ PASS, NULL, -DAY, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "2", 1, 0, STORE_REFUSED, { 0 }, 1000 },
	{ SETTLE, "1", 0, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "3", 1, 0, STORE_OK, { 0 }, 0 } } },

{ "a bucket refills by the second", true, { TPM(600) }, {
	{ RESERVE, "1", 600, 0, STORE_OK, { 0 }, 0 },
	{ PASS, NULL, 1000, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "2", 11, 0, STORE_REFUSED, { 10 }, 100 },
	{ PASS, NULL, 100, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "3", 11, 0, STORE_OK, { 0 }, 0 },
	{ PASS, NULL, 600000, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "4", 0, 0, STORE_OK, { 600 }, 0 } } },
{ "one a minute, asked all the time", true, { RPM(1) }, {
	{ RESERVE, "1", 1, 0, STORE_OK, { 0 }, 0 },
	{ PASS, NULL, 1, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "2", 1, 0, STORE_REFUSED, { 0 }, 59999 },
	{ PASS, NULL, 29999, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "3", 1, 0, STORE_REFUSED, { 0 }, 30000 },
	{ PASS, NULL, 29999, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "4", 1, 0, STORE_REFUSED, { 0 }, 1 },
	{ PASS, NULL, 1, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "5", 1, 0, STORE_OK, { 0 }, 0 } } },
{ "a bucket's debt is paid by time, however long", true, { TPM(60) }, {
	{ RESERVE, "1", 10, 0, STORE_OK, { 50 }, 0 },
	{ SETTLE, "1", 1060, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "2", 1, 0, STORE_REFUSED, { -1000 }, 1001000 },
	{ PASS, NULL, 1000999, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "3", 1, 0, STORE_REFUSED, { 0 }, 1 },
	{ PASS, NULL, 1, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "4", 1, 0, STORE_OK, { 0 }, 0 } } },
{ "a refund does not lift a bucket over full", true, { TPM(60) }, {
	{ RESERVE, "1", 60, 0, STORE_OK, { 0 }, 0 },
	{ PASS, NULL, 60000, 0, STORE_OK, { 0 }, 0 },
	{ SETTLE, "1", 0, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "2", 0, 0, STORE_OK, { 60 }, 0 } } },
{ "settled after the bucket was full and forgotten", true, { TPM(60) }, {
	{ RESERVE, "1", 10, 0, STORE_OK, { 50 }, 0 },
	{ PASS, NULL, HOUR, 0, STORE_OK, { 0 }, 0 },
	{ SETTLE, "1", 40, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "2", 0, 0, STORE_OK, { 30 }, 0 } } },
{ "refused until the hour ends", true, { RPH(1) }, {
	{ RESERVE, "1", 1, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "2", 1, 0, STORE_REFUSED, { 0 }, HALF_HOUR },
	{ PASS, NULL, HALF_HOUR - 1, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "3", 1, 0, STORE_REFUSED, { 0 }, 1 },
	{ PASS, NULL, 1, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "4", 1, 0, STORE_OK, { 0 }, 0 } } },
{ "a settle hits the window of its reservation only", true, { RPH(5) }, {
	{ RESERVE, "1", 1, 0, STORE_OK, { 4 }, 0 },
	{ PASS, NULL, HOUR, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "2", 1, 0, STORE_OK, { 4 }, 0 },
	{ SETTLE, "1", 0, 0, STORE_OK, { 0 }, 0 },
	{ SETTLE, "1", 0, 0, STORE_UNKNOWN, { 0 }, 0 },
	{ RESERVE, "3", 1, 0, STORE_OK, { 3 }, 0 } } },
{ "the month ends with its last day", true, { USD_MONTH(10) }, {
	{ RESERVE, "1", 10, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "2", 1, 0, STORE_REFUSED, { 0 },
	  12 * DAY + 11 * HOUR + HALF_HOUR },
	{ PASS, NULL, 12 * DAY + 11 * HOUR + HALF_HOUR, 0, STORE_OK,
	  { 0 }, 0 },
	{ RESERVE, "3", 10, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "4", 1, 0, STORE_REFUSED, { 0 }, 31 * DAY } } },
{ "of two that refuse, the longer wait is told", true,
  { TPM(60), RPH(1) }, {
	{ RESERVE, "1", 60, 1, STORE_OK, { 0, 0 }, 0 },
	{ RESERVE, "2", 30, 1, STORE_REFUSED, { 0, 0 }, HALF_HOUR } } },
{ "a clock that steps back gives nothing and takes nothing", true,
  { TPM(60), RPH(5) }, {
	{ RESERVE, "1", 60, 1, STORE_OK, { 0, 4 }, 0 },
	{ PASS, NULL, -HOUR, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "2", 1, 1, STORE_REFUSED, { 0, 4 }, 1000 },
	{ PASS, NULL, 1000, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "3", 1, 1, STORE_OK, { 0, 3 }, 0 },
	{ SETTLE, "3", 0, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "4", 0, 0, STORE_OK, { 1, 4 }, 0 } } },
{ "a bucket of a million dollars is exact", true,
  { { UNIT_USD, WINDOW_MINUTE, 1000000000000000 } }, {
	{ RESERVE, "1", 999999999999999, 0, STORE_OK, { 1 }, 0 },
	{ PASS, NULL, 7, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "2", 116666666668, 0, STORE_REFUSED,
	  { 116666666667 }, 1 },
	{ SETTLE, "1", 1000000000000000, 0, STORE_OK, { 0 }, 0 },
	{ RESERVE, "3", 116666666666, 0, STORE_OK, { 0 }, 0 } } },
};
/* clang-format on */

static struct store_usage used_of(const struct scenario *s,
                                  const struct step *t)
{
	uint64_t used[4] = {0, 0, 0, 0};

	used[s->limits[1].unit] = (uint64_t)t->b;
	used[s->limits[0].unit] = (uint64_t)t->a;
	return (struct store_usage){.requests = used[UNIT_REQUESTS],
	                            .tokens = used[UNIT_TOKENS],
	                            .nano_usd = used[UNIT_USD]};
}

static void reserve(const struct store_door *door, const struct scenario *s,
                    struct str account, const struct step *t, size_t n)
{
	static const struct str fields[2] = {STR_INIT("first"),
	                                     STR_INIT("second:x:y z")};
	struct store_charge charges[2];
	struct store_reservation r = {account, str_c(t->id), charges, n, NULL};
	struct store_result res;
	size_t i;

	for (i = 0; i < n; i++)
		charges[i] = (struct store_charge){
			.field = fields[i],
			.unit = s->limits[i].unit,
			.window = s->limits[i].window,
			.limit = s->limits[i].amount,
			.amount = (uint64_t)(i == 0 ? t->a : t->b),
		};
	door->reserve(door->ctx, &r, &res);
	assert_int_equal(res.status, t->status);
	for (i = 0; i < n; i++)
		assert_int_equal(res.remaining[i], t->remaining[i]);
	if (t->status == STORE_REFUSED && t->retry_ms < 0)
		assert_true(res.retry_ms > 0);
	else
		assert_int_equal(res.retry_ms, t->retry_ms);
}

static void run_one(const struct store_door *door, const struct scenario *s,
                    struct str account)
{
	size_t n = s->limits[1].amount > 0 ? 2 : 1;
	int64_t now = SCENARIO_START_MS;
	const struct step *t;

	if (door->set_time)
		door->set_time(door->ctx, now);
	for (t = s->steps; t->op != END; t++) {
		struct store_usage used = used_of(s, t);

		if (t->op == PASS) {
			now += t->a;
			door->set_time(door->ctx, now);
		} else if (t->op == SETTLE) {
			assert_int_equal(door->settle(door->ctx, account,
			                              str_c(t->id), &used),
			                 t->status);
		} else {
			reserve(door, s, account, t, n);
		}
	}
}

int store_scenarios_run(const struct store_door *door)
{
	size_t i, n = sizeof(scenarios) / sizeof(scenarios[0]);
	char account[32];
	int run = 0;

	for (i = 0; i < n; i++) {
		if (scenarios[i].needs_clock && !door->set_time)
			continue;
		print_message("  %s: %s\n", door->name, scenarios[i].name);
		snprintf(account, sizeof(account), "team-%zu", i);
		run_one(door, &scenarios[i], str_c(account));
		run++;
	}
	return run;
}
