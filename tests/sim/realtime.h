/*
 * realtime: a WebSocket that says session.created and then repeats what it
 * hears.
 */
#ifndef SIM_REALTIME_H
#define SIM_REALTIME_H

#include "http.h"

void realtime_answer(struct exchange *x);

#endif
