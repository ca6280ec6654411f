/*
 * net/http: the door to libmicrohttpd.
 *
 * MHD does its own epoll; its descriptor and its next timeout are watched by
 * our loop, so there is no thread and nothing blocks.
 */
#include "net/http.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	MAX_CONNECTIONS = 64,
	IDLE_S = 10,
	/* of a connection, for request line and headers */
	POOL_SIZE = 8192,
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

static void set_reply(struct http_reply *r, int status, const char *text)
{
	buf_clear(&r->body);
	r->status = status;
	r->content_type = "text/plain; charset=utf-8";
	buf_add_str(&r->body, str_c(text));
}

static void answer(struct http *h, const char *method, const char *url,
                   struct http_reply *r)
{
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 &&
	    strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
		set_reply(r, 405, "only GET is allowed here\n");
		return;
	}
	set_reply(r, 200, "");
	if (!h->on_get(h->ctx, str_c(url), r))
		set_reply(r, 404, "there is nothing here\n");
	if (r->body.failed)
		set_reply(r, 500, "the answer is too long\n");
}

static enum MHD_Result send_reply(struct MHD_Connection *c,
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

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c,
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
	/* MHD calls once for the headers and once more at the end of the
	 * body. To answer at once closes the connection: right for a body we
	 * will not read, wrong for a scraper that keeps it. */
	if (reads && !*seen) {
		*seen = h;
		return MHD_YES;
	}
	if (*upload_len > 0) {
		*upload_len = 0;
		return MHD_YES;
	}
	buf_init(&reply.body, MAX_BODY);
	answer(h, method, url, &reply);
	return send_reply(c, &reply);
}

static void run(struct http *h);

static void on_timer(void *data)
{
	run(data);
}

static void on_event(void *data, int fd, int events)
{
	(void)fd;
	(void)events;
	run(data);
}

static void run(struct http *h)
{
	MHD_UNSIGNED_LONG_LONG ms;

	MHD_run(h->mhd);
	if (MHD_get_timeout(h->mhd, &ms) == MHD_YES)
		loop_timer_start(h->loop, &h->timer, ms, on_timer, h);
	else
		loop_timer_stop(&h->timer);
}

/* MHD complains about clients that go away; that is not our news. */
static void say_nothing(void *ctx, const char *fmt, va_list ap)
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
		MHD_USE_EPOLL, 0, NULL, NULL, on_request, h,
		MHD_OPTION_EXTERNAL_LOGGER, say_nothing, NULL,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned)IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)POOL_SIZE, MHD_OPTION_END);
	if (!h->mhd) {
		free(h);
		return NULL;
	}
	info = MHD_get_daemon_info(h->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	loop_io_start(l, &h->io, info->epoll_fd, LOOP_READ, on_event, h);
	return h;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	loop_io_stop(&h->io);
	loop_timer_stop(&h->timer);
	MHD_stop_daemon(h->mhd); /* closes the listening socket, too */
	free(h);
}

const char *http_library(void)
{
	static char text[48];

	snprintf(text, sizeof(text), "libmicrohttpd %s", MHD_get_version());
	return text;
}
