/*
 * base/waiter: a list of objects that wait for one event.
 *
 *   *head -> w1 -> w2 -> NULL      w1.prev == head, w2.prev == &w1.next
 *
 * `prev` is the address of the pointer that refers to the member, so a member
 * can leave its list without knowing the head.
 */
#include "base/waiter.h"

#include <stddef.h>

void waiter_cancel(struct waiter *w)
{
	if (!w->prev)
		return;
	*w->prev = w->next;
	if (w->next)
		w->next->prev = w->prev;
	w->next = NULL;
	w->prev = NULL;
}

void waiters_add(struct waiter **head, struct waiter *w)
{
	waiter_cancel(w);
	w->next = *head;
	w->prev = head;
	if (w->next)
		w->next->prev = &w->next;
	*head = w;
}

void waiters_wake(struct waiter **head)
{
	struct waiter *first = *head;

	/* The members move to a list of this call: what a callback adds to
	 * *head is not woken by this loop, and a callback that cancels the
	 * next member changes `first` through that member's prev. */
	*head = NULL;
	if (first)
		first->prev = &first;
	while (first) {
		struct waiter *w = first;

		waiter_cancel(w);
		w->wake(w->ctx, w->ref);
	}
}
