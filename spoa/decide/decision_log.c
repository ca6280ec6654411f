/*
 * decide/decision_log: one line and the counters of a decision.
 *
 *   info decision id=8c1.. verdict=deny status=429 code=rate_limit_exceeded
 *        consumer=hr-bot model=gpt-4o limit=std prompt=812 output=1000
 *        us=143 authenticate_us=2 reserve_us=131
 */
#include "decide/decision_log.h"

#include "agent/agent.h"
#include "base/log.h"
#include "decide/pipeline.h"
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
	const struct request_plan *p = &r->plan;

	if (p->consumer)
		count_decision(r->agent->metrics, r->policy, p->consumer->name,
		               p->model ? p->model->name : p->model_name,
		               verdict_name(r),
		               told && r->verdict.verdict == VERDICT_ALLOW);
}

static void count(const struct request *r, uint64_t total_us)
{
	struct agent *a = r->agent;
	char space[256];
	struct buf labels = {
		.p = space, .cap = sizeof(space), .max = sizeof(space)};
	unsigned i;

	metrics_label(&labels, "verdict", str_c(verdict_name(r)));
	metrics_label(&labels, "code", str_c(r->verdict.code));
	metrics_label(&labels, "operation",
	              str_c(operations_name(r->plan.call.operation)));
	metric_add(metrics_get(a->metrics, "foundry_requests_total",
	                       buf_str(&labels)),
	           1);
	metric_observe_us(&a->decision_time, total_us);
	for (i = 0; i < REQUEST_N_STEPS && i <= r->step; i++)
		metric_observe_us(&a->step_time[i], r->step_us[i]);
}

static void write_caller(const struct request *r, struct buf *line)
{
	const struct identity *who = r->plan.identity;

	if (r->plan.consumer) {
		log_field(line, "consumer", r->plan.consumer->name);
		log_field(line, "team", r->plan.consumer->team);
	}
	if (!who)
		return;
	log_field(line, "app", who->app);
	log_field(line, "object", who->object);
	log_field(line, "key", who->key);
	log_field(line, "agent_blueprint", who->agent_blueprint);
	log_field(line, "agent", r->plan.agent);
	log_field(line, "project", r->plan.project);
}

static void write_plan(const struct request *r, struct buf *line)
{
	const struct request_plan *p = &r->plan;

	log_field(line, "operation",
	          str_c(operations_name(p->call.operation)));
	if (p->model)
		log_field(line, "model", p->model->name);
	if (p->pinned)
		log_field(line, "pinned", p->pinned->name);
	if (p->rule)
		log_field(line, "rule", p->rule->name);
	if (r->step > 4) {
		log_field_num(line, "prompt", (int64_t)p->prompt_tokens);
		log_field_num(line, "output", (int64_t)p->output_tokens);
	}
	log_field(line, "limit", r->verdict.limit);
	log_field(line, "limit_warning", p->warning);
	if (p->reserved_local && r->policy->redis.enabled)
		log_field(line, "store", STR("local"));
	if (p->leased)
		log_field(line, "store", STR("lease"));
	if (p->deployment) {
		log_field(line, "deployment", p->deployment->name);
		log_field(line, "backend", p->backend);
		if (p->n_edits > 0)
			log_field_num(line, "edits", p->n_edits);
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
		snprintf(name, sizeof(name), "%s_us", pipeline_step_name(i));
		log_field_num(line, name, (int64_t)r->step_us[i]);
	}
}

void decision_log_write(const struct request *r, bool told)
{
	uint64_t total_us = clock_mono_us(r->agent->clock) - r->started_us;
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
		log_field(&line, "step", str_c(pipeline_step_name(r->step)));
	if (r->verdict.retry_after_s > 0)
		log_field_num(&line, "retry_after",
		              (int64_t)r->verdict.retry_after_s);
	if (!told)
		log_field(&line, "answer", STR("nobody-waits"));
	write_times(r, &line, total_us);
	log_info("decision", "%" STR_FMT, STR_ARG(buf_str(&line)));
}
