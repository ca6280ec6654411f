/*
 * http: the door to libmicrohttpd, driven by our libev loop.
 *
 * An exchange is one request and its answer. A part of the simulator gets it
 * complete, body included, and says once what the answer is: http_answer()
 * for a whole body, http_stream() for events that come with time between
 * them. Delays, stalls and cuts of a fault are applied here.
 */
#ifndef SIM_HTTP_H
#define SIM_HTTP_H

#include <ev.h>
#include <microhttpd.h>

#include "faults.h"
#include "sim.h"

struct exchange;
struct record_entry;

/* Append the next event; false when there is none any more. */
typedef bool (*stream_next)(struct exchange *x, struct sb *out);

struct stream {
	stream_next next;
	struct sb buf; /* made, not yet handed to the connection */
	size_t off;
	size_t chunk;       /* bytes handed over at once; 0: as it comes */
	double event_delay; /* seconds between events; 0: packed together */
	double next_at;     /* loop time of the next event */
	long n_events;
	bool done, stalled;
};

struct exchange {
	struct sim *sim;
	struct exchange *next, *prev; /* all that are open */
	struct MHD_Connection *con;
	struct http *http;
	struct listener *listener;
	char *uri;         /* raw, as it came */
	size_t path_len;   /* of uri, up to the question mark */
	const char *query; /* after it; "" when there is none */
	const char *method, *version;
	struct sb body;
	enum endpoint endpoint;
	struct effect effect; /* what a fault does to it */
	struct MHD_Response *response;
	struct sb headers; /* of the answer, collected until it is made */
	unsigned status;
	struct stream stream;
	double delay; /* seconds before the answer; -1: for ever */
	ev_timer timer;
	bool routed; /* it came completely */
	bool suspended, watched;
	bool gone;      /* the client went away */
	bool cut;       /* we broke it off */
	bool streaming; /* counted in streams_open */
	struct usage usage;
	struct ask *ask;             /* data plane */
	struct record_entry *record; /* NULL when not recorded */
	struct wait *wait;           /* GET /control/wait */
};

/* `request` runs once for every complete request, `ended` once after its
 * answer was sent or broken off. */
struct http *http_new(struct sim *sim, void (*request)(struct exchange *x),
                      void (*ended)(struct exchange *x));
void http_free(struct http *h); /* breaks off what is open */

/* Listen on "ip:port", port 0 for any free one; with PEM texts it is TLS.
 * The texts must live as long as h.
 * Returns the port, 0 after printing what went wrong. */
int http_listen(struct http *h, const char *addr, char *cert, char *key);

/* The descriptor of its connection. */
int http_socket(const struct exchange *x);

/* Whether it came over TLS. */
bool http_is_tls(const struct exchange *x);

/* A request header, NULL when absent. */
const char *http_header(struct exchange *x, const char *name);

/* Whether the path is exactly this. */
bool http_path_is(const struct exchange *x, const char *path);

/* A query parameter, decoded, malloced; NULL when absent. */
char *http_query(const struct exchange *x, const char *name);

/* A header of the answer; before http_answer() or http_stream(). */
void http_set(struct exchange *x, const char *name, const char *value);
void http_set_num(struct exchange *x, const char *name, long value);

/* The whole answer. Takes the bytes of `body` over and empties it. */
void http_answer(struct exchange *x, unsigned status, const char *type,
                 struct sb *body);

/* An answer as text/event-stream; x->stream says the pace. */
void http_stream(struct exchange *x, stream_next next);

/* The connection is no HTTP any more; `cb` gets its socket. */
void http_upgrade(struct exchange *x, MHD_UpgradeHandler cb, void *cls);

/* No answer for now: whoever calls this calls http_answer() and then
 * http_wake() later; `cb` (NULL: http_wake()) runs after wake_s seconds unless
 * woken before, never when wake_s is negative. */
void http_park(struct exchange *x, double wake_s,
               void (*cb)(struct ev_loop *, ev_timer *, int));
void http_wake(struct exchange *x);

/* A JSON object as the answer. */
struct cJSON;
void http_answer_cjson(struct exchange *x, unsigned status, struct cJSON *json);

#endif
