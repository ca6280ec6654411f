/* store/redis on a loop and a server of its own. */
#include "test.h"

#include "redis_fixture.h"
#include "store/redis_tls.h"

#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct policy *rf_policy(const struct redis_server *server)
{
	struct policy *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	p->refs = 2; /* the test's, so that it is never freed by others */
	p->redis.enabled = true;
	p->redis.endpoints[0].host = str_c(server->socket);
	p->redis.n_endpoints = 1;
	p->redis.deadline_ms = 50;
	p->redis.prefix = STR("t");
	p->ledger.stream_max = 100000;
	return p;
}

int rf_setup(void **state)
{
	struct redis_fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	signal(SIGPIPE, SIG_IGN);
	redis_server_init(&f->server);
	f->loop = loop_new();
	f->policy = rf_policy(&f->server);
	/* under sanitizers, on a busy machine, 50 ms are short */
	f->policy->redis.deadline_ms = 2000;
	f->s = store_redis_new(f->loop, &clock_system, NULL);
	assert_non_null(f->s);
	*state = f;
	return 0;
}

int rf_teardown(void **state)
{
	struct redis_fixture *f = *state;

	store_redis_free(f->s);
	loop_timer_stop(&f->patience);
	loop_free(f->loop);
	redis_server_done(&f->server);
	free(f->policy);
	free(f);
	return 0;
}

void rf_out_of_patience(void *data)
{
	(void)data;
	fail_msg("waited for 20 s");
}

void rf_connect(struct redis_fixture *f)
{
	const char *error = NULL;

	assert_true(store_redis_configure(f->s, f->policy, &error));
	rf_until(f, store_redis_connected(f->s));
}

bool rf_start_tls(struct redis_fixture *f, size_t at, const char *host)
{
	struct policy_redis *to = &f->policy->redis;

	if (!redis_tls_can()) {
		print_message("not tested: this hiredis has no TLS (it comes "
		              "with 1.0, Debian 13)\n");
		return false;
	}
	snprintf(f->ca, sizeof(f->ca), "%s/cert.pem", f->server.dir);
	redis_server_start_tls(&f->server, "DNS:localhost");
	to->tls = true;
	to->ca_file = str_c(f->ca);
	to->endpoints[at].host = str_c(host);
	to->endpoints[at].port = (uint16_t)f->server.tls_port;
	return true;
}

bool rf_on_reserved(void *ctx, uint64_t ref, const struct store_result *res)
{
	struct redis_answer *a = ctx;

	a->n++;
	a->ref = ref;
	a->res = *res;
	return !a->gone;
}

void rf_on_settled(void *ctx, struct str id, enum store_status status)
{
	struct redis_answer *a = ctx;

	assert_true(id.len > 0);
	a->n++;
	a->settled = status;
}

const struct store_usage rf_nothing;

bool rf_ask(struct redis_fixture *f, const char *id, uint64_t amount,
            struct redis_answer *a)
{
	const struct store_charge c = {STR("day"), UNIT_TOKENS, WINDOW_DAY,
	                               100,        amount,      0};
	const struct store_reservation r = {STR("a"), str_c(id), &c, 1, NULL};

	*a = (struct redis_answer){0};
	return store_redis_reserve(f->s, &r, rf_on_reserved, a, 7);
}

void rf_take(struct redis_fixture *f, const char *id, uint64_t amount,
             struct redis_answer *a)
{
	assert_true(rf_ask(f, id, amount, a));
	assert_int_equal(a->n, 0); /* never from within the call */
	rf_until(f, a->n == 1);
	assert_int_equal(a->ref, 7);
}

int64_t rf_remaining(struct redis_fixture *f)
{
	static int n;
	char id[16];
	struct redis_answer a;

	snprintf(id, sizeof(id), "look-%d", n++);
	rf_take(f, id, 0, &a);
	return a.res.remaining[0];
}

void rf_reserve(void *ctx, const struct store_reservation *r,
                struct store_result *res)
{
	struct redis_fixture *f = ctx;
	struct redis_answer a = {0};

	assert_true(store_redis_reserve(f->s, r, rf_on_reserved, &a, 0));
	rf_until(f, a.n == 1);
	*res = a.res;
}

enum store_status rf_settle(void *ctx, struct str account, struct str id,
                            const struct store_usage *used)
{
	struct redis_fixture *f = ctx;
	struct redis_answer a = {0};

	store_redis_settle(f->s, account, id, used, rf_on_settled, &a);
	rf_until(f, a.n == 1);
	return a.settled;
}

long long rf_command(struct redis_fixture *f, const char *text)
{
	return rf_command_to(&f->server, text);
}

long long rf_command_to(const struct redis_server *to, const char *text)
{
	redisContext *c = redisConnectUnix(to->socket);
	redisReply *r = redisCommand(c, text);
	long long n;

	assert_non_null(r);
	assert_int_not_equal(r->type, REDIS_REPLY_ERROR);
	n = r->integer;
	freeReplyObject(r);
	redisFree(c);
	return n;
}
