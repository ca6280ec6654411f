/*
 * store/lease: what this process knows of limits in Redis.
 *
 * Entries are kept in the order in which they were last told. When there are
 * LEASE_KNOWN_MAX the oldest goes, unless something of it is unconfirmed.
 */
#include "store/lease.h"

#include "base/map.h"
#include "store/list.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	LEASE_KEY_MAX = 1536, /* longer ones are never known */
	LEASE_LOOK_MAX = 8,   /* entries asked to make room */
};

/* Of one limit; of a caller only that it was not blocked. */
struct known {
	struct list told; /* the lease's list, oldest first */
	bool is_told;     /* false: forgotten, or blocked */
	uint64_t asked_us;
	/* what a charge must look like for the rest to be about it */
	enum limit_window window;
	uint64_t configured;

	uint64_t limit;
	int64_t remaining;
	uint64_t reset_ms;
	uint64_t unconfirmed;
	struct str key; /* the map's copy */
};

struct lease {
	const struct clock *clock;
	struct map map;
	struct list told;
};

struct key {
	char text[LEASE_KEY_MAX];
	size_t len;
};

static struct str key_str(const struct key *k)
{
	return str_of(k->text, k->len);
}

static bool key_add(struct key *k, struct str s)
{
	if (s.len > sizeof(k->text) - k->len)
		return false;
	if (s.len > 0)
		memcpy(k->text + k->len, s.p, s.len);
	k->len += s.len;
	return true;
}

/* Neither names nor fields hold a NUL or are told apart by one alone: lengths
 * go before them. */
static bool key_begin(struct key *k, char what, struct str account, size_t a,
                      size_t b)
{
	int n = snprintf(k->text, sizeof(k->text), "%c%zu,%zu,%zu:", what,
	                 account.len, a, b);

	k->len = (size_t)n;
	return key_add(k, account);
}

static bool key_of_limit(struct key *k, const struct store_reservation *r,
                         const struct store_charge *c)
{
	return key_begin(k, 'l', r->account, 0, 0) && key_add(k, c->field);
}

static bool key_of_caller(struct key *k, const struct store_reservation *r)
{
	const struct store_caller *who = r->caller;

	if (!who)
		return false;
	return key_begin(k, 'c', r->account, who->consumer.len, who->app.len) &&
	       key_add(k, who->consumer) && key_add(k, who->app) &&
	       key_add(k, who->agent);
}

/* ------------------------------------------------------------- the entries */

static void known_free(struct lease *l, struct known *k)
{
	map_del(&l->map, k->key);
	list_del(&k->told);
	free(k);
}

static bool make_room(struct lease *l)
{
	struct list *at = l->told.next;
	int i;

	if (l->map.n < LEASE_KNOWN_MAX)
		return true;
	for (i = 0; i < LEASE_LOOK_MAX && at != &l->told; i++) {
		struct known *k = list_entry(at, struct known, told);

		at = at->next;
		if (k->unconfirmed > 0)
			continue;
		known_free(l, k);
		return true;
	}
	return false;
}

/* NULL: there is no room for it. */
static struct known *known_for(struct lease *l, struct str key)
{
	struct known *k = map_get(&l->map, key);

	if (k)
		return k;
	if (!make_room(l))
		return NULL;
	k = calloc(1, sizeof(*k) + key.len);
	if (!k)
		return NULL;
	memcpy(k + 1, key.p, key.len);
	k->key = str_of((char *)(k + 1), key.len);
	list_init(&k->told);
	if (!map_put(&l->map, key, k)) {
		free(k);
		return NULL;
	}
	return k;
}

static void tell(struct lease *l, struct known *k, uint64_t asked_us)
{
	k->is_told = true;
	k->asked_us = asked_us;
	list_del(&k->told);
	list_add_last(&l->told, &k->told);
}

static bool is_fresh(const struct lease *l, const struct known *k)
{
	return k && k->is_told &&
	       clock_mono_us(l->clock) - k->asked_us <= LEASE_FRESH_MS * 1000;
}

/* -------------------------------------------------------------------- take */

/* The limit's entry when this amount may be admitted, else NULL. */
static struct known *find_room(const struct lease *l,
                               const struct store_reservation *r,
                               const struct store_charge *c)
{
	struct known *k;
	struct key key;
	uint64_t sum;

	if (c->share <= 0 || !key_of_limit(&key, r, c))
		return NULL;
	k = map_get(&l->map, key_str(&key));
	if (!is_fresh(l, k) || k->window != c->window ||
	    k->configured != c->limit || c->amount > k->limit)
		return NULL;
	sum = k->unconfirmed + c->amount;
	if (k->remaining < 0 || sum > (uint64_t)k->remaining ||
	    (double)sum > c->share * (double)k->limit)
		return NULL;
	return k;
}

static bool caller_is_free(const struct lease *l,
                           const struct store_reservation *r)
{
	struct key key;

	return key_of_caller(&key, r) &&
	       is_fresh(l, map_get(&l->map, key_str(&key)));
}

/* A bucket fills steadily, so its time follows from what is missing; other
 * times run. */
static uint64_t reset_of(const struct lease *l, const struct known *k,
                         int64_t remaining)
{
	uint64_t passed_ms = (clock_mono_us(l->clock) - k->asked_us) / 1000;

	if (k->window == WINDOW_MINUTE && remaining >= (int64_t)k->limit)
		return 0;
	if (k->window == WINDOW_MINUTE)
		return (uint64_t)((double)((int64_t)k->limit - remaining) /
		                  (double)k->limit * 60000);
	return k->reset_ms > passed_ms ? k->reset_ms - passed_ms : 0;
}

bool lease_take(struct lease *l, const struct store_reservation *r,
                struct store_result *res)
{
	struct known *of[STORE_MAX_CHARGES];
	size_t i;

	if (r->n_charges == 0 || r->n_charges > STORE_MAX_CHARGES ||
	    !caller_is_free(l, r))
		return false;
	for (i = 0; i < r->n_charges; i++) {
		of[i] = find_room(l, r, &r->charges[i]);
		if (!of[i])
			return false;
	}
	*res = (struct store_result){.status = STORE_OK};
	for (i = 0; i < r->n_charges; i++) {
		of[i]->unconfirmed += r->charges[i].amount;
		res->limit[i] = of[i]->limit;
		res->remaining[i] =
			of[i]->remaining - (int64_t)of[i]->unconfirmed;
		res->reset_ms[i] = reset_of(l, of[i], res->remaining[i]);
	}
	return true;
}

void lease_confirm(struct lease *l, const struct store_reservation *r)
{
	struct known *k;
	struct key key;
	size_t i;

	for (i = 0; i < r->n_charges; i++) {
		if (!key_of_limit(&key, r, &r->charges[i]))
			continue;
		/* it is there: nothing unconfirmed is ever thrown out */
		k = map_get(&l->map, key_str(&key));
		if (k)
			k->unconfirmed -= r->charges[i].amount;
	}
}

/* ------------------------------------------------------------------- learn */

static void learn_limit(struct lease *l, const struct store_reservation *r,
                        const struct store_result *res, size_t i,
                        uint64_t asked_us)
{
	const struct store_charge *c = &r->charges[i];
	struct known *k;
	struct key key;

	if (c->share <= 0 || !key_of_limit(&key, r, c))
		return;
	k = known_for(l, key_str(&key));
	if (!k)
		return;
	k->window = c->window;
	k->configured = c->limit;
	k->limit = res->limit[i];
	k->remaining = res->remaining[i];
	k->reset_ms = res->reset_ms[i];
	tell(l, k, asked_us);
}

static void learn_caller(struct lease *l, const struct store_reservation *r,
                         bool blocked, uint64_t asked_us)
{
	struct known *k;
	struct key key;

	if (!key_of_caller(&key, r))
		return;
	k = blocked ? map_get(&l->map, key_str(&key))
	            : known_for(l, key_str(&key));
	if (!k)
		return;
	tell(l, k, asked_us);
	k->is_told = !blocked;
}

void lease_learn(struct lease *l, const struct store_reservation *r,
                 const struct store_result *res, uint64_t asked_us)
{
	bool leased = false;
	size_t i;

	for (i = 0; i < r->n_charges; i++) {
		learn_limit(l, r, res, i, asked_us);
		leased = leased || r->charges[i].share > 0;
	}
	if (leased)
		learn_caller(l, r, res->status == STORE_BLOCKED, asked_us);
}

void lease_forget(struct lease *l)
{
	struct list *at, *next;

	for (at = l->told.next; at != &l->told; at = next) {
		struct known *k = list_entry(at, struct known, told);

		next = at->next;
		if (k->unconfirmed > 0)
			k->is_told = false;
		else
			known_free(l, k);
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
	list_init(&l->told);
	map_init(&l->map, LEASE_KNOWN_MAX);
	return l;
}

void lease_free(struct lease *l)
{
	if (!l)
		return;
	while (!list_empty(&l->told))
		known_free(l, list_entry(l->told.next, struct known, told));
	map_done(&l->map);
	free(l);
}
