/*
 * base/waiter: a list of those who wait for one event.
 *
 * A waiter is embedded in its owner and told once. It holds the owner's
 * reference, not its pointer, so an owner that has ended is found to be gone.
 */
#ifndef BASE_WAITER_H
#define BASE_WAITER_H

#include <stdint.h>

struct waiter {
	struct waiter *next, **prev; /* private; NULL: on no list */
	void (*wake)(void *ctx, uint64_t ref);
	void *ctx;
	uint64_t ref;
};

/* Put w on the list that begins at *head; it leaves the one it was on. */
void waiters_add(struct waiter **head, struct waiter *w);

/* Tell all of them, each after it has left the list: whoever is told may wait
 * again, or take others off. */
void waiters_wake(struct waiter **head);

/* Take w off its list; does nothing when it is on none. */
void waiter_cancel(struct waiter *w);

#endif
