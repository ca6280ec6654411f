/* store/blocked: who is blocked, as Redis says, and while it is away. */
#include "test.h"

#include "redis_fixture.h"
#include "store/blocked.h"

#include <stdio.h>

/* The answer to a change. */
struct changed {
	int n;
	enum redis_link_kind kind;
	char error[128];
};

static void on_changed(void *ctx, const struct redis_link_reply *reply)
{
	struct changed *c = ctx;

	c->n++;
	c->kind = reply->kind;
	snprintf(c->error, sizeof(c->error), "%" STR_FMT,
	         STR_ARG(reply->kind == LINK_ERROR ? reply->error : STR_NONE));
}

/* As an operator's command does it, to the list of the prefix "t". */
static struct changed change(struct redis_fixture *f, const char *verb,
                             const char *name)
{
	const struct str argv[] = {STR("t:blocked"), str_c(verb), str_c(name)};
	struct changed c = {0};

	assert_true(redis_link_call(store_redis_link(f->s), SCRIPT_BLOCKED,
	                            argv, 3, on_changed, &c));
	rf_until(f, c.n == 1);
	return c;
}

static struct blocked *begin(struct redis_fixture *f)
{
	struct blocked *b;

	redis_server_start(&f->server, NULL);
	rf_connect(f);
	b = blocked_new(f->loop, store_redis_link(f->s));
	assert_non_null(b);
	return b;
}

static bool has(const struct blocked *b, const char *consumer, const char *app,
                const char *agent)
{
	const struct store_caller caller = {str_c(consumer), str_c(app),
	                                    str_c(agent)};

	return blocked_has(b, &caller);
}

static bool is_known(const struct blocked *b)
{
	struct buf out;
	bool known;

	buf_init(&out, BLOCKED_TEXT_MAX + 1);
	known = blocked_print(b, &out);
	buf_done(&out);
	return known;
}

/* The version it shows; what stands behind its line into `names`. */
static uint64_t version(const struct blocked *b, char names[256])
{
	struct buf out;
	struct str text;
	size_t n;
	uint64_t v = 0;

	buf_init(&out, BLOCKED_TEXT_MAX + 1);
	assert_true(blocked_print(b, &out));
	text = buf_str(&out);
	n = str_find(text, '\n');
	assert_true(str_starts(text, STR("version ")));
	assert_true(str_to_u64(str_from(str_first(text, n), 8), &v));
	if (names)
		snprintf(names, 256, "%" STR_FMT,
		         STR_ARG(str_from(text, n + 1)));
	buf_done(&out);
	return v;
}

static void what_is_put_is_known(void **state)
{
	struct redis_fixture *f = *state;
	struct blocked *b = begin(f);
	char names[256];
	uint64_t before;

	assert_false(is_known(b));
	assert_false(has(b, "demo", "", ""));
	blocked_configure(b, STR("t"), true);
	rf_until(f, is_known(b));
	assert_int_equal(version(b, names), 0);
	assert_string_equal(names, "");

	change(f, "put", "consumer:demo");
	change(f, "put", "agent:proj/bad");
	rf_until(f, has(b, "demo", "", "") && has(b, "", "", "proj/bad"));
	before = version(b, names);
	assert_string_equal(names, "agent:proj/bad\nconsumer:demo\n");
	assert_false(has(b, "dem", "demo", "demo"));
	assert_false(has(b, "demo2", "proj/bad", "proj/ba"));
	assert_false(has(b, "", "", ""));

	change(f, "del", "consumer:demo");
	rf_until(f, !has(b, "demo", "", ""));
	assert_true(version(b, names) > before);
	assert_string_equal(names, "agent:proj/bad\n");
	blocked_free(b);
}

static void each_change_is_a_version_of_its_own(void **state)
{
	struct redis_fixture *f = *state;
	struct blocked *b = begin(f);
	uint64_t first, last;

	blocked_configure(b, STR("t"), true);
	change(f, "put", "app:a");
	rf_until(f, has(b, "", "a", ""));
	first = version(b, NULL);
	for (int i = 0; i < 50; i++) /* many of them in one millisecond */
		change(f, i % 2 ? "put" : "del", "app:a");
	change(f, "put", "app:b");
	rf_until(f, has(b, "", "b", ""));
	last = version(b, NULL);
	assert_true(last >= first + 51);

	/* lost with everything else: the next one is still later */
	rf_command(f, "DEL t:blocked");
	rf_until(f, !has(b, "", "b", ""));
	change(f, "put", "app:c");
	rf_until(f, has(b, "", "c", ""));
	assert_true(version(b, NULL) > first);
	blocked_free(b);
}

static void what_was_read_stays_while_redis_is_away(void **state)
{
	struct redis_fixture *f = *state;
	struct blocked *b = begin(f);

	blocked_configure(b, STR("t"), true);
	change(f, "put", "consumer:demo");
	rf_until(f, has(b, "demo", "", ""));
	redis_server_kill(&f->server);
	rf_until(f, !store_redis_connected(f->s));
	assert_true(has(b, "demo", "", ""));

	/* a reload about the same list forgets nothing, one about another
	 * does */
	blocked_configure(b, STR("t"), true);
	assert_true(has(b, "demo", "", ""));
	blocked_configure(b, STR("u"), true);
	assert_false(is_known(b));

	blocked_configure(b, STR("t"), true);
	redis_server_start(&f->server, NULL); /* empty */
	rf_until(f, is_known(b));
	assert_false(has(b, "demo", "", ""));
	change(f, "put", "consumer:demo");
	rf_until(f, has(b, "demo", "", ""));
	blocked_free(b);
}

static void without_redis_nobody_is_blocked(void **state)
{
	struct redis_fixture *f = *state;
	struct blocked *b = begin(f);
	char names[256];

	change(f, "put", "consumer:demo");
	blocked_configure(b, STR("t"), true);
	rf_until(f, has(b, "demo", "", ""));
	blocked_configure(b, STR("t"), false);
	assert_int_equal(version(b, names), 0);
	assert_string_equal(names, "");
	blocked_free(b);
}

static void the_list_is_bounded(void **state)
{
	struct redis_fixture *f = *state;
	struct blocked *b = begin(f);
	char name[32];
	struct changed c;

	blocked_configure(b, STR("t"), true);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "app:%d", i);
		assert_int_equal(change(f, "put", name).kind, LINK_TEXT);
	}
	c = change(f, "put", "app:1000");
	assert_int_equal(c.kind, LINK_ERROR);
	assert_non_null(strstr(c.error, "1000 callers are blocked already"));
	assert_int_equal(change(f, "put", "app:999").kind, LINK_TEXT);
	rf_until(f, has(b, "", "999", ""));
	assert_true(has(b, "", "0", ""));
	change(f, "del", "app:0");
	assert_int_equal(change(f, "put", "app:1000").kind, LINK_TEXT);
	rf_until(f, has(b, "", "1000", ""));
	blocked_free(b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rf_setup, rf_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_put_is_known),
		TEST(each_change_is_a_version_of_its_own),
		TEST(what_was_read_stays_while_redis_is_away),
		TEST(without_redis_nobody_is_blocked),
		TEST(the_list_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
