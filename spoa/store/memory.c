/*
 * store/memory: limits counted in this process.
 *
 *   records:  account + id ------> struct record -+--+   (oldest first)
 *                                                 v  v
 *   counters: account + field ---> struct counter  counter  counter
 *
 * It is the store of a gateway without Redis, and of limits with
 * on_store_failure "local" while Redis is away. Nothing is shared between the
 * workers; conf/check refuses limits without Redis for more than one.
 *
 * An open record points to the counters it has taken from, and they count these
 * references, so a counter in use is never dropped. Both maps are bounded: at
 * the maximum of records the oldest one is dropped and its reservation stays
 * charged; a new counter is refused when no unused one can be dropped. Cleaning
 * is spread over the calls, a few elements each, so that no call takes long.
 */
#include "store/store.h"

#include "store/check.h"
#include "store/list.h"
#include "store/window.h"

#include <stdlib.h>

enum {
	/* Work per call. More than one record and counter per reserve, so that
	 * cleaning is faster than growth. */
	MEMORY_EXPIRE = 4,  /* records checked for their age */
	MEMORY_SWEEP = 2,   /* counters checked for being unused */
	MEMORY_SEARCH = 64, /* the same when there is no room for a new one */
	MEMORY_KEY_MAX = CHECK_ACCOUNT_MAX + 1 + CHECK_FIELD_MAX,
};

/* One limit of one scope. */
struct counter {
	struct list all;
	struct window window;
	unsigned n_records; /* open records that point here */
	size_t key_len;
	char key[];
};

/* A part of a reservation: the amount taken from one counter. */

struct held_charge {
	struct counter *counter;
	enum limit_unit unit;
	enum limit_window kind;
	int64_t at; /* window.at at the reserve, for window_settle() */
	int64_t amount;
};

/* An open reservation. */

struct record {
	struct list by_age;
	uint64_t made_us; /* monotonic */
	struct str key;   /* points behind the charges */
	size_t n_charges;
	struct held_charge charges[];
};

struct store_memory {
	const struct clock *clock;
	struct map counters;
	struct map records;
	struct list all;    /* counters, the ones swept last at the end */
	struct list by_age; /* records, oldest first */
};

/* ACCOUNT NUL NAME. check_names() refuses an account with a NUL, so two pairs
 * never have the same key. */
struct mem_key {
	char text[MEMORY_KEY_MAX];
};

static struct str mem_key_of(struct mem_key *k, struct str account,
                             struct str name)
{
	memcpy(k->text, account.p, account.len);
	k->text[account.len] = '\0';
	memcpy(k->text + account.len + 1, name.p, name.len);
	return str_of(k->text, account.len + 1 + name.len);
}

struct store_memory *store_memory_new(const struct clock *clock)
{
	struct store_memory *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->clock = clock;
	map_init(&m->counters, STORE_MEMORY_LIMITS);
	map_init(&m->records, STORE_MEMORY_RECORDS);
	list_init(&m->all);
	list_init(&m->by_age);
	return m;
}

static int64_t mem_now_ms(const struct store_memory *m)
{
	int64_t now = clock_real_ms(m->clock);

	return now > 0 ? now : 0;
}

/* ------------------------------------------------------------- cleaning */

static void mem_record_free(struct store_memory *m, struct record *rec)
{
	size_t i;

	for (i = 0; i < rec->n_charges; i++)
		rec->charges[i].counter->n_records--;
	list_del(&rec->by_age);
	map_del(&m->records, rec->key);
	free(rec);
}

static void mem_counter_free(struct store_memory *m, struct counter *e)
{
	list_del(&e->all);
	map_del(&m->counters, str_of(e->key, e->key_len));
	free(e);
}

static struct record *mem_oldest_record(const struct store_memory *m)
{
	if (list_empty(&m->by_age))
		return NULL;
	return list_entry(m->by_age.next, struct record, by_age);
}

static void mem_expire_records(struct store_memory *m)
{
	const uint64_t life_us = STORE_RECORD_TTL_S * UINT64_C(1000000);
	uint64_t now_us = clock_mono_us(m->clock);
	int i;

	for (i = 0; i < MEMORY_EXPIRE; i++) {
		struct record *rec = mem_oldest_record(m);

		if (!rec || now_us - rec->made_us < life_us)
			return;
		mem_record_free(m, rec);
	}
}

static bool mem_has_room(const struct store_memory *m,
                         const struct store_reservation *r)
{
	return m->counters.n + r->n_charges <= STORE_MEMORY_LIMITS;
}

/* Check the next n counters. One that is still needed moves to the end of the
 * list, so all are visited in turn. */
static void mem_sweep_counters(struct store_memory *m, int64_t now, int n)
{
	for (; n > 0 && !list_empty(&m->all); n--) {
		struct counter *e =
			list_entry(m->all.next, struct counter, all);

		if (e->n_records == 0 && window_is_idle(&e->window, now)) {
			mem_counter_free(m, e);
			continue;
		}
		list_del(&e->all);
		list_add_last(&m->all, &e->all);
	}
}

void store_memory_free(struct store_memory *m)
{
	struct record *rec;

	if (!m)
		return;
	while ((rec = mem_oldest_record(m)) != NULL)
		mem_record_free(m, rec);
	while (!list_empty(&m->all))
		mem_counter_free(m,
		                 list_entry(m->all.next, struct counter, all));
	map_done(&m->counters);
	map_done(&m->records);
	free(m);
}

/* --------------------------------------------------------------- reserve */

/* Working copy of the windows of one reservation, advanced to now. It is
 * written back only when the reservation is accepted. `counter` is NULL for a
 * limit without a counter. */
struct view {
	struct counter *counter[STORE_MAX_CHARGES];
	struct window window[STORE_MAX_CHARGES];
};

static void mem_view_load(const struct store_memory *m,
                          const struct store_reservation *r, int64_t now,
                          struct view *v)
{
	size_t i;

	for (i = 0; i < r->n_charges; i++) {
		const struct store_charge *c = &r->charges[i];
		int64_t limit = (int64_t)c->limit;
		struct mem_key key;

		v->counter[i] = map_get(&m->counters,
		                        mem_key_of(&key, r->account, c->field));
		if (!v->counter[i]) {
			window_init(&v->window[i], c->window, limit, now);
			continue;
		}
		v->window[i] = v->counter[i]->window;
		window_advance(&v->window[i], c->window, limit, now);
	}
}

/* A bucket whose time lies in the future (the clock has stepped back) is
 * written back also when the request is refused. Otherwise it would not refill
 * until the clock reaches that time. */
static void mem_view_step_back(struct view *v, size_t n, int64_t now)
{
	size_t i;

	for (i = 0; i < n; i++) {
		struct counter *e = v->counter[i];

		if (e && e->window.kind == WINDOW_MINUTE && e->window.at > now)
			e->window = v->window[i];
	}
}

static void mem_fill_result(const struct store_reservation *r,
                            const struct view *v, int64_t now,
                            enum store_status status, struct store_result *res)
{
	size_t i;

	res->status = status;
	for (i = 0; i < r->n_charges; i++) {
		const struct window *w = &v->window[i];

		res->limit[i] = r->charges[i].limit;
		res->remaining[i] = window_remaining(w);
		res->reset_ms[i] = (uint64_t)window_reset_ms(w, now);
	}
}

static bool mem_is_too_large(const struct store_reservation *r,
                             struct store_result *res)
{
	size_t i;

	for (i = 0; i < r->n_charges; i++)
		if (r->charges[i].amount > r->charges[i].limit) {
			res->refused = i;
			return true;
		}
	return false;
}

/* Of several limits without room the one with the longest wait is reported:
 * before that time the request cannot pass all of them. */
static bool mem_is_refused(const struct store_reservation *r,
                           const struct view *v, int64_t now,
                           struct store_result *res)
{
	bool refused = false;
	size_t i;

	for (i = 0; i < r->n_charges; i++) {
		const struct window *w = &v->window[i];
		int64_t amount = (int64_t)r->charges[i].amount, ms;

		if (amount <= window_remaining(w))
			continue;
		ms = window_retry_ms(w, amount, now);
		if (refused && (uint64_t)ms <= res->retry_ms)
			continue;
		refused = true;
		res->refused = i;
		res->retry_ms = (uint64_t)ms;
	}
	return refused;
}

static struct counter *mem_counter_new(struct store_memory *m,
                                       struct str account, struct str field,
                                       const struct window *w)
{
	struct mem_key key;
	struct str name = mem_key_of(&key, account, field);
	struct counter *e = calloc(1, sizeof(*e) + name.len);

	if (!e)
		return NULL;
	memcpy(e->key, name.p, name.len);
	e->key_len = name.len;
	e->window = *w;
	if (!map_put(&m->counters, name, e)) {
		free(e);
		return NULL;
	}
	list_add_last(&m->all, &e->all);
	return e;
}

static struct record *mem_record_new(struct store_memory *m,
                                     const struct store_reservation *r)
{
	struct mem_key key;
	struct str name = mem_key_of(&key, r->account, r->id);
	size_t parts = r->n_charges * sizeof(struct held_charge);
	struct record *oldest = mem_oldest_record(m), *rec;
	char *text;

	if (m->records.n >= STORE_MEMORY_RECORDS && oldest)
		mem_record_free(m, oldest);
	rec = calloc(1, sizeof(*rec) + parts + name.len);
	if (!rec)
		return NULL;
	text = (char *)rec + sizeof(*rec) + parts;
	memcpy(text, name.p, name.len);
	rec->key = str_of(text, name.len);
	if (!map_put(&m->records, rec->key, rec)) {
		free(rec);
		return NULL;
	}
	rec->made_us = clock_mono_us(m->clock);
	list_add_last(&m->by_age, &rec->by_age);
	return rec;
}

/* All allocations come first, so that a failure half way charges nothing. A
 * counter that was already created then stays, unused, until it is swept. */
static bool mem_charge_all(struct store_memory *m,
                           const struct store_reservation *r, struct view *v)
{
	struct record *rec;
	size_t i;

	for (i = 0; i < r->n_charges; i++)
		if (!v->counter[i]) {
			v->counter[i] = mem_counter_new(m, r->account,
			                                r->charges[i].field,
			                                &v->window[i]);
			if (!v->counter[i])
				return false;
		}
	rec = mem_record_new(m, r);
	if (!rec)
		return false;
	for (i = 0; i < r->n_charges; i++) {
		const struct store_charge *c = &r->charges[i];
		struct held_charge *part = &rec->charges[i];

		window_take(&v->window[i], (int64_t)c->amount);
		v->counter[i]->window = v->window[i];
		part->counter = v->counter[i];
		part->counter->n_records++;
		part->unit = c->unit;
		part->kind = c->window;
		part->at = v->window[i].at;
		part->amount = (int64_t)c->amount;
	}
	rec->n_charges = r->n_charges;
	return true;
}

/* The order is that of scripts/reserve.lua: existing record, amount above the
 * limit, refusal, charge. */
void store_memory_reserve(struct store_memory *m,
                          const struct store_reservation *r,
                          struct store_result *res)
{
	int64_t now = mem_now_ms(m);
	struct view v;
	struct mem_key key;

	*res = (struct store_result){.status = STORE_FAILED};
	res->error = check_reservation(r);
	if (res->error)
		return;
	mem_expire_records(m);
	mem_sweep_counters(m, now,
	                   mem_has_room(m, r) ? MEMORY_SWEEP : MEMORY_SEARCH);
	mem_view_load(m, r, now, &v);
	if (map_get(&m->records, mem_key_of(&key, r->account, r->id))) {
		mem_fill_result(r, &v, now, STORE_OK, res);
		return;
	}
	if (mem_is_too_large(r, res)) {
		mem_fill_result(r, &v, now, STORE_TOO_LARGE, res);
		return;
	}
	mem_view_step_back(&v, r->n_charges, now);
	if (mem_is_refused(r, &v, now, res)) {
		mem_fill_result(r, &v, now, STORE_REFUSED, res);
		return;
	}
	if (!mem_charge_all(m, r, &v)) {
		res->error = "out of memory for limits";
		return;
	}
	mem_fill_result(r, &v, now, STORE_OK, res);
}

/* ---------------------------------------------------------------- settle */

enum store_status store_memory_settle(struct store_memory *m,
                                      struct str account, struct str id,
                                      const struct store_usage *used)
{
	int64_t now = mem_now_ms(m);
	struct record *rec;
	struct mem_key key;
	size_t i;

	if (check_names(account, id))
		return STORE_UNKNOWN;
	mem_expire_records(m);
	rec = map_get(&m->records, mem_key_of(&key, account, id));
	if (!rec)
		return STORE_UNKNOWN;
	for (i = 0; i < rec->n_charges; i++) {
		struct held_charge *part = &rec->charges[i];
		struct window *w = &part->counter->window, then = *w;

		/* a reload has changed the kind, and the count started anew */
		if (w->kind != part->kind)
			continue;
		/* A fixed window that has ended is not corrected. It is not
		 * advanced either: the clock could step back into it. */
		window_advance(&then, w->kind, w->limit, now);
		if (then.kind != WINDOW_MINUTE && then.kind != WINDOW_OPEN &&
		    then.at != part->at)
			continue;
		*w = then;
		window_settle(w, part->at, part->amount,
		              check_used(used, part->unit));
	}
	mem_record_free(m, rec);
	return STORE_OK;
}

size_t store_memory_open(const struct store_memory *m)
{
	return m->records.n;
}
