/*
 * redis_token: one token for a command that talks to Redis.
 *
 *   +--> outbound_redis -- OK ----> login, for store/tune
 *   |                   -- FAILED -> no token
 *   |                   -- WAIT --> the loop turns --> rtok_on_answer --+
 *   +-------------------------------------------------------------------+
 */
#include "commands/redis_token.h"

#include "net/fetch.h"
#include "keys/outbound.h"

#include <stdlib.h>

/* keys/outbound lends the token until the next turn of its loop. This loop is
 * private and does not turn again once there is a token, so the loan holds
 * until redis_token_free(). The token is not renewed: it outlives any command.
 */
struct redis_token {
	struct loop *loop;
	struct fetch *fetch;
	struct outbound *outbound;
	struct redis_login login; /* views into outbound */
};

static void rtok_on_answer(void *ctx, uint64_t ref)
{
	struct redis_token *t = ctx;

	(void)ref;
	loop_stop(t->loop);
}

/* Blocks until there is a token or its fetch has failed. Each fetch has a
 * deadline (keys/token_cache), and a failed one is not tried again here: an
 * operator who waits wants to know. */
static bool rtok_fetch(struct redis_token *t, struct policy *p)
{
	struct waiter w = {.wake = rtok_on_answer, .ctx = t};
	enum outbound_answer answer = OUTBOUND_WAIT;

	if (!outbound_configure(t->outbound, p))
		return false;
	while (answer == OUTBOUND_WAIT) {
		answer = outbound_redis(t->outbound, &t->login.username,
		                        &t->login.password, &w);
		if (answer == OUTBOUND_WAIT)
			loop_run(t->loop);
	}
	return answer == OUTBOUND_OK;
}

struct redis_token *redis_token_new(struct policy *p, struct buf *error)
{
	struct redis_token *t = calloc(1, sizeof(*t));
	struct outbound_options o = {.clock = &clock_system,
	                             .redis_only = true};

	if (!t)
		return NULL;
	t->loop = o.loop = loop_new();
	if (t->loop)
		t->fetch = o.fetch = fetch_new(t->loop, NULL);
	if (t->fetch)
		t->outbound = outbound_new(&o);
	if (t->outbound && rtok_fetch(t, p))
		return t;
	buf_fmt(error, "no token for Redis from credential \"%" STR_FMT "\"\n",
	        STR_ARG(p->redis.credential->name));
	redis_token_free(t);
	return NULL;
}

void redis_token_free(struct redis_token *t)
{
	if (!t)
		return;
	outbound_free(t->outbound);
	fetch_free(t->fetch);
	loop_free(t->loop);
	free(t);
}

const struct redis_login *redis_token_login(const struct redis_token *t)
{
	return t ? &t->login : NULL;
}
