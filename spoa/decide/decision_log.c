/*
 * decide/decision_log: one line and the counters of a decision.
 *
 *   info decision id=8c1.. verdict=deny status=429 code=rate_limit_exceeded
 *        consumer=hr-bot model=gpt-4o limit=std prompt=812 output=1000
 *        us=143 authenticate_us=2 reserve_us=131
 */
#include "decide/decision_log.h"

#include "base/log.h"
#include "decide/decider.h"
#include "decide/step.h"
#include "usage/count.h"

#include <stdio.h>

enum { REPORT_LINE_MAX = 3072, REPORT_SLOW_STEP_US = 20 };

static const char *verdict_name(const struct request *r)
{
	static const char *const names[] = {
		[VERDICT_NONE] = "deny",
		[VERDICT_ALLOW] = "allow",
		[VERDICT_DENY] = "deny",
		[VERDICT_ANSWER] = "answer",
	};

	return names[r->verdict.verdict];
}

static void count_caller(const struct request *r, bool told)
{

	if (r->caller.consumer)
		count_decision(r->decider->metrics, r->policy,
		               r->caller.consumer->name,
		               r->call.model ? r->call.model->name
		                             : r->call.model_name,
		               verdict_name(r),
		               told && r->verdict.verdict == VERDICT_ALLOW);
}

static void count(const struct request *r, uint64_t total_us)
{
	struct decider *d = r->decider;
	char space[256];
	struct buf labels = {
		.p = space, .cap = sizeof(space), .max = sizeof(space)};
	unsigned i;

	metrics_label(&labels, "verdict", str_c(verdict_name(r)));
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

static void write_caller(const struct request *r, struct buf *line)
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

static void write_plan(const struct request *r, struct buf *line)
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

/* Steps that took time worth naming; the rest is in the total. */
static void write_times(const struct request *r, struct buf *line,
                        uint64_t total_us)
{
	char name[32];
	unsigned i;

	log_field_num(line, "us", (int64_t)total_us);
	for (i = 0; i < REQUEST_N_STEPS; i++) {
		if (r->step_us[i] < REPORT_SLOW_STEP_US)
			continue;
		snprintf(name, sizeof(name), "%s_us", step_name(i));
		log_field_num(line, name, (int64_t)r->step_us[i]);
	}
}

void decision_log_write(const struct request *r, bool told)
{
	uint64_t total_us = clock_mono_us(r->decider->clock) - r->started_us;
	char space[REPORT_LINE_MAX];
	struct buf line = {
		.p = space, .cap = sizeof(space), .max = sizeof(space)};

	count(r, total_us);
	count_caller(r, told);
	if (!log_enabled(LOG_INFO))
		return;
	log_field(&line, "id", r->facts.id);
	log_field(&line, "verdict", str_c(verdict_name(r)));
	log_field_num(&line, "status", r->verdict.status);
	log_field(&line, "code", str_c(r->verdict.code));
	log_field(&line, "src", r->facts.src);
	write_caller(r, &line);
	write_plan(r, &line);
	log_field(&line, "reason", r->verdict.detail);
	if (r->verdict.verdict == VERDICT_DENY)
		log_field(&line, "step", str_c(step_name(r->step)));
	if (r->verdict.retry_after_s > 0)
		log_field_num(&line, "retry_after",
		              (int64_t)r->verdict.retry_after_s);
	if (!told)
		log_field(&line, "answer", STR("nobody-waits"));
	write_times(r, &line, total_us);
	log_info("decision", "%" STR_FMT, STR_ARG(buf_str(&line)));
}
