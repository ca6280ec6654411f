/*
 * issued: tokens that the identity endpoints gave out.
 *
 * A hash table that never grows: the slot's older token is forgotten when
 * a new one needs the place, which takes tens of thousands of live tokens.
 */
#include "issued.h"

#include <stdlib.h>

enum { SLOTS = 1 << 16 };

struct slot {
	char *token;
	size_t len;
	time_t expires;
	enum audience audience;
};

struct issued {
	struct slot slot[SLOTS];
	char *redis;
};

struct issued *issued_new(void)
{
	return xmalloc(sizeof(struct issued));
}

void issued_clear(struct issued *i)
{
	for (size_t n = 0; n < SLOTS; n++) {
		free(i->slot[n].token);
		i->slot[n] = (struct slot){0};
	}
	free(i->redis);
	i->redis = NULL;
}

void issued_free(struct issued *i)
{
	if (i == NULL)
		return;
	issued_clear(i);
	free(i);
}

/* FNV-1a over the end of the token: the signature, which always differs. */
static size_t slot_of(const char *token, size_t len)
{
	size_t from = len > 64 ? len - 64 : 0;
	uint64_t h = 14695981039346656037ULL;

	for (size_t n = from; n < len; n++)
		h = (h ^ (unsigned char)token[n]) * 1099511628211ULL;
	return (size_t)(h ^ h >> 32) % SLOTS;
}

static enum audience audience_of(const char *aud)
{
	size_t len = strlen(aud);

	if (len > 0 && aud[len - 1] == '/')
		len--;
	if (len == strlen("https://cognitiveservices.azure.com") &&
	    memcmp(aud, "https://cognitiveservices.azure.com", len) == 0)
		return AUDIENCE_COGNITIVE;
	if (len == strlen("https://ai.azure.com") &&
	    memcmp(aud, "https://ai.azure.com", len) == 0)
		return AUDIENCE_FOUNDRY;
	return AUDIENCE_NONE;
}

void issued_add(struct issued *i, const char *token, size_t len,
                const char *aud, time_t expires)
{
	struct slot *s = &i->slot[slot_of(token, len)];

	if (strcmp(aud, "https://redis.azure.com") == 0) {
		free(i->redis);
		i->redis = xstrndup(token, len);
	}
	free(s->token);
	*s = (struct slot){
		.token = xstrndup(token, len),
		.len = len,
		.expires = expires,
		.audience = audience_of(aud),
	};
}

const char *issued_redis(const struct issued *i)
{
	return i->redis ? i->redis : "";
}

enum audience issued_find(const struct issued *i, const char *token, size_t len)
{
	const struct slot *s = &i->slot[slot_of(token, len)];

	if (s->token == NULL || s->len != len ||
	    memcmp(s->token, token, len) != 0 || s->expires <= time(NULL))
		return AUDIENCE_NONE;
	return s->audience;
}
