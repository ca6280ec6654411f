/* commands/limits: its arguments. What it does to Redis: tests/e2e. */
#include "test.h"

#include "commands/limits.h"
#include "store/check.h"

#include <stdio.h>

static struct limits_options o;
static char error[256];

/* `scope` and `limit` may be NULL. */
static bool reads(const char *limit, const char *scope)
{
	const char *words[] = {"reset", "gateway.json", "--limit",
	                       limit,   "--scope",      scope};
	char *argv[6];
	struct buf b;
	bool ok;

	for (size_t i = 0; i < 6; i++)
		argv[i] = (char *)(uintptr_t)words[i];
	buf_init(&b, sizeof(error));
	ok = limits_read_options(scope ? 6 : 4, argv, &o, &b);
	snprintf(error, sizeof(error), "%.*s", (int)b.len, b.p ? b.p : "");
	buf_done(&b);
	return ok;
}

static void scope_of_a_limit_is_read(void **state)
{
	(void)state;
	assert_true(reads("hour", NULL));
	assert_int_equal(o.scope.len, 0);
	assert_true(reads("hour", "hr-bot"));
	assert_true(str_eq(o.limit, STR("hour")));
	assert_true(str_eq(o.scope, STR("hr-bot")));
	assert_string_equal(o.config, "gateway.json");
}

/* It was dropped, and the change applied to all scopes of the limit. */
static void scope_that_is_too_long_is_an_error(void **state)
{
	static char scope[2000];
	/* LIMIT:SCOPE has CHECK_FIELD_MAX bytes */
	size_t longest = CHECK_FIELD_MAX - 5;

	(void)state;
	memset(scope, 's', sizeof(scope) - 1);
	scope[longest] = '\0';
	assert_true(reads("hour", scope));
	scope[longest] = 's';
	scope[longest + 1] = '\0';
	assert_false(reads("hour", scope));
	assert_non_null(strstr(error, "expected at most 511"));
	scope[longest + 1] = 's';
	assert_false(reads("hour", scope));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scope_of_a_limit_is_read),
		cmocka_unit_test(scope_that_is_too_long_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
