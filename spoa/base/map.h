/*
 * base/map: a hash map from byte strings to pointers, with a maximum size.
 *
 * Keys are copied. Values are borrowed: the map never frees or reads them, and
 * who stored a value frees it, before map_done() or after map_del().
 *
 * Keys may come from clients (names of models, ids of keys). Two things bound
 * what they can cost: the maximum number of entries, and a random seed of the
 * hash for each map, without which nobody can choose keys that collide.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/str.h"

/* One entry. Callers may read key and value during an iteration. */
struct map_node {
	struct map_node *next; /* in the same bucket */
	uint64_t hash;
	void *value;
	size_t key_len;
	char key[]; /* key_len bytes and a NUL */
};

struct map {
	struct map_node **buckets;
	size_t n_buckets; /* a power of two, or 0 before the first put */
	size_t n;         /* entries */
	size_t max;       /* entries allowed */
	uint64_t seed;
};

/* Start an empty map of at most `max` entries; allocates nothing. */
void map_init(struct map *m, size_t max);

/* Free all entries and the table; the values are not freed. */
void map_done(struct map *m);

/* The hash of the map, for other tables of keys that clients choose: `seed`
 * must be random. */
uint64_t map_hash(uint64_t seed, struct str s);

/* Free all entries; the table and the seed are kept. */
void map_clear(struct map *m);

/* The value of `key`, or NULL. */
void *map_get(const struct map *m, struct str key);

/* Add an entry or replace its value (which is not freed). False, with nothing
 * changed, when the map is at its maximum or out of memory. `value` must not
 * be NULL, as map_get() could not tell it from a missing entry. */
bool map_put(struct map *m, struct str key, void *value);

/* Remove an entry and return its value, NULL when there was none. */
void *map_del(struct map *m, struct str key);

/* The position of an iteration; all zero is before the first node. */
struct map_iter {
	size_t bucket;         /* the next bucket to look into */
	struct map_node *next; /* behind the current node, in its bucket */
};

/* The next node in no particular order, NULL after the last. The current node
 * may be deleted; deleting another one or adding any breaks the iteration. */
struct map_node *map_next(const struct map *m, struct map_iter *it);

/* The iterator has a named type because cppcheck cannot parse a struct that is
 * defined inside `for (...)`. A map_each cannot be nested. */
#define map_each(m, node)                                                      \
	for (struct map_iter it_ = {0}; ((node) = map_next((m), &it_)) != NULL;)

static inline struct str map_key(const struct map_node *n)
{
	return str_of(n->key, n->key_len);
}

#endif
