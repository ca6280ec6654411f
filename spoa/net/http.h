/*
 * net/http: the door to libmicrohttpd: /metrics, /healthz, /readyz.
 */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include "base/buf.h"
#include "base/loop.h"

struct http;

struct http_reply {
	int status;
	const char *content_type;
	struct buf body; /* maximum set by net/http */
};

/* GET (and HEAD) only: everything else is 405, and 404 when `on_get` returns
 * false. It starts with status 200, text/plain and an empty body of at most
 * 4 MiB; a body that did not fit becomes 500. `fd` (listening, non-blocking)
 * is taken over; NULL when MHD does not start, then exit. */
struct http *http_new(struct loop *l, int fd,
                      bool (*on_get)(void *ctx, struct str path,
                                     struct http_reply *reply),
                      void *ctx);
void http_free(struct http *h);

/* Name and version of the library, for -V. */
const char *http_library(void);

#endif
