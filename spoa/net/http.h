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

/* GET (and HEAD) only; everything else is 405, unknown paths 404, both made
 * by net/http when `on_get` returns false. `fd` (listening) is taken over. */
struct http *http_new(struct loop *l, int fd,
                      bool (*on_get)(void *ctx, struct str path,
                                     struct http_reply *reply),
                      void *ctx);
void http_free(struct http *h);

#endif
