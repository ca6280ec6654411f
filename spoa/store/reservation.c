/*
 * store/reservation: helpers for a reservation that outlives its request.
 *
 *   reservation_copy       store/redis, store/writes: a reserve in flight
 *   reservation_give_back  decide/reserve: denied, or nobody was told
 *                          usage/settle: HAProxy says that it did not wait
 */
#include "store/reservation.h"

#include <stdlib.h>

/* One block of memory: this struct, the charges, then the bytes of all strings.
 * `r` is first, so that free() of its address frees the block. */
struct resv_copy {
	struct store_reservation r;
	struct store_caller caller;
	struct store_charge charges[];
};

static size_t resv_text_len(const struct store_reservation *r)
{
	size_t i, n = r->account.len + r->id.len;

	if (r->caller)
		n += r->caller->consumer.len + r->caller->app.len +
		     r->caller->agent.len;
	for (i = 0; i < r->n_charges; i++)
		n += r->charges[i].field.len;
	return n;
}

/* Append a string to the block and return where it is now. */
static struct str resv_copy_text(char **at, struct str s)
{
	struct str copy = str_of(*at, s.len);

	if (s.len > 0)
		memcpy(*at, s.p, s.len);
	*at += s.len;
	return copy;
}

/* *r is copied first, so fields that are no pointers need no line here. */
struct store_reservation *reservation_copy(const struct store_reservation *r)
{
	size_t head =
		sizeof(struct resv_copy) + r->n_charges * sizeof(*r->charges);
	struct resv_copy *c = malloc(head + resv_text_len(r));
	char *at;
	size_t i;

	if (!c)
		return NULL;
	at = (char *)c + head;
	c->r = *r;
	c->r.account = resv_copy_text(&at, r->account);
	c->r.id = resv_copy_text(&at, r->id);
	c->r.charges = c->charges;
	for (i = 0; i < r->n_charges; i++) {
		c->charges[i] = r->charges[i];
		c->charges[i].field = resv_copy_text(&at, r->charges[i].field);
	}
	if (r->caller) {
		c->caller.consumer = resv_copy_text(&at, r->caller->consumer);
		c->caller.app = resv_copy_text(&at, r->caller->app);
		c->caller.agent = resv_copy_text(&at, r->caller->agent);
		c->r.caller = &c->caller;
	}
	return &c->r;
}

void reservation_give_back(struct store_memory *m, struct store_redis *redis,
                           struct str account, struct str id, bool local)
{
	static const struct store_usage nothing;

	/* whoever settles first takes the reservation out of the store, so a
	 * second call and a settlement that comes as well do no harm */
	if (local)
		store_memory_settle(m, account, id, &nothing);
	else
		store_redis_settle(redis, account, id, &nothing, NULL, NULL);
}
