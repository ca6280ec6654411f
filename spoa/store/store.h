/*
 * store: the limit counters. One interface, two stores.
 *
 *   decide/reserve --reserve--> store --> memory   (this process)
 *   usage/settle   --settle-->        \-> redis    (all nodes)
 *
 * A request is counted in two steps. The reserve takes an estimate from all of
 * its limits, or from none of them, and writes a record under the request id.
 * The settle replaces the estimate by the real use and deletes the record. It
 * takes effect once: a second settle of the same id, or a settle of an unknown
 * id, changes nothing and returns STORE_UNKNOWN. A reservation that is never
 * settled stays charged with its estimate; its record expires after
 * STORE_RECORD_TTL_S.
 *
 * All state of an account (a team, or a consumer without a team) is in Redis
 * keys with the same hash tag, so that a script call stays in one slot of a
 * Redis Cluster:
 *   PREFIX:{ACCOUNT}:limits    hash, one field per limit and scope
 *   PREFIX:{ACCOUNT}:r:ID      hash, the record of one request; for one minute
 *                              after the settle it holds the settle's token
 *   PREFIX:{ACCOUNT}:ledger    stream, one entry per settled request
 *   PREFIX:{ACCOUNT}:set       hash, changes that operators made at run time
 * Keys outside of an account: PREFIX:ticket-key (store/shared_key.h),
 * PREFIX:blocked (store/blocked.h), PREFIX:audit
 * (store/tune.h) and PREFIX:{o:ID} (store/objects.h).
 *
 * A limit per minute is a token bucket: capacity = amount, refill = amount per
 * 60 s. Its level becomes negative (a debt) when a request used more than it
 * reserved. Hour, day and month are fixed windows in UTC. A concurrency limit
 * counts open reservations: the settle returns the whole amount, or it expires
 * some time after the record. Time is read from the store's own clock, which is
 * Redis TIME or the clock of this process. A clock that steps back counts as no
 * time passing. store/window.h has the arithmetic.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/clock.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "base/str.h"
#include "conf/policy.h"

enum {
	/* limits of one consumer; conf/options has the same maximum */
	STORE_MAX_CHARGES = 16,
	/* Age at which an open reservation counts as lost. haproxy.cfg ends
	 * idle requests long before that (timeout server 600s, tunnel 1h). */
	STORE_RECORD_TTL_S = 7200,
	/* HAProxy's unique-id is a UUID of 36 characters */
	STORE_ID_MAX = 64,
	/* Writes kept while Redis is away, each with its ledger line: a few
	 * minutes of traffic in bounded memory. */
	STORE_PENDING_MAX = 10000,
};

/* One limit to charge, and how much. */
struct store_charge {
	struct str field; /* "LIMIT" or "LIMIT:SCOPE": unique per account */
	enum limit_unit unit;
	enum limit_window window;
	uint64_t limit;  /* as configured, in the unit of the limit */
	uint64_t amount; /* to reserve: requests, tokens or nano-dollars */
	/* Share of `limit` (0..1) that one process may admit before Redis has
	 * confirmed it, see store/lease.h. 0: mode exact. */
	double share;
};

/* The names under which operators can block a caller at run time. */
struct store_caller {
	struct str consumer, app, agent;
};

/* The request of a reserve. Everything it points to is borrowed for the call.
 */
struct store_reservation {
	struct str account;
	struct str id; /* of the request: [A-Za-z0-9-], at most STORE_ID_MAX */
	const struct store_charge *charges;
	size_t n_charges;                  /* 0: only the record is made */
	const struct store_caller *caller; /* NULL: blocks are not looked up */
};

enum store_status {
	STORE_OK = 0,
	/* the numbers are also those of scripts/reserve.lua and settle.lua */
	STORE_REFUSED = 1,   /* a limit is used up; nothing was taken */
	STORE_TOO_LARGE = 2, /* more than the whole limit; nothing was taken */
	STORE_UNKNOWN = 3,   /* settle: no such open reservation */
	STORE_FAILED = 4,    /* no answer in time, not connected, bad answer */
	STORE_BLOCKED = 5,   /* an operator blocked the caller; Redis only */
};

struct store_result {
	enum store_status status;
	size_t refused;    /* index of the charge that refused; of several,
	                    * the one with the longest retry */
	uint64_t retry_ms; /* STORE_REFUSED: time until the amount fits, if
	                    * nobody else takes from the limit */
	int64_t remaining[STORE_MAX_CHARGES]; /* after the call, per charge;
	                                       * negative: debt */
	uint64_t reset_ms[STORE_MAX_CHARGES]; /* until the bucket is full or
	                                       * the window ends */
	/* The amount in force per charge: the configured one, or the one that
	 * an operator has set (store/tune.h). */
	uint64_t limit[STORE_MAX_CHARGES];
	const char *error; /* STORE_FAILED: the reason; a constant */
};

/* `res` is valid during the call. `ref` is the caller's own handle; the request
 * is looked up by it, because it may have ended in the meantime: it may have
 * waited for something else before, and its own deadline passes first. False
 * says that it has; the store then gives back what was reserved. */
typedef bool store_reserve_cb(void *ctx, uint64_t ref,
                              const struct store_result *res);
typedef void store_settle_cb(void *ctx, struct str id,
                             enum store_status status);

/* The real use of a request, by unit. */
struct store_usage {
	uint64_t requests;
	uint64_t tokens;
	uint64_t nano_usd;
	/* Line for the account's ledger. The script that settles also writes
	 * it, so the line exists if and only if the settle took effect. Copied;
	 * may be empty. The memory store ignores it. */
	struct str note;
};

/* ---------------------------------------------------------------- memory */

/* Bounds of the memory store; an element takes a few hundred bytes. At the
 * maximum of records the oldest one is dropped, and its reservation stays
 * charged. At the maximum of limits a new limit is STORE_FAILED, unless an
 * unused one can be dropped. */
enum {
	STORE_MEMORY_RECORDS = 100000,
	STORE_MEMORY_LIMITS = 100000,
};

struct store_memory;

/* `clock` is borrowed and outlives the store. NULL without memory. */
struct store_memory *store_memory_new(const struct clock *clock);
void store_memory_free(struct store_memory *m); /* accepts NULL */

/* Writes the result to *res before it returns. Everything in `r` is copied. An
 * id that is open already is STORE_OK and takes nothing. STORE_FAILED: bad
 * names (store/check.h) or no memory; nothing was taken. */
void store_memory_reserve(struct store_memory *m,
                          const struct store_reservation *r,
                          struct store_result *res);

/* STORE_OK, or STORE_UNKNOWN when this process has no such open reservation. */
enum store_status store_memory_settle(struct store_memory *m,
                                      struct str account, struct str id,
                                      const struct store_usage *used);

/* Number of open reservations, for tests. */
size_t store_memory_open(const struct store_memory *m);

/* ----------------------------------------------------------------- redis */

struct store_redis;

/* All three are borrowed and outlive the store; `metrics` may be NULL. It does
 * not connect before store_redis_configure(). NULL without memory. */
struct store_redis *store_redis_new(struct loop *loop,
                                    const struct clock *clock,
                                    struct metrics *metrics);

/* Pending callbacks are dropped, not called. Must not be called from within a
 * callback of the store. Accepts NULL. */
void store_redis_free(struct store_redis *s);

/* Connect to the Redis of the policy. A reload reconnects only if an address,
 * a credential, TLS or the database has changed. The store takes a reference to
 * the policy. False with *error (a constant) when this build cannot connect
 * that way (rediss:// with a hiredis without TLS); nothing has changed then. */
bool store_redis_configure(struct store_redis *s, struct policy *p,
                           const char **error);

/* The connection, shared with store/objects and store/blocked. It lives as long
 * as the store. */
struct redis_link *store_redis_link(const struct store_redis *s);

bool store_redis_connected(const struct store_redis *s);

/* Ask Redis. `cb` runs once, never from within this call, and not later than
 * redis.deadline_ms; then with STORE_FAILED. False: the call was not started
 * (not connected, bad names, too many calls in flight) and cb never runs.
 *
 * When the deadline or the request has ended first, or the connection is lost,
 * the store gives the reservation back itself: such an answer is settled with
 * zero use, and a call without an answer is cancelled. A slow Redis leaves no
 * charges behind. */
bool store_redis_reserve(struct store_redis *s,
                         const struct store_reservation *r,
                         store_reserve_cb *cb, void *ctx, uint64_t ref);

/* Admit without waiting for Redis, if the leased limits allow it (see
 * store/lease.h). True: *res is filled as by Redis, and the reservation is
 * queued as a write that is sent until Redis has it. Redis then takes it even
 * from a limit that other nodes have used up in the meantime. False: nothing
 * has changed, call store_redis_reserve(). */
bool store_redis_lease(struct store_redis *s, const struct store_reservation *r,
                       struct store_result *res);

/* Queue a settle. It is kept and sent again until Redis has answered. Beyond
 * STORE_PENDING_MAX it is dropped and counted. `cb` may be NULL. It runs once:
 * later, or before this returns when the settle is dropped (STORE_FAILED) or
 * the names are bad (STORE_UNKNOWN). A settle whose answer was lost with the
 * connection is sent again and reports STORE_OK if that happens within a
 * minute; later it reports STORE_UNKNOWN although it took effect. */
void store_redis_settle(struct store_redis *s, struct str account,
                        struct str id, const struct store_usage *used,
                        store_settle_cb *cb, void *ctx);

/* Number of writes without an answer. The agent waits for 0 before it exits,
 * within its drain limit. */
size_t store_redis_pending(const struct store_redis *s);

/* Register the metrics; gauges of this connection get the label
 * worker="NUMBER". Without this call nothing is measured. */
void store_redis_label(struct store_redis *s, unsigned worker);

#endif
