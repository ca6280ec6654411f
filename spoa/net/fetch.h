/*
 * net/fetch: the door to libcurl's multi interface, on our loop.
 *
 * Small HTTP exchanges with identity endpoints: connect timeout, total
 * deadline, bounded answer, no redirects, no proxy, TLS verified. Nothing
 * here blocks after fetch_new().
 */
#ifndef NET_FETCH_H
#define NET_FETCH_H

#include "base/loop.h"
#include "base/str.h"

struct fetch; /* the engine: one per worker */
struct fetch_job;

struct fetch_request {
	struct str url;  /* https, or http where the caller says so */
	bool allow_http; /* IMDS, App Service, tests */
	const char *const
		*headers;     /* "Name: value", NULL-terminated, or NULL */
	struct str body;      /* POST when not empty; wiped after use */
	uint64_t deadline_ms; /* for everything together */
	size_t max_answer;    /* bytes; more is an error */
};

struct fetch_result {
	int status;        /* HTTP status, 0 when there was no answer */
	struct str body;   /* valid during the callback */
	const char *error; /* NULL on an HTTP answer, else what went wrong */
	int retry_after_s; /* -1 when the answer has none */
	/* WWW-Authenticate, valid during the callback; empty when the answer
	 * has none, or several, of which none is the one that is meant */
	struct str challenge;
};

/* ca_file may be NULL: the system's. NULL when libcurl cannot start. */
struct fetch *fetch_new(struct loop *l, const char *ca_file);
/* Cancels all jobs without callbacks. Not from within a callback. */
void fetch_free(struct fetch *f);

/* Start one exchange; everything in `r` is copied. `done` runs exactly once,
 * from the loop, never from within this call, unless the job is cancelled.
 * NULL when it cannot be started; then `done` never runs. */
struct fetch_job *fetch_start(struct fetch *f, const struct fetch_request *r,
                              void (*done)(void *ctx,
                                           const struct fetch_result *res),
                              void *ctx);

/* The callback will not run any more. Accepts NULL; does nothing from within
 * the job's own callback, after which the job is gone. */
void fetch_cancel(struct fetch_job *j);

/* Name and version of the library, for -V. */
const char *fetch_library(void);

#endif
