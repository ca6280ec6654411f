/* top: from two pages of /metrics to a table. */
#include "test.h"

#include "commands/top.h"

#include <string.h>

static struct top_sample before, after;
static struct buf out;

static int begin(void **state)
{
	(void)state;
	top_sample_init(&before);
	top_sample_init(&after);
	buf_init(&out, 1 << 20);
	return 0;
}

static int end(void **state)
{
	(void)state;
	top_sample_done(&before);
	top_sample_done(&after);
	buf_done(&out);
	return 0;
}

/* The table as a C string. */
static const char *table(const char *first, const char *second, uint64_t us,
                         size_t rows)
{
	assert_true(top_read(&before, str_c(first)));
	assert_true(top_read(&after, str_c(second)));
	assert_true(top_write(&before, &after, us, rows, &out));
	buf_add(&out, "", 1);
	return out.p;
}

/* A line that has these words, with any blanks between. */
static void expect(const char *text, const char *words)
{
	char line[512];
	size_t n = 0;
	const char *p;
	bool gap = false;

	for (p = text; *p; p++) {
		if (*p == '\n') {
			line[n] = '\0';
			if (strcmp(line, words) == 0)
				return;
			n = 0;
		} else if (*p != ' ') {
			if (gap && n > 0)
				line[n++] = ' ';
			line[n++] = *p;
		}
		gap = *p == ' ';
		assert_true(n < sizeof(line) - 2);
	}
	fail_msg("no \"%s\" in\n%s", words, text);
}

#define USAGE "gen_ai_client_inference_usage_"
#define HR    "consumer=\"hr\",gen_ai_request_model=\"gpt\""

static const char earlier[] =
	"# HELP foundry_consumer_requests_total x\n"
	"foundry_consumer_requests_total{" HR ",verdict=\"allow\"} 10\n"
	"foundry_consumer_requests_total{" HR ",verdict=\"deny\"} 1\n"
	"foundry_consumer_streams{" HR "} 99\n" USAGE
	"input_tokens_total{gen_ai_operation_name=\"chat\"," HR "} 1000\n";

static const char later[] =
	"foundry_consumer_requests_total{" HR ",verdict=\"allow\"} 20\n"
	"foundry_consumer_requests_total{" HR ",verdict=\"deny\"} 5\n"
	"foundry_consumer_streams{" HR "} 3\n" USAGE
	"input_tokens_total{gen_ai_operation_name=\"chat\"," HR "} 1500\n" USAGE
	"input_tokens_total{gen_ai_operation_name=\"x\"," HR "} 10\n" USAGE
	"output_tokens_total{" HR "} 100\n"
	"foundry_estimated_tokens_total{" HR ",gen_ai_token_type=\"input\"} 2\n"
	"foundry_estimated_tokens_total{" HR
	",gen_ai_token_type=\"output\"} 4\n";

static void rates_of_all_columns(void **state)
{
	const char *t = table(earlier, later, 2000000, 10);

	(void)state;
	expect(t, "consumer model requests/s refused/s in tok/s out tok/s "
	          "in flight");
	expect(t, "hr gpt 7.0 2.0 256.0 52.0 3");
	expect(t, "total 7.0 2.0 256.0 52.0 3");
}

#define OUT(c) USAGE "output_tokens_total{" WHO(c)
#define WHO(c) "consumer=\"" c "\",gen_ai_request_model=\"m\"}"

static void the_busiest_come_first(void **state)
{
	static const char page[] = OUT("aaa") " 1\n" OUT("bbb") " 3\n" OUT(
		"ccc") " 2\n" OUT("ddd") " 1\n";
	const char *t = table("", page, 1000000, 3);
	const char *a = strstr(t, "aaa");
	const char *b = strstr(t, "bbb");
	const char *c = strstr(t, "ccc");

	(void)state;
	assert_true(a && b && c && b < c && c < a);
	assert_null(strstr(t, "ddd")); /* not shown, but in the sum */
	expect(t, "total 0.0 0.0 0.0 7.0 0");
}

static void an_agent_that_restarted_counts_from_zero(void **state)
{
	(void)state;
	expect(table(OUT("a") " 500\n", OUT("a") " 30\n", 1000000, 3),
	       "a m 0.0 0.0 0.0 30.0 0");
}

static void a_request_without_model(void **state)
{
	(void)state;
	expect(table("",
	             "foundry_consumer_requests_total{consumer=\"hr\","
	             "verdict=\"allow\"} 1\n",
	             1000000, 3),
	       "hr 1.0 0.0 0.0 0.0 0");
}

static void attack_names_that_a_terminal_obeys(void **state)
{
	static const char page[] =
		"foundry_consumer_streams{consumer=\"\033[2J\x9b\","
		"gen_ai_request_model=\"a\\\"},b=\\\\\"} 1\n";
	const char *t = table("", page, 1000000, 3);

	(void)state;
	assert_null(strchr(t, '\033'));
	expect(t, "?[2J? a\\\"},b=\\\\ 0.0 0.0 0.0 0.0 1");
}

static void pages_that_are_none(void **state)
{
	static const char *const bad[] = {
		"",
		"\n\n",
		"{",
		"foundry_consumer_streams",
		"foundry_consumer_streams{",
		"foundry_consumer_streams{}",
		"foundry_consumer_streams{} ",
		"foundry_consumer_streams{consumer=\"a 1",
		"foundry_consumer_streams{consumer=\"a\\",
		"foundry_consumer_streams{consumer} NaN",
		"foundry_consumer_streams{=\"} -1",
		"<html>}</html>",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_true(top_read(&after, str_c(bad[i])));
	assert_true(top_write(&before, &after, 0, 5, &out));
	buf_add(&out, "", 1);
	expect(out.p, "total 0.0 0.0 0.0 0.0 0");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(rates_of_all_columns),
		TEST(the_busiest_come_first),
		TEST(an_agent_that_restarted_counts_from_zero),
		TEST(a_request_without_model),
		TEST(attack_names_that_a_terminal_obeys),
		TEST(pages_that_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
