/*
 * net/http: the door to libmicrohttpd (MHD).
 *
 *   loop_io (epoll fd of MHD) --\
 *                                >-- http_run_daemon -> MHD_run
 *   loop_timer (its timeout) ---/                         |
 *                    http_on_request -> on_get (callback) v
 *                                    -> http_send_reply
 *
 * MHD runs without a thread of its own (MHD_USE_EPOLL and no internal
 * polling): it keeps its sockets in an epoll descriptor, which is itself
 * readable when one of them is, and says when its next timeout is. The loop
 * watches both, so nothing blocks and no lock is needed.
 */
#include "net/http.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	/* scrapers, probes and HAProxy's own look-ups are a handful */
	MAX_CONNECTIONS = 64,
	/* seconds without traffic after which MHD closes a connection */
	IDLE_S = 10,
	/* bytes of a connection for request line and headers, fixed by MHD;
	 * larger ones are refused by it (414, 431) */
	POOL_SIZE = 8192,
	/* bytes; /metrics with all 16384 series of base/metrics is 5 MB */
	MAX_BODY = 8 * 1024 * 1024,
};

struct http {
	struct loop *loop;
	struct MHD_Daemon *mhd;
	struct loop_io io;
	struct loop_timer timer;
	bool (*on_get)(void *ctx, struct str path, struct http_reply *reply);
	void *ctx;
};

/* Replaces what is in the body so far. */
static void http_set_reply(struct http_reply *r, int status, const char *text)
{
	buf_clear(&r->body);
	r->status = status;
	r->content_type = "text/plain; charset=utf-8";
	buf_add_str(&r->body, str_c(text));
}

static void http_build_reply(struct http *h, const char *method,
                             const char *url, struct http_reply *r)
{
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 &&
	    strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
		http_set_reply(r, 405, "only GET is allowed here\n");
		return;
	}
	http_set_reply(r, 200, "");
	if (!h->on_get(h->ctx, str_c(url), r))
		http_set_reply(r, 404, "there is nothing here\n");
	if (r->body.failed)
		http_set_reply(r, 500, "the answer is too long\n");
}

/* Gives r->body to MHD, which frees it after the last byte was sent. */
static enum MHD_Result http_send_reply(struct MHD_Connection *c,
                                       struct http_reply *r)
{
	struct MHD_Response *response;
	enum MHD_Result rc;

	response = MHD_create_response_from_buffer(r->body.len, r->body.p,
	                                           MHD_RESPMEM_MUST_FREE);
	if (!response) {
		buf_done(&r->body);
		return MHD_NO; /* closes the connection */
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
	                        r->content_type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL,
	                        "no-store");
	if (r->status == 405)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW,
		                        "GET, HEAD");
	rc = MHD_queue_response(c, (unsigned)r->status, response);
	MHD_destroy_response(response);
	return rc;
}

/* MHD calls this for the headers, for each part of a body, and once more at
 * the end of the body. A reply in the first call closes the connection: right
 * for a method whose body will not be read, wrong for a scraper that keeps
 * its connection. So GET and HEAD are answered in the last call; `*seen`, NULL
 * in the first one and kept by MHD, tells them apart. */
static enum MHD_Result http_on_request(void *ctx, struct MHD_Connection *c,
                                       const char *url, const char *method,
                                       const char *version, const char *upload,
                                       size_t *upload_len, void **seen)
{
	struct http *h = ctx;
	struct http_reply reply = {.status = 200};
	bool reads = strcmp(method, MHD_HTTP_METHOD_GET) == 0 ||
	             strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;

	(void)version;
	(void)upload;
	if (reads && !*seen) {
		*seen = h;
		return MHD_YES;
	}
	if (*upload_len > 0) {
		*upload_len = 0; /* consumed: the body of a GET is ignored */
		return MHD_YES;
	}
	buf_init(&reply.body, MAX_BODY);
	http_build_reply(h, method, url, &reply);
	return http_send_reply(c, &reply);
}

static void http_run_daemon(struct http *h);

static void http_on_timer(void *data)
{
	http_run_daemon(data);
}

static void http_on_epoll(void *data, int fd, int events)
{
	(void)fd;
	(void)events;
	http_run_daemon(data);
}

/* The timeout of MHD changes with its connections, so it is read again after
 * every run. MHD_NO: it has none, as there is no connection. */
static void http_run_daemon(struct http *h)
{
	MHD_UNSIGNED_LONG_LONG ms;

	MHD_run(h->mhd);
	if (MHD_get_timeout(h->mhd, &ms) == MHD_YES)
		loop_timer_start(h->loop, &h->timer, ms, http_on_timer, h);
	else
		loop_timer_stop(&h->timer);
}

/* MHD logs clients that close early. That is no event of the gateway, so its
 * messages are dropped. */
static void http_on_log(void *ctx, const char *fmt, va_list ap)
{
	(void)ctx;
	(void)fmt;
	(void)ap;
}

struct http *http_new(struct loop *l, int fd,
                      bool (*on_get)(void *ctx, struct str path,
                                     struct http_reply *reply),
                      void *ctx)
{
	struct http *h = calloc(1, sizeof(*h));
	const union MHD_DaemonInfo *info;

	if (!h)
		return NULL;
	h->loop = l;
	h->on_get = on_get;
	h->ctx = ctx;
	h->mhd = MHD_start_daemon(
		MHD_USE_EPOLL, 0, NULL, NULL, http_on_request, h,
		MHD_OPTION_EXTERNAL_LOGGER, http_on_log, NULL,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned)IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)POOL_SIZE, MHD_OPTION_END);
	if (!h->mhd) {
		free(h);
		return NULL;
	}
	info = MHD_get_daemon_info(h->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	loop_io_start(l, &h->io, info->epoll_fd, LOOP_READ, http_on_epoll, h);
	return h;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	loop_io_stop(&h->io);
	loop_timer_stop(&h->timer);
	MHD_stop_daemon(h->mhd); /* also closes the listening socket */
	free(h);
}

const char *http_library(void)
{
	static char text[48];

	snprintf(text, sizeof(text), "libmicrohttpd %s", MHD_get_version());
	return text;
}
