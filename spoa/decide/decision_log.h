/*
 * decide/decision_log: one line and the counters of a decision.
 */
#ifndef DECIDE_DECISION_LOG_H
#define DECIDE_DECISION_LOG_H

#include "request/request.h"

/* `told`: the answer was handed to HAProxy. Tokens, keys and bodies are never
 * part of the line. */
void decision_log_write(const struct request *r, bool told);

#endif
