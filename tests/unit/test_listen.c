/* Addresses to sockets, and what listens on them: unix, TCP, UDP, HTTP. */
#include "test.h"

#include "usage/record.h"

#include "net/http.h"
#include "net/listen.h"
#include "net/udp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char folder[] = "/tmp/test-listen-XXXXXX";
static char error[256];

/* "unix:<folder>/<name>"; valid until the next call. */
static struct str unix_path(const char *name)
{
	static char path[108];

	snprintf(path, sizeof(path), "unix:%s/%s", folder, name);
	return str_c(path);
}

static int listen_on(struct str address)
{
	error[0] = '\0';
	return listen_stream(address, 0660, STR_NONE, error, sizeof(error));
}

static int connect_unix(struct str address)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(un.sun_path, address.p + 5, address.len - 5);
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0)
		return fd;
	close(fd);
	return -1;
}

static struct sockaddr_in local_address(int fd)
{
	struct sockaddr_in in;
	socklen_t len = sizeof(in);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	return in;
}

/* --- addresses ---------------------------------------------------------- */

static void tcp_of_both_families(void **state)
{
	static const char *const good[] = {"127.0.0.1:0", "[::1]:0"};
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		int fd = listen_on(str_c(good[i]));
		int on = 0;
		socklen_t len = sizeof(on);

		if (fd < 0 && strstr(error, strerror(EADDRNOTAVAIL)))
			skip(); /* a container without IPv6 */
		if (fd < 0)
			fail_msg("%s", error);
		assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len);
		assert_int_equal(on, 1);
		getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, &len);
		assert_int_equal(on, 0);
		close(fd);
	}
}

static void addresses_that_are_none(void **state)
{
	static const char *const bad[] = {
		"",
		"127.0.0.1",
		":80",
		"localhost:80",
		"127.0.0.1:",
		"127.0.0.1:x",
		"127.0.0.1:65536",
		"127.0.0.1:-1",
		"127.0.0.1: 80",
		"256.0.0.1:80",
		"::1:80",
		"[::1]80",
		"[]:80",
		"[:80",
		"[127.0.0.1]:80",
		"[1111:2222:3333:4444:5555:6666:7777:8888:9999:0000:aaaa]:1",
		"unix:",
		"unix:/0123456789012345678901234567890123456789012345678901234"
		"56789012345678901234567890123456789012345678901234567890123",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (listen_on(str_c(bad[i])) >= 0)
			fail_msg("%s was accepted", bad[i]);
		/* the sentence names what it is about */
		assert_non_null(strstr(error, bad[i]));
		assert_non_null(strstr(error, "expected"));
	}
}

static void tcp_port_in_use_is_an_error(void **state)
{
	int fd = listen_on(STR("127.0.0.1:0"));
	char again[32];

	(void)state;
	snprintf(again, sizeof(again), "127.0.0.1:%d",
	         ntohs(local_address(fd).sin_port));
	assert_int_equal(listen_on(str_c(again)), -1);
	assert_non_null(strstr(error, strerror(EADDRINUSE)));
	close(fd);
}

/* --- unix --------------------------------------------------------------- */

static void unix_socket_has_its_mode(void **state)
{
	struct str a = unix_path("mode");
	struct stat st;
	int fd = listen_on(a);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(lstat(a.p + 5, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	close(fd);
	listen_unlink(a);
	assert_int_equal(lstat(a.p + 5, &st), -1);
}

static void unix_socket_has_its_group(void **state)
{
	struct str a = unix_path("group");
	char gid[16];
	struct stat st;
	int fd;

	(void)state;
	snprintf(gid, sizeof(gid), "%u", (unsigned)getgid());
	fd = listen_stream(a, 0600, str_c(gid), error, sizeof(error));
	assert_true(fd >= 0);
	assert_int_equal(lstat(a.p + 5, &st), 0);
	assert_int_equal(st.st_gid, getgid());
	close(fd);
	listen_unlink(a);
	fd = listen_stream(a, 0600, STR("no such group"), error, sizeof(error));
	assert_int_equal(fd, -1);
	assert_non_null(strstr(error, "no such group"));
	assert_int_equal(lstat(a.p + 5, &st), -1);
}

static void stale_unix_socket_is_replaced(void **state)
{
	struct str a = unix_path("stale");
	int fd = listen_on(a), client;

	(void)state;
	close(fd);
	fd = listen_on(a);
	assert_true(fd >= 0);
	client = connect_unix(a);
	assert_true(client >= 0);
	close(client);
	close(fd);
	listen_unlink(a);
}

static void live_unix_socket_is_left_alone(void **state)
{
	struct str a = unix_path("live");
	int fd = listen_on(a), client;

	(void)state;
	assert_int_equal(listen_on(a), -1);
	assert_non_null(strstr(error, "another process listens"));
	client = connect_unix(a);
	assert_true(client >= 0);
	close(client);
	close(fd);
	listen_unlink(a);
}

static void attack_path_of_a_file(void **state)
{
	struct str a = unix_path("file");
	struct stat st;
	int fd = open(a.p + 5, O_CREAT | O_WRONLY, 0600);

	(void)state;
	close(fd);
	assert_int_equal(listen_on(a), -1);
	assert_non_null(strstr(error, "not a socket"));
	assert_int_equal(lstat(a.p + 5, &st), 0);
	unlink(a.p + 5);
}

static void attack_path_that_is_a_link(void **state)
{
	struct str a;
	struct stat st;
	char target[128];
	int fd;

	(void)state;
	a = unix_path("target");
	fd = listen_on(a);
	close(fd); /* stale, so it would be replaced */
	snprintf(target, sizeof(target), "%s", a.p + 5);
	a = unix_path("link");
	assert_int_equal(symlink(target, a.p + 5), 0);
	assert_int_equal(listen_on(a), -1);
	assert_int_equal(lstat(target, &st), 0);
	unlink(a.p + 5);
	unlink(target);
}

static void unlink_leaves_tcp_addresses_alone(void **state)
{
	int fd = open("127.0.0.1:1", O_CREAT | O_WRONLY, 0600);

	(void)state;
	close(fd);
	listen_unlink(STR("127.0.0.1:1"));
	assert_int_equal(unlink("127.0.0.1:1"), 0);
}

/* --- udp ---------------------------------------------------------------- */

struct datagrams {
	struct loop *loop;
	unsigned n, want;
	size_t bytes;
	bool in_order;
};

static void on_datagram(void *ctx, struct str d)
{
	struct datagrams *t = ctx;
	uint32_t k = 0;

	if (d.len >= sizeof(k))
		memcpy(&k, d.p, sizeof(k));
	t->in_order = t->in_order && k == t->n;
	t->bytes += d.len;
	t->n++;
	if (t->n == t->want)
		loop_stop(t->loop);
}

static void datagrams_come_whole_and_in_order(void **state)
{
	/* more than one batch, and one that is too long in the end */
	struct datagrams t = {
		.loop = loop_new(), .want = 201, .in_order = true};
	int fd = listen_datagram(STR("127.0.0.1:0"), error, sizeof(error));
	int out = socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in to = local_address(fd);
	char mem[RECORD_LINE_MAX + 1000] = {0};
	struct udp *u;
	uint32_t k;

	(void)state;
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	u = udp_new(t.loop, fd, on_datagram, &t);
	for (k = 0; k < t.want; k++) {
		size_t len = k + 1 == t.want ? sizeof(mem) : 100;

		memcpy(mem, &k, sizeof(k));
		assert_int_equal(sendto(out, mem, len, 0,
		                        (struct sockaddr *)&to, sizeof(to)),
		                 len);
	}
	loop_run(t.loop);
	assert_true(t.in_order);
	assert_int_equal(t.bytes, 200 * 100 + RECORD_LINE_MAX);
	udp_free(u);
	close(out);
	loop_free(t.loop);
}

static void datagram_address_is_numeric(void **state)
{
	(void)state;
	assert_int_equal(listen_datagram(STR("unix:/x"), error, sizeof(error)),
	                 -1);
	assert_non_null(strstr(error, "unix:/x"));
}

/* --- http --------------------------------------------------------------- */

struct server {
	struct loop *loop;
	struct http *http;
	struct sockaddr_in address;
	struct loop_io io;
	char got[16384];
	size_t got_len;
	const char *until; /* stop when got ends with or holds this */
	bool closed;
};

static bool on_get(void *ctx, struct str path, struct http_reply *reply)
{
	static const char block[65536];
	int i;

	(void)ctx;
	if (str_eq(path, STR("/text"))) {
		buf_add_str(&reply->body, STR("hello"));
		reply->content_type = "text/x-test";
		return true;
	}
	if (str_eq(path, STR("/ready"))) {
		reply->status = 503;
		return true;
	}
	if (str_eq(path, STR("/giant")))
		for (i = 0; i < 129; i++)
			buf_add(&reply->body, block, sizeof(block));
	return str_eq(path, STR("/giant"));
}

static int start_server(void **state)
{
	struct server *s = calloc(1, sizeof(*s));
	int fd = listen_on(STR("127.0.0.1:0"));

	s->loop = loop_new();
	s->address = local_address(fd);
	s->http = http_new(s->loop, fd, on_get, s);
	*state = s;
	return s->http ? 0 : -1;
}

static int stop_server(void **state)
{
	struct server *s = *state;

	http_free(s->http);
	loop_free(s->loop);
	free(s);
	return 0;
}

static void on_answer(void *data, int fd, int events)
{
	struct server *s = data;
	ssize_t n =
		read(fd, s->got + s->got_len, sizeof(s->got) - 1 - s->got_len);

	(void)events;
	if (n > 0)
		s->got_len += (size_t)n;
	s->got[s->got_len] = '\0';
	s->closed = n <= 0;
	if (s->closed || (s->until && strstr(s->got, s->until)))
		loop_stop(s->loop);
}

static int dial(struct server *s)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(
		connect(fd, (struct sockaddr *)&s->address, sizeof(s->address)),
		0);
	return fd;
}

/* Sends, and runs until the answer holds `until` or the server closes. */
static const char *ask(struct server *s, int fd, const char *request,
                       const char *until)
{
	s->got_len = 0;
	s->until = until;
	assert_int_equal(write(fd, request, strlen(request)),
	                 (ssize_t)strlen(request));
	loop_io_start(s->loop, &s->io, fd, LOOP_READ, on_answer, s);
	loop_run(s->loop);
	loop_io_stop(&s->io);
	return s->got;
}

static void http_get(void **state)
{
	struct server *s = *state;
	int fd = dial(s);
	const char *got =
		ask(s, fd, "GET /text?x HTTP/1.1\r\nHost: x\r\n\r\n", "hello");

	assert_non_null(strstr(got, "HTTP/1.1 200 "));
	assert_non_null(strstr(got, "Content-Type: text/x-test\r\n"));
	assert_non_null(strstr(got, "\r\n\r\nhello"));
	/* the connection is kept for the next */
	got = ask(s, fd, "GET /ready HTTP/1.1\r\nHost: x\r\n\r\n", "\r\n\r\n");
	assert_non_null(strstr(got, "HTTP/1.1 503 "));
	close(fd);
}

static void http_head_has_no_body(void **state)
{
	struct server *s = *state;
	int fd = dial(s);
	const char *got = ask(s, fd,
	                      "HEAD /text HTTP/1.1\r\nHost: x\r\n"
	                      "Connection: close\r\n\r\n",
	                      NULL);

	assert_non_null(strstr(got, "HTTP/1.1 200 "));
	assert_non_null(strstr(got, "Content-Length: 5\r\n"));
	assert_null(strstr(got, "hello"));
	close(fd);
}

static void http_refuses(void **state)
{
	static const struct {
		const char *request, *status;
	} all[] = {
		{"GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
	         "HTTP/1.1 404 "},
		{"DELETE /text HTTP/1.1\r\nHost: x\r\n"
	         "Connection: close\r\n\r\n",
	         "HTTP/1.1 405 "},
		{"POST /text HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
	         "Connection: close\r\n\r\n12345",
	         "HTTP/1.1 405 "},
		{"GET /giant HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
	         "HTTP/1.1 500 "},
	};
	struct server *s = *state;
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		int fd = dial(s);

		if (!strstr(ask(s, fd, all[i].request, NULL), all[i].status))
			fail_msg("%s got %s", all[i].request, s->got);
		close(fd);
	}
}

static void attack_http_headers_without_end(void **state)
{
	struct server *s = *state;
	int fd = dial(s);
	char flood[12000];

	memset(flood, 'a', sizeof(flood) - 1);
	flood[sizeof(flood) - 1] = '\0';
	memcpy(flood, "GET /text HTTP/1.1\r\nX: ", 23);
	ask(s, fd, flood, NULL);
	assert_true(s->closed);
	assert_null(strstr(s->got, "HTTP/1.1 200 "));
	close(fd);
}

static void attack_http_more_connections_than_allowed(void **state)
{
	struct server *s = *state;
	int idle[80], fd;
	size_t i;

	for (i = 0; i < 80; i++)
		idle[i] = dial(s);
	/* the idle ones beyond the bound do not stop the first from being
	 * served, and the last is when they have gone */
	assert_non_null(strstr(ask(s, idle[0],
	                           "GET /text HTTP/1.1\r\n"
	                           "Host: x\r\n\r\n",
	                           "hello"),
	                       "200"));
	for (i = 0; i < 80; i++)
		close(idle[i]);
	fd = dial(s);
	assert_non_null(strstr(ask(s, fd,
	                           "GET /text HTTP/1.1\r\n"
	                           "Host: x\r\n\r\n",
	                           "hello"),
	                       "200"));
	close(fd);
}

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	return chdir("/") == 0 ? rmdir(folder) : -1;
}

#define with_server(f)                                                         \
	cmocka_unit_test_setup_teardown(f, start_server, stop_server)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tcp_of_both_families),
		cmocka_unit_test(addresses_that_are_none),
		cmocka_unit_test(tcp_port_in_use_is_an_error),
		cmocka_unit_test(unix_socket_has_its_mode),
		cmocka_unit_test(unix_socket_has_its_group),
		cmocka_unit_test(stale_unix_socket_is_replaced),
		cmocka_unit_test(live_unix_socket_is_left_alone),
		cmocka_unit_test(attack_path_of_a_file),
		cmocka_unit_test(attack_path_that_is_a_link),
		cmocka_unit_test(unlink_leaves_tcp_addresses_alone),
		cmocka_unit_test(datagrams_come_whole_and_in_order),
		cmocka_unit_test(datagram_address_is_numeric),
		with_server(http_get),
		with_server(http_head_has_no_body),
		with_server(http_refuses),
		with_server(attack_http_headers_without_end),
		with_server(attack_http_more_connections_than_allowed),
	};

	return cmocka_run_group_tests_name("listen", tests, make_folder,
	                                   remove_folder);
}
