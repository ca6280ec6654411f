/* store/redis when something is wrong: with the server, or with who listens. */
#include "test.h"

#include "redis_fixture.h"
#include "scripts_door.h"
#include "store/redis_tls.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void the_scripts_are_loaded_again(void **state)
{
	struct redis_fixture *f = *state;
	struct redis_answer a[3];

	redis_server_start(&f->server, NULL);
	rf_connect(f);
	rf_take(f, "1", 10, &a[0]);
	rf_command(f, "SCRIPT FLUSH");
	assert_true(rf_ask(f, "2", 10, &a[0]));
	assert_true(rf_ask(f, "3", 10, &a[1]));
	a[2] = (struct redis_answer){0};
	store_redis_settle(f->s, STR("a"), STR("1"), &rf_nothing, rf_on_settled,
	                   &a[2]);
	rf_until(f, a[0].n && a[1].n && a[2].n);
	assert_int_equal(a[0].res.status, STORE_OK);
	assert_int_equal(a[1].res.status, STORE_OK);
	assert_int_equal(a[2].settled, STORE_OK);
	assert_int_equal(rf_remaining(f), 80);
}

static void the_server_is_killed_and_comes_back(void **state)
{
	struct redis_fixture *f = *state;
	struct redis_answer a;

	redis_server_start(&f->server, NULL);
	rf_connect(f);
	rf_take(f, "1", 10, &a);
	assert_true(rf_ask(f, "2", 10, &a));
	redis_server_kill(&f->server);
	rf_until(f, a.n == 1);
	rf_until(f, !store_redis_connected(f->s));
	assert_false(rf_ask(f, "3", 10, &a));
	redis_server_start(&f->server, NULL);
	rf_until(f, store_redis_connected(f->s));
	rf_take(f, "4", 10, &a);
	assert_int_equal(a.res.status, STORE_OK);
}

/* Stopped, not dead: the socket stays open and takes what is written. */
/* It waited for something else before, so its own deadline passes while Redis
 * still has time. */
static void the_request_ends_before_the_answer(void **state)
{
	struct redis_fixture *f = *state;
	struct redis_answer a;

	redis_server_start(&f->server, NULL);
	rf_connect(f);
	assert_true(rf_ask(f, "gone", 60, &a));
	a.gone = true;
	rf_until(f, a.n == 1);
	assert_int_equal(a.res.status, STORE_OK);
	rf_until(f, store_redis_pending(f->s) == 0);
	assert_int_equal(rf_remaining(f), 100);
	/* another call with the id of an open reservation takes nothing, so
	 * there is nothing of its own to give back */
	rf_take(f, "kept", 60, &a);
	assert_true(rf_ask(f, "kept", 60, &a));
	a.gone = true;
	rf_until(f, a.n == 1);
	rf_until(f, store_redis_pending(f->s) == 0);
	assert_int_equal(rf_remaining(f), 40);
}

static void the_server_hangs_past_the_deadline(void **state)
{
	struct redis_fixture *f = *state;
	struct redis_answer a, b;

	f->policy->redis.deadline_ms = 500;
	redis_server_start(&f->server, NULL);
	rf_connect(f);
	redis_server_signal(&f->server, SIGSTOP);
	assert_true(rf_ask(f, "1", 60, &a));
	rf_until(f, a.n == 1);
	assert_int_equal(a.res.status, STORE_FAILED);
	assert_non_null(a.res.error);
	assert_true(store_redis_connected(f->s));

	/* it wakes: what the late answer had taken is given back */
	redis_server_signal(&f->server, SIGCONT);
	rf_until(f, store_redis_pending(f->s) == 1);
	rf_until(f, store_redis_pending(f->s) == 0);
	assert_int_equal(a.n, 1);
	assert_int_equal(rf_remaining(f), 100);
	assert_true(store_redis_connected(f->s));
	rf_take(f, "2", 100, &b);
	assert_int_equal(b.res.status, STORE_OK);
}

/* It hangs for so long that the connection is given up. Whether the server
 * reads the old connection or the new one first, nothing stays charged. */
static void the_server_hangs_until_it_is_given_up(void **state)
{
	struct redis_fixture *f = *state;
	struct redis_answer a[20];
	char id[16];
	int i;

	f->policy->redis.deadline_ms = 20;
	redis_server_start(&f->server, NULL);
	rf_connect(f);
	redis_server_signal(&f->server, SIGSTOP);
	for (i = 0; i < 20; i++) {
		snprintf(id, sizeof(id), "%d", i);
		assert_true(rf_ask(f, id, 5, &a[i]));
	}
	rf_until(f, !store_redis_connected(f->s));
	for (i = 0; i < 20; i++) {
		assert_int_equal(a[i].n, 1);
		assert_int_equal(a[i].res.status, STORE_FAILED);
	}
	assert_int_equal(store_redis_pending(f->s), 20);
	f->policy->redis.deadline_ms = 2000;
	redis_server_signal(&f->server, SIGCONT);
	rf_until(f, store_redis_connected(f->s));
	rf_until(f, store_redis_pending(f->s) == 0);
	assert_int_equal(rf_remaining(f), 100);
}

/* The cancellation may even be read before the reserve it cancels. */
static void a_cancelled_reserve_takes_nothing(void **state)
{
	struct redis_fixture *f = *state;
	struct scripts_door d;
	struct redis_answer a;

	redis_server_start(&f->server, NULL);
	rf_connect(f);
	scripts_door_init(&d, f->server.socket);
	scripts_set_time(&d, SCENARIO_START_MS);
	assert_int_equal(scripts_cancel(&d, STR("a"), STR("1"), 60000),
	                 STORE_UNKNOWN);
	scripts_door_done(&d);

	assert_in_range(rf_command(f, "PTTL t:{a}:r:1"), 1, 60000);
	rf_take(f, "1", 10, &a);
	assert_int_equal(a.res.status, STORE_FAILED);
	assert_int_equal(rf_remaining(f), 100);
	assert_int_equal(rf_settle(f, STR("a"), STR("1"), &rf_nothing),
	                 STORE_UNKNOWN);
}

/* Settles of an outage reach a server that has kept its data. */
static void settles_wait_for_the_connection(void **state)
{
	struct redis_fixture *f = *state;
	struct policy *elsewhere = rf_policy(&f->server);
	const char *error;
	struct redis_answer a[100];
	char id[16];
	int i;

	redis_server_start(&f->server, NULL);
	rf_connect(f);
	for (i = 0; i < 100; i++) {
		snprintf(id, sizeof(id), "%d", i);
		rf_take(f, id, 1, &a[0]);
		assert_int_equal(a[0].res.status, STORE_OK);
	}
	assert_int_equal(rf_remaining(f), 0);

	elsewhere->redis.endpoints[0].host = STR("/nonexistent/redis.sock");
	assert_true(store_redis_configure(f->s, elsewhere, &error));
	assert_false(store_redis_connected(f->s));
	for (i = 0; i < 100; i++) {
		a[i] = (struct redis_answer){0};
		snprintf(id, sizeof(id), "%d", i);
		store_redis_settle(f->s, STR("a"), str_c(id), &rf_nothing,
		                   rf_on_settled, &a[i]);
	}
	assert_int_equal(store_redis_pending(f->s), 100);
	rf_connect(f);
	rf_until(f, store_redis_pending(f->s) == 0);
	for (i = 0; i < 100; i++) {
		assert_int_equal(a[i].n, 1);
		assert_int_equal(a[i].settled, STORE_OK);
	}
	assert_int_equal(rf_remaining(f), 100);
	free(elsewhere);
}

/* The answer to a settle is lost with its connection: it is sent again, counts
 * once, and is told so; another one of the same id is not. */
static void a_settle_without_answer_is_sent_again(void **state)
{
	struct redis_fixture *f = *state;
	struct redis_answer a, s = {0};

	f->policy->redis.deadline_ms = 20;
	redis_server_start(&f->server, NULL);
	rf_connect(f);
	do /* 20 ms may be too short for an honest answer */
		rf_take(f, "1", 60, &a);
	while (a.res.status == STORE_FAILED);
	redis_server_signal(&f->server, SIGSTOP);
	store_redis_settle(f->s, STR("a"), STR("1"),
	                   &(struct store_usage){.tokens = 20}, rf_on_settled,
	                   &s);
	rf_until(f, !store_redis_connected(f->s));
	assert_int_equal(store_redis_pending(f->s), 1);
	assert_int_equal(s.n, 0);
	f->policy->redis.deadline_ms = 2000;
	redis_server_signal(&f->server, SIGCONT);
	rf_until(f, store_redis_pending(f->s) == 0);
	assert_int_equal(s.n, 1);
	assert_int_equal(s.settled, STORE_OK);
	assert_int_equal(rf_remaining(f), 80);
	assert_int_equal(rf_settle(f, STR("a"), STR("1"), &rf_nothing),
	                 STORE_UNKNOWN);
	assert_int_equal(rf_remaining(f), 80);
}

static void the_queue_of_settles_is_bounded(void **state)
{
	struct redis_fixture *f = *state;
	struct redis_answer a = {0};
	char id[16];
	const char *error;
	int i;

	assert_true(store_redis_configure(f->s, f->policy, &error));
	for (i = 0; i < STORE_PENDING_MAX; i++) {
		snprintf(id, sizeof(id), "%d", i);
		store_redis_settle(f->s, STR("a"), str_c(id), &rf_nothing,
		                   rf_on_settled, &a);
	}
	assert_int_equal(a.n, 0);
	store_redis_settle(f->s, STR("a"), STR("x"), &rf_nothing, rf_on_settled,
	                   &a);
	assert_int_equal(a.n, 1);
	assert_int_equal(a.settled, STORE_FAILED);
	redis_server_start(&f->server, NULL);
	rf_until(f, store_redis_pending(f->s) == 0);
	assert_int_equal(a.n, STORE_PENDING_MAX + 1);
	assert_int_equal(a.settled, STORE_UNKNOWN);
}

static void no_server_at_all(void **state)
{
	struct redis_fixture *f = *state;
	struct redis_answer a;
	const char *error;

	assert_true(store_redis_configure(f->s, f->policy, &error));
	assert_false(rf_ask(f, "1", 1, &a));
	redis_server_start(&f->server, NULL);
	rf_until(f, store_redis_connected(f->s));
	rf_take(f, "1", 1, &a);
	assert_int_equal(a.res.status, STORE_OK);
}

static void a_wrong_password_does_not_connect(void **state)
{
	struct redis_fixture *f = *state;
	struct policy *good = rf_policy(&f->server);
	struct redis_answer a;
	const char *error;
	int turns;

	redis_server_start(&f->server, "right");
	f->policy->redis.password = STR("wrong");
	assert_true(store_redis_configure(f->s, f->policy, &error));
	for (turns = 0; turns < 8; turns++) {
		ev_run(loop_ev(f->loop), EVRUN_ONCE);
		assert_false(store_redis_connected(f->s));
	}
	assert_false(rf_ask(f, "1", 1, &a));
	good->redis = f->policy->redis;
	good->redis.password = STR("right");
	good->redis.username = STR("default");
	good->redis.db = 3;
	assert_true(store_redis_configure(f->s, good, &error));
	rf_until(f, store_redis_connected(f->s));
	rf_take(f, "1", 1, &a);
	assert_int_equal(a.res.status, STORE_OK);
	store_redis_free(f->s);
	f->s = NULL;
	free(good);
}

/* Something else listens there. */
struct impostor {
	struct loop_io accept;
	struct loop_io io;
	const char *says;
	int fd, client, n_clients;
};

static void on_impostor_read(void *data, int fd, int events)
{
	struct impostor *im = data;
	char sink[4096];

	(void)events;
	if (read(fd, sink, sizeof(sink)) > 0) {
		assert_true(write(fd, im->says, strlen(im->says)) >= 0 ||
		            errno == EPIPE);
		return;
	}
	loop_io_stop(&im->io);
	close(fd);
	im->client = -1;
}

static void on_impostor_accept(void *data, int fd, int events)
{
	struct impostor *im = data;

	(void)events;
	if (im->client >= 0) {
		loop_io_stop(&im->io);
		close(im->client);
	}
	im->client = accept(fd, NULL, NULL);
	im->n_clients++;
	loop_io_start(im->io.loop ? im->io.loop : im->accept.loop, &im->io,
	              im->client, LOOP_READ, on_impostor_read, im);
}

static void attack_garbage_instead_of_redis(void **state)
{
	static const char *const says[] = {
		"HTTP/1.1 400 Bad Request\r\n\r\n",
		"$-7\r\n",
		"*1048576\r\n",
		"+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n",
		":1\r\n",
		"$40\r\n\r\n",
		"-ERR unknown command 'SCRIPT'\r\n",
		"+OK\r\n*0\r\n",
		"+OK\r\n*1\r\n:1\r\n",
		"+OK\r\n*2\r\n$8\r\nsentinel\r\n*0\r\n",
		"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
	};
	struct redis_fixture *f = *state;
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct impostor im = {.client = -1};
	const char *error;
	size_t i;

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", f->server.socket);
	im.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(im.fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(im.fd, 8), 0);
	loop_io_start(f->loop, &im.accept, im.fd, LOOP_READ, on_impostor_accept,
	              &im);
	for (i = 0; i < sizeof(says) / sizeof(says[0]); i++) {
		struct policy *p = rf_policy(&f->server);
		int before = im.n_clients;

		p->redis.db = (unsigned)i; /* another server, to the store */
		im.says = says[i];
		assert_true(store_redis_configure(f->s, p, &error));
		rf_until(f, im.n_clients >= before + 2);
		assert_false(store_redis_connected(f->s));
		assert_true(store_redis_configure(f->s, f->policy, &error));
		free(p);
	}
	loop_io_stop(&im.accept);
	loop_io_stop(&im.io);
	close(im.client);
	close(im.fd);
	unlink(f->server.socket);
}

/* A few attempts, none of which connects. */
static void never_connects(struct redis_fixture *f)
{
	int turns;

	for (turns = 0; turns < 12; turns++) {
		ev_run(loop_ev(f->loop), EVRUN_ONCE);
		assert_false(store_redis_connected(f->s));
	}
}

static void attack_a_certificate_of_somebody_else(void **state)
{
	struct redis_fixture *f = *state;
	struct policy_redis *to = &f->policy->redis;
	struct policy *next = rf_policy(&f->server);
	struct redis_answer a;
	const char *error = NULL;
	char ca[128];

	to->tls = true;
	if (!redis_tls_can()) {
		/* the other half of the contract: refused, with a reason */
		print_message("only the refusal was tested: this hiredis has "
		              "no TLS\n");
		assert_false(store_redis_configure(f->s, f->policy, &error));
		assert_non_null(error);
		free(next);
		return;
	}
	snprintf(ca, sizeof(ca), "%s/cert.pem", f->server.dir);
	redis_server_start_tls(&f->server, "DNS:localhost");
	to->endpoints[0].port = (uint16_t)f->server.tls_port;

	/* not signed by anybody we know */
	to->endpoints[0].host = STR("localhost");
	assert_true(store_redis_configure(f->s, f->policy, &error));
	never_connects(f);

	/* known, but for another name */
	next->redis = *to;
	next->redis.ca_file = str_c(ca);
	next->redis.endpoints[0].host = STR("127.0.0.1");
	assert_true(store_redis_configure(f->s, next, &error));
	never_connects(f);

	to->ca_file = str_c(ca);
	rf_connect(f);
	rf_take(f, "1", 1, &a);
	assert_int_equal(a.res.status, STORE_OK);
	store_redis_free(f->s);
	f->s = NULL;
	free(next);
}

static void a_read_only_server_is_left(void **state)
{
	struct redis_fixture *f = *state;
	struct redis_answer a;

	redis_server_start(&f->server, NULL);
	rf_connect(f);
	rf_take(f, "1", 10, &a);
	rf_command(f, "REPLICAOF 127.0.0.1 1");
	a = (struct redis_answer){0};
	store_redis_settle(f->s, STR("a"), STR("1"), &rf_nothing, rf_on_settled,
	                   &a);
	rf_until(f, !store_redis_connected(f->s));
	assert_int_equal(a.n, 0);
	rf_command(f, "REPLICAOF NO ONE");
	rf_until(f, a.n == 1);
	assert_int_equal(a.settled, STORE_OK);
	assert_int_equal(rf_remaining(f), 100);
}

#define with_store(t) cmocka_unit_test_setup_teardown(t, rf_setup, rf_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_store(the_scripts_are_loaded_again),
		with_store(the_server_is_killed_and_comes_back),
		with_store(the_request_ends_before_the_answer),
		with_store(the_server_hangs_past_the_deadline),
		with_store(the_server_hangs_until_it_is_given_up),
		with_store(a_cancelled_reserve_takes_nothing),
		with_store(settles_wait_for_the_connection),
		with_store(a_settle_without_answer_is_sent_again),
		with_store(the_queue_of_settles_is_bounded),
		with_store(no_server_at_all),
		with_store(a_wrong_password_does_not_connect),
		with_store(attack_garbage_instead_of_redis),
		with_store(attack_a_certificate_of_somebody_else),
		with_store(a_read_only_server_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
