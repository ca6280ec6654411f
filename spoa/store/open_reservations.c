/*
 * store/open_reservations: the reservations of allowed requests, until the
 * usage record of HAProxy says how the request ended.
 *
 *   id --map_hash--> set (lock) --> slot 0 | slot 1 | ... | slot 7
 *
 *   state of a slot:   FREE --add--> OPEN --remove, abandon, sweep--> FREE
 *                      FREE --abandon--> ABANDONED --add, sweep--> FREE
 *
 * Every worker writes to the table. A slot is read and written only while the
 * lock of its set is held; n_open and sweep_at are atomic. There are no
 * pointers in the table, so it would also work at another address in another
 * process.
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
	ORES_SETS = OPEN_RESERVATIONS_MAX / OPEN_RESERVATIONS_WAYS,
	/* Sets per sweep: one worker that sweeps once a second visits all 2048
	 * sets in 32 s. */
	ORES_SWEEP = 64,
	/* sched_yield() calls before the holder of a lock is suspected to be
	 * dead. A lock is held for well under a microsecond. */
	ORES_LOCK_TRIES = 100,
};

enum ores_state {
	ORES_FREE = 0,
	ORES_OPEN = 1,
	ORES_ABANDONED = 2, /* a mark: the usage record came before the add */
};

struct ores_slot {
	enum ores_state state;
	int worker;     /* see struct open_reservation */
	uint64_t at_us; /* time of the add or abandon, monotonic */
	uint16_t id_len, account_len, consumer_len, model_len, nonce_len;
	char id[STORE_ID_MAX];
	char nonce[OPEN_RESERVATION_NONCE_MAX];
	char text[OPEN_RESERVATION_TEXT_MAX]; /* account, consumer, model */
};

/* The slots of all ids with the same hash. */
struct ores_set {
	_Atomic pid_t owner; /* process that holds the lock; 0: unlocked */
	struct ores_slot slots[OPEN_RESERVATIONS_WAYS];
};

struct open_reservations {
	uint64_t seed;
	_Atomic int64_t n_open;
	_Atomic uint32_t sweep_at; /* number of the next set to sweep, modulo
	                            * ORES_SETS */
	struct ores_set sets[ORES_SETS];
};

struct open_reservations *open_reservations_new(void)
{
	struct open_reservations *t =
		mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE,
	             MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (t == MAP_FAILED)
		return NULL;
	/* The seed keeps a client from choosing ids of one set (HAProxy makes
	 * the ids, so this is a second line). An address is good enough when
	 * the kernel has no random bytes yet. */
	if (getrandom(&t->seed, sizeof(t->seed), GRND_NONBLOCK) < 0)
		t->seed = (uintptr_t)t;
	return t;
}

void open_reservations_free(struct open_reservations *t)
{
	if (t)
		munmap(t, sizeof(*t));
}

/* ------------------------------------------------------------------- lock */

/* A spin lock that survives the death of its holder: the pid in it tells
 * whether that process still exists. Unlike a robust pthread mutex it needs no
 * initialisation in the zeroed mapping and never blocks. False when the holder
 * is alive but was stopped, or its pid was reused: the caller then does without
 * the set rather than stop the loop. */
static bool ores_lock(struct ores_set *s)
{
	pid_t me = getpid(), owner = 0;
	unsigned i;

	for (i = 0; i < ORES_LOCK_TRIES; i++) {
		owner = 0;
		if (atomic_compare_exchange_strong(&s->owner, &owner, me))
			return true;
		sched_yield();
	}
	return kill(owner, 0) < 0 && errno == ESRCH &&
	       atomic_compare_exchange_strong(&s->owner, &owner, me);
}

static void ores_unlock(struct ores_set *s)
{
	atomic_store(&s->owner, 0);
}

/* The set of an id, locked. NULL: bad id, or the lock was not available. */
static struct ores_set *ores_lock_set(struct open_reservations *t,
                                      struct str id)
{
	struct ores_set *s = &t->sets[map_hash(t->seed, id) % ORES_SETS];

	return id.len > 0 && id.len <= STORE_ID_MAX && ores_lock(s) ? s : NULL;
}

/* ------------------------------------------------------------------ slots */

static struct ores_slot *ores_find_slot(struct ores_set *s, struct str id)
{
	size_t i;

	for (i = 0; i < OPEN_RESERVATIONS_WAYS; i++) {
		struct ores_slot *p = &s->slots[i];

		if (p->state != ORES_FREE &&
		    str_eq(str_of(p->id, p->id_len), id))
			return p;
	}
	return NULL;
}

static void ores_free_slot(struct open_reservations *t, struct ores_slot *p)
{
	if (p->state == ORES_OPEN)
		atomic_fetch_sub(&t->n_open, 1);
	p->state = ORES_FREE;
}

/* A free slot of the set; in a full set the oldest one is dropped. */
static struct ores_slot *ores_make_room(struct open_reservations *t,
                                        struct ores_set *s)
{
	struct ores_slot *best = &s->slots[0];
	size_t i;

	for (i = 0; i < OPEN_RESERVATIONS_WAYS && best->state != ORES_FREE;
	     i++) {
		struct ores_slot *p = &s->slots[i];

		if (p->state == ORES_FREE || p->at_us < best->at_us)
			best = p;
	}
	ores_free_slot(t, best);
	return best;
}

static uint16_t ores_append_text(struct ores_slot *p, size_t *at,
                                 struct str text)
{
	if (text.len > 0)
		memcpy(p->text + *at, text.p, text.len);
	*at += text.len;
	return (uint16_t)text.len;
}

/* `to` NULL: leave a mark. The state is set last: a worker that dies before
 * that leaves the slot free. */
static void ores_fill_slot(struct open_reservations *t, struct ores_slot *p,
                           struct str id, struct str nonce,
                           const struct open_reservation *to, uint64_t now_us)
{
	size_t at = 0;

	memcpy(p->id, id.p, id.len);
	p->id_len = (uint16_t)id.len;
	nonce = str_first(nonce, OPEN_RESERVATION_NONCE_MAX);
	if (nonce.len > 0)
		memcpy(p->nonce, nonce.p, nonce.len);
	p->nonce_len = (uint16_t)nonce.len;
	p->at_us = now_us;
	if (!to) {
		p->state = ORES_ABANDONED;
		return;
	}
	p->worker = to->worker;
	p->account_len = ores_append_text(p, &at, to->account);
	p->consumer_len = ores_append_text(p, &at, to->consumer);
	p->model_len = ores_append_text(p, &at, to->model);
	p->state = ORES_OPEN;
	atomic_fetch_add(&t->n_open, 1);
}

static bool ores_has_nonce(const struct ores_slot *p, struct str nonce)
{
	return str_eq_secret(str_of(p->nonce, p->nonce_len),
	                     str_first(nonce, OPEN_RESERVATION_NONCE_MAX));
}

static void ores_copy_slot(const struct ores_slot *p,
                           struct open_reservation_copy *out)
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

/* True on failure, too: the request is allowed all the same, and only cannot be
 * given back when its decision does not arrive. */
bool open_reservations_add(struct open_reservations *t, struct str id,
                           const struct open_reservation *to, uint64_t now_us)
{
	struct ores_set *s;
	struct ores_slot *p;
	bool is_awaited;

	if (to->account.len + to->consumer.len + to->model.len >
	    OPEN_RESERVATION_TEXT_MAX)
		return true;
	s = ores_lock_set(t, id);
	if (!s)
		return true;
	p = ores_find_slot(s, id);
	is_awaited = !p || p->state != ORES_ABANDONED ||
	             !ores_has_nonce(p, to->nonce);
	if (p)
		ores_free_slot(t, p);
	if (is_awaited)
		ores_fill_slot(t, ores_make_room(t, s), id, to->nonce, to,
		               now_us);
	ores_unlock(s);
	return is_awaited;
}

/* Read an open reservation, and free its slot unless `keep`. False for NULL and
 * for a mark, which stays for the add that it waits for. */
static bool ores_read_slot(struct open_reservations *t, struct ores_slot *p,
                           struct open_reservation_copy *out, bool keep)
{
	if (!p || p->state != ORES_OPEN)
		return false;
	if (out)
		ores_copy_slot(p, out);
	if (!keep)
		ores_free_slot(t, p);
	return true;
}

static bool ores_lookup(struct open_reservations *t, struct str id,
                        struct open_reservation_copy *out, bool keep)
{
	struct ores_set *s = ores_lock_set(t, id);
	bool found;

	if (!s)
		return false;
	found = ores_read_slot(t, ores_find_slot(s, id), out, keep);
	ores_unlock(s);
	return found;
}

bool open_reservations_remove(struct open_reservations *t, struct str id,
                              struct open_reservation_copy *out)
{
	return ores_lookup(t, id, out, false);
}

bool open_reservations_find(struct open_reservations *t, struct str id,
                            struct open_reservation_copy *out)
{
	return ores_lookup(t, id, out, true);
}

bool open_reservations_abandon(struct open_reservations *t, struct str id,
                               struct str nonce,
                               struct open_reservation_copy *out,
                               uint64_t now_us)
{
	struct ores_set *s = ores_lock_set(t, id);
	struct ores_slot *p;
	bool found;

	if (!s)
		return false;
	p = ores_find_slot(s, id);
	found = p && ores_has_nonce(p, nonce) &&
	        ores_read_slot(t, p, out, false);
	if (!p)
		ores_fill_slot(t, ores_make_room(t, s), id, nonce, NULL,
		               now_us);
	ores_unlock(s);
	return found;
}

/* A slot can be newer than `now_us`, which was read before the lock. */
static size_t ores_sweep_set(struct open_reservations *t, struct ores_set *s,
                             uint64_t now_us)
{
	const uint64_t life_us = STORE_RECORD_TTL_S * UINT64_C(1000000);
	size_t i, expired = 0;

	if (!ores_lock(s))
		return 0;
	for (i = 0; i < OPEN_RESERVATIONS_WAYS; i++) {
		struct ores_slot *p = &s->slots[i];

		if (p->state == ORES_FREE || p->at_us > now_us ||
		    now_us - p->at_us <= life_us)
			continue;
		expired += p->state == ORES_OPEN;
		ores_free_slot(t, p);
	}
	ores_unlock(s);
	return expired;
}

size_t open_reservations_sweep(struct open_reservations *t, uint64_t now_us)
{
	uint32_t at = atomic_fetch_add(&t->sweep_at, ORES_SWEEP);
	size_t i, expired = 0;

	for (i = 0; i < ORES_SWEEP; i++)
		expired += ores_sweep_set(t, &t->sets[(at + i) % ORES_SETS],
		                          now_us);
	return expired;
}

/* Never below 0: a worker that was killed between two steps may have counted
 * only one of them. */
size_t open_reservations_count(const struct open_reservations *t)
{
	int64_t n = atomic_load(&t->n_open);

	return n > 0 ? (size_t)n : 0;
}
