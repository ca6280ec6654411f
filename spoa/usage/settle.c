/* usage/settle: the end of a request - exactly once. */
#include "usage/settle.h"

#include "base/log.h"
#include "store/objects.h"
#include "store/reservation.h"
#include "upstream/health.h"
#include "usage/count.h"
#include "usage/entry.h"
#include "usage/estimator.h"
#include "usage/ledger.h"
#include "store/open_reservations.h"
#include "usage/record.h"

#include <stdlib.h>

enum { SETTLE_LINE_MAX = 2048 };

/* A settlement on its way to the store and back. */
struct settlement {
	struct settler *settler;
	struct policy *policy; /* reference held */
	struct usage_record rec;
	struct usage_tokens tokens;
	struct store_usage used;
	uint64_t arrived_us;
	bool estimated;
	struct buf line; /* of the ledger; empty: there is none */
	struct settlement *next, **prev; /* the agent's list */
};

static struct settlement *settlement_new(struct settler *a,
                                         const struct usage_record *rec)
{
	struct settlement *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->settler = a;
	s->arrived_us = clock_mono_us(a->clock);
	s->rec = *rec;
	buf_init(&s->line, ENTRY_LINE_MAX);
	s->policy = policy_ref(a->policy);
	s->next = a->settlements;
	s->prev = &a->settlements;
	if (s->next)
		s->next->prev = &s->next;
	a->settlements = s;
	return s;
}

static void settlement_free(struct settlement *s)
{
	*s->prev = s->next;
	if (s->next)
		s->next->prev = s->prev;
	record_done(&s->rec);
	buf_done(&s->line);
	policy_unref(s->policy);
	free(s);
}

static void count_record(struct settler *a, const char *result)
{
	char space[64];
	struct buf labels = {
		.p = space, .cap = sizeof(space), .max = sizeof(space)};

	metrics_label(&labels, "result", str_c(result));
	metric_add(metrics_get(a->metrics, "foundry_usage_records_total",
	                       buf_str(&labels)),
	           1);
}

/* The usage line: what an operator greps for next to the decision line. */
static void tell(const struct settlement *s)
{
	const struct usage_record *rec = &s->rec;
	char space[SETTLE_LINE_MAX];
	struct buf line = {
		.p = space, .cap = sizeof(space), .max = sizeof(space)};

	if (!log_enabled(LOG_INFO))
		return;
	log_field(&line, "id", rec->id);
	log_field_num(&line, "status", rec->status);
	log_field(&line, "termination", rec->termination);
	if (rec->code.len > 0)
		log_field(&line, "code", rec->code);
	log_field(&line, "consumer", rec->consumer);
	log_field(&line, "app", rec->app);
	log_field(&line, "agent", rec->agent);
	log_field(&line, "project", rec->project);
	log_field(&line, "operation", str_c(operations_name(rec->operation)));
	log_field(&line, "model", rec->model);
	log_field(&line, "deployment", rec->deployment);
	log_field(&line, "resource", rec->resource);
	log_field_num(&line, "input", (int64_t)s->tokens.input);
	log_field_num(&line, "cached", (int64_t)s->tokens.cached);
	log_field_num(&line, "output", (int64_t)s->tokens.output);
	log_field_num(&line, "reasoning", (int64_t)s->tokens.reasoning);
	if (s->tokens.audio > 0)
		log_field_num(&line, "audio", (int64_t)s->tokens.audio);
	if (s->estimated)
		log_field(&line, "estimated", STR("true"));
	log_field_num(&line, "nano_usd", (int64_t)s->used.nano_usd);
	log_field_num(&line, "bytes", (int64_t)rec->bytes);
	if (rec->stream)
		log_field_num(&line, "events", (int64_t)rec->events);
	log_field_num(&line, "ttfb_ms", rec->ttfb_ms);
	if (rec->ttft_ms >= 0)
		log_field_num(&line, "ttft_ms", rec->ttft_ms);
	log_field_num(&line, "total_ms", rec->total_ms);
	log_info("usage", "%" STR_FMT, STR_ARG(buf_str(&line)));
}

static uint64_t not_negative(int64_t v)
{
	return v > 0 ? (uint64_t)v : 0;
}

/* The answer of a batch says what it has used, and of which model. No limit
 * counts that: it ran long before somebody asked. */
static void write_batch(const struct settlement *s, struct usage_entry *e)
{
	const struct usage_record *rec = &s->rec;
	const struct policy_model *m = policy_model_deployed(
		s->policy, rec->resource, rec->batch_model);

	if (rec->batch.len == 0 || !rec->has_usage)
		return;
	e->batch = rec->batch;
	e->model = m ? m->name : rec->batch_model;
	e->input = rec->tokens.input;
	e->cached = rec->tokens.cached;
	e->output = rec->tokens.output;
	e->reasoning = rec->tokens.reasoning;
	e->audio = rec->tokens.audio;
}

/* The ledger's line, before it is known whether it counts: Redis writes it down
 * with the settlement or not at all, and the file gets it after that. */
static void write_up(struct settlement *s)
{
	const struct usage_record *rec = &s->rec;
	struct str team =
		str_eq(rec->account, rec->consumer) ? STR_NONE : rec->account;
	char now[25];
	struct usage_entry e = {
		.time = str_of(now, sizeof(now) - 1),
		.id = rec->id,
		.consumer = rec->consumer,
		.team = team,
		.app = rec->app,
		.agent = rec->agent,
		.project = rec->project,
		.operation = str_c(operations_name(rec->operation)),
		.model = rec->model,
		.deployment = rec->deployment,
		.resource = rec->resource,
		.status = not_negative(rec->status),
		.termination = rec->termination,
		.stream = rec->stream,
		.spilled = rec->spilled,
		.requests = rec->counted ? s->used.requests : 0,
		.estimated = s->estimated,
		.input = s->tokens.input,
		.cached = s->tokens.cached,
		.output = s->tokens.output,
		.reasoning = s->tokens.reasoning,
		.audio = s->tokens.audio,
		.nano_usd = s->used.nano_usd,
		.bytes = rec->bytes,
		.events = rec->events,
		.ttfb_ms = not_negative(rec->ttfb_ms),
		.ttft_ms = not_negative(rec->ttft_ms),
		.total_ms = not_negative(rec->total_ms),
	};

	if (s->policy->ledger.file.len == 0)
		return;
	write_batch(s, &e);
	clock_iso8601(clock_real_ms(s->settler->clock), now);
	entry_write(&e, &s->line);
	if (s->line.failed) /* counted as lost */
		s->line.len = 0;
	s->used.note = str_trim(buf_str(&s->line));
}

/* An upstream that could not be reached sends no `upstream_error`: HAProxy
 * answered itself. The record tells by its termination: S or s, the server's
 * side. */
static void note_unreachable(const struct settlement *s)
{
	const struct usage_record *rec = &s->rec;
	bool server = str_starts_nocase(rec->termination, STR("s"));

	if (server && rec->status >= 502 && rec->status <= 504 &&
	    rec->deployment.len > 0)
		health_report(s->settler->health, rec->resource,
		              rec->deployment, (int)rec->status, 0);
}

/* The store has spoken: only now does the record count. */
static void conclude(void *ctx, struct str id, enum store_status status)
{
	struct settlement *s = ctx;
	struct count_usage counted = {
		.rec = &s->rec,
		.tokens = &s->tokens,
		.estimated = s->estimated,
		.nano_usd = s->used.nano_usd,
	};

	(void)id;
	if (status == STORE_OK) {
		count_record(s->settler,
		             s->estimated ? "estimated" : "settled");
		count_usage(s->settler->metrics, s->policy, &counted);
		metrics_observe(s->settler->metrics,
		                "foundry_settle_lag_seconds", STR_NONE,
		                clock_mono_us(s->settler->clock) -
		                        s->arrived_us);
		if (s->rec.has_usage)
			estimator_learn(s->settler->estimator, s->rec.model,
			                s->rec.text_bytes, s->tokens.input);
		tell(s);
		note_unreachable(s);
		ledger_add(s->settler->ledger, buf_str(&s->line));
	} else if (status == STORE_UNKNOWN) {
		count_record(s->settler, "unknown");
		log_debug("usage",
		          "id=%" STR_FMT
		          " msg=\"no open reservation: not counted\"",
		          STR_ARG(s->rec.id));
	} else {
		count_record(s->settler, "dropped");
		log_warn("usage",
		         "id=%" STR_FMT " msg=\"could not be settled: the "
		         "estimate stays charged\"",
		         STR_ARG(s->rec.id));
	}
	settlement_free(s);
}

/* What is paid by the hour costs nothing by the token, unless Azure spilled
 * it over to what is. */
static const struct policy_model *priced_model(const struct settlement *s)
{
	const struct usage_record *rec = &s->rec;

	if (!rec->spilled &&
	    policy_provisioned(s->policy, rec->resource, rec->deployment))
		return NULL;
	return policy_model(s->policy, rec->model);
}

/* What is counted in memory is corrected by the worker that counts it, if it is
 * this one and still the same. But what was used is written down by whichever
 * hears of the end: the table gives it to one, and once. */
static enum store_status settle_in_memory(struct settler *a,
                                          const struct usage_record *rec,
                                          const struct store_usage *used)
{
	struct open_reservation_copy f;
	bool ours = open_reservations_find(a->open, rec->id, &f) &&
	            str_eq(f.to.account, rec->account) &&
	            open_reservations_remove(a->open, rec->id, NULL);
	enum store_status st =
		store_memory_settle(a->memory, rec->account, rec->id, used);

	if (ours && f.to.worker >= 0)
		return STORE_OK;
	return a->n_workers > 1 ? STORE_UNKNOWN : st;
}

static void settle(struct settlement *s)
{
	struct settler *a = s->settler;
	const struct usage_record *rec = &s->rec;
	enum store_status st;

	record_charge(rec, priced_model(s),
	              estimator_ratio(a->estimator, rec->model), &s->tokens,
	              &s->used, &s->estimated);
	/* Anthropic may count more cached tokens than input when its report
	 * is odd; never let a subtraction below wrap. */
	if (s->tokens.cached > s->tokens.input)
		s->tokens.cached = s->tokens.input;
	write_up(s);
	st = settle_in_memory(a, rec, &s->used);
	if (st == STORE_UNKNOWN && s->policy->redis.enabled)
		store_redis_settle(a->redis, rec->account, rec->id, &s->used,
		                   conclude, s);
	else
		conclude(s, rec->id, st);
}

/* Streams and answers that are read while they pass: the id was not known
 * before. Whoever can send records can say this, but not take anything over:
 * the first binding of an id stays. */
static void bind_object(struct settler *a, const struct usage_record *rec)
{
	struct object o = {.owner = rec->owner,
	                   .resource = rec->resource,
	                   .model = rec->model,
	                   .origin = rec->origin};

	if (rec->object.len > 0 && rec->owner.len > 0)
		objects_bind(a->objects, rec->object, &o, NULL, NULL);
}

/* A background response is answered at once, without a usage: the reservation
 * of the request that asked for it stays open, and with that the estimate
 * charged. */
static bool is_left_open(const struct usage_record *rec)
{
	return rec->origin.len > 0 && str_eq(rec->origin, rec->id) &&
	       !rec->has_usage && rec->status >= 200 && rec->status < 300;
}

/* A later request shows the usage: it settles that reservation. The store
 * does so once, however often the response is asked for. */
static void settle_origin(struct settler *a, struct str datagram)
{
	struct settlement *s;
	struct usage_record rec;

	if (record_parse(datagram, &rec) != RECORD_OK)
		return;
	rec.id = rec.origin;
	rec.counted = true;
	rec.object = STR_NONE;
	s = settlement_new(a, &rec);
	if (s)
		settle(s);
	else
		record_done(&rec);
}

/* HAProxy had no decision on it. Then it has refused, nothing was sent. */
static bool is_undecided(const struct usage_record *rec)
{
	return rec->verdict.len == 0 &&
	       str_eq(rec->code, STR("decision_unavailable"));
}

/* HAProxy does not wait for this decision any more. When it was made all the
 * same, it did not arrive: what it had reserved is given back. */
static void abandon(struct settler *a, struct usage_record *rec)
{
	struct open_reservation_copy f;

	count_record(a, "undecided");
	if (!open_reservations_abandon(a->open, rec->id, &f,
	                               clock_mono_us(a->clock)))
		return;
	rec->consumer = f.to.consumer;
	rec->model = f.to.model;
	count_end(a->metrics, a->policy, rec);
	reservation_give_back(a->memory, a->redis, f.to.account, rec->id,
	                      f.to.worker >= 0);
	log_info("usage",
	         "id=%" STR_FMT " consumer=%" STR_FMT
	         " msg=\"the decision did not arrive: nothing was sent, the "
	         "reservation is given back\"",
	         STR_ARG(rec->id), STR_ARG(f.to.consumer));
}

void settle_datagram(void *settler, struct str datagram)
{
	struct settler *a = settler;
	struct settlement *s;
	struct usage_record rec;
	enum record_status st = record_parse(datagram, &rec);

	if (st != RECORD_OK) {
		count_record(a, st == RECORD_BAD ? "malformed" : "other");
		return;
	}
	if (is_undecided(&rec)) {
		abandon(a, &rec);
		record_done(&rec);
		return;
	}
	/* refused requests have no reservation: nothing to settle */
	if (rec.account.len == 0 || !str_eq(rec.verdict, STR("allow"))) {
		count_record(a, "refused");
		record_done(&rec);
		return;
	}
	count_end(a->metrics, a->policy, &rec);
	bind_object(a, &rec);
	if (is_left_open(&rec)) {
		count_record(a, "open");
		record_done(&rec);
		return;
	}
	if (rec.origin.len > 0 && !str_eq(rec.origin, rec.id) && rec.has_usage)
		settle_origin(a, datagram);
	s = settlement_new(a, &rec);
	if (!s) {
		count_record(a, "dropped");
		record_done(&rec);
		return;
	}
	settle(s);
}

void settle_forget(struct settler *a)
{
	while (a->settlements)
		settlement_free(a->settlements);
}
