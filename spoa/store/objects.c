/*
 * store/objects: whose an object of a resource is, and where it is.
 *
 * The text of an object is "OWNER\nRESOURCE\nMODEL\nORIGIN", in memory as in
 * Redis; that of a secret has "\nCALLER" behind it.
 */
#include "store/objects.h"

#include "api/family.h"
#include "base/buf.h"
#include "base/map.h"
#include "store/list.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_MEMBERS = 5, EXPIRE_AT_ONCE = 4, PREFIX_MAX = 256 };

struct entry {
	struct list by_age;
	uint64_t used_us;
	uint64_t until_us; /* 0: as long as it is used */
	size_t id_len, text_len;
	char bytes[]; /* id, text */
};

/* A question to Redis. */
struct question {
	struct list all;
	struct objects *os;
	objects_found_cb *found;
	objects_bound_cb *bound;
	void *ctx;
	uint64_t ref;
	uint64_t ttl_ms;
	size_t id_len;
	char id[];
};

struct objects {
	const struct clock *clock;
	struct redis_link *link;
	char prefix[PREFIX_MAX];
	size_t prefix_len;
	bool shared;
	uint64_t ttl_ms;
	struct map entries;
	struct list by_age; /* those used last at the end */
	struct list questions;
};

/* ---------------------------------------------------------------- as text */

static bool is_line(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.p[i] < ' ')
			return false;
	return true;
}

static bool is_key(struct str id)
{
	for (size_t i = 0; i < id.len; i++) {
		unsigned char c = (unsigned char)id.p[i];

		if (c <= ' ' || c >= 0x7f || c == '{' || c == '}')
			return false;
	}
	return id.len > 0 && id.len <= OBJECT_ID_MAX;
}

static bool to_text(const struct object *o, char space[OBJECT_TEXT_MAX],
                    struct str *out)
{
	int n;

	if (o->owner.len == 0 || o->resource.len == 0 || !is_line(o->owner) ||
	    !is_line(o->resource) || !is_line(o->model) ||
	    !is_line(o->origin) || !is_line(o->caller))
		return false;
	n = snprintf(space, OBJECT_TEXT_MAX,
	             "%" STR_FMT "\n%" STR_FMT "\n%" STR_FMT "\n%" STR_FMT
	             "%s%" STR_FMT,
	             STR_ARG(o->owner), STR_ARG(o->resource), STR_ARG(o->model),
	             STR_ARG(o->origin), o->caller.len > 0 ? "\n" : "",
	             STR_ARG(o->caller));
	if (n < 0 || n >= OBJECT_TEXT_MAX)
		return false;
	*out = str_of(space, (size_t)n);
	return true;
}

static bool from_text(struct str text, struct object *out)
{
	struct str member[N_MEMBERS] = {STR_NONE};
	bool more = true;
	size_t i;

	for (i = 0; i < N_MEMBERS && more; i++) {
		size_t n = str_find(text, '\n');

		more = n < text.len;
		member[i] = str_first(text, n);
		text = str_from(text, n + 1);
	}
	if (more || i < N_MEMBERS - 1)
		return false;
	*out = (struct object){member[0], member[1], member[2],
	                       member[3], member[4], 0};
	return out->owner.len > 0 && out->resource.len > 0;
}

/* ----------------------------------------------------------------- memory */

static struct str id_of(const struct entry *e)
{
	return str_of(e->bytes, e->id_len);
}

static struct str text_of(const struct entry *e)
{
	return str_of(e->bytes + e->id_len, e->text_len);
}

static void forget(struct objects *os, struct entry *e)
{
	list_del(&e->by_age);
	map_del(&os->entries, id_of(e));
	free(e);
}

static struct entry *oldest(const struct objects *os)
{
	if (list_empty(&os->by_age))
		return NULL;
	return list_entry(os->by_age.next, struct entry, by_age);
}

static void forget_old(struct objects *os)
{
	uint64_t now_us = clock_mono_us(os->clock);
	int i;

	for (i = 0; i < EXPIRE_AT_ONCE; i++) {
		struct entry *e = oldest(os);

		if (!e || (now_us - e->used_us) / 1000 < os->ttl_ms)
			return;
		forget(os, e);
	}
}

static struct entry *look(struct objects *os, struct str id)
{
	struct entry *e;

	forget_old(os);
	e = map_get(&os->entries, id);
	if (e && e->until_us != 0 && clock_mono_us(os->clock) >= e->until_us) {
		forget(os, e);
		e = NULL;
	}
	if (!e)
		return NULL;
	e->used_us = clock_mono_us(os->clock);
	list_del(&e->by_age);
	list_add_last(&os->by_age, &e->by_age);
	return e;
}

/* True: it is in memory, with this text. */
static bool keep(struct objects *os, struct str id, struct str text,
                 uint64_t ttl_ms)
{
	struct entry *e = look(os, id);

	if (e)
		return str_eq(text_of(e), text);
	e = os->entries.n < OBJECTS_MAX ? NULL : oldest(os);
	if (e)
		forget(os, e);
	e = malloc(sizeof(*e) + id.len + text.len);
	if (!e)
		return false;
	e->used_us = clock_mono_us(os->clock);
	e->until_us = ttl_ms > 0 ? e->used_us + ttl_ms * 1000 : 0;
	e->id_len = id.len;
	e->text_len = text.len;
	memcpy(e->bytes, id.p, id.len);
	memcpy(e->bytes + id.len, text.p, text.len);
	if (!map_put(&os->entries, id, e)) {
		free(e);
		return false;
	}
	list_add_last(&os->by_age, &e->by_age);
	return true;
}

static enum object_status find_in_memory(struct objects *os, struct str id,
                                         struct object *out)
{
	const struct entry *e = look(os, id);

	return e && from_text(text_of(e), out) ? OBJECT_FOUND : OBJECT_UNKNOWN;
}

/* ------------------------------------------------------------------ Redis */

static struct question *question_new(struct objects *os, struct str id,
                                     uint64_t ttl_ms)
{
	struct question *q = calloc(1, sizeof(*q) + id.len);

	if (!q)
		return NULL;
	q->os = os;
	q->ttl_ms = ttl_ms;
	q->id_len = id.len;
	memcpy(q->id, id.p, id.len);
	list_add_last(&os->questions, &q->all);
	return q;
}

static void question_free(struct question *q)
{
	if (!q)
		return;
	list_del(&q->all);
	free(q);
}

/* `text` empty: there is none. */
static bool ask(struct question *q, enum script script, struct str text,
                redis_link_reply_cb *cb)
{
	struct objects *os = q->os;
	char key[PREFIX_MAX + OBJECT_ID_MAX + 8], ttl[24];
	struct str argv[4];
	size_t n = 2;
	int len =
		snprintf(key, sizeof(key), "%.*s:{o:%.*s}", (int)os->prefix_len,
	                 os->prefix, (int)q->id_len, q->id);

	if (len < 0 || (size_t)len >= sizeof(key))
		return false;
	snprintf(ttl, sizeof(ttl), "%" PRIu64, q->ttl_ms);
	argv[0] = argv[1] = str_of(key, (size_t)len);
	if (text.len > 0)
		argv[n++] = text;
	argv[n++] = str_c(ttl);
	return redis_link_call(os->link, script, argv, n, cb, q);
}

/* What Redis does not know may have been bound while it was away. */
static void on_found(void *ctx, const struct redis_link_reply *reply)
{
	struct question *q = ctx;
	struct object o;
	enum object_status status = OBJECT_FAILED;

	if (reply->kind == LINK_TEXT)
		status = reply->n > 0 && from_text(reply->text, &o)
		                 ? OBJECT_FOUND
		                 : OBJECT_UNKNOWN;
	if (status != OBJECT_FOUND &&
	    find_in_memory(q->os, str_of(q->id, q->id_len), &o) == OBJECT_FOUND)
		status = OBJECT_FOUND;
	q->found(q->ctx, q->ref, status, status == OBJECT_FOUND ? &o : NULL);
	question_free(q);
}

static void on_bound(void *ctx, const struct redis_link_reply *reply)
{
	struct question *q = ctx;

	if (q->bound)
		q->bound(q->ctx, reply->kind == LINK_NUMBERS && reply->n == 1 &&
		                         reply->v[0] == 1);
	question_free(q);
}

enum object_status objects_find(struct objects *os, struct str id,
                                enum object_life life, objects_found_cb *cb,
                                void *ctx, uint64_t ref, struct object *out)
{
	struct question *q;

	if (!is_key(id))
		return OBJECT_UNKNOWN;
	if (!os->shared)
		return find_in_memory(os, id, out);
	q = question_new(os, id, life == OBJECT_EXPIRES ? 0 : os->ttl_ms);
	if (q) {
		q->found = cb;
		q->ctx = ctx;
		q->ref = ref;
		if (ask(q, SCRIPT_FIND, STR_NONE, on_found))
			return OBJECT_WAIT;
		question_free(q);
	}
	return find_in_memory(os, id, out) == OBJECT_FOUND ? OBJECT_FOUND
	                                                   : OBJECT_FAILED;
}

static void bind_one(struct objects *os, struct str id, const struct object *o,
                     objects_bound_cb *cb, void *ctx)
{
	char space[OBJECT_TEXT_MAX];
	struct question *q = NULL;
	struct str text;
	bool kept = is_key(id) && to_text(o, space, &text) &&
	            keep(os, id, text, o->ttl_ms);

	if (kept && os->shared)
		q = question_new(os, id,
		                 o->ttl_ms > 0 ? o->ttl_ms : os->ttl_ms);
	if (q) {
		q->bound = cb;
		q->ctx = ctx;
		if (ask(q, SCRIPT_BIND, text, on_bound))
			return;
		question_free(q);
	}
	if (cb)
		cb(ctx, kept && !os->shared);
}

struct str objects_family_id(struct str family, char space[OBJECT_FAMILY_MAX])
{
	int n = snprintf(space, OBJECT_FAMILY_MAX, "family:%" STR_FMT,
	                 STR_ARG(family));

	return n > 0 && n < OBJECT_FAMILY_MAX ? str_of(space, (size_t)n)
	                                      : STR_NONE;
}

/* The family first: Redis answers in order, so whoever finds the id finds the
 * family, too. Responses of one family may have different models. */
void objects_bind(struct objects *os, struct str id, const struct object *o,
                  objects_bound_cb *cb, void *ctx)
{
	struct object family = {.owner = o->owner, .resource = o->resource};
	char space[OBJECT_FAMILY_MAX];

	if (family_is_kept(id) && family_of(id).len > 0)
		bind_one(os, objects_family_id(family_of(id), space), &family,
		         NULL, NULL);
	bind_one(os, id, o, cb, ctx);
}

static void drop_in_memory(struct objects *os, struct str id, struct str owner)
{
	struct entry *e = look(os, id);
	struct object o;

	if (e && from_text(text_of(e), &o) && str_eq(o.owner, owner))
		forget(os, e);
}

/* To bind.lua a time of 0 says so, and its text is what the object's begins
 * with. */
void objects_drop(struct objects *os, struct str id, struct str owner,
                  objects_bound_cb *cb, void *ctx)
{
	char space[OBJECT_TEXT_MAX];
	struct question *q = NULL;
	int n = snprintf(space, sizeof(space), "%" STR_FMT "\n",
	                 STR_ARG(owner));
	bool good = is_key(id) && owner.len > 0 && is_line(owner) && n > 0 &&
	            (size_t)n < sizeof(space);

	if (good)
		drop_in_memory(os, id, owner);
	if (good && os->shared)
		q = question_new(os, id, 0);
	if (q) {
		q->bound = cb;
		q->ctx = ctx;
		if (ask(q, SCRIPT_BIND, str_of(space, (size_t)n), on_bound))
			return;
		question_free(q);
	}
	if (cb)
		cb(ctx, good && !os->shared);
}

/* ---------------------------------------------------------------- its life */

struct objects *objects_new(const struct clock *clock, struct redis_link *link)
{
	struct objects *os = calloc(1, sizeof(*os));

	if (!os)
		return NULL;
	os->clock = clock;
	os->link = link;
	map_init(&os->entries, OBJECTS_MAX);
	list_init(&os->by_age);
	list_init(&os->questions);
	return os;
}

void objects_free(struct objects *os)
{
	struct entry *e;

	if (!os)
		return;
	while ((e = oldest(os)) != NULL)
		forget(os, e);
	while (!list_empty(&os->questions))
		question_free(
			list_entry(os->questions.next, struct question, all));
	map_done(&os->entries);
	free(os);
}

bool objects_configure(struct objects *os, struct str prefix, bool shared,
                       uint64_t ttl_ms)
{
	if (prefix.len > sizeof(os->prefix))
		return false;
	memcpy(os->prefix, prefix.p, prefix.len);
	os->prefix_len = prefix.len;
	os->shared = shared;
	os->ttl_ms = ttl_ms;
	return true;
}
