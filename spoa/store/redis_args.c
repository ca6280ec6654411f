/* store/redis_args: arguments of the limit scripts, and their answers. */
#include "store/redis_args.h"

#include "store/check.h"

#include <inttypes.h>

enum {
	ARGS_PREFIX_MAX = 256, /* bytes of redis.prefix */
	/* 16: the separators, braces and the longest suffix */
	ARGS_KEY_MAX = ARGS_PREFIX_MAX + CHECK_ACCOUNT_MAX + STORE_ID_MAX + 16,
	ARGS_NUMBER_MAX = 20, /* digits of UINT64_MAX */
	/* The most that one call can write; reserved at once, see
	 * struct redis_args. The last byte is the NUL of buf_fmt(). */
	ARGS_TEXT =
		3 * ARGS_KEY_MAX + REDIS_LINK_ARGS_MAX * ARGS_NUMBER_MAX + 1,
};

void redis_args_str(struct redis_args *a, struct str s)
{
	if (a->n < REDIS_LINK_ARGS_MAX)
		a->v[a->n++] = s;
	else
		a->text.failed = true;
}

/* The text that was written since `from` becomes one argument. */
static void rargs_end_arg(struct redis_args *a, size_t from)
{
	redis_args_str(a, str_from(buf_str(&a->text), from));
}

void redis_args_num(struct redis_args *a, uint64_t n)
{
	size_t from = a->text.len;

	buf_fmt(&a->text, "%" PRIu64, n);
	rargs_end_arg(a, from);
}

/* Both keys have the account as their hash tag, so that Redis Cluster has them
 * in one slot. */
bool redis_args_begin(struct redis_args *a, struct str prefix,
                      struct str account, struct str id)
{
	size_t from;

	a->n = 0;
	buf_init(&a->text, ARGS_TEXT);
	if (prefix.len > ARGS_PREFIX_MAX || !buf_reserve(&a->text, ARGS_TEXT))
		return false;
	buf_fmt(&a->text, "%" STR_FMT ":{%" STR_FMT "}:limits", STR_ARG(prefix),
	        STR_ARG(account));
	rargs_end_arg(a, 0);
	from = a->text.len;
	buf_fmt(&a->text, "%" STR_FMT ":{%" STR_FMT "}:r:%" STR_FMT,
	        STR_ARG(prefix), STR_ARG(account), STR_ARG(id));
	rargs_end_arg(a, from);
	return true;
}

void redis_args_ledger(struct redis_args *a, struct str prefix,
                       struct str account)
{
	size_t from = a->text.len;

	buf_fmt(&a->text, "%" STR_FMT ":{%" STR_FMT "}:ledger", STR_ARG(prefix),
	        STR_ARG(account));
	rargs_end_arg(a, from);
}

void redis_args_settings(struct redis_args *a, struct str prefix,
                         struct str account)
{
	size_t from = a->text.len;

	buf_fmt(&a->text, "%" STR_FMT ":{%" STR_FMT "}:set", STR_ARG(prefix),
	        STR_ARG(account));
	rargs_end_arg(a, from);
}

/* Without a caller the three names are sent empty, because the script finds its
 * arguments by position. */
void redis_args_reserve(struct redis_args *a, struct str prefix,
                        const struct store_reservation *r, bool forced)
{
	static const struct store_caller nobody;
	const struct store_caller *caller = r->caller ? r->caller : &nobody;
	size_t i;

	redis_args_settings(a, prefix, r->account);
	redis_args_num(a, STORE_RECORD_TTL_S * UINT64_C(1000));
	redis_args_str(a, caller->consumer);
	redis_args_str(a, caller->app);
	redis_args_str(a, caller->agent);
	redis_args_num(a, forced);
	for (i = 0; i < r->n_charges; i++) {
		const struct store_charge *charge = &r->charges[i];

		redis_args_str(a, charge->field);
		redis_args_num(a, charge->unit);
		redis_args_num(a, charge->window);
		redis_args_num(a, charge->limit);
		redis_args_num(a, charge->amount);
	}
}

/* Positions in the answer of reserve.lua; three numbers per charge follow. */
enum { REPLY_STATUS, REPLY_REFUSED, REPLY_RETRY, REPLY_BEFORE, REPLY_HEAD };

/* The answer is validated like any input from outside: `refused` is used as an
 * index by the callers. STORE_FAILED, the answer for a cancelled reservation,
 * is no result: false. */
bool redis_args_result(const struct redis_link_reply *reply, size_t n_charges,
                       struct store_result *res, bool *before)
{
	const int64_t *v = reply->v;
	size_t i;

	if (reply->kind != LINK_NUMBERS ||
	    reply->n != REPLY_HEAD + 3 * n_charges)
		return false;
	if (v[REPLY_STATUS] != STORE_OK && v[REPLY_STATUS] != STORE_BLOCKED &&
	    (v[REPLY_REFUSED] < 0 || (size_t)v[REPLY_REFUSED] >= n_charges))
		return false;
	if (v[REPLY_STATUS] != STORE_OK && v[REPLY_STATUS] != STORE_REFUSED &&
	    v[REPLY_STATUS] != STORE_TOO_LARGE &&
	    v[REPLY_STATUS] != STORE_BLOCKED)
		return false;
	res->status = (enum store_status)v[REPLY_STATUS];
	res->refused = (size_t)v[REPLY_REFUSED];
	res->retry_ms = (uint64_t)v[REPLY_RETRY];
	for (i = 0; i < n_charges; i++) {
		const int64_t *of = &v[REPLY_HEAD + 3 * i];

		res->remaining[i] = of[0];
		res->reset_ms[i] = (uint64_t)of[1];
		res->limit[i] = (uint64_t)of[2];
	}
	*before = v[REPLY_BEFORE] != 0;
	return true;
}

void redis_args_done(struct redis_args *a)
{
	buf_done(&a->text);
}

bool redis_args_call(struct redis_args *a, struct redis_link *l,
                     enum script script, redis_link_reply_cb *cb, void *ctx)
{
	return !a->text.failed &&
	       redis_link_call(l, script, a->v, a->n, cb, ctx);
}

/* Error codes of Redis 7 and Valkey 8. Any other error, such as WRONGTYPE or an
 * error of the script itself, would come back when the call is repeated. */
enum redis_error redis_error_of(struct str error)
{
	static const struct {
		struct str word;
		enum redis_error meaning;
	} table[] = {
		{STR_INIT("OOM"), REDIS_ERROR_LATER},
		{STR_INIT("BUSY"), REDIS_ERROR_LATER},
		{STR_INIT("TRYAGAIN"), REDIS_ERROR_LATER},
		{STR_INIT("CLUSTERDOWN"), REDIS_ERROR_LATER},
		{STR_INIT("MISCONF"), REDIS_ERROR_LATER},
		{STR_INIT("NOREPLICAS"), REDIS_ERROR_LATER},
		{STR_INIT("LOADING"), REDIS_ERROR_RECONNECT},
		{STR_INIT("READONLY"), REDIS_ERROR_RECONNECT},
		{STR_INIT("MASTERDOWN"), REDIS_ERROR_RECONNECT},
		{STR_INIT("NOAUTH"), REDIS_ERROR_RECONNECT},
	};
	struct str word = str_first(error, str_find(error, ' '));
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (str_eq(word, table[i].word))
			return table[i].meaning;
	return REDIS_ERROR_FINAL;
}
