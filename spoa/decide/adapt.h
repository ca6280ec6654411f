/*
 * decide/adapt: what must change in a body on its way upstream.
 *
 * The agent has read the body and knows where everything stands, so it says
 * what to do as a list of edits, and lua/edits.lua does it while the body
 * passes: take `remove` bytes away at `at`, put `insert` there. Offsets count
 * in the body as the client sent it. Only a JSON body that was seen whole is
 * edited.
 *
 *   model           the deployment's name, where the upstream reads it from
 *                   the body
 *   stream_options  asks for the usage of a chat stream whose client did not;
 *                   target.strip_usage then says to take it out of the answer
 *   the model's "adapt" of gateway.json: limits of output, reasoning_effort,
 *                   members it does not know
 */
#ifndef DECIDE_ADAPT_H
#define DECIDE_ADAPT_H

#include "request/request.h"

/* Was all of the body seen, and is it one JSON object? (A form has no brace
 * to stand behind.) */
static inline bool adapt_possible(const struct request_facts *f)
{
	return f->has_body && !f->is_form && !f->body_cut &&
	       f->scan_status == SCAN_OK && f->scan.top.inside > 0;
}

#endif
