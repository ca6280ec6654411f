/*
 * issued: tokens that IMDS, App Service or the token endpoint gave out, so
 * that the data plane knows a bearer that is really one of Azure's.
 */
#ifndef SIM_ISSUED_H
#define SIM_ISSUED_H

#include <time.h>

#include "text.h"

struct issued;

/* What a token is good for. */
enum audience {
	AUDIENCE_NONE = 0, /* not a token we issued, expired, or another's */
	AUDIENCE_COGNITIVE = 1, /* https://cognitiveservices.azure.com[/] */
	AUDIENCE_FOUNDRY = 2,   /* https://ai.azure.com[/] */
};

struct issued *issued_new(void);
void issued_free(struct issued *i);

void issued_add(struct issued *i, const char *token, size_t len,
                const char *aud, time_t expires);
enum audience issued_find(const struct issued *i, const char *token,
                          size_t len);

/* The newest that was given out for Azure's Redis, which tests let in by it;
 * empty when there is none. Borrowed until the next is added. */
const char *issued_redis(const struct issued *i);

/* From now on no token given out before is good. */
void issued_clear(struct issued *i);

#endif
