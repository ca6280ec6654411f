/*
 * store/writes: queue of the writes that Redis must execute, with retries.
 *
 *   resend   sent before, not executed: go out before the queue
 *   queued   new writes, in the order of their arrival
 *   sent     in flight, in the order of the sends
 *   retry[]  settles that found no record, by the time of their repeat
 *
 * A write is on exactly one of these lists until wr_end(). It is sent at once
 * when nothing is queued before it; otherwise wr_on_flush() or the answer to an
 * earlier write sends it.
 */
#include "store/writes.h"

#include "store/check.h"
#include "store/list.h"
#include "store/redis_args.h"
#include "store/reservation.h"

#include <stdlib.h>
#include <sys/random.h>

enum {
	/* In flight at once. Further writes wait here, where they can be
	 * counted, and not in the socket. */
	WRITES_SENT_MAX = 1024,
	/* After an outage: 64 writes per 10 ms, 6,400 per second. Redis does
	 * about 37,000 settles per second (azure.md), so most of it is left for
	 * the reserves of new requests. */
	WRITES_FLUSH = 64,
	WRITES_FLUSH_MS = 10,
	/* Wait after an error such as OOM or LOADING */
	WRITES_BACKOFF_MS = 1000,
	/* Levels of the repeat: the first after 100 ms, all others after 1 s.
	 * One list per level keeps each list in the order of time. */
	WRITES_LEVELS = 2,
	/* Settles that wait for a repeat may take half of the queue, so that
	 * ids that never had a reservation cannot push out real writes. */
	WRITES_RETRY_MAX = STORE_PENDING_MAX / 2,
	/* Life of the mark under a cancelled id. Longer than a server that was
	 * stopped needs to read what is left in its sockets. */
	WRITES_CANCEL_MS = 60000,
};

struct write {
	struct list all; /* on one of the lists of struct writes */
	struct writes *writes;
	struct store_reservation *reserve; /* NULL: a settle or cancel, with
	                                    * the fields below */
	store_settle_cb *cb;
	void *ctx;
	struct store_usage used;
	uint64_t token; /* identifies this settle among those of one id */
	uint64_t sent_us;
	bool cancel;            /* leave a mark when there is no record */
	unsigned n_unknown;     /* times it found no record */
	uint64_t retry_us;      /* on retry[]: when it is due */
	struct str account, id; /* point into `text`, as does used.note; of a
	                         * reserve into its own block */
	char text[];
};

struct writes {
	struct loop *loop;
	const struct clock *clock;
	struct redis_link *link;
	struct str prefix;
	uint64_t ledger_max; /* entries per account in Redis; 0: no ledger */
	struct writes_metrics metrics;
	struct list resend;
	struct list queued, sent;
	size_t n_queued; /* on `resend` and `queued` together */
	size_t n_sent;
	uint64_t next_token;
	bool slow;          /* the queue is sent at the bounded rate */
	bool retry_unknown; /* some limit of the policy is leased */
	struct list retry[WRITES_LEVELS]; /* each in the order of retry_us */
	size_t n_retry;
	struct loop_timer flush_timer, retry_timer;
	writes_reserved_cb *reserved;
	void *ctx;
};

static void wr_on_flush(void *data);

static void wr_start_flush(struct writes *s, uint64_t ms)
{
	if (s->n_queued > 0 && !loop_timer_active(&s->flush_timer))
		loop_timer_start(s->loop, &s->flush_timer, ms, wr_on_flush, s);
}

static void wr_count_metric(struct metric *c)
{
	if (c)
		metric_add(c, 1);
}

static void wr_set_pending(struct writes *s)
{
	if (s->metrics.pending)
		metric_set(s->metrics.pending, (int64_t)writes_pending(s));
}

static void wr_enqueue(struct write *w)
{
	list_add_last(&w->writes->queued, &w->all);
	w->writes->n_queued++;
}

/* Back to the head of the queue. Redis answers in the order of the sends, and
 * lost calls end in that order, too, so `resend` keeps it. */
static void wr_enqueue_resend(struct write *w)
{
	list_add_last(&w->writes->resend, &w->all);
	w->writes->n_queued++;
}

static void wr_free(struct write *w)
{
	free(w->reserve);
	free(w);
}

/* End a write that was taken off its list, and free it. `res`: the answer to a
 * reserve, NULL if there is none. */
static void wr_end(struct write *w, enum store_status status,
                   const struct store_result *res)
{
	struct writes *s = w->writes;

	wr_set_pending(s);
	if (w->reserve)
		s->reserved(s->ctx, w->reserve, res, w->sent_us);
	else if (w->cb)
		w->cb(w->ctx, w->id, status);
	wr_free(w);
}

static void wr_on_retry(void *data);

static struct write *wr_first_retry(const struct writes *s, int level)
{
	const struct list *l = &s->retry[level];

	return list_empty(l) ? NULL : list_entry(l->next, struct write, all);
}

static void wr_start_retry(struct writes *s)
{
	uint64_t now = clock_mono_us(s->clock), due = UINT64_MAX;
	int level;

	if (s->n_retry == 0 || loop_timer_active(&s->retry_timer))
		return;
	for (level = 0; level < WRITES_LEVELS; level++) {
		const struct write *w = wr_first_retry(s, level);

		if (w && w->retry_us < due)
			due = w->retry_us;
	}
	loop_timer_start(s->loop, &s->retry_timer,
	                 due > now ? (due - now + 999) / 1000 : 0, wr_on_retry,
	                 s);
}

static void wr_on_retry(void *data)
{
	struct writes *s = data;
	uint64_t now = clock_mono_us(s->clock);
	int level;

	for (level = 0; level < WRITES_LEVELS; level++) {
		struct write *w = wr_first_retry(s, level);

		for (; w && w->retry_us <= now; w = wr_first_retry(s, level)) {
			list_del(&w->all);
			s->n_retry--;
			wr_enqueue(w);
		}
	}
	wr_start_flush(s, 0);
	wr_start_retry(s);
}

/* A settle found no record. In lease mode the process that admitted the request
 * may not have delivered its reserve yet: usually for some milliseconds, longer
 * after a broken connection. `no_trace`: Redis has never seen the id. Otherwise
 * the reservation was settled or cancelled, and repeating is useless. */
static void wr_on_unknown(struct write *w, bool no_trace)
{
	static const uint64_t after_ms[WRITES_LEVELS] = {100, 1000};
	struct writes *s = w->writes;
	int level = w->n_unknown == 0 ? 0 : 1;

	if (!no_trace || !s->retry_unknown || w->cancel ||
	    w->n_unknown >= WRITES_PATIENCE || s->n_retry >= WRITES_RETRY_MAX) {
		wr_end(w, STORE_UNKNOWN, NULL);
		return;
	}
	w->n_unknown++;
	w->retry_us = clock_mono_us(s->clock) + after_ms[level] * 1000;
	list_add_last(&s->retry[level], &w->all);
	s->n_retry++;
	wr_start_retry(s);
}

/* Redis answered with an error. A write that may succeed later goes back to the
 * head of the queue, and the rate is bounded from now on. */
static void wr_on_error(struct write *w, struct str error)
{
	struct writes *s = w->writes;
	enum redis_error meaning = redis_error_of(error);

	wr_count_metric(w->reserve ? s->metrics.reserve_errors
	                           : s->metrics.errors);
	if (meaning == REDIS_ERROR_FINAL) {
		wr_end(w, STORE_FAILED, NULL);
		return;
	}
	wr_enqueue_resend(w);
	s->slow = true;
	if (meaning == REDIS_ERROR_RECONNECT)
		redis_link_drop(s->link, "Redis cannot write now");
	else
		wr_start_flush(s, WRITES_BACKOFF_MS);
}

static void wr_on_reserved(struct write *w,
                           const struct redis_link_reply *reply)
{
	struct store_result res = {.status = STORE_FAILED};
	bool before, ok = redis_args_result(reply, w->reserve->n_charges, &res,
	                                    &before);

	wr_end(w, res.status, ok ? &res : NULL);
}

/* False: the write stays on its list. */
static bool wr_send(struct write *w);

static void wr_on_answer(void *ctx, const struct redis_link_reply *reply)
{
	struct write *w = ctx;
	struct writes *s = w->writes;

	list_del(&w->all);
	s->n_sent--;
	if (reply->kind == LINK_LOST) {
		wr_enqueue_resend(w);
		return;
	}
	if (s->metrics.seconds)
		metric_observe_us(s->metrics.seconds,
		                  clock_mono_us(s->clock) - w->sent_us);
	if (reply->kind != LINK_NUMBERS || reply->n == 0)
		wr_on_error(w, reply->error);
	else if (w->reserve)
		wr_on_reserved(w, reply);
	else if (reply->v[0] == STORE_OK)
		wr_end(w, STORE_OK, NULL);
	else
		wr_on_unknown(w, reply->n > 1 && reply->v[1] == 1);
	if (!s->slow && !list_empty(&s->queued))
		wr_send(list_entry(s->queued.next, struct write, all));
}

static void wr_add_settle_args(const struct write *w, struct redis_args *a)
{
	const struct writes *s = w->writes;
	int unit;

	redis_args_ledger(a, s->prefix, w->account);
	for (unit = UNIT_REQUESTS; unit <= UNIT_USD; unit++)
		redis_args_num(a, (uint64_t)check_used(&w->used,
		                                       (enum limit_unit)unit));
	redis_args_num(a, w->cancel ? WRITES_CANCEL_MS : 0);
	redis_args_num(a, w->token);
	if (w->used.note.len > 0 && s->ledger_max > 0) {
		redis_args_num(a, s->ledger_max);
		redis_args_str(a, w->used.note);
	}
}

static bool wr_send(struct write *w)
{
	struct writes *s = w->writes;
	struct redis_args a;
	bool ok;

	if (s->n_sent >= WRITES_SENT_MAX)
		return false;
	ok = redis_args_begin(&a, s->prefix, w->account, w->id);
	if (ok) {
		if (w->reserve)
			redis_args_reserve(&a, s->prefix, w->reserve, true);
		else
			wr_add_settle_args(w, &a);
		w->sent_us = clock_mono_us(s->clock);
		ok = redis_args_call(&a, s->link,
		                     w->reserve ? SCRIPT_RESERVE
		                                : SCRIPT_SETTLE,
		                     wr_on_answer, w);
	}
	redis_args_done(&a);
	if (!ok)
		return false;
	list_del(&w->all);
	s->n_queued--;
	list_add_last(&s->sent, &w->all);
	s->n_sent++;
	return true;
}

/* Send what is queued, `resend` first. The rate is bounded until the queue is
 * shorter than one batch; then all of it is sent, and later writes go out with
 * the answers. */
static void wr_on_flush(void *data)
{
	struct writes *s = data;
	int i;

	list_prepend(&s->queued, &s->resend);
	s->slow = s->slow && s->n_queued > WRITES_FLUSH;
	for (i = 0; (!s->slow || i < WRITES_FLUSH) && !list_empty(&s->queued);
	     i++)
		if (!wr_send(list_entry(s->queued.next, struct write, all)))
			break;
	if (redis_link_is_up(s->link))
		wr_start_flush(s, WRITES_FLUSH_MS);
}

static struct write *wr_new(struct writes *s, struct str account, struct str id,
                            const struct store_usage *used)
{
	struct write *w;

	if (writes_pending(s) >= STORE_PENDING_MAX)
		return NULL;
	w = calloc(1, sizeof(*w) + account.len + id.len + used->note.len);
	if (!w)
		return NULL;
	w->writes = s;
	w->token = s->next_token++;
	memcpy(w->text, account.p, account.len);
	memcpy(w->text + account.len, id.p, id.len);
	w->account = str_of(w->text, account.len);
	w->id = str_of(w->text + account.len, id.len);
	w->used = *used;
	w->used.note = str_of(w->text + account.len + id.len, used->note.len);
	if (used->note.len > 0)
		memcpy(w->text + account.len + id.len, used->note.p,
		       used->note.len);
	return w;
}

/* Send at once when nothing is queued before it. */
static void wr_send_or_queue(struct writes *s, struct write *w)
{
	bool first = s->n_queued == 0;

	wr_enqueue(w);
	if (redis_link_is_up(s->link) && (!first || !wr_send(w)))
		wr_start_flush(s, WRITES_FLUSH_MS);
	wr_set_pending(s);
}

bool writes_settle(struct writes *s, struct str account, struct str id,
                   const struct store_usage *used, store_settle_cb *cb,
                   void *ctx)
{
	struct write *w = wr_new(s, account, id, used);

	if (!w) {
		wr_count_metric(s->metrics.dropped);
		return false;
	}
	w->cb = cb;
	w->ctx = ctx;
	wr_send_or_queue(s, w);
	return true;
}

bool writes_go_at_once(const struct writes *s)
{
	return redis_link_is_up(s->link) && s->n_queued == 0 &&
	       s->n_sent < WRITES_SENT_MAX &&
	       writes_pending(s) < STORE_PENDING_MAX;
}

bool writes_reserve(struct writes *s, const struct store_reservation *r)
{
	struct write *w = calloc(1, sizeof(*w));

	if (w)
		w->reserve = reservation_copy(r);
	if (!w || !w->reserve) {
		free(w);
		return false;
	}
	w->writes = s;
	w->account = w->reserve->account;
	w->id = w->reserve->id;
	wr_send_or_queue(s, w);
	return true;
}

void writes_cancel(struct writes *s, struct str account, struct str id)
{
	static const struct store_usage nothing;
	struct write *w = wr_new(s, account, id, &nothing);

	if (!w) {
		wr_count_metric(s->metrics.dropped);
		return;
	}
	w->cancel = true;
	wr_send_or_queue(s, w);
}

void writes_up(struct writes *s)
{
	s->slow = s->n_queued > 0;
	wr_start_flush(s, WRITES_FLUSH_MS);
}

void writes_down(struct writes *s)
{
	loop_timer_stop(&s->flush_timer);
}

void writes_give_up(struct writes *s)
{
	size_t n; /* counted first: a callback may queue another write */
	int level;

	list_prepend(&s->queued, &s->resend);
	for (level = 0; level < WRITES_LEVELS; level++)
		list_prepend(&s->queued, &s->retry[level]);
	s->n_queued += s->n_retry;
	s->n_retry = 0;
	n = s->n_queued;
	for (; n > 0 && !list_empty(&s->queued); n--) {
		struct write *w = list_entry(s->queued.next, struct write, all);

		list_del(&w->all);
		s->n_queued--;
		wr_count_metric(s->metrics.dropped);
		wr_end(w, STORE_FAILED, NULL);
	}
}

size_t writes_pending(const struct writes *s)
{
	return s->n_queued + s->n_sent + s->n_retry;
}

void writes_measure(struct writes *s, const struct writes_metrics *m)
{
	s->metrics = *m;
}

void writes_configure(struct writes *s, const struct policy *p)
{
	size_t i;

	s->prefix = p->redis.prefix;
	s->ledger_max = p->ledger.stream_max;
	s->retry_unknown = false;
	for (i = 0; i < p->n_limits; i++)
		if (p->limits[i].lease_share > 0)
			s->retry_unknown = true;
}

struct writes *writes_new(struct loop *loop, const struct clock *clock,
                          struct redis_link *link, writes_reserved_cb *cb,
                          void *ctx)
{
	struct writes *s = calloc(1, sizeof(*s));
	int level;

	if (!s)
		return NULL;
	s->loop = loop;
	s->clock = clock;
	s->link = link;
	/* Tokens of different processes must differ. Each process counts from
	 * a random number; without random bytes, from its time of start. */
	if (getrandom(&s->next_token, sizeof(s->next_token), GRND_NONBLOCK) < 0)
		s->next_token = clock_mono_us(clock) << 20;
	s->reserved = cb;
	s->ctx = ctx;
	for (level = 0; level < WRITES_LEVELS; level++)
		list_init(&s->retry[level]);
	list_init(&s->resend);
	list_init(&s->queued);
	list_init(&s->sent);
	return s;
}

static void wr_free_list(struct list *l)
{
	while (!list_empty(l)) {
		struct write *w = list_entry(l->next, struct write, all);

		list_del(&w->all);
		wr_free(w);
	}
}

void writes_free(struct writes *s)
{
	int level;

	if (!s)
		return;
	loop_timer_stop(&s->flush_timer);
	loop_timer_stop(&s->retry_timer);
	for (level = 0; level < WRITES_LEVELS; level++)
		wr_free_list(&s->retry[level]);
	wr_free_list(&s->resend);
	wr_free_list(&s->queued);
	wr_free_list(&s->sent);
	free(s);
}
