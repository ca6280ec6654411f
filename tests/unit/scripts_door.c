/* The scripts of store/redis under a clock of the test's. */
#include "test.h"

#include "scripts_door.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

/* The script with its only use of the clock replaced. */
static char *with_our_clock(struct str script)
{
	static const char theirs[] = "redis.call('TIME')";
	static const char ours[] = "cjson.decode(redis.call('GET', 'clock'))";
	const char *at = strstr(script.p, theirs);
	size_t room = script.len + sizeof(ours);
	char *out = calloc(1, room);

	assert_non_null(at);
	assert_non_null(out);
	snprintf(out, room, "%.*s%s%s", (int)(at - script.p), script.p, ours,
	         at + sizeof(theirs) - 1);
	return out;
}

void scripts_door_init(struct scripts_door *d, const char *socket)
{
	int i;

	d->token = 0;
	d->redis = redisConnectUnix(socket);
	assert_non_null(d->redis);
	assert_int_equal(d->redis->err, 0);
	for (i = 0; i < SCRIPT_COUNT; i++)
		d->text[i] = with_our_clock(script_text((enum script)i));
}

void scripts_door_done(struct scripts_door *d)
{
	int i;

	for (i = 0; i < SCRIPT_COUNT; i++)
		free(d->text[i]);
	redisFree(d->redis);
}

void scripts_set_time(void *ctx, int64_t real_ms)
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
                       struct str id, const char *third)
{
	e->n = 0;
	eval_add(e, "EVAL");
	e->argv[e->n++] = script;
	eval_add(e, "3");
	eval_add(e, "t:{%" STR_FMT "}:limits", STR_ARG(account));
	eval_add(e, "t:{%" STR_FMT "}:r:%" STR_FMT, STR_ARG(account),
	         STR_ARG(id));
	eval_add(e, "t:{%" STR_FMT "}:%s", STR_ARG(account), third);
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

static void reserve(struct scripts_door *d, const struct store_reservation *r,
                    bool forced, struct store_result *res)
{
	struct eval e;
	redisReply *reply;
	size_t i;

	eval_begin(&e, d->text[SCRIPT_RESERVE], r->account, r->id, "set");
	eval_add(&e, "7200000");
	for (i = 0; i < 3; i++)
		eval_add(&e, "caller");
	eval_add(&e, forced ? "1" : "0");
	for (i = 0; i < r->n_charges; i++) {
		const struct store_charge *c = &r->charges[i];

		eval_add(&e, "%" STR_FMT, STR_ARG(c->field));
		eval_add(&e, "%d", c->unit);
		eval_add(&e, "%d", c->window);
		eval_add(&e, "%llu", (unsigned long long)c->limit);
		eval_add(&e, "%llu", (unsigned long long)c->amount);
	}
	reply = eval_run(&e, d->redis);
	assert_int_equal(reply->elements, 4 + 3 * r->n_charges);
	*res = (struct store_result){0};
	res->status = (enum store_status)reply->element[0]->integer;
	res->refused = (size_t)reply->element[1]->integer;
	res->retry_ms = (uint64_t)reply->element[2]->integer;
	for (i = 0; i < r->n_charges; i++) {
		redisReply **of = &reply->element[4 + 3 * i];

		res->remaining[i] = of[0]->integer;
		res->reset_ms[i] = (uint64_t)of[1]->integer;
		res->limit[i] = (uint64_t)of[2]->integer;
	}
	freeReplyObject(reply);
}

void scripts_reserve(void *ctx, const struct store_reservation *r,
                     struct store_result *res)
{
	reserve(ctx, r, false, res);
}

void scripts_force(struct scripts_door *d, const struct store_reservation *r,
                   struct store_result *res)
{
	reserve(d, r, true, res);
}

static enum store_status settle(struct scripts_door *d, struct str account,
                                struct str id, const struct store_usage *used,
                                unsigned mark_ms)
{
	enum store_status status;
	struct eval e;
	redisReply *reply;

	eval_begin(&e, d->text[SCRIPT_SETTLE], account, id, "ledger");
	eval_add(&e, "%llu", (unsigned long long)used->requests);
	eval_add(&e, "%llu", (unsigned long long)used->tokens);
	eval_add(&e, "%llu", (unsigned long long)used->nano_usd);
	eval_add(&e, "%u", mark_ms);
	eval_add(&e, "%llu", (unsigned long long)d->token);
	if (used->note.len > 0) {
		eval_add(&e, "100000000");
		eval_add(&e, "%" STR_FMT, STR_ARG(used->note));
	}
	reply = eval_run(&e, d->redis);
	status = (enum store_status)reply->element[0]->integer;
	freeReplyObject(reply);
	return status;
}

enum store_status scripts_settle(void *ctx, struct str account, struct str id,
                                 const struct store_usage *used)
{
	struct scripts_door *d = ctx;

	d->token++;
	return settle(d, account, id, used, 0);
}

enum store_status scripts_settle_again(void *ctx, struct str account,
                                       struct str id,
                                       const struct store_usage *used)
{
	return settle(ctx, account, id, used, 0);
}

enum store_status scripts_cancel(struct scripts_door *d, struct str account,
                                 struct str id, unsigned mark_ms)
{
	static const struct store_usage nothing;

	d->token++;
	return settle(d, account, id, &nothing, mark_ms);
}
