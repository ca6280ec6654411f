/* What was allowed, until its end is known: shared by all workers. */
#include "test.h"

#include "store/store.h"
#include "store/open_reservations.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct open_reservation somebody = {
	.account = STR_INIT("team"),
	.consumer = STR_INIT("bot"),
	.model = STR_INIT("gpt-4o"),
	.nonce = STR_INIT("n"),
	.worker = 3,
};

static int setup(void **state)
{
	*state = open_reservations_new();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	open_reservations_free(*state);
	return 0;
}

static bool put(struct open_reservations *g, const char *id, uint64_t now_us)
{
	return open_reservations_add(g, str_c(id), &somebody, now_us);
}

static void it_is_there_until_its_end(void **state)
{
	struct open_reservations *g = *state;
	struct open_reservation_copy f;

	assert_false(open_reservations_remove(g, STR("1"), &f));
	assert_true(put(g, "1", 10));
	assert_true(put(g, "2", 10));
	assert_int_equal(open_reservations_count(g), 2);
	assert_true(open_reservations_find(g, STR("1"), &f));
	assert_true(open_reservations_remove(g, STR("1"), &f));
	assert_true(str_eq(f.to.account, STR("team")));
	assert_true(str_eq(f.to.consumer, STR("bot")));
	assert_true(str_eq(f.to.model, STR("gpt-4o")));
	assert_int_equal(f.to.worker, 3);
	assert_false(open_reservations_remove(g, STR("1"), &f));
	assert_int_equal(open_reservations_count(g), 1);
}

static void abandoned_after_the_decision(void **state)
{
	struct open_reservations *g = *state;
	struct open_reservation_copy f;

	put(g, "1", 10);
	assert_true(open_reservations_abandon(g, STR("1"), STR("n"), &f, 20));
	assert_true(str_eq(f.to.account, STR("team")));
	assert_int_equal(open_reservations_count(g), 0);
	/* the same record again gives nothing back */
	assert_false(open_reservations_abandon(g, STR("1"), STR("n"), &f, 30));
	assert_false(open_reservations_abandon(g, STR("1"), STR("n"), &f, 30));
}

static void abandoned_with_another_nonce(void **state)
{
	struct open_reservations *g = *state;
	struct open_reservation_copy f;

	/* after the decision: nothing is given back */
	put(g, "1", 10);
	assert_false(open_reservations_abandon(g, STR("1"), STR("m"), &f, 20));
	assert_false(open_reservations_abandon(g, STR("1"), STR_NONE, &f, 20));
	assert_true(open_reservations_find(g, STR("1"), &f));
	/* before it: the decision is made all the same */
	assert_false(open_reservations_abandon(g, STR("2"), STR("m"), &f, 10));
	assert_true(put(g, "2", 20));
	assert_true(open_reservations_find(g, STR("2"), &f));
}

static void abandoned_before_the_decision(void **state)
{
	struct open_reservations *g = *state;
	struct open_reservation_copy f;

	assert_false(open_reservations_abandon(g, STR("1"), STR("n"), &f, 10));
	assert_int_equal(open_reservations_count(g), 0);
	assert_false(open_reservations_remove(g, STR("1"), NULL));
	assert_false(put(g, "1", 20));
	assert_int_equal(open_reservations_count(g), 0);
	assert_true(put(g, "1", 30)); /* told once */
}

static void the_same_id_is_one(void **state)
{
	struct open_reservations *g = *state;

	assert_true(put(g, "1", 10));
	assert_true(put(g, "1", 20));
	assert_int_equal(open_reservations_count(g), 1);
	assert_true(open_reservations_remove(g, STR("1"), NULL));
	assert_int_equal(open_reservations_count(g), 0);
}

static void what_does_not_fit_is_not_remembered(void **state)
{
	static const char long_name[OPEN_RESERVATION_TEXT_MAX + 1];
	static const struct open_reservation too_long = {
		.account = {long_name, sizeof(long_name)}, .worker = -1};
	struct open_reservations *g = *state;

	assert_true(open_reservations_add(g, STR("1"), &too_long, 10));
	assert_true(open_reservations_add(g, STR_NONE, &somebody, 10));
	assert_true(
		open_reservations_add(g, str_of(long_name, 65), &somebody, 10));
	assert_int_equal(open_reservations_count(g), 0);
	assert_false(open_reservations_remove(g, STR("1"), NULL));
}

/* Full: the oldest of its places goes, never the newest, and the count is that
 * of what is there. */
static void the_oldest_goes(void **state)
{
	struct open_reservations *g = *state;
	unsigned i, n = 4 * OPEN_RESERVATIONS_MAX, there = 0;
	char id[16];

	for (i = 0; i < n; i++) {
		snprintf(id, sizeof(id), "%u", i);
		assert_true(put(g, id, i));
		assert_true(open_reservations_find(g, str_c(id), NULL));
	}
	assert_true(open_reservations_count(g) <= OPEN_RESERVATIONS_MAX);
	assert_true(open_reservations_count(g) >
	            OPEN_RESERVATIONS_MAX * 9 / 10);
	for (i = n; i-- > 0;) {
		snprintf(id, sizeof(id), "%u", i);
		there += open_reservations_remove(g, str_c(id), NULL);
		/* the last thousand are there: half a place a set */
		assert_true(there == n - i || i < n - 1000);
	}
	assert_int_equal(open_reservations_count(g), 0);
}

/* As often as it takes to have looked at all of them. */
static size_t sweep_all(struct open_reservations *g, uint64_t now_us)
{
	size_t n = 0;
	int i;

	for (i = 0; i < 32; i++)
		n += open_reservations_sweep(g, now_us);
	return n;
}

static void what_nothing_settles_expires_once(void **state)
{
	const uint64_t life = STORE_RECORD_TTL_S * UINT64_C(1000000);
	struct open_reservations *g = *state;
	struct open_reservation_copy f;
	unsigned i;
	char id[16];

	for (i = 0; i < 1000; i++) {
		snprintf(id, sizeof(id), "%u", i);
		put(g, id, i < 400 ? 10 : 20);
	}
	open_reservations_abandon(g, STR("never"), STR("n"), &f, 10);
	assert_true(open_reservations_remove(g, STR("7"), NULL));
	assert_int_equal(sweep_all(g, 10 + life), 0);
	assert_int_equal(open_reservations_count(g), 999);
	assert_int_equal(sweep_all(g, 15 + life), 399);
	assert_int_equal(sweep_all(g, 15 + life), 0);
	assert_int_equal(open_reservations_count(g), 600);
	assert_false(open_reservations_find(g, STR("8"), NULL));
	assert_true(open_reservations_find(g, STR("500"), NULL));
	assert_true(put(g, "never", 30)); /* that mark is gone, too */
}

static void work(struct open_reservations *g, int begun)
{
	struct open_reservation_copy f;
	unsigned i;
	char id[16];

	for (i = 0;; i++) {
		snprintf(id, sizeof(id), "%u", i % 64);
		put(g, id, i);
		if (open_reservations_find(g, str_c(id), &f))
			assert_int_equal(f.to.worker, 3);
		open_reservations_abandon(g, str_c(id), STR("n"), &f, i);
		if (i == 64 && write(begun, "", 1) != 1)
			_exit(1);
	}
}

/* Wherever it is killed, the places it held can be used again. */
static void a_killed_worker_locks_nobody_out(void **state)
{
	struct open_reservations *g = *state;
	unsigned i, k;
	char id[16];
	int begun[2];

	assert_int_equal(pipe(begun), 0);
	for (i = 0; i < 200; i++) {
		pid_t pid = fork();

		if (pid == 0)
			work(g, begun[1]);
		assert_int_equal(read(begun[0], id, 1), 1);
		for (k = 0; k < 200; k++) {
			snprintf(id, sizeof(id), "p%u", k);
			put(g, id, k);
		}
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		for (k = 0; k < 64; k++) {
			snprintf(id, sizeof(id), "%u", k);
			open_reservations_remove(g, str_c(id), NULL);
			put(g, id, k); /* tells when it was abandoned */
			assert_true(put(g, id, k));
			assert_true(
				open_reservations_remove(g, str_c(id), NULL));
		}
	}
	close(begun[0]);
	close(begun[1]);
}

#define with_table(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_table(it_is_there_until_its_end),
		with_table(abandoned_after_the_decision),
		with_table(abandoned_with_another_nonce),
		with_table(abandoned_before_the_decision),
		with_table(the_same_id_is_one),
		with_table(what_does_not_fit_is_not_remembered),
		with_table(the_oldest_goes),
		with_table(what_nothing_settles_expires_once),
		with_table(a_killed_worker_locks_nobody_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
