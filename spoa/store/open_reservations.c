/* store/open_reservations: what was allowed, until HAProxy says how it ended.
 */
#include "store/open_reservations.h"

#include "base/map.h"
#include "store/store.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

enum {
	N_SETS = OPEN_RESERVATIONS_MAX / OPEN_RESERVATIONS_WAYS,
	SWEEP = 64,      /* sets looked at in one go: all of them in 32 */
	MAX_WAITS = 100, /* how often to give way to whoever has the lock */
};

enum state {
	FREE = 0,
	GRANTED = 1,
	ABANDONED = 2, /* the record came before the decision */
};

struct place {
	enum state state;
	int worker;
	uint64_t at_us;
	uint16_t id_len, account_len, consumer_len, model_len;
	char id[STORE_ID_MAX];
	char text[OPEN_RESERVATION_TEXT_MAX];
};

/* The places of ids with the same hash. */
struct set {
	_Atomic pid_t owner; /* of the lock; 0: nobody */
	struct place places[OPEN_RESERVATIONS_WAYS];
};

struct open_reservations {
	uint64_t seed;
	_Atomic int64_t n;
	_Atomic uint32_t swept; /* sets so far */
	struct set sets[N_SETS];
};

struct open_reservations *open_reservations_new(void)
{
	struct open_reservations *g =
		mmap(NULL, sizeof(*g), PROT_READ | PROT_WRITE,
	             MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (g == MAP_FAILED)
		return NULL;
	/* without random bytes it is a hash all the same */
	if (getrandom(&g->seed, sizeof(g->seed), GRND_NONBLOCK) < 0)
		g->seed = (uintptr_t)g;
	return g;
}

void open_reservations_free(struct open_reservations *g)
{
	if (g)
		munmap(g, sizeof(*g));
}

/* ------------------------------------------------------------------- lock */

/* Held for the time of a few comparisons. False: somebody was stopped there. */
static bool lock(struct set *s)
{
	pid_t me = getpid(), owner = 0;
	unsigned i;

	for (i = 0; i < MAX_WAITS; i++) {
		owner = 0;
		if (atomic_compare_exchange_strong(&s->owner, &owner, me))
			return true;
		sched_yield();
	}
	return kill(owner, 0) < 0 && errno == ESRCH &&
	       atomic_compare_exchange_strong(&s->owner, &owner, me);
}

static void unlock(struct set *s)
{
	atomic_store(&s->owner, 0);
}

/* The set of an id, locked; NULL when it cannot be had. */
static struct set *set_of(struct open_reservations *g, struct str id)
{
	struct set *s = &g->sets[map_hash(g->seed, id) % N_SETS];

	return id.len > 0 && id.len <= STORE_ID_MAX && lock(s) ? s : NULL;
}

/* ----------------------------------------------------------------- places */

static struct place *find(struct set *s, struct str id)
{
	size_t i;

	for (i = 0; i < OPEN_RESERVATIONS_WAYS; i++) {
		struct place *p = &s->places[i];

		if (p->state != FREE && str_eq(str_of(p->id, p->id_len), id))
			return p;
	}
	return NULL;
}

static void release(struct open_reservations *g, struct place *p)
{
	if (p->state == GRANTED)
		atomic_fetch_sub(&g->n, 1);
	p->state = FREE;
}

/* For one more: a free place, else that of the oldest. */
static struct place *make_room(struct open_reservations *g, struct set *s)
{
	struct place *best = &s->places[0];
	size_t i;

	for (i = 0; i < OPEN_RESERVATIONS_WAYS && best->state != FREE; i++) {
		struct place *p = &s->places[i];

		if (p->state == FREE || p->at_us < best->at_us)
			best = p;
	}
	release(g, best);
	return best;
}

static uint16_t append(struct place *p, size_t *at, struct str text)
{
	if (text.len > 0)
		memcpy(p->text + *at, text.p, text.len);
	*at += text.len;
	return (uint16_t)text.len;
}

static void fill(struct open_reservations *g, struct place *p, struct str id,
                 const struct open_reservation *to, uint64_t now_us)
{
	size_t at = 0;

	memcpy(p->id, id.p, id.len);
	p->id_len = (uint16_t)id.len;
	p->at_us = now_us;
	if (!to) {
		p->state = ABANDONED;
		return;
	}
	p->worker = to->worker;
	p->account_len = append(p, &at, to->account);
	p->consumer_len = append(p, &at, to->consumer);
	p->model_len = append(p, &at, to->model);
	p->state = GRANTED;
	atomic_fetch_add(&g->n, 1);
}

static void copy(const struct place *p, struct open_reservation_copy *out)
{
	const char *at = out->text;

	memcpy(out->text, p->text, sizeof(out->text));
	out->to.worker = p->worker;
	out->to.account = str_of(at, p->account_len);
	at += p->account_len;
	out->to.consumer = str_of(at, p->consumer_len);
	at += p->consumer_len;
	out->to.model = str_of(at, p->model_len);
}

/* ------------------------------------------------------------------ calls */

bool open_reservations_add(struct open_reservations *g, struct str id,
                           const struct open_reservation *to, uint64_t now_us)
{
	struct set *s;
	struct place *p;
	bool waited_for;

	if (to->account.len + to->consumer.len + to->model.len >
	    OPEN_RESERVATION_TEXT_MAX)
		return true;
	s = set_of(g, id);
	if (!s)
		return true;
	p = find(s, id);
	waited_for = !p || p->state != ABANDONED;
	if (p)
		release(g, p);
	if (waited_for)
		fill(g, make_room(g, s), id, to, now_us);
	unlock(s);
	return waited_for;
}

/* What is allowed there, NULL or a mark being nothing. */
static bool read_place(struct open_reservations *g, struct place *p,
                       struct open_reservation_copy *out, bool stays)
{
	if (!p || p->state != GRANTED)
		return false;
	if (out)
		copy(p, out);
	if (!stays)
		release(g, p);
	return true;
}

static bool look(struct open_reservations *g, struct str id,
                 struct open_reservation_copy *out, bool stays)
{
	struct set *s = set_of(g, id);
	bool found;

	if (!s)
		return false;
	found = read_place(g, find(s, id), out, stays);
	unlock(s);
	return found;
}

bool open_reservations_remove(struct open_reservations *g, struct str id,
                              struct open_reservation_copy *out)
{
	return look(g, id, out, false);
}

bool open_reservations_find(struct open_reservations *g, struct str id,
                            struct open_reservation_copy *out)
{
	return look(g, id, out, true);
}

bool open_reservations_abandon(struct open_reservations *g, struct str id,
                               struct open_reservation_copy *out,
                               uint64_t now_us)
{
	struct set *s = set_of(g, id);
	struct place *p;
	bool found;

	if (!s)
		return false;
	p = find(s, id);
	found = read_place(g, p, out, false);
	if (!p)
		fill(g, make_room(g, s), id, NULL, now_us);
	unlock(s);
	return found;
}

static size_t sweep_set(struct open_reservations *g, struct set *s,
                        uint64_t now_us)
{
	const uint64_t life_us = STORE_RECORD_TTL_S * UINT64_C(1000000);
	size_t i, expired = 0;

	if (!lock(s))
		return 0;
	for (i = 0; i < OPEN_RESERVATIONS_WAYS; i++) {
		struct place *p = &s->places[i];

		if (p->state == FREE || p->at_us > now_us ||
		    now_us - p->at_us <= life_us)
			continue;
		expired += p->state == GRANTED;
		release(g, p);
	}
	unlock(s);
	return expired;
}

size_t open_reservations_sweep(struct open_reservations *g, uint64_t now_us)
{
	uint32_t at = atomic_fetch_add(&g->swept, SWEEP);
	size_t i, expired = 0;

	for (i = 0; i < SWEEP; i++)
		expired += sweep_set(g, &g->sets[(at + i) % N_SETS], now_us);
	return expired;
}

size_t open_reservations_count(const struct open_reservations *g)
{
	int64_t n = atomic_load(&g->n);

	return n > 0 ? (size_t)n : 0;
}
