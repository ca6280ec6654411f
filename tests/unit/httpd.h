/*
 * httpd: a tiny HTTP server on the loop of the test, and ways to run that
 * loop until something has happened.
 */
#ifndef TESTS_UNIT_HTTPD_H
#define TESTS_UNIT_HTTPD_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/loop.h"

struct httpd;

struct httpd_request {
	struct str method;
	struct str target; /* path and query */
	struct str head;   /* request line and header lines */
	struct str body;
};

/* Listens on a free port of 127.0.0.1. `answer` appends a whole response to
 * `out` (httpd_answer() helps); what leaves it empty is never answered. */
struct httpd *httpd_new(struct loop *l,
                        void (*answer)(void *ctx, const struct httpd_request *r,
                                       struct buf *out),
                        void *ctx);
void httpd_free(struct httpd *h);
unsigned httpd_port(const struct httpd *h);

/* `headers`: whole lines with CRLF, or "". */
void httpd_answer(struct buf *out, int status, const char *headers,
                  struct str body);

/* Run the loop until done(ctx) holds; fails the test after ten seconds. */
void run_until(struct loop *l, bool (*done)(void *ctx), void *ctx);

/* The same until *counter is at least `n`. */
void run_until_count(struct loop *l, const unsigned *counter, unsigned n);

/* Run what is ready now and what that makes ready, but wait for nothing. */
void run_a_little(struct loop *l);

/* A clock that stands still until the test moves it. */
struct fake_clock {
	struct clock clock;
	uint64_t mono_us;
	int64_t real_ms;
};
void fake_clock_init(struct fake_clock *c, int64_t real_s);
void fake_clock_pass(struct fake_clock *c, int64_t seconds);

#endif
