/*
 * store/redis_tls: TLS to Redis, where hiredis has it.
 *
 * Two implementations of one interface: with OpenSSL where hiredis has its SSL
 * adapter, and one that refuses everything where it has not.
 */
#include "store/redis_tls.h"

#include <hiredis/hiredis.h>

#if HIREDIS_MAJOR >= 1 && __has_include(<hiredis/hiredis_ssl.h>)

#include <arpa/inet.h>
#include <hiredis/hiredis_ssl.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

struct redis_tls {
	SSL_CTX *ctx;
	SSL *ssl; /* of the last connection; one reference is here, the other
	           * belongs to hiredis. Kept for redis_tls_error(). */
};

bool redis_tls_can(void)
{
	return true;
}

/* OpenSSL wants a path that ends in NUL. */
static bool tls_load_ca(SSL_CTX *ctx, struct str ca_file)
{
	char *path;
	bool ok;

	if (ca_file.len == 0)
		return SSL_CTX_set_default_verify_paths(ctx) == 1;
	path = str_dup(ca_file);
	ok = path && SSL_CTX_load_verify_locations(ctx, path, NULL) == 1;
	free(path);
	return ok;
}

struct redis_tls *redis_tls_new(struct str ca_file, const char **error)
{
	struct redis_tls *t = calloc(1, sizeof(*t));

	*error = "out of memory";
	if (!t)
		return NULL;
	t->ctx = SSL_CTX_new(TLS_client_method());
	if (!t->ctx) {
		redis_tls_free(t);
		return NULL;
	}
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
	if (SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION) != 1 ||
	    !tls_load_ca(t->ctx, ca_file)) {
		*error = "TLS cannot be set up: is the CA file readable?";
		redis_tls_free(t);
		return NULL;
	}
	return t;
}

void redis_tls_free(struct redis_tls *t)
{
	if (!t)
		return;
	SSL_free(t->ssl);
	SSL_CTX_free(t->ctx);
	free(t);
}

/* What the certificate must be for. A certificate has addresses and DNS names
 * in different fields (RFC 5280, section 4.2.1.6), and SNI is
 * for names only (RFC 6066, section 3). */
static bool tls_expect_host(SSL *ssl, const char *host)
{
	unsigned char ip[16];

	if (inet_pton(AF_INET, host, ip) == 1 ||
	    inet_pton(AF_INET6, host, ip) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl),
		                                     host) == 1;
	return SSL_set1_host(ssl, host) == 1 &&
	       SSL_set_tlsext_host_name(ssl, host) == 1;
}

const char *redis_tls_error(const struct redis_tls *t)
{
	long result = X509_V_OK;

	if (t && t->ssl)
		result = SSL_get_verify_result(t->ssl);
	return result == X509_V_OK ? NULL
	                           : X509_verify_cert_error_string(result);
}

/* The SSL of the connection before is released here and not when that one was
 * closed: redis_tls_error() still needs it after the handshake has failed. */
bool redis_tls_begin(struct redis_tls *t, struct redisContext *c,
                     const char *host, const char **error)
{
	SSL_free(t->ssl);
	t->ssl = SSL_new(t->ctx);
	*error = "TLS cannot be begun";
	if (!t->ssl || !tls_expect_host(t->ssl, host))
		return false;
	SSL_up_ref(t->ssl);
	if (redisInitiateSSL(c, t->ssl) == REDIS_OK)
		return true; /* hiredis frees its reference */
	SSL_free(t->ssl);
	if (redis_tls_error(t))
		*error = redis_tls_error(t);
	else if (c->err)
		*error = c->errstr;
	return false;
}

#else

bool redis_tls_can(void)
{
	return false;
}

struct redis_tls *redis_tls_new(struct str ca_file, const char **error)
{
	(void)ca_file;
	*error = "this build has no TLS to Redis";
	return NULL;
}

void redis_tls_free(struct redis_tls *t)
{
	(void)t;
}

const char *redis_tls_error(const struct redis_tls *t)
{
	(void)t;
	return NULL;
}

bool redis_tls_begin(struct redis_tls *t, struct redisContext *c,
                     const char *host, const char **error)
{
	(void)t;
	(void)c;
	(void)host;
	*error = "this build has no TLS to Redis";
	return false;
}

#endif
