/*
 * decide/pipeline: a request's way through the steps.
 *
 *   pipeline_start   a request from the table, request_read, its operation
 *         |
 *   pipeline_run     step_table[r->step], then the next one
 *         |              STEP_PARKED: back to the loop; woken, it comes here
 *         |              again; expired, pipeline_expire denies
 *         v
 *   pipe_finish      pipe_register_reservation, pipe_write_ack, reserve_undo
 *                    unless it is allowed and told, decision_log_write,
 *                    requests_release
 *
 * HAProxy may stop waiting for a decision at any time, and reports that on
 * another way (its usage record, usage/settle). So a reservation is put into
 * the table of open reservations before the ACK: whichever of the two comes
 * second finds the other and gives the reservation back.
 */
#include "decide/pipeline.h"

#include "decide/answer.h"
#include "decide/decision_log.h"
#include "decide/reserve.h"
#include "decide/step.h"
#include "decide/verdict.h"
#include "request/table.h"
#include "store/open_reservations.h"

#include <assert.h>

/* Write the ACK into the buffer of its connection. An allow that does not fit
 * becomes a denial, which is shorter. False: nobody is told, because the
 * connection is gone or not even the denial fits. */
static bool pipe_write_ack(struct request *r)
{
	struct conns *conns = r->decider->conns;
	struct buf *out = conns_reply(conns, r->conn);

	if (!out)
		return false;
	if (!answer_write(r, out)) {
		verdict_deny(r, DENY_ACK_TOO_LARGE, NULL);
		if (!answer_write(r, out))
			return false;
	}
	conns_replied(conns, r->conn);
	return true;
}

/* Let usage/settle find whose reservation this is. True when there is nothing
 * to register, too. False: HAProxy has said already that it does not wait for
 * this decision any more. */
static bool pipe_register_reservation(const struct request *r)
{
	const struct request_caller *who = &r->caller;
	const struct request_call *call = &r->call;
	struct decider *d = r->decider;
	const struct open_reservation res = {
		.nonce = r->facts.nonce,
		.account = who->account,
		.consumer = who->consumer ? who->consumer->name : STR_NONE,
		.model = call->model ? call->model->name : call->model_name,
		.worker = r->charge.local ? (int)d->worker : -1,
	};

	if (r->verdict.verdict != VERDICT_ALLOW || !r->charge.reserved)
		return true;
	return open_reservations_add(d->open, r->facts.id, &res,
	                             clock_mono_us(d->clock));
}

/* The verdict is set: answer, give back what was reserved in vain, log,
 * release. The verdict may still become a denial here. */
static void pipe_finish(struct request *r)
{
	bool told;

	waiter_cancel(&r->wait);
	loop_timer_stop(&r->again);
	/* some text of the request is missing: what was decided about it does
	 * not count, not even a denial for another reason */
	if (r->arena.overflow)
		verdict_deny(r, DENY_WORKSPACE, NULL);
	told = pipe_register_reservation(r);
	/* HAProxy expects an ACK for each NOTIFY, so it is written always */
	told = pipe_write_ack(r) && told;
	if (!told || r->verdict.verdict != VERDICT_ALLOW)
		reserve_undo(r);
	decision_log_write(r, told);
	requests_release(r);
}

void pipeline_run(struct request *r)
{
	enum step_result res = STEP_NEXT;
	uint64_t before = clock_mono_us(r->decider->clock);

	/* one reading of the clock per step: its end is the next one's start */
	while (r->step < REQUEST_N_STEPS) {
		uint64_t after;

		res = step_table[r->step].run(r);
		after = clock_mono_us(r->decider->clock);
		r->step_us[r->step] += after - before;
		before = after;
		if (res != STEP_NEXT)
			break;
		r->step++;
		r->woken = false;
	}
	if (res == STEP_PARKED)
		return;
	if (res == STEP_NEXT)
		verdict_allow(r);
	assert(r->verdict.verdict != VERDICT_NONE);
	pipe_finish(r);
}

/* The table is full. The denial is made from a request on the stack: it is in
 * no table, has no reference, and holds none. Of the NOTIFY no more is read
 * than the log and the shape of the error need. */
static void pipe_refuse_overload(struct decider *d, struct conn_ref conn,
                                 const struct frame *f, size_t ack_limit)
{
	struct request r;

	memset(&r, 0, offsetof(struct request, mem));
	arena_init(&r.arena, r.mem, sizeof(r.mem));
	r.decider = d;
	r.conn = conn;
	r.ack_limit = ack_limit;
	r.policy = d->policy;
	r.started_us = clock_mono_us(d->clock);
	if (request_read_head(&r, f))
		operations_find(r.facts.method, r.facts.path, &r.arena,
		                &r.call.api);
	verdict_deny(&r, DENY_OVERLOAD, NULL);
	decision_log_write(&r, pipe_write_ack(&r));
}

void pipeline_start(struct decider *d, struct conn_ref conn,
                    const struct frame *f, size_t ack_limit)
{
	struct request *r = requests_take(d->requests);

	if (!r) {
		pipe_refuse_overload(d, conn, f, ack_limit);
		return;
	}
	r->decider = d;
	r->conn = conn;
	r->ack_limit = ack_limit;
	/* a reload does not change the policy of a request that has begun */
	r->policy = policy_ref(d->policy);
	if (!request_read(r, f)) {
		verdict_deny(r, DENY_MALFORMED_NOTIFY, NULL);
		pipe_finish(r);
		return;
	}
	operations_find(r->facts.method, r->facts.path, &r->arena,
	                &r->call.api);
	pipeline_run(r);
}

void pipeline_expire(struct request *r)
{
	verdict_deny(r, DENY_TIMEOUT, "The gateway waited too long for its %s.",
	             r->waits_for ? r->waits_for : "decision");
	pipe_finish(r);
}
