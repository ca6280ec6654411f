/*
 * What limits mean, told as simply as possible, to compare the stores with.
 *
 * It shares nothing with them. A window's count is not kept: it is the sum
 * over all records of its period, what was reserved for those that are open
 * and what was used for those that are settled. Periods come from the C
 * library's calendar. A bucket's level is one exact number, in 1/60000.
 */
#ifndef TESTS_STORE_MODEL_H
#define TESTS_STORE_MODEL_H

#include "store/store.h"

enum { MODEL_LIMITS = 6, MODEL_RECORDS = 20000 };

enum model_state {
	MODEL_NONE = 0, /* never reserved, or refused */
	MODEL_OPEN = 1,
	MODEL_SETTLED = 2,
};

struct model_record {
	enum model_state state;
	bool charged[MODEL_LIMITS];
	uint64_t amount[MODEL_LIMITS], used[MODEL_LIMITS];
	int64_t period[MODEL_LIMITS];
};

struct model {
	const struct store_charge *limits; /* MODEL_LIMITS of them */
	int64_t now;
	struct {
		__int128 level; /* of a bucket */
		int64_t at;     /* bucket: ms; window: the last period */
		bool begun;
	} of[MODEL_LIMITS];
	struct model_record records[MODEL_RECORDS]; /* by number */
	size_t n_records;
};

struct model *model_new(const struct store_charge *limits);

/* What a store must answer; amount[i] counts where charged[i]. Changes the
 * model as the call changes a store. */
enum store_status model_reserve(struct model *m, size_t record,
                                const bool *charged, const uint64_t *amount);
enum store_status model_settle(struct model *m, size_t record,
                               const struct store_usage *used);

int64_t model_remaining(const struct model *m, size_t limit);

/* Would it be admitted so much later, if nothing happened until then? */
bool model_would_fit(const struct model *m, const bool *charged,
                     const uint64_t *amount, uint64_t after_ms);

#endif
