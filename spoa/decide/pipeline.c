/* decide/pipeline: a request's way through the steps. */
#include "decide/pipeline.h"

#include "agent/agent.h"
#include "decide/reserve.h"
#include "decide/decision_log.h"
#include "decide/verdict.h"
#include "spop/ack.h"
#include "store/open_reservations.h"

#include <assert.h>

static const struct {
	const char *name;
	step_fn *run;
} steps[REQUEST_N_STEPS] = {
	{"authenticate", decide_authenticate},
	{"demand", decide_resolve},
	{"objects", decide_objects},
	{"authorize", decide_authorize},
	{"estimate", decide_estimate},
	{"reserve", decide_reserve},
	{"route", decide_route},
	{"adapt", decide_adapt},
	{"credential", decide_credential},
};

const char *pipeline_step_name(unsigned step)
{
	return step < REQUEST_N_STEPS ? steps[step].name : "done";
}

/* The deadline timer follows the oldest request: all have the same time. */
static void arm_deadline(struct agent *a)
{
	const struct request *oldest = requests_oldest(a->requests);
	uint64_t now, due;

	if (!oldest) {
		loop_timer_stop(&a->deadline);
		return;
	}
	if (loop_timer_active(&a->deadline))
		return;
	now = clock_mono_us(a->clock);
	due = oldest->started_us +
	      (uint64_t)oldest->policy->decision_timeout_ms * 1000;
	loop_timer_start(a->loop, &a->deadline,
	                 due > now ? (due - now + 999) / 1000 : 0,
	                 pipeline_expire, a);
}

/* Build the ACK. An allow that does not fit becomes a denial that does. */
static bool answer(struct request *r)
{
	struct buf *out = conns_reply(r->agent->conns, r->conn);

	if (!out)
		return false;
	if (!answer_write(r, out)) {
		verdict_deny(r, DENY_ACK_TOO_LARGE, NULL);
		if (!answer_write(r, out))
			return false;
	}
	conns_replied(r->agent->conns, r->conn);
	return true;
}

/* Remember whose the reservation is before HAProxy can say how it ended. False:
 * HAProxy has said already that it waits no more. */
static bool grant(const struct request *r)
{
	const struct request_plan *p = &r->plan;
	struct agent *a = r->agent;
	const struct open_reservation to = {
		.account = p->account,
		.consumer = p->consumer ? p->consumer->name : STR_NONE,
		.model = p->model ? p->model->name : p->model_name,
		.worker = p->reserved_local ? (int)a->worker : -1,
	};

	if (r->verdict.verdict != VERDICT_ALLOW || !p->reserved)
		return true;
	return open_reservations_add(a->open_reservations, r->facts.id, &to,
	                   clock_mono_us(a->clock));
}

/* The verdict is set: undo what must not stand, answer, tell, forget. */
static void finish(struct request *r)
{
	struct agent *a = r->agent;
	bool told;

	waiter_cancel(&r->wait);
	loop_timer_stop(&r->again);
	if (r->arena.overflow)
		verdict_deny(r, DENY_WORKSPACE, NULL);
	told = grant(r);
	told = answer(r) && told;
	if (!told || r->verdict.verdict != VERDICT_ALLOW)
		reserve_undo(r);
	decision_log_write(r, told);
	identity_unref(r->plan.identity);
	policy_unref(r->policy);
	requests_release(a->requests, r);
}

static void run(struct request *r)
{
	enum step_result res = STEP_NEXT;
	uint64_t before = clock_mono_us(r->agent->clock);

	r->parked = false;
	while (r->step < REQUEST_N_STEPS) {
		uint64_t after;

		res = steps[r->step].run(r);
		after = clock_mono_us(r->agent->clock);
		r->step_us[r->step] += after - before;
		before = after;
		if (res != STEP_NEXT)
			break;
		r->step++;
		r->woken = false;
	}
	if (res == STEP_PARKED) {
		r->parked = true;
		r->parked_us = before;
		arm_deadline(r->agent);
		return;
	}
	if (res == STEP_NEXT)
		verdict_allow(r);
	assert(r->verdict.verdict != VERDICT_NONE);
	finish(r);
}

/* No place for the request: answer without one. */
static void refuse_overload(struct agent *a, struct conn_ref conn,
                            size_t ack_limit)
{
	struct buf *out = conns_reply(a->conns, conn);
	struct ack ack;

	if (!out)
		return;
	ack_begin(&ack, out, conn.stream_id, conn.frame_id, ack_limit);
	ack_set_str(&ack, "verdict", STR("deny"));
	ack_set_int(&ack, "status", verdict_status(DENY_OVERLOAD));
	ack_set_str(&ack, "code", str_c(verdict_code(DENY_OVERLOAD)));
	ack_set_int(&ack, "retry_after", 1);
	ack_set_str(&ack, "error",
	            STR("{\"error\":{\"message\":\"The gateway is deciding "
	                "too many requests at once.\",\"type\":\"api_error\","
	                "\"param\":null,\"code\":\"gateway_overloaded\"}}"));
	if (ack_end(&ack))
		conns_replied(a->conns, conn);
}

void pipeline_start(struct agent *a, struct conn_ref conn,
                    const struct frame *f, size_t ack_limit)
{
	struct request *r = requests_take(a->requests);

	if (!r) {
		refuse_overload(a, conn, ack_limit);
		return;
	}
	r->agent = a;
	r->conn = conn;
	r->ack_limit = ack_limit;
	r->policy = policy_ref(a->policy);
	r->started_us = clock_mono_us(a->clock);
	if (!request_read(r, f)) {
		verdict_deny(r, DENY_MALFORMED_NOTIFY, NULL);
		finish(r);
		return;
	}
	operations_find(r->facts.method, r->facts.path, &r->arena, &r->plan.call);
	run(r);
}

void pipeline_wake(void *ctx, uint64_t ref)
{
	struct agent *a = ctx;
	struct request *r = requests_find(a->requests, ref);

	if (!r || !r->parked)
		return;
	r->step_us[r->step] += clock_mono_us(a->clock) - r->parked_us;
	r->woken = true;
	run(r);
}

void pipeline_expire(void *agent)
{
	struct agent *a = agent;
	uint64_t now = clock_mono_us(a->clock);
	struct request *r = requests_oldest(a->requests);

	/* the timer has fired: it must be seen as stopped before re-arming */
	loop_timer_stop(&a->deadline);
	while (r &&
	       now >= r->started_us + (uint64_t)r->policy->decision_timeout_ms *
	                                      1000) {
		verdict_deny(r, DENY_TIMEOUT,
		             "The gateway waited too long for its %s.",
		             r->waits_for ? r->waits_for : "decision");
		finish(r);
		r = requests_oldest(a->requests);
	}
	arm_deadline(a);
}
