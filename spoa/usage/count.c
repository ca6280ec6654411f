/*
 * usage/count: what requests add to /metrics.
 *
 *   count_decision  foundry_consumer_requests_total, foundry_consumer_streams
 * +1 count_end                                        foundry_consumer_streams
 * -1 count_record    foundry_usage_records_total count_usage     gen_ai_*,
 * foundry_estimated_tokens_total, _cost_usd_total
 *
 * Label sets are built on the stack and looked up by their text. The names of a
 * record come from a ticket, so each is compared with the configuration first:
 * a forged record must not make a series.
 */
#include "usage/count.h"

enum { CNT_LABELS_MAX = 224 }; /* base/metrics has room for that */

/* The labels of one series. */
struct cnt_labels {
	char space[CNT_LABELS_MAX];
	struct buf buf;
};

static void cnt_labels_init(struct cnt_labels *l)
{
	l->buf = (struct buf){
		.p = l->space, .cap = CNT_LABELS_MAX, .max = CNT_LABELS_MAX};
}

/* An empty label is left out: to Prometheus both are the same series. */
static void cnt_label(struct cnt_labels *l, const char *key, struct str value)
{
	if (value.len > 0)
		metrics_label(&l->buf, key, value);
}

/* Labels that did not fit are given as a text that metrics_get() refuses and
 * counts as dropped. Cut short they could be the labels of another series. */
static struct str cnt_text(const struct cnt_labels *l)
{
	static const char too_long[CNT_LABELS_MAX + 1];

	return l->buf.failed ? str_of(too_long, sizeof(too_long))
	                     : buf_str(&l->buf);
}

static struct metric *cnt_series(struct metrics *m, const char *name,
                                 const struct cnt_labels *l)
{
	return metrics_get(m, name, cnt_text(l));
}

static void cnt_add(struct metrics *m, const char *name,
                    const struct cnt_labels *l, uint64_t n)
{
	if (n > 0)
		metric_add(cnt_series(m, name, l), (int64_t)n);
}

static void cnt_observe(struct metrics *m, const char *name,
                        const struct cnt_labels *l, uint64_t n)
{
	metrics_observe(m, name, cnt_text(l), n);
}

/* --------------------------------------------- names of the configuration */

/* Names are those of the policy in force, not of the one that decided: after a
 * reload the label of a name that is gone is "other". */

static const struct str cnt_other = STR_INIT("other");

static struct str cnt_consumer(const struct policy *p, struct str name)
{
	size_t i;

	for (i = 0; i < p->n_consumers; i++)
		if (str_eq(p->consumers[i].name, name))
			return name;
	return cnt_other;
}

static struct str cnt_resource(const struct policy *p, struct str name)
{
	size_t i;

	for (i = 0; i < p->n_resources; i++)
		if (str_eq(p->resources[i].name, name))
			return name;
	return name.len > 0 ? cnt_other : name;
}

static struct str cnt_model(const struct policy *p, struct str name)
{
	const struct policy_model *m = policy_model(p, name);

	if (m)
		return m->name;
	return name.len > 0 ? cnt_other : name;
}

/* gen_ai.operation.name: the well-known values of the convention where one
 * fits, else the name of the operation. */
static struct str cnt_operation(enum api_operation op)
{
	switch (op) {
	case API_CHAT:
	case API_RESPONSES:
	case API_MESSAGES:
		return STR("chat");
	case API_COMPLETIONS:
		return STR("text_completion");
	case API_IMAGES:
	case API_AUDIO:
		return STR("generate_content");
	default:
		return str_c(operations_name(op));
	}
}

/* gen_ai.provider.name is the API that the deployment speaks. Of a deployment
 * that is gone from the policy it follows from the operation. */
static struct str cnt_provider(const struct policy *p,
                               const struct usage_record *rec)
{
	static const struct str names[] = {
		[SURFACE_AZURE] = STR_INIT("azure.ai.openai"),
		[SURFACE_V1] = STR_INIT("azure.ai.openai"),
		[SURFACE_MODELS] = STR_INIT("azure.ai.inference"),
		[SURFACE_ANTHROPIC] = STR_INIT("anthropic"),
	};
	const struct policy_model *m = policy_model(p, rec->ticket.model);
	size_t i;

	for (i = 0; m && i < m->n_deployments; i++)
		if (str_eq(m->deployments[i].name, rec->ticket.deployment))
			return names[m->deployments[i].surface];
	return names[rec->ticket.operation == API_MESSAGES ? SURFACE_ANTHROPIC
	                                                   : SURFACE_AZURE];
}

/* ---------------------------------------------------------------- counting */

static void cnt_stream_labels(struct cnt_labels *l, struct str consumer,
                              struct str model)
{
	cnt_labels_init(l);
	cnt_label(l, "consumer", consumer);
	cnt_label(l, "gen_ai_request_model", model);
}

void count_decision(struct metrics *m, const struct policy *p,
                    struct str consumer, struct str model, const char *verdict,
                    bool admitted)
{
	struct cnt_labels l;

	cnt_stream_labels(&l, consumer, cnt_model(p, model));
	if (admitted)
		cnt_add(m, "foundry_consumer_streams", &l, 1);
	cnt_label(&l, "verdict", str_c(verdict));
	cnt_add(m, "foundry_consumer_requests_total", &l, 1);
}

void count_end(struct metrics *m, const struct policy *p,
               const struct usage_record *rec)
{
	struct cnt_labels l;

	cnt_stream_labels(&l, cnt_consumer(p, rec->ticket.consumer),
	                  cnt_model(p, rec->ticket.model));
	metric_sub(cnt_series(m, "foundry_consumer_streams", &l), 1);
}

static void cnt_operation_labels(struct cnt_labels *l, const struct policy *p,
                                 const struct usage_record *rec)
{
	cnt_labels_init(l);
	cnt_label(l, "gen_ai_operation_name",
	          cnt_operation(rec->ticket.operation));
	cnt_label(l, "gen_ai_provider_name", cnt_provider(p, rec));
	cnt_label(l, "gen_ai_request_model", cnt_model(p, rec->ticket.model));
}

/* What chargeback adds up: the labels above, who called, and which resource
 * answered. */
static void cnt_consumer_labels(struct cnt_labels *l, const struct policy *p,
                                const struct usage_record *rec)
{
	cnt_operation_labels(l, p, rec);
	cnt_label(l, "consumer", cnt_consumer(p, rec->ticket.consumer));
	cnt_label(l, "resource", cnt_resource(p, rec->ticket.resource));
}

static void cnt_count_times(struct metrics *m, const struct policy *p,
                            const struct usage_record *rec)
{
	struct cnt_labels l;

	cnt_operation_labels(&l, p, rec);
	cnt_label(&l, "resource", cnt_resource(p, rec->ticket.resource));
	if (rec->ticket.stream && rec->ttfb_ms >= 0)
		cnt_observe(
			m,
			"gen_ai_client_operation_time_to_first_chunk_seconds",
			&l, (uint64_t)rec->ttfb_ms * 1000);
	if (rec->total_ms >= 0)
		cnt_observe(m, "gen_ai_client_operation_duration_seconds", &l,
		            (uint64_t)rec->total_ms * 1000);
}

/* The modality is "unknown", the convention's word: a report says how many
 * tokens pictures and recordings had in total, not which of them were text. */
static void cnt_count_reported(struct metrics *m, const struct policy *p,
                               const struct count_usage *u)
{
	const struct usage_tokens *t = u->tokens;
	struct cnt_labels l;

	cnt_consumer_labels(&l, p, u->rec);
	cnt_label(&l, "gen_ai_token_modality", STR("unknown"));
	cnt_add(m, "gen_ai_client_inference_usage_input_tokens_total", &l,
	        t->input);
	cnt_add(m,
	        "gen_ai_client_inference_usage_cache_read_input_tokens_total",
	        &l, t->cached);
	cnt_add(m, "gen_ai_client_inference_usage_output_tokens_total", &l,
	        t->output);
	cnt_add(m,
	        "gen_ai_client_inference_usage_reasoning_output_tokens_total",
	        &l, t->reasoning);
	cnt_operation_labels(&l, p, u->rec);
	cnt_label(&l, "gen_ai_token_type", STR("input"));
	cnt_observe(m, "gen_ai_client_token_usage", &l, t->input);
	cnt_operation_labels(&l, p, u->rec);
	cnt_label(&l, "gen_ai_token_type", STR("output"));
	cnt_observe(m, "gen_ai_client_token_usage", &l, t->output);
}

static void cnt_count_estimated(struct metrics *m, const struct policy *p,
                                const struct count_usage *u)
{
	struct cnt_labels l;

	cnt_consumer_labels(&l, p, u->rec);
	cnt_label(&l, "gen_ai_token_type", STR("input"));
	cnt_add(m, "foundry_estimated_tokens_total", &l, u->tokens->input);
	cnt_consumer_labels(&l, p, u->rec);
	cnt_label(&l, "gen_ai_token_type", STR("output"));
	cnt_add(m, "foundry_estimated_tokens_total", &l, u->tokens->output);
}

/* A running stream that lua/usage.lua has cut, which sets this code. */
static void cnt_count_cut(struct metrics *m, const struct policy *p,
                          const struct usage_record *rec)
{
	struct cnt_labels l;

	if (!str_eq(rec->code, STR("caller_blocked")))
		return;
	cnt_stream_labels(&l, cnt_consumer(p, rec->ticket.consumer),
	                  cnt_model(p, rec->ticket.model));
	cnt_add(m, "foundry_streams_cut_total", &l, 1);
}

void count_record(struct metrics *m, const char *result)
{
	struct cnt_labels l;

	cnt_labels_init(&l);
	cnt_label(&l, "result", str_c(result));
	cnt_add(m, "foundry_usage_records_total", &l, 1);
}

void count_usage(struct metrics *m, const struct policy *p,
                 const struct count_usage *u)
{
	struct cnt_labels l;

	cnt_count_cut(m, p, u->rec);
	cnt_count_times(m, p, u->rec);
	if (u->estimated)
		cnt_count_estimated(m, p, u);
	else if (u->tokens->input + u->tokens->output > 0)
		cnt_count_reported(m, p, u);
	cnt_consumer_labels(&l, p, u->rec);
	cnt_add(m, "foundry_cost_usd_total", &l, u->nano_usd);
}
