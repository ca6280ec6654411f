/*
 * data: the Foundry data plane.
 */
#ifndef SIM_DATA_H
#define SIM_DATA_H

#include "http.h"

/* The key that every resource accepts. */
#define RESOURCE_KEY "sim-resource-key"

/* True when the path is one of the data plane's. */
bool data_owns(const struct exchange *x);

/* Read the request, as far as it can be read: sets x->ask, so that faults
 * and records know the deployment. */
void data_read(struct exchange *x);

/* Answer it. */
void data_answer(struct exchange *x);

void data_ended(struct exchange *x);

/* The body that Azure sends with an error status. */
void data_error_body(struct exchange *x, unsigned status, struct sb *out);

#endif
