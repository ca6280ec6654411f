/*
 * decide/adapt: what must change in a body on its way upstream.
 *
 * The agent has read the body and knows where everything is, so it describes
 * the changes as a list of edits, and lua/edits.lua makes them while the body
 * passes through HAProxy: at byte `at` take `remove` bytes away and put
 * `insert` there. Offsets count in the body as the client sent it. Only a JSON
 * body that was seen whole is edited.
 *
 *   model           the deployment's name, where the upstream reads it from
 *                   the body
 *   stream_options  asks for the usage of a chat stream whose client did not;
 *                   target.strip_usage then says to take it out of the answer
 *   the model's "adapt" of gateway.json: limits of output, reasoning_effort,
 *                   members that the model does not know
 */
#ifndef DECIDE_ADAPT_H
#define DECIDE_ADAPT_H

#include "request/request.h"

/* Whether the body can be edited: it was seen whole and is one JSON object. A
 * form is not edited, as it has no brace behind which a member could be put.
 * decide/route asks this too: a deployment whose name must be put into the
 * body is a candidate only then. */
static inline bool adapt_possible(const struct request_facts *f)
{
	return f->has_body && !f->is_form && !f->body_cut &&
	       f->scan_status == SCAN_OK && f->scan.top.inside > 0;
}

#endif
