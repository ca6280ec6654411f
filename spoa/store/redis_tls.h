/*
 * store/redis_tls: TLS to Redis, where hiredis has it (1.0 and later).
 *
 * hiredis up to 1.4.1 never compares the host name with the certificate
 * (azure.md 2.4), so the SSL object is made here: at least TLS 1.2, the chain
 * and the name (or address) are verified, and the name is sent as SNI.
 */
#ifndef STORE_REDIS_TLS_H
#define STORE_REDIS_TLS_H

#include "base/str.h"

struct redisContext;
struct redis_tls;

/* False when this build has no TLS (Debian 12: hiredis 0.14). All other
 * functions then fail or do nothing. */
bool redis_tls_can(void);

/* Settings for all connections to one Redis. `ca_file`: PEM file of trusted
 * CAs; empty: those of the system. On failure NULL and a constant in *error. */
struct redis_tls *redis_tls_new(struct str ca_file, const char **error);
void redis_tls_free(struct redis_tls *t); /* accepts NULL */

/* Start TLS on a connection whose connect() has just been started; the
 * handshake runs inside hiredis. `host`: the name or address that the
 * certificate must have. On failure false; *error is valid as long as the
 * connection. */
bool redis_tls_begin(struct redis_tls *t, struct redisContext *c,
                     const char *host, const char **error);

/* Why the certificate of the last connection was refused, as a constant; NULL
 * when it was accepted, or when none was received. hiredis does not report this
 * reason in its own error text. */
const char *redis_tls_error(const struct redis_tls *t);

#endif
