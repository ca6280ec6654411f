/* request/table: references, and requests that wait. */
#include "test.h"

#include "request/table.h"

#include <string.h>

static uint64_t now_us;
static struct policy the_policy;
static struct loop *loop;
static struct request *ran, *expired;
static unsigned n_ran, n_expired;

static uint64_t fake_mono(void *ctx)
{
	(void)ctx;
	return now_us;
}

static int64_t fake_real(void *ctx)
{
	(void)ctx;
	return 0;
}

static const struct clock fake_clock = {fake_mono, fake_real, NULL};

static void on_run(struct request *r)
{
	ran = r;
	n_ran++;
}

static void on_expire(struct request *r)
{
	expired = r;
	n_expired++;
	requests_release(r);
}

static struct requests *table_of(size_t max)
{
	const struct requests_options o = {
		.loop = loop,
		.clock = &fake_clock,
		.max = max,
		.run = on_run,
		.expire = on_expire,
	};

	return requests_new(&o);
}

static struct request *take(struct requests *t)
{
	struct request *r = requests_take(t);

	assert_non_null(r);
	r->policy = policy_ref(&the_policy);
	return r;
}

static int setup(void **state)
{
	(void)state;
	now_us = 1000000;
	n_ran = n_expired = 0;
	ran = expired = NULL;
	loop = loop_new();
	the_policy = (struct policy){.refs = 1, .decision_timeout_ms = 250};
	return loop ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(the_policy.refs, 1);
	loop_free(loop);
	return 0;
}

static void refs_end_with_their_request(void **state)
{
	struct requests *t = table_of(2);
	struct request *a = take(t), *b = take(t);
	uint64_t ref = a->ref;

	(void)state;
	assert_null(requests_take(t));
	assert_ptr_equal(requests_find(t, ref), a);
	assert_ptr_equal(requests_oldest(t), a);
	requests_release(a);
	assert_null(requests_find(t, ref));
	assert_ptr_equal(requests_oldest(t), b);
	a = take(t);
	assert_int_not_equal(a->ref, ref);
	assert_null(requests_find(t, ref));
	assert_ptr_equal(requests_oldest(t), b);
	requests_release(b);
	assert_ptr_equal(requests_oldest(t), a);
	requests_release(a);
	assert_int_equal(requests_count(t), 0);
	assert_null(requests_find(t, 0));
	assert_null(requests_find(t, UINT64_MAX));
	requests_free(t);
}

static void only_a_parked_request_is_woken(void **state)
{
	struct requests *t = table_of(2);
	struct request *r = take(t);
	uint64_t ref = r->ref;

	(void)state;
	requests_wake(t, ref);
	assert_int_equal(n_ran, 0);
	requests_park(r, "keys");
	assert_true(r->parked);
	assert_string_equal(r->waits_for, "keys");
	now_us += 40;
	requests_wake(t, ref);
	assert_int_equal(n_ran, 1);
	assert_ptr_equal(ran, r);
	assert_true(r->woken);
	assert_false(r->parked);
	assert_int_equal(r->step_us[0], 40);
	requests_wake(t, ref);
	assert_int_equal(n_ran, 1);
	requests_park(r, "keys");
	requests_release(r);
	requests_wake(t, ref);
	assert_int_equal(n_ran, 1);
	requests_free(t);
}

static void a_waiter_wakes_its_own_request(void **state)
{
	struct requests *t = table_of(2);
	struct request *a = take(t), *b = take(t);
	struct waiter *waiters = NULL;

	(void)state;
	waiters_add(&waiters, requests_waiter(a));
	waiters_add(&waiters, requests_waiter(b));
	requests_park(a, "keys");
	requests_park(b, "keys");
	/* a request that has ended leaves the list */
	requests_release(a);
	waiters_wake(&waiters);
	assert_int_equal(n_ran, 1);
	assert_ptr_equal(ran, b);
	requests_free(t);
}

static void what_waits_too_long_expires_oldest_first(void **state)
{
	struct requests *t = table_of(3);
	struct request *a = take(t), *b;

	(void)state;
	requests_park(a, "keys");
	now_us += 100000;
	b = take(t);
	requests_park(b, "keys");
	now_us += 150000; /* a is due, b is not */
	while (n_expired == 0)
		ev_run(loop_ev(loop), EVRUN_ONCE);
	assert_ptr_equal(expired, a);
	assert_int_equal(requests_count(t), 1);
	now_us += 100000;
	while (n_expired == 1)
		ev_run(loop_ev(loop), EVRUN_ONCE);
	assert_ptr_equal(expired, b);
	requests_free(t);
}

/* Under the sanitizers this is also a test of what they hold. */
static void freeing_the_table_ends_all(void **state)
{
	struct requests *t = table_of(2);
	struct request *a = take(t);
	struct waiter *waiters = NULL;

	(void)state;
	take(t);
	waiters_add(&waiters, requests_waiter(a));
	requests_park(a, "keys");
	requests_free(t);
	assert_null(waiters);
}

#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(refs_end_with_their_request),
		test(only_a_parked_request_is_woken),
		test(a_waiter_wakes_its_own_request),
		test(what_waits_too_long_expires_oldest_first),
		test(freeing_the_table_ends_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
