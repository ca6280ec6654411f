/*
 * stream: an answer's bytes at the pace, and up to the end, that was wished.
 *
 * With time between them every event is a piece of its own; without, as many
 * go together as fit. A cut or a stall falls exactly between two events.
 */
#ifndef SIM_STREAM_H
#define SIM_STREAM_H

#include "http.h"

/* For MHD_create_response_from_callback() with the exchange: the events of
 * x->stream; and a whole body, in x->stream.buf, broken off at its end. */
ssize_t stream_read_cb(void *cls, uint64_t pos, char *out, size_t max);
ssize_t stream_cut_cb(void *cls, uint64_t pos, char *out, size_t max);

/* The connection is going to be closed by us, as a reset when the fault says
 * so. */
void stream_break_off(struct exchange *x);

#endif
