/*
 * What any store must do, as one table, and the doors through which the table
 * is run: the memory store, the Lua scripts under a clock of our own, and the
 * whole way through store/redis.
 */
#ifndef TESTS_STORE_SCENARIOS_H
#define TESTS_STORE_SCENARIOS_H

#include "store/store.h"

struct store_door {
	const char *name;
	void (*reserve)(void *ctx, const struct store_reservation *r,
	                struct store_result *res);
	enum store_status (*settle)(void *ctx, struct str account,
	                            struct str id,
	                            const struct store_usage *used);
	/* NULL: time cannot be set; scenarios that need it are left out */
	void (*set_time)(void *ctx, int64_t real_ms);
	void *ctx;
};

/* Mid-period for all windows: 2026-11-18T12:30:00Z. */
#define SCENARIO_START_MS INT64_C(1795005000000)

/* Each scenario has an account of its own. Returns how many were run. */
int store_scenarios_run(const struct store_door *door);

#endif
