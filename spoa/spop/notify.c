/*
 * spop/notify: the messages of a NOTIFY frame (SPOE.txt 3.2.6, 3.3).
 *
 * Values are read into a local first, so that outputs are untouched on errors.
 */
#include "spop/notify.h"

struct cursor notify_begin(const struct frame *f)
{
	return cursor_of(f->payload);
}

bool notify_message(struct cursor *c, struct notify_message *out)
{
	struct notify_message m;

	if (cursor_left(c) == 0)
		return false;
	m.name = cursor_string(c);
	m.n_args = cursor_u8(c);
	if (c->bad)
		return false;
	*out = m;
	return true;
}

bool notify_arg(struct cursor *c, struct notify_arg *out)
{
	struct notify_arg a;

	a.name = cursor_string(c);
	a.value = value_read(c);
	if (c->bad)
		return false;
	*out = a;
	return true;
}

bool notify_header(struct cursor *c, struct str *name, struct str *value)
{
	struct str n = cursor_string(c);
	struct str v = cursor_string(c);

	if (c->bad)
		return false;
	if (n.len == 0) {
		/* The end of the list is two empty strings. HAProxy rejects a
		 * header without a name, so an empty name with a value is not
		 * a header but a malformed list. */
		c->bad = v.len != 0;
		return false;
	}
	*name = n;
	*value = v;
	return true;
}
