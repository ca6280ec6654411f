/* request/table: the requests a worker is deciding, by reference. */
#include "request/table.h"

#include <assert.h>
#include <stdlib.h>

enum { TABLE_KEEP = 64 }; /* idle requests whose memory is kept */

struct slot {
	struct request *r;   /* NULL when free and given back */
	uint32_t generation; /* odd while in use */
	uint32_t next_free;
};

struct requests {
	struct requests_options o;
	struct loop_timer deadline; /* of the oldest request */
	struct slot *slots;
	size_t max;
	size_t n_used;
	size_t n_idle; /* free slots that still own memory */
	uint32_t free; /* head of the list of free slots; max: none */
	struct request *first, **last;
};

struct requests *requests_new(const struct requests_options *o)
{
	struct requests *t = calloc(1, sizeof(*t));
	size_t i;

	if (!t)
		return NULL;
	t->o = *o;
	t->max = o->max;
	t->slots = calloc(t->max, sizeof(*t->slots));
	if (!t->slots) {
		free(t);
		return NULL;
	}
	t->last = &t->first;
	for (i = 0; i < t->max; i++)
		t->slots[i].next_free = (uint32_t)(i + 1);
	return t;
}

void requests_free(struct requests *t)
{
	size_t i;

	if (!t)
		return;
	while (t->first)
		requests_release(t->first);
	loop_timer_stop(&t->deadline);
	for (i = 0; i < t->max; i++)
		free(t->slots[i].r);
	free(t->slots);
	free(t);
}

/* Append to the list: it stays ordered by age. */
static void link_last(struct requests *t, struct request *r)
{
	r->next = NULL;
	r->prev = t->last;
	*t->last = r;
	t->last = &r->next;
}

static void unlink_one(struct requests *t, struct request *r)
{
	*r->prev = r->next;
	if (r->next)
		r->next->prev = r->prev;
	else
		t->last = r->prev;
}

struct request *requests_take(struct requests *t)
{
	uint32_t at = t->free;
	struct slot *s;

	if (at >= t->max)
		return NULL;
	s = &t->slots[at];
	if (s->r) {
		t->n_idle--;
	} else {
		s->r = malloc(sizeof(*s->r));
		if (!s->r)
			return NULL;
	}
	t->free = s->next_free;
	t->n_used++;
	s->generation++;
	/* the arena's memory need not be zeroed */
	memset(s->r, 0, offsetof(struct request, mem));
	s->r->ref = (uint64_t)s->generation << 32 | at;
	s->r->table = t;
	s->r->started_us = clock_mono_us(t->o.clock);
	arena_init(&s->r->arena, s->r->mem, sizeof(s->r->mem));
	link_last(t, s->r);
	return s->r;
}

void requests_release(struct request *r)
{
	struct requests *t = r->table;
	uint32_t at = (uint32_t)r->ref;
	struct slot *s = &t->slots[at];

	assert(s->r == r && s->generation == r->ref >> 32);
	waiter_cancel(&r->wait);
	loop_timer_stop(&r->again);
	identity_unref(r->caller.identity);
	policy_unref(r->policy);
	unlink_one(t, r);
	/* it held a caller's token */
	explicit_bzero(r->mem, r->arena.used);
	s->generation++;
	s->next_free = t->free;
	t->free = at;
	t->n_used--;
	if (t->n_idle >= TABLE_KEEP) {
		free(s->r);
		s->r = NULL;
	} else {
		t->n_idle++;
	}
}

struct request *requests_find(const struct requests *t, uint64_t ref)
{
	uint32_t at = (uint32_t)ref;

	if (at >= t->max || t->slots[at].generation != ref >> 32)
		return NULL;
	return t->slots[at].r;
}

struct request *requests_oldest(const struct requests *t)
{
	return t->first;
}

size_t requests_count(const struct requests *t)
{
	return t->n_used;
}

/* --------------------------------------------------------------- park, wake */

static uint64_t due_us(const struct request *r)
{
	return r->started_us + (uint64_t)r->policy->decision_timeout_ms * 1000;
}

static void on_deadline(void *table);

/* One timer is enough: all requests have the same time, so the oldest one is
 * the first to expire. */
static void arm_deadline(struct requests *t)
{
	uint64_t now, due;

	if (!t->first) {
		loop_timer_stop(&t->deadline);
		return;
	}
	if (loop_timer_active(&t->deadline))
		return;
	now = clock_mono_us(t->o.clock);
	due = due_us(t->first);
	loop_timer_start(t->o.loop, &t->deadline,
	                 due > now ? (due - now + 999) / 1000 : 0, on_deadline,
	                 t);
}

static void on_deadline(void *table)
{
	struct requests *t = table;
	uint64_t now = clock_mono_us(t->o.clock);

	/* the timer has fired: it must be seen as stopped before re-arming */
	loop_timer_stop(&t->deadline);
	while (t->first && now >= due_us(t->first))
		t->o.expire(t->first);
	arm_deadline(t);
}

void requests_park(struct request *r, const char *waits_for)
{
	r->parked = true;
	r->waits_for = waits_for;
	r->parked_us = clock_mono_us(r->table->o.clock);
	arm_deadline(r->table);
}

void requests_wake(void *table, uint64_t ref)
{
	struct requests *t = table;
	struct request *r = requests_find(t, ref);

	if (!r || !r->parked)
		return;
	r->step_us[r->step] += clock_mono_us(t->o.clock) - r->parked_us;
	r->parked = false;
	r->woken = true;
	t->o.run(r);
}

struct waiter *requests_waiter(struct request *r)
{
	r->wait.wake = requests_wake;
	r->wait.ctx = r->table;
	r->wait.ref = r->ref;
	return &r->wait;
}
