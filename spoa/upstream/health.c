/* upstream/health: deployments to leave alone for a while. */
#include "upstream/health.h"

#include "base/map.h"

#include <stdio.h>
#include <stdlib.h>

enum { HEALTH_MAX = 10000, HEALTH_KEY_MAX = 512 };

struct entry {
	uint64_t until_us;
	enum health_state state;
};

struct health {
	const struct clock *clock;
	struct map entries; /* "resource/deployment" -> struct entry, owned */
};

struct health *health_new(const struct clock *clock)
{
	struct health *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->clock = clock;
	map_init(&c->entries, HEALTH_MAX);
	return c;
}

void health_free(struct health *c)
{
	struct map_node *n;

	if (!c)
		return;
	map_each (&c->entries, n)
		free(n->value);
	map_done(&c->entries);
	free(c);
}

static struct str key_of(char space[HEALTH_KEY_MAX], struct str resource,
                         struct str deployment)
{
	int n = snprintf(space, HEALTH_KEY_MAX, "%" STR_FMT "/%" STR_FMT,
	                 STR_ARG(resource), STR_ARG(deployment));

	return n < 0 || n >= HEALTH_KEY_MAX ? STR_NONE
	                                    : str_of(space, (size_t)n);
}

static uint64_t time_of(int status, uint64_t retry_after_ms)
{
	if (status != 429)
		return HEALTH_REST_ERROR_S * 1000;
	if (retry_after_ms == 0)
		return HEALTH_REST_DEFAULT_S * 1000;
	return retry_after_ms > HEALTH_REST_MAX_S * 1000 ? 0 : retry_after_ms;
}

void health_report(struct health *c, struct str resource, struct str deployment,
                   int status, uint64_t retry_after_ms)
{
	uint64_t ms = time_of(status, retry_after_ms);
	char space[HEALTH_KEY_MAX];
	struct str key = key_of(space, resource, deployment);
	struct entry *e = map_get(&c->entries, key);

	if (ms == 0 || key.len == 0)
		return;
	if (!e) {
		e = calloc(1, sizeof(*e));
		if (!e)
			return;
		if (!map_put(&c->entries, key, e)) {
			free(e);
			return;
		}
	}
	e->state = status == 429 ? HEALTH_THROTTLED : HEALTH_FAILING;
	e->until_us = clock_mono_us(c->clock) + ms * 1000;
}

enum health_state health_look(const struct health *c, struct str resource,
                              struct str deployment, uint64_t *left_ms)
{
	char space[HEALTH_KEY_MAX];
	const struct entry *e;
	uint64_t now;

	if (c->entries.n == 0)
		return HEALTH_OK;
	e = map_get(&c->entries, key_of(space, resource, deployment));
	now = e ? clock_mono_us(c->clock) : 0;
	if (!e || now >= e->until_us)
		return HEALTH_OK;
	if (left_ms)
		*left_ms = (e->until_us - now + 999) / 1000;
	return e->state;
}
