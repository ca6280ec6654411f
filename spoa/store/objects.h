/*
 * store/objects: whose an object of a resource is, and where it is.
 *
 *   decide/objects --find--> memory, Redis (PREFIX:{o:ID})
 *   decide/ownership --bind-->
 *
 * Responses, files, batches, vector stores and conversations have an id that
 * their resource has given. Whoever made one is its owner, on every node; an
 * id nobody here has made belongs to nobody. The first binding stays: an id
 * cannot be taken over.
 *
 * A response or conversation is bound together with its family (api/family),
 * under an id of its own: all that belongs to it has the same owner and is at
 * the same resource.
 *
 * With Redis, what is bound is also kept in memory and found there while Redis
 * is away. Memory is bounded: the oldest go first. A find lets the time to
 * live begin anew, except that of an object which has a time of its own.
 */
#ifndef STORE_OBJECTS_H
#define STORE_OBJECTS_H

#include "base/clock.h"
#include "base/str.h"
#include "store/redis_link.h"

enum {
	OBJECTS_MAX = 100000, /* in memory */
	OBJECT_ID_MAX = 256,
	OBJECT_TEXT_MAX = 2048, /* all members together */
};

struct objects;

/* Members hold no control characters; what does is not bound. */
struct object {
	struct str owner;    /* text that names the caller */
	struct str resource; /* name */
	struct str model;    /* public name; empty: it has none */
	struct str origin;   /* request that pays for it when it is ready */
	struct str caller;   /* caller_text(), of a secret; else empty */
	uint64_t ttl_ms;     /* told, not kept; 0: that of all objects */
};

enum object_status {
	OBJECT_FOUND = 0,
	OBJECT_UNKNOWN = 1,
	OBJECT_FAILED = 2, /* Redis is away, and memory does not know it */
	OBJECT_WAIT = 3,   /* the callback will tell */
};

/* `o` is valid during the call, and only when found. */
typedef void objects_found_cb(void *ctx, uint64_t ref,
                              enum object_status status,
                              const struct object *o);
typedef void objects_bound_cb(void *ctx, bool stored);

/* For how long it may be found. */
enum object_life {
	OBJECT_LIVES_ON = 0, /* being found lets its time begin anew */
	OBJECT_EXPIRES = 1,
};

/* `link` is borrowed and outlives this. */
struct objects *objects_new(const struct clock *clock, struct redis_link *link);
void objects_free(struct objects *os); /* without any callback */

/* `prefix` is copied. `shared`: there is a Redis. False without memory. */
bool objects_configure(struct objects *os, struct str prefix, bool shared,
                       uint64_t ttl_ms);

/* OBJECT_WAIT: cb runs later, once. Any other: *out is valid until the next
 * call, and cb does not run. */
enum object_status objects_find(struct objects *os, struct str id,
                                enum object_life life, objects_found_cb *cb,
                                void *ctx, uint64_t ref, struct object *out);

enum { OBJECT_FAMILY_MAX = 32 };

/* The id under which a family is bound. Its ':' is in no id of a path; a body
 * may name it, but then it must be the caller's. */
struct str objects_family_id(struct str family, char space[OBJECT_FAMILY_MAX]);

/* cb (may be NULL) runs now or later, once; `stored` is false when it is
 * somebody else's, could not be kept, or is kept in this process only while
 * there is a Redis. */
void objects_bind(struct objects *os, struct str id, const struct object *o,
                  objects_bound_cb *cb, void *ctx);

/* It is gone at its resource. Nothing happens when it is not `owner`'s. cb as
 * above; `stored` says that no node will find it in Redis. */
void objects_drop(struct objects *os, struct str id, struct str owner,
                  objects_bound_cb *cb, void *ctx);

#endif
