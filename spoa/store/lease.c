/*
 * store/lease: a cache of the last answers of Redis per limit.
 *
 * An entry is about one limit field of an account, or about one caller (only
 * that it was not blocked). Entries are listed in the order of the answers. At
 * LEASE_KNOWN_MAX the oldest entry is dropped, but never one with unconfirmed
 * amounts: the upper bound in lease.h depends on their sum.
 */
#include "store/lease.h"

#include "base/map.h"
#include "store/list.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	/* An account and a field (check.h), or an account and the three names
	 * of a caller. A longer key is not cached, so Redis is asked. */
	LEASE_KEY_MAX = 1536,
	/* Entries examined to make room. Bounds the time of one answer; when
	 * all of them have unconfirmed amounts the new limit is not cached. */
	LEASE_LOOK_MAX = 8,
};

struct lease_entry {
	struct list order; /* in struct lease, oldest answer first */
	bool is_valid;     /* false: forgotten; of a caller: blocked */
	uint64_t asked_us; /* when the answered call was sent, monotonic */
	/* The configuration that the answer belongs to. A reload can change
	 * both; the entry then does not match the charge any more. */
	enum limit_window window;
	uint64_t configured;

	uint64_t limit; /* in force: the configured one or an operator's */
	int64_t remaining;
	uint64_t reset_ms;
	uint64_t unconfirmed; /* admitted here, not answered by Redis yet */
	struct str key;       /* points behind this struct */
};

struct lease {
	const struct clock *clock;
	struct map map;
	struct list order;
};

struct lease_key {
	char text[LEASE_KEY_MAX];
	size_t len;
};

static struct str lease_key_text(const struct lease_key *k)
{
	return str_of(k->text, k->len);
}

static bool lease_key_append(struct lease_key *k, struct str s)
{
	if (s.len > sizeof(k->text) - k->len)
		return false;
	if (s.len > 0)
		memcpy(k->text + k->len, s.p, s.len);
	k->len += s.len;
	return true;
}

/* A key is KIND LEN,LEN,LEN: and the names one after the other. The lengths are
 * in front because names may contain any separator; without them two different
 * callers could have the same key. */
static bool lease_key_begin(struct lease_key *k, char what, struct str account,
                            size_t a, size_t b)
{
	int n = snprintf(k->text, sizeof(k->text), "%c%zu,%zu,%zu:", what,
	                 account.len, a, b);

	k->len = (size_t)n;
	return lease_key_append(k, account);
}

static bool lease_key_of_limit(struct lease_key *k,
                               const struct store_reservation *r,
                               const struct store_charge *c)
{
	return lease_key_begin(k, 'l', r->account, 0, 0) &&
	       lease_key_append(k, c->field);
}

static bool lease_key_of_caller(struct lease_key *k,
                                const struct store_reservation *r)
{
	const struct store_caller *who = r->caller;

	if (!who)
		return false;
	return lease_key_begin(k, 'c', r->account, who->consumer.len,
	                       who->app.len) &&
	       lease_key_append(k, who->consumer) &&
	       lease_key_append(k, who->app) && lease_key_append(k, who->agent);
}

/* -------------------------------------------------------------- entries */

static void lease_entry_free(struct lease *l, struct lease_entry *k)
{
	map_del(&l->map, k->key);
	list_del(&k->order);
	free(k);
}

static bool lease_make_room(struct lease *l)
{
	struct list *at = l->order.next;
	int i;

	if (l->map.n < LEASE_KNOWN_MAX)
		return true;
	for (i = 0; i < LEASE_LOOK_MAX && at != &l->order; i++) {
		struct lease_entry *k =
			list_entry(at, struct lease_entry, order);

		at = at->next;
		if (k->unconfirmed > 0)
			continue;
		lease_entry_free(l, k);
		return true;
	}
	return false;
}

/* Find or create. NULL: no room or no memory; the limit is then not cached and
 * Redis is asked for it each time. */
static struct lease_entry *lease_entry_for(struct lease *l, struct str key)
{
	struct lease_entry *k = map_get(&l->map, key);

	if (k)
		return k;
	if (!lease_make_room(l))
		return NULL;
	k = calloc(1, sizeof(*k) + key.len);
	if (!k)
		return NULL;
	memcpy(k + 1, key.p, key.len);
	k->key = str_of((char *)(k + 1), key.len);
	list_init(&k->order);
	if (!map_put(&l->map, key, k)) {
		free(k);
		return NULL;
	}
	return k;
}

static void lease_entry_refresh(struct lease *l, struct lease_entry *k,
                                uint64_t asked_us)
{
	k->is_valid = true;
	k->asked_us = asked_us;
	list_del(&k->order);
	list_add_last(&l->order, &k->order);
}

/* The age counts from the send, not from the answer: Redis computed the answer
 * at some time in between. */
static bool lease_is_fresh(const struct lease *l, const struct lease_entry *k)
{
	return k && k->is_valid &&
	       clock_mono_us(l->clock) - k->asked_us <=
	               LEASE_FRESH_MS * UINT64_C(1000);
}

/* -------------------------------------------------------------------- take */

/* The entry of the limit if the three conditions of lease.h hold, else NULL. */
static struct lease_entry *lease_find_room(const struct lease *l,
                                           const struct store_reservation *r,
                                           const struct store_charge *c)
{
	struct lease_entry *k;
	struct lease_key key;
	uint64_t sum;

	if (c->share <= 0 || !lease_key_of_limit(&key, r, c))
		return NULL;
	k = map_get(&l->map, lease_key_text(&key));
	if (!lease_is_fresh(l, k) || k->window != c->window ||
	    k->configured != c->limit || c->amount > k->limit)
		return NULL;
	sum = k->unconfirmed + c->amount;
	if (k->remaining < 0 || sum > (uint64_t)k->remaining ||
	    (double)sum > c->share * (double)k->limit)
		return NULL;
	return k;
}

static bool lease_caller_is_free(const struct lease *l,
                                 const struct store_reservation *r)
{
	struct lease_key key;

	return lease_key_of_caller(&key, r) &&
	       lease_is_fresh(l, map_get(&l->map, lease_key_text(&key)));
}

/* The time until a bucket is full follows from what is missing, because it
 * refills steadily. The end of a fixed window only comes nearer. */
static uint64_t lease_reset_ms(const struct lease *l,
                               const struct lease_entry *k, int64_t remaining)
{
	uint64_t passed_ms = (clock_mono_us(l->clock) - k->asked_us) / 1000;

	if (k->window == WINDOW_MINUTE && remaining >= (int64_t)k->limit)
		return 0;
	if (k->window == WINDOW_MINUTE)
		return (uint64_t)((double)((int64_t)k->limit - remaining) /
		                  (double)k->limit * 60000);
	return k->reset_ms > passed_ms ? k->reset_ms - passed_ms : 0;
}

/* Two passes: nothing may change when one of the limits has no room. */
bool lease_take(struct lease *l, const struct store_reservation *r,
                struct store_result *res)
{
	struct lease_entry *of[STORE_MAX_CHARGES];
	size_t i;

	if (r->n_charges == 0 || r->n_charges > STORE_MAX_CHARGES ||
	    !lease_caller_is_free(l, r))
		return false;
	for (i = 0; i < r->n_charges; i++) {
		of[i] = lease_find_room(l, r, &r->charges[i]);
		if (!of[i])
			return false;
	}
	*res = (struct store_result){.status = STORE_OK};
	for (i = 0; i < r->n_charges; i++) {
		of[i]->unconfirmed += r->charges[i].amount;
		res->limit[i] = of[i]->limit;
		res->remaining[i] =
			of[i]->remaining - (int64_t)of[i]->unconfirmed;
		res->reset_ms[i] = lease_reset_ms(l, of[i], res->remaining[i]);
	}
	return true;
}

void lease_confirm(struct lease *l, const struct store_reservation *r)
{
	struct lease_entry *k;
	struct lease_key key;
	size_t i;

	for (i = 0; i < r->n_charges; i++) {
		if (!lease_key_of_limit(&key, r, &r->charges[i]))
			continue;
		/* entries with unconfirmed amounts are never dropped, so the
		 * entry exists; the check is for keys that do not fit */
		k = map_get(&l->map, lease_key_text(&key));
		if (k)
			k->unconfirmed -= r->charges[i].amount;
	}
}

/* ------------------------------------------------------------------- learn */

/* Only leased limits are cached: others are never read from here. */
static void lease_learn_limit(struct lease *l,
                              const struct store_reservation *r,
                              const struct store_result *res, size_t i,
                              uint64_t asked_us)
{
	const struct store_charge *c = &r->charges[i];
	struct lease_entry *k;
	struct lease_key key;

	if (c->share <= 0 || !lease_key_of_limit(&key, r, c))
		return;
	k = lease_entry_for(l, lease_key_text(&key));
	if (!k)
		return;
	k->window = c->window;
	k->configured = c->limit;
	k->limit = res->limit[i];
	k->remaining = res->remaining[i];
	k->reset_ms = res->reset_ms[i];
	lease_entry_refresh(l, k, asked_us);
}

/* A blocked caller gets no new entry, but an old one becomes invalid. */
static void lease_learn_caller(struct lease *l,
                               const struct store_reservation *r, bool blocked,
                               uint64_t asked_us)
{
	struct lease_entry *k;
	struct lease_key key;

	if (!lease_key_of_caller(&key, r))
		return;
	k = blocked ? map_get(&l->map, lease_key_text(&key))
	            : lease_entry_for(l, lease_key_text(&key));
	if (!k)
		return;
	lease_entry_refresh(l, k, asked_us);
	k->is_valid = !blocked;
}

void lease_learn(struct lease *l, const struct store_reservation *r,
                 const struct store_result *res, uint64_t asked_us)
{
	bool leased = false;
	size_t i;

	for (i = 0; i < r->n_charges; i++) {
		lease_learn_limit(l, r, res, i, asked_us);
		leased = leased || r->charges[i].share > 0;
	}
	if (leased)
		lease_learn_caller(l, r, res->status == STORE_BLOCKED,
		                   asked_us);
}

void lease_forget(struct lease *l)
{
	struct list *at, *next;

	for (at = l->order.next; at != &l->order; at = next) {
		struct lease_entry *k =
			list_entry(at, struct lease_entry, order);

		next = at->next;
		if (k->unconfirmed > 0)
			k->is_valid = false;
		else
			lease_entry_free(l, k);
	}
}

size_t lease_known(const struct lease *l)
{
	return l->map.n;
}

struct lease *lease_new(const struct clock *clock)
{
	struct lease *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->clock = clock;
	list_init(&l->order);
	map_init(&l->map, LEASE_KNOWN_MAX);
	return l;
}

void lease_free(struct lease *l)
{
	if (!l)
		return;
	while (!list_empty(&l->order))
		lease_entry_free(l, list_entry(l->order.next,
		                               struct lease_entry, order));
	map_done(&l->map);
	free(l);
}
