/*
 * request/table: the requests that a worker is deciding.
 *
 *   slots[]     0 | r, generation 3 |  in use: odd, in the list
 *               1 | r, generation 4 |  free: even, its memory kept for reuse
 *               2 | -, generation 0 |  free, never used
 *
 *   first -> request -> request -> ...   in use, by age, oldest first
 *   free  -> 1 -> 2                      free slots, the last used one first
 *
 * Every request in the list is parked, except the one that is being run:
 * decide/pipeline either parks or releases a request before it returns to the
 * loop. So one timer for the oldest request watches all deadlines.
 */
#include "request/table.h"

#include <assert.h>
#include <stdlib.h>

/* Free slots whose memory is kept: about 30 kB each, so 2 MB for a worker.
 * Decisions that need no answer from elsewhere use one slot again and again;
 * more are in use only while many requests wait at the same time. */
enum { RTAB_KEEP = 64 };

struct rtab_slot {
	struct request *r;   /* NULL: free, and without memory */
	uint32_t generation; /* odd while in use */
	uint32_t next_free;  /* while free; max: the last one */
};

struct requests {
	struct requests_options o;
	struct loop_timer deadline; /* of the oldest request, or earlier */
	struct rtab_slot *slots;
	size_t max;
	size_t n_used;
	size_t n_idle; /* free slots that still own memory */
	uint32_t free; /* head of the list of free slots; max: none */
	struct request *first, **last; /* in use; *last is its NULL */
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

static void rtab_append(struct requests *t, struct request *r)
{
	r->next = NULL;
	r->prev = t->last;
	*t->last = r;
	t->last = &r->next;
}

static void rtab_unlink(struct requests *t, struct request *r)
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
	struct rtab_slot *s;

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
	/* 24 kB of arena need not be zeroed for each request: arena_alloc()
	 * zeroes what it hands out */
	memset(s->r, 0, offsetof(struct request, mem));
	s->r->ref = (uint64_t)s->generation << 32 | at;
	s->r->table = t;
	s->r->started_us = clock_mono_us(t->o.clock);
	arena_init(&s->r->arena, s->r->mem, sizeof(s->r->mem));
	rtab_append(t, s->r);
	return s->r;
}

void requests_release(struct request *r)
{
	struct requests *t = r->table;
	uint32_t at = (uint32_t)r->ref;
	struct rtab_slot *s = &t->slots[at];

	assert(s->r == r && s->generation == r->ref >> 32);
	waiter_cancel(&r->wait);
	loop_timer_stop(&r->again);
	identity_unref(r->caller.identity);
	policy_unref(r->policy);
	rtab_unlink(t, r);
	/* it holds the caller's credential; ours is never copied here */
	explicit_bzero(r->mem, r->arena.used);
	s->generation++;
	s->next_free = t->free;
	t->free = at;
	t->n_used--;
	if (t->n_idle >= RTAB_KEEP) {
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

/* When the request must have been answered, on the monotonic clock. */
static uint64_t rtab_due_us(const struct request *r)
{
	return r->started_us + (uint64_t)r->policy->decision_timeout_ms * 1000;
}

static void rtab_on_deadline(void *table);

/* Start the timer for the oldest request, unless it runs. It is not moved when
 * the oldest request ends: it fires early then, finds nothing due and is armed
 * again, which is cheaper than to move it with each release.
 *
 * The oldest request is due first because all have the same timeout. A reload
 * that shortens it breaks that for the requests of both policies: the younger
 * ones then end with the older ones, late by less than the difference. */
static void rtab_arm_deadline(struct requests *t)
{
	uint64_t now, due;

	if (!t->first) {
		loop_timer_stop(&t->deadline);
		return;
	}
	if (loop_timer_active(&t->deadline))
		return;
	now = clock_mono_us(t->o.clock);
	due = rtab_due_us(t->first);
	loop_timer_start(t->o.loop, &t->deadline,
	                 due > now ? (due - now + 999) / 1000 : 0,
	                 rtab_on_deadline, t);
}

static void rtab_on_deadline(void *table)
{
	struct requests *t = table;
	uint64_t now = clock_mono_us(t->o.clock);

	while (t->first && now >= rtab_due_us(t->first))
		t->o.expire(t->first);
	rtab_arm_deadline(t);
}

void requests_park(struct request *r, const char *waits_for)
{
	r->parked = true;
	r->waits_for = waits_for;
	r->parked_us = clock_mono_us(r->table->o.clock);
	rtab_arm_deadline(r->table);
}

void requests_wake(void *table, uint64_t ref)
{
	struct requests *t = table;
	struct request *r = requests_find(t, ref);

	if (!r || !r->parked)
		return;
	/* the step is charged with its wait; run() adds its own time */
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
