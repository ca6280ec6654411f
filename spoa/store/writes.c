/* store/writes: what must reach Redis, on its way there. */
#include "store/writes.h"

#include "store/check.h"
#include "store/list.h"
#include "store/redis_args.h"

#include <stdlib.h>
#include <sys/random.h>

enum {
	WRITES_SENT_MAX = 1024,
	WRITES_FLUSH = 64, /* queued ones sent in one go ... */
	WRITES_FLUSH_MS = 10,
	WRITES_LATER_MS = 1000, /* after Redis said "not now" */
	/* How long a cancelled id stays unusable: longer than a stopped
	 * server may take to read what is in its sockets. */
	WRITES_CANCEL_MS = 60000,
};

struct write {
	struct list all; /* queued or sent */
	struct writes *writes;
	store_settle_cb *cb;
	void *ctx;
	struct store_usage used;
	uint64_t token; /* tells it from others of the same id */
	uint64_t sent_us;
	bool cancel;
	struct str account, id; /* behind, and used.note */
	char text[];
};

struct writes {
	struct loop *loop;
	const struct clock *clock;
	struct redis_link *link;
	struct str prefix;
	uint64_t ledger_max;
	struct writes_metrics metrics;
	struct list again; /* sent in vain: go before all that is queued */
	struct list queued, sent;
	size_t n_queued; /* of both, `again` and `queued` */
	size_t n_sent;
	uint64_t next_token;
	struct loop_timer flush;
};

static void on_flush(void *data);

static void flush_after(struct writes *s, uint64_t ms)
{
	if (s->n_queued > 0 && !loop_timer_active(&s->flush))
		loop_timer_start(s->loop, &s->flush, ms, on_flush, s);
}

static void count(struct metric *c)
{
	if (c)
		metric_add(c, 1);
}

static void show_pending(struct writes *s)
{
	if (s->metrics.pending)
		metric_set(s->metrics.pending, (int64_t)writes_pending(s));
}

static void put(struct write *w)
{
	list_add_last(&w->writes->queued, &w->all);
	w->writes->n_queued++;
}

/* Answers come in the order of what was sent, so this keeps it. */
static void put_again(struct write *w)
{
	list_add_last(&w->writes->again, &w->all);
	w->writes->n_queued++;
}

/* The end of one that is on neither list any more. */
static void end(struct write *w, enum store_status status)
{
	show_pending(w->writes);
	if (w->cb)
		w->cb(w->ctx, w->id, status);
	free(w);
}

static void on_error(struct write *w, struct str error)
{
	struct writes *s = w->writes;
	enum redis_error meaning = redis_error_of(error);

	count(s->metrics.errors);
	if (meaning == REDIS_ERROR_FINAL) {
		end(w, STORE_FAILED);
		return;
	}
	put_again(w);
	if (meaning == REDIS_ERROR_RECONNECT)
		redis_link_drop(s->link, "Redis cannot write now");
	else
		flush_after(s, WRITES_LATER_MS);
}

static void on_answer(void *ctx, const struct redis_link_reply *reply)
{
	struct write *w = ctx;
	struct writes *s = w->writes;

	list_del(&w->all);
	s->n_sent--;
	if (reply->kind == LINK_LOST) {
		put_again(w);
		return;
	}
	if (s->metrics.seconds)
		metric_observe_us(s->metrics.seconds,
		                  clock_mono_us(s->clock) - w->sent_us);
	if (reply->kind == LINK_NUMBERS && reply->n == 1)
		end(w, reply->v[0] == STORE_OK ? STORE_OK : STORE_UNKNOWN);
	else
		on_error(w, reply->error);
}

/* False: it stays queued. */
static bool write_send(struct write *w)
{
	struct writes *s = w->writes;
	struct redis_args a;
	int unit;
	bool ok;

	if (s->n_sent >= WRITES_SENT_MAX)
		return false;
	ok = redis_args_begin(&a, s->prefix, w->account, w->id);
	if (ok) {
		redis_args_ledger(&a, s->prefix, w->account);
		for (unit = UNIT_REQUESTS; unit <= UNIT_USD; unit++)
			redis_args_num(
				&a, (uint64_t)check_used(
					    &w->used, (enum limit_unit)unit));
		redis_args_num(&a, w->cancel ? WRITES_CANCEL_MS : 0);
		redis_args_num(&a, w->token);
		if (w->used.note.len > 0 && s->ledger_max > 0) {
			redis_args_num(&a, s->ledger_max);
			redis_args_str(&a, w->used.note);
		}
		w->sent_us = clock_mono_us(s->clock);
		ok = redis_args_call(&a, s->link, SCRIPT_SETTLE, on_answer, w);
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

static void on_flush(void *data)
{
	struct writes *s = data;
	int i;

	list_prepend(&s->queued, &s->again);
	for (i = 0; i < WRITES_FLUSH && !list_empty(&s->queued); i++)
		if (!write_send(list_entry(s->queued.next, struct write, all)))
			break;
	if (redis_link_is_up(s->link))
		flush_after(s, WRITES_FLUSH_MS);
}

static struct write *write_new(struct writes *s, struct str account,
                               struct str id, const struct store_usage *used)
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

/* At once when nothing waits before it. */
static void send_or_wait(struct writes *s, struct write *w)
{
	bool first = s->n_queued == 0;

	put(w);
	if (redis_link_is_up(s->link) && (!first || !write_send(w)))
		flush_after(s, WRITES_FLUSH_MS);
	show_pending(s);
}

bool writes_settle(struct writes *s, struct str account, struct str id,
                   const struct store_usage *used, store_settle_cb *cb,
                   void *ctx)
{
	struct write *w = write_new(s, account, id, used);

	if (!w) {
		count(s->metrics.dropped);
		return false;
	}
	w->cb = cb;
	w->ctx = ctx;
	send_or_wait(s, w);
	return true;
}

void writes_cancel(struct writes *s, struct str account, struct str id)
{
	static const struct store_usage nothing;
	struct write *w = write_new(s, account, id, &nothing);

	if (!w) {
		count(s->metrics.dropped);
		return;
	}
	w->cancel = true;
	send_or_wait(s, w);
}

void writes_up(struct writes *s)
{
	flush_after(s, WRITES_FLUSH_MS);
}

void writes_down(struct writes *s)
{
	loop_timer_stop(&s->flush);
}

void writes_give_up(struct writes *s)
{
	size_t n = s->n_queued; /* a callback may add more */

	list_prepend(&s->queued, &s->again);
	for (; n > 0 && !list_empty(&s->queued); n--) {
		struct write *w = list_entry(s->queued.next, struct write, all);

		list_del(&w->all);
		s->n_queued--;
		count(s->metrics.dropped);
		end(w, STORE_FAILED);
	}
}

size_t writes_pending(const struct writes *s)
{
	return s->n_queued + s->n_sent;
}

void writes_measure(struct writes *s, const struct writes_metrics *m)
{
	s->metrics = *m;
}

void writes_configure(struct writes *s, struct str prefix, uint64_t ledger_max)
{
	s->prefix = prefix;
	s->ledger_max = ledger_max;
}

struct writes *writes_new(struct loop *loop, const struct clock *clock,
                          struct redis_link *link)
{
	struct writes *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->loop = loop;
	s->clock = clock;
	s->link = link;
	/* other processes and nodes count from elsewhere; without random bytes
	 * they differ by when they began */
	if (getrandom(&s->next_token, sizeof(s->next_token), GRND_NONBLOCK) < 0)
		s->next_token = clock_mono_us(clock) << 20;
	list_init(&s->again);
	list_init(&s->queued);
	list_init(&s->sent);
	return s;
}

static void free_all(struct list *l)
{
	while (!list_empty(l)) {
		struct write *w = list_entry(l->next, struct write, all);

		list_del(&w->all);
		free(w);
	}
}

void writes_free(struct writes *s)
{
	if (!s)
		return;
	loop_timer_stop(&s->flush);
	free_all(&s->again);
	free_all(&s->queued);
	free_all(&s->sent);
	free(s);
}
