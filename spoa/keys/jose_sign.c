/*
 * keys/jose_sign: client assertions signed with a certificate's key.
 *
 *   jose_sign -> sign_load_key -> sign_add_header . sign_add_claims
 *                              -> sign_add_signature -> sign_free_key
 */
#include "keys/jose_sign.h"

#include "base/b64url.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <time.h>

/* RFC 7518, 3.5 asks for at least 2048. The maximum bounds the signature's
 * buffer on the stack and the time of a signature, about 50 ms there. */
enum { SIGN_MIN_BITS = 2048, SIGN_MAX_BITS = 8192 };

/* Owns both; either may be NULL. */
struct signer {
	EVP_PKEY *key;
	X509 *cert;
};

/* ------------------------------------------------------------------ PEM */

/* The callback for passphrases: there is none. Without this callback OpenSSL
 * asks on the terminal, and the loop would wait for the answer. */
static int sign_on_passphrase(char *text, int size, int writing, void *ctx)
{
	(void)text;
	(void)size;
	(void)writing;
	(void)ctx;
	return -1;
}

/* The first private key in the text, or NULL. */
static EVP_PKEY *sign_read_key(struct str pem)
{
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.len);
	EVP_PKEY *key = NULL;

	if (bio)
		key = PEM_read_bio_PrivateKey(bio, NULL, sign_on_passphrase,
		                              NULL);
	BIO_free(bio);
	return key;
}

/* The certificate of `key`: files hold chains in any order, so it is found by
 * its public key. NULL when there is none. */
static X509 *sign_read_cert(struct str pem, const EVP_PKEY *key)
{
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.len);
	X509 *cert = NULL;

	while (bio) {
		cert = PEM_read_bio_X509(bio, NULL, sign_on_passphrase, NULL);
		if (!cert || X509_check_private_key(cert, key) == 1)
			break;
		X509_free(cert);
	}
	BIO_free(bio);
	return cert;
}

static const char *sign_check_time(const X509 *cert, int64_t now_s)
{
	time_t now = (time_t)now_s;

	/* X509_cmp_time() returns 0 for an error, hence >= and <= */
	if (X509_cmp_time(X509_get0_notBefore(cert), &now) >= 0)
		return "the certificate is not valid yet";
	if (X509_cmp_time(X509_get0_notAfter(cert), &now) <= 0)
		return "the certificate has ended";
	return NULL;
}

/* NULL, or what is wrong with the PEM text. The caller frees `s` either way. */
static const char *sign_load_key(struct signer *s, struct str pem,
                                 int64_t now_s)
{
	if (pem.len > JOSE_PEM_MAX)
		return "the PEM text is too long";
	s->key = sign_read_key(pem);
	if (!s->key)
		return "the PEM text has no private key that can be read; "
		       "expected one without a passphrase";
	if (!EVP_PKEY_is_a(s->key, "RSA") ||
	    EVP_PKEY_get_bits(s->key) < SIGN_MIN_BITS ||
	    EVP_PKEY_get_bits(s->key) > SIGN_MAX_BITS)
		return "the private key is no RSA key of 2048 bits or more";
	s->cert = sign_read_cert(pem, s->key);
	if (!s->cert)
		return "the PEM text has no certificate of its private key";
	return sign_check_time(s->cert, now_s);
}

static void sign_free_key(struct signer *s)
{
	X509_free(s->cert);
	EVP_PKEY_free(s->key); /* OpenSSL clears the numbers of the key */
	ERR_clear_error();
}

/* ------------------------------------------------------------ assertion */

/* x5t#S256 (RFC 7515, 4.1.8) tells Entra which of the app's certificates it
 * is. Entra also takes RS256 with x5t, which is SHA-1. */
static void sign_add_header(const struct signer *s, struct buf *out)
{
	uint8_t sum[32];
	unsigned len = 0;
	struct buf json;

	buf_init(&json, 256);
	if (X509_digest(s->cert, EVP_sha256(), sum, &len) != 1 ||
	    len != sizeof(sum))
		json.failed = true;
	buf_fmt(&json, "{\"alg\":\"PS256\",\"typ\":\"JWT\",\"x5t#S256\":\"");
	b64url_write(&json, str_of((const char *)sum, sizeof(sum)));
	buf_fmt(&json, "\"}");
	out->failed = out->failed || json.failed;
	b64url_write(out, buf_str(&json));
	buf_done(&json);
}

/* The claims of a client assertion (RFC 7523, 3; azure.md 3.7). By the random
 * jti Entra can tell a replay. */
static void sign_add_claims(const struct jose_assertion *a, struct buf *out)
{
	uint8_t id[16];
	char jti[33];
	struct buf json;

	buf_init(&json, JOSE_ASSERTION_MAX / 2);
	if (RAND_bytes(id, sizeof(id)) != 1)
		json.failed = true;
	str_hex(id, sizeof(id), jti);
	buf_fmt(&json, "{\"aud\":");
	buf_json(&json, a->audience);
	buf_fmt(&json, ",\"iss\":");
	buf_json(&json, a->client_id);
	buf_fmt(&json, ",\"sub\":");
	buf_json(&json, a->client_id);
	buf_fmt(&json,
	        ",\"jti\":\"%s\",\"nbf\":%lld,\"iat\":%lld,\"exp\":%lld}", jti,
	        (long long)a->now_s, (long long)a->now_s,
	        (long long)a->now_s + JOSE_ASSERTION_LIFE_S);
	out->failed = out->failed || json.failed;
	b64url_write(out, buf_str(&json));
	buf_done(&json);
}

/* PS256 (RFC 7518, 3.5): PSS with SHA-256, MGF1 with SHA-256 (the default of
 * OpenSSL for that digest), and a salt as long as the digest. */
static bool sign_add_signature(const struct signer *s, struct str text,
                               struct buf *out)
{
	uint8_t sig[SIGN_MAX_BITS / 8];
	size_t len = sizeof(sig);
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	EVP_PKEY_CTX *ctx; /* belongs to md */
	bool ok;

	ok = md &&
	     EVP_DigestSignInit(md, &ctx, EVP_sha256(), NULL, s->key) == 1 &&
	     EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) > 0 &&
	     EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) >
	             0 &&
	     EVP_DigestSign(md, sig, &len, (const uint8_t *)text.p, text.len) ==
	             1;
	EVP_MD_CTX_free(md);
	ok = ok && buf_add(out, ".", 1) &&
	     b64url_write(out, str_of((const char *)sig, len));
	explicit_bzero(sig, sizeof(sig));
	return ok;
}

const char *jose_sign(const struct jose_assertion *a, struct buf *out)
{
	struct signer s = {NULL, NULL};
	const char *why = sign_load_key(&s, a->pem, a->now_s);
	size_t from = out->len;

	if (!why) {
		struct buf text; /* what is signed */

		buf_init(&text, JOSE_ASSERTION_MAX);
		sign_add_header(&s, &text);
		buf_add(&text, ".", 1);
		sign_add_claims(a, &text);
		buf_add_str(out, buf_str(&text));
		if (text.failed || out->failed ||
		    !sign_add_signature(&s, buf_str(&text), out))
			why = "the assertion could not be signed";
		buf_done(&text);
	}
	sign_free_key(&s);
	if (why)
		out->len = from;
	return why;
}
