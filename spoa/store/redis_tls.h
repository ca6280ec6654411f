/*
 * store/redis_tls: TLS to Redis, where hiredis has it (1.0 and later).
 *
 * hiredis itself never compares the name in a certificate, so the SSL object
 * is made here: TLS 1.2 at least, the chain and the name (or address) are
 * verified, the name is sent as SNI.
 */
#ifndef STORE_REDIS_TLS_H
#define STORE_REDIS_TLS_H

#include "base/str.h"

struct redisContext;
struct redis_tls;

/* False when this build has no TLS. */
bool redis_tls_can(void);

/* `ca_file` empty: the system's. NULL with a constant in *error. */
struct redis_tls *redis_tls_new(struct str ca_file, const char **error);
void redis_tls_free(struct redis_tls *t); /* accepts NULL */

/* Speak TLS on a connection that has just been started. *error is valid as long
 * as the connection. */
bool redis_tls_begin(struct redis_tls *t, struct redisContext *c,
                     const char *host, const char **error);

/* Why the certificate of the last connection was not believed, as a constant;
 * NULL when it was, or when none has come. hiredis does not keep that. */
const char *redis_tls_error(const struct redis_tls *t);

#endif
