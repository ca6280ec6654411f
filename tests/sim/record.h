/*
 * record: what the simulator received and served, for tests to read.
 *
 * Counters are always kept. The requests themselves are kept while recording
 * is on, the newest RECORD_MAX of them; each gets a number that grows.
 */
#ifndef SIM_RECORD_H
#define SIM_RECORD_H

#include "http.h"

enum {
	RECORD_MAX = 1000,
	RECORD_BODY_MAX = 4096, /* bytes of a body that are kept */
};

struct record_entry;

struct record *record_new(void);
void record_free(struct record *r);
void record_reset(struct record *r);
void record_switch(struct record *r, bool on);

/* A request came in: count it, and keep it when recording is on. */
void record_request(struct record *r, struct exchange *x);

/* The answer of x ended; says what was served and how it ended. */
void record_ended(struct record *r, struct exchange *x);

/* A stream of events started; its end is in record_ended(). */
void record_stream(struct record *r, struct exchange *x);

/* A JSON array of the requests with a number above `since`. */
void record_requests(const struct record *r, uint64_t since, struct sb *out);

/* All counters as one JSON object. */
void record_stats(const struct record *r, struct sb *out);

/* A counter by its name: "requests" (data plane), "streams_open", "ended",
 * "gone", or an endpoint's name. -1 when there is none of that name. */
long record_counter(const struct record *r, const char *name);

#endif
