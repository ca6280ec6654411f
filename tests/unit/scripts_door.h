/*
 * The scripts of store/redis run by hand, with the server's clock replaced by
 * one of the test's, so that all that depends on time can be compared to the
 * last unit and millisecond.
 */
#ifndef TESTS_SCRIPTS_DOOR_H
#define TESTS_SCRIPTS_DOOR_H

#include "store/scripts.h"
#include "store_scenarios.h"

struct redisContext;

struct scripts_door {
	struct redisContext *redis;
	uint64_t token; /* of the last settle */
	char *text[SCRIPT_COUNT];
};

void scripts_door_init(struct scripts_door *d, const char *socket);
void scripts_door_done(struct scripts_door *d);

/* As struct store_door wants them; ctx is the scripts_door. */
void scripts_set_time(void *ctx, int64_t real_ms);
void scripts_reserve(void *ctx, const struct store_reservation *r,
                     struct store_result *res);
enum store_status scripts_settle(void *ctx, struct str account, struct str id,
                                 const struct store_usage *used);

/* The last settle once more, as after an answer that was lost. */
enum store_status scripts_settle_again(void *ctx, struct str account,
                                       struct str id,
                                       const struct store_usage *used);

/* What was admitted without asking. */
void scripts_force(struct scripts_door *d, const struct store_reservation *r,
                   struct store_result *res);

/* A settle to zero that leaves a mark for an unknown id. */
enum store_status scripts_cancel(struct scripts_door *d, struct str account,
                                 struct str id, unsigned mark_ms);

#endif
