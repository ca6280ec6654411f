/*
 * net/http: the door to libmicrohttpd, for /metrics, /healthz, /readyz and
 * /blocked (agent/ops answers them).
 *
 * GET and HEAD only. There is no TLS and no authentication, so the listener
 * is for the host itself: conf/process warns when its address is not a
 * loopback.
 */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include "base/buf.h"
#include "base/loop.h"

struct http;

struct http_reply {
	int status;
	const char *content_type; /* a constant */
	struct buf body;          /* its maximum, 8 MiB, is set by net/http */
};

/* Serve on `fd`, a listening and non-blocking socket. The http owns `fd` once
 * this has returned one, and http_free() closes it. NULL without memory, or
 * when libmicrohttpd does not start; the caller ends the process then, as
 * whether `fd` is still open is not known.
 *
 * `on_get` fills `reply`, which comes with status 200, text/plain and an empty
 * body, and does not keep it. It gets the path without the query, and is
 * called for HEAD, too (libmicrohttpd leaves out the body). When it returns
 * false the answer is 404; when the body did not fit it is 500; any other
 * method is answered by 405 without a call. */
struct http *http_new(struct loop *l, int fd,
                      bool (*on_get)(void *ctx, struct str path,
                                     struct http_reply *reply),
                      void *ctx);
void http_free(struct http *h); /* accepts NULL */

/* Name and version of the library, for -V; static memory. */
const char *http_library(void);

#endif
