/* keys/caller: a caller as one line of text, and back. */
#include "test.h"

#include "keys/caller.h"

#define TID "11111111-0000-0000-0000-000000000000"

static struct str roles[] = {STR_INIT("Gateway.Use"), STR_INIT("Admin")};
static struct str groups[] = {STR_INIT("g1"), STR_INIT("g2"), STR_INIT("g3")};
static const struct identity full = {
	.kind = IDENTITY_BOTH,
	.key = STR_INIT("key of b"),
	.tid = STR_INIT(TID),
	.app = STR_INIT("app"),
	.object = STR_INIT("oid"),
	.mirid = STR_INIT("/subscriptions/s"),
	.scopes = STR_INIT("a b"),
	.roles = roles,
	.n_roles = 2,
	.groups = groups,
	.n_groups = 3,
};

static struct policy_tenant tenants[] = {{.id = STR_INIT("other")},
                                         {.id = STR_INIT(TID)}};
static struct policy_key keys[] = {
	{.name = STR_INIT("key of b"), .not_after = 1000}};
static struct policy policy;

static struct arena arena;
static char mem[4096];
static struct buf out;

static int setup(void **state)
{
	(void)state;
	arena_init(&arena, mem, sizeof(mem));
	buf_init(&out, 8192);
	policy.tenants = tenants;
	policy.n_tenants = 2;
	policy.keys = keys;
	policy.n_keys = 1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	buf_done(&out);
	return 0;
}

static struct str text(const struct identity *who)
{
	buf_clear(&out);
	return caller_text(who, &out);
}

static struct identity *back(struct str s)
{
	return caller_of(s, &policy, 999, &arena);
}

static void test_comes_back_the_same(void **state)
{
	struct identity *i = back(text(&full));

	(void)state;
	assert_non_null(i);
	assert_int_equal(i->kind, IDENTITY_BOTH);
	assert_int_equal(i->tenant, 1);
	assert_true(str_eq(i->key, full.key));
	assert_true(str_eq(i->tid, full.tid));
	assert_true(str_eq(i->app, full.app));
	assert_true(str_eq(i->object, full.object));
	assert_true(str_eq(i->mirid, full.mirid));
	assert_true(str_eq(i->scopes, full.scopes));
	assert_int_equal(i->n_roles, 2);
	assert_true(str_eq(i->roles[1], roles[1]));
	assert_int_equal(i->n_groups, 3);
	assert_true(str_eq(i->groups[2], groups[2]));
	identity_unref(i);
}

static void test_gateway_key(void **state)
{
	struct identity key = {
		.kind = IDENTITY_KEY, .key = full.key, .tenant = -1};
	struct identity *i = back(text(&key));

	(void)state;
	assert_non_null(i);
	assert_int_equal(i->kind, IDENTITY_KEY);
	assert_int_equal(i->tenant, -1);
	assert_int_equal(i->n_roles + i->n_groups, 0);
	identity_unref(i);
}

static void test_no_longer_a_caller(void **state)
{
	struct str s = text(&full);

	(void)state;
	assert_null(caller_of(s, &policy, 1000, &arena)); /* key expired */
	policy.n_keys = 0;
	assert_null(back(s));
	policy.n_keys = 1;
	policy.n_tenants = 1;
	assert_null(back(s));
}

static void test_what_would_be_read_as_another_is_no_text(void **state)
{
	struct str odd[] = {STR_INIT("a b")}, bar[] = {STR_INIT("a|b")},
		   none[] = {STR_INIT("")};
	char longest[CALLER_TEXT_MAX];
	struct identity i = full;

	(void)state;
	i.app = STR("a|b");
	assert_int_equal(text(&i).len, 0);
	i = full;
	i.scopes = STR("a\nb");
	assert_int_equal(text(&i).len, 0);
	i = full;
	i.n_roles = 1;
	i.roles = odd;
	assert_int_equal(text(&i).len, 0);
	i.roles = bar;
	assert_int_equal(text(&i).len, 0);
	i.roles = none;
	assert_int_equal(text(&i).len, 0);
	i = full;
	memset(longest, 'a', sizeof(longest));
	i.mirid = str_of(longest, sizeof(longest));
	assert_int_equal(text(&i).len, 0);
	assert_null(back(STR_NONE));
	assert_null(back(STR("||||||||")));
	assert_null(back(STR("key of b|||||||")));
	assert_null(back(STR("key of b|||||||||")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_comes_back_the_same, setup,
	                                        teardown),
		cmocka_unit_test_setup_teardown(test_gateway_key, setup,
	                                        teardown),
		cmocka_unit_test_setup_teardown(test_no_longer_a_caller, setup,
	                                        teardown),
		cmocka_unit_test_setup_teardown(
			test_what_would_be_read_as_another_is_no_text, setup,
			teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
