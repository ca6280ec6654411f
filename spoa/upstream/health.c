/*
 * upstream/health: a circuit breaker per deployment.
 *
 *   "RESOURCE/DEPLOYMENT" --map--> state, and until when it holds
 *
 * Time is not watched by a timer: a breaker that is asked after its time is
 * closed. Its entry stays in the map, because there are no more of them than
 * deployments, and the next error would make it again.
 */
#include "upstream/health.h"

#include "base/map.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	/* Breakers: far above the deployments of any configuration, because
	 * the names of earlier configurations stay after a reload. */
	HEALTH_MAX = 10000,
	/* Bytes of a key and its NUL. The name of a resource has at most 32
	 * and that of a deployment at most 128 (conf/value). */
	HEALTH_KEY_MAX = 512,
};

struct breaker {
	uint64_t until_us; /* monotonic; closed from then on */
	enum health_state state;
};

struct health {
	const struct clock *clock;
	struct map
		breakers; /* "RESOURCE/DEPLOYMENT" -> struct breaker, owned */
};

struct health *health_new(const struct clock *clock)
{
	struct health *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->clock = clock;
	map_init(&h->breakers, HEALTH_MAX);
	return h;
}

void health_free(struct health *h)
{
	struct map_node *n;

	if (!h)
		return;
	map_each (&h->breakers, n)
		free(n->value);
	map_done(&h->breakers);
	free(h);
}

/* A deployment's name is unique within its resource only. The name of a
 * resource has no '/' (conf/policy), so no two deployments share a key. Empty
 * when the names do not fit. */
static struct str health_key(char space[HEALTH_KEY_MAX], struct str resource,
                             struct str deployment)
{
	int n = snprintf(space, HEALTH_KEY_MAX, "%" STR_FMT "/%" STR_FMT,
	                 STR_ARG(resource), STR_ARG(deployment));

	return n < 0 || n >= HEALTH_KEY_MAX ? STR_NONE
	                                    : str_of(space, (size_t)n);
}

/* Milliseconds for which the breaker is not closed; 0: the answer says nothing
 * about the deployment. */
static uint64_t health_pause_ms(int status, uint64_t retry_after_ms)
{
	const uint64_t second = 1000;

	if (status != 429)
		return HEALTH_ERROR_S * second;
	if (retry_after_ms == 0)
		return HEALTH_OPEN_DEFAULT_S * second;
	return retry_after_ms > HEALTH_OPEN_MAX_S * second ? 0 : retry_after_ms;
}

void health_report(struct health *h, struct str resource, struct str deployment,
                   int status, uint64_t retry_after_ms)
{
	uint64_t ms = health_pause_ms(status, retry_after_ms);
	char space[HEALTH_KEY_MAX];
	struct str key = health_key(space, resource, deployment);
	struct breaker *b = map_get(&h->breakers, key);

	if (ms == 0 || key.len == 0)
		return;
	if (!b) {
		b = calloc(1, sizeof(*b));
		if (!b)
			return;
		if (!map_put(&h->breakers, key, b)) {
			free(b);
			return;
		}
	}
	b->state = status == 429 ? HEALTH_THROTTLED : HEALTH_FAILING;
	b->until_us = clock_mono_us(h->clock) + ms * 1000;
}

enum health_state health_look(const struct health *h, struct str resource,
                              struct str deployment, uint64_t *left_ms)
{
	char space[HEALTH_KEY_MAX];
	const struct breaker *b;
	uint64_t now;

	/* the common case: nothing has failed yet, and no key is needed */
	if (h->breakers.n == 0)
		return HEALTH_OK;
	b = map_get(&h->breakers, health_key(space, resource, deployment));
	now = b ? clock_mono_us(h->clock) : 0;
	if (!b || now >= b->until_us)
		return HEALTH_OK;
	/* rounded up: a caller that waits this long must find it closed */
	if (left_ms)
		*left_ms = (b->until_us - now + 999) / 1000;
	return b->state;
}
