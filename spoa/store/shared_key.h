/*
 * store/shared_key: one random key that all nodes have, kept in Redis.
 *
 *   new random key --scripts/shared_key.lua--> the one in force --> told
 *
 * Asked for until Redis has answered, then again every minute: a key that
 * Redis has lost comes back the same, because a node offers the one it has,
 * and one that was changed there reaches all nodes. Who can read Redis can
 * make tickets; whoever can do that can change the counts themselves, too.
 */
#ifndef STORE_SHARED_KEY_H
#define STORE_SHARED_KEY_H

#include "base/loop.h"
#include "store/redis_link.h"

enum {
	SHARED_KEY_LEN = 32,        /* bytes */
	SHARED_KEY_FIRST_MS = 20,   /* until the first answer */
	SHARED_KEY_AGAIN_MS = 60000 /* after it */
};

struct shared_key;

/* Told whenever the key in force is another one: SHARED_KEY_LEN bytes, valid
 * during the call. */
typedef void shared_key_cb(void *ctx, const uint8_t *key);

/* `first` is offered when Redis has none: SHARED_KEY_LEN random bytes, copied.
 * Asks nothing before shared_key_configure(). loop and link are borrowed. NULL
 * without memory. An answer in flight points into it: free the link next,
 * without running the loop in between. */
struct shared_key *shared_key_new(struct loop *loop, struct redis_link *link,
                                  const uint8_t *first, shared_key_cb *told,
                                  void *ctx);
void shared_key_free(struct shared_key *k); /* wipes; accepts NULL */

/* Ask for PREFIX:ticket-key from now on; `shared` false: there is no Redis, and
 * nothing is asked. `prefix` is copied. */
void shared_key_configure(struct shared_key *k, struct str prefix, bool shared);

#endif
