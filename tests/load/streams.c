/*
 * streams: how long an event of a stream takes on its way, and how many came.
 *
 *   streams origin ADDRESS EVENTS INTERVAL_MS
 *   streams client TARGET REQUEST STREAMS EVENTS
 *
 *   client --> proxy at TARGET --> origin at ADDRESS
 *     delay  <------- "@nanoseconds@" in each event
 *
 * Both ends read the same monotonic clock, so the delay of an event is what the
 * proxy took plus what these programs take, which is the same for every proxy:
 * runs are compared, not read alone. REQUEST is a file with the bytes of a
 * request that asks for `Connection: close`. The client prints one line of
 * JSON; the origin runs until it is ended.
 */
#include "base/buf.h"
#include "base/loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	DIGITS = 19, /* of a timestamp: nanoseconds on the monotonic clock */
	REQUEST_MAX = 1 << 20,
	READ_MAX = 65536,
	GIVE_UP_MS = 60000,
};

struct bench {
	struct loop *loop;
	struct loop_io listener;
	struct loop_timer give_up;
	struct buf request;
	unsigned long streams, events;
	unsigned long interval_ms; /* origin: between events */
	unsigned long n_requests;  /* origin: that came */
	unsigned long open;        /* client: streams that have not ended */
	uint64_t *delay_us;        /* of each event, streams * events */
	uint64_t n_delays, n_firsts;
	uint64_t *first_us; /* from the request to the first event */
	unsigned long failed;
};

/* The proxy's connection to us as origin. */
struct origin {
	struct bench *bench;
	struct loop_io io;
	struct loop_timer timer;
	struct buf in;
	unsigned long sent;
};

/* Our connection to the proxy. */
struct client {
	struct bench *bench;
	struct loop_io io;
	uint64_t started;
	unsigned long got;
	bool marked; /* inside a timestamp */
	unsigned n_digits;
	uint64_t stamp;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void no_delay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static struct sockaddr_in address(const char *text)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	char host[64];
	unsigned port;

	if (sscanf(text, "%63[0-9.]:%u", host, &port) != 2 ||
	    inet_pton(AF_INET, host, &a.sin_addr) != 1) {
		fprintf(stderr, "streams: %s is no IP:PORT\n", text);
		exit(2);
	}
	a.sin_port = htons((uint16_t)port);
	return a;
}

/* -------------------------------------------------------------- origin */

static void origin_free(struct origin *o)
{
	close(o->io.ev.fd);
	loop_io_stop(&o->io);
	loop_timer_stop(&o->timer);
	buf_done(&o->in);
	free(o);
}

/* What is sent always fits the socket's buffer: an event is small and the
 * proxy keeps reading. Anything else is a broken run. */
static bool origin_send(struct origin *o, const char *text, int len)
{
	if (send(o->io.ev.fd, text, (size_t)len, MSG_NOSIGNAL) == len)
		return true;
	o->bench->failed++;
	origin_free(o);
	return false;
}

static bool send_chunk(struct origin *o, const char *data)
{
	char text[1024];
	int len = snprintf(text, sizeof(text), "%zx\r\n%s\r\n", strlen(data),
	                   data);

	return origin_send(o, text, len);
}

static void origin_event(void *data)
{
	struct origin *o = data;
	struct bench *b = o->bench;
	char text[512];

	if (o->sent < b->events) {
		snprintf(text, sizeof(text),
		         "data: {\"id\":\"chatcmpl-bench\",\"object\":"
		         "\"chat.completion.chunk\",\"model\":\"gpt-4o\","
		         "\"choices\":[{\"index\":0,\"delta\":{\"content\":"
		         "\"@%019llu@\"},\"finish_reason\":null}]}\n\n",
		         (unsigned long long)now_ns());
		o->sent++;
		if (send_chunk(o, text))
			loop_timer_start(b->loop, &o->timer, b->interval_ms,
			                 origin_event, o);
		return;
	}
	snprintf(text, sizeof(text),
	         "data: {\"id\":\"chatcmpl-bench\",\"object\":"
	         "\"chat.completion.chunk\",\"model\":\"gpt-4o\",\"choices\":"
	         "[],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":%lu,"
	         "\"total_tokens\":%lu}}\n\ndata: [DONE]\n\n",
	         b->events, b->events + 8);
	if (send_chunk(o, text))
		origin_send(o, "0\r\n\r\n", 5);
}

/* The request is complete when its headers and its body are there. */
static bool complete(const struct buf *in)
{
	static const char name[] = "\r\ncontent-length:";
	const char *end, *length;
	struct str value;
	uint64_t n = 0;

	end = memmem(in->p, in->len, "\r\n\r\n", 4);
	if (!end)
		return false;
	length = strcasestr(in->p, name);
	if (!length || length > end)
		return true;
	value = str_c(length + strlen(name));
	value = str_trim(str_first(value, str_find(value, '\r')));
	return str_to_u64(value, &n) &&
	       in->len - (size_t)(end + 4 - in->p) >= n;
}

/* Streams do not beat in time: each one begins at its own millisecond. */
static void origin_request(struct origin *o)
{
	struct bench *b = o->bench;
	static const char stream[] = "HTTP/1.1 200 OK\r\n"
				     "Content-Type: text/event-stream\r\n"
				     "Transfer-Encoding: chunked\r\n\r\n";
	static const char health[] = "HTTP/1.1 200 OK\r\n"
				     "Content-Length: 0\r\n\r\n";
	bool post = o->in.len > 4 && memcmp(o->in.p, "POST", 4) == 0;

	buf_clear(&o->in);
	o->sent = 0;
	if (!post)
		origin_send(o, health, (int)sizeof(health) - 1);
	else if (origin_send(o, stream, (int)sizeof(stream) - 1))
		loop_timer_start(b->loop, &o->timer,
		                 b->n_requests++ % b->interval_ms, origin_event,
		                 o);
}

static void origin_readable(void *data, int fd, int events)
{
	struct origin *o = data;
	ssize_t n = -1;

	(void)events;
	/* One byte is kept for the NUL that strcasestr() wants. */
	if (buf_reserve(&o->in, READ_MAX + 1))
		n = recv(fd, o->in.p + o->in.len, READ_MAX, 0);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		origin_free(o);
		return;
	}
	o->in.len += (size_t)n;
	o->in.p[o->in.len] = '\0';
	if (complete(&o->in))
		origin_request(o);
}

static void origin_accept(void *data, int fd, int events)
{
	struct bench *b = data;
	int con = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct origin *o;

	(void)events;
	if (con < 0)
		return;
	o = calloc(1, sizeof(*o));
	if (!o)
		die("calloc");
	no_delay(con);
	o->bench = b;
	buf_init(&o->in, REQUEST_MAX);
	loop_io_start(b->loop, &o->io, con, LOOP_READ, origin_readable, o);
}

static void origin_listen(struct bench *b, const char *where)
{
	struct sockaddr_in a = address(where);
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(fd, 1024) < 0)
		die(where);
	loop_io_start(b->loop, &b->listener, fd, LOOP_READ, origin_accept, b);
}

/* -------------------------------------------------------------- client */

static void client_end(struct client *c)
{
	struct bench *b = c->bench;

	if (c->got != b->events)
		b->failed++;
	close(c->io.ev.fd);
	loop_io_stop(&c->io);
	free(c);
	b->open--;
	if (b->open == 0)
		loop_stop(b->loop);
}

static void client_event(struct client *c, uint64_t now)
{
	struct bench *b = c->bench;

	if (c->got == 0)
		b->first_us[b->n_firsts++] = (now - c->started) / 1000;
	if (c->got < b->events)
		b->delay_us[b->n_delays++] = (now - c->stamp) / 1000;
	c->got++;
}

/* Timestamps may be cut anywhere, so bytes are taken one by one. */
static void client_byte(struct client *c, char byte, uint64_t now)
{
	if (byte == '@') {
		if (c->marked && c->n_digits == DIGITS)
			client_event(c, now);
		c->marked = !c->marked;
		c->n_digits = 0;
		c->stamp = 0;
	} else if (c->marked && byte >= '0' && byte <= '9') {
		c->stamp = c->stamp * 10 + (uint64_t)(byte - '0');
		c->n_digits++;
	} else {
		c->marked = false;
	}
}

static void client_readable(void *data, int fd, int events)
{
	struct client *c = data;
	char bytes[READ_MAX];
	ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
	uint64_t now = now_ns();

	(void)events;
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		client_end(c);
		return;
	}
	for (ssize_t i = 0; i < n; i++)
		client_byte(c, bytes[i], now);
}

static void client_start(struct bench *b, const char *target)
{
	struct sockaddr_in a = address(target);
	struct client *c = calloc(1, sizeof(*c));
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (!c)
		die("calloc");
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		die(target);
	no_delay(fd);
	c->bench = b;
	c->started = now_ns();
	if (send(fd, b->request.p, b->request.len, MSG_NOSIGNAL) !=
	    (ssize_t)b->request.len)
		die("send");
	fcntl(fd, F_SETFL, O_NONBLOCK);
	b->open++;
	loop_io_start(b->loop, &c->io, fd, LOOP_READ, client_readable, c);
}

/* -------------------------------------------------------------- result */

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static unsigned long long at(const uint64_t *v, uint64_t n, double part)
{
	return n ? v[(uint64_t)((double)(n - 1) * part)] : 0;
}

static void report(struct bench *b)
{
	qsort(b->delay_us, b->n_delays, sizeof(*b->delay_us), by_value);
	qsort(b->first_us, b->n_firsts, sizeof(*b->first_us), by_value);
	printf("{\"streams\":%lu,\"events\":%llu,\"failed\":%lu,"
	       "\"delay_p50_us\":%llu,\"delay_p99_us\":%llu,"
	       "\"first_p50_us\":%llu}\n",
	       b->streams, (unsigned long long)b->n_delays, b->failed,
	       at(b->delay_us, b->n_delays, 0.5),
	       at(b->delay_us, b->n_delays, 0.99),
	       at(b->first_us, b->n_firsts, 0.5));
}

static void give_up(void *data)
{
	struct bench *b = data;

	fprintf(stderr, "streams: %lu streams still open\n", b->open);
	b->failed += b->open;
	loop_stop(b->loop);
}

static unsigned long number(const char *text)
{
	uint64_t n;

	if (!str_to_u64(str_c(text), &n) || n == 0 || n > 1000000) {
		fprintf(stderr, "streams: %s is no number in 1..1000000\n",
		        text);
		exit(2);
	}
	return (unsigned long)n;
}

static void read_request(struct bench *b, const char *path)
{
	FILE *f = fopen(path, "r");
	size_t n;

	buf_init(&b->request, REQUEST_MAX);
	if (!f || !buf_reserve(&b->request, READ_MAX))
		die(path);
	n = fread(b->request.p, 1, READ_MAX, f);
	b->request.len = n;
	fclose(f);
}

static int serve(struct bench *b, char **argv)
{
	b->events = number(argv[3]);
	b->interval_ms = number(argv[4]);
	origin_listen(b, argv[2]);
	printf("listening on %s\n", argv[2]);
	fflush(stdout);
	loop_run(b->loop);
	return 0;
}

static int ask(struct bench *b, char **argv)
{
	read_request(b, argv[3]);
	b->streams = number(argv[4]);
	b->events = number(argv[5]);
	b->delay_us = calloc(b->streams * b->events, sizeof(*b->delay_us));
	b->first_us = calloc(b->streams, sizeof(*b->first_us));
	if (!b->delay_us || !b->first_us)
		die("calloc");
	for (unsigned long i = 0; i < b->streams; i++)
		client_start(b, argv[2]);
	loop_timer_start(b->loop, &b->give_up, GIVE_UP_MS, give_up, b);
	loop_run(b->loop);
	report(b);
	return b->failed == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct bench b = {0};

	b.loop = loop_new();
	if (!b.loop)
		die("loop");
	if (argc == 5 && strcmp(argv[1], "origin") == 0)
		return serve(&b, argv);
	if (argc == 6 && strcmp(argv[1], "client") == 0)
		return ask(&b, argv);
	fprintf(stderr,
	        "usage: streams origin ADDRESS EVENTS INTERVAL_MS\n"
	        "       streams client TARGET REQUEST STREAMS EVENTS\n");
	return 2;
}
