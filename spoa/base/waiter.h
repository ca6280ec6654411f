/*
 * base/waiter: a list of objects that wait for one event.
 *
 * Example: the requests that wait for a token which is being fetched. The
 * waiter is embedded in the waiting object, the head of the list in the object
 * that fires the event; nothing is allocated.
 *
 * A waiting object calls waiter_cancel() before its memory is freed or reused
 * (STYLE 27). The callback gets `ref`, by which the waiting object is looked
 * up, not a pointer to it: an object that has ended is then not found.
 */
#ifndef BASE_WAITER_H
#define BASE_WAITER_H

#include <stdint.h>

struct waiter {
	struct waiter *next, **prev; /* private; all NULL: on no list */
	void (*wake)(void *ctx, uint64_t ref);
	void *ctx;    /* of the callback: where `ref` is looked up */
	uint64_t ref; /* of the waiting object */
};

/* Put w in front of the list whose first member is *head (NULL: empty), after
 * taking it off the list it was on. The caller has set wake, ctx and ref. *head
 * must not move in memory while the list has members. */
void waiters_add(struct waiter **head, struct waiter *w);

/* Empty the list and call `wake` once for each member, the last added first. A
 * member is off the list when its callback runs. The callback may add it again
 * (it then waits for the next event) and may cancel other members. */
void waiters_wake(struct waiter **head);

/* Take w off its list. Does nothing when it is on none. */
void waiter_cancel(struct waiter *w);

#endif
