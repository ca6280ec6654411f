/*
 * decide/reserve: take from every limit of the consumer, or from none.
 *
 *   enough is known of leased limits ---> granted; Redis is told
 *   Redis answers ----------------------> granted / refused
 *   Redis away, per limit: local  -> counted in this process
 *                          allow  -> not counted
 *                          deny   -> 503
 *
 * Every request gets a record, also one without limits: its usage counts only
 * while that record is open (see usage/settle).
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

/* One agent of one project, whatever its version: Foundry names it
 * "name:version". Without a trusted name it is the identity that calls. */
static struct str agent_of(struct request *r, struct str app)
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

static struct str scope_of(struct request *r, const struct policy_limit *l)
{
	const struct identity *who = r->caller.identity;
	struct str app = who->app.len > 0 ? who->app : who->key;

	switch (l->per) {
	case PER_CONSUMER:
		return r->caller.consumer->name;
	case PER_APP:
		return app;
	case PER_AGENT:
		return agent_of(r, app);
	case PER_MODEL:
		return r->call.model ? r->call.model->name : STR("-");
	case PER_TEAM:
		break;
	}
	return STR_NONE;
}

/* A background response is not in flight: it is answered at once, and settled
 * when somebody asks for it. */
static uint64_t amount_of(const struct request *r, enum limit_unit unit)
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

static void make_charges(struct request *r)
{
	const struct policy_consumer *c = r->caller.consumer;
	const struct identity *who = r->caller.identity;
	struct str app = who->app.len > 0 ? who->app : who->key;
	size_t i;

	r->caller.scope = (struct store_caller){c->name, app, agent_of(r, app)};

	r->charge.n = 0;
	for (i = 0; i < c->n_limits && i < STORE_MAX_CHARGES; i++) {
		const struct policy_limit *l = &r->policy->limits[c->limits[i]];
		struct store_charge *charge = &r->charge.items[i];
		struct str scope = scope_of(r, l);

		charge->field =
			scope.len == 0
				? l->name
				: arena_fmt(&r->arena, "%" STR_FMT ":%" STR_FMT,
		                            STR_ARG(l->name), STR_ARG(scope));
		charge->unit = l->unit;
		charge->window = l->window;
		charge->limit = l->amount;
		charge->amount = amount_of(r, l->unit);
		charge->share = l->lease_share;
		r->charge.limits[i] = l;
		r->charge.n++;
	}
}

static struct store_reservation reservation_of(const struct request *r)
{
	return (struct store_reservation){
		.account = r->caller.account,
		.id = r->facts.id,
		.charges = r->charge.items,
		.n_charges = r->charge.n,
		.caller = &r->caller.scope,
	};
}

static const char *unit_name(enum limit_unit unit)
{
	static const char *const names[] = {
		[UNIT_REQUESTS] = "requests",
		[UNIT_TOKENS] = "tokens",
		[UNIT_USD] = "nano-dollars",
		[UNIT_CONCURRENT] = "requests at once",
	};

	return names[unit];
}

static enum step_result refuse(struct request *r,
                               const struct store_result *res)
{
	const struct policy_limit *l = r->charge.limits[res->refused];
	const struct store_charge *c = &r->charge.items[res->refused];
	uint64_t amount = res->limit[res->refused];

	if (res->status == STORE_TOO_LARGE) {
		verdict_deny(r, DENY_LIMIT_NEVER,
		             "The request may need %llu %s; the limit "
		             "'%" STR_FMT "' never allows more than %llu. "
		             "Ask for fewer output tokens or send less.",
		             (unsigned long long)c->amount, unit_name(c->unit),
		             STR_ARG(l->name), (unsigned long long)amount);
	} else {
		verdict_deny(r, DENY_LIMIT,
		             "The limit '%" STR_FMT "' (%llu %s) is used up. "
		             "Try again in %llu seconds.",
		             STR_ARG(l->name), (unsigned long long)amount,
		             unit_name(c->unit),
		             (unsigned long long)(res->retry_ms + 999) / 1000);
		r->verdict.retry_after_s = (res->retry_ms + 999) / 1000;
		if (r->verdict.retry_after_s == 0)
			r->verdict.retry_after_s = 1;
	}
	r->verdict.limit = l->name;
	return STEP_DONE;
}

/* Count whether memory, a lease or Redis itself decided. */
static void count_mode(const struct request *r)
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

static enum step_result conclude(struct request *r,
                                 const struct store_result *res)
{
	count_mode(r);
	if (res->status == STORE_BLOCKED)
		return verdict_deny(r, DENY_BLOCKED, NULL);
	ratelimit_set(r, res);
	if (res->status != STORE_OK)
		return refuse(r, res);
	r->charge.reserved = true;
	return STEP_NEXT;
}

static enum step_result reserve_in_memory(struct request *r)
{
	struct store_reservation sr = reservation_of(r);
	struct store_result res;

	store_memory_reserve(r->decider->memory, &sr, &res);
	if (res.status == STORE_FAILED)
		return verdict_deny(r, DENY_STORE, NULL);
	r->charge.local = true;
	return conclude(r, &res);
}

/* Redis is away: keep the limits that may be counted here, drop those that
 * allow, refuse when one says so. Whoever was blocked stays so. */
static enum step_result degrade(struct request *r)
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
	return reserve_in_memory(r);
}

/* Redis has answered, or will not. */
static void on_reserved(void *table, uint64_t ref,
                        const struct store_result *res)
{
	struct request *r = requests_find(table, ref);

	/* The store's deadline is shorter than the request's, so it is there;
	 * were it not, its reservation would stay charged, which is the safe
	 * side. */
	if (!r)
		return;
	r->store_result = *res;
	requests_wake(table, ref);
}

enum step_result decide_reserve(struct request *r)
{
	struct store_reservation sr;
	struct store_result res;

	if (r->woken)
		return r->store_result.status == STORE_FAILED
		               ? degrade(r)
		               : conclude(r, &r->store_result);
	make_charges(r);
	if (!r->policy->redis.enabled)
		return reserve_in_memory(r);
	sr = reservation_of(r);
	if (store_redis_lease(r->decider->redis, &sr, &res)) {
		r->charge.leased = true;
		return conclude(r, &res);
	}
	if (!store_redis_reserve(r->decider->redis, &sr, on_reserved, r->table,
	                         r->ref))
		return degrade(r);
	requests_park(r, "limit store");
	return STEP_PARKED;
}

void reserve_undo(struct request *r)
{
	if (!r->charge.reserved)
		return;
	r->charge.reserved = false;
	open_reservations_remove(r->decider->open, r->facts.id, NULL);
	reservation_give_back(r->decider->memory, r->decider->redis,
	                      r->caller.account, r->facts.id, r->charge.local);
}
