/* store/redis_link where the password is a token, which changes while it runs.
 */
#include "test.h"

#include "redis_fixture.h"
#include "store/redis_link.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

#define ALICE "aaaaaaaa-0000-0000-0000-000000000001"
#define BOB   "bbbbbbbb-0000-0000-0000-000000000002"

static const struct policy_credential credential = {.name = STR_INIT("mi")};

/* What is shown to Redis; nothing while there is no password. */
static struct {
	const char *user, *password;
	int n_asked;
} show;

static bool on_login(void *ctx, struct redis_login *who)
{
	(void)ctx;
	show.n_asked++;
	if (!show.password)
		return false;
	who->username = str_c(show.user);
	who->password = str_c(show.password);
	return true;
}

static int setup(void **state)
{
	struct redis_fixture *f;

	rf_setup(state);
	f = *state;
	f->policy->redis.credential = &credential;
	memset(&show, 0, sizeof(show));
	show.user = ALICE;
	redis_link_login(store_redis_link(f->s), on_login, NULL);
	return 0;
}

static void make_users(struct redis_fixture *f)
{
	rf_command(f, "ACL SETUSER " ALICE " on >token-1 ~* +@all");
	rf_command(f, "ACL SETUSER " BOB " on >token-2 ~* +@all");
}

static int setup_users(void **state)
{
	struct redis_fixture *f;

	setup(state);
	f = *state;
	redis_server_start(&f->server, NULL);
	make_users(f);
	return 0;
}

static void renew(struct redis_fixture *f, const char *user,
                  const char *password)
{
	show.user = user;
	show.password = password;
	redis_link_renew(store_redis_link(f->s));
}

/* The connection that this user has: its number, 0 when there is none. */
static long connection_of(struct redis_fixture *f, const char *user)
{
	redisContext *c = redisConnectUnix(f->server.socket);
	redisReply *r = redisCommand(c, "CLIENT LIST");
	char *line, *rest = NULL, wanted[64];
	long id = 0;

	assert_non_null(r);
	assert_int_equal(r->type, REDIS_REPLY_STRING);
	snprintf(wanted, sizeof(wanted), " user=%s ", user);
	for (line = strtok_r(r->str, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest))
		if (strstr(line, wanted))
			assert_int_equal(sscanf(line, "id=%ld ", &id), 1);
	freeReplyObject(r);
	redisFree(c);
	return id;
}

static void it_waits_for_the_first_token(void **state)
{
	struct redis_fixture *f = *state;
	struct redis_answer a;
	const char *error;

	assert_true(store_redis_configure(f->s, f->policy, &error));
	rf_until(f, show.n_asked >= 2); /* and asks again by itself */
	assert_false(store_redis_connected(f->s));
	renew(f, ALICE, "token-1");
	rf_until(f, store_redis_connected(f->s));
	assert_true(connection_of(f, ALICE) > 0);
	rf_take(f, "1", 10, &a);
	assert_int_equal(a.res.status, STORE_OK);
}

/* With a call before it and one behind it on the way. */
static void renew_under_way(struct redis_fixture *f)
{
	struct redis_answer a, b;
	long id;

	show.password = "token-1";
	rf_connect(f);
	id = connection_of(f, ALICE);
	assert_true(id > 0);
	assert_true(rf_ask(f, "1", 10, &a));
	renew(f, BOB, "token-2");
	assert_true(rf_ask(f, "2", 10, &b));
	rf_until(f, a.n && b.n);
	assert_int_equal(a.res.status, STORE_OK);
	assert_int_equal(b.res.status, STORE_OK);
	assert_true(store_redis_connected(f->s));
	assert_int_equal(connection_of(f, BOB), id);
	assert_int_equal(connection_of(f, ALICE), 0);

	/* nobody is Alice any more: her end does not end the connection */
	rf_command(f, "ACL DELUSER " ALICE);
	rf_take(f, "3", 10, &a);
	assert_int_equal(a.res.status, STORE_OK);
	assert_int_equal(connection_of(f, BOB), id);
}

static void a_renewed_token_counts_on_the_same_connection(void **state)
{
	renew_under_way(*state);
}

/* As Azure has it. */
static void the_same_over_tls(void **state)
{
	struct redis_fixture *f = *state;

	if (!rf_start_tls(f, 0, "localhost"))
		return;
	make_users(f);
	renew_under_way(f);
}

static void a_renewed_token_that_is_refused_ends_the_connection(void **state)
{
	struct redis_fixture *f = *state;
	struct redis_answer a;
	long id;

	show.password = "token-1";
	rf_connect(f);
	id = connection_of(f, ALICE);
	renew(f, ALICE, "token-3");
	rf_until(f, !store_redis_connected(f->s));
	rf_command(f, "ACL SETUSER " ALICE " >token-3");
	rf_until(f, store_redis_connected(f->s));
	assert_true(connection_of(f, ALICE) > id);
	rf_take(f, "1", 10, &a);
	assert_int_equal(a.res.status, STORE_OK);
}

/* Redis ends the connections of a user that is gone. Without a token that is
 * still good nothing is tried. */
static void a_token_that_ended_is_not_shown_again(void **state)
{
	struct redis_fixture *f = *state;
	int asked;

	show.password = "token-1";
	rf_connect(f);
	show.password = NULL;
	rf_command(f, "ACL DELUSER " ALICE);
	rf_until(f, !store_redis_connected(f->s));
	asked = show.n_asked;
	rf_until(f, show.n_asked >= asked + 2);
	assert_false(store_redis_connected(f->s));
	assert_int_equal(connection_of(f, "(superuser)"), 0);
	renew(f, BOB, "token-2");
	rf_until(f, store_redis_connected(f->s));
	assert_true(connection_of(f, BOB) > 0);
}

static void without_a_credential_nothing_is_renewed(void **state)
{
	struct redis_fixture *f = *state;
	struct redis_answer a;

	f->policy->redis.credential = NULL;
	rf_connect(f);
	renew(f, BOB, "token-2");
	rf_take(f, "1", 10, &a);
	assert_int_equal(show.n_asked, 0);
	assert_int_equal(connection_of(f, BOB), 0);
}

#define with_users(t)                                                          \
	cmocka_unit_test_setup_teardown(t, setup_users, rf_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_users(it_waits_for_the_first_token),
		with_users(a_renewed_token_counts_on_the_same_connection),
		cmocka_unit_test_setup_teardown(the_same_over_tls, setup,
	                                        rf_teardown),
		with_users(a_renewed_token_that_is_refused_ends_the_connection),
		with_users(a_token_that_ended_is_not_shown_again),
		with_users(without_a_credential_nothing_is_renewed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
