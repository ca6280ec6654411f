/* report_ptu: what is paid by the hour is shared out to the pico-dollar. */
#include "test.h"

#include "base/clock.h"
#include "base/usd.h"
#include "conf/load.h"
#include "commands/report.h"
#include "usage/entry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];
static struct buf out, error;

static int begin(void **state)
{
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "/tmp/report.XXXXXX");
	fd = mkstemp(path);
	if (fd < 0)
		return -1;
	close(fd);
	buf_init(&out, 1 << 20);
	buf_init(&error, 1 << 20);
	return 0;
}

static int end(void **state)
{
	(void)state;
	unlink(path);
	buf_done(&out);
	buf_done(&error);
	return 0;
}

/* Two models share the deployment "big" of east; "paygo" is paid by the token,
 * 1 USD a million. `more` goes into the ptu of "big". */
static struct policy *policy_with(const char *more)
{
	static const char text[] =
		"{\"consumers\": {\"all\": {\"match\": {\"any\": true}}},"
		" \"rules\": [{\"name\": \"all\", \"effect\": \"allow\"}],"
		" \"tenants\": {\"t\": {\"id\": "
		"\"aaaaaaaa-1111-1111-1111-111111111111\", \"audiences\": "
		"[\"api://x\"], \"roles\": [\"r\"]}},"
		" \"credentials\": {\"mi\": {\"type\": \"managed_identity\"}},"
		" \"resources\": {\"east\": {\"url\": \"https://e.example\","
		"  \"credential\": \"mi\"}},"
		" \"models\": {\"gpt\": {\"price\": {\"input\": 1, \"output\": "
		"1, \"request\": \"0.000000000003\"},"
		"  \"deployments\": [{\"resource\": \"east\", \"name\": "
		"\"big\", \"ptu\": {\"units\": 3, \"usd_per_unit_hour\": "
		"\"0.999999999999\"%s}}, {\"resource\": \"east\", \"name\": "
		"\"paygo\", \"priority\": 2}]},"
		"  \"twin\": {\"deployments\": [{\"resource\": \"east\", "
		"\"name\": \"big\"}]}}}";
	char full[2048];
	struct policy *p;

	snprintf(full, sizeof(full), text, more);
	buf_clear(&error);
	p = conf_parse("g.json", str_c(full), &error);
	if (!p)
		fail_msg("%.*s", (int)error.len, error.p);
	return p;
}

struct line {
	const char *time, *consumer, *model, *deployment;
	uint64_t input, cached, output;
	bool spilled;
};

static void write_lines(const struct line *lines, size_t n)
{
	FILE *f = fopen(path, "w");
	struct buf text;
	size_t i;

	assert_non_null(f);
	for (i = 0; i < n; i++) {
		const struct usage_entry e = {
			.time = str_c(lines[i].time),
			.id = STR("1"),
			.consumer = str_c(lines[i].consumer),
			.model = str_c(lines[i].model),
			.deployment = str_c(lines[i].deployment),
			.resource = STR("east"),
			.status = 200,
			.requests = 1,
			.input = lines[i].input,
			.cached = lines[i].cached,
			.output = lines[i].output,
			.spilled = lines[i].spilled,
		};

		buf_init(&text, ENTRY_LINE_MAX);
		entry_write(&e, &text);
		fwrite(text.p, 1, text.len, f);
		buf_done(&text);
	}
	fclose(f);
}

struct asked {
	const char *more; /* of the ptu */
	const char *from, *to, *now;
	const char *by;
	int format;
};

static const char *report(const struct asked *a)
{
	struct policy *p = policy_with(a->more);
	struct report_options o = {.ledger = str_c(path),
	                           .from = str_c(a->from),
	                           .to = str_c(a->to),
	                           .by = str_c(a->by),
	                           .format = a->format};

	assert_true(clock_read(str_c(a->now), &o.now_ms));
	buf_clear(&out);
	buf_clear(&error);
	if (!report_run(&o, p, &out, &error))
		fail_msg("%.*s", (int)error.len, error.p);
	buf_add(&out, "", 1);
	policy_unref(p);
	return out.p;
}

/* The rare kinds of tokens, of which there are none here. */
#define NO_RARE ",0,0,0,0,0,0,0,0"

static void has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no %s in\n%s", part, text);
}

static void lacks(const char *text, const char *part)
{
	if (strstr(text, part))
		fail_msg("%s in\n%s", part, text);
}

/* Ten hours of 3 units at 0.999999999999 USD are 29.99999999997 USD. */
#define FROM "2026-11-01T00:00:00Z"
#define TO   "2026-11-01T10:00:00Z"

static const struct line three[] = {
	{"2026-11-01T01:00:00.000Z", "a", "gpt", "big", 100, 0, 0, false},
	{"2026-11-01T02:00:00.000Z", "b", "gpt", "big", 150, 100, 25, false},
	{"2026-11-01T03:00:00.000Z", "c", "twin", "big", 50, 0, 25, false},
	{"2026-11-01T04:00:00.000Z", "c", "gpt", "paygo", 10, 0, 0, false},
	{"2026-11-01T05:00:00.000Z", "c", "gpt", "big", 20, 0, 0, true},
};

/* Weights: a 100, b 50 + 25 * 2, c 50 + 25 * 2. */
static void shares_are_those_of_the_use(void **state)
{
	const char *text;

	(void)state;
	write_lines(three, 5);
	text = report(&(struct asked){", \"output_weight\": 2", FROM, TO,
	                              "2027", "consumer", REPORT_CSV});
	/* a third each, the remainder by the marks; c also 30 tokens and two
	 * requests that are paid as such */
	has(text, "\"a\",1,0,0,100,0,0,0,0" NO_RARE ",9.999999999990\n");
	has(text, "\"b\",1,0,0,150,100,25,0,0" NO_RARE ",9.999999999990\n");
	has(text, "\"c\",3,0,0,80,0,25,0,0" NO_RARE ",10.000029999996\n");
	lacks(text, "idle");
}

/* A millisecond: 833333 pico-dollars for three. */
static void remainder_is_given_out(void **state)
{
	struct asked a = {
		", \"output_weight\": 2",   "2026-11-01T01", "2026-11-02",
		"2026-11-01T01:00:00.001Z", "consumer",      REPORT_CSV};
	struct line first[3];
	const char *text;
	size_t i;

	(void)state;
	memcpy(first, three, sizeof(first));
	for (i = 0; i < 3; i++)
		first[i].time = "2026-11-01T01:00:00.000Z";
	write_lines(first, 3);
	text = report(&a);
	has(text, "\"a\",1,0,0,100,0,0,0,0" NO_RARE ",0.000000277777\n");
	has(text, "\"b\",1,0,0,150,100,25,0,0" NO_RARE ",0.000000277778\n");
	has(text, "\"c\",1,0,0,50,0,25,0,0" NO_RARE ",0.000000277778\n");
}

static void what_nobody_used_is_idle(void **state)
{
	static const char more[] = ", \"tokens_per_minute_per_unit\": 1, "
				   "\"output_weight\": 2";
	struct asked a = {more, FROM, TO, "2027", "consumer", REPORT_CSV};
	const char *text;

	(void)state;
	write_lines(three, 3);
	/* 300 of 3 * 600: a sixth is used */
	text = report(&a);
	has(text, "\"a\",1,0,0,100,0,0,0,0" NO_RARE ",1.666666666665\n");
	has(text, "\"b\",1,0,0,150,100,25,0,0" NO_RARE ",1.666666666665\n");
	has(text, "\n\"(idle)\",0,0,0,0,0,0,0,0" NO_RARE ",24.999999999975\n");
	a.by = "resource,team,deployment,model";
	has(report(&a), "\"(idle) east\",\"(idle)\",\"(idle) big\","
	                "\"(idle) gpt\",0,");
	a.format = REPORT_JSON;
	a.by = "consumer";
	has(report(&a), "{\"consumer\":\"(idle)\",\"requests\":0,");
	a.format = REPORT_TABLE;
	text = report(&a);
	has(text, "big of east: 3 units for 10.00 hours, usd 29.999999999970, "
	          "16.7 % used\n");
	has(strstr(text, "(idle)"), "\ntotal");
	has(strstr(text, "\ntotal"), "29.999999999970\n");
}

/* "small" has no stated capacity: 20 USD for whoever uses it. */
static void each_deployment_is_shared_by_its_own_use(void **state)
{
	static const char more[] =
		", \"tokens_per_minute_per_unit\": 1}}, {\"resource\": "
		"\"east\", \"name\": \"small\", \"ptu\": {\"units\": 1, "
		"\"usd_per_unit_hour\": \"2\"";
	struct asked a = {more, FROM, TO, "2027", "consumer", REPORT_CSV};
	struct line lines[5];
	const char *text;

	(void)state;
	write_lines(three, 3);
	text = report(&a);
	has(text, "\n\"(idle)\",0,0,0,0,0,0,0,0" NO_RARE ",45.833333333308\n");
	a.by = "deployment";
	text = report(&a);
	has(text,
	    "\n\"(idle) big\",0,0,0,0,0,0,0,0" NO_RARE ",25.833333333308\n");
	has(text,
	    "\n\"(idle) small\",0,0,0,0,0,0,0,0" NO_RARE ",20.000000000000\n");

	memcpy(lines, three, 3 * sizeof(*lines));
	lines[3] = three[0];
	lines[3].deployment = "small";
	lines[4] = three[2];
	lines[4].deployment = "small";
	lines[4].input = 275;
	write_lines(lines, 5);
	a.by = "consumer";
	text = report(&a);
	has(text, "\"a\",2,0,0,200,0,0,0,0" NO_RARE ",6.666666666665\n");
	has(text, "\"b\",1,0,0,150,100,25,0,0" NO_RARE ",1.249999999998\n");
	has(text, "\"c\",2,0,0,325,0,50,0,0" NO_RARE ",16.249999999999\n");
	has(text, "\n\"(idle)\",0,0,0,0,0,0,0,0" NO_RARE ",25.833333333308\n");
}

static void more_than_the_capacity_leaves_nothing_idle(void **state)
{
	static const struct line much[] = {
		{"2026-11-01T01:00:00.000Z", "a", "gpt", "big", 9000, 0, 0,
	         false},
		{"2026-11-01T01:00:00.000Z", "b", "gpt", "big", 1000, 0, 0,
	         false},
	};
	const char *text;

	(void)state;
	write_lines(much, 2);
	text = report(&(struct asked){", \"tokens_per_minute_per_unit\": 1",
	                              FROM, TO, "2027", "consumer",
	                              REPORT_CSV});
	has(text, "\"a\",1,0,0,9000,0,0,0,0" NO_RARE ",26.999999999973\n");
	has(text, "\"b\",1,0,0,1000,0,0,0,0" NO_RARE ",2.999999999997\n");
	lacks(text, "idle");
}

static void without_any_use_all_is_idle(void **state)
{
	struct asked a = {"", FROM, TO, "2027", "consumer", REPORT_CSV};

	(void)state;
	write_lines(NULL, 0);
	has(report(&a),
	    "\"(idle)\",0,0,0,0,0,0,0,0" NO_RARE ",29.999999999970\n");
	/* nothing to share it by: tokens from a cache weigh nothing */
	write_lines(&(struct line){"2026-11-01T01:00:00.000Z", "a", "gpt",
	                           "big", 7, 7, 0, false},
	            1);
	has(report(&a), "\"a\",1,0,0,7,7,0,0,0" NO_RARE ",0.000000000000\n");
	has(report(&a),
	    "\"(idle)\",0,0,0,0,0,0,0,0" NO_RARE ",29.999999999970\n");
	a.by = "";
	has(report(&a), "1,0,0,7,7,0,0,0" NO_RARE ",29.999999999970\n");
}

/* Hours as they are told, whatever the lines. */
static void time_that_is_paid(void **state)
{
	static const struct {
		const char *more, *from, *to, *now, *told;
	} rows[] = {
		{"", FROM, TO, "2027", "10.00 hours"},
		{"", "2026-11", "2026-12", "2027", "720.00 hours"},
		/* what has not come yet is not paid yet */
		{"", "2026-11", "2026-12", "2026-11-02", "24.00 hours"},
		{"", "2026-11", "", "2026-11-02", "24.00 hours"},
		{"", "2026-12", "2027", "2026-11-02", "0.00 hours"},
		/* from the first line on */
		{"", "", TO, "2027", "9.00 hours"},
		{"", "", "", "2026-11-01T02:30", "1.50 hours"},
		{"", TO, FROM, "2027", "0.00 hours"},
		{", \"since\": \"2026-11-01T09:30:00Z\"", FROM, TO, "2027",
	         "0.50 hours"},
		{", \"until\": \"2026-11-01T00:45:00Z\"", FROM, TO, "2027",
	         "0.75 hours"},
		{", \"since\": \"2026-12-01T00:00:00Z\"", FROM, TO, "2027",
	         "0.00 hours"},
	};
	size_t i;

	(void)state;
	write_lines(three, 5);
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		has(report(&(struct asked){rows[i].more, rows[i].from,
		                           rows[i].to, rows[i].now, "consumer",
		                           REPORT_TABLE}),
		    rows[i].told);
}

/* The last column of all rows, in pico-dollars. */
static uint64_t sum_of(const char *csv)
{
	uint64_t sum = 0, v;

	for (csv = strchr(csv, '\n') + 1; *csv; csv = strchr(csv, '\n') + 1) {
		size_t len = strcspn(csv, "\n");
		const char *last = memrchr(csv, ',', len);

		assert_true(usd_read(
			str_of(last + 1, (size_t)(csv + len - last - 1)), &v));
		sum += v;
	}
	return sum;
}

/* Random use: however it is grouped, the rows are the cost. */
static void parts_are_the_cost(void **state)
{
	static const char *const bys[] = {"consumer",   "consumer,model", "day",
	                                  "deployment", "app,hour",       ""};
	enum { N = 60 };
	struct line lines[N];
	char names[N][8], times[N][32];
	unsigned round, i, seed = 7;

	(void)state;
	for (round = 0; round < 30; round++) {
		for (i = 0; i < N; i++) {
			snprintf(names[i], sizeof(names[i]), "c%d",
			         rand_r(&seed) % 17);
			snprintf(times[i], sizeof(times[i]),
			         "2026-11-0%dT%02d:00:00.000Z",
			         1 + rand_r(&seed) % 9, rand_r(&seed) % 24);
			lines[i] = (struct line){times[i],
			                         names[i],
			                         "twin",
			                         "big",
			                         (uint64_t)rand_r(&seed) % 1000,
			                         (uint64_t)rand_r(&seed) % 1000,
			                         (uint64_t)rand_r(&seed) % 100,
			                         false};
		}
		write_lines(lines, N);
		for (i = 0; i < sizeof(bys) / sizeof(*bys); i++) {
			struct asked a = {
				round % 2 ? ", \"tokens_per_minute_per_unit\": "
					    "2"
					  : "",
				FROM,
				"2026-11-10",
				"2027",
				bys[i],
				REPORT_CSV};

			/* 216 hours, to the pico-dollar */
			assert_true(sum_of(report(&a)) ==
			            UINT64_C(647999999999352));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_are_those_of_the_use),
		cmocka_unit_test(remainder_is_given_out),
		cmocka_unit_test(what_nobody_used_is_idle),
		cmocka_unit_test(each_deployment_is_shared_by_its_own_use),
		cmocka_unit_test(more_than_the_capacity_leaves_nothing_idle),
		cmocka_unit_test(without_any_use_all_is_idle),
		cmocka_unit_test(time_that_is_paid),
		cmocka_unit_test(parts_are_the_cost),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
