/*
 * store/redis_link: one connection to Redis that keeps itself up.
 *
 * A ticket is one call. Until its callback has run it is on `under_way`; its
 * memory belongs to hiredis until hiredis calls back, also after the
 * connection is given up (then `link` is NULL and nobody else is told).
 */
#include "store/redis_link.h"

#include "base/backoff.h"
#include "store/list.h"
#include "store/redis_events.h"
#include "store/redis_reply.h"
#include "store/redis_setup.h"
#include "store/redis_tls.h"

#include <assert.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	CONNECT_MS = 2000, /* until up, all of it */
	RETRY_MIN_MS = 50,
	RETRY_MAX_MS = 5000,
	STEADY_MS = 5000, /* up for so long: the next retry is quick again */
	WHY_MAX = 200,
};

enum link_state { LINK_STOPPED, LINK_DOWN, LINK_CONNECTING, LINK_UP };

struct ticket {
	struct list all;
	struct redis_link *link; /* NULL: nobody waits any more */
	redis_link_reply_cb *cb;
	void *ctx;
	enum script script;
	bool repeated;
	uint64_t sent_us;
	char *cmd; /* as sent, for repeating */
	size_t cmd_len;
};

struct redis_link {
	struct loop *loop;
	const struct clock *clock;
	struct redis_link_events events;
	redis_link_login_fn *login; /* NULL: nothing to show */
	void *login_ctx;
	const struct policy_redis *to;
	size_t at;             /* the endpoint in use, or to be tried next */
	struct redis_tls *tls; /* kept between connections */

	enum link_state state;
	redisAsyncContext *ac; /* NULL when there is no connection */
	unsigned n_setup;      /* answers missing until it is up */
	bool loading[SCRIPT_COUNT];
	char sha[SCRIPT_COUNT][SETUP_SHA_LEN + 1];
	unsigned n_failures;
	uint64_t up_us;

	struct list under_way; /* tickets, oldest first */
	bool heard;            /* anything, since the last tick of `watch` */
	unsigned n_silent;

	struct loop_timer watch;   /* a deadline without an answer? */
	struct loop_timer connect; /* not up in time */
	struct loop_timer retry;
	char why[WHY_MAX];
};

static void on_retry(void *data);

/* ----------------------------------------------------------------- down */

static void ticket_free(struct ticket *t)
{
	redisFreeCommand(t->cmd);
	free(t);
}

/* Off the list; whoever waits is told. The memory stays. */
static void ticket_end(struct ticket *t, const struct redis_link_reply *reply)
{
	list_del(&t->all);
	t->link = NULL;
	t->cb(t->ctx, reply);
}

/* All calls end; hiredis still owns their tickets. */
static void tickets_lost(struct redis_link *l)
{
	const struct redis_link_reply reply = {.kind = LINK_LOST};

	while (!list_empty(&l->under_way))
		ticket_end(list_entry(l->under_way.next, struct ticket, all),
		           &reply);
}

/* There is no connection any more; hiredis may still be freeing it. */
static redisAsyncContext *detach(struct redis_link *l)
{
	redisAsyncContext *ac = l->ac;

	l->ac = NULL;
	if (ac)
		ac->data = NULL;
	if (l->state != LINK_STOPPED)
		l->state = LINK_DOWN;
	l->n_setup = 0;
	l->n_silent = 0;
	memset(l->loading, 0, sizeof(l->loading));
	loop_timer_stop(&l->watch);
	loop_timer_stop(&l->connect);
	return ac;
}

/* The wait grows with each time that all endpoints were tried. */
static uint64_t next_wait(struct redis_link *l)
{
	unsigned n = (unsigned)l->to->n_endpoints;
	uint64_t up_ms = 0;

	if (l->up_us > 0)
		up_ms = (clock_mono_us(l->clock) - l->up_us) / 1000;
	l->up_us = 0;
	if (up_ms >= STEADY_MS)
		l->n_failures = 0;
	l->n_failures++;
	return backoff_after((l->n_failures + n - 1) / n, RETRY_MIN_MS,
	                     RETRY_MAX_MS);
}

/* `leave`: try the next endpoint, not this one again. */
static void went_down(struct redis_link *l, bool leave)
{
	uint64_t wait = next_wait(l);

	loop_timer_start(l->loop, &l->retry, wait, on_retry, l);
	tickets_lost(l);
	l->events.down(l->events.ctx, str_c(l->why), wait);
	if (leave && ++l->at >= l->to->n_endpoints)
		l->at = 0;
}

static void set_why(struct redis_link *l, const char *what, const char *detail)
{
	snprintf(l->why, sizeof(l->why), "%s%s%s", what, *detail ? ": " : "",
	         detail);
}

/* hiredis has found it broken, and frees it itself. One that was up is tried
 * again first: others may still be connected to it, and count there. */
static void lost(struct redis_link *l, const redisAsyncContext *ac)
{
	bool was_up = l->state == LINK_UP;

	if (l->ac != ac)
		return;
	if (redis_tls_error(l->tls))
		set_why(l, "TLS", redis_tls_error(l->tls));
	else if (ac->err)
		set_why(l, ac->errstr, "");
	else
		set_why(l, "connection closed", "");
	detach(l);
	went_down(l, !was_up);
}

/* We give it up. Within a callback of hiredis the free happens later; either
 * way the tickets are handed back with a NULL reply. */
static void drop(struct redis_link *l, const char *what, const char *detail)
{
	redisAsyncContext *ac;

	set_why(l, what, detail);
	ac = detach(l);
	went_down(l, true);
	if (ac)
		redisAsyncFree(ac);
}

void redis_link_drop(struct redis_link *l, const char *why)
{
	if (l->ac)
		drop(l, why, "");
}

/* ---------------------------------------------------------------- setup */

static void on_setup(redisAsyncContext *ac, void *reply, void *privdata)
{
	enum redis_setup step = (enum redis_setup)(uintptr_t)privdata;
	struct redis_link *l = ac->data;
	unsigned script = (unsigned)step - SETUP_LOAD;
	char sha[SETUP_SHA_LEN + 1];
	const char *bad, *detail;

	if (!l)
		return;
	if (!reply) {
		lost(l, ac);
		return;
	}
	l->heard = true;
	bad = redis_setup_judge(step, reply, sha, &detail);
	if (bad) {
		drop(l, bad, detail);
		return;
	}
	if (step >= SETUP_LOAD) {
		memcpy(l->sha[script], sha, sizeof(sha));
		l->loading[script] = false;
	}
	if (--l->n_setup > 0 || l->state != LINK_CONNECTING)
		return;
	l->state = LINK_UP;
	l->up_us = clock_mono_us(l->clock);
	loop_timer_stop(&l->connect);
	l->events.up(l->events.ctx);
}

static bool setup_send(struct redis_link *l, enum redis_setup step,
                       const struct redis_login *who)
{
	struct redis_setup_words w;

	if (!redis_setup_words(step, who, l->to->db, &w))
		return true;
	if (redisAsyncCommandArgv(l->ac, on_setup, (void *)(uintptr_t)step, w.n,
	                          w.v, w.len) != REDIS_OK)
		return false;
	l->n_setup++;
	return true;
}

static bool load_script(struct redis_link *l, enum script script)
{
	static const struct redis_login nobody;
	enum redis_setup step = (enum redis_setup)(SETUP_LOAD + script);

	if (!l->loading[script])
		l->loading[script] = setup_send(l, step, &nobody);
	return l->loading[script];
}

static bool who_am_i(const struct redis_link *l, struct redis_login *who)
{
	*who = (struct redis_login){l->to->username, l->to->password};
	return !l->to->credential || (l->login && l->login(l->login_ctx, who));
}

static bool setup_begin(struct redis_link *l)
{
	struct redis_login who;
	int step;
	bool ok = who_am_i(l, &who);

	for (step = SETUP_AUTH; step < SETUP_LOAD; step++)
		ok = ok && setup_send(l, (enum redis_setup)step, &who);
	for (; step < SETUP_COUNT; step++)
		ok = ok && load_script(l, (enum script)(step - SETUP_LOAD));
	return ok;
}

/* -------------------------------------------------------------- connect */

static void on_connect_late(void *data)
{
	drop(data, "not connected in time", "");
}

static void on_connect(const redisAsyncContext *ac, int status)
{
	struct redis_link *l = ac->data;

	if (!l)
		return;
	if (status != REDIS_OK) {
		lost(l, ac);
		return;
	}
	/* an idle connection that a firewall has forgotten is noticed before
	 * a request needs it; failing that changes nothing */
	if (redis_link_endpoint(l)->port != 0)
		redisEnableKeepAlive(&l->ac->c);
	/* hiredis goes on with this connection when we return: it cannot be
	 * freed here */
	if (!setup_begin(l))
		loop_timer_start(l->loop, &l->connect, 0, on_connect_late, l);
}

static void on_disconnect(const redisAsyncContext *ac, int status)
{
	struct redis_link *l = ac->data;

	(void)status;
	if (l)
		lost(l, ac);
}

static bool tls_begin(struct redis_link *l, const char *host,
                      const char **error)
{
	if (!l->to->tls)
		return true;
	if (!l->tls)
		l->tls = redis_tls_new(l->to->ca_file, error);
	return l->tls && redis_tls_begin(l->tls, &l->ac->c, host, error);
}

static void begin(struct redis_link *l)
{
	const struct policy_endpoint *to = redis_link_endpoint(l);
	struct redis_login who;
	char host[256];
	const char *error;

	if (!who_am_i(l, &who)) {
		set_why(l, "no token for it yet", "");
		went_down(l, false);
		return;
	}
	l->state = LINK_CONNECTING;
	if (to->host.len >= sizeof(host)) {
		drop(l, "host name too long", "");
		return;
	}
	memcpy(host, to->host.p, to->host.len);
	host[to->host.len] = '\0';
	l->ac = to->port == 0 ? redisAsyncConnectUnix(host)
	                      : redisAsyncConnect(host, to->port);
	if (!l->ac) {
		drop(l, "out of memory", "");
		return;
	}
	if (l->ac->err) {
		drop(l, l->ac->errstr, "");
		return;
	}
	l->ac->data = l;
	if (!redis_events_attach(l->loop, l->ac)) {
		drop(l, "out of memory", "");
		return;
	}
	redisAsyncSetConnectCallback(l->ac, on_connect);
	redisAsyncSetDisconnectCallback(l->ac, on_disconnect);
	if (!tls_begin(l, host, &error)) {
		drop(l, "TLS", error);
		return;
	}
	loop_timer_start(l->loop, &l->connect, CONNECT_MS, on_connect_late, l);
}

static void on_retry(void *data)
{
	begin(data);
}

/* ---------------------------------------------------------------- calls */

/* Each tick is a turn of the loop of its own, so what has arrived meanwhile
 * was read: a process that was itself held up does not blame Redis. */
static void on_watch(void *data)
{
	struct redis_link *l = data;

	if (list_empty(&l->under_way)) {
		l->n_silent = 0;
		return;
	}
	l->n_silent = l->heard ? 0 : l->n_silent + 1;
	l->heard = false;
	if (l->n_silent >= REDIS_LINK_SILENT) {
		drop(l, "no answer to anything for many deadlines", "");
		return;
	}
	loop_timer_start(l->loop, &l->watch, l->to->deadline_ms, on_watch, l);
}

static void deliver(struct ticket *t, const redisReply *r)
{
	struct redis_link_reply reply;
	int64_t v[REDIS_LINK_NUMBERS_MAX];

	redis_reply_read(r, v, &reply);
	ticket_end(t, &reply);
}

static void on_reply(redisAsyncContext *ac, void *reply, void *privdata);

static bool send_ticket(struct ticket *t)
{
	return redisAsyncFormattedCommand(t->link->ac, on_reply, t, t->cmd,
	                                  t->cmd_len) == REDIS_OK;
}

/* The server has restarted or was told to forget; the load goes first on the
 * same connection. True when the ticket is on its way again. */
static bool repeat(struct ticket *t, const redisReply *r)
{
	if (r->type != REDIS_REPLY_ERROR || t->repeated ||
	    !str_starts(str_of(r->str, r->len), STR("NOSCRIPT")))
		return false;
	t->repeated = true;
	return load_script(t->link, t->script) && send_ticket(t);
}

static void on_reply(redisAsyncContext *ac, void *reply, void *privdata)
{
	struct ticket *t = privdata;
	const redisReply *r = reply;

	if (t->link && !r) {
		lost(t->link, ac);
	} else if (t->link) {
		t->link->heard = true;
		if (repeat(t, r))
			return;
		deliver(t, r);
	}
	ticket_free(t);
}

static bool format(struct ticket *t, const struct str *argv, size_t argc)
{
	const char n_keys[2] = {(char)('0' + script_keys(t->script)), '\0'};
	const char *p[REDIS_LINK_ARGS_MAX + 3] = {
		"EVALSHA", t->link->sha[t->script], n_keys};
	size_t len[REDIS_LINK_ARGS_MAX + 3] = {7, SETUP_SHA_LEN, 1};
	size_t i;
	int n;

	if (argc > REDIS_LINK_ARGS_MAX)
		return false;
	for (i = 0; i < argc; i++) {
		p[i + 3] = argv[i].p;
		len[i + 3] = argv[i].len;
	}
	n = (int)redisFormatCommandArgv(&t->cmd, (int)argc + 3, p, len);
	if (n < 0)
		return false;
	t->cmd_len = (size_t)n;
	return true;
}

bool redis_link_call(struct redis_link *l, enum script script,
                     const struct str *argv, size_t argc,
                     redis_link_reply_cb *cb, void *ctx)
{
	struct ticket *t;

	if (l->state != LINK_UP)
		return false;
	t = calloc(1, sizeof(*t));
	if (!t)
		return false;
	*t = (struct ticket){.link = l, .cb = cb, .ctx = ctx, .script = script};
	if (!format(t, argv, argc)) {
		free(t);
		return false;
	}
	if (!send_ticket(t)) {
		ticket_free(t);
		return false;
	}
	list_add_last(&l->under_way, &t->all);
	if (!loop_timer_active(&l->watch)) {
		l->heard = true; /* the first tick may come early for it */
		loop_timer_start(l->loop, &l->watch, l->to->deadline_ms,
		                 on_watch, l);
	}
	return true;
}

/* ------------------------------------------------------- start and stop */

struct redis_link *redis_link_new(struct loop *loop, const struct clock *clock,
                                  const struct redis_link_events *events)
{
	struct redis_link *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->loop = loop;
	l->clock = clock;
	l->events = *events;
	l->state = LINK_STOPPED;
	list_init(&l->under_way);
	return l;
}

void redis_link_login(struct redis_link *l, redis_link_login_fn *fn, void *ctx)
{
	l->login = fn;
	l->login_ctx = ctx;
}

void redis_link_renew(struct redis_link *l)
{
	struct redis_login who;

	if (l->state == LINK_STOPPED || !l->to->credential)
		return;
	if (l->state == LINK_DOWN)
		loop_timer_start(l->loop, &l->retry, 0, on_retry, l);
	else if ((l->state == LINK_UP || l->n_setup > 0) &&
	         (!who_am_i(l, &who) || !setup_send(l, SETUP_AUTH, &who)))
		drop(l, "AUTH could not be sent", "");
	/* else it is being connected, and AUTH comes then */
}

void redis_link_stop(struct redis_link *l)
{
	redisAsyncContext *ac;

	l->state = LINK_STOPPED;
	loop_timer_stop(&l->retry);
	ac = detach(l);
	tickets_lost(l);
	redis_tls_free(l->tls);
	l->tls = NULL;
	l->n_failures = 0;
	l->up_us = 0;
	if (ac)
		redisAsyncFree(ac);
}

void redis_link_start(struct redis_link *l, const struct policy_redis *to)
{
	assert(to->n_endpoints > 0);
	redis_link_stop(l);
	l->to = to;
	l->at = 0;
	l->state = LINK_DOWN;
	/* from the loop, so that no callback runs within this call */
	loop_timer_start(l->loop, &l->retry, 0, on_retry, l);
}

void redis_link_refer(struct redis_link *l, const struct policy_redis *to)
{
	l->to = to;
}

void redis_link_free(struct redis_link *l)
{
	if (!l)
		return;
	while (!list_empty(&l->under_way)) {
		struct ticket *t =
			list_entry(l->under_way.next, struct ticket, all);

		list_del(&t->all);
		t->link = NULL;
	}
	redis_link_stop(l);
	free(l);
}

const struct policy_endpoint *redis_link_endpoint(const struct redis_link *l)
{
	return &l->to->endpoints[l->at];
}

bool redis_link_is_up(const struct redis_link *l)
{
	return l->state == LINK_UP;
}

const char *redis_link_library(void)
{
	static char text[64];

	snprintf(text, sizeof(text), "hiredis %d.%d.%d%s", HIREDIS_MAJOR,
	         HIREDIS_MINOR, HIREDIS_PATCH,
	         redis_tls_can() ? " with TLS" : " without TLS");
	return text;
}
