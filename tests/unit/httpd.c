/* httpd: a tiny HTTP server on the loop of the test. */
#include "httpd.h"

#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HTTPD_MAX = 8 * 1024 * 1024, RUN_MAX_MS = 10000, TURNS = 50 };

struct conn {
	struct conn *next;
	struct httpd *h;
	int fd;
	struct loop_io io;
	struct buf in, out;
	size_t sent;
};

struct httpd {
	struct loop *loop;
	int fd;
	unsigned port;
	struct loop_io io;
	struct conn *conns;
	void (*answer)(void *ctx, const struct httpd_request *r,
	               struct buf *out);
	void *ctx;
};

static void conn_close(struct conn *c)
{
	loop_io_stop(&c->io);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

/* Position behind `what` in s, or 0. */
static size_t behind(struct str s, const char *what)
{
	const char *p = s.len ? memmem(s.p, s.len, what, strlen(what)) : NULL;

	return p ? (size_t)(p - s.p) + strlen(what) : 0;
}

static size_t content_length(struct str head)
{
	size_t at = behind(head, "Content-Length: ");
	struct str s = str_from(head, at);
	uint64_t n = 0;

	if (at > 0)
		assert_true(str_to_u64(str_first(s, str_find(s, '\r')), &n));
	return (size_t)n;
}

static void on_write(struct conn *c)
{
	while (c->sent < c->out.len) {
		ssize_t n = send(c->fd, c->out.p + c->sent,
		                 c->out.len - c->sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			break;
		c->sent += (size_t)n;
	}
	conn_close(c);
}

static void on_conn(void *data, int fd, int events)
{
	struct conn *c = data;
	struct httpd_request r;
	size_t head_len;
	ssize_t n;

	if (events & LOOP_WRITE) {
		on_write(c);
		return;
	}
	assert_true(buf_reserve(&c->in, 65536));
	n = recv(fd, c->in.p + c->in.len, 65536, 0);
	if (n <= 0) {
		conn_close(c);
		return;
	}
	c->in.len += (size_t)n;
	head_len = behind(buf_str(&c->in), "\r\n\r\n");
	if (head_len == 0 || c->out.len > 0)
		return;
	r.head = str_first(buf_str(&c->in), head_len);
	r.body = str_from(buf_str(&c->in), head_len);
	if (r.body.len < content_length(r.head))
		return;
	r.method = str_first(r.head, str_find(r.head, ' '));
	r.target = str_from(r.head, r.method.len + 1);
	r.target = str_first(r.target, str_find(r.target, ' '));
	c->h->answer(c->h->ctx, &r, &c->out);
	if (c->out.len > 0)
		loop_io_start(c->h->loop, &c->io, fd, LOOP_WRITE, on_conn, c);
}

static void on_accept(void *data, int fd, int events)
{
	struct httpd *h = data;
	struct conn *c = calloc(1, sizeof(*c));

	(void)events;
	assert_non_null(c);
	c->h = h;
	c->fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(c->fd >= 0);
	buf_init(&c->in, HTTPD_MAX);
	buf_init(&c->out, HTTPD_MAX);
	c->next = h->conns;
	h->conns = c;
	loop_io_start(h->loop, &c->io, c->fd, LOOP_READ, on_conn, c);
}

struct httpd *httpd_new(struct loop *l,
                        void (*answer)(void *ctx, const struct httpd_request *r,
                                       struct buf *out),
                        void *ctx)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	struct httpd *h = calloc(1, sizeof(*h));
	socklen_t len = sizeof(at);

	assert_non_null(h);
	h->loop = l;
	h->answer = answer;
	h->ctx = ctx;
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	h->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(h->fd >= 0);
	assert_int_equal(bind(h->fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(h->fd, 64), 0);
	assert_int_equal(getsockname(h->fd, (struct sockaddr *)&at, &len), 0);
	h->port = ntohs(at.sin_port);
	loop_io_start(l, &h->io, h->fd, LOOP_READ, on_accept, h);
	return h;
}

void httpd_free(struct httpd *h)
{
	if (!h)
		return;
	loop_io_stop(&h->io);
	close(h->fd);
	while (h->conns) {
		struct conn *c = h->conns;

		h->conns = c->next;
		conn_close(c);
		buf_done(&c->in);
		buf_done(&c->out);
		free(c);
	}
	free(h);
}

unsigned httpd_port(const struct httpd *h)
{
	return h->port;
}

void httpd_answer(struct buf *out, int status, const char *headers,
                  struct str body)
{
	buf_fmt(out,
	        "HTTP/1.1 %d x\r\nContent-Length: %zu\r\n%s"
	        "Connection: close\r\n\r\n",
	        status, body.len, headers);
	buf_add_str(out, body);
	assert_false(out->failed);
}

/* -------------------------------------------------------------- running */

struct run {
	struct loop *loop;
	bool (*done)(void *ctx);
	void *ctx;
	bool late;
};

static void look(void *data)
{
	struct run *r = data;

	if (r->done(r->ctx))
		loop_stop(r->loop);
}

static void too_late(void *data)
{
	struct run *r = data;

	r->late = true;
	loop_stop(r->loop);
}

void run_until(struct loop *l, bool (*done)(void *ctx), void *ctx)
{
	struct run r = {l, done, ctx, false};
	struct loop_turn turn = {0};
	struct loop_timer guard = {0};

	loop_turn_start(l, &turn, look, &r);
	loop_timer_start(l, &guard, RUN_MAX_MS, too_late, &r);
	loop_run(l);
	loop_turn_stop(&turn);
	loop_timer_stop(&guard);
	assert_false(r.late);
}

struct count {
	const unsigned *counter;
	unsigned n;
};

static bool counted(void *ctx)
{
	struct count *c = ctx;

	return *c->counter >= c->n;
}

void run_until_count(struct loop *l, const unsigned *counter, unsigned n)
{
	struct count c = {counter, n};

	run_until(l, counted, &c);
}

void run_a_little(struct loop *l)
{
	unsigned i;

	for (i = 0; i < TURNS; i++)
		ev_run(loop_ev(l), EVRUN_NOWAIT);
}

/* ---------------------------------------------------------------- clock */

static uint64_t fake_mono(void *ctx)
{
	return ((struct fake_clock *)ctx)->mono_us;
}

static int64_t fake_real(void *ctx)
{
	return ((struct fake_clock *)ctx)->real_ms;
}

void fake_clock_init(struct fake_clock *c, int64_t real_s)
{
	c->clock = (struct clock){fake_mono, fake_real, c};
	c->mono_us = 1000000000;
	c->real_ms = real_s * 1000;
}

void fake_clock_pass(struct fake_clock *c, int64_t seconds)
{
	c->mono_us += (uint64_t)seconds * 1000000;
	c->real_ms += seconds * 1000;
}
