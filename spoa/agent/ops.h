/*
 * ops: what operators and orchestrators ask over HTTP.
 *
 *   /metrics  Prometheus text, all workers together
 *   /healthz  200 while the process answers
 *   /readyz   200 when every worker can decide: signing keys loaded, outbound
 *             tokens held, Redis there where it is required; else 503 and why
 */
#ifndef AGENT_OPS_H
#define AGENT_OPS_H

#include "net/http.h"

struct agent;

/* The callback of net/http. */
bool ops_get(void *agent, struct str path, struct http_reply *reply);

/* Write this worker's gauges: once a second, and before they are read. */
void ops_update_gauges(struct agent *a);

#endif
