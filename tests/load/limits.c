/*
 * limits: many reservations at once on one limit, from several nodes of one
 * Redis. For tests/load/limits.sh, which compares what is said here with what
 * Redis holds.
 *
 *   limits SOCKET REQUESTS AT_ONCE LIMIT SHARE
 *
 * SHARE is what a node may lease, 0: exact mode. Each node has a connection of
 * its own. Each request wants 1 to 200 tokens, uses some of them, lasts for
 * some milliseconds, and is settled by another node; one in ten twice.
 */
#include "base/log.h"
#include "store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { NODES = 3, LASTS_US = 10000 };

struct request {
	struct bench *bench;
	size_t number;
	uint64_t amount, used;
	uint64_t asked_us, admitted_us;
	struct request *next;
};

struct bench {
	struct loop *loop;
	struct store_redis *nodes[NODES];
	struct request *requests;
	struct request *running, **running_end; /* admitted, oldest first */
	double share;
	uint64_t waited_us;
	double decided_at;
	size_t n, at_once, asked, under_way, ended;
	uint64_t limit, held, most_held, used;
	size_t admitted, leased, failed, settles, settles_told;
	struct loop_timer tick;
};

static struct store_redis *node_of(const struct bench *b, size_t number)
{
	return b->nodes[number % NODES];
}

static void id_of(char id[24], size_t number)
{
	snprintf(id, 24, "n-%zu", number);
}

static void on_settled(void *ctx, struct str id, enum store_status status)
{
	struct bench *b = ctx;

	(void)id;
	(void)status;
	b->settles_told++;
}

static void settle(struct request *r)
{
	struct bench *b = r->bench;
	struct store_usage used = {.tokens = r->used};
	int times = r->number % 10 ? 1 : 2;
	char id[24];

	id_of(id, r->number);
	used.note = str_c(id);
	b->held -= r->amount - r->used;
	b->used += r->used;
	b->under_way--;
	for (; times > 0; times--) {
		b->settles++;
		/* by another node than the one that reserved */
		store_redis_settle(node_of(b, r->number + 1), STR("bench"),
		                   str_c(id), &used, on_settled, b);
	}
}

static double seconds(void)
{
	return (double)clock_mono_us(&clock_system) / 1e6;
}

static void decided(struct request *r, const struct store_result *res)
{
	struct bench *b = r->bench;

	b->waited_us += clock_mono_us(&clock_system) - r->asked_us;
	b->ended++;
	if (b->ended == b->n)
		b->decided_at = seconds();
	if (res->status != STORE_OK) {
		b->failed += res->status == STORE_FAILED;
		b->under_way--;
		return;
	}
	b->admitted++;
	b->held += r->amount;
	if (b->held > b->most_held)
		b->most_held = b->held;
	r->admitted_us = clock_mono_us(&clock_system);
	*b->running_end = r;
	b->running_end = &r->next;
}

static bool on_reserved(void *ctx, uint64_t ref, const struct store_result *res)
{
	struct bench *b = ctx;

	/* what is given back meanwhile may hide some; Redis tells the rest,
	 * also when it refuses */
	if (res->status != STORE_FAILED &&
	    (int64_t)b->limit - res->remaining[0] > (int64_t)b->most_held)
		b->most_held =
			(uint64_t)((int64_t)b->limit - res->remaining[0]);
	decided(&b->requests[ref], res);
	return true;
}

static bool ask(struct bench *b)
{
	struct request *r = &b->requests[b->asked];
	static const struct store_caller caller = {
		STR_INIT("bench"), STR_INIT("app"), STR_INIT("agent")};
	struct store_charge c = {STR("tight"), UNIT_TOKENS, WINDOW_MONTH,
	                         b->limit,     0,           b->share};
	char id[24];
	struct store_reservation want = {.account = STR("bench"),
	                                 .charges = &c,
	                                 .n_charges = 1,
	                                 .caller = &caller};
	struct store_result res;

	r->bench = b;
	r->number = b->asked;
	r->amount = c.amount = (uint64_t)random() % 200 + 1;
	r->used = (uint64_t)random() % (r->amount + 1);
	id_of(id, r->number);
	want.id = str_c(id);
	r->asked_us = clock_mono_us(&clock_system);
	if (store_redis_lease(node_of(b, r->number), &want, &res)) {
		b->leased++;
		b->under_way++;
		decided(r, &res);
	} else if (store_redis_reserve(node_of(b, r->number), &want,
	                               on_reserved, b, r->number)) {
		b->under_way++;
	} else {
		return false;
	}
	b->asked++;
	return true;
}

static void end_some(struct bench *b)
{
	uint64_t now = clock_mono_us(&clock_system);

	while (b->running && now - b->running->admitted_us >= LASTS_US) {
		struct request *r = b->running;

		b->running = r->next;
		if (!b->running)
			b->running_end = &b->running;
		settle(r);
	}
}

static bool is_over(const struct bench *b)
{
	size_t i, pending = 0;

	for (i = 0; i < NODES; i++)
		pending += store_redis_pending(b->nodes[i]);
	return b->ended == b->n && !b->running && pending == 0;
}

static void on_tick(void *data)
{
	struct bench *b = data;

	end_some(b);
	while (b->asked < b->n && b->under_way < b->at_once && ask(b))
		;
	if (is_over(b))
		loop_stop(b->loop);
	else
		loop_timer_start(b->loop, &b->tick, 1, on_tick, b);
}

static void connect_nodes(struct bench *b, struct policy *p)
{
	const char *error;
	size_t i;

	for (i = 0; i < NODES; i++) {
		b->nodes[i] = store_redis_new(b->loop, &clock_system, NULL);
		if (!b->nodes[i] ||
		    !store_redis_configure(b->nodes[i], p, &error)) {
			fprintf(stderr, "limits: no store\n");
			exit(1);
		}
	}
}

int main(int argc, char **argv)
{
	struct bench b = {0};
	struct policy_limit limit = {.name = STR("tight")};
	struct policy p = {.refs = 2, .limits = &limit, .n_limits = 1};
	double began;
	size_t i;

	if (argc != 6) {
		fprintf(stderr,
		        "usage: limits SOCKET REQUESTS AT_ONCE LIMIT SHARE\n");
		return 2;
	}
	p.redis.enabled = true;
	p.redis.endpoints[0].host = str_c(argv[1]);
	p.redis.n_endpoints = 1;
	p.redis.deadline_ms = 10000;
	p.redis.prefix = STR("gw");
	p.ledger.stream_max = 100000000;
	b.n = strtoul(argv[2], NULL, 10);
	b.at_once = strtoul(argv[3], NULL, 10);
	b.limit = strtoull(argv[4], NULL, 10);
	b.share = limit.lease_share = strtod(argv[5], NULL);
	b.running_end = &b.running;
	b.requests = calloc(b.n, sizeof(*b.requests));
	b.loop = loop_new();
	if (!b.requests || !b.loop)
		return 1;
	log_set_level(LOG_WARN);
	srandom((unsigned)time(NULL));
	connect_nodes(&b, &p);
	began = seconds();
	loop_timer_start(b.loop, &b.tick, 1, on_tick, &b);
	loop_run(b.loop);
	printf("requested=%zu admitted=%zu leased=%zu failed=%zu settles=%zu "
	       "used=%" PRIu64 " most_held=%" PRIu64 " seconds=%.3f "
	       "wait_ms=%.3f nodes=%d\n",
	       b.n, b.admitted, b.leased, b.failed, b.settles, b.used,
	       b.most_held, b.decided_at - began,
	       (double)b.waited_us / 1000 / (double)b.n, NODES);
	for (i = 0; i < NODES; i++)
		store_redis_free(b.nodes[i]);
	loop_free(b.loop);
	free(b.requests);
	return b.failed > 0;
}
