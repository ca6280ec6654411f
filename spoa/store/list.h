/*
 * store/list: a doubly linked list whose links live in its members.
 *
 * A list is a circle through its head. Nothing is allocated; a member is on
 * at most one list per link.
 */
#ifndef STORE_LIST_H
#define STORE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next;
	struct list *prev;
};

/* The object around a link. */
#define list_entry(link, type, member)                                         \
	((type *)(void *)((char *)(link)-offsetof(type, member)))

/* For heads, and for links that list_del may meet before any list_add. */
static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

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

/* Taking out what is on no list does nothing. */
static inline void list_del(struct list *l)
{
	l->next->prev = l->prev;
	l->prev->next = l->next;
	list_init(l);
}

/* All of `from`, in its order, before what is in `head`; `from` is then
 * empty. */
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
