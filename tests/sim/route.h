/*
 * route: which part answers a request; faults and records on the way.
 */
#ifndef SIM_ROUTE_H
#define SIM_ROUTE_H

#include "http.h"

void route_request(struct exchange *x);
void route_ended(struct exchange *x);

#endif
