/* redis_token: one token for a command that talks to Redis. */
#include "commands/redis_token.h"

#include "net/fetch.h"
#include "keys/outbound.h"

#include <stdlib.h>

/* A loop of its own, which does not turn again once there is a token: what
 * outbound lends stays as it is. */
struct redis_token {
	struct loop *loop;
	struct fetch *fetch;
	struct outbound *outbound;
	struct redis_login login;
};

static void on_answer(void *ctx, uint64_t ref)
{
	struct redis_token *t = ctx;

	(void)ref;
	loop_stop(t->loop);
}

static bool get(struct redis_token *t, struct policy *p)
{
	struct waiter w = {.wake = on_answer, .ctx = t};
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
	if (t->outbound && get(t, p))
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
