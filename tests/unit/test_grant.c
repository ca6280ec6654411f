/*
 * keys/grant: requests that are made of files, and challenges that name some.
 * keys/jose_sign: assertions of certificates, checked with their public key.
 */
#include "test.h"

#include "base/json.h"
#include "keys/grant.h"
#include "keys/jose.h"
#include "keys/jose_sign.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NOW = 1800000000 };

static char folder[] = "/tmp/test_grant.XXXXXX";
static char path[128];
static struct policy_credential cred;
static struct grant grant;
static struct buf why;

static void write_bytes(const char *name, const char *text, size_t len)
{
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static void write_file(const char *name, const char *text)
{
	write_bytes(name, text, strlen(text));
}

static bool made(void)
{
	static const struct str audience =
		STR_INIT("https://ai.azure.com/.default");

	grant_done(&grant);
	buf_done(&why);
	buf_init(&why, GRANT_WHY_MAX);
	return grant_init(&grant, &cred, audience, NOW, &why);
}

static void assert_why(const char *text)
{
	assert_true(why.len > 0);
	buf_add(&why, "", 1);
	why.len--;
	if (!strstr(why.p, text))
		fail_msg("\"%s\" is not in \"%s\"", text, why.p);
}

static int setup(void **state)
{
	(void)state;
	cred = (struct policy_credential){
		.name = STR("c"),
		.type = CRED_WORKLOAD,
		.endpoint = STR("https://login.example"),
		.tenant_id = STR("t1"),
		.client_id = STR("c1"),
		.file = STR_NONE,
	};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	grant_done(&grant);
	buf_done(&why);
	unlink(path);
	return 0;
}

/* -------------------------------------------------------- federated token */

static void file_without_a_token_is_not_sent(void **state)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{"", "is empty"},
		{"\n \n", "is empty"},
		{"root:x:0:0:root:/root:/bin/bash\n", "holds no token"},
		{"aa.bb", "holds no token"},
		{"aa.bb.cc.dd", "holds no token"},
		{"aa..cc", "holds no token"},
		{".aa.bb", "holds no token"},
		{"aa.bb.", "holds no token"},
		{"aa.bb.cc&client_id=other", "holds no token"},
		{"aa.bb.cc\naa.bb.cc", "holds no token"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_file("token", bad[i].text);
		cred.file = str_c(path);
		assert_false(made());
		assert_why(bad[i].why);
		assert_why(path);
		assert_null(strstr(why.p, "root"));
	}
	write_bytes("token", "a.b\0.c", 6);
	assert_false(made());
	assert_why("holds no token");
}

static void file_that_is_none(void **state)
{
	static char large[9000];

	(void)state;
	snprintf(path, sizeof(path), "%s/none", folder);
	cred.file = str_c(path);
	assert_false(made());
	assert_why("cannot be read: No such file");
	cred.file = str_c(folder);
	assert_false(made());
	assert_why("cannot be read: not a regular file");
	cred.file = str_c(path);
	/* nobody writes to it: opening it must not wait */
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_false(made());
	assert_why("not a regular file");
	unlink(path);
	memset(large, 'a', sizeof(large));
	write_bytes("token", large, sizeof(large));
	cred.file = str_c(path);
	assert_false(made());
	assert_why("is too long");
}

/* ------------------------------------------------------------ certificates */

static char *pem;
static size_t pem_len;
static EVP_PKEY *key;
static uint8_t thumbprint[32];

struct wish {
	int bits;
	const char *curve; /* instead of RSA */
	int64_t from, to;  /* seconds from NOW */
	bool no_key, other_cert, locked, cert_last;
};

static X509 *make_cert(EVP_PKEY *k, int64_t from, int64_t to)
{
	X509 *x = X509_new();

	assert_non_null(x);
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	ASN1_TIME_set(X509_getm_notBefore(x), (time_t)(NOW + from));
	ASN1_TIME_set(X509_getm_notAfter(x), (time_t)(NOW + to));
	assert_int_equal(X509_set_pubkey(x, k), 1);
	assert_true(X509_sign(x, k, EVP_sha256()) > 0);
	return x;
}

static void forget(void)
{
	free(pem);
	EVP_PKEY_free(key);
	pem = NULL;
	key = NULL;
}

static void add_cert(BIO *bio, EVP_PKEY *k, const struct wish *w)
{
	X509 *x = make_cert(k, w->from, w->to);

	assert_int_equal(PEM_write_bio_X509(bio, x), 1);
	if (k == key)
		assert_int_equal(X509_digest(x, EVP_sha256(), thumbprint, NULL),
		                 1);
	X509_free(x);
}

static void make_pem(const struct wish *w)
{
	BIO *bio = BIO_new(BIO_s_mem());
	EVP_PKEY *other = EVP_RSA_gen(2048);
	char *mem;

	forget();
	key = w->curve ? EVP_EC_gen(w->curve) : EVP_RSA_gen((unsigned)w->bits);
	assert_non_null(key);
	assert_non_null(other);
	if (w->cert_last || w->other_cert)
		add_cert(bio, other, w); /* of a chain */
	if (!w->cert_last && !w->other_cert)
		add_cert(bio, key, w);
	if (!w->no_key)
		assert_int_equal(
			PEM_write_bio_PrivateKey(
				bio, key, w->locked ? EVP_aes_128_cbc() : NULL,
				NULL, 0, NULL,
				w->locked ? (void *)(uintptr_t) "pass" : NULL),
			1);
	if (w->cert_last)
		add_cert(bio, key, w);
	pem_len = (size_t)BIO_get_mem_data(bio, &mem);
	pem = malloc(pem_len);
	assert_non_null(pem);
	memcpy(pem, mem, pem_len);
	BIO_free(bio);
	EVP_PKEY_free(other);
}

static const struct wish fine = {.bits = 2048, .from = -60, .to = 60};

static const char *sign(struct buf *out)
{
	const struct jose_assertion a = {
		.pem = str_of(pem, pem_len),
		.client_id = STR("c\"1"),
		.audience = STR("https://login.example/t1/oauth2/v2.0/token"),
		.now_s = NOW,
	};

	buf_init(out, JOSE_ASSERTION_MAX);
	return jose_sign(&a, out);
}

static size_t unb64(struct str s, uint8_t *out)
{
	char text[JOSE_ASSERTION_MAX];
	size_t i, pad = (4 - s.len % 4) % 4;
	int n;

	for (i = 0; i < s.len; i++)
		text[i] = s.p[i] == '-' ? '+' : s.p[i] == '_' ? '/' : s.p[i];
	memset(text + s.len, '=', pad);
	n = EVP_DecodeBlock(out, (uint8_t *)text, (int)(s.len + pad));
	assert_true(n >= 0);
	return (size_t)n - pad;
}

static struct json *part(struct str s)
{
	uint8_t text[JOSE_ASSERTION_MAX];
	const char *error;
	size_t at, len = unb64(s, text);
	struct json *j =
		json_parse(str_of((const char *)text, len), &error, &at);

	assert_non_null(j);
	return j;
}

static void assert_member(const struct json *j, const char *name,
                          struct str expected)
{
	struct str s;

	assert_true(json_str(json_get(j, name), &s));
	assert_true(str_eq(s, expected));
}

static int64_t number(const struct json *j, const char *name)
{
	int64_t n = -1;

	assert_true(json_int(json_get(j, name), &n));
	return n;
}

static bool pss_good(struct str text, struct str signature)
{
	uint8_t sig[JOSE_ASSERTION_MAX];
	size_t len = unb64(signature, sig);
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	EVP_PKEY_CTX *ctx;
	bool ok =
		EVP_DigestVerifyInit(md, &ctx, EVP_sha256(), NULL, key) == 1 &&
		EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) > 0 &&
		/* RFC 7518, 3.5: the salt is as long as the hash */
		EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, 32) > 0 &&
		EVP_DigestVerify(md, sig, len, (const uint8_t *)text.p,
	                         text.len) == 1;

	EVP_MD_CTX_free(md);
	return ok;
}

static void check_header(struct str text)
{
	struct json *j = part(text);
	uint8_t sum[JOSE_ASSERTION_MAX];
	struct str x5t;

	assert_int_equal(json_count(j), 3);
	assert_member(j, "alg", STR("PS256"));
	assert_member(j, "typ", STR("JWT"));
	assert_true(json_str(json_get(j, "x5t#S256"), &x5t));
	assert_int_equal(x5t.len, 43);
	assert_int_equal(unb64(x5t, sum), 32);
	assert_memory_equal(sum, thumbprint, 32);
	json_free(j);
}

static void check_claims(struct str text, char jti[33])
{
	struct json *j = part(text);
	struct str id;

	assert_member(j, "aud",
	              STR("https://login.example/t1/oauth2/v2.0/token"));
	assert_member(j, "iss", STR("c\"1"));
	assert_member(j, "sub", STR("c\"1"));
	assert_int_equal(number(j, "nbf"), NOW);
	assert_int_equal(number(j, "iat"), NOW);
	assert_in_range(number(j, "exp"), NOW + 60, NOW + 600);
	assert_true(json_str(json_get(j, "jti"), &id));
	assert_int_equal(id.len, 32);
	memcpy(jti, id.p, 33);
	json_free(j);
}

static void check_assertion(char jti[33])
{
	struct buf out;
	struct str head, claims, text, all;

	assert_null(sign(&out));
	all = buf_str(&out);
	head = str_first(all, str_find(all, '.'));
	claims = str_from(all, head.len + 1);
	claims = str_first(claims, str_find(claims, '.'));
	text = str_first(all, head.len + 1 + claims.len);
	check_header(head);
	check_claims(claims, jti);
	assert_true(pss_good(text, str_from(all, text.len + 1)));
	buf_done(&out);
}

static void assertion_is_signed_by_the_certificates_key(void **state)
{
	struct wish w = fine;
	char one[33], two[33];

	(void)state;
	make_pem(&w);
	check_assertion(one);
	check_assertion(two);
	assert_string_not_equal(one, two);
	w.cert_last = true;
	w.bits = 3072;
	make_pem(&w);
	check_assertion(one);
}

static void certificates_that_cannot_sign(void **state)
{
	static const struct {
		struct wish wish;
		const char *why;
	} bad[] = {
		{{2048, .from = -60, .to = -1}, "has ended"},
		{{2048, .from = 1, .to = 60}, "not valid yet"},
		{{1024, .from = -60, .to = 60}, "no RSA key of 2048"},
		{{.curve = "P-256", .from = -60, .to = 60}, "no RSA key"},
		{{2048, .from = -60, .to = 60, .no_key = true},
	         "no private key"},
		{{2048, .from = -60, .to = 60, .other_cert = true},
	         "no certificate of its private key"},
		/* must not ask for it on the terminal either */
		{{2048, .from = -60, .to = 60, .locked = true},
	         "without a passphrase"},
	};
	struct buf out;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const char *said;

		make_pem(&bad[i].wish);
		said = sign(&out);
		if (!said || !strstr(said, bad[i].why))
			fail_msg("%zu: \"%s\" is not in \"%s\"", i, bad[i].why,
			         said ? said : "(it signed)");
		assert_int_equal(out.len, 0);
		buf_done(&out);
	}
}

/* The assertion is a credential until it ends. */
enum { SAMPLE = 40 };

/* Times that a text occurs in `len` bytes. It is given inverted, so that the
 * needle is not found itself. */
static unsigned count_in(const char *mem, size_t len, const char *inverted)
{
	unsigned n = 0;

	for (size_t i = 0; i + SAMPLE <= len; i++) {
		size_t k = 0;

		while (k < SAMPLE && (mem[i + k] ^ inverted[k]) == -1)
			k++;
		n += k == SAMPLE;
	}
	return n;
}

/* The same in all memory that this process writes to. Mappings of more than
 * 1 GB are those of a sanitizer. */
static unsigned occurrences(const char *inverted)
{
	static char chunk[1 << 20];
	FILE *maps = fopen("/proc/self/maps", "r");
	int mem = open("/proc/self/mem", O_RDONLY);
	unsigned long from, to;
	char line[512], mode[8];
	unsigned n = 0;

	assert_non_null(maps);
	assert_true(mem >= 0);
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %4s", &from, &to, mode) != 3 ||
		    mode[1] != 'w' || to - from > 1UL << 30)
			continue;
		for (; from < to; from += sizeof(chunk) - SAMPLE + 1) {
			size_t want = to - from < sizeof(chunk) ? to - from
			                                        : sizeof(chunk);
			ssize_t len = pread(mem, chunk, want, (off_t)from);

			if (len > 0)
				n += count_in(chunk, (size_t)len, inverted);
			memset(chunk, 0, sizeof(chunk));
		}
	}
	fclose(maps);
	close(mem);
	return n;
}

static void assertion_is_nowhere_after_the_request(void **state)
{
	char sample[SAMPLE];
	const char *end;

	(void)state;
	cred.type = CRED_CERTIFICATE;
	make_pem(&fine);
	write_bytes("cert", pem, pem_len);
	cred.file = str_c(path);
	assert_true(made());
	/* the signature is the last part of the body */
	end = grant.body + strlen(grant.body);
	for (size_t i = 0; i < SAMPLE; i++)
		sample[i] = (char)~end[(long)i - 100];
	assert_int_equal(occurrences(sample), 1); /* grant.body */
	grant_done(&grant);
	assert_int_equal(occurrences(sample), 0);
}

static void certificate_goes_into_the_request(void **state)
{
	(void)state;
	cred.type = CRED_CERTIFICATE;
	make_pem(&fine);
	write_bytes("cert", pem, pem_len);
	cred.file = str_c(path);
	assert_true(made());
	assert_string_equal(grant.url,
	                    "https://login.example/t1/oauth2/v2.0/token");
	assert_non_null(strstr(grant.body,
	                       "&scope=https%3A%2F%2Fai.azure.com%2F.default"
	                       "&client_assertion_type="));
	assert_non_null(strstr(grant.body, "&client_assertion=ey"));
	assert_null(strstr(grant.body, "PRIVATE"));
	write_file("cert", "no PEM");
	assert_false(made());
	assert_why("no private key");
	assert_why(path);
}

/* ---------------------------------------------------------- Arc challenges */

/* A challenge in which @ stands for the folder. */
static bool proved(const char *realm)
{
	size_t at = str_find(str_c(realm), '@');
	bool has = realm[at] == '@';
	char text[512];

	cred.type = CRED_ARC;
	assert_true(made());
	snprintf(text, sizeof(text), "%.*s%s%s", (int)at, realm,
	         has ? folder : "", has ? realm + at + 1 : "");
	return grant_prove(&grant, str_c(text), folder, &why);
}

static void arc_key_is_read(void **state)
{
	(void)state;
	write_file("a.key", "s3cret\r\n");
	assert_true(proved("Basic realm=@/a.key"));
	assert_string_equal(grant.headers[0], "Metadata: true");
	assert_string_equal(grant.headers[1], "Authorization: Basic s3cret");
	assert_null(grant.headers[2]);
	assert_true(proved("basic Realm=@/a.key"));
	/* one proof for one request */
	assert_false(grant_prove(&grant, STR("Basic realm=x"), folder, &why));
	assert_why("refuses the key");
}

static void arc_challenge_out_of_the_folder(void **state)
{
	static const char *const bad[] = {
		"",
		"Basic",
		"Basic realm=",
		"Basic realm=@",
		"Basic realm=@/",
		"Basic realm=@/.key",
		"Basic realm=@/a.keys",
		"Basic realm=@/a.key.txt",
		"Basic realm=@/a.key ",
		"Basic realm=@/a.key, Basic realm=/etc/shadow",
		"Basic realm=@/../a.key",
		"Basic realm=@/./a.key",
		"Basic realm=@//a.key",
		"Basic realm=@/sub/a.key",
		"Basic realm=@x/a.key",
		"Basic realm=/etc/a.key",
		"Basic realm=/@/a.key",
		"Basic realm= @/a.key",
		"Basic realm=a.key",
		"Basic realm=@/..key",
		"Basic realm=@/a\\..\\b.key",
		"Basic  realm=@/a.key",
		"Bearer realm=@/a.key",
		"Digest realm=x, Basic realm=@/a.key",
		"Basic realm=@/\ta.key",
	};
	size_t i;

	(void)state;
	write_file("a.key", "s3cret");
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (proved(bad[i]))
			fail_msg("accepted: %s", bad[i]);
		assert_why("something else than a file NAME.key in");
		assert_null(grant.headers[1]);
	}
}

static void arc_challenge_with_a_nul(void **state)
{
	char text[200];
	int n;

	(void)state;
	write_file("a.key", "s3cret");
	cred.type = CRED_ARC;
	assert_true(made());
	n = snprintf(text, sizeof(text), "Basic realm=%s/a.key_.key", folder);
	text[n - 5] = '\0';
	assert_false(
		grant_prove(&grant, str_of(text, (size_t)n), folder, &why));
}

static void arc_key_that_is_none(void **state)
{
	static char large[4097];
	char link[128];

	(void)state;
	assert_false(proved("Basic realm=@/none.key"));
	assert_why("No such file");
	write_file("a.key", "");
	assert_false(proved("Basic realm=@/a.key"));
	assert_why("holds no key");
	write_file("a.key", "a\r\nX-Evil: 1");
	assert_false(proved("Basic realm=@/a.key"));
	assert_why("holds no key");
	assert_null(strstr(why.p, "Evil"));
	memset(large, 'k', sizeof(large));
	write_bytes("a.key", large, 4097);
	assert_false(proved("Basic realm=@/a.key"));
	assert_why("longer than a key");
	write_bytes("a.key", large, 4096);
	assert_true(proved("Basic realm=@/a.key"));
	snprintf(link, sizeof(link), "%s/l.key", folder);
	assert_int_equal(symlink("/etc/hostname", link), 0);
	assert_false(proved("Basic realm=@/l.key"));
	assert_why("cannot be used");
	unlink(link);
	assert_int_equal(mkdir(link, 0700), 0);
	assert_false(proved("Basic realm=@/l.key"));
	assert_why("not a regular file");
	rmdir(link);
}

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	forget();
	return rmdir(folder);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(file_without_a_token_is_not_sent),
		TEST(file_that_is_none),
		TEST(assertion_is_signed_by_the_certificates_key),
		TEST(certificates_that_cannot_sign),
		TEST(certificate_goes_into_the_request),
		TEST(assertion_is_nowhere_after_the_request),
		TEST(arc_key_is_read),
		TEST(arc_challenge_out_of_the_folder),
		TEST(arc_challenge_with_a_nul),
		TEST(arc_key_that_is_none),
	};

	return cmocka_run_group_tests_name("grant", tests, make_folder,
	                                   remove_folder);
}
