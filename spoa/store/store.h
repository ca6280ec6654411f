/*
 * store: where limits are counted. One interface, two stores.
 *
 *   decide/reserve --reserve--> store --> memory   (this process)
 *   usage/settle   --settle-->        \-> redis    (all nodes)
 *
 * A reservation is a record by request id. Reserving takes from all limits or
 * from none. Settling replaces what was reserved by what was used, once: a
 * second settle of the same id, or one of an unknown id, changes nothing and
 * says so. A reservation that nobody settles stays charged; its record goes
 * after STORE_RECORD_TTL_S.
 *
 * All state of an account (a team, or a consumer without a team) lives in
 * Redis keys with one hash tag, so a call touches one slot:
 *   PREFIX:{ACCOUNT}:limits    hash, one field per limit and scope
 *   PREFIX:{ACCOUNT}:r:ID      hash, the record of one request; for a minute
 *                              after its settle, which one that was
 *   PREFIX:{ACCOUNT}:ledger    stream, one entry per settled request
 *   PREFIX:{ACCOUNT}:set       hash, what operators changed at run time
 * Beside them PREFIX:blocked (store/blocked.h) and PREFIX:audit (store/tune.h).
 *
 * Minute limits are token buckets: capacity = amount, refill = amount per 60
 * s, the level may go negative when more was used than reserved (debt). Hour,
 * day and month are fixed windows in UTC. What is open (streams in flight) is
 * given back whole by its settle, or forgotten after its record. The store's
 * clock (Redis TIME) is the only one that counts. Time stepping back is treated
 * as no time passing.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/clock.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "base/str.h"
#include "conf/policy.h"

enum {
	STORE_MAX_CHARGES = 16,
	STORE_RECORD_TTL_S = 7200, /* longer than any stream may last */
	STORE_ID_MAX = 64,
	STORE_PENDING_MAX = 10000, /* writes kept while Redis is away */
};

/* One limit to take from. */
struct store_charge {
	struct str field; /* "LIMIT" or "LIMIT:SCOPE": unique per account */
	enum limit_unit unit;
	enum limit_window window;
	uint64_t limit;  /* its amount */
	uint64_t amount; /* to reserve: requests, tokens or nano-dollars */
	/* of the limit, that a process may have admitted before Redis has
	 * confirmed it; 0: never any */
	double share;
};

/* Who may have been blocked at run time. */
struct store_caller {
	struct str consumer, app, agent;
};

struct store_reservation {
	struct str account;
	struct str id; /* of the request: [A-Za-z0-9-], at most STORE_ID_MAX */
	const struct store_charge *charges;
	size_t n_charges;                  /* 0: only the record is made */
	const struct store_caller *caller; /* NULL: nobody to block */
};

enum store_status {
	STORE_OK = 0,
	STORE_REFUSED = 1,   /* a limit is used up; nothing was taken */
	STORE_TOO_LARGE = 2, /* more than a limit ever allows at once */
	STORE_UNKNOWN = 3,   /* settle: no such open reservation */
	STORE_FAILED = 4,    /* no answer in time, not connected, bad answer */
	STORE_BLOCKED = 5,   /* the caller, by an operator; Redis only */
};

struct store_result {
	enum store_status status;
	size_t refused;    /* index of the charge that refused; of several,
	                    * that with the longest retry */
	uint64_t retry_ms; /* STORE_REFUSED: when this amount fits again */
	int64_t remaining[STORE_MAX_CHARGES]; /* after the call, per charge */
	uint64_t reset_ms[STORE_MAX_CHARGES]; /* until full / window's end */
	/* of each charge: its own, or what an operator has set instead */
	uint64_t limit[STORE_MAX_CHARGES];
	const char *error; /* STORE_FAILED: what happened; a constant */
};

typedef void store_reserve_cb(void *ctx, uint64_t ref,
                              const struct store_result *res);
typedef void store_settle_cb(void *ctx, struct str id,
                             enum store_status status);

/* What was really used, by unit. */
struct store_usage {
	uint64_t requests;
	uint64_t tokens;
	uint64_t nano_usd;
	/* Written to the account's ledger by the very call that settles, so it
	 * is there when and only when that has counted. Copied; may be empty.
	 * The memory store has no ledger. */
	struct str note;
};

/* ---------------------------------------------------------------- memory */

/* Bounded: at the maximum the oldest record goes first, and stays charged; a
 * limit that is not there yet is STORE_FAILED when none of the others can be
 * forgotten without losing count. */
enum {
	STORE_MEMORY_RECORDS = 100000,
	STORE_MEMORY_LIMITS = 100000,
};

struct store_memory;

struct store_memory *store_memory_new(const struct clock *clock);
void store_memory_free(struct store_memory *m);

/* Answers at once into *res. Everything in `r` is copied. */
void store_memory_reserve(struct store_memory *m,
                          const struct store_reservation *r,
                          struct store_result *res);
enum store_status store_memory_settle(struct store_memory *m,
                                      struct str account, struct str id,
                                      const struct store_usage *used);

/* Reservations not settled yet: for tests. */
size_t store_memory_open(const struct store_memory *m);

/* ----------------------------------------------------------------- redis */

struct store_redis;

struct store_redis *store_redis_new(struct loop *loop,
                                    const struct clock *clock,
                                    struct metrics *metrics);

/* Whoever still waits is not called any more. Not from within a callback. */
void store_redis_free(struct store_redis *s);

/* Connect as the policy says; on reload reconnect only when that changed. The
 * policy is referenced. False with *error (a constant) when this build cannot
 * do what is asked (rediss:// without TLS in hiredis). */
bool store_redis_configure(struct store_redis *s, struct policy *p,
                           const char **error);

/* Its connection, for what else is kept there; lives as long as it does. */
struct redis_link *store_redis_link(const struct store_redis *s);

bool store_redis_connected(const struct store_redis *s);

/* `cb` runs once, never from within this call, by the policy's deadline at
 * the latest, with STORE_FAILED when Redis did not answer. False: not started
 * (not connected, too many in flight); cb never runs. An answer to a reserve
 * that comes after its deadline is settled to zero use at once, so a slow
 * Redis does not leave charges behind. */
bool store_redis_reserve(struct store_redis *s,
                         const struct store_reservation *r,
                         store_reserve_cb *cb, void *ctx, uint64_t ref);

/* Admit without waiting for Redis, when what is known of these limits is enough
 * for that (see store/lease.h). True: *res is as if Redis had answered, and the
 * reservation is on its way to it, sent again until it is there; it counts also
 * where another node was faster. False: nothing has happened; reserve. */
bool store_redis_lease(struct store_redis *s, const struct store_reservation *r,
                       struct store_result *res);

/* Kept and sent again until Redis has answered, up to STORE_PENDING_MAX; more
 * are dropped and counted. `cb` may be NULL. It runs once: later, or before
 * this returns when the settle is dropped (STORE_FAILED). One that had to be
 * sent again because its answer was lost is told STORE_OK, if that was within
 * a minute; after that STORE_UNKNOWN, although it has counted. */
void store_redis_settle(struct store_redis *s, struct str account,
                        struct str id, const struct store_usage *used,
                        store_settle_cb *cb, void *ctx);

/* Writes that Redis has not answered yet: to be waited for, a moment, before
 * the process ends. */
size_t store_redis_pending(const struct store_redis *s);

/* Begin to count, the gauges of this connection under the worker's number. */
void store_redis_label(struct store_redis *s, unsigned worker);

#endif
