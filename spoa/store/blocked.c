/*
 * store/blocked: this process's copy of the list of blocked callers.
 *
 *   blk_on_timer -> blk_send_list -> scripts/blocked.lua "list VERSION"
 *                                         | nil: same version
 *                   blk_on_list  <--------+ text: the whole list
 *
 * The list is polled, not subscribed to: a poll needs no second connection and
 * no state that could be lost with one.
 */
#include "store/blocked.h"

#include <stdlib.h>

/* What scripts/blocked.lua would answer for an empty key. */
static const struct str blk_empty_list = STR_INIT("version 0\n");

struct blocked {
	struct loop *loop;
	struct redis_link *link;
	struct loop_timer timer;
	struct buf key;
	struct buf text; /* the answer of blocked.lua; empty: none yet */
	bool asked;      /* a poll is in flight: do not start another one */
};

static void blk_on_timer(void *data);

static void blk_start_timer(struct blocked *b)
{
	uint64_t ms = b->text.len > 0 ? BLOCKED_ASK_MS : BLOCKED_FIRST_MS;

	loop_timer_start(b->loop, &b->timer, ms, blk_on_timer, b);
}

static struct str blk_version_line(const struct blocked *b)
{
	struct str text = buf_str(&b->text);

	return str_first(text, str_find(text, '\n'));
}

/* An error, a nil (nothing has changed) and an answer of another form keep the
 * list as it is. */
static void blk_on_list(void *ctx, const struct redis_link_reply *reply)
{
	struct blocked *b = ctx;

	b->asked = false;
	if (reply->kind != LINK_TEXT || reply->text.len > BLOCKED_TEXT_MAX ||
	    !str_starts(reply->text, STR("version ")))
		return;
	buf_clear(&b->text);
	if (!buf_add_str(&b->text, reply->text))
		buf_clear(&b->text); /* a part of the list would hide names */
}

/* Send the version that is known, so that an unchanged list is a short answer.
 * Before the first answer the version is empty, which equals none. */
static void blk_send_list(struct blocked *b)
{
	struct str version = str_from(blk_version_line(b), strlen("version "));
	const struct str argv[] = {buf_str(&b->key), STR("list"), version};

	b->asked = redis_link_call(b->link, SCRIPT_BLOCKED, argv, 3,
	                           blk_on_list, b);
}

static void blk_on_timer(void *data)
{
	struct blocked *b = data;

	if (!b->asked)
		blk_send_list(b);
	blk_start_timer(b);
}

struct blocked *blocked_new(struct loop *loop, struct redis_link *link)
{
	struct blocked *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->loop = loop;
	b->link = link;
	buf_init(&b->key, BLOCKED_NAME_MAX);
	buf_init(&b->text, BLOCKED_TEXT_MAX + 1);
	return b;
}

void blocked_free(struct blocked *b)
{
	if (!b)
		return;
	loop_timer_stop(&b->timer);
	buf_done(&b->key);
	buf_done(&b->text);
	free(b);
}

/* An answer for the old prefix may still be in flight when a new one is set. It
 * is then used until the next poll, whose version differs: at most
 * BLOCKED_ASK_MS. */
void blocked_configure(struct blocked *b, struct str prefix, bool shared)
{
	struct buf key;

	loop_timer_stop(&b->timer);
	if (!shared) {
		buf_clear(&b->text);
		buf_add_str(&b->text, blk_empty_list);
		return;
	}
	buf_init(&key, BLOCKED_NAME_MAX);
	buf_fmt(&key, "%" STR_FMT ":blocked", STR_ARG(prefix));
	if (!str_eq(buf_str(&key), buf_str(&b->key)))
		buf_clear(&b->text);
	buf_done(&b->key);
	b->key = key;
	blk_start_timer(b);
}

/* Linear search over at most 1000 lines. It runs only for requests that arrive
 * while Redis is away. */
static bool blk_has_name(const struct blocked *b, const char *kind,
                         struct str name)
{
	struct str rest = buf_str(&b->text);
	struct str line, mark = str_c(kind);

	while (rest.len > 0) {
		line = str_first(rest, str_find(rest, '\n'));
		rest = str_from(rest, line.len + 1);
		if (str_starts(line, mark) &&
		    str_eq(str_from(line, mark.len), name))
			return true;
	}
	return false;
}

bool blocked_has(const struct blocked *b, const struct store_caller *caller)
{
	return blk_has_name(b, "consumer:", caller->consumer) ||
	       blk_has_name(b, "app:", caller->app) ||
	       blk_has_name(b, "agent:", caller->agent);
}

bool blocked_print(const struct blocked *b, struct buf *out)
{
	return b->text.len > 0 && buf_add_str(out, buf_str(&b->text));
}
