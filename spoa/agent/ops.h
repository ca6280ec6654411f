/*
 * ops: what operators, orchestrators and HAProxy ask over HTTP.
 *
 *   /metrics  Prometheus text, all workers together
 *   /healthz  200 while the process answers
 *   /readyz   200 when every worker can decide: signing keys loaded, outbound
 *             tokens held, Redis there where it is required; else 503 and why
 *   /blocked  callers whose running streams are to be cut (store/blocked); 503
 *             until that was read from Redis once
 *
 * Nothing can be changed here, and no secret is told.
 */
#ifndef AGENT_OPS_H
#define AGENT_OPS_H

#include "net/http.h"

struct agent;

/* The callback of net/http; `agent` is a struct agent. False when there is no
 * such path: net/http then answers 404. */
bool ops_get(void *agent, struct str path, struct http_reply *reply);

/* Write this worker's gauges into shared memory: once a second, and before they
 * are read here. */
void ops_update_gauges(struct agent *a);

#endif
