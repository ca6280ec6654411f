/* The shared table of metrics: one truth for all processes, and a page that
 * Prometheus can read whatever the labels hold. */
#include "test.h"

#include "base/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE_MAX = 8 * 1024 * 1024 };

/* The page as a C string; the caller frees. */
static char *page(struct metrics *m)
{
	struct buf b;

	buf_init(&b, PAGE_MAX);
	metrics_print(m, &b);
	buf_add(&b, "", 1);
	assert_false(b.failed);
	return b.p;
}

static void expect_lines(struct metrics *m, const char *lines)
{
	char *p = page(m);

	if (!strstr(p, lines))
		fail_msg("no\n%sin\n%s", lines, p);
	free(p);
}

static unsigned count_of(const char *text, const char *needle)
{
	unsigned n = 0;

	while ((text = strstr(text, needle)) != NULL) {
		n++;
		text += strlen(needle);
	}
	return n;
}

static void same_series_is_the_same_cell(void **state)
{
	struct metrics *m = metrics_new();
	struct metric *a, *b, *c;

	(void)state;
	a = metrics_get(m, "foundry_reloads_total", STR("result=\"ok\""));
	b = metrics_get(m, "foundry_reloads_total", STR("result=\"bad\""));
	c = metrics_get(m, "foundry_usage_records_total", STR("result=\"ok\""));
	assert_ptr_not_equal(a, b);
	assert_ptr_not_equal(a, c);
	assert_ptr_equal(a, metrics_get(m, "foundry_reloads_total",
	                                STR("result=\"ok\"")));
	metric_add(a, 2);
	metric_add(a, 3);
	assert_int_equal(metric_value(a), 5);
	assert_int_equal(metric_value(b), 0);
	metric_set(b, -7);
	expect_lines(m, "# TYPE foundry_reloads_total counter\n"
	                "foundry_reloads_total{result=\"bad\"} -7\n"
	                "foundry_reloads_total{result=\"ok\"} 5\n");
	metrics_free(m);
}

static void series_without_labels(void **state)
{
	struct metrics *m = metrics_new();

	(void)state;
	metric_add(metrics_get(m, "foundry_spop_acks_total", STR_NONE), 1);
	expect_lines(m, "\nfoundry_spop_acks_total 1\n");
	metrics_free(m);
}

static void every_name_has_help_once(void **state)
{
	struct metrics *m = metrics_new();
	char *p;

	(void)state;
	metric_add(metrics_get(m, "foundry_reloads_total", STR("a=\"1\"")), 1);
	metric_add(
		metrics_get(m, "foundry_usage_records_total", STR("a=\"1\"")),
		1);
	metric_add(metrics_get(m, "foundry_reloads_total", STR("a=\"2\"")), 1);
	p = page(m);
	assert_int_equal(count_of(p, "# HELP foundry_reloads_total "), 1);
	assert_int_equal(count_of(p, "# TYPE foundry_reloads_total "), 1);
	assert_int_equal(count_of(p, "# HELP foundry_usage_records_total "), 1);
	free(p);
	metrics_free(m);
}

static void labels_are_escaped(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 256);
	metrics_label(&b, "model", STR("a\"b\\c\nd"));
	metrics_label(&b, "type", STR("\xc3\xa4\xff"));
	metrics_label(&b, "empty", STR_NONE);
	assert_true(str_eq(buf_str(&b),
	                   STR("model=\"a\\\"b\\\\c\\nd\","
	                       "type=\"\xc3\xa4\xef\xbf\xbd\",empty=\"\"")));
	buf_done(&b);
}

static void histogram_is_cumulative(void **state)
{
	static const uint64_t times[] = {0, 50, 51, 1000, 1001, 999999999};
	struct metrics *m = metrics_new();
	struct metric_histogram h, again;
	size_t i;

	(void)state;
	metrics_histogram(m, "foundry_step_seconds", STR("step=\"route\""), &h);
	for (i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		metric_observe_us(&h, times[i]);
	metrics_histogram(m, "foundry_step_seconds", STR("step=\"route\""),
	                  &again);
	assert_memory_equal(&h, &again, sizeof(h));
#define B "foundry_step_seconds_bucket{step=\"route\",le="
	expect_lines(m,
	             "# TYPE foundry_step_seconds histogram\n" B
	             "\"5e-05\"} 2\n" B "\"0.0001\"} 3\n" B "\"0.00025\"} 3\n" B
	             "\"0.0005\"} 3\n" B "\"0.001\"} 4\n" B "\"0.0025\"} 5\n");
	expect_lines(m, B "\"5\"} 5\n" B "\"+Inf\"} 6\n"
	                  "foundry_step_seconds_sum{step=\"route\"} "
	                  "1000.002101\n"
	                  "foundry_step_seconds_count{step=\"route\"} 6\n");
#undef B
	metrics_free(m);
}

static void histogram_without_labels(void **state)
{
	struct metrics *m = metrics_new();
	struct metric_histogram h;

	(void)state;
	metrics_histogram(m, "foundry_decision_seconds", STR_NONE, &h);
	metric_observe_us(&h, 7);
	expect_lines(m, "foundry_decision_seconds_bucket{le=\"5e-05\"} 1\n");
	expect_lines(m, "foundry_decision_seconds_sum 0.000007\n"
	                "foundry_decision_seconds_count 1\n");
	metrics_free(m);
}

static void histogram_of_tokens_has_the_bounds_of_its_row(void **state)
{
	struct metrics *m = metrics_new();
	struct metric_histogram h;

	(void)state;
	metrics_histogram(m, "gen_ai_client_token_usage", STR_NONE, &h);
	metric_observe(&h, 0);
	metric_observe(&h, 67108864);
	metrics_observe(m, "gen_ai_client_token_usage", STR_NONE, 67108865);
	metrics_observe(m, "gen_ai_client_token_usage", STR("a=\"1\""), 4);
	expect_lines(m, "# TYPE gen_ai_client_token_usage histogram\n"
	                "gen_ai_client_token_usage_bucket{le=\"1\"} 1\n"
	                "gen_ai_client_token_usage_bucket{le=\"4\"} 1\n");
	expect_lines(m, "gen_ai_client_token_usage_bucket{le=\"67108864\"} 2\n"
	                "gen_ai_client_token_usage_bucket{le=\"+Inf\"} 3\n"
	                "gen_ai_client_token_usage_sum 134217729\n"
	                "gen_ai_client_token_usage_count 3\n");
	expect_lines(m,
	             "token_usage_bucket{a=\"1\",le=\"1\"} 0\n"
	             "gen_ai_client_token_usage_bucket{a=\"1\",le=\"4\"} 1\n");
	expect_lines(m, "gen_ai_client_token_usage_sum{a=\"1\"} 4\n"
	                "gen_ai_client_token_usage_count{a=\"1\"} 1\n");
	metrics_free(m);
}

static void counters_with_decimals(void **state)
{
	struct metrics *m = metrics_new();
	struct metric *c = metrics_get(m, "foundry_cost_usd_total", STR_NONE);

	(void)state;
	metric_add(c, 5);
	expect_lines(m, "\nfoundry_cost_usd_total 0.000000005\n");
	metric_add(c, 12000000000);
	expect_lines(m, "\nfoundry_cost_usd_total 12.000000005\n");
	metrics_free(m);
}

static void what_is_taken_ends_at_zero(void **state)
{
	struct metrics *m = metrics_new();
	struct metric *c = metrics_get(m, "foundry_consumer_streams", STR_NONE);

	(void)state;
	metric_add(c, 3);
	metric_sub(c, 2);
	assert_int_equal(metric_value(c), 1);
	metric_sub(c, 2);
	assert_int_equal(metric_value(c), 0);
	metrics_free(m);
}

static void histograms_of_two_labels_stay_apart(void **state)
{
	struct metrics *m = metrics_new();
	struct metric_histogram a, b;

	(void)state;
	metrics_histogram(m, "foundry_step_seconds", STR("step=\"a\""), &a);
	metrics_histogram(m, "foundry_step_seconds", STR("step=\"ab\""), &b);
	metric_observe_us(&a, 1);
	metric_observe_us(&b, 1);
	metric_observe_us(&b, 1);
	expect_lines(m, "foundry_step_seconds_count{step=\"a\"} 1\n");
	expect_lines(m, "foundry_step_seconds_count{step=\"ab\"} 2\n");
	metrics_free(m);
}

static struct metric *numbered(struct metrics *m, unsigned n)
{
	char labels[32];

	snprintf(labels, sizeof(labels), "tenant=\"%u\"", n);
	return metrics_get(m, "foundry_jwks_fetches_total", str_c(labels));
}

static void attack_more_series_than_places(void **state)
{
	struct metrics *m = metrics_new();
	struct metric *first = numbered(m, 0);
	const unsigned n = 20000;
	char *p, dropped[64];
	unsigned i, kept;

	(void)state;
	for (i = 0; i < n; i++)
		metric_add(numbered(m, i), 1);
	assert_ptr_equal(first, numbered(m, 0));
	assert_int_equal(metric_value(first), 1);
	p = page(m);
	kept = count_of(p, "foundry_jwks_fetches_total{");
	assert_in_range(kept, 16384 - 1024, 16384);
	snprintf(dropped, sizeof(dropped),
	         "\nfoundry_metrics_dropped_total %u\n", n - kept);
	assert_non_null(strstr(p, dropped));
	free(p);
	metrics_free(m);
}

static void attack_labels_of_any_length(void **state)
{
	struct metrics *m = metrics_new();
	struct metric *fits, *not ;
	char labels[300];

	(void)state;
	memset(labels, 'x', sizeof(labels));
	fits = metrics_get(m, "foundry_reloads_total", str_of(labels, 224));
	not = metrics_get(m, "foundry_reloads_total", str_of(labels, 225));
	assert_ptr_not_equal(fits, not );
	metric_add(not, 1);
	assert_int_equal(metric_value(fits), 0);
	expect_lines(m, "\nfoundry_metrics_dropped_total 1\n");
	metrics_free(m);
}

/* Each child makes the same series, in another order, and counts in them. */
static void child(struct metrics *m, unsigned k)
{
	static const unsigned steps[] = {1, 3, 7, 9};
	unsigned i;

	for (i = 0; i < 3000; i++)
		metric_add(numbered(m, (i * steps[k]) % 500), 1);
	_exit(0);
}

static void forked_workers_share_all_series(void **state)
{
	enum { N = 4 };
	struct metrics *m = metrics_new();
	pid_t pids[N];
	unsigned k, i;
	int status;

	(void)state;
	for (k = 0; k < N; k++) {
		pids[k] = fork();
		assert_true(pids[k] >= 0);
		if (pids[k] == 0)
			child(m, k);
	}
	for (k = 0; k < N; k++) {
		assert_int_equal(waitpid(pids[k], &status, 0), pids[k]);
		assert_int_equal(status, 0);
	}
	for (i = 0; i < 500; i++)
		assert_int_equal(metric_value(numbered(m, i)), N * 3000 / 500);
	expect_lines(m, "\nfoundry_metrics_dropped_total 0\n");
	metrics_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_series_is_the_same_cell),
		cmocka_unit_test(series_without_labels),
		cmocka_unit_test(every_name_has_help_once),
		cmocka_unit_test(labels_are_escaped),
		cmocka_unit_test(histogram_is_cumulative),
		cmocka_unit_test(histogram_without_labels),
		cmocka_unit_test(histogram_of_tokens_has_the_bounds_of_its_row),
		cmocka_unit_test(counters_with_decimals),
		cmocka_unit_test(what_is_taken_ends_at_zero),
		cmocka_unit_test(histograms_of_two_labels_stay_apart),
		cmocka_unit_test(attack_more_series_than_places),
		cmocka_unit_test(attack_labels_of_any_length),
		cmocka_unit_test(forked_workers_share_all_series),
	};

	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
