/*
 * faults: what goes wrong, and for which requests, as tests wish it.
 */
#ifndef SIM_FAULTS_H
#define SIM_FAULTS_H

#include <cjson/cJSON.h>

#include "sim.h"

struct faults;

/* What a fault does. All zero does nothing. Borrows from the fault list,
 * which lives until POST /control/reset; the exchange copies what it keeps. */
struct effect {
	long status;          /* 0: none, the normal answer */
	long retry_after;     /* seconds; -1: no such header */
	const char *body;     /* NULL: Azure's for that status */
	const cJSON *headers; /* further headers, or NULL */
	long delay_ms;        /* before the answer */
	long stall_ms; /* a pause: in a stream after stall_after events */
	long stall_after;
	bool stall_forever;
	long cut_after_events;  /* -1: no; close after so many events */
	long cut_after_bytes;   /* -1: no; of an answer that is no stream */
	long fail_after_events; /* -1: no; the API's own error event, end */
	bool close;             /* no answer at all */
	bool reset;             /* closing is a TCP reset */
};

struct fault_subject {
	enum endpoint endpoint;
	const char *path;
	size_t path_len;
	const char *host;       /* may be NULL */
	const char *deployment; /* may be NULL */
	size_t deployment_len;
};

struct faults *faults_new(void);
void faults_free(struct faults *f);
void faults_reset(struct faults *f);

/* Add the fault that a test wishes; false with what was wrong in `why`.
 * Takes `wish` over when it returns true. */
bool faults_add(struct faults *f, cJSON *wish, const char **why);

/* The first fault that fits, used up by one. False when there is none. */
bool faults_find(struct faults *f, const struct fault_subject *s,
                 struct effect *out);

void effect_none(struct effect *e);

#endif
