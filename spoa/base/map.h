/*
 * base/map: a hash map from byte strings to pointers, with a maximum size.
 *
 * Keys are copied. Values are borrowed: the map never frees or follows them.
 * The hash is seeded at random for each map, so a stranger who chooses keys
 * cannot choose collisions.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/str.h"

struct map_node {
	struct map_node *next;
	uint64_t hash;
	void *value;
	size_t key_len;
	char key[]; /* key_len bytes and a NUL */
};

struct map {
	struct map_node **buckets;
	size_t n_buckets; /* a power of two, or 0 before the first put */
	size_t n;
	size_t max;
	uint64_t seed;
};

void map_init(struct map *m, size_t max);
void map_done(struct map *m);

/* The hash it uses: without the seed nobody can choose collisions. */
uint64_t map_hash(uint64_t seed, struct str s);

/* Forget all entries. */
void map_clear(struct map *m);

/* The value, or NULL. */
void *map_get(const struct map *m, struct str key);

/* Set or replace. False when the map is at its maximum or without memory;
 * then nothing has changed. `value` may not be NULL. */
bool map_put(struct map *m, struct str key, void *value);

/* Take an entry out and return its value, NULL when there was none. */
void *map_del(struct map *m, struct str key);

/* The place of an iteration; all zero is before the first node. */
struct map_iter {
	size_t bucket;         /* the next bucket to look into */
	struct map_node *next; /* behind the current node, in its bucket */
};

/* The next node in no particular order, NULL after the last. The current node
 * may be deleted; deleting another one or adding any breaks the iteration. */
struct map_node *map_next(const struct map *m, struct map_iter *it);

/* The iterator has a named type because cppcheck cannot parse a struct that is
 * defined inside `for (...)`. A map_each cannot stand inside another one. */
#define map_each(m, node)                                                      \
	for (struct map_iter it_ = {0}; ((node) = map_next((m), &it_)) != NULL;)

static inline struct str map_key(const struct map_node *n)
{
	return str_of(n->key, n->key_len);
}

#endif
