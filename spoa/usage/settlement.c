/*
 * usage/settlement: one settlement on its way to the store and back.
 *
 *   smt_settle: record_charge -> smt_write_entry -> smt_settle_in_memory
 *                                                     |          |
 *                        STORE_UNKNOWN: it is in Redis|          |
 *                                                     v          v
 *                                        store_redis_settle -> smt_conclude
 *
 * A settlement lives until the store has answered; store_redis_settle() keeps
 * it for hours when Redis is away. It has its own reference on the policy that
 * was in force when the record came, so a reload does not change its price.
 */
#include "usage/settlement.h"

#include "base/log.h"
#include "store/open_reservations.h"
#include "upstream/health.h"
#include "usage/count.h"
#include "usage/entry.h"
#include "usage/estimator.h"
#include "usage/ledger.h"
#include "usage/settle.h"

#include <stdlib.h>

/* A line of all fields at their usual lengths has about 700 bytes. */
enum { SETTLEMENT_LOG_MAX = 2048 };

struct settlement {
	struct settler *settler;
	struct policy *policy; /* reference held */
	struct usage_record rec;
	struct usage_tokens tokens;
	struct store_usage used;
	uint64_t arrived_us;
	bool estimated;
	struct buf line; /* of the ledger; empty: there is none */
	struct settlement *next, **prev; /* the settler's list */
};

/* Takes the record over; NULL, and the record stays, without memory. */
static struct settlement *smt_new(struct settler *a, struct usage_record *rec)
{
	struct settlement *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->settler = a;
	s->arrived_us = clock_mono_us(a->clock);
	s->rec = *rec;
	rec->text = NULL;
	buf_init(&s->line, ENTRY_LINE_MAX);
	s->policy = policy_ref(a->policy);
	s->next = a->settlements;
	s->prev = &a->settlements;
	if (s->next)
		s->next->prev = &s->next;
	a->settlements = s;
	return s;
}

static void smt_free(struct settlement *s)
{
	*s->prev = s->next;
	if (s->next)
		s->next->prev = s->prev;
	record_done(&s->rec);
	buf_done(&s->line);
	policy_unref(s->policy);
	free(s);
}

/* --------------------------------------------------------- log and ledger */

/* What a ticket says in words, in the order of its table. */
#define SMT_LOG(kind, name, where)                                             \
	FIELD_IF_##where(SMT_LOG_##kind(#name, rec->ticket.name))
#define SMT_LOG_TEXT(name, v) log_field(&line, name, v);
#define SMT_LOG_OPERATION(name, v)                                             \
	log_field(&line, name, str_c(operations_name(v)));
#define SMT_LOG_COUNT(name, v)
#define SMT_LOG_FLAG(name, v)

/* Tokens; rare kinds only where there are some. */
#define SMT_LOG_TOKENS(kind, name, where) SMT_LOG_##where(#name, s->tokens.name)
#define SMT_LOG_LEDGER(name, v)           log_field_num(&line, name, (int64_t)(v));
#define SMT_LOG_RARE(name, v)                                                  \
	if ((v) > 0)                                                           \
		log_field_num(&line, name, (int64_t)(v));

/* The usage line: what an operator greps for next to the decision line. */
static void smt_log(const struct settlement *s)
{
	const struct usage_record *rec = &s->rec;
	char space[SETTLEMENT_LOG_MAX];
	struct buf line = {
		.p = space, .cap = sizeof(space), .max = sizeof(space)};

	if (!log_enabled(LOG_INFO))
		return;
	log_field(&line, "id", rec->id);
	log_field_num(&line, "status", rec->status);
	log_field(&line, "termination", rec->termination);
	if (rec->code.len > 0)
		log_field(&line, "code", rec->code);
	TICKET_FIELDS(SMT_LOG)
	USAGE_TOKENS(SMT_LOG_TOKENS)
	if (s->tokens.service_tier.len > 0)
		log_field(&line, "service_tier", s->tokens.service_tier);
	if (s->estimated)
		log_field(&line, "estimated", STR("true"));
	log_field_num(&line, "nano_usd", (int64_t)s->used.nano_usd);
	log_field_num(&line, "bytes", (int64_t)rec->bytes);
	if (rec->ticket.stream)
		log_field_num(&line, "events", (int64_t)rec->events);
	log_field_num(&line, "ttfb_ms", rec->ttfb_ms);
	if (rec->ttft_ms >= 0)
		log_field_num(&line, "ttft_ms", rec->ttft_ms);
	log_field_num(&line, "total_ms", rec->total_ms);
	log_info("usage", "%" STR_FMT, STR_ARG(buf_str(&line)));
}

/* The answer of a batch says what it has used, and of which model. No limit
 * counts that: it ran long before somebody asked. */
static void smt_write_batch(const struct settlement *s, struct usage_entry *e)
{
	const struct usage_record *rec = &s->rec;
	const struct policy_model *m = policy_model_deployed(
		s->policy, rec->ticket.resource, rec->batch_model);

	if (rec->batch.len == 0 || !rec->has_usage)
		return;
	e->batch = rec->batch;
	e->model = m ? m->name : rec->batch_model;
	entry_put_tokens(e, &rec->tokens);
}

/* The ledger's line, before it is known whether it counts: Redis writes it down
 * with the settlement or not at all, and the file gets it after that. */
static void smt_write_entry(struct settlement *s)
{
	const struct usage_record *rec = &s->rec;
	const struct ticket *t = &rec->ticket;
	char now[25];
	struct usage_entry e = {
		.time = str_of(now, sizeof(now) - 1),
		.id = rec->id,
		.team = str_eq(t->account, t->consumer) ? STR_NONE : t->account,
		.ttft_ms = rec->ttft_ms > 0 ? (uint64_t)rec->ttft_ms : 0,
		.estimated = s->estimated,
		.requests = t->counted ? s->used.requests : 0,
		.nano_usd = s->used.nano_usd,
	};

	if (s->policy->ledger.file.len == 0)
		return;
	entry_take(&e, rec);
	entry_put_tokens(&e, &s->tokens);
	smt_write_batch(s, &e);
	clock_iso8601(clock_real_ms(s->settler->clock), now);
	entry_write(&e, &s->line);
	if (s->line.failed) /* counted as lost */
		s->line.len = 0;
	s->used.note = str_trim(buf_str(&s->line));
}

/* --------------------------------------------------- the store has answered */

/* An upstream that could not be reached sends no `upstream_error`: HAProxy
 * answered itself. The record tells by its termination: S or s, the server's
 * side. */
static void smt_report_unreachable(const struct settlement *s)
{
	const struct usage_record *rec = &s->rec;
	const struct ticket *t = &rec->ticket;

	if (str_starts_nocase(rec->termination, STR("s")) &&
	    rec->status >= 502 && rec->status <= 504 && t->deployment.len > 0)
		health_report(s->settler->health, t->resource, t->deployment,
		              (int)rec->status, 0);
}

/* Whether the prompt tokens are those of the text that was sent: no recording
 * or picture, which may also have come by its URL, and not the prompts of
 * several runs of the model. */
static bool smt_is_of_one_text(const struct settlement *s)
{
	const struct usage_tokens *t = &s->tokens;

	return s->rec.has_usage && t->audio_input == 0 && t->image_input == 0 &&
	       t->longest == 0;
}

/* It counts, and is the only one that does: what follows happens once. */
static void smt_counted(const struct settlement *s)
{
	const struct settler *a = s->settler;
	const struct count_usage counted = {
		.rec = &s->rec,
		.tokens = &s->tokens,
		.estimated = s->estimated,
		.nano_usd = s->used.nano_usd,
	};

	count_record(a->metrics, s->estimated ? "estimated" : "settled");
	count_usage(a->metrics, s->policy, &counted);
	metrics_observe(a->metrics, "foundry_settle_lag_seconds", STR_NONE,
	                clock_mono_us(a->clock) - s->arrived_us);
	if (smt_is_of_one_text(s))
		estimator_learn(a->estimator, s->rec.ticket.model,
		                s->rec.ticket.consumer,
		                s->rec.ticket.text_bytes, s->tokens.input);
	smt_log(s);
	smt_report_unreachable(s);
	ledger_add(a->ledger, buf_str(&s->line));
}

/* The store's answer, or that it could not be asked; frees the settlement. */
static void smt_conclude(void *ctx, struct str id, enum store_status status)
{
	struct settlement *s = ctx;

	(void)id;
	if (status == STORE_OK) {
		smt_counted(s);
	} else if (status == STORE_UNKNOWN) {
		count_record(s->settler->metrics, "unknown");
		log_debug("usage",
		          "id=%" STR_FMT
		          " msg=\"no open reservation: not counted\"",
		          STR_ARG(s->rec.id));
	} else {
		count_record(s->settler->metrics, "dropped");
		log_warn("usage",
		         "id=%" STR_FMT " msg=\"could not be settled: the "
		         "estimate stays charged\"",
		         STR_ARG(s->rec.id));
	}
	smt_free(s);
}

/* ---------------------------------------------------------------- settling */

/* What is paid by the hour costs nothing by the token, unless Azure spilled
 * it over to what is. */
static const struct policy_model *smt_priced_model(const struct settlement *s)
{
	const struct ticket *t = &s->rec.ticket;

	if (!s->rec.spilled &&
	    policy_provisioned(s->policy, t->resource, t->deployment))
		return NULL;
	return policy_model(s->policy, t->model);
}

/* What is counted in memory is corrected by the worker that counts it, if it is
 * this one and still the same. But what was used is written down by whichever
 * worker hears of the end: the shared table gives the reservation to one of
 * them, and once. STORE_UNKNOWN: not in memory, as far as is known here. */
static enum store_status smt_settle_in_memory(const struct settlement *s)
{
	const struct settler *a = s->settler;
	struct str account = s->rec.ticket.account, id = s->rec.id;
	struct open_reservation_copy f;
	bool ours = open_reservations_find(a->open, id, &f) &&
	            str_eq(f.to.account, account) &&
	            open_reservations_remove(a->open, id, NULL);
	enum store_status st =
		store_memory_settle(a->memory, account, id, &s->used);

	if (ours && f.to.worker >= 0)
		return STORE_OK;
	return a->n_workers > 1 ? STORE_UNKNOWN : st;
}

static void smt_settle(struct settlement *s)
{
	struct settler *a = s->settler;
	const struct usage_record *rec = &s->rec;
	enum store_status st;

	record_charge(rec, smt_priced_model(s), &s->tokens, &s->used,
	              &s->estimated);
	smt_write_entry(s);
	st = smt_settle_in_memory(s);
	if (st == STORE_UNKNOWN && s->policy->redis.enabled)
		store_redis_settle(a->redis, rec->ticket.account, rec->id,
		                   &s->used, smt_conclude, s);
	else
		smt_conclude(s, rec->id, st);
}

void settlement_start(struct settler *a, struct usage_record *rec)
{
	struct settlement *s = smt_new(a, rec);

	if (s) {
		smt_settle(s);
		return;
	}
	count_record(a->metrics, "dropped");
	record_done(rec);
}

void settlement_forget(struct settler *a)
{
	while (a->settlements)
		smt_free(a->settlements);
}
