/*
 * store/redis_args: arguments of the limit scripts, and their answers.
 *
 *   redis_args_begin --> redis_args_reserve, _ledger, _num, ... -->
 *   redis_args_call --> redis_args_done
 *
 * The heads of scripts/reserve.lua, settle.lua and tune.lua list the arguments
 * in their order. Errors are sticky: the functions that add return nothing, and
 * redis_args_call() is false when one of them did not fit.
 */
#ifndef STORE_REDIS_ARGS_H
#define STORE_REDIS_ARGS_H

#include "base/buf.h"
#include "store/redis_link.h"
#include "store/store.h"

/* The arguments of one call, on the stack of the caller. Numbers and keys are
 * written into `text`; other strings are borrowed until the call is made. */
struct redis_args {
	struct str v[REDIS_LINK_ARGS_MAX];
	size_t n;
	struct buf text; /* reserved whole in the beginning: `v` points into
	                  * it, so it must not be reallocated */
};

/* Start with the two keys of an account and a request:
 *   PREFIX:{ACCOUNT}:limits   PREFIX:{ACCOUNT}:r:ID
 * False without memory, or when the prefix is too long. Call redis_args_done()
 * in both cases. */
bool redis_args_begin(struct redis_args *a, struct str prefix,
                      struct str account, struct str id);
void redis_args_done(struct redis_args *a);

/* Add the third key, directly after redis_args_begin():
 * PREFIX:{ACCOUNT}:ledger for settle.lua, or
 * PREFIX:{ACCOUNT}:set for reserve.lua and tune.lua. */
void redis_args_ledger(struct redis_args *a, struct str prefix,
                       struct str account);
void redis_args_settings(struct redis_args *a, struct str prefix,
                         struct str account);

/* Add the third key and all arguments of reserve.lua. `forced`: the request was
 * admitted already (store/lease), so it is charged even when a limit is used up
 * or the caller is blocked. */
void redis_args_reserve(struct redis_args *a, struct str prefix,
                        const struct store_reservation *r, bool forced);

/* Read the answer of reserve.lua. False: the reply has another form, and *res
 * is untouched. `*before`: the record of this id existed already. */
bool redis_args_result(const struct redis_link_reply *reply, size_t n_charges,
                       struct store_result *res, bool *before);

void redis_args_str(struct redis_args *a, struct str s);
void redis_args_num(struct redis_args *a, uint64_t n);

/* redis_link_call() with these arguments. False also when they did not fit. */
bool redis_args_call(struct redis_args *a, struct redis_link *l,
                     enum script script, redis_link_reply_cb *cb, void *ctx);

/* What to do with a call that Redis answered with an error. */
enum redis_error {
	REDIS_ERROR_FINAL = 0,     /* fail it; the same call fails again */
	REDIS_ERROR_LATER = 1,     /* repeat it later */
	REDIS_ERROR_RECONNECT = 2, /* repeat it on another connection */
};

/* Classified by the error code, which is the first word of the text. An empty
 * text is REDIS_ERROR_FINAL. */
enum redis_error redis_error_of(struct str error);

#endif
