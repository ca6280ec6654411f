/* usage/entry, usage/ledger, report: what is written down is what is summed. */
#include "test.h"

#include "conf/load.h"
#include "commands/report.h"
#include "usage/entry.h"
#include "usage/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], path[128];
static struct metrics *metrics;
static int64_t now_ms = 1700000000000;

static uint64_t fake_mono(void *ctx)
{
	(void)ctx;
	return 0;
}

static int64_t fake_real(void *ctx)
{
	(void)ctx;
	return now_ms;
}

static const struct clock fake_clock = {fake_mono, fake_real, NULL};

static int make_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/ledger.XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/ledger.jsonl", folder);
	metrics = metrics_new();
	return metrics ? 0 : -1;
}

static int remove_folder(void **state)
{
	char command[160];

	(void)state;
	metrics_free(metrics);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

static struct usage_entry entry(const char *time, const char *consumer,
                                const char *model, uint64_t input,
                                uint64_t cached, uint64_t output)
{
	return (struct usage_entry){
		.time = str_c(time),
		.id = STR("11111111-2222-3333-4444-555555555555"),
		.consumer = str_c(consumer),
		.model = str_c(model),
		.status = 200,
		.termination = STR("--"),
		.input = input,
		.cached = cached,
		.output = output,
		.nano_usd = 1,
	};
}

static void entry_comes_back_as_it_was(void **state)
{
	struct usage_entry e = entry("2026-11-22T14:03:05.123Z", "hr", "gpt-4o",
	                             10, 2, 3),
			   back;
	struct buf line;

	(void)state;
	e.stream = e.estimated = true;
	e.total_ms = 77;
	e.audio = 5;
	e.agent = STR("x\"y");
	buf_init(&line, 4096);
	entry_write(&e, &line);
	assert_true(entry_read(str_trim(buf_str(&line)), &back));
	assert_true(str_eq(back.consumer, e.consumer));
	assert_true(str_eq(back.agent, STR("x\\\"y")));
	assert_int_equal(back.input, 10);
	assert_int_equal(back.cached, 2);
	assert_int_equal(back.total_ms, 77);
	assert_int_equal(back.audio, 5);
	assert_true(back.stream && back.estimated);
	buf_done(&line);
}

static void lines_that_are_none(void **state)
{
	static const char *const bad[] = {
		"",
		"{}",
		"[1]",
		"{\"v\":1,\"time\":\"2026\",\"id\":\"x\"}",
		"{\"v\":1,\"time\":\"2026-11-22T14:03:05.123Z\",\"id\":\"x\"",
		"{\"v\":1,\"time\":\"2026-11-22T14:03:05.123Z\",\"id\":\"x\","
		"\"input\":\"1\"}",
		"{\"v\":1,\"time\":\"2026-11-22T14:03:05.123Z\",\"id\":\"x\","
		"\"input\":-1}",
	};
	struct usage_entry e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(entry_read(str_c(bad[i]), &e));
	assert_true(entry_read(STR("{\"v\":2,\"time\":"
	                           "\"2026-11-22T14:03:05.123Z\",\"id\":\"x\","
	                           "\"new\":null}"),
	                       &e));
}

static size_t lines_in(const char *file)
{
	FILE *f = fopen(file, "r");
	size_t n = 0;
	int c;

	if (!f)
		return 0;
	while ((c = fgetc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

static void add(struct ledger *l, const struct usage_entry *e)
{
	struct buf line;

	buf_init(&line, ENTRY_LINE_MAX);
	entry_write(e, &line);
	ledger_add(l, buf_str(&line));
	buf_done(&line);
}

static void ledger_is_rotated_by_size(void **state)
{
	struct ledger *l = ledger_new(&fake_clock, metrics);
	struct usage_entry e =
		entry("2026-11-22T14:03:05.123Z", "hr", "gpt-4o", 1, 0, 1);
	char moved[160];

	(void)state;
	ledger_configure(l, str_c(path), 600);
	add(l, &e);
	ledger_tick(l);
	assert_int_equal(lines_in(path), 1);
	add(l, &e);
	ledger_tick(l);
	snprintf(moved, sizeof(moved), "%s.20231114T221320Z", path);
	assert_int_equal(lines_in(moved), 2);
	/* the same second: nothing is overwritten */
	add(l, &e);
	add(l, &e);
	ledger_tick(l);
	assert_int_equal(lines_in(moved), 2);
	assert_int_equal(lines_in(path), 2);
	now_ms += 1000;
	ledger_tick(l);
	assert_int_equal(lines_in(path), 0);
	ledger_free(l);
	unlink(moved);
	snprintf(moved, sizeof(moved), "%s.20231114T221321Z", path);
	assert_int_equal(lines_in(moved), 2);
	unlink(moved);
	unlink(path);
}

static void ledger_follows_a_file_that_was_moved(void **state)
{
	struct ledger *l = ledger_new(&fake_clock, metrics);
	struct usage_entry e =
		entry("2026-11-22T14:03:05.123Z", "hr", "gpt-4o", 1, 0, 1);
	char moved[160];

	(void)state;
	ledger_configure(l, str_c(path), 0);
	add(l, &e);
	snprintf(moved, sizeof(moved), "%s.1", path);
	assert_int_equal(rename(path, moved), 0);
	ledger_tick(l);
	add(l, &e);
	assert_int_equal(lines_in(moved), 1);
	assert_int_equal(lines_in(path), 1);
	ledger_free(l);
	unlink(moved);
	unlink(path);
}

static void a_ledger_that_cannot_be_written_counts_what_is_lost(void **state)
{
	struct ledger *l = ledger_new(&fake_clock, metrics);
	struct usage_entry e =
		entry("2026-11-22T14:03:05.123Z", "hr", "gpt-4o", 1, 0, 1);
	struct metric *lost =
		metrics_get(metrics, "foundry_ledger_records_total",
	                    STR("result=\"lost\""));
	int64_t before = metric_value(lost);

	(void)state;
	ledger_configure(l, STR("/nonexistent/ledger.jsonl"), 0);
	add(l, &e);
	assert_int_equal(metric_value(lost), before + 1);
	ledger_free(l);
}

static struct buf out, error;

static bool report(const char *by, const char *from, const char *to, int format)
{
	struct report_options o = {.ledger = str_c(path),
	                           .from = str_c(from),
	                           .to = str_c(to),
	                           .by = str_c(by),
	                           .format = format};
	struct policy *p = conf_load("tests/fixtures/gateway.json", &error);
	bool ok;

	assert_non_null(p);
	buf_clear(&out);
	buf_clear(&error);
	ok = report_run(&o, p, &out, &error);
	policy_unref(p);
	return ok;
}

static bool says(const char *part)
{
	return memmem(out.p, out.len, part, strlen(part)) != NULL;
}

static void sums_are_exact(void **state)
{
	struct ledger *l = ledger_new(&fake_clock, metrics);
	struct usage_entry e;
	int i;

	(void)state;
	buf_init(&out, 1 << 20);
	buf_init(&error, 1 << 20);
	ledger_configure(l, str_c(path), 0);
	for (i = 0; i < 1000; i++) {
		e = entry("2026-11-22T14:03:05.123Z", i % 2 ? "hr" : "it",
		          "no-such-model", 3, 1, (uint64_t)i);
		add(l, &e);
	}
	e = entry("2026-12-01T00:00:00.000Z", "hr", "no-such-model", 7, 0, 7);
	add(l, &e);
	ledger_free(l);

	assert_true(report("consumer", "2026-11", "2026-12", 1));
	/* 500 requests each; odd numbers below 1000 sum to 250000 */
	assert_true(says("\"hr\",500,0,0,1500,500,250000,0,0"
	                 ",0,0,0,0,0,0,0,0,0.000000500000"));
	assert_true(says("\"it\",500,0,0,1500,500,249500,0,0"
	                 ",0,0,0,0,0,0,0,0,0.000000500000"));
	assert_true(report("month,consumer", "", "", 2));
	assert_true(says("\"month\":\"2026-12\",\"consumer\":\"hr\","
	                 "\"requests\":1,"));
	assert_true(report("model", "2026-12-01", "", 0));
	assert_true(says("no-such-model"));
	assert_true(report("", "2026-11-22T14:03:05.123Z",
	                   "2026-11-22T14:03:05.124Z", 2));
	assert_true(says("\"requests\":1000,"));
	assert_true(report("", "2026-11-22T14:03:05.124Z", "2026-12", 2));
	assert_false(says("requests"));
	/* whole seconds are those of their first moment, with a Z, too */
	assert_true(report("", "2026-11-22T14:03:05Z", "2026-12", 2));
	assert_true(says("\"requests\":1000,"));
	assert_true(report("", "2026-11", "2026-11-22T14:03:05Z", 2));
	assert_false(says("requests"));
}

/* What the ledger keeps of a request, at prices that the line did not have. */
static void kinds_of_tokens_are_priced_anew(void **state)
{
	struct ledger *l = ledger_new(&fake_clock, metrics);
	struct usage_entry e = entry("2026-11-22T14:03:05.123Z", "hr", "gpt-4o",
	                             1000, 100, 50);
	struct usage_tokens t;

	(void)state;
	unlink(path);
	ledger_configure(l, str_c(path), 0);
	e.cache_write_5m = 200;
	e.cache_write_1h = 300;
	e.audio_output = 20;
	e.longest = 700;
	e.service_tier = STR("priority");
	add(l, &e);
	t = entry_tokens(&e);
	assert_int_equal(t.cache_write_1h, 300);
	assert_int_equal(t.longest, 700);
	e = entry("2026-11-22T14:03:05.123Z", "hr", "gpt-4o", 1, 0, 0);
	add(l, &e); /* as old lines: none of these members */
	ledger_free(l);
	assert_true(report("service_tier", "", "", 2));
	assert_true(says("\"service_tier\":\"priority\",\"requests\":1,"));
	assert_true(says("\"cache_write_5m\":200,\"cache_write_1h\":300,"));
	assert_true(says("\"audio_output\":20,"));
	assert_true(says("\"service_tier\":\"\",\"requests\":1,"));
	/* the table has the columns that say something */
	assert_true(report("model", "", "", 0));
	assert_true(says("  cache_write_5m  cache_write_1h  audio_output"));
	assert_false(says("image_input"));
}

/* Each line tells all that the batch has used so far, in whatever order the
 * lines of several nodes come. */
static void batches_count_once(void **state)
{
	static const uint64_t told[] = {100, 250, 250, 100, 400};
	struct ledger *l = ledger_new(&fake_clock, metrics);
	size_t i;

	(void)state;
	unlink(path);
	ledger_configure(l, str_c(path), 0);
	for (i = 0; i < sizeof(told) / sizeof(*told); i++) {
		struct usage_entry e = entry("2026-11-22T14:03:05.123Z", "hr",
		                             "gpt-4o", told[i], 0, told[i] / 2);

		e.batch = STR("batch_1");
		add(l, &e);
		e.batch = STR("batch_2");
		e.input = 7;
		e.output = 0;
		add(l, &e);
	}
	ledger_free(l);
	assert_true(report("model", "", "", 1));
	/* at 2.5 and 10 USD a million */
	assert_true(says("\"gpt-4o\",10,0,0,407,0,200,0,0,0,0,0,0,0,0,0,0,0."
	                 "003017500000\n"));
}

static void options_that_are_none(void **state)
{
	(void)state;
	assert_false(report("colour", "", "", 0));
	assert_false(report("model", "yesterday", "", 0));
	assert_false(report("model", "2026-1", "", 0));
	assert_false(report("model", "", "2026-11-22 14:00", 0));
	buf_done(&out);
	buf_done(&error);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entry_comes_back_as_it_was),
		cmocka_unit_test(lines_that_are_none),
		cmocka_unit_test(ledger_is_rotated_by_size),
		cmocka_unit_test(ledger_follows_a_file_that_was_moved),
		cmocka_unit_test(
			a_ledger_that_cannot_be_written_counts_what_is_lost),
		cmocka_unit_test(sums_are_exact),
		cmocka_unit_test(kinds_of_tokens_are_priced_anew),
		cmocka_unit_test(batches_count_once),
		cmocka_unit_test(options_that_are_none),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
