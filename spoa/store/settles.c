/* store/settles: what was really used, on its way to Redis. */
#include "store/settles.h"

#include "store/check.h"
#include "store/list.h"
#include "store/redis_args.h"

#include <stdlib.h>

enum {
	SETTLES_SENT_MAX = 1024,
	SETTLES_FLUSH = 64, /* queued ones sent in one go ... */
	SETTLES_FLUSH_MS = 10,
	SETTLES_LATER_MS = 1000, /* after Redis said "not now" */
	/* How long a cancelled id stays unusable: longer than a stopped
	 * server may take to read what is in its sockets. */
	SETTLES_CANCEL_MS = 60000,
};

struct settle {
	struct list all; /* queued or sent */
	struct settles *settles;
	store_settle_cb *cb;
	void *ctx;
	struct store_usage used;
	uint64_t sent_us;
	bool cancel;
	struct str account, id; /* behind, and used.note */
	char text[];
};

struct settles {
	struct loop *loop;
	const struct clock *clock;
	struct redis_link *link;
	struct str prefix;
	uint64_t ledger_max;
	struct settles_metrics metrics;
	struct list queued, sent;
	size_t n_queued, n_sent;
	struct loop_timer flush;
};

static void on_flush(void *data);

static void flush_after(struct settles *s, uint64_t ms)
{
	if (s->n_queued > 0 && !loop_timer_active(&s->flush))
		loop_timer_start(s->loop, &s->flush, ms, on_flush, s);
}

static void count(struct metric *c)
{
	if (c)
		metric_add(c, 1);
}

static void show_pending(struct settles *s)
{
	if (s->metrics.pending)
		metric_set(s->metrics.pending, (int64_t)settles_pending(s));
}

static void put(struct settle *w)
{
	list_add_last(&w->settles->queued, &w->all);
	w->settles->n_queued++;
}

/* The end of one that is on neither list any more. */
static void end(struct settle *w, enum store_status status)
{
	show_pending(w->settles);
	if (w->cb)
		w->cb(w->ctx, w->id, status);
	free(w);
}

static void on_error(struct settle *w, struct str error)
{
	struct settles *s = w->settles;
	enum redis_error meaning = redis_error_of(error);

	count(s->metrics.errors);
	if (meaning == REDIS_ERROR_FINAL) {
		end(w, STORE_FAILED);
		return;
	}
	put(w);
	if (meaning == REDIS_ERROR_RECONNECT)
		redis_link_drop(s->link, "Redis cannot write now");
	else
		flush_after(s, SETTLES_LATER_MS);
}

static void on_settled(void *ctx, const struct redis_link_reply *reply)
{
	struct settle *w = ctx;
	struct settles *s = w->settles;

	list_del(&w->all);
	s->n_sent--;
	if (reply->kind == LINK_LOST) {
		put(w);
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
static bool settle_send(struct settle *w)
{
	struct settles *s = w->settles;
	struct redis_args a;
	int unit;
	bool ok;

	if (s->n_sent >= SETTLES_SENT_MAX)
		return false;
	ok = redis_args_begin(&a, s->prefix, w->account, w->id);
	if (ok) {
		redis_args_ledger(&a, s->prefix, w->account);
		for (unit = UNIT_REQUESTS; unit <= UNIT_USD; unit++)
			redis_args_num(
				&a, (uint64_t)check_used(
					    &w->used, (enum limit_unit)unit));
		redis_args_num(&a, w->cancel ? SETTLES_CANCEL_MS : 0);
		if (w->used.note.len > 0 && s->ledger_max > 0) {
			redis_args_num(&a, s->ledger_max);
			redis_args_str(&a, w->used.note);
		}
		w->sent_us = clock_mono_us(s->clock);
		ok = redis_args_call(&a, s->link, SCRIPT_SETTLE, on_settled, w);
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
	struct settles *s = data;
	int i;

	for (i = 0; i < SETTLES_FLUSH && !list_empty(&s->queued); i++)
		if (!settle_send(
			    list_entry(s->queued.next, struct settle, all)))
			break;
	if (redis_link_is_up(s->link))
		flush_after(s, SETTLES_FLUSH_MS);
}

static struct settle *settle_new(struct settles *s, struct str account,
                                 struct str id, const struct store_usage *used)
{
	struct settle *w;

	if (settles_pending(s) >= STORE_PENDING_MAX)
		return NULL;
	w = calloc(1, sizeof(*w) + account.len + id.len + used->note.len);
	if (!w)
		return NULL;
	w->settles = s;
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
static void send_or_wait(struct settles *s, struct settle *w)
{
	bool first = s->n_queued == 0;

	put(w);
	if (redis_link_is_up(s->link) && (!first || !settle_send(w)))
		flush_after(s, SETTLES_FLUSH_MS);
	show_pending(s);
}

bool settles_add(struct settles *s, struct str account, struct str id,
                 const struct store_usage *used, store_settle_cb *cb, void *ctx)
{
	struct settle *w = settle_new(s, account, id, used);

	if (!w) {
		count(s->metrics.dropped);
		return false;
	}
	w->cb = cb;
	w->ctx = ctx;
	send_or_wait(s, w);
	return true;
}

void settles_cancel(struct settles *s, struct str account, struct str id)
{
	static const struct store_usage nothing;
	struct settle *w = settle_new(s, account, id, &nothing);

	if (!w) {
		count(s->metrics.dropped);
		return;
	}
	w->cancel = true;
	send_or_wait(s, w);
}

void settles_up(struct settles *s)
{
	flush_after(s, SETTLES_FLUSH_MS);
}

void settles_down(struct settles *s)
{
	loop_timer_stop(&s->flush);
}

void settles_give_up(struct settles *s)
{
	size_t n = s->n_queued; /* a callback may add more */

	for (; n > 0 && !list_empty(&s->queued); n--) {
		struct settle *w =
			list_entry(s->queued.next, struct settle, all);

		list_del(&w->all);
		s->n_queued--;
		count(s->metrics.dropped);
		end(w, STORE_FAILED);
	}
}

size_t settles_pending(const struct settles *s)
{
	return s->n_queued + s->n_sent;
}

void settles_measure(struct settles *s, const struct settles_metrics *m)
{
	s->metrics = *m;
}

void settles_configure(struct settles *s, struct str prefix,
                       uint64_t ledger_max)
{
	s->prefix = prefix;
	s->ledger_max = ledger_max;
}

struct settles *settles_new(struct loop *loop, const struct clock *clock,
                            struct redis_link *link)
{
	struct settles *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->loop = loop;
	s->clock = clock;
	s->link = link;
	list_init(&s->queued);
	list_init(&s->sent);
	return s;
}

static void free_all(struct list *l)
{
	while (!list_empty(l)) {
		struct settle *w = list_entry(l->next, struct settle, all);

		list_del(&w->all);
		free(w);
	}
}

void settles_free(struct settles *s)
{
	if (!s)
		return;
	loop_timer_stop(&s->flush);
	free_all(&s->queued);
	free_all(&s->sent);
	free(s);
}
