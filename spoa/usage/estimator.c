/* usage/estimator: how many tokens a prompt has. */
#include "usage/estimator.h"

#include "base/buf.h"
#include "base/map.h"

#include <stdlib.h>
#include <string.h>

enum {
	/* What the chat format adds around the text of one message, rounded
	 * up: 3 for it, 1 for its role, 3 to begin the answer (azure.md 6). */
	ESTIMATOR_BASE_TOKENS = 8,
	/* A picture, whose size is not known here: OpenAI's price of one of
	 * 1024 x 1024 at high detail, 85 + 4 tiles x 170. */
	ESTIMATOR_DATA_URL_TOKENS = 765,
	ESTIMATOR_LEARN_MIN_BYTES = 200,
	/* Names of the policy have 128 bytes at most. */
	ESTIMATOR_KEY_MAX = 512,
};

/* More is more than any limit can hold: enough for "never", and far from the
 * overflow of the sums and prices that follow. */
static const uint64_t estm_tokens_max = 1ULL << 40;

/* Bytes per token. English has about 4, Chinese and base64 less than 2. */
static const double estm_first = 3.5, estm_min = 1.3, estm_max = 8.0;
/* Of one new observation, which is first brought within a quarter of what is
 * known: an odd request moves the average by 1.25 %, and a change of what a
 * model is used for is followed within a hundred. */
static const double estm_weight = 0.05, estm_step = 1.25;

/* What is known of a model and consumer. */
struct pair {
	double ratio;
	struct pair *newer, *older; /* by use */
	size_t key_len;
	char key[]; /* both names */
};

struct estimator {
	struct map pairs; /* key -> struct pair, owned */
	struct pair *newest, *oldest;
};

struct estimator *estimator_new(void)
{
	struct estimator *e = calloc(1, sizeof(*e));

	if (e)
		map_init(&e->pairs, ESTIMATOR_PAIRS_MAX);
	return e;
}

void estimator_free(struct estimator *e)
{
	struct map_node *n;

	if (!e)
		return;
	map_each (&e->pairs, n)
		free(n->value);
	map_done(&e->pairs);
	free(e);
}

/* --------------------------------------------------------------- the pairs */

static void estm_unlink(struct estimator *e, struct pair *p)
{
	*(p->newer ? &p->newer->older : &e->newest) = p->older;
	*(p->older ? &p->older->newer : &e->oldest) = p->newer;
}

static void estm_link_newest(struct estimator *e, struct pair *p)
{
	p->newer = NULL;
	p->older = e->newest;
	*(e->newest ? &e->newest->newer : &e->oldest) = p;
	e->newest = p;
}

/* No name has a newline: the policy allows no control characters. An empty
 * result: the names are too long to be kept. */
static struct str estm_key(char space[ESTIMATOR_KEY_MAX], struct str model,
                           struct str consumer)
{
	struct buf key = {
		.p = space, .cap = ESTIMATOR_KEY_MAX, .max = ESTIMATOR_KEY_MAX};

	buf_add_str(&key, model);
	buf_add_str(&key, STR("\n"));
	buf_add_str(&key, consumer);
	return key.failed ? STR_NONE : buf_str(&key);
}

/* NULL: nothing is known. */
static struct pair *estm_find(struct estimator *e, struct str key)
{
	struct pair *p = key.len > 0 ? map_get(&e->pairs, key) : NULL;

	if (p) {
		estm_unlink(e, p);
		estm_link_newest(e, p);
	}
	return p;
}

static void estm_forget_oldest(struct estimator *e)
{
	struct pair *p = e->oldest;

	estm_unlink(e, p);
	map_del(&e->pairs, str_of(p->key, p->key_len));
	free(p);
}

/* NULL without memory. */
static struct pair *estm_add(struct estimator *e, struct str key)
{
	struct pair *p = calloc(1, sizeof(*p) + key.len);

	if (!p)
		return NULL;
	if (e->pairs.n >= ESTIMATOR_PAIRS_MAX)
		estm_forget_oldest(e);
	p->ratio = estm_first;
	p->key_len = key.len;
	memcpy(p->key, key.p, key.len);
	if (!map_put(&e->pairs, key, p)) {
		free(p);
		return NULL;
	}
	estm_link_newest(e, p);
	return p;
}

/* -------------------------------------------------------------- estimating */

double estimator_ratio(struct estimator *e, struct str model,
                       struct str consumer)
{
	char space[ESTIMATOR_KEY_MAX];
	const struct pair *p = estm_find(e, estm_key(space, model, consumer));

	return p ? p->ratio : estm_first;
}

uint64_t estimator_prompt(struct estimator *e, struct str model,
                          struct str consumer, uint64_t text_bytes,
                          uint64_t n_data_urls)
{
	uint64_t urls_max = estm_tokens_max / ESTIMATOR_DATA_URL_TOKENS;

	if (text_bytes > estm_tokens_max)
		text_bytes = estm_tokens_max;
	if (n_data_urls > urls_max)
		n_data_urls = urls_max;
	return (uint64_t)((double)text_bytes /
	                  estimator_ratio(e, model, consumer)) +
	       ESTIMATOR_BASE_TOKENS + n_data_urls * ESTIMATOR_DATA_URL_TOKENS;
}

/* -------------------------------------------------------------- learning */

static double estm_clamp(double ratio, double least, double most)
{
	if (ratio < least)
		return least;
	return ratio > most ? most : ratio;
}

void estimator_learn(struct estimator *e, struct str model, struct str consumer,
                     uint64_t text_bytes, uint64_t prompt_tokens)
{
	char space[ESTIMATOR_KEY_MAX];
	struct str key = estm_key(space, model, consumer);
	struct pair *p;
	double seen;

	if (text_bytes < ESTIMATOR_LEARN_MIN_BYTES || prompt_tokens == 0 ||
	    key.len == 0)
		return;
	p = estm_find(e, key);
	if (!p)
		p = estm_add(e, key);
	if (!p)
		return;
	seen = estm_clamp((double)text_bytes / (double)prompt_tokens,
	                  p->ratio / estm_step, p->ratio * estm_step);
	seen = estm_clamp(seen, estm_min, estm_max);
	p->ratio += (seen - p->ratio) * estm_weight;
}
