/*
 * spop/notify: the messages of a NOTIFY frame (SPOE.txt 3.2.6, 3.3).
 *
 *   payload: { message name, number of arguments, { name, value } ... } ...
 *
 * The caller walks through the payload with one cursor:
 *
 *   c = notify_begin(f);
 *   while (notify_message(&c, &m))
 *           for (i = 0; i < m.n_args && notify_arg(&c, &a); i++)
 *                   ...
 *   if (c.bad)
 *           the frame is malformed
 *
 * All names and values are views into the frame. Outputs are untouched where a
 * function returns false.
 */
#ifndef SPOP_NOTIFY_H
#define SPOP_NOTIFY_H

#include "spop/frame.h"

struct notify_message {
	struct str name; /* of the spoe-message section */
	unsigned n_args; /* at most 255: a byte on the wire */
};

struct notify_arg {
	struct str name; /* as `args` of the section names it */
	struct spop_value value;
};

struct cursor notify_begin(const struct frame *f);

/* The next message. False at the end of the payload and on errors, which
 * `bad` of the cursor tells apart. All arguments of the message before must
 * have been read. */
bool notify_message(struct cursor *c, struct notify_message *out);

/* The next argument of the message. False on an error. */
bool notify_arg(struct cursor *c, struct notify_arg *out);

/* The next header of a value that the sample fetch `req.hdrs_bin` made: pairs
 * of name and value, each a length as a varint and the bytes, ended by two
 * empty strings. False at that end and on errors, which `bad` tells apart. */
bool notify_header(struct cursor *c, struct str *name, struct str *value);

#endif
