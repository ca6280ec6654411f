/*
 * store/list: a doubly linked list whose links are embedded in the elements.
 *
 * A list is a circle through its head, so no operation has a special case for
 * the first or last element. Nothing is allocated. An element is on at most one
 * list per embedded link; the list does not own its elements. All operations
 * take constant time.
 */
#ifndef STORE_LIST_H
#define STORE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next;
	struct list *prev;
};

/* The object that contains the link, as container_of() in the Linux kernel. */
#define list_entry(link, type, member)                                         \
	((type *)(void *)((char *)(link)-offsetof(type, member)))

/* Required for heads, and for a link that list_del() may see before it was
 * added to a list. */
static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

/* `l` must not be on a list. */
static inline void list_add_first(struct list *head, struct list *l)
{
	l->next = head->next;
	l->prev = head;
	head->next->prev = l;
	head->next = l;
}

static inline void list_add_last(struct list *head, struct list *l)
{
	list_add_first(head->prev, l);
}

/* Does nothing for an initialised link that is on no list. */
static inline void list_del(struct list *l)
{
	l->next->prev = l->prev;
	l->prev->next = l->next;
	list_init(l);
}

/* Move all elements of `from` to the front of `head` and keep their order.
 * `from` is empty afterwards. */
static inline void list_prepend(struct list *head, struct list *from)
{
	if (list_empty(from))
		return;
	from->prev->next = head->next;
	head->next->prev = from->prev;
	head->next = from->next;
	from->next->prev = head;
	list_init(from);
}

#endif
