/* store/redis with several endpoints: the one that can write is used. */
#include "test.h"

#include "redis_fixture.h"
#include "store/redis_link.h"
#include "store/tune.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Besides the server of the fixture, which is the first in the list. */
static struct redis_server second;

static int setup(void **state)
{
	struct redis_fixture *f;

	rf_setup(state);
	f = *state;
	second = (struct redis_server){.pid = 0};
	redis_server_init(&second);
	f->policy->redis.endpoints[1].host = str_c(second.socket);
	f->policy->redis.n_endpoints = 2;
	return 0;
}

static int teardown(void **state)
{
	rf_teardown(state);
	redis_server_done(&second);
	return 0;
}

static size_t endpoint(const struct redis_fixture *f)
{
	return (size_t)(redis_link_endpoint(store_redis_link(f->s)) -
	                f->policy->redis.endpoints);
}

static void replicate(const struct redis_server *replica,
                      const struct redis_server *primary)
{
	char command[64];

	snprintf(command, sizeof(command), "REPLICAOF 127.0.0.1 %d",
	         primary->port);
	rf_command_to(replica, command);
}

/* Redis itself does the waiting: until there is such a key. */
static void wait_for_key(const struct redis_server *at, const char *key)
{
	const struct timespec step = {.tv_nsec = 5000000};
	int tries = 4000;
	char command[128];

	snprintf(command, sizeof(command), "EXISTS %s", key);
	while (rf_command_to(at, command) == 0) {
		assert_true(--tries > 0);
		nanosleep(&step, NULL);
	}
}

static void settle_later(struct redis_fixture *f, const char *id,
                         struct redis_answer *a)
{
	*a = (struct redis_answer){0};
	store_redis_settle(f->s, STR("a"), str_c(id), &rf_nothing,
	                   rf_on_settled, a);
}

/* What was replicated counts, and what waits is settled there. */
static void the_primary_is_killed_and_its_replica_promoted(void **state)
{
	struct redis_fixture *f = *state;
	struct redis_answer a, s;

	redis_server_start_tcp(&f->server);
	redis_server_start(&second, NULL);
	replicate(&second, &f->server);
	rf_connect(f);
	assert_int_equal(endpoint(f), 0);
	rf_take(f, "1", 30, &a);
	rf_take(f, "2", 20, &a);
	wait_for_key(&second, "t:{a}:r:2");

	redis_server_kill(&f->server);
	rf_until(f, !store_redis_connected(f->s));
	settle_later(f, "1", &s);
	assert_int_equal(store_redis_pending(f->s), 1);
	/* tried, and not used as long as it is a replica */
	rf_until(f, endpoint(f) == 1);
	rf_until(f, endpoint(f) == 0);
	assert_int_equal(s.n, 0);

	rf_command_to(&second, "REPLICAOF NO ONE");
	rf_until(f, store_redis_connected(f->s));
	assert_int_equal(endpoint(f), 1);
	rf_until(f, s.n == 1);
	assert_int_equal(s.settled, STORE_OK);
	assert_int_equal(rf_remaining(f), 80);
	rf_take(f, "3", 80, &a);
	assert_int_equal(a.res.status, STORE_OK);
}

static void a_replica_in_front_is_skipped(void **state)
{
	struct redis_fixture *f = *state;
	struct redis_answer a;

	redis_server_start(&f->server, NULL);
	redis_server_start(&second, NULL);
	rf_command(f, "REPLICAOF 127.0.0.1 1");
	rf_connect(f);
	assert_int_equal(endpoint(f), 1);
	rf_take(f, "1", 10, &a);
	assert_int_equal(a.res.status, STORE_OK);
	assert_int_equal(rf_command_to(&second, "EXISTS t:{a}:r:1"), 1);
}

static void only_replicas_until_one_is_promoted(void **state)
{
	struct redis_fixture *f = *state;
	struct redis_answer a;
	const char *error;
	int rounds;

	redis_server_start(&f->server, NULL);
	redis_server_start(&second, NULL);
	rf_command(f, "REPLICAOF 127.0.0.1 1");
	rf_command_to(&second, "REPLICAOF 127.0.0.1 1");
	assert_true(store_redis_configure(f->s, f->policy, &error));
	for (rounds = 0; rounds < 2; rounds++) {
		rf_until(f, endpoint(f) == 1);
		rf_until(f, endpoint(f) == 0);
		assert_false(store_redis_connected(f->s));
	}
	rf_command_to(&second, "REPLICAOF NO ONE");
	rf_until(f, store_redis_connected(f->s));
	assert_int_equal(endpoint(f), 1);
	rf_take(f, "1", 10, &a);
	assert_int_equal(a.res.status, STORE_OK);
}

/* The two change places, and no connection breaks: the first write tells. */
static void a_demoted_primary_is_left_for_the_new_one(void **state)
{
	struct redis_fixture *f = *state;
	struct redis_answer a, s;

	redis_server_start(&f->server, NULL);
	redis_server_start_tcp(&second);
	rf_connect(f);
	rf_take(f, "1", 10, &a);
	assert_int_equal(endpoint(f), 0);
	rf_command(f, "REPLICAOF 127.0.0.1 1");
	assert_true(store_redis_connected(f->s));
	assert_true(rf_ask(f, "2", 10, &a));
	rf_until(f, a.n == 1);
	assert_int_equal(a.res.status, STORE_FAILED);
	rf_until(f, store_redis_connected(f->s));
	assert_int_equal(endpoint(f), 1);

	/* and back; the settle that is told so is not lost */
	rf_take(f, "3", 10, &a);
	assert_int_equal(a.res.status, STORE_OK);
	replicate(&f->server, &second);
	wait_for_key(&f->server, "t:{a}:r:3");
	rf_command(f, "REPLICAOF NO ONE");
	rf_command_to(&second, "REPLICAOF 127.0.0.1 1");
	settle_later(f, "3", &s);
	rf_until(f, s.n == 1);
	assert_int_equal(s.settled, STORE_OK);
	assert_int_equal(endpoint(f), 0);
	assert_int_equal(rf_remaining(f), 100);
}

/* Others may still be connected to it, and count there. */
static void a_connection_that_broke_is_made_again_to_the_same(void **state)
{
	struct redis_fixture *f = *state;

	redis_server_start(&f->server, NULL);
	redis_server_start(&second, NULL);
	rf_connect(f);
	assert_int_equal(endpoint(f), 0);
	rf_command(f, "CLIENT KILL TYPE normal");
	rf_until(f, !store_redis_connected(f->s));
	rf_until(f, store_redis_connected(f->s));
	assert_int_equal(endpoint(f), 0);
}

/* Each endpoint is verified by its own name, and one that fails is left. */
static void with_tls_each_endpoint_has_its_name(void **state)
{
	struct redis_fixture *f = *state;
	struct policy_redis *to = &f->policy->redis;
	struct redis_answer a;

	if (!rf_start_tls(f, 1, "localhost"))
		return;
	to->endpoints[0] = to->endpoints[1];
	to->endpoints[0].host = STR("127.0.0.1");
	rf_connect(f);
	assert_int_equal(endpoint(f), 1);
	rf_take(f, "1", 10, &a);
	assert_int_equal(a.res.status, STORE_OK);
}

static void who_may_not_ask_for_the_role_is_served(void **state)
{
	struct redis_fixture *f = *state;
	struct redis_answer a;

	redis_server_start(&f->server, NULL);
	rf_command(f, "ACL SETUSER limited on >pass ~* +@all -role");
	f->policy->redis.username = STR("limited");
	f->policy->redis.password = STR("pass");
	rf_connect(f);
	assert_int_equal(endpoint(f), 0);
	rf_take(f, "1", 10, &a);
	assert_int_equal(a.res.status, STORE_OK);
}

static void a_reload_that_keeps_the_list_keeps_the_connection(void **state)
{
	struct redis_fixture *f = *state;
	struct policy *next = rf_policy(&f->server);
	const char *error;

	redis_server_start(&second, NULL);
	rf_connect(f);
	assert_int_equal(endpoint(f), 1);
	next->redis = f->policy->redis;
	assert_true(store_redis_configure(f->s, next, &error));
	assert_true(store_redis_connected(f->s));
	next->redis.n_endpoints = 1; /* in place: what the store knows is it */
	f->policy->redis.n_endpoints = 2;
	assert_true(store_redis_configure(f->s, f->policy, &error));
	assert_false(store_redis_connected(f->s));
	store_redis_free(f->s);
	f->s = NULL;
	free(next);
}

static void a_command_follows_the_list(void **state)
{
	struct redis_fixture *f = *state;
	const struct str list[] = {STR_INIT("list")};
	struct buf out, error;
	struct tune *t;

	buf_init(&out, 1 << 16);
	buf_init(&error, 1 << 16);
	redis_server_start(&f->server, NULL);
	rf_command(f, "REPLICAOF 127.0.0.1 1");
	assert_null(tune_open(&f->policy->redis, NULL, &error));
	buf_add(&error, "", 1);
	assert_non_null(strstr(error.p, f->server.socket));
	assert_non_null(strstr(error.p, "replica"));
	assert_non_null(strstr(error.p, second.socket));

	buf_clear(&error);
	redis_server_start(&second, NULL);
	t = tune_open(&f->policy->redis, NULL, &error);
	assert_non_null(t);
	assert_int_equal(error.len, 0);
	assert_true(tune_ask(t, STR("a"), list, 1, &out, &error));
	tune_close(t);
	buf_done(&out);
	buf_done(&error);
}

#define with_two(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_two(the_primary_is_killed_and_its_replica_promoted),
		with_two(a_replica_in_front_is_skipped),
		with_two(only_replicas_until_one_is_promoted),
		with_two(a_demoted_primary_is_left_for_the_new_one),
		with_two(a_connection_that_broke_is_made_again_to_the_same),
		with_two(with_tls_each_endpoint_has_its_name),
		with_two(who_may_not_ask_for_the_role_is_served),
		with_two(a_reload_that_keeps_the_list_keeps_the_connection),
		with_two(a_command_follows_the_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
