/*
 * store/redis against a server of its own.
 *
 * The scripts are also run by hand, with the server's clock replaced by one of
 * the test's: so all that depends on time is compared with the memory store to
 * the last unit and millisecond. The rest goes the whole way: loop, link,
 * hiredis, socket.
 */
#include "test.h"

#include "base/loop.h"
#include "redis_server.h"
#include "store/redis_tls.h"
#include "store/scripts.h"
#include "store/store.h"
#include "store_scenarios.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* --------------------------------------------- the scripts under our clock */

struct scripts_door {
	redisContext *redis;
	char *text[SCRIPT_COUNT];
};

/* The script with its only use of the clock replaced. */
static char *with_our_clock(struct str script)
{
	static const char theirs[] = "redis.call('TIME')";
	static const char ours[] = "cjson.decode(redis.call('GET', 'clock'))";
	const char *at = strstr(script.p, theirs);
	char *out = calloc(1, script.len + sizeof(ours));

	assert_non_null(at);
	assert_non_null(out);
	memcpy(out, script.p, (size_t)(at - script.p));
	strcat(out, ours);
	strcat(out, at + sizeof(theirs) - 1);
	return out;
}

static void scripts_door_init(struct scripts_door *d, const char *socket)
{
	int i;

	d->redis = redisConnectUnix(socket);
	assert_non_null(d->redis);
	assert_int_equal(d->redis->err, 0);
	for (i = 0; i < SCRIPT_COUNT; i++)
		d->text[i] = with_our_clock(script_text((enum script)i));
}

static void scripts_door_done(struct scripts_door *d)
{
	int i;

	for (i = 0; i < SCRIPT_COUNT; i++)
		free(d->text[i]);
	redisFree(d->redis);
}

static void scripts_set_time(void *ctx, int64_t real_ms)
{
	struct scripts_door *d = ctx;

	freeReplyObject(redisCommand(d->redis, "SET clock [\"%lld\",\"%lld\"]",
	                             (long long)(real_ms / 1000),
	                             (long long)(real_ms % 1000 * 1000)));
}

/* EVAL with the keys of an account and a request, and numbers or fields. */
struct eval {
	const char *argv[96];
	char text[96][600];
	int n;
};

static void eval_add(struct eval *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void eval_add(struct eval *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->text[e->n], sizeof(e->text[e->n]), fmt, ap);
	va_end(ap);
	e->argv[e->n] = e->text[e->n];
	e->n++;
}

static void eval_begin(struct eval *e, const char *script, struct str account,
                       struct str id)
{
	e->n = 0;
	eval_add(e, "EVAL");
	e->argv[e->n++] = script;
	eval_add(e, "2");
	eval_add(e, "t:{%" STR_FMT "}:limits", STR_ARG(account));
	eval_add(e, "t:{%" STR_FMT "}:r:%" STR_FMT, STR_ARG(account),
	         STR_ARG(id));
}

static redisReply *eval_run(struct eval *e, redisContext *redis)
{
	redisReply *r = redisCommandArgv(redis, e->n, e->argv, NULL);

	assert_non_null(r);
	if (r->type == REDIS_REPLY_ERROR)
		print_error("%s\n", r->str);
	assert_int_equal(r->type, REDIS_REPLY_ARRAY);
	return r;
}

static void scripts_reserve(void *ctx, const struct store_reservation *r,
                            struct store_result *res)
{
	struct scripts_door *d = ctx;
	struct eval e;
	redisReply *reply;
	size_t i;

	eval_begin(&e, d->text[SCRIPT_RESERVE], r->account, r->id);
	eval_add(&e, "7200000");
	for (i = 0; i < r->n_charges; i++) {
		const struct store_charge *c = &r->charges[i];

		eval_add(&e, "%" STR_FMT, STR_ARG(c->field));
		eval_add(&e, "%d", c->unit);
		eval_add(&e, "%d", c->window);
		eval_add(&e, "%llu", (unsigned long long)c->limit);
		eval_add(&e, "%llu", (unsigned long long)c->amount);
	}
	reply = eval_run(&e, d->redis);
	assert_int_equal(reply->elements, 4 + 2 * r->n_charges);
	*res = (struct store_result){0};
	res->status = (enum store_status)reply->element[0]->integer;
	res->refused = (size_t)reply->element[1]->integer;
	res->retry_ms = (uint64_t)reply->element[2]->integer;
	for (i = 0; i < r->n_charges; i++) {
		res->remaining[i] = reply->element[4 + 2 * i]->integer;
		res->reset_ms[i] = (uint64_t)reply->element[5 + 2 * i]->integer;
	}
	freeReplyObject(reply);
}

static enum store_status scripts_settle(void *ctx, struct str account,
                                        struct str id,
                                        const struct store_usage *used)
{
	struct scripts_door *d = ctx;
	enum store_status status;
	struct eval e;
	redisReply *reply;

	eval_begin(&e, d->text[SCRIPT_SETTLE], account, id);
	eval_add(&e, "%llu", (unsigned long long)used->requests);
	eval_add(&e, "%llu", (unsigned long long)used->tokens);
	eval_add(&e, "%llu", (unsigned long long)used->nano_usd);
	eval_add(&e, "0");
	reply = eval_run(&e, d->redis);
	status = (enum store_status)reply->element[0]->integer;
	freeReplyObject(reply);
	return status;
}

/* ----------------------------------------------------------- the fixture */

struct fixture {
	struct redis_server server;
	struct loop *loop;
	struct policy *policy;
	struct store_redis *s;
	struct loop_timer patience;
};

static struct policy *policy_of(const struct redis_server *server)
{
	struct policy *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	p->refs = 2; /* the test's, so that it is never freed by others */
	p->redis.enabled = true;
	p->redis.host = str_c(server->socket);
	p->redis.deadline_ms = 50;
	p->redis.prefix = STR("t");
	return p;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	signal(SIGPIPE, SIG_IGN);
	redis_server_init(&f->server);
	f->loop = loop_new();
	f->policy = policy_of(&f->server);
	/* under sanitizers, on a busy machine, 50 ms are short */
	f->policy->redis.deadline_ms = 2000;
	f->s = store_redis_new(f->loop, &clock_system, NULL);
	assert_non_null(f->s);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	store_redis_free(f->s);
	loop_timer_stop(&f->patience);
	loop_free(f->loop);
	redis_server_done(&f->server);
	free(f->policy);
	free(f);
	return 0;
}

static void out_of_patience(void *data)
{
	(void)data;
	fail_msg("waited for 20 s");
}

/* Run the loop until `cond` holds. */
#define until(f, cond)                                                         \
	do {                                                                   \
		loop_timer_start((f)->loop, &(f)->patience, 20000,             \
		                 out_of_patience, NULL);                       \
		while (!(cond))                                                \
			ev_run(loop_ev((f)->loop), EVRUN_ONCE);                \
		loop_timer_stop(&(f)->patience);                               \
	} while (0)

static void connect_store(struct fixture *f)
{
	const char *error = NULL;

	assert_true(store_redis_configure(f->s, f->policy, &error));
	until(f, store_redis_connected(f->s));
}

/* The answer to one call. */
struct answer {
	int n;
	uint64_t ref;
	struct store_result res;
	enum store_status settled;
};

static void on_reserved(void *ctx, uint64_t ref, const struct store_result *res)
{
	struct answer *a = ctx;

	a->n++;
	a->ref = ref;
	a->res = *res;
}

static void on_settled(void *ctx, struct str id, enum store_status status)
{
	struct answer *a = ctx;

	assert_true(id.len > 0);
	a->n++;
	a->settled = status;
}

static const struct store_usage nothing;

/* `amount` of a day's 100 tokens for account "a". */
static bool ask(struct fixture *f, const char *id, uint64_t amount,
                struct answer *a)
{
	const struct store_charge c = {STR("day"), UNIT_TOKENS, WINDOW_DAY, 100,
	                               amount};
	const struct store_reservation r = {STR("a"), str_c(id), &c, 1};

	*a = (struct answer){0};
	return store_redis_reserve(f->s, &r, on_reserved, a, 7);
}

static void take(struct fixture *f, const char *id, uint64_t amount,
                 struct answer *a)
{
	assert_true(ask(f, id, amount, a));
	assert_int_equal(a->n, 0); /* never from within the call */
	until(f, a->n == 1);
	assert_int_equal(a->ref, 7);
}

static int64_t remaining(struct fixture *f)
{
	static int n;
	char id[16];
	struct answer a;

	snprintf(id, sizeof(id), "look-%d", n++);
	take(f, id, 0, &a);
	return a.res.remaining[0];
}

static long long command(struct fixture *f, const char *text)
{
	redisContext *c = redisConnectUnix(f->server.socket);
	redisReply *r = redisCommand(c, text);
	long long n;

	assert_non_null(r);
	assert_int_not_equal(r->type, REDIS_REPLY_ERROR);
	n = r->integer;
	freeReplyObject(r);
	redisFree(c);
	return n;
}

/* ------------------------------------------------------------- scenarios */

static void scenarios_of_the_scripts(void **state)
{
	struct fixture *f = *state;
	struct scripts_door d;
	const struct store_door door = {"scripts", scripts_reserve,
	                                scripts_settle, scripts_set_time, &d};

	redis_server_start(&f->server, NULL);
	scripts_door_init(&d, f->server.socket);
	assert_true(store_scenarios_run(&door) > 20);
	scripts_door_done(&d);
}

static void loop_reserve(void *ctx, const struct store_reservation *r,
                         struct store_result *res)
{
	struct fixture *f = ctx;
	struct answer a = {0};

	assert_true(store_redis_reserve(f->s, r, on_reserved, &a, 0));
	until(f, a.n == 1);
	*res = a.res;
}

static enum store_status loop_settle(void *ctx, struct str account,
                                     struct str id,
                                     const struct store_usage *used)
{
	struct fixture *f = ctx;
	struct answer a = {0};

	store_redis_settle(f->s, account, id, used, on_settled, &a);
	until(f, a.n == 1);
	return a.settled;
}

static void scenarios_all_the_way(void **state)
{
	struct fixture *f = *state;
	const struct store_door door = {"redis", loop_reserve, loop_settle,
	                                NULL, f};

	redis_server_start(&f->server, NULL);
	connect_store(f);
	assert_true(store_scenarios_run(&door) > 10);
}

/* ------------------------------------------------- compared with memory */

struct fake {
	int64_t real_ms;
};

static uint64_t fake_mono(void *ctx)
{
	(void)ctx;
	return 0;
}

static int64_t fake_real(void *ctx)
{
	return ((struct fake *)ctx)->real_ms;
}

static const struct store_charge all_limits[] = {
	{STR_INIT("rpm"), UNIT_REQUESTS, WINDOW_MINUTE, 7, 0},
	{STR_INIT("tpm"), UNIT_TOKENS, WINDOW_MINUTE, 10007, 0},
	{STR_INIT("usd-minute"), UNIT_USD, WINDOW_MINUTE, 999999999999937, 0},
	{STR_INIT("rph"), UNIT_REQUESTS, WINDOW_HOUR, 40, 0},
	{STR_INIT("tpd"), UNIT_TOKENS, WINDOW_DAY, 1000000, 0},
	{STR_INIT("usd-month"), UNIT_USD, WINDOW_MONTH, 800000000000000, 0},
	{STR_INIT("one"), UNIT_TOKENS, WINDOW_MINUTE, 1, 0},
};

enum { N_LIMITS = sizeof(all_limits) / sizeof(all_limits[0]) };

static uint64_t random_amount(uint64_t limit)
{
	uint64_t r = (uint64_t)random() << 31 | (uint64_t)random();

	switch (random() % 8) {
	case 0:
		return limit;
	case 1:
		return limit + 1;
	case 2:
		return 0;
	case 3:
		return r % (limit + 1);
	default:
		return r % (limit / 8 + 2);
	}
}

static int64_t random_step(void)
{
	static const int64_t steps[] = {0,    1,       17,       1000,
	                                9973, 3600000, 86400000, -2500};

	if (random() % 200 == 0)
		return INT64_C(40) * 86400000;
	if (random() % 4)
		return random() % 700;
	return steps[random() % 8];
}

static void compare_reserve(struct store_memory *m, struct scripts_door *d,
                            struct str id)
{
	struct store_charge c[N_LIMITS];
	struct store_reservation r = {STR("x"), id, c, 0};
	struct store_result a, b;
	size_t i;

	for (i = 0; i < N_LIMITS; i++)
		if (random() % 2) {
			c[r.n_charges] = all_limits[i];
			c[r.n_charges].amount =
				random_amount(all_limits[i].limit);
			r.n_charges++;
		}
	store_memory_reserve(m, &r, &a);
	scripts_reserve(d, &r, &b);
	assert_int_equal(a.status, b.status);
	assert_int_equal(a.refused, b.refused);
	assert_int_equal(a.retry_ms, b.retry_ms);
	for (i = 0; i < r.n_charges; i++) {
		assert_int_equal(a.remaining[i], b.remaining[i]);
		assert_int_equal(a.reset_ms[i], b.reset_ms[i]);
	}
}

static void compare_settle(struct store_memory *m, struct scripts_door *d,
                           struct str id)
{
	const struct store_usage used = {
		.requests = (uint64_t)random() % 3,
		.tokens = random_amount(20000),
		.nano_usd = random_amount(900000000000000),
	};

	assert_int_equal(store_memory_settle(m, STR("x"), id, &used),
	                 scripts_settle(d, STR("x"), id, &used));
}

/* The same calls in the same order at the same times, among them duplicates,
 * unknown ids and a clock that steps back. */
static void both_stores_count_alike(void **state)
{
	struct fixture *f = *state;
	struct fake time = {SCENARIO_START_MS};
	const struct clock clock = {fake_mono, fake_real, &time};
	struct store_memory *m = store_memory_new(&clock);
	struct scripts_door d;
	char id[24];
	int i;

	redis_server_start(&f->server, NULL);
	scripts_door_init(&d, f->server.socket);
	srandom(42);
	for (i = 0; i < 20000; i++) {
		time.real_ms += random_step();
		scripts_set_time(&d, time.real_ms);
		snprintf(id, sizeof(id), "%ld", i / 2 - random() % 20);
		if (random() % 3 == 0)
			compare_settle(m, &d, str_c(id));
		else
			compare_reserve(m, &d, str_c(id));
	}
	store_memory_free(m);
	scripts_door_done(&d);
}

/* -------------------------------------------------------- what Redis keeps */

static void nothing_stays_for_ever(void **state)
{
	struct fixture *f = *state;
	struct answer a;

	redis_server_start(&f->server, NULL);
	connect_store(f);
	take(f, "1", 10, &a);
	assert_true(command(f, "PTTL t:{a}:limits") > 0);
	assert_true(command(f, "PTTL t:{a}:limits") <= 86400000 + 1000);
	assert_in_range(command(f, "PTTL t:{a}:r:1"), 7100000, 7200000);
	store_redis_settle(f->s, STR("a"), STR("1"), &nothing, NULL, NULL);
	until(f, store_redis_pending(f->s) == 0);
	assert_int_equal(command(f, "EXISTS t:{a}:r:1"), 0);
	assert_int_equal(command(f, "DBSIZE"), 1);
}

/* A bucket's key that went after a minute would forgive the debt. */
static void a_debt_outlives_the_minute(void **state)
{
	struct fixture *f = *state;
	const struct store_charge c = {STR("tpm"), UNIT_TOKENS, WINDOW_MINUTE,
	                               60, 1};
	const struct store_reservation r = {STR("a"), STR("1"), &c, 1};
	const struct store_usage used = {.tokens = 6000};
	struct store_result res;

	redis_server_start(&f->server, NULL);
	connect_store(f);
	loop_reserve(f, &r, &res);
	assert_int_equal(res.status, STORE_OK);
	assert_in_range(command(f, "PTTL t:{a}:limits"), 1, 2001);
	assert_int_equal(loop_settle(f, STR("a"), STR("1"), &used), STORE_OK);
	assert_in_range(command(f, "PTTL t:{a}:limits"), 5900000, 6001000);
}

/* Scopes that are used once do not gather in the hash of a busy account. */
static void attack_scopes_pile_up(void **state)
{
	struct fixture *f = *state;
	struct scripts_door d;
	char name[16];
	int i;

	redis_server_start(&f->server, NULL);
	scripts_door_init(&d, f->server.socket);
	for (i = 0; i < 5000; i++) {
		struct store_charge c = {STR_NONE, UNIT_TOKENS, WINDOW_MINUTE,
		                         60, 1};
		struct store_reservation r = {STR("a"), STR_NONE, &c, 1};
		struct store_result res;

		scripts_set_time(&d, SCENARIO_START_MS + 100 * i);
		snprintf(name, sizeof(name), "s-%d", i);
		c.field = r.id = str_c(name);
		scripts_reserve(&d, &r, &res);
		assert_int_equal(res.status, STORE_OK);
	}
	assert_true(command(f, "HLEN t:{a}:limits") <= 64);
	scripts_door_done(&d);
}

/* ------------------------------------------------------------ disturbances */

static void the_scripts_are_loaded_again(void **state)
{
	struct fixture *f = *state;
	struct answer a[3];

	redis_server_start(&f->server, NULL);
	connect_store(f);
	take(f, "1", 10, &a[0]);
	command(f, "SCRIPT FLUSH");
	assert_true(ask(f, "2", 10, &a[0]));
	assert_true(ask(f, "3", 10, &a[1]));
	a[2] = (struct answer){0};
	store_redis_settle(f->s, STR("a"), STR("1"), &nothing, on_settled,
	                   &a[2]);
	until(f, a[0].n && a[1].n && a[2].n);
	assert_int_equal(a[0].res.status, STORE_OK);
	assert_int_equal(a[1].res.status, STORE_OK);
	assert_int_equal(a[2].settled, STORE_OK);
	assert_int_equal(remaining(f), 80);
}

static void the_server_is_killed_and_comes_back(void **state)
{
	struct fixture *f = *state;
	struct answer a;

	redis_server_start(&f->server, NULL);
	connect_store(f);
	take(f, "1", 10, &a);
	assert_true(ask(f, "2", 10, &a));
	redis_server_kill(&f->server);
	until(f, a.n == 1);
	until(f, !store_redis_connected(f->s));
	assert_false(ask(f, "3", 10, &a));
	redis_server_start(&f->server, NULL);
	until(f, store_redis_connected(f->s));
	take(f, "4", 10, &a);
	assert_int_equal(a.res.status, STORE_OK);
}

/* Stopped, not dead: the socket stays open and takes what is written. */
static void the_server_hangs_past_the_deadline(void **state)
{
	struct fixture *f = *state;
	struct answer a, b;

	f->policy->redis.deadline_ms = 500;
	redis_server_start(&f->server, NULL);
	connect_store(f);
	redis_server_signal(&f->server, SIGSTOP);
	assert_true(ask(f, "1", 60, &a));
	until(f, a.n == 1);
	assert_int_equal(a.res.status, STORE_FAILED);
	assert_non_null(a.res.error);
	assert_true(store_redis_connected(f->s));

	/* it wakes: what the late answer had taken is given back */
	redis_server_signal(&f->server, SIGCONT);
	until(f, store_redis_pending(f->s) == 1);
	until(f, store_redis_pending(f->s) == 0);
	assert_int_equal(a.n, 1);
	assert_int_equal(remaining(f), 100);
	assert_true(store_redis_connected(f->s));
	take(f, "2", 100, &b);
	assert_int_equal(b.res.status, STORE_OK);
}

/* It hangs for so long that the connection is given up. Whether the server
 * reads the old connection or the new one first, nothing stays charged. */
static void the_server_hangs_until_it_is_given_up(void **state)
{
	struct fixture *f = *state;
	struct answer a[20];
	char id[16];
	int i;

	f->policy->redis.deadline_ms = 20;
	redis_server_start(&f->server, NULL);
	connect_store(f);
	redis_server_signal(&f->server, SIGSTOP);
	for (i = 0; i < 20; i++) {
		snprintf(id, sizeof(id), "%d", i);
		assert_true(ask(f, id, 5, &a[i]));
	}
	until(f, !store_redis_connected(f->s));
	for (i = 0; i < 20; i++) {
		assert_int_equal(a[i].n, 1);
		assert_int_equal(a[i].res.status, STORE_FAILED);
	}
	assert_int_equal(store_redis_pending(f->s), 20);
	f->policy->redis.deadline_ms = 2000;
	redis_server_signal(&f->server, SIGCONT);
	until(f, store_redis_connected(f->s));
	until(f, store_redis_pending(f->s) == 0);
	assert_int_equal(remaining(f), 100);
}

/* The cancellation may even be read before the reserve it cancels. */
static void a_cancelled_reserve_takes_nothing(void **state)
{
	struct fixture *f = *state;
	struct scripts_door d;
	struct answer a;
	struct eval e;
	redisReply *reply;
	int i;

	redis_server_start(&f->server, NULL);
	connect_store(f);
	scripts_door_init(&d, f->server.socket);
	scripts_set_time(&d, SCENARIO_START_MS);
	eval_begin(&e, d.text[SCRIPT_SETTLE], STR("a"), STR("1"));
	for (i = 0; i < 3; i++)
		eval_add(&e, "0");
	eval_add(&e, "60000");
	reply = eval_run(&e, d.redis);
	assert_int_equal(reply->element[0]->integer, STORE_UNKNOWN);
	freeReplyObject(reply);
	scripts_door_done(&d);

	assert_in_range(command(f, "PTTL t:{a}:r:1"), 1, 60000);
	take(f, "1", 10, &a);
	assert_int_equal(a.res.status, STORE_FAILED);
	assert_int_equal(remaining(f), 100);
	assert_int_equal(loop_settle(f, STR("a"), STR("1"), &nothing),
	                 STORE_UNKNOWN);
}

/* Settles of an outage reach a server that has kept its data. */
static void settles_wait_for_the_connection(void **state)
{
	struct fixture *f = *state;
	struct policy *elsewhere = policy_of(&f->server);
	const char *error;
	struct answer a[100];
	char id[16];
	int i;

	redis_server_start(&f->server, NULL);
	connect_store(f);
	for (i = 0; i < 100; i++) {
		snprintf(id, sizeof(id), "%d", i);
		take(f, id, 1, &a[0]);
		assert_int_equal(a[0].res.status, STORE_OK);
	}
	assert_int_equal(remaining(f), 0);

	elsewhere->redis.host = STR("/nonexistent/redis.sock");
	assert_true(store_redis_configure(f->s, elsewhere, &error));
	assert_false(store_redis_connected(f->s));
	for (i = 0; i < 100; i++) {
		a[i] = (struct answer){0};
		snprintf(id, sizeof(id), "%d", i);
		store_redis_settle(f->s, STR("a"), str_c(id), &nothing,
		                   on_settled, &a[i]);
	}
	assert_int_equal(store_redis_pending(f->s), 100);
	connect_store(f);
	until(f, store_redis_pending(f->s) == 0);
	for (i = 0; i < 100; i++) {
		assert_int_equal(a[i].n, 1);
		assert_int_equal(a[i].settled, STORE_OK);
	}
	assert_int_equal(remaining(f), 100);
	free(elsewhere);
}

/* The answer to a settle is lost with its connection: it is sent again, and
 * counts once. */
static void a_settle_without_answer_is_sent_again(void **state)
{
	struct fixture *f = *state;
	struct answer a, s = {0};

	f->policy->redis.deadline_ms = 20;
	redis_server_start(&f->server, NULL);
	connect_store(f);
	do /* 20 ms may be too short for an honest answer */
		take(f, "1", 60, &a);
	while (a.res.status == STORE_FAILED);
	redis_server_signal(&f->server, SIGSTOP);
	store_redis_settle(f->s, STR("a"), STR("1"),
	                   &(struct store_usage){.tokens = 20}, on_settled, &s);
	until(f, !store_redis_connected(f->s));
	assert_int_equal(store_redis_pending(f->s), 1);
	assert_int_equal(s.n, 0);
	f->policy->redis.deadline_ms = 2000;
	redis_server_signal(&f->server, SIGCONT);
	until(f, store_redis_pending(f->s) == 0);
	assert_int_equal(s.n, 1);
	assert_int_equal(remaining(f), 80);
}

static void the_queue_of_settles_is_bounded(void **state)
{
	struct fixture *f = *state;
	struct answer a = {0};
	char id[16];
	const char *error;
	int i;

	assert_true(store_redis_configure(f->s, f->policy, &error));
	for (i = 0; i < STORE_PENDING_MAX; i++) {
		snprintf(id, sizeof(id), "%d", i);
		store_redis_settle(f->s, STR("a"), str_c(id), &nothing,
		                   on_settled, &a);
	}
	assert_int_equal(a.n, 0);
	store_redis_settle(f->s, STR("a"), STR("x"), &nothing, on_settled, &a);
	assert_int_equal(a.n, 1);
	assert_int_equal(a.settled, STORE_FAILED);
	redis_server_start(&f->server, NULL);
	until(f, store_redis_pending(f->s) == 0);
	assert_int_equal(a.n, STORE_PENDING_MAX + 1);
	assert_int_equal(a.settled, STORE_UNKNOWN);
}

static void no_server_at_all(void **state)
{
	struct fixture *f = *state;
	struct answer a;
	const char *error;

	assert_true(store_redis_configure(f->s, f->policy, &error));
	assert_false(ask(f, "1", 1, &a));
	redis_server_start(&f->server, NULL);
	until(f, store_redis_connected(f->s));
	take(f, "1", 1, &a);
	assert_int_equal(a.res.status, STORE_OK);
}

static void a_wrong_password_does_not_connect(void **state)
{
	struct fixture *f = *state;
	struct policy *good = policy_of(&f->server);
	struct answer a;
	const char *error;
	int turns;

	redis_server_start(&f->server, "right");
	f->policy->redis.password = STR("wrong");
	assert_true(store_redis_configure(f->s, f->policy, &error));
	for (turns = 0; turns < 8; turns++) {
		ev_run(loop_ev(f->loop), EVRUN_ONCE);
		assert_false(store_redis_connected(f->s));
	}
	assert_false(ask(f, "1", 1, &a));
	good->redis = f->policy->redis;
	good->redis.password = STR("right");
	good->redis.username = STR("default");
	good->redis.db = 3;
	assert_true(store_redis_configure(f->s, good, &error));
	until(f, store_redis_connected(f->s));
	take(f, "1", 1, &a);
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
		"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
	};
	struct fixture *f = *state;
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
		struct policy *p = policy_of(&f->server);
		int before = im.n_clients;

		p->redis.db = (unsigned)i; /* another server, to the store */
		im.says = says[i];
		assert_true(store_redis_configure(f->s, p, &error));
		until(f, im.n_clients >= before + 2);
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
static void never_connects(struct fixture *f)
{
	int turns;

	for (turns = 0; turns < 12; turns++) {
		ev_run(loop_ev(f->loop), EVRUN_ONCE);
		assert_false(store_redis_connected(f->s));
	}
}

static void attack_a_certificate_of_somebody_else(void **state)
{
	struct fixture *f = *state;
	struct policy_redis *to = &f->policy->redis;
	struct policy *next = policy_of(&f->server);
	struct answer a;
	const char *error = NULL;
	char ca[128];

	to->tls = true;
	if (!redis_tls_can()) {
		/* the other half of the contract: refused, with a reason */
		assert_false(store_redis_configure(f->s, f->policy, &error));
		assert_non_null(error);
		free(next);
		return;
	}
	snprintf(ca, sizeof(ca), "%s/cert.pem", f->server.dir);
	redis_server_start_tls(&f->server, "DNS:localhost");
	to->port = (uint16_t)f->server.tls_port;

	/* not signed by anybody we know */
	to->host = STR("localhost");
	assert_true(store_redis_configure(f->s, f->policy, &error));
	never_connects(f);

	/* known, but for another name */
	next->redis = *to;
	next->redis.ca_file = str_c(ca);
	next->redis.host = STR("127.0.0.1");
	assert_true(store_redis_configure(f->s, next, &error));
	never_connects(f);

	to->ca_file = str_c(ca);
	connect_store(f);
	take(f, "1", 1, &a);
	assert_int_equal(a.res.status, STORE_OK);
	store_redis_free(f->s);
	f->s = NULL;
	free(next);
}

static void a_read_only_server_is_left(void **state)
{
	struct fixture *f = *state;
	struct answer a;

	redis_server_start(&f->server, NULL);
	connect_store(f);
	take(f, "1", 10, &a);
	command(f, "REPLICAOF 127.0.0.1 1");
	a = (struct answer){0};
	store_redis_settle(f->s, STR("a"), STR("1"), &nothing, on_settled, &a);
	until(f, !store_redis_connected(f->s));
	assert_int_equal(a.n, 0);
	command(f, "REPLICAOF NO ONE");
	until(f, a.n == 1);
	assert_int_equal(a.settled, STORE_OK);
	assert_int_equal(remaining(f), 100);
}

static void a_reload_keeps_the_connection(void **state)
{
	struct fixture *f = *state;
	struct policy *same = policy_of(&f->server);
	const char *error = NULL;
	struct answer a;

	redis_server_start(&f->server, NULL);
	connect_store(f);
	same->redis = f->policy->redis;
	assert_true(ask(f, "1", 1, &a));
	assert_true(store_redis_configure(f->s, same, &error));
	assert_true(store_redis_connected(f->s));
	until(f, a.n == 1);
	assert_int_equal(a.res.status, STORE_OK);

	/* and to nowhere: who waits is told, and not from within the call */
	assert_true(ask(f, "2", 1, &a));
	f->policy->redis.enabled = false;
	assert_true(store_redis_configure(f->s, f->policy, &error));
	assert_int_equal(a.n, 0);
	until(f, a.n == 1);
	assert_int_equal(a.res.status, STORE_FAILED);
	store_redis_settle(f->s, STR("a"), STR("1"), &nothing, on_settled, &a);
	assert_int_equal(a.settled, STORE_FAILED);
	free(same);
}

static void freed_with_calls_under_way(void **state)
{
	struct fixture *f = *state;
	struct answer a;

	redis_server_start(&f->server, NULL);
	connect_store(f);
	assert_true(ask(f, "1", 1, &a));
	store_redis_settle(f->s, STR("a"), STR("9"), &nothing, on_settled, &a);
	store_redis_free(f->s);
	f->s = NULL;
	assert_int_equal(a.n, 0);
}

struct crowd {
	int n, granted;
};

static void on_crowd(void *ctx, uint64_t ref, const struct store_result *res)
{
	struct crowd *c = ctx;

	(void)ref;
	c->n++;
	c->granted += res->status == STORE_OK;
}

/* From two connections at once, as two nodes would. */
static void a_thousand_at_once_are_not_granted_too_much(void **state)
{
	struct fixture *f = *state;
	struct store_redis *other =
		store_redis_new(f->loop, &clock_system, NULL);
	const struct store_charge c[2] = {
		{STR("day"), UNIT_TOKENS, WINDOW_DAY, 1000, 3},
		{STR("r"), UNIT_REQUESTS, WINDOW_DAY, 100000, 1},
	};
	struct crowd crowd = {0, 0};
	struct store_reservation r = {STR("a"), STR_NONE, c, 2};
	const char *error;
	char id[16];
	int i;

	redis_server_start(&f->server, NULL);
	connect_store(f);
	assert_true(store_redis_configure(other, f->policy, &error));
	until(f, store_redis_connected(other));
	for (i = 0; i < 1000; i++) {
		snprintf(id, sizeof(id), "%d", i);
		r.id = str_c(id);
		assert_true(store_redis_reserve(i % 2 ? f->s : other, &r,
		                                on_crowd, &crowd, 0));
	}
	until(f, crowd.n == 1000);
	assert_int_equal(crowd.granted, 333);
	assert_int_equal(command(f, "DBSIZE"), 1 + 333);
	store_redis_free(other);
}

#define with_store(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_store(scenarios_of_the_scripts),
		with_store(scenarios_all_the_way),
		with_store(both_stores_count_alike),
		with_store(nothing_stays_for_ever),
		with_store(a_debt_outlives_the_minute),
		with_store(attack_scopes_pile_up),
		with_store(the_scripts_are_loaded_again),
		with_store(the_server_is_killed_and_comes_back),
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
		with_store(a_reload_keeps_the_connection),
		with_store(freed_with_calls_under_way),
		with_store(a_thousand_at_once_are_not_granted_too_much),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
