/*
 * decide/reserve: take from every limit of the consumer, or from none.
 *
 *   rsrv_make_charges   one store_charge for each limit of the consumer
 *         |
 *         +-- no Redis configured ----------------> rsrv_in_memory
 *         +-- store_redis_lease: known well enough > rsrv_handle_result
 *         +-- store_redis_reserve: parked
 *               Redis answers --------------------> rsrv_handle_result
 *               Redis is away ---> rsrv_degrade
 *                   a limit says deny ------------> 503
 *                   limits that say allow go
 *                   limits that say local --------> rsrv_in_memory
 *
 * Every request gets a record, also one without limits: its usage counts only
 * while that record is open (usage/settle).
 *
 * The store does all limits of a request in one step, so a refusal by one takes
 * nothing from the others.
 */
#include "decide/reserve.h"

#include "decide/decider.h"
#include "decide/ratelimit.h"
#include "decide/step.h"
#include "decide/verdict.h"
#include "request/table.h"
#include "store/blocked.h"
#include "store/open_reservations.h"
#include "store/reservation.h"

/* The name by which limits `per: agent` tell agents apart. With a trusted name
 * "PROJECT/AGENT", whatever the version: Foundry sends "name:version"
 * (foundry.md 2.3). Else "APP/OBJECT" of the token, as each published agent has
 * an identity of its own (azure.md 1.10). */
static struct str rsrv_agent(struct request *r, struct str app)
{
	struct str name = r->caller.agent;
	size_t n = name.len;

	if (name.len == 0)
		return arena_fmt(&r->arena, "%" STR_FMT "/%" STR_FMT,
		                 STR_ARG(app),
		                 STR_ARG(r->caller.identity->object));
	while (n > 0 && name.p[n - 1] != ':')
		n--;
	if (n > 1)
		name.len = n - 1;
	return arena_fmt(&r->arena, "%" STR_FMT "/%" STR_FMT,
	                 STR_ARG(r->caller.project), STR_ARG(name));
}

/* Whose share of the limit this request uses; empty: all share it. The name is
 * a part of the field in the store, so it must not change between releases. */
static struct str rsrv_scope(struct request *r, const struct policy_limit *l)
{
	const struct identity *who = r->caller.identity;
	/* a gateway key stands for an app that has no token */
	struct str app = who->app.len > 0 ? who->app : who->key;

	switch (l->per) {
	case PER_CONSUMER:
		return r->caller.consumer->name;
	case PER_APP:
		return app;
	case PER_AGENT:
		return rsrv_agent(r, app);
	case PER_MODEL:
		return r->call.model ? r->call.model->name : STR("-");
	case PER_TEAM:
		break;
	}
	return STR_NONE;
}

/* In the unit of the limit: requests, tokens, nano-dollars, requests in flight.
 * A background response is not in flight: it is answered at once, and settled
 * when somebody asks for it. */
static uint64_t rsrv_amount(const struct request *r, enum limit_unit unit)
{
	bool background = r->call.api.operation == API_RESPONSES &&
	                  r->facts.refs.background;

	switch (unit) {
	case UNIT_REQUESTS:
		return 1;
	case UNIT_TOKENS:
		return r->charge.prompt_tokens + r->charge.output_tokens;
	case UNIT_USD:
		break;
	case UNIT_CONCURRENT:
		return background ? 0 : 1;
	}
	return r->charge.nano_usd;
}

/* charge.items[] and the names that blocks go by. A limit of the policy is one
 * field in the account, or one for each scope. conf/options refuses a
 * consumer with more than STORE_MAX_CHARGES limits. */
static void rsrv_make_charges(struct request *r)
{
	const struct policy_consumer *c = r->caller.consumer;
	const struct identity *who = r->caller.identity;
	struct str app = who->app.len > 0 ? who->app : who->key;
	size_t i;

	r->caller.scope =
		(struct store_caller){c->name, app, rsrv_agent(r, app)};

	r->charge.n = 0;
	for (i = 0; i < c->n_limits && i < STORE_MAX_CHARGES; i++) {
		const struct policy_limit *l = &r->policy->limits[c->limits[i]];
		struct store_charge *charge = &r->charge.items[i];
		struct str scope = rsrv_scope(r, l);

		charge->field =
			scope.len == 0
				? l->name
				: arena_fmt(&r->arena, "%" STR_FMT ":%" STR_FMT,
		                            STR_ARG(l->name), STR_ARG(scope));
		charge->unit = l->unit;
		charge->window = l->window;
		charge->limit = l->amount;
		charge->amount = rsrv_amount(r, l->unit);
		charge->share = l->lease_share;
		r->charge.limits[i] = l;
		r->charge.n++;
	}
}

static struct store_reservation rsrv_reservation(const struct request *r)
{
	return (struct store_reservation){
		.account = r->caller.account,
		.id = r->facts.id,
		.charges = r->charge.items,
		.n_charges = r->charge.n,
		.caller = &r->caller.scope,
	};
}

static const char *rsrv_unit_name(enum limit_unit unit)
{
	static const char *const names[] = {
		[UNIT_REQUESTS] = "requests",
		[UNIT_TOKENS] = "tokens",
		[UNIT_USD] = "nano-dollars",
		[UNIT_CONCURRENT] = "requests at once",
	};

	return names[unit];
}

/* A limit has refused: DENY_LIMIT_NEVER or DENY_LIMIT, with its name. */
static enum step_result rsrv_deny(struct request *r,
                                  const struct store_result *res)
{
	const struct policy_limit *l = r->charge.limits[res->refused];
	const struct store_charge *c = &r->charge.items[res->refused];
	/* what an operator has set at run time, if so */
	uint64_t amount = res->limit[res->refused];

	if (res->status == STORE_TOO_LARGE) {
		verdict_deny(r, DENY_LIMIT_NEVER,
		             "The request may need %llu %s; the limit "
		             "'%" STR_FMT "' never allows more than %llu. "
		             "Ask for fewer output tokens or send less.",
		             (unsigned long long)c->amount,
		             rsrv_unit_name(c->unit), STR_ARG(l->name),
		             (unsigned long long)amount);
	} else {
		verdict_deny(r, DENY_LIMIT,
		             "The limit '%" STR_FMT "' (%llu %s) is used up. "
		             "Try again in %llu seconds.",
		             STR_ARG(l->name), (unsigned long long)amount,
		             rsrv_unit_name(c->unit),
		             (unsigned long long)(res->retry_ms + 999) / 1000);
		r->verdict.retry_after_s = (res->retry_ms + 999) / 1000;
		/* 0 would be left out, and clients that are told nothing try
		 * again at once */
		if (r->verdict.retry_after_s == 0)
			r->verdict.retry_after_s = 1;
	}
	r->verdict.limit = l->name;
	return STEP_DONE;
}

/* Count whether memory, a lease or Redis itself has decided. */
static void rsrv_count_mode(const struct request *r)
{
	char space[64];
	struct buf labels = {
		.p = space, .cap = sizeof(space), .max = sizeof(space)};
	struct str mode = STR("exact");

	if (r->charge.local)
		mode = STR("memory");
	else if (r->charge.leased)
		mode = STR("lease");
	metrics_label(&labels, "mode", mode);
	metric_add(metrics_get(r->decider->metrics,
	                       "foundry_limit_decisions_total",
	                       buf_str(&labels)),
	           1);
}

/* The store has decided: anything but STORE_FAILED and STORE_UNKNOWN. */
static enum step_result rsrv_handle_result(struct request *r,
                                           const struct store_result *res)
{
	rsrv_count_mode(r);
	if (res->status == STORE_BLOCKED)
		return verdict_deny(r, DENY_BLOCKED, NULL);
	ratelimit_set(r, res);
	if (res->status != STORE_OK)
		return rsrv_deny(r, res);
	r->charge.reserved = true;
	return STEP_NEXT;
}

/* Counted in this worker alone: the limits of a configuration without Redis, or
 * what rsrv_degrade has left of them. */
static enum step_result rsrv_in_memory(struct request *r)
{
	struct store_reservation sr = rsrv_reservation(r);
	struct store_result res;

	store_memory_reserve(r->decider->memory, &sr, &res);
	if (res.status == STORE_FAILED)
		return verdict_deny(r, DENY_STORE, NULL);
	r->charge.local = true;
	return rsrv_handle_result(r, &res);
}

/* Redis is away: each limit says in on_store_failure what then counts. The list
 * of blocked callers that was read last stays in force. */
static enum step_result rsrv_degrade(struct request *r)
{
	size_t i, kept = 0;

	if (blocked_has(r->decider->blocked, &r->caller.scope))
		return verdict_deny(r, DENY_BLOCKED, NULL);
	for (i = 0; i < r->charge.n; i++) {
		const struct policy_limit *l = r->charge.limits[i];

		if (l->on_store_failure == FAIL_DENY) {
			verdict_deny(r, DENY_STORE, NULL);
			r->verdict.limit = l->name;
			return STEP_DONE;
		}
		if (l->on_store_failure == FAIL_ALLOW)
			continue;
		r->charge.items[kept] = r->charge.items[i];
		r->charge.limits[kept++] = l;
	}
	r->charge.n = kept;
	return rsrv_in_memory(r);
}

/* Redis has answered, or its deadline (redis.deadline_ms) has passed. That is
 * shorter than the request's (conf/process), but begins later: a request that
 * has waited for keys or objects before may have ended. */
static bool rsrv_on_reserved(void *table, uint64_t ref,
                             const struct store_result *res)
{
	struct request *r = requests_find(table, ref);

	if (!r)
		return false;
	r->store_result = *res;
	requests_wake(table, ref);
	return true;
}

enum step_result decide_reserve(struct request *r)
{
	struct store_reservation sr;
	struct store_result res;

	/* nothing but rsrv_on_reserved wakes this step */
	if (r->woken)
		return r->store_result.status == STORE_FAILED
		               ? rsrv_degrade(r)
		               : rsrv_handle_result(r, &r->store_result);
	rsrv_make_charges(r);
	if (!r->policy->redis.enabled)
		return rsrv_in_memory(r);
	sr = rsrv_reservation(r);
	if (store_redis_lease(r->decider->redis, &sr, &res)) {
		r->charge.leased = true;
		return rsrv_handle_result(r, &res);
	}
	if (!store_redis_reserve(r->decider->redis, &sr, rsrv_on_reserved,
	                         r->table, r->ref))
		return rsrv_degrade(r);
	requests_park(r, "limit store");
	return STEP_PARKED;
}

void reserve_undo(struct request *r)
{
	if (!r->charge.reserved)
		return;
	r->charge.reserved = false;
	/* not there when it was denied before it was registered */
	open_reservations_remove(r->decider->open, r->facts.id, NULL);
	reservation_give_back(r->decider->memory, r->decider->redis,
	                      r->caller.account, r->facts.id, r->charge.local);
}
