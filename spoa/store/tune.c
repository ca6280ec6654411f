/*
 * store/tune: the Redis connection of `foundry-spoa limits`.
 *
 *   tune_open: redis_link_start -> loop_run ... tune_on_up -> loop_stop
 *   tune_ask:  redis_args_call --> loop_run ... tune_on_reply -> loop_stop
 *
 * Each call runs the loop until the callback stops it. tune_on_down() stops it,
 * too, so a lost connection ends the wait.
 */
#include "store/tune.h"

#include "store/check.h"
#include "store/redis_args.h"
#include "store/redis_link.h"
#include "store/redis_tls.h"

#include <stdlib.h>

struct tune {
	struct loop *loop;
	struct redis_link *link;
	const struct policy_redis *to;
	const struct redis_login *who;
	struct buf *error; /* of the call that runs; NULL: none, or reported */
	struct buf *out;
	bool ok;         /* result of the call that runs */
	bool opened;     /* it was connected once */
	size_t n_failed; /* attempts that failed before that */
};

static void tune_on_up(void *ctx)
{
	struct tune *t = ctx;

	t->ok = true;
	t->opened = true;
	if (t->error)
		buf_clear(t->error); /* errors of the endpoints before */
	loop_stop(t->loop);
}

/* While opening, the link tries one endpoint after the other; the last failure
 * ends the wait. A connection lost after that is not repaired. */
static void tune_on_down(void *ctx, struct str why, uint64_t retry_ms)
{
	struct tune *t = ctx;

	(void)retry_ms;
	t->ok = false;
	if (t->error)
		buf_fmt(t->error,
		        "Redis at %" STR_FMT " cannot be reached: %" STR_FMT
		        "\n",
		        STR_ARG(redis_link_endpoint(t->link)->host),
		        STR_ARG(why));
	if (!t->opened && ++t->n_failed < t->to->n_endpoints)
		return;
	t->error = NULL;
	loop_stop(t->loop);
}

static void tune_on_reply(void *ctx, const struct redis_link_reply *reply)
{
	struct tune *t = ctx;

	t->ok = reply->kind == LINK_TEXT;
	if (t->ok)
		buf_add_str(t->out, reply->text);
	else if (t->error && reply->kind == LINK_ERROR)
		buf_fmt(t->error, "Redis refused: %" STR_FMT "\n",
		        STR_ARG(reply->error));
	loop_stop(t->loop);
}

/* The token was fetched before, by commands/redis_token. */
static bool tune_on_login(void *ctx, struct redis_login *who)
{
	const struct tune *t = ctx;

	if (t->who)
		*who = *t->who;
	return t->who != NULL;
}

/* The clock and loop are its own, and redis_link does not know that it runs in
 * a command. */
struct tune *tune_open(const struct policy_redis *to,
                       const struct redis_login *who, struct buf *error)
{
	struct tune *t = calloc(1, sizeof(*t));
	struct redis_link_events events = {tune_on_up, tune_on_down, t};

	if (!t)
		return NULL;
	t->to = to;
	t->who = who;
	t->error = error;
	t->loop = loop_new();
	if (t->loop)
		t->link = redis_link_new(t->loop, &clock_system, &events);
	if (t->link && to->tls && !redis_tls_can()) {
		buf_fmt(error, "this build has no TLS to Redis\n");
	} else if (t->link) {
		redis_link_login(t->link, tune_on_login, t);
		redis_link_start(t->link, to);
		loop_run(t->loop);
	}
	if (t->ok)
		return t;
	tune_close(t);
	return NULL;
}

void tune_close(struct tune *t)
{
	if (!t)
		return;
	redis_link_free(t->link);
	loop_free(t->loop);
	free(t);
}

/* Wait for the answer of a call that was sent (`asked`). True when it is text.
 * Without any other error, "did not answer" is reported. */
static bool tune_wait_answer(struct tune *t, bool asked)
{
	t->ok = false;
	if (asked)
		loop_run(t->loop);
	if (!t->ok && t->error && t->error->len == 0)
		buf_fmt(t->error, "Redis did not answer\n");
	t->error = NULL;
	return t->ok && !t->out->failed;
}

static void tune_begin_call(struct tune *t, struct buf *out, struct buf *error)
{
	buf_clear(out);
	t->out = out;
	t->error = error;
}

bool tune_ask(struct tune *t, struct str account, const struct str *argv,
              size_t argc, struct buf *out, struct buf *error)
{
	struct redis_args a;
	size_t i;
	bool ok = redis_args_begin(&a, t->to->prefix, account, STR("-"));

	tune_begin_call(t, out, error);
	if (ok) {
		redis_args_settings(&a, t->to->prefix, account);
		for (i = 0; i < argc; i++)
			redis_args_str(&a, argv[i]);
		ok = redis_args_call(&a, t->link, SCRIPT_TUNE, tune_on_reply,
		                     t);
	}
	redis_args_done(&a);
	return tune_wait_answer(t, ok);
}

/* Call a script whose only key is PREFIX:`name`. */
static bool tune_ask_one_key(struct tune *t, enum script script,
                             const char *name, const struct str *argv,
                             size_t argc, struct buf *out, struct buf *error)
{
	struct str v[8];
	struct buf key;
	bool ok = argc < sizeof(v) / sizeof(v[0]);

	tune_begin_call(t, out, error);
	buf_init(&key, 512);
	buf_fmt(&key, "%" STR_FMT ":%s", STR_ARG(t->to->prefix), name);
	v[0] = buf_str(&key);
	if (ok && argc > 0)
		memcpy(v + 1, argv, argc * sizeof(v[0]));
	ok = ok && !key.failed &&
	     redis_link_call(t->link, script, v, argc + 1, tune_on_reply, t);
	buf_done(&key);
	return tune_wait_answer(t, ok);
}

bool tune_audit(struct tune *t, const struct str *argv, size_t argc,
                struct buf *out, struct buf *error)
{
	return tune_ask_one_key(t, SCRIPT_AUDIT, "audit", argv, argc, out,
	                        error);
}

bool tune_blocked(struct tune *t, const char *verb, struct str name,
                  struct buf *out, struct buf *error)
{
	const struct str argv[] = {str_c(verb), name};

	return tune_ask_one_key(t, SCRIPT_BLOCKED, "blocked", argv, 2, out,
	                        error);
}
