/*
 * net/fetch: the door to libcurl, for small HTTP exchanges: tokens and
 * signing keys from identity endpoints, and the agent's own HTTP listener
 * (commands/top, healthcheck).
 *
 * Every exchange has a connect timeout of 2 s, a total deadline, a maximum
 * size of its answer, no redirects, no proxy and no .netrc; TLS is 1.2 or
 * later, with the certificate and the host name verified. At most 16
 * connections are open at a time; further exchanges wait for one, and their
 * deadline runs. HTTP/1.1 only.
 *
 * Nothing blocks after fetch_new(); libcurl resolves names in a thread of its
 * own or by c-ares, as it was built.
 */
#ifndef NET_FETCH_H
#define NET_FETCH_H

#include "base/loop.h"
#include "base/str.h"

struct fetch;     /* libcurl's multi handle: one per worker */
struct fetch_job; /* one exchange; owned by the fetch */

struct fetch_request {
	struct str url;  /* absolute; https, or http with allow_http */
	bool allow_http; /* IMDS, Arc, App Service, the simulator */
	/* each "Name: value"; the array ends with NULL; NULL: none */
	const char *const *headers;
	/* not empty: the method is POST, else GET. The copies of body and
	 * headers are wiped when the exchange ends; those that libcurl makes
	 * of headers inside are not. */
	struct str body;
	uint64_t deadline_ms; /* from the start to the last byte; not 0 */
	size_t max_answer;    /* bytes of the body; not 0. More is an error */
};

struct fetch_result {
	int status;        /* HTTP status, 0 with an error */
	struct str body;   /* valid during the callback, then wiped */
	const char *error; /* NULL on any HTTP answer, else what went wrong;
	                    * valid during the callback */
	int retry_after_s; /* of Retry-After, -1 when the answer has none */
	/* The value of WWW-Authenticate, valid during the callback. Empty when
	 * the answer has no such header, or more than one: which of them is
	 * meant is not known then. */
	struct str challenge;
};

/* `ca_file` names a PEM file to verify servers with, NULL: the system's
 * default. It is copied. NULL when libcurl cannot start, or without memory. */
struct fetch *fetch_new(struct loop *l, const char *ca_file);

/* Cancels all jobs without their callbacks. Not from within a callback.
 * Accepts NULL. */
void fetch_free(struct fetch *f);

/* Start one exchange; everything in `r` is copied. `done` runs exactly once,
 * from the loop and never from within this call, unless the job is cancelled
 * before; the job is gone when it returns. `done` may start and cancel other
 * jobs. NULL when the exchange cannot be started: without memory, or when the
 * URL holds a NUL or a limit is 0; then `done` never runs. */
struct fetch_job *fetch_start(struct fetch *f, const struct fetch_request *r,
                              void (*done)(void *ctx,
                                           const struct fetch_result *res),
                              void *ctx);

/* End an exchange without its callback. Accepts NULL; does nothing from
 * within the job's own callback. A job that has ended must not be passed. */
void fetch_cancel(struct fetch_job *j);

/* Names and versions of libcurl and what it uses, for -V; static memory. */
const char *fetch_library(void);

#endif
