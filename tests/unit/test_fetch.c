/*
 * net/fetch: TLS, the environment's proxies, and what a caller may do while
 * exchanges are under way. (Sizes, deadlines and redirects: test_jwks,
 * test_outbound.)
 */
#include "test.h"

#include "httpd.h"
#include "net/fetch.h"

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct loop *loop;
static struct httpd *httpd;
static unsigned n_requests, n_done;
static int status;
static bool failed;

static void answer(void *ctx, const struct httpd_request *r, struct buf *out)
{
	(void)ctx;
	(void)r;
	n_requests++;
	httpd_answer(out, 200, "", STR("fine"));
}

static void on_done(void *ctx, const struct fetch_result *res)
{
	(void)ctx;
	n_done++;
	status = res->status;
	failed = res->error != NULL;
	assert_int_equal(failed, res->status == 0);
	if (status == 200)
		assert_true(str_eq(res->body, STR("fine")));
}

static int setup(void **state)
{
	(void)state;
	n_requests = n_done = 0;
	loop = loop_new();
	httpd = httpd_new(loop, answer, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	httpd_free(httpd);
	loop_free(loop);
	return 0;
}

static struct fetch_job *start(struct fetch *f, const char *url, bool http,
                               void (*done)(void *ctx,
                                            const struct fetch_result *res),
                               void *ctx)
{
	struct fetch_request r = {.url = str_c(url),
	                          .allow_http = http,
	                          .deadline_ms = 5000,
	                          .max_answer = 1024};

	return fetch_start(f, &r, done, ctx);
}

static const char *url_of_httpd(void)
{
	static char url[64];

	snprintf(url, sizeof(url), "http://127.0.0.1:%u/x", httpd_port(httpd));
	return url;
}

/* -------------------------------------------------------------------- TLS */

/* A server with a self-signed certificate for 127.0.0.1 that serves one
 * connection on its own thread. */
struct tls_server {
	EVP_PKEY *key;
	X509 *cert;
	char ca_file[64];
	int fd;
	unsigned port;
	pthread_t thread;
	bool shook_hands;
};

static void make_certificate(struct tls_server *s)
{
	X509_EXTENSION *san = X509V3_EXT_conf_nid(
		NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
	X509_NAME *name;

	s->key = EVP_RSA_gen(2048);
	s->cert = X509_new();
	assert_non_null(s->key);
	X509_set_version(s->cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(s->cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(s->cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(s->cert), 3600);
	name = X509_get_subject_name(s->cert);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
	                           (const unsigned char *)"test", -1, -1, 0);
	X509_set_issuer_name(s->cert, name);
	X509_set_pubkey(s->cert, s->key);
	X509_add_ext(s->cert, san, -1);
	X509_EXTENSION_free(san);
	assert_true(X509_sign(s->cert, s->key, EVP_sha256()) > 0);
}

static void write_ca_file(struct tls_server *s)
{
	FILE *file;
	int fd;

	snprintf(s->ca_file, sizeof(s->ca_file), "/tmp/test_fetch.XXXXXX");
	fd = mkstemp(s->ca_file);
	assert_true(fd >= 0);
	file = fdopen(fd, "w");
	assert_non_null(file);
	assert_int_equal(PEM_write_X509(file, s->cert), 1);
	fclose(file);
}

static void *serve(void *data)
{
	static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n"
				    "Connection: close\r\n\r\nfine";
	struct tls_server *s = data;
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	char request[4096];
	int fd = accept(s->fd, NULL, NULL);
	SSL *ssl;

	SSL_CTX_use_certificate(ctx, s->cert);
	SSL_CTX_use_PrivateKey(ctx, s->key);
	ssl = SSL_new(ctx);
	SSL_set_fd(ssl, fd);
	if (SSL_accept(ssl) == 1 &&
	    SSL_read(ssl, request, sizeof(request)) > 0) {
		s->shook_hands = true;
		SSL_write(ssl, reply, sizeof(reply) - 1);
		SSL_shutdown(ssl);
	}
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(fd);
	return NULL;
}

static void tls_start(struct tls_server *s)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t len = sizeof(at);

	*s = (struct tls_server){.fd = socket(AF_INET, SOCK_STREAM, 0)};
	make_certificate(s);
	write_ca_file(s);
	at.sin_addr.s_addr = htonl(INADDR_ANY);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(s->fd, 1), 0);
	assert_int_equal(getsockname(s->fd, (struct sockaddr *)&at, &len), 0);
	s->port = ntohs(at.sin_port);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void tls_stop(struct tls_server *s)
{
	pthread_join(s->thread, NULL);
	close(s->fd);
	unlink(s->ca_file);
	X509_free(s->cert);
	EVP_PKEY_free(s->key);
}

static void ask_tls(const struct tls_server *s, const char *host,
                    const char *ca_file)
{
	struct fetch *f = fetch_new(loop, ca_file);
	char url[64];

	assert_non_null(f);
	snprintf(url, sizeof(url), "https://%s:%u/", host, s->port);
	assert_non_null(start(f, url, false, on_done, NULL));
	run_until_count(loop, &n_done, 1);
	fetch_free(f);
}

static void known_certificate_is_accepted(void **state)
{
	struct tls_server s;

	(void)state;
	tls_start(&s);
	ask_tls(&s, "127.0.0.1", s.ca_file);
	tls_stop(&s);
	assert_int_equal(status, 200);
	assert_true(s.shook_hands);
}

static void self_signed_certificate_is_refused(void **state)
{
	struct tls_server s;

	(void)state;
	tls_start(&s);
	ask_tls(&s, "127.0.0.1", NULL);
	tls_stop(&s);
	assert_true(failed);
	assert_false(s.shook_hands);
}

static void certificate_for_another_host_is_refused(void **state)
{
	struct tls_server s;

	(void)state;
	tls_start(&s);
	ask_tls(&s, "127.0.0.2", s.ca_file);
	tls_stop(&s);
	assert_true(failed);
	assert_false(s.shook_hands);
}

/* ----------------------------------------------------------- environment */

static void proxies_of_the_environment_are_ignored(void **state)
{
	struct fetch *f;

	(void)state;
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("all_proxy", "http://127.0.0.1:1", 1);
	f = fetch_new(loop, NULL);
	assert_non_null(start(f, url_of_httpd(), true, on_done, NULL));
	run_until_count(loop, &n_done, 1);
	unsetenv("http_proxy");
	unsetenv("all_proxy");
	assert_int_equal(status, 200);
	fetch_free(f);
}

static void other_schemes_are_refused(void **state)
{
	static const char *const urls[] = {
		"file:///etc/passwd",
		"ftp://127.0.0.1/",
		"gopher://127.0.0.1/",
		"dict://127.0.0.1/",
	};
	struct fetch *f = fetch_new(loop, NULL);
	unsigned i;

	(void)state;
	for (i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		assert_non_null(start(f, urls[i], true, on_done, NULL));
		run_until_count(loop, &n_done, i + 1);
		assert_true(failed);
	}
	fetch_free(f);
}

static void url_with_nul_is_refused(void **state)
{
	struct fetch *f = fetch_new(loop, NULL);
	struct fetch_request r = {.url = STR("http://127.0.0.1\0.example/"),
	                          .allow_http = true,
	                          .deadline_ms = 1000,
	                          .max_answer = 10};

	(void)state;
	assert_null(fetch_start(f, &r, on_done, NULL));
	fetch_free(f);
}

/* ---------------------------------------------------------- cancellation */

static void cancelled_job_never_calls_back(void **state)
{
	struct fetch *f = fetch_new(loop, NULL);
	struct fetch_job *j = start(f, url_of_httpd(), true, on_done, NULL);

	(void)state;
	assert_non_null(j);
	run_until_count(loop, &n_requests, 1); /* its request has gone out */
	fetch_cancel(j);
	fetch_cancel(NULL);
	assert_non_null(start(f, url_of_httpd(), true, on_done, NULL));
	run_until_count(loop, &n_done, 1);
	run_a_little(loop);
	assert_int_equal(n_done, 1);
	fetch_free(f);
}

struct pair {
	struct fetch *f;
	struct fetch_job *self, *twin;
};

static void cancel_both(void *ctx, const struct fetch_result *res)
{
	struct pair *p = ctx;

	on_done(NULL, res);
	fetch_cancel(p->self); /* ends anyway */
	fetch_cancel(p->twin);
	start(p->f, url_of_httpd(), true, on_done, NULL);
}

static void callback_may_cancel_and_start(void **state)
{
	struct fetch *f = fetch_new(loop, NULL);
	struct pair a = {.f = f}, b = {.f = f};

	(void)state;
	a.self = b.twin = start(f, url_of_httpd(), true, cancel_both, &a);
	b.self = a.twin = start(f, url_of_httpd(), true, cancel_both, &b);
	assert_non_null(a.self);
	assert_non_null(b.self);
	run_until_count(loop, &n_done, 2); /* one of the two, and the new */
	run_a_little(loop);
	assert_int_equal(n_done, 2);
	fetch_free(f);
}

static void freeing_ends_what_is_under_way(void **state)
{
	struct fetch *f = fetch_new(loop, NULL);
	unsigned before;

	(void)state;
	assert_non_null(start(f, url_of_httpd(), true, on_done, NULL));
	assert_non_null(start(f, url_of_httpd(), true, on_done, NULL));
	run_until_count(loop, &n_requests, 1);
	before = n_done;
	assert_true(before < 2);
	fetch_free(f);
	run_a_little(loop);
	assert_int_equal(n_done, before);
}

static void many_at_a_time_all_end(void **state)
{
	struct fetch *f = fetch_new(loop, NULL);
	unsigned i;

	(void)state;
	for (i = 0; i < 100; i++)
		assert_non_null(start(f, url_of_httpd(), true, on_done, NULL));
	assert_int_equal(n_done, 0); /* never from within fetch_start */
	run_until_count(loop, &n_done, 100);
	assert_int_equal(n_requests, 100);
	fetch_free(f);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(known_certificate_is_accepted),
		TEST(self_signed_certificate_is_refused),
		TEST(certificate_for_another_host_is_refused),
		TEST(proxies_of_the_environment_are_ignored),
		TEST(other_schemes_are_refused),
		TEST(url_with_nul_is_refused),
		TEST(cancelled_job_never_calls_back),
		TEST(callback_may_cancel_and_start),
		TEST(freeing_ends_what_is_under_way),
		TEST(many_at_a_time_all_end),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("fetch", tests, NULL, NULL);
}
