/*
 * keys: the RSA keys of the pretended tenant, and signing with them.
 */
#include "keys.h"

#include <stdlib.h>
#include <strings.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

enum { KEY_BITS = 2048 };

struct key {
	struct key *next;
	EVP_PKEY *pkey;
	char *kid; /* Entra's kid is the x5t: SHA-1 of the certificate */
	char *n, *e, *x5c;
	bool published;
};

struct keys {
	struct key *list; /* newest first; the first published one signs */
	struct key *other;
};

static char *modulus_part(EVP_PKEY *pkey, const char *name)
{
	unsigned char bytes[KEY_BITS / 8 + 1];
	struct sb s = {0};
	BIGNUM *bn = NULL;
	int n;

	if (EVP_PKEY_get_bn_param(pkey, name, &bn) != 1)
		abort();
	n = BN_bn2bin(bn, bytes);
	BN_free(bn);
	sb_b64url(&s, bytes, (size_t)n);
	return s.p;
}

/* A self-signed certificate: x5c holds it, x5t and kid are its SHA-1. */
static void certificate(struct key *k)
{
	static const unsigned char cn[] = "accounts.accesscontrol.windows.net";
	X509 *x = X509_new();
	unsigned char *der = NULL, md[20];
	struct sb kid = {0}, x5c = {0};
	X509_NAME *name;
	int n;

	if (x == NULL)
		abort();
	X509_set_version(x, 2);
	ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), rnd() >> 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -86400);
	X509_gmtime_adj(X509_getm_notAfter(x), 5L * 365 * 86400);
	name = X509_get_subject_name(x);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, cn, -1, -1, 0);
	X509_set_issuer_name(x, name);
	X509_set_pubkey(x, k->pkey);
	if (X509_sign(x, k->pkey, EVP_sha256()) == 0)
		abort();
	n = i2d_X509(x, &der);
	if (n <= 0 ||
	    EVP_Digest(der, (size_t)n, md, NULL, EVP_sha1(), NULL) != 1)
		abort();
	sb_b64url(&kid, md, sizeof(md));
	sb_b64(&x5c, der, (size_t)n);
	k->kid = kid.p;
	k->x5c = x5c.p;
	OPENSSL_free(der);
	X509_free(x);
}

static struct key *key_new(bool published)
{
	struct key *k = xmalloc(sizeof(*k));

	k->pkey = EVP_RSA_gen(KEY_BITS);
	if (k->pkey == NULL)
		abort();
	k->published = published;
	k->n = modulus_part(k->pkey, OSSL_PKEY_PARAM_RSA_N);
	k->e = modulus_part(k->pkey, OSSL_PKEY_PARAM_RSA_E);
	certificate(k);
	return k;
}

static void key_free(struct key *k)
{
	EVP_PKEY_free(k->pkey);
	free(k->kid);
	free(k->n);
	free(k->e);
	free(k->x5c);
	free(k);
}

struct keys *keys_new(void)
{
	struct keys *k = xmalloc(sizeof(*k));

	k->list = key_new(true);
	k->list->next = key_new(true);
	k->other = key_new(false);
	return k;
}

void keys_free(struct keys *k)
{
	struct key *key, *next;

	if (k == NULL)
		return;
	for (key = k->list; key != NULL; key = next) {
		next = key->next;
		key_free(key);
	}
	key_free(k->other);
	free(k);
}

const struct key *keys_current(const struct keys *k)
{
	struct key *key;

	for (key = k->list; key != NULL; key = key->next)
		if (key->published)
			return key;
	return NULL;
}

const struct key *keys_other(const struct keys *k)
{
	return k->other;
}

const struct key *keys_find(const struct keys *k, const char *kid)
{
	struct key *key;

	for (key = k->list; key != NULL; key = key->next)
		if (strcmp(key->kid, kid) == 0)
			return key;
	return NULL;
}

const char *key_kid(const struct key *key)
{
	return key->kid;
}

const struct key *keys_rotate(struct keys *k, bool drop_old)
{
	struct key *key;

	for (key = k->list; drop_old && key != NULL; key = key->next)
		key->published = false;
	key = key_new(true);
	key->next = k->list;
	k->list = key;
	return key;
}

bool keys_drop(struct keys *k, const char *kid)
{
	const struct key *cur = keys_current(k);
	struct key *key;

	for (key = k->list; key != NULL; key = key->next) {
		if (kid ? strcmp(key->kid, kid) != 0 : key != cur)
			continue;
		key->published = false;
		return true;
	}
	return false;
}

void keys_jwks(const struct keys *k, const char *issuer, struct sb *out)
{
	const struct key *key;
	const char *comma = "";

	sb_lit(out, "{\"keys\":[");
	for (key = k->list; key != NULL; key = key->next) {
		if (!key->published)
			continue;
		sb_fmt(out,
		       "%s{\"kty\":\"RSA\",\"use\":\"sig\",\"kid\":\"%s\","
		       "\"x5t\":\"%s\",\"n\":\"%s\",\"e\":\"%s\","
		       "\"x5c\":[\"%s\"],"
		       "\"cloud_instance_name\":\"microsoftonline.com\","
		       "\"issuer\":",
		       comma, key->kid, key->kid, key->n, key->e, key->x5c);
		sb_json(out, issuer, strlen(issuer));
		sb_lit(out, "}");
		comma = ",";
	}
	sb_lit(out, "]}");
}

/* The public key as an attacker would know it. */
static void public_form(const struct key *key, const char *form, struct sb *out)
{
	unsigned char *der = NULL;
	int n;

	if (strcmp(form, "modulus") == 0) {
		sb_unb64url(out, key->n, strlen(key->n));
	} else if (strcmp(form, "der") == 0) {
		n = i2d_PUBKEY(key->pkey, &der);
		if (n <= 0)
			abort();
		sb_add(out, der, (size_t)n);
		OPENSSL_free(der);
	} else {
		BIO *bio = BIO_new(BIO_s_mem());
		char *pem;
		long len;

		if (bio == NULL || PEM_write_bio_PUBKEY(bio, key->pkey) != 1)
			abort();
		len = BIO_get_mem_data(bio, &pem);
		sb_add(out, pem, (size_t)len);
		BIO_free(bio);
	}
}

static void sign_hmac(const struct key *key, const char *form, const char *text,
                      size_t len, struct sb *out)
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	struct sb secret = {0};
	unsigned n = 0;

	public_form(key, form, &secret);
	if (HMAC(EVP_sha256(), secret.p, (int)secret.len,
	         (const unsigned char *)text, len, mac, &n) == NULL)
		abort();
	sb_b64url(out, mac, n);
	sb_free(&secret);
}

/* RFC 7518, 3.5. */
static void pss_as_long_as_the_hash(EVP_PKEY_CTX *ctx)
{
	EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING);
	EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST);
}

void keys_sign(const struct key *key, const char *alg, const char *hmac_key,
               const char *text, size_t len, struct sb *out)
{
	const EVP_MD *md = EVP_sha256();
	unsigned char sig[KEY_BITS / 8];
	size_t n = sizeof(sig);
	EVP_PKEY_CTX *pctx;
	EVP_MD_CTX *ctx;

	if (strcasecmp(alg, "none") == 0)
		return;
	if (strcmp(alg, "HS256") == 0) {
		sign_hmac(key, hmac_key, text, len, out);
		return;
	}
	if (strcmp(alg, "RS384") == 0)
		md = EVP_sha384();
	else if (strcmp(alg, "RS512") == 0)
		md = EVP_sha512();
	ctx = EVP_MD_CTX_new();
	if (ctx == NULL ||
	    EVP_DigestSignInit(ctx, &pctx, md, NULL, key->pkey) != 1)
		abort();
	if (strcmp(alg, "PS256") == 0)
		pss_as_long_as_the_hash(pctx);
	if (EVP_DigestSign(ctx, sig, &n, (const unsigned char *)text, len) != 1)
		abort();
	EVP_MD_CTX_free(ctx);
	sb_b64url(out, sig, n);
}

static X509 *cert_of(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *x = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

	BIO_free(bio);
	return x;
}

void keys_thumbprint(const char *pem, bool sha256, struct sb *out)
{
	X509 *x = cert_of(pem);
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned len;

	if (x != NULL &&
	    X509_digest(x, sha256 ? EVP_sha256() : EVP_sha1(), md, &len) == 1)
		sb_b64url(out, md, len);
	X509_free(x);
}

bool keys_check_cert(const char *pem, bool pss, const char *text, size_t len,
                     const struct sb *sig)
{
	X509 *x = cert_of(pem);
	EVP_PKEY *pkey = x ? X509_get0_pubkey(x) : NULL;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx;
	bool ok = false;

	if (pkey != NULL && ctx != NULL &&
	    EVP_DigestVerifyInit(ctx, &pctx, EVP_sha256(), NULL, pkey) == 1) {
		if (pss)
			pss_as_long_as_the_hash(pctx);
		ok = EVP_DigestVerify(ctx, (const unsigned char *)sig->p,
		                      sig->len, (const unsigned char *)text,
		                      len) == 1;
	}
	EVP_MD_CTX_free(ctx);
	X509_free(x);
	return ok;
}
