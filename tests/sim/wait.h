/*
 * wait: answers that come when counters have reached what a test waits for.
 */
#ifndef SIM_WAIT_H
#define SIM_WAIT_H

#include "http.h"

struct record;
struct waits;

struct waits *waits_new(void);
void waits_free(struct waits *w);

/* Answer x now, or park it until its counters are there or its timeout_ms
 * (default 10000) has passed: then 408. False when it names no counter. */
bool wait_start(struct exchange *x);

void wait_changed(struct waits *w, const struct record *r);
void wait_ended(struct exchange *x);

#endif
