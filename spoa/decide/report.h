/*
 * decide/report: one line and the counters of a decision.
 */
#ifndef DECIDE_REPORT_H
#define DECIDE_REPORT_H

#include "request/request.h"

/* `told`: the answer was handed to HAProxy. Tokens, keys and bodies are never
 * part of the line. */
void report_decision(const struct request *r, bool told);

#endif
