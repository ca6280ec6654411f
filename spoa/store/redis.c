/*
 * store/redis: limits counted in Redis, for all nodes.
 *
 *   reserve --> struct call ---EVALSHA--> redis_link --> Redis
 *                 | waiting, until its deadline
 *   settle ---> struct settle: queued <--> sent
 *
 * What may have been charged without anybody knowing is given back: an answer
 * that comes after its deadline is settled to zero use, and so is a reserve
 * whose connection broke before the answer; that one leaves a mark in Redis in
 * case the reserve is read after it.
 *
 * A settle stays here until Redis has answered it. Sending one twice is
 * harmless: the second finds no record.
 */
#include "store/store.h"

#include "base/log.h"
#include "store/check.h"
#include "store/list.h"
#include "store/redis_link.h"
#include "store/redis_tls.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	REDIS_RESERVES_MAX = 4096, /* under way at once */
	REDIS_SETTLES_MAX = 1024,
	REDIS_FLUSH = 64, /* queued settles sent in one go ... */
	REDIS_FLUSH_MS = 10,
	REDIS_RETRY_MS = 1000,   /* ... after Redis said "not now" */
	REDIS_CANCEL_MS = 60000, /* that a cancelled id stays unusable */
	REDIS_WHY_MAX = 200,
};

/* A reserve under way. It lives while somebody waits for it (`cb`) or Redis
 * may still answer (`sent`). */
struct call {
	struct list all;
	struct list waiting;
	struct store_redis *store;
	store_reserve_cb *cb; /* NULL: was told, or the deadline has passed */
	void *ctx;
	uint64_t ref;
	uint64_t sent_us;
	uint64_t due_us;
	bool sent;
	bool lost; /* the connection broke: fail it in the next turn */
	size_t n_charges;
	struct str account, id; /* behind */
	char text[];
};

struct settle {
	struct list all; /* queued or sent */
	struct store_redis *store;
	store_settle_cb *cb;
	void *ctx;
	struct store_usage used;
	uint64_t sent_us;
	bool cancel;
	struct str account, id;
	char text[];
};

struct store_redis {
	struct loop *loop;
	const struct clock *clock;
	struct metrics *metrics;
	struct policy *policy; /* NULL before the first configure */
	struct redis_link *link;

	struct list calls;   /* all of them */
	struct list waiting; /* in the order of their deadlines */
	size_t n_calls;      /* sent */
	struct loop_timer deadline;

	struct list queued, sent; /* settles */
	size_t n_queued, n_sent;
	struct loop_timer flush;

	char why[REDIS_WHY_MAX]; /* it is down; empty: it was up */

	struct metric_histogram seconds;
	struct metric *connected, *pending, *dropped;
	struct metric *reserve_errors, *settle_errors, *connect_errors;
};

/* --------------------------------------------------------------- numbers */

static void count(struct metric *c, int64_t n)
{
	if (c)
		metric_add(c, n);
}

static void show_pending(struct store_redis *s)
{
	if (s->pending)
		metric_set(s->pending, (int64_t)(s->n_queued + s->n_sent));
}

static void show_connected(struct store_redis *s, bool up)
{
	if (s->connected)
		metric_set(s->connected, up);
}

static void observe(struct store_redis *s, uint64_t sent_us)
{
	if (s->metrics)
		metric_observe_us(&s->seconds,
		                  clock_mono_us(s->clock) - sent_us);
}

static struct metric *errors_of(struct metrics *m, const char *op)
{
	struct metric *c;
	struct buf labels;

	buf_init(&labels, 64);
	metrics_label(&labels, "op", str_c(op));
	c = metrics_get(m, "foundry_store_errors_total", buf_str(&labels));
	buf_done(&labels);
	return c;
}

static void metrics_begin(struct store_redis *s, struct str worker)
{
	struct metrics *m = s->metrics;

	if (!m)
		return;
	metrics_histogram(m, "foundry_store_seconds", STR_NONE, &s->seconds);
	s->connected = metrics_get(m, "foundry_store_connected", worker);
	s->pending = metrics_get(m, "foundry_store_settles_pending", worker);
	s->dropped =
		metrics_get(m, "foundry_store_settles_dropped_total", STR_NONE);
	s->reserve_errors = errors_of(m, "reserve");
	s->settle_errors = errors_of(m, "settle");
	s->connect_errors = errors_of(m, "connect");
}

/* ------------------------------------------------- what goes over the wire */

/* The two keys of a call and its numbers as text. */
struct args {
	struct str v[REDIS_LINK_ARGS_MAX];
	size_t n;
	struct buf text; /* what v points into; does not move */
};

enum {
	ARGS_TEXT =
		2048 + 3 * 24 * STORE_MAX_CHARGES, /* prefix, keys, numbers */
};

static bool args_begin(struct args *a)
{
	a->n = 0;
	buf_init(&a->text, ARGS_TEXT);
	return buf_reserve(&a->text, ARGS_TEXT);
}

static void args_str(struct args *a, struct str s)
{
	a->v[a->n++] = s;
}

/* Closes what was written to a->text since `from` into one argument. */
static void args_cut(struct args *a, size_t from)
{
	args_str(a, str_from(buf_str(&a->text), from));
}

static void args_num(struct args *a, uint64_t n)
{
	size_t from = a->text.len;

	buf_fmt(&a->text, "%" PRIu64, n);
	args_cut(a, from);
}

static void args_keys(struct args *a, struct str prefix, struct str account,
                      struct str id)
{
	size_t from = a->text.len;

	buf_fmt(&a->text, "%" STR_FMT ":{%" STR_FMT "}:limits", STR_ARG(prefix),
	        STR_ARG(account));
	args_cut(a, from);
	from = a->text.len;
	buf_fmt(&a->text, "%" STR_FMT ":{%" STR_FMT "}:r:%" STR_FMT,
	        STR_ARG(prefix), STR_ARG(account), STR_ARG(id));
	args_cut(a, from);
}

enum error_action { ERROR_FINAL = 0, ERROR_LATER = 1, ERROR_RECONNECT = 2 };

/* What an error of Redis means for a settle, and for the connection. */
static enum error_action action_of(struct str error)
{
	static const struct {
		struct str begins;
		enum error_action action;
	} table[] = {
		{STR_INIT("OOM"), ERROR_LATER},
		{STR_INIT("BUSY"), ERROR_LATER},
		{STR_INIT("TRYAGAIN"), ERROR_LATER},
		{STR_INIT("CLUSTERDOWN"), ERROR_LATER},
		{STR_INIT("MISCONF"), ERROR_LATER},
		{STR_INIT("LOADING"), ERROR_RECONNECT},
		{STR_INIT("READONLY"), ERROR_RECONNECT},
		{STR_INIT("MASTERDOWN"), ERROR_RECONNECT},
		{STR_INIT("NOAUTH"), ERROR_RECONNECT},
	};
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (str_starts(error, table[i].begins))
			return table[i].action;
	return ERROR_FINAL;
}

/* ---------------------------------------------------------------- settle */

static void on_flush(void *data);

static void flush_soon(struct store_redis *s, uint64_t after_ms)
{
	if (s->n_queued > 0 && !loop_timer_active(&s->flush))
		loop_timer_start(s->loop, &s->flush, after_ms, on_flush, s);
}

static void settle_queue(struct settle *w)
{
	list_add_last(&w->store->queued, &w->all);
	w->store->n_queued++;
}

static void settle_unqueue(struct settle *w)
{
	list_del(&w->all);
	w->store->n_queued--;
}

static void settle_end(struct settle *w, enum store_status status)
{
	show_pending(w->store);
	if (w->cb)
		w->cb(w->ctx, w->id, status);
	free(w);
}

static void on_settled(void *ctx, const struct redis_link_reply *reply)
{
	struct settle *w = ctx;
	struct store_redis *s = w->store;
	enum error_action action;

	list_del(&w->all);
	s->n_sent--;
	if (reply->kind == LINK_LOST) {
		settle_queue(w); /* goes out again when connected */
		return;
	}
	observe(s, w->sent_us);
	if (reply->kind == LINK_NUMBERS && reply->n == 1) {
		settle_end(w,
		           reply->v[0] == STORE_OK ? STORE_OK : STORE_UNKNOWN);
		flush_soon(s, REDIS_FLUSH_MS);
		return;
	}
	count(s->settle_errors, 1);
	action = action_of(reply->error);
	if (action == ERROR_FINAL) {
		settle_end(w, STORE_FAILED);
		return;
	}
	settle_queue(w);
	if (action == ERROR_RECONNECT)
		redis_link_drop(s->link, "Redis cannot write now");
	else
		flush_soon(s, REDIS_RETRY_MS);
}

/* False: it stays where it is. */
static bool settle_send(struct settle *w)
{
	struct store_redis *s = w->store;
	struct args a;
	int unit;
	bool ok;

	if (s->n_sent >= REDIS_SETTLES_MAX || !redis_link_is_up(s->link))
		return false;
	if (!args_begin(&a))
		return false;
	args_keys(&a, s->policy->redis.prefix, w->account, w->id);
	for (unit = UNIT_REQUESTS; unit <= UNIT_USD; unit++)
		args_num(&a,
		         (uint64_t)check_used(&w->used, (enum limit_unit)unit));
	args_num(&a, w->cancel ? REDIS_CANCEL_MS : 0);
	w->sent_us = clock_mono_us(s->clock);
	ok = !a.text.failed &&
	     redis_link_call(s->link, SCRIPT_SETTLE, a.v, a.n, on_settled, w);
	buf_done(&a.text);
	if (!ok)
		return false;
	settle_unqueue(w);
	list_add_last(&s->sent, &w->all);
	s->n_sent++;
	return true;
}

/* A node that comes back with thousands of settles must not stand in the way
 * of its own requests. */
static void on_flush(void *data)
{
	struct store_redis *s = data;
	int i;

	for (i = 0; i < REDIS_FLUSH && !list_empty(&s->queued); i++)
		if (!settle_send(
			    list_entry(s->queued.next, struct settle, all)))
			break;
	/* when it is down, `up` starts this again */
	if (redis_link_is_up(s->link))
		flush_soon(s, REDIS_FLUSH_MS);
}

static struct settle *settle_new(struct store_redis *s, struct str account,
                                 struct str id)
{
	struct settle *w;

	if (s->n_queued + s->n_sent >= STORE_PENDING_MAX)
		return NULL;
	w = calloc(1, sizeof(*w) + account.len + id.len);
	if (!w)
		return NULL;
	w->store = s;
	memcpy(w->text, account.p, account.len);
	memcpy(w->text + account.len, id.p, id.len);
	w->account = str_of(w->text, account.len);
	w->id = str_of(w->text + account.len, id.len);
	return w;
}

/* False: dropped. */
static bool settle_add(struct store_redis *s, const struct settle *like)
{
	bool first = s->n_queued == 0;
	struct settle *w = NULL;

	if (s->policy && s->policy->redis.enabled)
		w = settle_new(s, like->account, like->id);
	if (!w) {
		count(s->dropped, 1);
		return false;
	}
	w->cb = like->cb;
	w->ctx = like->ctx;
	w->used = like->used;
	w->cancel = like->cancel;
	settle_queue(w);
	if (redis_link_is_up(s->link) && (!first || !settle_send(w)))
		flush_soon(s, REDIS_FLUSH_MS);
	show_pending(s);
	return true;
}

void store_redis_settle(struct store_redis *s, struct str account,
                        struct str id, const struct store_usage *used,
                        store_settle_cb *cb, void *ctx)
{
	const struct settle like = {
		.account = account,
		.id = id,
		.used = *used,
		.cb = cb,
		.ctx = ctx,
	};

	if (check_names(account, id)) {
		if (cb)
			cb(ctx, id, STORE_UNKNOWN);
		return;
	}
	if (!settle_add(s, &like) && cb)
		cb(ctx, id, STORE_FAILED);
}

/* --------------------------------------------------------------- reserve */

static void call_free_if_done(struct call *c)
{
	if (c->cb || c->sent)
		return;
	list_del(&c->all);
	list_del(&c->waiting);
	free(c);
}

static void call_answer(struct call *c, const struct store_result *res)
{
	store_reserve_cb *cb = c->cb;
	void *ctx = c->ctx;
	uint64_t ref = c->ref;

	if (res->status == STORE_FAILED)
		count(c->store->reserve_errors, 1);
	list_del(&c->waiting);
	c->cb = NULL;
	call_free_if_done(c);
	cb(ctx, ref, res);
}

static void call_fail(struct call *c, const char *error)
{
	const struct store_result res = {.status = STORE_FAILED,
	                                 .error = error};

	call_answer(c, &res);
}

static void on_deadline(void *data);

static void deadline_start(struct store_redis *s)
{
	const struct call *c;
	uint64_t now = clock_mono_us(s->clock);

	if (list_empty(&s->waiting))
		return;
	c = list_entry(s->waiting.next, struct call, waiting);
	loop_timer_start(s->loop, &s->deadline,
	                 c->lost || c->due_us <= now
	                         ? 0
	                         : (c->due_us - now + 999) / 1000,
	                 on_deadline, s);
}

static void on_deadline(void *data)
{
	struct store_redis *s = data;

	while (!list_empty(&s->waiting)) {
		struct call *c =
			list_entry(s->waiting.next, struct call, waiting);

		if (c->lost)
			call_fail(c, "the connection to Redis broke");
		else if (c->due_us <= clock_mono_us(s->clock))
			call_fail(c, "Redis did not answer in time");
		else
			break;
	}
	deadline_start(s);
}

/* Nobody will use what this call has, or may have, taken. */
static void give_back(struct call *c, bool cancel)
{
	const struct settle like = {
		.account = c->account, .id = c->id, .cancel = cancel};

	settle_add(c->store, &like);
}

enum { REPLY_STATUS, REPLY_REFUSED, REPLY_RETRY, REPLY_BEFORE, REPLY_HEAD };

/* False: not what reserve.lua answers. */
static bool read_reply(const struct redis_link_reply *reply, size_t n_charges,
                       struct store_result *res)
{
	const int64_t *v = reply->v;
	size_t i;

	if (reply->kind != LINK_NUMBERS ||
	    reply->n != REPLY_HEAD + 2 * n_charges)
		return false;
	if (v[REPLY_STATUS] != STORE_OK &&
	    (v[REPLY_REFUSED] < 0 || (size_t)v[REPLY_REFUSED] >= n_charges))
		return false;
	if (v[REPLY_STATUS] != STORE_OK && v[REPLY_STATUS] != STORE_REFUSED &&
	    v[REPLY_STATUS] != STORE_TOO_LARGE)
		return false;
	res->status = (enum store_status)v[REPLY_STATUS];
	res->refused = (size_t)v[REPLY_REFUSED];
	res->retry_ms = (uint64_t)v[REPLY_RETRY];
	for (i = 0; i < n_charges; i++) {
		res->remaining[i] = v[REPLY_HEAD + 2 * i];
		res->reset_ms[i] = (uint64_t)v[REPLY_HEAD + 2 * i + 1];
	}
	return true;
}

static void on_reserved(void *ctx, const struct redis_link_reply *reply)
{
	struct call *c = ctx;
	struct store_redis *s = c->store;
	struct store_result res = {.status = STORE_FAILED};

	c->sent = false;
	s->n_calls--;
	if (reply->kind == LINK_LOST) {
		give_back(c, true);
		c->lost = true;
		call_free_if_done(c);
		loop_timer_start(s->loop, &s->deadline, 0, on_deadline, s);
		return;
	}
	observe(s, c->sent_us);
	if (!read_reply(reply, c->n_charges, &res))
		res.error = "Redis answered with an error";
	if (c->cb) {
		call_answer(c, &res);
	} else {
		/* too late; what was there before belongs to another call */
		if (res.status == STORE_OK && !reply->v[REPLY_BEFORE])
			give_back(c, false);
		call_free_if_done(c);
	}
	if (action_of(reply->error) == ERROR_RECONNECT)
		redis_link_drop(s->link, "Redis cannot write now");
}

static bool call_send(struct call *c, const struct store_reservation *r)
{
	struct store_redis *s = c->store;
	struct args a;
	size_t i;
	bool ok;

	if (!args_begin(&a))
		return false;
	args_keys(&a, s->policy->redis.prefix, r->account, r->id);
	args_num(&a, STORE_RECORD_TTL_S * 1000);
	for (i = 0; i < r->n_charges; i++) {
		const struct store_charge *charge = &r->charges[i];

		args_str(&a, charge->field);
		args_num(&a, charge->unit);
		args_num(&a, charge->window);
		args_num(&a, charge->limit);
		args_num(&a, charge->amount);
	}
	ok = !a.text.failed &&
	     redis_link_call(s->link, SCRIPT_RESERVE, a.v, a.n, on_reserved, c);
	buf_done(&a.text);
	return ok;
}

static struct call *call_new(struct store_redis *s,
                             const struct store_reservation *r)
{
	struct call *c = calloc(1, sizeof(*c) + r->account.len + r->id.len);

	if (!c)
		return NULL;
	c->store = s;
	c->n_charges = r->n_charges;
	memcpy(c->text, r->account.p, r->account.len);
	memcpy(c->text + r->account.len, r->id.p, r->id.len);
	c->account = str_of(c->text, r->account.len);
	c->id = str_of(c->text + r->account.len, r->id.len);
	c->sent_us = clock_mono_us(s->clock);
	c->due_us = c->sent_us + s->policy->redis.deadline_ms * UINT64_C(1000);
	return c;
}

bool store_redis_reserve(struct store_redis *s,
                         const struct store_reservation *r,
                         store_reserve_cb *cb, void *ctx, uint64_t ref)
{
	struct call *c;

	if (s->n_calls >= REDIS_RESERVES_MAX || !redis_link_is_up(s->link) ||
	    check_reservation(r)) {
		count(s->reserve_errors, 1);
		return false;
	}
	c = call_new(s, r);
	if (!c || !call_send(c, r)) {
		free(c);
		count(s->reserve_errors, 1);
		return false;
	}
	c->cb = cb;
	c->ctx = ctx;
	c->ref = ref;
	c->sent = true;
	s->n_calls++;
	list_add_last(&s->calls, &c->all);
	list_add_last(&s->waiting, &c->waiting);
	if (!loop_timer_active(&s->deadline))
		deadline_start(s);
	return true;
}

/* -------------------------------------------------------- the connection */

static void on_up(void *ctx)
{
	struct store_redis *s = ctx;
	const struct policy_redis *to = &s->policy->redis;

	s->why[0] = '\0';
	show_connected(s, true);
	log_info("redis", "host=%" STR_FMT " port=%u pending=%zu msg=connected",
	         STR_ARG(to->host), (unsigned)to->port,
	         s->n_queued + s->n_sent);
	flush_soon(s, REDIS_FLUSH_MS);
}

/* One line each time the reason changes, not one for each attempt. */
static void on_down(void *ctx, struct str why, uint64_t retry_ms)
{
	struct store_redis *s = ctx;
	struct buf line;

	count(s->connect_errors, 1);
	show_connected(s, false);
	loop_timer_stop(&s->flush);
	why = str_first(why, sizeof(s->why) - 1);
	if (str_eq(why, str_c(s->why)))
		return;
	memcpy(s->why, why.p, why.len);
	s->why[why.len] = '\0';
	buf_init(&line, 1024);
	log_field(&line, "error", why);
	log_field_num(&line, "retry_ms", (int64_t)retry_ms);
	log_warn("redis",
	         "%" STR_FMT " msg=\"no connection: each limit follows its "
	         "on_store_failure, connecting goes on\"",
	         STR_ARG(buf_str(&line)));
	buf_done(&line);
}

static bool is_same_server(const struct policy_redis *a,
                           const struct policy_redis *b)
{
	return a->enabled == b->enabled && a->tls == b->tls &&
	       str_eq(a->host, b->host) && a->port == b->port &&
	       a->db == b->db && str_eq(a->username, b->username) &&
	       str_eq(a->password, b->password) &&
	       str_eq(a->ca_file, b->ca_file);
}

bool store_redis_configure(struct store_redis *s, struct policy *p,
                           const char **error)
{
	struct policy *old = s->policy;
	const struct policy_redis *to = &p->redis;

	if (to->enabled && to->tls && !redis_tls_can()) {
		*error = "rediss:// needs a hiredis with TLS (1.0 or later), "
			 "which this build does not have: use redis:// or a "
			 "unix socket";
		return false;
	}
	s->policy = policy_ref(p);
	if (old && is_same_server(&old->redis, to)) {
		redis_link_refer(s->link, to);
	} else {
		show_connected(s, false);
		s->why[0] = '\0';
		if (to->enabled)
			redis_link_start(s->link, to);
		else
			redis_link_stop(s->link);
	}
	policy_unref(old);
	return true;
}

bool store_redis_connected(const struct store_redis *s)
{
	return redis_link_is_up(s->link);
}

size_t store_redis_pending(const struct store_redis *s)
{
	return s->n_queued + s->n_sent;
}

void store_redis_label(struct store_redis *s, unsigned worker)
{
	char number[16];
	struct buf labels;

	if (!s->metrics)
		return;
	snprintf(number, sizeof(number), "%u", worker);
	buf_init(&labels, 64);
	metrics_label(&labels, "worker", str_c(number));
	metrics_begin(s, buf_str(&labels));
	buf_done(&labels);
}

struct store_redis *store_redis_new(struct loop *loop,
                                    const struct clock *clock,
                                    struct metrics *metrics)
{
	struct store_redis *s = calloc(1, sizeof(*s));
	struct redis_link_events events = {on_up, on_down, s};

	if (!s)
		return NULL;
	s->loop = loop;
	s->clock = clock;
	s->metrics = metrics;
	list_init(&s->calls);
	list_init(&s->waiting);
	list_init(&s->queued);
	list_init(&s->sent);
	metrics_begin(s, STR_NONE);
	s->link = redis_link_new(loop, clock, &events);
	if (!s->link) {
		free(s);
		return NULL;
	}
	return s;
}

static void settles_free(struct list *l)
{
	while (!list_empty(l)) {
		struct settle *w = list_entry(l->next, struct settle, all);

		list_del(&w->all);
		free(w);
	}
}

void store_redis_free(struct store_redis *s)
{
	if (!s)
		return;
	redis_link_free(s->link);
	loop_timer_stop(&s->deadline);
	loop_timer_stop(&s->flush);
	while (!list_empty(&s->calls)) {
		struct call *c = list_entry(s->calls.next, struct call, all);

		list_del(&c->all);
		free(c);
	}
	settles_free(&s->queued);
	settles_free(&s->sent);
	policy_unref(s->policy);
	free(s);
}
