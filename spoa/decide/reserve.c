/*
 * decide/reserve: take from every limit of the consumer, or from none.
 *
 *   enough is known of leased limits ---> open_reservations; Redis is told
 *   Redis answers ----------------------> open_reservations / refused
 *   Redis away, per limit: local  -> counted in this process
 *                          allow  -> not counted
 *                          deny   -> 503
 *
 * Every request gets a record, also one without limits: its usage counts only
 * while that record is open (see usage/settle).
 */
#include "agent/agent.h"
#include "decide/pipeline.h"
#include "decide/reserve.h"
#include "decide/ratelimit.h"
#include "decide/verdict.h"
#include "store/blocked.h"
#include "store/open_reservations.h"

/* One agent of one project, whatever its version: Foundry names it
 * "name:version". Without a trusted name it is the identity that calls. */
static struct str agent_of(struct request *r, struct str app)
{
	const struct request_plan *plan = &r->plan;
	struct str name = plan->agent;
	size_t n = name.len;

	if (name.len == 0)
		return arena_fmt(&r->arena, "%" STR_FMT "/%" STR_FMT,
		                 STR_ARG(app), STR_ARG(plan->identity->object));
	while (n > 0 && name.p[n - 1] != ':')
		n--;
	if (n > 1)
		name.len = n - 1;
	return arena_fmt(&r->arena, "%" STR_FMT "/%" STR_FMT,
	                 STR_ARG(plan->project), STR_ARG(name));
}

static struct str scope_of(struct request *r, const struct policy_limit *l)
{
	const struct identity *who = r->plan.identity;
	struct str app = who->app.len > 0 ? who->app : who->key;

	switch (l->per) {
	case PER_CONSUMER:
		return r->plan.consumer->name;
	case PER_APP:
		return app;
	case PER_AGENT:
		return agent_of(r, app);
	case PER_MODEL:
		return r->plan.model ? r->plan.model->name : STR("-");
	case PER_TEAM:
		break;
	}
	return STR_NONE;
}

/* A background response is not in flight: it is answered at once, and settled
 * when somebody asks for it. */
static uint64_t amount_of(const struct request *r, enum limit_unit unit)
{
	const struct request_plan *plan = &r->plan;
	bool background = plan->call.operation == API_RESPONSES &&
	                  r->facts.uses.background;

	switch (unit) {
	case UNIT_REQUESTS:
		return 1;
	case UNIT_TOKENS:
		return plan->prompt_tokens + plan->output_tokens;
	case UNIT_USD:
		break;
	case UNIT_CONCURRENT:
		return background ? 0 : 1;
	}
	return plan->nano_usd;
}

static void make_charges(struct request *r)
{
	const struct policy_consumer *c = r->plan.consumer;
	const struct identity *who = r->plan.identity;
	struct str app = who->app.len > 0 ? who->app : who->key;
	size_t i;

	r->plan.caller = (struct store_caller){c->name, app, agent_of(r, app)};

	r->plan.n_charges = 0;
	for (i = 0; i < c->n_limits && i < STORE_MAX_CHARGES; i++) {
		const struct policy_limit *l = &r->policy->limits[c->limits[i]];
		struct store_charge *charge = &r->plan.charges[i];
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
		r->plan.limits[i] = l;
		r->plan.n_charges++;
	}
}

static struct store_reservation reservation_of(const struct request *r)
{
	return (struct store_reservation){
		.account = r->plan.account,
		.id = r->facts.id,
		.charges = r->plan.charges,
		.n_charges = r->plan.n_charges,
		.caller = &r->plan.caller,
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
	const struct policy_limit *l = r->plan.limits[res->refused];
	const struct store_charge *c = &r->plan.charges[res->refused];
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

/* Who has decided? */
static void count_mode(const struct request *r)
{
	char space[64];
	struct buf labels = {
		.p = space, .cap = sizeof(space), .max = sizeof(space)};
	struct str mode = STR("exact");

	if (r->plan.reserved_local)
		mode = STR("memory");
	else if (r->plan.leased)
		mode = STR("lease");
	metrics_label(&labels, "mode", mode);
	metric_add(metrics_get(r->agent->metrics,
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
	r->plan.reserved = true;
	return STEP_NEXT;
}

static enum step_result reserve_in_memory(struct request *r)
{
	struct store_reservation sr = reservation_of(r);
	struct store_result res;

	store_memory_reserve(r->agent->memory, &sr, &res);
	if (res.status == STORE_FAILED)
		return verdict_deny(r, DENY_STORE, NULL);
	r->plan.reserved_local = true;
	return conclude(r, &res);
}

/* Redis is away: keep the limits that may be counted here, drop those that
 * allow, refuse when one says so. Whoever was blocked stays so. */
static enum step_result degrade(struct request *r)
{
	size_t i, kept = 0;

	if (blocked_has(r->agent->blocked, &r->plan.caller))
		return verdict_deny(r, DENY_BLOCKED, NULL);
	for (i = 0; i < r->plan.n_charges; i++) {
		const struct policy_limit *l = r->plan.limits[i];

		if (l->on_store_failure == FAIL_DENY) {
			verdict_deny(r, DENY_STORE, NULL);
			r->verdict.limit = l->name;
			return STEP_DONE;
		}
		if (l->on_store_failure == FAIL_ALLOW)
			continue;
		r->plan.charges[kept] = r->plan.charges[i];
		r->plan.limits[kept++] = l;
	}
	r->plan.n_charges = kept;
	return reserve_in_memory(r);
}

/* Redis has answered, or will not. */
static void on_reserved(void *ctx, uint64_t ref, const struct store_result *res)
{
	struct agent *a = ctx;
	struct request *r = requests_find(a->requests, ref);

	/* The store's deadline is shorter than the request's, so it is there;
	 * were it not, its reservation would stay charged, which is the safe
	 * side. */
	if (!r)
		return;
	r->store_result = *res;
	pipeline_wake(a, ref);
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
	if (store_redis_lease(r->agent->redis, &sr, &res)) {
		r->plan.leased = true;
		return conclude(r, &res);
	}
	if (!store_redis_reserve(r->agent->redis, &sr, on_reserved, r->agent,
	                         r->ref))
		return degrade(r);
	r->waits_for = "limit store";
	return STEP_PARKED;
}

void store_give_back(struct agent *a, struct str account, struct str id,
                       bool local)
{
	static const struct store_usage nothing;

	if (local)
		store_memory_settle(a->memory, account, id, &nothing);
	else
		store_redis_settle(a->redis, account, id, &nothing, NULL, NULL);
}

void reserve_undo(struct request *r)
{
	if (!r->plan.reserved)
		return;
	r->plan.reserved = false;
	open_reservations_remove(r->agent->open_reservations, r->facts.id, NULL);
	store_give_back(r->agent, r->plan.account, r->facts.id,
	                  r->plan.reserved_local);
}
