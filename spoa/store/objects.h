/*
 * store/objects: owner and resource of each object, by object id.
 *
 *   decide/lookup    --objects_find--> Redis PREFIX:{o:ID}, else memory
 *   decide/ownership --objects_bind--> memory and Redis
 *   usage/settle     --objects_bind-->
 *   decide/ownership --objects_drop-->
 *
 * An object is what a resource stores under an id that it chose: a response, a
 * file, a batch, a vector store, a conversation, or the hash of a realtime
 * session's secret. The caller whose request created the object is its owner,
 * on every node. An id that was not created through this gateway has no owner.
 * The first binding of an id is final: an id cannot be taken over.
 *
 * A response or conversation is bound together with its family (api/family),
 * under an id of its own: all that belongs to it has the same owner and is at
 * the same resource.
 *
 * With Redis, each binding made here is kept in memory as well and is found
 * there while Redis is away. Memory is bounded; the entry used longest ago is
 * dropped first. A find renews the time to live of an object, unless the object
 * has an expiry of its own (ttl_ms > 0).
 */
#ifndef STORE_OBJECTS_H
#define STORE_OBJECTS_H

#include "base/clock.h"
#include "base/str.h"
#include "store/redis_link.h"

enum {
	OBJECTS_MAX = 100000,   /* entries in memory, per process */
	OBJECT_ID_MAX = 256,    /* bytes */
	OBJECT_TEXT_MAX = 2048, /* bytes of all members together */
};

struct objects;

/* A member with a control character is refused: members are stored one per
 * line. */
struct object {
	struct str owner;    /* the caller as text: identity_owner() */
	struct str resource; /* name of the resource that stores it; required */
	struct str model;    /* public name; empty: it has none */
	struct str origin;   /* id of the request that is charged when a
	                      * background response is ready; else empty */
	struct str caller; /* caller_text() for a session secret; else empty */
	uint64_t ttl_ms;   /* to bind: its own expiry; 0: the common time to
	                    * live. Not stored, so 0 when found. */
};

enum object_status {
	OBJECT_FOUND = 0,
	OBJECT_UNKNOWN = 1,
	OBJECT_FAILED = 2, /* Redis did not answer and memory has no entry */
	OBJECT_WAIT = 3,   /* Redis was asked; the callback gets the result */
};

/* `o` is valid during the call, and not NULL only for OBJECT_FOUND. */
typedef void objects_found_cb(void *ctx, uint64_t ref,
                              enum object_status status,
                              const struct object *o);
typedef void objects_bound_cb(void *ctx, bool stored);

/* What a find does to the time to live. */
enum object_life {
	OBJECT_LIVES_ON = 0, /* renews it */
	OBJECT_EXPIRES = 1,  /* leaves it: the expiry was fixed by the bind */
};

/* Both arguments are borrowed. NULL without memory. */
struct objects *objects_new(const struct clock *clock, struct redis_link *link);

/* Calls no callback. Calls in flight on the link still point into it, so free
 * the link next, without running the loop in between. */
void objects_free(struct objects *os);

/* `prefix` is copied. `shared`: there is a Redis. `ttl_ms`: the common time to
 * live without use. False when the prefix is too long. */
bool objects_configure(struct objects *os, struct str prefix, bool shared,
                       uint64_t ttl_ms);

/* OBJECT_WAIT: cb runs once, later. With any other status cb does not run; for
 * OBJECT_FOUND *out is valid until the next call. `ref` is passed to cb. */
enum object_status objects_find(struct objects *os, struct str id,
                                enum object_life life, objects_found_cb *cb,
                                void *ctx, uint64_t ref, struct object *out);

enum { OBJECT_FAMILY_MAX = 32 };

/* The id under which a family is bound. Its ':' is in no id of a path; a body
 * may name it, but then it must be the caller's. */
struct str objects_family_id(struct str family, char space[OBJECT_FAMILY_MAX]);

/* Make o->owner the owner of an id. cb (may be NULL) runs once, before this
 * returns or later. `stored` is false when the id has another owner or other
 * members, when the object is not valid or there is no memory, and when there
 * is a Redis that did not store it (the binding then holds in this process
 * only). Everything is copied. */
void objects_bind(struct objects *os, struct str id, const struct object *o,
                  objects_bound_cb *cb, void *ctx);

/* Forget an id, because its resource has deleted the object. Nothing happens
 * when `owner` does not own it. cb as in objects_bind(); `stored` true means
 * that no node finds the id in Redis any more. */
void objects_drop(struct objects *os, struct str id, struct str owner,
                  objects_bound_cb *cb, void *ctx);

#endif
