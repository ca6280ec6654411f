/* base/waiter: a list of those who wait for one event. */
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

	/* moved away first: who waits again waits for the next time */
	*head = NULL;
	if (first)
		first->prev = &first;
	while (first) {
		struct waiter *w = first;

		waiter_cancel(w);
		w->wake(w->ctx, w->ref);
	}
}
