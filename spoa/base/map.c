/*
 * base/map: a hash map from byte strings to pointers, with a maximum size.
 *
 *   buckets[hash & (n_buckets - 1)] -> node -> node -> NULL
 *
 * Separate chaining. The table doubles when it has as many entries as buckets
 * and never shrinks: the maps of this program fill up and stay full (caches),
 * or live as long as one configuration.
 */
#include "base/map.h"

#include <stdlib.h>
#include <sys/random.h>

/* The size of the first table; most configurations have fewer models. */
enum { MAP_MIN_BUCKETS = 16 };

void map_init(struct map *m, size_t max)
{
	*m = (struct map){.max = max};
	/* getrandom() of 8 bytes fails only before the kernel has collected
	 * entropy at boot. ASLR makes the address a weak but changing seed. */
	if (getrandom(&m->seed, sizeof(m->seed), GRND_NONBLOCK) < 0)
		m->seed = (uintptr_t)m * 0x9e3779b97f4a7c15ULL;
}

/* Multiply to 128 bits and fold the halves together: every bit of the result
 * depends on all bits of both arguments. The construction and the odd constants
 * below are those of the "mum" family of hashes (wyhash). */
static uint64_t map_fold(uint64_t a, uint64_t b)
{
	__uint128_t r = (__uint128_t)a * b;

	return (uint64_t)r ^ (uint64_t)(r >> 64);
}

uint64_t map_hash(uint64_t seed, struct str s)
{
	uint64_t h = seed ^ (s.len * 0xa0761d6478bd642fULL);

	while (s.len > 0) {
		uint64_t w = 0;
		size_t n = s.len < 8 ? s.len : 8;

		memcpy(&w, s.p, n);
		h = map_fold(h ^ w, seed ^ 0xe7037ed1a0b428dbULL);
		s = str_from(s, n);
	}
	return map_fold(h, 0x8ebc6af09c88c6e3ULL);
}

/* The pointer that refers to the node of `key`, or the NULL at the end of its
 * chain when there is none: what map_put and map_del change. Needs a table. */
static struct map_node **map_find_link(const struct map *m, uint64_t hash,
                                       struct str key)
{
	struct map_node **at = &m->buckets[hash & (m->n_buckets - 1)];

	while (*at && !((*at)->hash == hash && str_eq(map_key(*at), key)))
		at = &(*at)->next;
	return at;
}

/* Double the table and move the nodes; false, with nothing changed, when out of
 * memory. */
static bool map_grow(struct map *m)
{
	size_t n = m->n_buckets ? m->n_buckets * 2 : MAP_MIN_BUCKETS;
	struct map_node **buckets = calloc(n, sizeof(*buckets));
	size_t i;

	if (!buckets)
		return false;
	for (i = 0; i < m->n_buckets; i++) {
		struct map_node *node = m->buckets[i];

		while (node) {
			struct map_node *next = node->next;

			node->next = buckets[node->hash & (n - 1)];
			buckets[node->hash & (n - 1)] = node;
			node = next;
		}
	}
	free(m->buckets);
	m->buckets = buckets;
	m->n_buckets = n;
	return true;
}

void *map_get(const struct map *m, struct str key)
{
	struct map_node *node;

	/* also the case where there is no table yet */
	if (m->n == 0)
		return NULL;
	node = *map_find_link(m, map_hash(m->seed, key), key);
	return node ? node->value : NULL;
}

bool map_put(struct map *m, struct str key, void *value)
{
	uint64_t hash = map_hash(m->seed, key);
	struct map_node **at, *node;

	/* A map at its maximum still replaces values, so it need not grow. */
	if (m->n >= m->n_buckets && m->n < m->max && !map_grow(m))
		return false;
	if (!m->n_buckets)
		return false;
	at = map_find_link(m, hash, key);
	if (*at) {
		(*at)->value = value;
		return true;
	}
	if (m->n >= m->max)
		return false;
	/* node and key in one block; the NUL is for callers that print or
	 * compare the key as a C string */
	node = malloc(sizeof(*node) + key.len + 1);
	if (!node)
		return false;
	*node = (struct map_node){
		.hash = hash, .value = value, .key_len = key.len};
	if (key.len)
		memcpy(node->key, key.p, key.len);
	node->key[key.len] = '\0';
	*at = node;
	m->n++;
	return true;
}

void *map_del(struct map *m, struct str key)
{
	struct map_node **at, *node;
	void *value;

	if (m->n == 0)
		return NULL;
	at = map_find_link(m, map_hash(m->seed, key), key);
	node = *at;
	if (!node)
		return NULL;
	*at = node->next;
	value = node->value;
	free(node);
	m->n--;
	return value;
}

struct map_node *map_next(const struct map *m, struct map_iter *it)
{
	/* it->next was read before the caller could delete the current node */
	struct map_node *node = it->next;

	while (!node && it->bucket < m->n_buckets)
		node = m->buckets[it->bucket++];
	it->next = node ? node->next : NULL;
	return node;
}

void map_clear(struct map *m)
{
	size_t i;

	for (i = 0; i < m->n_buckets; i++)
		while (m->buckets[i]) {
			struct map_node *node = m->buckets[i];

			m->buckets[i] = node->next;
			free(node);
		}
	m->n = 0;
}

void map_done(struct map *m)
{
	map_clear(m);
	free(m->buckets);
	m->buckets = NULL;
	m->n_buckets = 0;
}
