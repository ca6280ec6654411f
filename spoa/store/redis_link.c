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

struct link_call {
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

	struct list calls; /* tickets, oldest first */
	bool heard;        /* anything, since the last tick of `watch` */
	unsigned n_silent;

	struct loop_timer watchdog;      /* a deadline without an answer? */
	struct loop_timer connect_timer; /* not up in time */
	struct loop_timer retry_timer;
	char why[WHY_MAX];
};

static void link_on_retry(void *data);

/* ----------------------------------------------------------------- down */

static void link_call_free(struct link_call *c)
{
	redisFreeCommand(c->cmd);
	free(c);
}

/* Off the list; whoever waits is told. The memory stays. */
static void link_call_end(struct link_call *c,
                          const struct redis_link_reply *reply)
{
	list_del(&c->all);
	c->link = NULL;
	c->cb(c->ctx, reply);
}

/* All calls end; hiredis still owns their tickets. */
static void link_fail_calls(struct redis_link *l)
{
	const struct redis_link_reply reply = {.kind = LINK_LOST};

	while (!list_empty(&l->calls))
		link_call_end(list_entry(l->calls.next, struct link_call, all),
		              &reply);
}

/* There is no connection any more; hiredis may still be freeing it. */
static redisAsyncContext *link_detach(struct redis_link *l)
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
	loop_timer_stop(&l->watchdog);
	loop_timer_stop(&l->connect_timer);
	return ac;
}

/* The wait grows with each time that all endpoints were tried. */
static uint64_t link_next_wait(struct redis_link *l)
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
static void link_go_down(struct redis_link *l, bool leave)
{
	uint64_t wait = link_next_wait(l);

	loop_timer_start(l->loop, &l->retry_timer, wait, link_on_retry, l);
	link_fail_calls(l);
	l->events.down(l->events.ctx, str_c(l->why), wait);
	if (leave && ++l->at >= l->to->n_endpoints)
		l->at = 0;
}

static void link_set_why(struct redis_link *l, const char *what,
                         const char *detail)
{
	snprintf(l->why, sizeof(l->why), "%s%s%s", what, *detail ? ": " : "",
	         detail);
}

/* hiredis has found it broken, and frees it itself. One that was up is tried
 * again first: others may still be connected to it, and count there. */
static void link_on_lost(struct redis_link *l, const redisAsyncContext *ac)
{
	bool was_up = l->state == LINK_UP;

	if (l->ac != ac)
		return;
	if (redis_tls_error(l->tls))
		link_set_why(l, "TLS", redis_tls_error(l->tls));
	else if (ac->err)
		link_set_why(l, ac->errstr, "");
	else
		link_set_why(l, "connection closed", "");
	link_detach(l);
	link_go_down(l, !was_up);
}

/* We give it up. Within a callback of hiredis the free happens later; either
 * way the tickets are handed back with a NULL reply. */
static void link_drop(struct redis_link *l, const char *what,
                      const char *detail)
{
	redisAsyncContext *ac;

	link_set_why(l, what, detail);
	ac = link_detach(l);
	link_go_down(l, true);
	if (ac)
		redisAsyncFree(ac);
}

void redis_link_drop(struct redis_link *l, const char *why)
{
	if (l->ac)
		link_drop(l, why, "");
}

/* ---------------------------------------------------------------- setup */

static void link_on_setup(redisAsyncContext *ac, void *reply, void *privdata)
{
	enum redis_setup step = (enum redis_setup)(uintptr_t)privdata;
	struct redis_link *l = ac->data;
	unsigned script = (unsigned)step - SETUP_LOAD;
	char sha[SETUP_SHA_LEN + 1];
	const char *bad, *detail;

	if (!l)
		return;
	if (!reply) {
		link_on_lost(l, ac);
		return;
	}
	l->heard = true;
	bad = redis_setup_judge(step, reply, sha, &detail);
	if (bad) {
		link_drop(l, bad, detail);
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
	loop_timer_stop(&l->connect_timer);
	l->events.up(l->events.ctx);
}

static bool link_send_setup(struct redis_link *l, enum redis_setup step,
                            const struct redis_login *who)
{
	struct redis_setup_words w;

	if (!redis_setup_words(step, who, l->to->db, &w))
		return true;
	if (redisAsyncCommandArgv(l->ac, link_on_setup, (void *)(uintptr_t)step,
	                          w.n, w.v, w.len) != REDIS_OK)
		return false;
	l->n_setup++;
	return true;
}

static bool link_load_script(struct redis_link *l, enum script script)
{
	static const struct redis_login nobody;
	enum redis_setup step = (enum redis_setup)(SETUP_LOAD + script);

	if (!l->loading[script])
		l->loading[script] = link_send_setup(l, step, &nobody);
	return l->loading[script];
}

static bool link_read_login(const struct redis_link *l, struct redis_login *who)
{
	*who = (struct redis_login){l->to->username, l->to->password};
	return !l->to->credential || (l->login && l->login(l->login_ctx, who));
}

static bool link_begin_setup(struct redis_link *l)
{
	struct redis_login who;
	int step;
	bool ok = link_read_login(l, &who);

	for (step = SETUP_AUTH; step < SETUP_LOAD; step++)
		ok = ok && link_send_setup(l, (enum redis_setup)step, &who);
	for (; step < SETUP_COUNT; step++)
		ok = ok &&
		     link_load_script(l, (enum script)(step - SETUP_LOAD));
	return ok;
}

/* -------------------------------------------------------------- connect */

static void link_on_connect_timeout(void *data)
{
	link_drop(data, "not connected in time", "");
}

static void link_on_connect(const redisAsyncContext *ac, int status)
{
	struct redis_link *l = ac->data;

	if (!l)
		return;
	if (status != REDIS_OK) {
		link_on_lost(l, ac);
		return;
	}
	/* an idle connection that a firewall has forgotten is noticed before
	 * a request needs it; failing that changes nothing */
	if (redis_link_endpoint(l)->port != 0)
		redisEnableKeepAlive(&l->ac->c);
	/* hiredis goes on with this connection when we return: it cannot be
	 * freed here */
	if (!link_begin_setup(l))
		loop_timer_start(l->loop, &l->connect_timer, 0,
		                 link_on_connect_timeout, l);
}

static void link_on_disconnect(const redisAsyncContext *ac, int status)
{
	struct redis_link *l = ac->data;

	(void)status;
	if (l)
		link_on_lost(l, ac);
}

static bool link_begin_tls(struct redis_link *l, const char *host,
                           const char **error)
{
	if (!l->to->tls)
		return true;
	if (!l->tls)
		l->tls = redis_tls_new(l->to->ca_file, error);
	return l->tls && redis_tls_begin(l->tls, &l->ac->c, host, error);
}

static void link_connect(struct redis_link *l)
{
	const struct policy_endpoint *to = redis_link_endpoint(l);
	struct redis_login who;
	char host[256];
	const char *error;

	if (!link_read_login(l, &who)) {
		link_set_why(l, "no token for it yet", "");
		link_go_down(l, false);
		return;
	}
	l->state = LINK_CONNECTING;
	if (to->host.len >= sizeof(host)) {
		link_drop(l, "host name too long", "");
		return;
	}
	memcpy(host, to->host.p, to->host.len);
	host[to->host.len] = '\0';
	l->ac = to->port == 0 ? redisAsyncConnectUnix(host)
	                      : redisAsyncConnect(host, to->port);
	if (!l->ac) {
		link_drop(l, "out of memory", "");
		return;
	}
	if (l->ac->err) {
		link_drop(l, l->ac->errstr, "");
		return;
	}
	l->ac->data = l;
	if (!redis_events_attach(l->loop, l->ac)) {
		link_drop(l, "out of memory", "");
		return;
	}
	redisAsyncSetConnectCallback(l->ac, link_on_connect);
	redisAsyncSetDisconnectCallback(l->ac, link_on_disconnect);
	if (!link_begin_tls(l, host, &error)) {
		link_drop(l, "TLS", error);
		return;
	}
	loop_timer_start(l->loop, &l->connect_timer, CONNECT_MS,
	                 link_on_connect_timeout, l);
}

static void link_on_retry(void *data)
{
	link_connect(data);
}

/* ---------------------------------------------------------------- calls */

/* Each tick is a turn of the loop of its own, so what has arrived meanwhile
 * was read: a process that was itself held up does not blame Redis. */
static void link_on_watchdog(void *data)
{
	struct redis_link *l = data;

	if (list_empty(&l->calls)) {
		l->n_silent = 0;
		return;
	}
	l->n_silent = l->heard ? 0 : l->n_silent + 1;
	l->heard = false;
	if (l->n_silent >= REDIS_LINK_SILENT) {
		link_drop(l, "no answer to anything for many deadlines", "");
		return;
	}
	loop_timer_start(l->loop, &l->watchdog, l->to->deadline_ms,
	                 link_on_watchdog, l);
}

static void link_call_deliver(struct link_call *c, const redisReply *r)
{
	struct redis_link_reply reply;
	int64_t v[REDIS_LINK_NUMBERS_MAX];

	redis_reply_read(r, v, &reply);
	link_call_end(c, &reply);
}

static void link_on_reply(redisAsyncContext *ac, void *reply, void *privdata);

static bool link_call_send(struct link_call *c)
{
	return redisAsyncFormattedCommand(c->link->ac, link_on_reply, c, c->cmd,
	                                  c->cmd_len) == REDIS_OK;
}

/* The server has restarted or was told to forget; the load goes first on the
 * same connection. True when the ticket is on its way again. */
static bool link_call_repeat(struct link_call *c, const redisReply *r)
{
	if (r->type != REDIS_REPLY_ERROR || c->repeated ||
	    !str_starts(str_of(r->str, r->len), STR("NOSCRIPT")))
		return false;
	c->repeated = true;
	return link_load_script(c->link, c->script) && link_call_send(c);
}

static void link_on_reply(redisAsyncContext *ac, void *reply, void *privdata)
{
	struct link_call *c = privdata;
	const redisReply *r = reply;

	if (c->link && !r) {
		link_on_lost(c->link, ac);
	} else if (c->link) {
		c->link->heard = true;
		if (link_call_repeat(c, r))
			return;
		link_call_deliver(c, r);
	}
	link_call_free(c);
}

static bool link_call_format(struct link_call *c, const struct str *argv,
                             size_t argc)
{
	const char n_keys[2] = {(char)('0' + script_keys(c->script)), '\0'};
	const char *p[REDIS_LINK_ARGS_MAX + 3] = {
		"EVALSHA", c->link->sha[c->script], n_keys};
	size_t len[REDIS_LINK_ARGS_MAX + 3] = {7, SETUP_SHA_LEN, 1};
	size_t i;
	int n;

	if (argc > REDIS_LINK_ARGS_MAX)
		return false;
	for (i = 0; i < argc; i++) {
		p[i + 3] = argv[i].p;
		len[i + 3] = argv[i].len;
	}
	n = (int)redisFormatCommandArgv(&c->cmd, (int)argc + 3, p, len);
	if (n < 0)
		return false;
	c->cmd_len = (size_t)n;
	return true;
}

bool redis_link_call(struct redis_link *l, enum script script,
                     const struct str *argv, size_t argc,
                     redis_link_reply_cb *cb, void *ctx)
{
	struct link_call *c;

	if (l->state != LINK_UP)
		return false;
	c = calloc(1, sizeof(*c));
	if (!c)
		return false;
	*c = (struct link_call){
		.link = l, .cb = cb, .ctx = ctx, .script = script};
	if (!link_call_format(c, argv, argc)) {
		free(c);
		return false;
	}
	if (!link_call_send(c)) {
		link_call_free(c);
		return false;
	}
	list_add_last(&l->calls, &c->all);
	if (!loop_timer_active(&l->watchdog)) {
		l->heard = true; /* the first tick may come early for it */
		loop_timer_start(l->loop, &l->watchdog, l->to->deadline_ms,
		                 link_on_watchdog, l);
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
	list_init(&l->calls);
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
		loop_timer_start(l->loop, &l->retry_timer, 0, link_on_retry, l);
	else if ((l->state == LINK_UP || l->n_setup > 0) &&
	         (!link_read_login(l, &who) ||
	          !link_send_setup(l, SETUP_AUTH, &who)))
		link_drop(l, "AUTH could not be sent", "");
	/* else it is being connected, and AUTH comes then */
}

void redis_link_stop(struct redis_link *l)
{
	redisAsyncContext *ac;

	l->state = LINK_STOPPED;
	loop_timer_stop(&l->retry_timer);
	ac = link_detach(l);
	link_fail_calls(l);
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
	loop_timer_start(l->loop, &l->retry_timer, 0, link_on_retry, l);
}

void redis_link_refer(struct redis_link *l, const struct policy_redis *to)
{
	l->to = to;
}

void redis_link_free(struct redis_link *l)
{
	if (!l)
		return;
	while (!list_empty(&l->calls)) {
		struct link_call *c =
			list_entry(l->calls.next, struct link_call, all);

		list_del(&c->all);
		c->link = NULL;
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
