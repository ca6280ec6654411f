/*
 * decide/decision_log: the one line of a decision, and its counters.
 *
 *   info decision id=8c1.. verdict=deny status=429 code=rate_limit_exceeded
 *        consumer=hr-bot model=gpt-4o limit=std prompt=812 output=1000
 *        us=143 reserve_us=131
 *
 * Operators filter by the names of these fields, so they stay. log_field()
 * leaves empty ones out and quotes what could forge a field or a line.
 */
#include "decide/decision_log.h"

#include "base/log.h"
#include "decide/decider.h"
#include "decide/step.h"
#include "usage/count.h"

#include <stdio.h>

enum {
	/* Bytes, with room for the time and level that base/log puts in front
	 * of its 4096. What does not fit is left out. */
	DLOG_LINE_MAX = 3072,
	/* A step that took less is not named: nine fields in each line would
	 * hide the one that matters. The histogram has all of them. */
	DLOG_SLOW_STEP_US = 20,
};

static const char *dlog_verdict_name(const struct request *r)
{
	static const char *const names[] = {
		[VERDICT_NONE] = "deny",
		[VERDICT_ALLOW] = "allow",
		[VERDICT_DENY] = "deny",
		[VERDICT_ANSWER] = "answer",
	};

	return names[r->verdict.verdict];
}

/* Series by consumer exist only where the consumer is known, so that a caller
 * without a credential cannot add any. */
static void dlog_count_consumer(const struct request *r, bool told)
{
	if (r->caller.consumer)
		count_decision(r->decider->metrics, r->policy,
		               r->caller.consumer->name,
		               r->call.model ? r->call.model->name
		                             : r->call.model_name,
		               dlog_verdict_name(r),
		               told && r->verdict.verdict == VERDICT_ALLOW);
}

/* A denied request counts for the steps up to the one that denied: the steps
 * behind it have not run, and zeros would pull the histograms down. */
static void dlog_count_decision(const struct request *r, uint64_t total_us)
{
	struct decider *d = r->decider;
	char space[256];
	struct buf labels = {
		.p = space, .cap = sizeof(space), .max = sizeof(space)};
	unsigned i;

	metrics_label(&labels, "verdict", str_c(dlog_verdict_name(r)));
	metrics_label(&labels, "code", str_c(r->verdict.code));
	metrics_label(&labels, "operation",
	              str_c(operations_name(r->call.api.operation)));
	metric_add(metrics_get(d->metrics, "foundry_requests_total",
	                       buf_str(&labels)),
	           1);
	metric_observe_us(&d->decision_time, total_us);
	for (i = 0; i < REQUEST_N_STEPS && i <= r->step; i++)
		metric_observe_us(&d->step_time[i], r->step_us[i]);
}

/* Whatever is known of the caller, also of one that no consumer matches: an
 * operator sees from it which `match` is missing. */
static void dlog_write_caller(const struct request *r, struct buf *line)
{
	const struct identity *who = r->caller.identity;

	if (r->caller.consumer) {
		log_field(line, "consumer", r->caller.consumer->name);
		log_field(line, "team", r->caller.consumer->team);
	}
	if (!who)
		return;
	log_field(line, "app", who->app);
	log_field(line, "object", who->object);
	log_field(line, "key", who->key);
	log_field(line, "agent_blueprint", who->agent_blueprint);
	log_field(line, "agent", r->caller.agent);
	log_field(line, "project", r->caller.project);
}

/* What was asked for, what it may cost, and where it goes. */
static void dlog_write_call(const struct request *r, struct buf *line)
{
	log_field(line, "operation",
	          str_c(operations_name(r->call.api.operation)));
	if (r->call.model)
		log_field(line, "model", r->call.model->name);
	if (r->call.pinned)
		log_field(line, "pinned", r->call.pinned->name);
	if (r->call.rule)
		log_field(line, "rule", r->call.rule->name);
	if (r->charge.estimated) {
		log_field_num(line, "prompt", (int64_t)r->charge.prompt_tokens);
		log_field_num(line, "output", (int64_t)r->charge.output_tokens);
	}
	log_field(line, "limit", r->verdict.limit);
	log_field(line, "limit_warning", r->charge.warning);
	if (r->charge.local && r->policy->redis.enabled)
		log_field(line, "store", STR("local"));
	if (r->charge.leased)
		log_field(line, "store", STR("lease"));
	if (r->target[0].deployment) {
		log_field(line, "deployment", r->target[0].deployment->name);
		log_field(line, "backend", r->target[0].backend);
		if (r->target[0].n_edits > 0)
			log_field_num(line, "edits", r->target[0].n_edits);
	}
}

/* The total, and the steps that took a part of it worth naming. */
static void dlog_write_times(const struct request *r, struct buf *line,
                             uint64_t total_us)
{
	char name[32];
	unsigned i;

	log_field_num(line, "us", (int64_t)total_us);
	for (i = 0; i < REQUEST_N_STEPS; i++) {
		if (r->step_us[i] < DLOG_SLOW_STEP_US)
			continue;
		snprintf(name, sizeof(name), "%s_us", step_name(i));
		log_field_num(line, name, (int64_t)r->step_us[i]);
	}
}

void decision_log_write(const struct request *r, bool told)
{
	uint64_t total_us = clock_mono_us(r->decider->clock) - r->started_us;
	char space[DLOG_LINE_MAX];
	struct buf line = {
		.p = space, .cap = sizeof(space), .max = sizeof(space)};

	dlog_count_decision(r, total_us);
	dlog_count_consumer(r, told);
	if (!log_enabled(LOG_INFO))
		return;
	log_field(&line, "id", r->facts.id);
	log_field(&line, "verdict", str_c(dlog_verdict_name(r)));
	log_field_num(&line, "status", r->verdict.status);
	log_field(&line, "code", str_c(r->verdict.code));
	log_field(&line, "src", r->facts.src);
	dlog_write_caller(r, &line);
	dlog_write_call(r, &line);
	log_field(&line, "reason", r->verdict.detail);
	if (r->verdict.verdict == VERDICT_DENY)
		log_field(&line, "step", str_c(step_name(r->step)));
	if (r->verdict.retry_after_s > 0)
		log_field_num(&line, "retry_after",
		              (int64_t)r->verdict.retry_after_s);
	if (!told)
		log_field(&line, "answer", STR("nobody-waits"));
	dlog_write_times(r, &line, total_us);
	log_info("decision", "%" STR_FMT, STR_ARG(buf_str(&line)));
}
