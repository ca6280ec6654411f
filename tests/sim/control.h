/*
 * control: what tests tell the simulator under /control/, and ask it.
 *
 *   POST token        claims, header, key, version, raw, hmac_key -> a JWT
 *   POST fault        one fault (faults.h)       DELETE fault: none any more
 *   POST defaults     what an answer is like     (the table in control.c)
 *   POST deployments  names and limits           (deployments.h)
 *   POST rotate       {"drop_old":bool}          -> {"kid":...}
 *   POST drop-key     {"kid":...}, default the one that signs
 *   POST revoke       the data plane forgets every token given out
 *   POST record       {"on":bool}
 *   POST reset        everything but keys and tokens as at the start
 *   GET  requests     ?since=SEQ                 the recorded ones
 *   GET  stats
 *   GET  wait         ?COUNTER=N...&timeout_ms=  until every counter is at
 *                     least N (streams_open: exactly N) -> stats, or 408
 */
#ifndef SIM_CONTROL_H
#define SIM_CONTROL_H

#include "http.h"

bool control_owns(const struct exchange *x);
void control_answer(struct exchange *x);

/* A counter changed: answer the waits that it fulfils. */
void control_changed(struct sim *sim);

/* The exchange of a wait ended. */
void control_ended(struct exchange *x);

#endif
