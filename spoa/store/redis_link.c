/*
 * store/redis_link: one connection to Redis with automatic reconnect.
 *
 *   STOPPED --start--> DOWN --link_connect--> CONNECTING --last reply--> UP
 *                       ^                         |        of the setup   |
 *                       +------- link_go_down ----+-----------------------+
 *
 *   link_on_lost   hiredis found the connection broken and frees it itself
 *   link_drop      this module closes the connection
 *
 * A struct link_call is one script call. It is on `calls` until its callback
 * has run. Its memory belongs to hiredis until hiredis calls back, also after
 * the connection was closed; `link` is NULL then, and link_on_reply() only
 * frees it.
 *
 * Two orders matter. link_detach() runs before any callback to the layers
 * above, so that they find the link down and not half closed. redisAsyncFree()
 * comes last, because it calls back into this file for every call.
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
	/* From connect() to the last reply of the setup. Longer than the first
	 * TCP retransmission, which is after 1 s (RFC 6298, section 2). */
	CONNECT_MS = 2000,
	/* First wait, short because most outages are restarts; and longest */
	RETRY_MIN_MS = 50,
	RETRY_MAX_MS = 5000,
	/* A connection that was up for this long resets the backoff. One that
	 * breaks earlier counts as one more failure in a row. */
	STEADY_MS = 5000,
	WHY_MAX = 200, /* bytes of an error text */
};

enum link_state { LINK_STOPPED, LINK_DOWN, LINK_CONNECTING, LINK_UP };

struct link_call {
	struct list all;
	struct redis_link *link; /* NULL: the callback has run */
	redis_link_reply_cb *cb;
	void *ctx;
	enum script script;
	bool repeated; /* after NOSCRIPT: not a second time */
	uint64_t sent_us;
	char *cmd; /* as sent, for the repeat; of redisFormatCommandArgv */
	size_t cmd_len;
};

struct redis_link {
	struct loop *loop;
	const struct clock *clock;
	struct redis_link_events events;
	redis_link_login_fn *login; /* NULL: no credentials with tokens */
	void *login_ctx;
	const struct policy_redis *to;
	size_t at;             /* the endpoint in use, or to be tried next */
	struct redis_tls *tls; /* kept between connections, until a stop */

	enum link_state state;
	redisAsyncContext *ac; /* NULL when there is no connection */
	unsigned n_setup;      /* setup replies still missing */
	bool loading[SCRIPT_COUNT];
	char sha[SCRIPT_COUNT][SETUP_SHA_LEN + 1];
	unsigned n_failures; /* in a row, over all endpoints */
	uint64_t up_us;      /* since when it is up; 0: it was not */

	struct list calls; /* in flight, oldest first */
	bool heard;        /* a reply since the last tick of `watchdog` */
	unsigned n_silent; /* ticks in a row without one */

	struct loop_timer watchdog;      /* runs while calls are in flight */
	struct loop_timer connect_timer; /* CONNECT_MS */
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

/* Take the call off the list and run its callback. hiredis still owns the
 * memory. */
static void link_call_end(struct link_call *c,
                          const struct redis_link_reply *reply)
{
	list_del(&c->all);
	c->link = NULL;
	c->cb(c->ctx, reply);
}

/* End all calls with LINK_LOST. A callback cannot start a new
 * call, because the link is down by now. */
static void link_fail_calls(struct redis_link *l)
{
	const struct redis_link_reply reply = {.kind = LINK_LOST};

	while (!list_empty(&l->calls))
		link_call_end(list_entry(l->calls.next, struct link_call, all),
		              &reply);
}

/* Forget the connection and return it. Its `data` is NULL from now on, which
 * tells the callbacks of hiredis that this link is not interested any more. */
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

/* The wait grows once per round over all endpoints, so that a failover to the
 * next endpoint is not slowed down by the failures of the others. */
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

/* Report the loss and schedule the next attempt. `leave`: try the next
 * endpoint, otherwise the same one again. */
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

/* hiredis has found the connection broken and frees it itself. An endpoint that
 * was up is tried once more first: other nodes may still be connected to it,
 * and counting on two servers at once would double the limits. */
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

/* Close the connection. Inside of a callback of hiredis it frees the connection
 * later; in both cases each call gets a NULL reply, see link_on_reply(). */
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

/* Reply to one setup command. A NULL reply means that the connection is gone. A
 * SCRIPT LOAD or AUTH that is sent on an open connection (link_call_repeat,
 * redis_link_renew) comes here, too; the state is LINK_UP then. */
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

/* Once per connection at a time: the NOSCRIPT of many calls loads it once. */
static bool link_load_script(struct redis_link *l, enum script script)
{
	static const struct redis_login nobody;
	enum redis_setup step = (enum redis_setup)(SETUP_LOAD + script);

	if (!l->loading[script])
		l->loading[script] = link_send_setup(l, step, &nobody);
	return l->loading[script];
}

/* User and password of the policy, or the token of its credential. False: there
 * is no token yet. */
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
	/* TCP keepalive finds an idle connection that a firewall has dropped
	 * before a request needs it. Its failure is ignored: the watchdog finds
	 * the same, later. */
	if (redis_link_endpoint(l)->port != 0)
		redisEnableKeepAlive(&l->ac->c);
	/* hiredis continues to use this connection after the callback, so it
	 * must not be freed here; the timer does that. */
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

/* True also without TLS. */
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

/* Count ticks without a reply rather than time. Between two ticks the loop
 * reads what has arrived, so a process that was itself stopped for a while does
 * not take that time for the silence of Redis. */
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

/* NOSCRIPT: the server was restarted, or somebody ran SCRIPT FLUSH. The load
 * and the call go out on the same connection, which keeps their order. True
 * when the call is in flight again. */
static bool link_call_repeat(struct link_call *c, const redisReply *r)
{
	if (r->type != REDIS_REPLY_ERROR || c->repeated ||
	    !str_starts(str_of(r->str, r->len), STR("NOSCRIPT")))
		return false;
	c->repeated = true;
	return link_load_script(c->link, c->script) && link_call_send(c);
}

/* hiredis calls this once per send. A NULL reply for a call that still waits is
 * the first notice of a broken connection; link_on_lost() then ends all calls,
 * this one as well. */
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

/* EVALSHA SHA NUMKEYS KEY... ARG... The command is formatted once and kept,
 * because a repeat needs it after the arguments are gone. */
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
		l->heard = true; /* the first tick may come at once */
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
	/* else connect() is in progress, and the setup sends AUTH */
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
	/* connect from the loop: no callback may run within this call */
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
