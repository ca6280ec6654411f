/*
 * spop/notify: the messages of a NOTIFY frame (SPOE.txt 3.2.6).
 */
#ifndef SPOP_NOTIFY_H
#define SPOP_NOTIFY_H

#include "spop/frame.h"

struct notify_message {
	struct str name;
	unsigned n_args;
};

struct notify_arg {
	struct str name;
	struct spop_value value;
};

/* Walk: notify_begin, then while notify_message() { n_args x notify_arg() }.
 * All of a message's arguments must be read before the next message. The
 * cursor's `bad` tells a malformed frame from the end of a good one. */
struct cursor notify_begin(const struct frame *f);
bool notify_message(struct cursor *c, struct notify_message *out);
bool notify_arg(struct cursor *c, struct notify_arg *out);

/* Headers as `req.hdrs_bin` sends them: name, value pairs, each a varint
 * string, ended by two empty strings. False at the end or on an error. */
bool notify_header(struct cursor *c, struct str *name, struct str *value);

#endif
