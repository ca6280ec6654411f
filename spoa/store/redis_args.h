/*
 * store/redis_args: what is said to the scripts, and what their answers mean.
 */
#ifndef STORE_REDIS_ARGS_H
#define STORE_REDIS_ARGS_H

#include "base/buf.h"
#include "store/redis_link.h"
#include "store/store.h"

/* The arguments of one call. Numbers and keys are written into `text`; other
 * strings are borrowed until the call is made. */
struct redis_args {
	struct str v[REDIS_LINK_ARGS_MAX];
	size_t n;
	struct buf text; /* does not move once begun */
};

/* With the two keys of an account and a request:
 *   PREFIX:{ACCOUNT}:limits   PREFIX:{ACCOUNT}:r:ID
 * False without memory. After either, redis_args_done(). */
bool redis_args_begin(struct redis_args *a, struct str prefix,
                      struct str account, struct str id);
void redis_args_done(struct redis_args *a);

/* A third key, next: PREFIX:{ACCOUNT}:ledger, or PREFIX:{ACCOUNT}:set. */
void redis_args_ledger(struct redis_args *a, struct str prefix,
                       struct str account);
void redis_args_settings(struct redis_args *a, struct str prefix,
                         struct str account);

/* What reserve.lua is asked, after the keys of its account and id. `forced`:
 * it is admitted already, so it is taken also from a limit that is used up and
 * for a caller who is blocked. */
void redis_args_reserve(struct redis_args *a, struct str prefix,
                        const struct store_reservation *r, bool forced);

/* What reserve.lua answers. False: this is something else. `*before`: the
 * record was there. */
bool redis_args_result(const struct redis_link_reply *reply, size_t n_charges,
                       struct store_result *res, bool *before);

void redis_args_str(struct redis_args *a, struct str s);
void redis_args_num(struct redis_args *a, uint64_t n);

/* redis_link_call(); false also when the arguments did not fit. */
bool redis_args_call(struct redis_args *a, struct redis_link *l,
                     enum script script, redis_link_reply_cb *cb, void *ctx);

enum redis_error {
	REDIS_ERROR_FINAL = 0,     /* asking again changes nothing */
	REDIS_ERROR_LATER = 1,     /* it may work in a while */
	REDIS_ERROR_RECONNECT = 2, /* not on this connection */
};

/* By the first word of what Redis said. */
enum redis_error redis_error_of(struct str error);

#endif
