/*
 * store/objects: owner and resource of each object, by object id.
 *
 *   objects_find --> Redis (find.lua) --> objs_on_found --> callback
 *        |  not shared, or the call     |  unknown or failed
 *        |  cannot be sent              v
 *        +----------------------> objs_find_local --> result
 *   objects_bind --> objs_store_local --> Redis (bind.lua) --> objs_on_bound
 *
 * An object is stored as the text "OWNER\nRESOURCE\nMODEL\nORIGIN", in memory
 * as in Redis; that of a session secret has "\nCALLER" at its end. Owner and
 * resource are never empty, the other members may be.
 */
#include "store/objects.h"

#include "api/family.h"
#include "base/buf.h"
#include "base/map.h"
#include "store/list.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	N_MEMBERS = 5,
	EXPIRE_AT_ONCE = 4, /* entries checked for their age per look-up */
	PREFIX_MAX = 256,   /* bytes of redis.prefix */
};

struct objs_entry {
	struct list by_age;
	uint64_t used_us;  /* last find, monotonic */
	uint64_t until_us; /* own expiry; 0: the common time to live */
	size_t id_len, text_len;
	char bytes[]; /* id, text */
};

/* A script call in flight. It is the ctx of redis_link_call(), which calls back
 * exactly once, so it is freed there. The list is for objects_free(). */
struct query {
	struct list all;
	struct objects *os;
	objects_found_cb *found; /* of a find */
	objects_bound_cb *bound; /* of a bind or drop; may be NULL */
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
	struct list by_age; /* entries, the ones used last at the end */
	struct list queries;
};

/* ---------------------------------------------------------------- as text */

/* No control character, so that a member cannot end its line. */
static bool objs_is_line(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.p[i] < ' ')
			return false;
	return true;
}

/* An id becomes part of a Redis key, inside of its hash tag: printable ASCII
 * without blanks and braces. */
static bool objs_is_id(struct str id)
{
	for (size_t i = 0; i < id.len; i++) {
		unsigned char c = (unsigned char)id.p[i];

		if (c <= ' ' || c >= 0x7f || c == '{' || c == '}')
			return false;
	}
	return id.len > 0 && id.len <= OBJECT_ID_MAX;
}

static bool objs_encode(const struct object *o, char space[OBJECT_TEXT_MAX],
                        struct str *out)
{
	int n;

	if (o->owner.len == 0 || o->resource.len == 0 ||
	    !objs_is_line(o->owner) || !objs_is_line(o->resource) ||
	    !objs_is_line(o->model) || !objs_is_line(o->origin) ||
	    !objs_is_line(o->caller))
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

/* `out` points into `text`. False for a text that has fewer than four lines or
 * more than five, or no owner or resource: something else wrote that key. */
static bool objs_decode(struct str text, struct object *out)
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

/* ---------------------------------------------------------------- memory */

static struct str objs_entry_id(const struct objs_entry *e)
{
	return str_of(e->bytes, e->id_len);
}

static struct str objs_entry_text(const struct objs_entry *e)
{
	return str_of(e->bytes + e->id_len, e->text_len);
}

static void objs_entry_free(struct objects *os, struct objs_entry *e)
{
	list_del(&e->by_age);
	map_del(&os->entries, objs_entry_id(e));
	free(e);
}

static struct objs_entry *objs_oldest(const struct objects *os)
{
	if (list_empty(&os->by_age))
		return NULL;
	return list_entry(os->by_age.next, struct objs_entry, by_age);
}

/* Drop the entries that nobody has used for the time to live. The list is in
 * the order of use, so the first that is young enough ends the search. */
static void objs_expire(struct objects *os)
{
	uint64_t now_us = clock_mono_us(os->clock);
	int i;

	for (i = 0; i < EXPIRE_AT_ONCE; i++) {
		struct objs_entry *e = objs_oldest(os);

		if (!e || (now_us - e->used_us) / 1000 < os->ttl_ms)
			return;
		objs_entry_free(os, e);
	}
}

/* Find an entry and renew its time of use. */
static struct objs_entry *objs_lookup(struct objects *os, struct str id)
{
	struct objs_entry *e;

	objs_expire(os);
	e = map_get(&os->entries, id);
	if (e && e->until_us != 0 && clock_mono_us(os->clock) >= e->until_us) {
		objs_entry_free(os, e);
		e = NULL;
	}
	if (!e)
		return NULL;
	e->used_us = clock_mono_us(os->clock);
	list_del(&e->by_age);
	list_add_last(&os->by_age, &e->by_age);
	return e;
}

/* True: memory has the id with this text. The first binding is final, so an
 * entry with another text stays and the result is false. */
static bool objs_store_local(struct objects *os, struct str id, struct str text,
                             uint64_t ttl_ms)
{
	struct objs_entry *e = objs_lookup(os, id);

	if (e)
		return str_eq(objs_entry_text(e), text);
	e = os->entries.n < OBJECTS_MAX ? NULL : objs_oldest(os);
	if (e)
		objs_entry_free(os, e);
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

static enum object_status objs_find_local(struct objects *os, struct str id,
                                          struct object *out)
{
	const struct objs_entry *e = objs_lookup(os, id);

	return e && objs_decode(objs_entry_text(e), out) ? OBJECT_FOUND
	                                                 : OBJECT_UNKNOWN;
}

/* ------------------------------------------------------------------ Redis */

static struct query *objs_query_new(struct objects *os, struct str id,
                                    uint64_t ttl_ms)
{
	struct query *q = calloc(1, sizeof(*q) + id.len);

	if (!q)
		return NULL;
	q->os = os;
	q->ttl_ms = ttl_ms;
	q->id_len = id.len;
	memcpy(q->id, id.p, id.len);
	list_add_last(&os->queries, &q->all);
	return q;
}

static void objs_query_free(struct query *q)
{
	if (!q)
		return;
	list_del(&q->all);
	free(q);
}

/* Send the call. `text` is the first argument, left out when empty. find.lua
 * and bind.lua take the same key twice. */
static bool objs_query_send(struct query *q, enum script script,
                            struct str text, redis_link_reply_cb *cb)
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

/* An id that Redis does not know may have been bound while Redis was away; it
 * is then in the memory of the process that bound it. */
static void objs_on_found(void *ctx, const struct redis_link_reply *reply)
{
	struct query *q = ctx;
	struct object o;
	enum object_status status = OBJECT_FAILED;

	if (reply->kind == LINK_TEXT)
		status = reply->n > 0 && objs_decode(reply->text, &o)
		                 ? OBJECT_FOUND
		                 : OBJECT_UNKNOWN;
	if (status != OBJECT_FOUND &&
	    objs_find_local(q->os, str_of(q->id, q->id_len), &o) ==
	            OBJECT_FOUND)
		status = OBJECT_FOUND;
	q->found(q->ctx, q->ref, status, status == OBJECT_FOUND ? &o : NULL);
	objs_query_free(q);
}

static void objs_on_bound(void *ctx, const struct redis_link_reply *reply)
{
	struct query *q = ctx;

	if (q->bound)
		q->bound(q->ctx, reply->kind == LINK_NUMBERS && reply->n == 1 &&
		                         reply->v[0] == 1);
	objs_query_free(q);
}

enum object_status objects_find(struct objects *os, struct str id,
                                enum object_life life, objects_found_cb *cb,
                                void *ctx, uint64_t ref, struct object *out)
{
	struct query *q;

	if (!objs_is_id(id))
		return OBJECT_UNKNOWN;
	if (!os->shared)
		return objs_find_local(os, id, out);
	q = objs_query_new(os, id, life == OBJECT_EXPIRES ? 0 : os->ttl_ms);
	if (q) {
		q->found = cb;
		q->ctx = ctx;
		q->ref = ref;
		if (objs_query_send(q, SCRIPT_FIND, STR_NONE, objs_on_found))
			return OBJECT_WAIT;
		objs_query_free(q);
	}
	return objs_find_local(os, id, out) == OBJECT_FOUND ? OBJECT_FOUND
	                                                    : OBJECT_FAILED;
}

static void objs_bind_one(struct objects *os, struct str id,
                          const struct object *o, objects_bound_cb *cb,
                          void *ctx)
{
	char space[OBJECT_TEXT_MAX];
	struct query *q = NULL;
	struct str text;
	bool kept = objs_is_id(id) && objs_encode(o, space, &text) &&
	            objs_store_local(os, id, text, o->ttl_ms);

	if (kept && os->shared)
		q = objs_query_new(os, id,
		                   o->ttl_ms > 0 ? o->ttl_ms : os->ttl_ms);
	if (q) {
		q->bound = cb;
		q->ctx = ctx;
		if (objs_query_send(q, SCRIPT_BIND, text, objs_on_bound))
			return;
		objs_query_free(q);
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
		objs_bind_one(os, objects_family_id(family_of(id), space),
		              &family, NULL, NULL);
	objs_bind_one(os, id, o, cb, ctx);
}

/* Drop the entry if `owner` owns it. */
static void objs_drop_local(struct objects *os, struct str id, struct str owner)
{
	struct objs_entry *e = objs_lookup(os, id);
	struct object o;

	if (e && objs_decode(objs_entry_text(e), &o) && str_eq(o.owner, owner))
		objs_entry_free(os, e);
}

/* bind.lua drops when the time to live is 0. Its text argument is then only
 * "OWNER\n", which the stored text must begin with. */
void objects_drop(struct objects *os, struct str id, struct str owner,
                  objects_bound_cb *cb, void *ctx)
{
	char space[OBJECT_TEXT_MAX];
	struct query *q = NULL;
	int n = snprintf(space, sizeof(space), "%" STR_FMT "\n",
	                 STR_ARG(owner));
	bool good = objs_is_id(id) && owner.len > 0 && objs_is_line(owner) &&
	            n > 0 && (size_t)n < sizeof(space);

	if (good)
		objs_drop_local(os, id, owner);
	if (good && os->shared)
		q = objs_query_new(os, id, 0);
	if (q) {
		q->bound = cb;
		q->ctx = ctx;
		if (objs_query_send(q, SCRIPT_BIND, str_of(space, (size_t)n),
		                    objs_on_bound))
			return;
		objs_query_free(q);
	}
	if (cb)
		cb(ctx, good && !os->shared);
}

/* -------------------------------------------------------------- lifetime */

struct objects *objects_new(const struct clock *clock, struct redis_link *link)
{
	struct objects *os = calloc(1, sizeof(*os));

	if (!os)
		return NULL;
	os->clock = clock;
	os->link = link;
	map_init(&os->entries, OBJECTS_MAX);
	list_init(&os->by_age);
	list_init(&os->queries);
	return os;
}

void objects_free(struct objects *os)
{
	struct objs_entry *e;

	if (!os)
		return;
	while ((e = objs_oldest(os)) != NULL)
		objs_entry_free(os, e);
	while (!list_empty(&os->queries))
		objs_query_free(
			list_entry(os->queries.next, struct query, all));
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
