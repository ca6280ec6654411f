/*
 * decide/decision_log: the one line of a decision, and its counters.
 *
 * Called once for each NOTIFY, when the ACK has been written or could not be.
 */
#ifndef DECIDE_DECISION_LOG_H
#define DECIDE_DECISION_LOG_H

#include "request/request.h"

/* Counts always; writes the line at log level info. `told`: the ACK was written
 * and HAProxy still waited for it, as far as is known. The verdict must be set.
 * Tokens, keys and bodies are never part of the line. */
void decision_log_write(const struct request *r, bool told);

#endif
