/*
 * decide/ratelimit: headers that tell a caller what is left of its limits.
 *
 *   decide/reserve: store_result --ratelimit_set--> charge.rate_requests
 *                                                   charge.rate_tokens
 *                                                   charge.warning
 *     --decide/answer--> txn.gw.rate_* --haproxy.cfg--> x-ratelimit-*
 */
#include "decide/ratelimit.h"

#include "decide/decider.h"

#include <inttypes.h>

void ratelimit_duration(struct buf *out, uint64_t ms)
{
	uint64_t s = ms / 1000, rest = ms % 1000;
	int digits = 3;

	if (s == 0 && rest > 0) {
		buf_fmt(out, "%" PRIu64 "ms", rest);
		return;
	}
	if (s >= 3600)
		buf_fmt(out, "%" PRIu64 "h", s / 3600);
	if (s >= 60)
		buf_fmt(out, "%" PRIu64 "m", s / 60 % 60);
	buf_fmt(out, "%" PRIu64, s % 60);
	/* without the zeros at the end: 1500 ms is "1.5s" */
	for (; digits > 0 && rest > 0 && rest % 10 == 0; digits--)
		rest /= 10;
	if (rest > 0)
		buf_fmt(out, ".%0*" PRIu64, digits, rest);
	buf_fmt(out, "s");
}

/* Index of the charge with the least left; c->n when none is of this unit. */
static size_t rate_find_tightest(const struct request_charge *c,
                                 const struct store_result *res,
                                 enum limit_unit unit)
{
	size_t i, found = c->n;

	for (i = 0; i < c->n; i++)
		if (c->items[i].unit == unit &&
		    (found == c->n ||
		     res->remaining[i] < res->remaining[found]))
			found = i;
	return found;
}

/* "LIMIT/REMAINING/RESET", which haproxy.cfg takes apart with field(): one
 * variable in place of three. A level below zero (debt) is told as nothing
 * left. */
static struct str rate_header_text(struct request *r,
                                   const struct store_result *res,
                                   enum limit_unit unit)
{
	char space[96];
	struct buf b = {.p = space, .cap = sizeof(space), .max = sizeof(space)};
	size_t i = rate_find_tightest(&r->charge, res, unit);

	if (i == r->charge.n)
		return STR_NONE;
	buf_fmt(&b, "%" PRIu64 "/%" PRId64 "/", res->limit[i],
	        res->remaining[i] > 0 ? res->remaining[i] : 0);
	ratelimit_duration(&b, res->reset_ms[i]);
	return arena_str(&r->arena, buf_str(&b));
}

static void rate_count_warning(struct metrics *m, struct str limit)
{
	char space[128];
	struct buf labels = {
		.p = space, .cap = sizeof(space), .max = sizeof(space)};

	metrics_label(&labels, "limit", limit);
	metric_add(metrics_get(m, "foundry_limit_warnings_total",
	                       buf_str(&labels)),
	           1);
}

/* Every limit that warns is counted; the caller is told the fullest one. */
static void rate_set_warning(struct request *r, const struct store_result *res)
{
	double fullest = 0;
	size_t i;

	for (i = 0; i < r->charge.n; i++) {
		const struct policy_limit *l = r->charge.limits[i];
		/* what an operator has set at run time, if so */
		double of = (double)res->limit[i];
		double share = (of - (double)res->remaining[i]) / of;

		if (l->warn_at <= 0 || share < l->warn_at)
			continue;
		rate_count_warning(r->decider->metrics, l->name);
		if (share <= fullest)
			continue;
		fullest = share;
		r->charge.warning = l->name;
	}
}

void ratelimit_set(struct request *r, const struct store_result *res)
{
	r->charge.rate_requests = rate_header_text(r, res, UNIT_REQUESTS);
	r->charge.rate_tokens = rate_header_text(r, res, UNIT_TOKENS);
	if (res->status == STORE_OK)
		rate_set_warning(r, res);
}
