/* store/lease: when a process may admit without asking. */
#include "test.h"

#include "store/lease.h"

#include <stdio.h>
#include <stdlib.h>

enum { ASKED_US = 5000000 };

struct fixture {
	struct lease *l;
	uint64_t now_us;
	struct clock clock;
};

static uint64_t fake_mono(void *ctx)
{
	return ((struct fixture *)ctx)->now_us;
}

static int64_t fake_real(void *ctx)
{
	(void)ctx;
	return 0;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->now_us = ASKED_US;
	f->clock = (struct clock){fake_mono, fake_real, f};
	f->l = lease_new(&f->clock);
	assert_non_null(f->l);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	lease_free(f->l);
	free(f);
	return 0;
}

static const struct store_caller caller = {STR_INIT("c"), STR_INIT("app"),
                                           STR_INIT("p/agent")};

/* 1000 a day, a tenth of them leased. */
static struct store_charge day(uint64_t amount)
{
	return (struct store_charge){STR("day"), UNIT_TOKENS, WINDOW_DAY,
	                             1000,       amount,      0.1};
}

static struct store_reservation of(const struct store_charge *c, size_t n)
{
	return (struct store_reservation){STR("a"), STR("1"), c, n, &caller};
}

static struct store_result said(enum store_status status, uint64_t limit,
                                int64_t remaining)
{
	return (struct store_result){.status = status,
	                             .limit = {limit, limit},
	                             .remaining = {remaining, remaining},
	                             .reset_ms = {9000, 9000}};
}

static void learn(struct fixture *f, enum store_status status, uint64_t limit,
                  int64_t remaining)
{
	struct store_charge c = day(1);
	struct store_reservation r = of(&c, 1);
	struct store_result res = said(status, limit, remaining);

	lease_learn(f->l, &r, &res, f->now_us);
}

static bool take(struct fixture *f, uint64_t amount, struct store_result *res)
{
	struct store_charge c = day(amount);
	struct store_reservation r = of(&c, 1);

	return lease_take(f->l, &r, res);
}

static void confirm(struct fixture *f, uint64_t amount)
{
	struct store_charge c = day(amount);
	struct store_reservation r = of(&c, 1);

	lease_confirm(f->l, &r);
}

static void what_is_not_known_is_asked(void **state)
{
	struct fixture *f = *state;
	struct store_result res;

	assert_false(take(f, 1, &res));
	learn(f, STORE_OK, 1000, 500);
	assert_true(take(f, 1, &res));
	assert_int_equal(res.status, STORE_OK);
	assert_int_equal(res.limit[0], 1000);
	assert_int_equal(res.remaining[0], 499);
	assert_int_equal(res.reset_ms[0], 9000);
}

static void what_is_not_confirmed_counts_against_share_and_rest(void **state)
{
	struct fixture *f = *state;
	struct store_result res;

	learn(f, STORE_OK, 1000, 500);
	assert_true(take(f, 60, &res));
	assert_true(take(f, 40, &res));
	assert_int_equal(res.remaining[0], 400);
	assert_false(take(f, 1, &res)); /* 100 of 1000: the share */
	confirm(f, 60);
	learn(f, STORE_OK, 1000, 70); /* others were busy */
	assert_false(take(f, 31, &res));
	assert_true(take(f, 30, &res));
	assert_int_equal(res.remaining[0], 0);
	confirm(f, 40);
	confirm(f, 30);
	learn(f, STORE_OK, 1000, -5);
	assert_false(take(f, 0, &res));
}

static void no_more_than_the_limit_that_holds(void **state)
{
	struct fixture *f = *state;
	struct store_result res;

	/* an operator has set 20 in place of 1000: the share is 2 */
	learn(f, STORE_REFUSED, 20, 20);
	assert_false(take(f, 3, &res));
	assert_true(take(f, 2, &res));
	assert_int_equal(res.limit[0], 20);
}

static void knowledge_is_for_a_second(void **state)
{
	struct fixture *f = *state;
	struct store_result res;

	learn(f, STORE_OK, 1000, 500);
	f->now_us += LEASE_FRESH_MS * 1000;
	assert_true(take(f, 1, &res));
	assert_int_equal(res.reset_ms[0], 8000);
	f->now_us++;
	assert_false(take(f, 1, &res));
	learn(f, STORE_OK, 1000, 500);
	assert_true(take(f, 1, &res));
}

static void a_blocked_caller_is_asked_about(void **state)
{
	struct fixture *f = *state;
	static const struct store_caller other = {
		STR_INIT("c"), STR_INIT("app"), STR_INIT("p/agent2")};
	struct store_charge c = day(1);
	struct store_reservation r = of(&c, 1);
	struct store_result res;

	learn(f, STORE_OK, 1000, 500);
	r.caller = &other;
	assert_false(lease_take(f->l, &r, &res)); /* nobody has said so */
	r.caller = NULL;
	assert_false(lease_take(f->l, &r, &res));
	learn(f, STORE_BLOCKED, 1000, 500);
	assert_false(take(f, 1, &res));
	learn(f, STORE_REFUSED, 1000, 500);
	assert_true(take(f, 1, &res));
}

/* One exact limit, and the request is Redis's to decide. */
static void all_limits_or_none(void **state)
{
	struct fixture *f = *state;
	struct store_charge c[2] = {
		day(10),
		{STR("minute"), UNIT_TOKENS, WINDOW_MINUTE, 1000, 10, 0}};
	struct store_reservation r = of(c, 2);
	struct store_result ok = said(STORE_OK, 1000, 1000), res;

	lease_learn(f->l, &r, &ok, f->now_us);
	assert_false(lease_take(f->l, &r, &res));
	c[1].share = 0.005;
	lease_learn(f->l, &r, &ok, f->now_us);
	assert_false(lease_take(f->l, &r, &res)); /* 5 of the second */
	c[1].share = 0.5;
	assert_true(lease_take(f->l, &r, &res));
	assert_int_equal(res.reset_ms[0], 9000);
	assert_int_equal(res.reset_ms[1], 600); /* a bucket fills steadily */
	/* what was refused before took nothing from the first */
	assert_true(take(f, 90, &res));
	r.n_charges = 0;
	assert_false(lease_take(f->l, &r, &res));
}

static void another_limit_of_the_same_name_is_not_known(void **state)
{
	struct fixture *f = *state;
	struct store_charge c = day(1);
	struct store_reservation r = of(&c, 1);
	struct store_result res;

	learn(f, STORE_OK, 1000, 500);
	c.limit = 999;
	assert_false(lease_take(f->l, &r, &res));
	c = day(1);
	c.window = WINDOW_HOUR;
	assert_false(lease_take(f->l, &r, &res));
	c = day(1);
	r.account = STR("b");
	assert_false(lease_take(f->l, &r, &res));
}

static void what_is_unconfirmed_is_never_forgotten(void **state)
{
	struct fixture *f = *state;
	struct store_result res;

	learn(f, STORE_OK, 1000, 500);
	assert_true(take(f, 70, &res));
	lease_forget(f->l);
	assert_int_equal(lease_known(f->l), 1); /* the caller is gone */
	assert_false(take(f, 1, &res));
	learn(f, STORE_OK, 1000, 500);
	assert_false(take(f, 31, &res));
	assert_true(take(f, 30, &res));
	confirm(f, 70);
	confirm(f, 30);
	lease_forget(f->l);
	assert_int_equal(lease_known(f->l), 0);
}

static void attack_more_agents_than_there_is_room_for(void **state)
{
	struct fixture *f = *state;
	struct store_caller who = caller;
	struct store_charge c = day(1);
	struct store_reservation r = of(&c, 1);
	struct store_result ok = said(STORE_OK, 1000, 500), res;
	char agent[24], field[24];
	int i;

	learn(f, STORE_OK, 1000, 500);
	assert_true(take(f, 70, &res)); /* the oldest, and held */
	r.caller = &who;
	for (i = 0; i < LEASE_KNOWN_MAX; i++) {
		snprintf(agent, sizeof(agent), "p/%d", i);
		snprintf(field, sizeof(field), "day:%d", i);
		who.agent = str_c(agent);
		c.field = str_c(field);
		lease_learn(f->l, &r, &ok, f->now_us);
		assert_true(lease_take(f->l, &r, &res));
		lease_confirm(f->l, &r);
	}
	assert_int_equal(lease_known(f->l), LEASE_KNOWN_MAX);
	learn(f, STORE_OK, 1000, 500);
	assert_false(take(f, 31, &res));
	assert_true(take(f, 30, &res));
}

/* Names that would run together without their lengths. */
static void attack_a_caller_named_like_two(void **state)
{
	struct fixture *f = *state;
	static const struct store_caller pairs[][2] = {
		{{STR_INIT("ab"), STR_INIT("c"), STR_INIT("d")},
	         {STR_INIT("a"), STR_INIT("bc"), STR_INIT("d")}},
		{{STR_INIT("a"), STR_INIT("b"), STR_INIT("cd")},
	         {STR_INIT("a"), STR_INIT("bc"), STR_INIT("d")}},
	};
	struct store_charge c = day(1);
	struct store_reservation r = of(&c, 1);
	struct store_result ok = said(STORE_OK, 1000, 500), res;
	size_t i;

	for (i = 0; i < 2; i++) {
		lease_forget(f->l);
		r.caller = &pairs[i][0];
		lease_learn(f->l, &r, &ok, f->now_us);
		r.caller = &pairs[i][1];
		assert_false(lease_take(f->l, &r, &res));
	}
}

#define with_lease(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_lease(what_is_not_known_is_asked),
		with_lease(what_is_not_confirmed_counts_against_share_and_rest),
		with_lease(no_more_than_the_limit_that_holds),
		with_lease(knowledge_is_for_a_second),
		with_lease(a_blocked_caller_is_asked_about),
		with_lease(all_limits_or_none),
		with_lease(another_limit_of_the_same_name_is_not_known),
		with_lease(what_is_unconfirmed_is_never_forgotten),
		with_lease(attack_more_agents_than_there_is_room_for),
		with_lease(attack_a_caller_named_like_two),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
