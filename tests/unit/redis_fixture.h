/*
 * store/redis on a loop and a server of its own, and the calls a test makes.
 */
#ifndef TESTS_REDIS_FIXTURE_H
#define TESTS_REDIS_FIXTURE_H

#include "base/loop.h"
#include "redis_server.h"
#include "store/store.h"

struct redis_fixture {
	struct redis_server server; /* made, not started */
	struct loop *loop;
	struct policy *policy; /* of that server */
	struct store_redis *s; /* not configured; NULL once freed */
	struct loop_timer patience;
	char ca[128];
};

/* For cmocka; *state is the fixture. */
int rf_setup(void **state);
int rf_teardown(void **state);

/* Another policy of that server; the test frees it after the store. */
struct policy *rf_policy(const struct redis_server *server);

void rf_out_of_patience(void *data);

/* Run the loop until `cond` holds. */
#define rf_until(f, cond)                                                      \
	do {                                                                   \
		loop_timer_start((f)->loop, &(f)->patience, 20000,             \
		                 rf_out_of_patience, NULL);                    \
		while (!(cond))                                                \
			ev_run(loop_ev((f)->loop), EVRUN_ONCE);                \
		loop_timer_stop(&(f)->patience);                               \
	} while (0)

void rf_connect(struct redis_fixture *f);

/* False, and said so, where this build has no TLS to Redis: Debian 12. Else
 * the server is started with a certificate for "localhost", which the policy
 * trusts, and its endpoint `at` is HOST on the server's port. */
bool rf_start_tls(struct redis_fixture *f, size_t at, const char *host);

/* The answer to one call. */
struct redis_answer {
	int n;
	uint64_t ref;
	struct store_result res;
	enum store_status settled;
	bool gone; /* the request has ended when it comes */
};

/* The ctx of both is a redis_answer. */
bool rf_on_reserved(void *ctx, uint64_t ref, const struct store_result *res);
void rf_on_settled(void *ctx, struct str id, enum store_status status);

extern const struct store_usage rf_nothing;

/* `amount` of a day's 100 tokens for account "a"; take waits for the answer. */
bool rf_ask(struct redis_fixture *f, const char *id, uint64_t amount,
            struct redis_answer *a);
void rf_take(struct redis_fixture *f, const char *id, uint64_t amount,
             struct redis_answer *a);
int64_t rf_remaining(struct redis_fixture *f);

/* As struct store_door wants them; ctx is the fixture. */
void rf_reserve(void *ctx, const struct store_reservation *r,
                struct store_result *res);
enum store_status rf_settle(void *ctx, struct str account, struct str id,
                            const struct store_usage *used);

/* A command of words without blanks, and its number. */
long long rf_command(struct redis_fixture *f, const char *text);
long long rf_command_to(const struct redis_server *to, const char *text);

#endif
