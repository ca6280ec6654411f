/*
 * decide/verdict: the list of denials, and that haproxy.cfg can return each.
 *
 * HAProxy takes no variable as a status, so its configuration has one rule per
 * status. A denial without one would reach the caller as the status of the
 * last rule, the fallback; a rule without a denial is never used. Runs from the
 * root of the repository.
 */
#include "test.h"

#include "decide/verdict.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

enum { RULES_MAX = 64, STATUS_MAX = 600 };

static const char cfg_file[] = "haproxy-conf/haproxy.cfg";
static const char returns[] = "return status ";
static const char asks[] = "var(txn.gw.status) -m int ";

/* The refusals among the rules `return status N` of haproxy.cfg: those with a
 * condition on the status of the denial, and the one behind them. */
static struct refusal {
	int returned;
	int asked;
} refusals[RULES_MAX];
static size_t n_refusals;
static int fallback;

static struct request r;

static int number_behind(const char *line, const char *text)
{
	const char *at = strstr(line, text);
	uint64_t n = 0;

	if (!at)
		return 0;
	at += strlen(text);
	return str_to_u64(str_of(at, strspn(at, "0123456789")), &n) ? (int)n
	                                                            : 0;
}

static void read_rule(const char *line)
{
	int returned = number_behind(line, returns);

	if (returned == 0 || line[strspn(line, " \t")] == '#')
		return;
	if (strstr(line, asks)) {
		assert_in_range(n_refusals, 0, RULES_MAX - 1);
		refusals[n_refusals++] =
			(struct refusal){returned, number_behind(line, asks)};
		fallback = 0;
	} else if (n_refusals > 0 && fallback == 0) {
		fallback = returned;
	}
}

static int read_cfg(void **state)
{
	FILE *f = fopen(cfg_file, "r");
	char *line = NULL;
	size_t size = 0;

	(void)state;
	if (!f) {
		fprintf(stderr, "cannot open %s\n", cfg_file);
		return -1;
	}
	while (getline(&line, &size, f) >= 0)
		read_rule(line);
	free(line);
	fclose(f);
	return 0;
}

static bool has_rule(int status)
{
	for (size_t i = 0; i < n_refusals; i++)
		if (refusals[i].asked == status)
			return true;
	return false;
}

static void start(void)
{
	memset(&r, 0, offsetof(struct request, mem));
	arena_init(&r.arena, r.mem, sizeof(r.mem));
}

static void deny(enum deny_reason why)
{
	start();
	assert_int_equal(verdict_deny(&r, why, NULL), STEP_DONE);
	assert_int_equal(r.verdict.verdict, VERDICT_DENY);
}

/* What decide/answer and the clients rely on. */
static void is_a_whole_refusal(const char *what)
{
	const struct request_verdict *v = &r.verdict;
	bool again = v->status == 429 || v->status == 503;

	if (v->status < 400 || v->status >= STATUS_MAX)
		fail_msg("%s has the status %d", what, v->status);
	if (!v->code || v->code[0] == '\0')
		fail_msg("%s has no code", what);
	for (const char *c = v->code; *c; c++)
		if (!islower((unsigned char)*c) && *c != '_')
			fail_msg("%s: code \"%s\"", what, v->code);
	if (v->message.len < 10 || !str_ends(v->message, STR(".")))
		fail_msg("%s: \"%" STR_FMT "\" is no sentence", what,
		         STR_ARG(v->message));
	if (again != (v->retry_after_s > 0))
		fail_msg("%s: status %d, Retry-After %llu s", what, v->status,
		         (unsigned long long)v->retry_after_s);
}

static void every_reason_is_a_whole_refusal(void **state)
{
	char what[32];

	(void)state;
	for (int why = 0; why < DENY_N; why++) {
		snprintf(what, sizeof(what), "reason %d", why);
		assert_non_null(verdict_code((enum deny_reason)why));
		deny((enum deny_reason)why);
		is_a_whole_refusal(what);
		assert_string_equal(r.verdict.code,
		                    verdict_code((enum deny_reason)why));
		assert_int_equal(r.verdict.status,
		                 verdict_status((enum deny_reason)why));
	}
}

static void codes_are_unique(void **state)
{
	(void)state;
	for (int a = 0; a < DENY_N; a++)
		for (int b = a + 1; b < DENY_N; b++)
			assert_string_not_equal(
				verdict_code((enum deny_reason)a),
				verdict_code((enum deny_reason)b));
}

static void every_refused_credential_is_a_whole_refusal(void **state)
{
	char what[32];

	(void)state;
	for (int s = INBOUND_MALFORMED; s <= INBOUND_UNKNOWN_SECRET; s++) {
		start();
		verdict_deny_inbound(&r, (enum inbound_status)s);
		snprintf(what, sizeof(what), "inbound %d", s);
		is_a_whole_refusal(what);
		assert_string_equal(r.verdict.code,
		                    inbound_code((enum inbound_status)s));
	}
}

/* --------------------------------------------------------- haproxy.cfg */

static void haproxy_returns_the_status_of_every_denial(void **state)
{
	(void)state;
	for (int why = 0; why < DENY_N; why++) {
		deny((enum deny_reason)why);
		if (!has_rule(r.verdict.status) && r.verdict.status != fallback)
			fail_msg("%s has no rule for %d (%s)", cfg_file,
			         r.verdict.status, r.verdict.code);
	}
	for (int s = INBOUND_MALFORMED; s <= INBOUND_UNKNOWN_SECRET; s++) {
		start();
		verdict_deny_inbound(&r, (enum inbound_status)s);
		if (!has_rule(r.verdict.status) && r.verdict.status != fallback)
			fail_msg("%s has no rule for %d (%s)", cfg_file,
			         r.verdict.status, r.verdict.code);
	}
}

/* Those of keys/inbound are statuses of the table, too. */
static bool is_denied_with(int status)
{
	for (int why = 0; why < DENY_N; why++)
		if (verdict_status((enum deny_reason)why) == status)
			return true;
	return false;
}

static void haproxy_returns_no_other_status(void **state)
{
	(void)state;
	assert_true(n_refusals > 0);
	for (size_t i = 0; i < n_refusals; i++)
		if (!is_denied_with(refusals[i].asked))
			fail_msg("%s has a rule for %d, which no denial has",
			         cfg_file, refusals[i].asked);
}

static void a_rule_returns_what_it_asks_for(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_refusals; i++) {
		assert_int_equal(refusals[i].returned, refusals[i].asked);
		for (size_t k = i + 1; k < n_refusals; k++)
			assert_int_not_equal(refusals[i].asked,
			                     refusals[k].asked);
	}
}

/* The rule behind the others has no condition on the status. It serves the
 * denials with 503, and a status that none of the rules knows: the caller may
 * try again, and nothing is let through. */
static void the_fallback_is_503(void **state)
{
	(void)state;
	assert_int_equal(fallback, 503);
	assert_true(is_denied_with(fallback));
	assert_false(has_rule(fallback));
}

/* -------------------------------------------------------------- verdicts */

static void a_step_may_put_its_own_sentence(void **state)
{
	(void)state;
	start();
	verdict_deny(&r, DENY_MODEL_UNKNOWN, "No model %d.", 7);
	assert_true(str_eq(r.verdict.message, STR("No model 7.")));
	assert_int_equal(r.verdict.status, 404);
	/* a later denial takes its place, sentence and all */
	verdict_deny(&r, DENY_TIMEOUT, NULL);
	assert_true(str_eq(r.verdict.message,
	                   STR("The gateway could not decide in time.")));
	assert_int_equal(r.verdict.status, 503);
	assert_int_equal(r.verdict.retry_after_s, 1);
}

static void a_full_arena_leaves_the_sentence_of_the_table(void **state)
{
	(void)state;
	start();
	assert_null(arena_alloc(&r.arena, sizeof(r.mem) + 1));
	verdict_deny(&r, DENY_MODEL_UNKNOWN, "No model %d.", 7);
	assert_true(str_eq(r.verdict.message,
	                   STR("The model does not exist at this gateway.")));
}

static void a_long_sentence_is_cut(void **state)
{
	char name[1024];

	(void)state;
	start();
	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	verdict_deny(&r, DENY_MODEL_UNKNOWN, "No model %s.", name);
	assert_int_equal(r.verdict.message.len, 511);
}

static void the_detail_outlives_the_verdict(void **state)
{
	(void)state;
	start();
	verdict_detail(&r, "rule=%s", "default-deny");
	verdict_deny(&r, DENY_RULE, NULL);
	assert_true(str_eq(r.verdict.detail, STR("rule=default-deny")));
}

static void an_answer_is_copied(void **state)
{
	char body[] = "{\"data\":[]}";

	(void)state;
	start();
	verdict_answer(&r, str_c(body));
	body[0] = 'x';
	assert_int_equal(r.verdict.verdict, VERDICT_ANSWER);
	assert_int_equal(r.verdict.status, 200);
	assert_true(str_eq(r.verdict.body, STR("{\"data\":[]}")));
	verdict_allow(&r);
	assert_int_equal(r.verdict.verdict, VERDICT_ALLOW);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_reason_is_a_whole_refusal),
		cmocka_unit_test(codes_are_unique),
		cmocka_unit_test(every_refused_credential_is_a_whole_refusal),
		cmocka_unit_test(haproxy_returns_the_status_of_every_denial),
		cmocka_unit_test(haproxy_returns_no_other_status),
		cmocka_unit_test(a_rule_returns_what_it_asks_for),
		cmocka_unit_test(the_fallback_is_503),
		cmocka_unit_test(a_step_may_put_its_own_sentence),
		cmocka_unit_test(a_full_arena_leaves_the_sentence_of_the_table),
		cmocka_unit_test(a_long_sentence_is_cut),
		cmocka_unit_test(the_detail_outlives_the_verdict),
		cmocka_unit_test(an_answer_is_copied),
	};

	return cmocka_run_group_tests(tests, read_cfg, NULL);
}
