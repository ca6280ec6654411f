/* usage/count: what requests add to /metrics. */
#include "usage/count.h"

enum { LABELS_MAX = 224 }; /* as base/metrics has room for */

/* Labels on the stack, one set per series. */
struct labels {
	char space[LABELS_MAX];
	struct buf buf;
};

static void labels_init(struct labels *l)
{
	l->buf = (struct buf){
		.p = l->space, .cap = LABELS_MAX, .max = LABELS_MAX};
}

/* An empty label is none: Prometheus sees no difference. */
static void label(struct labels *l, const char *key, struct str value)
{
	if (value.len > 0)
		metrics_label(&l->buf, key, value);
}

/* What is too long for a series is counted as dropped, never cut short: that
 * could be another's. */
static struct str text_of(const struct labels *l)
{
	static const char too_long[LABELS_MAX + 1];

	return l->buf.failed ? str_of(too_long, sizeof(too_long))
	                     : buf_str(&l->buf);
}

static struct metric *series(struct metrics *m, const char *name,
                             const struct labels *l)
{
	return metrics_get(m, name, text_of(l));
}

static void add(struct metrics *m, const char *name, const struct labels *l,
                uint64_t n)
{
	if (n > 0)
		metric_add(series(m, name, l), (int64_t)n);
}

static void observe(struct metrics *m, const char *name, const struct labels *l,
                    uint64_t n)
{
	metrics_observe(m, name, text_of(l), n);
}

/* --------------------------------------------- names of the configuration */

static const struct str other = STR_INIT("other");

static struct str consumer_of(const struct policy *p, struct str name)
{
	size_t i;

	for (i = 0; i < p->n_consumers; i++)
		if (str_eq(p->consumers[i].name, name))
			return name;
	return other;
}

static struct str resource_of(const struct policy *p, struct str name)
{
	size_t i;

	for (i = 0; i < p->n_resources; i++)
		if (str_eq(p->resources[i].name, name))
			return name;
	return name.len > 0 ? other : name;
}

static struct str model_of(const struct policy *p, struct str name)
{
	const struct policy_model *m = policy_model(p, name);

	if (m)
		return m->name;
	return name.len > 0 ? other : name;
}

/* gen_ai.operation.name: the well-known values, else our own. */
static struct str operation_of(enum api_operation op)
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

/* gen_ai.provider.name is the flavour of the API that was spoken upstream. */
static struct str provider_of(const struct policy *p,
                              const struct usage_record *rec)
{
	static const struct str names[] = {
		[SURFACE_AZURE] = STR_INIT("azure.ai.openai"),
		[SURFACE_V1] = STR_INIT("azure.ai.openai"),
		[SURFACE_MODELS] = STR_INIT("azure.ai.inference"),
		[SURFACE_ANTHROPIC] = STR_INIT("anthropic"),
	};
	const struct policy_model *m = policy_model(p, rec->model);
	size_t i;

	for (i = 0; m && i < m->n_deployments; i++)
		if (str_eq(m->deployments[i].name, rec->deployment))
			return names[m->deployments[i].surface];
	return names[rec->operation == API_MESSAGES ? SURFACE_ANTHROPIC
	                                            : SURFACE_AZURE];
}

/* ---------------------------------------------------------------- counting */

static void stream_labels(struct labels *l, struct str consumer,
                          struct str model)
{
	labels_init(l);
	label(l, "consumer", consumer);
	label(l, "gen_ai_request_model", model);
}

void count_decision(struct metrics *m, const struct policy *p,
                    struct str consumer, struct str model, const char *verdict,
                    bool admitted)
{
	struct labels l;

	stream_labels(&l, consumer, model_of(p, model));
	if (admitted)
		add(m, "foundry_consumer_streams", &l, 1);
	label(&l, "verdict", str_c(verdict));
	add(m, "foundry_consumer_requests_total", &l, 1);
}

void count_end(struct metrics *m, const struct policy *p,
               const struct usage_record *rec)
{
	struct labels l;

	stream_labels(&l, consumer_of(p, rec->consumer),
	              model_of(p, rec->model));
	metric_take(series(m, "foundry_consumer_streams", &l), 1);
}

static void operation_labels(struct labels *l, const struct policy *p,
                             const struct usage_record *rec)
{
	labels_init(l);
	label(l, "gen_ai_operation_name", operation_of(rec->operation));
	label(l, "gen_ai_provider_name", provider_of(p, rec));
	label(l, "gen_ai_request_model", model_of(p, rec->model));
}

/* What chargeback adds up: who and where. */
static void consumer_labels(struct labels *l, const struct policy *p,
                            const struct usage_record *rec)
{
	operation_labels(l, p, rec);
	label(l, "consumer", consumer_of(p, rec->consumer));
	label(l, "resource", resource_of(p, rec->resource));
}

static void count_times(struct metrics *m, const struct policy *p,
                        const struct usage_record *rec)
{
	struct labels l;

	operation_labels(&l, p, rec);
	label(&l, "resource", resource_of(p, rec->resource));
	if (rec->stream && rec->ttfb_ms >= 0)
		observe(m,
		        "gen_ai_client_operation_time_to_first_chunk_seconds",
		        &l, (uint64_t)rec->ttfb_ms * 1000);
	if (rec->total_ms >= 0)
		observe(m, "gen_ai_client_operation_duration_seconds", &l,
		        (uint64_t)rec->total_ms * 1000);
}

/* Upstreams say what a picture or a recording cost, but not here what of it
 * was text: "unknown" is the convention's word for that. */
static void count_reported(struct metrics *m, const struct policy *p,
                           const struct count_usage *u)
{
	const struct usage_tokens *t = u->tokens;
	struct labels l;

	consumer_labels(&l, p, u->rec);
	label(&l, "gen_ai_token_modality", STR("unknown"));
	add(m, "gen_ai_client_inference_usage_input_tokens_total", &l,
	    t->input);
	add(m, "gen_ai_client_inference_usage_cache_read_input_tokens_total",
	    &l, t->cached);
	add(m, "gen_ai_client_inference_usage_output_tokens_total", &l,
	    t->output);
	add(m, "gen_ai_client_inference_usage_reasoning_output_tokens_total",
	    &l, t->reasoning);
	operation_labels(&l, p, u->rec);
	label(&l, "gen_ai_token_type", STR("input"));
	observe(m, "gen_ai_client_token_usage", &l, t->input);
	operation_labels(&l, p, u->rec);
	label(&l, "gen_ai_token_type", STR("output"));
	observe(m, "gen_ai_client_token_usage", &l, t->output);
}

static void count_estimated(struct metrics *m, const struct policy *p,
                            const struct count_usage *u)
{
	struct labels l;

	consumer_labels(&l, p, u->rec);
	label(&l, "gen_ai_token_type", STR("input"));
	add(m, "foundry_estimated_tokens_total", &l, u->tokens->input);
	consumer_labels(&l, p, u->rec);
	label(&l, "gen_ai_token_type", STR("output"));
	add(m, "foundry_estimated_tokens_total", &l, u->tokens->output);
}

/* By lua/usage.lua, which says so in the code. */
static void count_cut(struct metrics *m, const struct policy *p,
                      const struct usage_record *rec)
{
	struct labels l;

	if (!str_eq(rec->code, STR("caller_blocked")))
		return;
	stream_labels(&l, consumer_of(p, rec->consumer),
	              model_of(p, rec->model));
	add(m, "foundry_streams_cut_total", &l, 1);
}

void count_usage(struct metrics *m, const struct policy *p,
                 const struct count_usage *u)
{
	struct labels l;

	count_cut(m, p, u->rec);
	count_times(m, p, u->rec);
	if (u->estimated)
		count_estimated(m, p, u);
	else if (u->tokens->input + u->tokens->output > 0)
		count_reported(m, p, u);
	consumer_labels(&l, p, u->rec);
	add(m, "foundry_cost_usd_total", &l, u->nano_usd);
}
