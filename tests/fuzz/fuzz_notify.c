/*
 * Any bytes as the payload of a NOTIFY, every argument also as a header list.
 *
 * Held against it: every view lies within the payload, the walk ends, and an
 * error once seen stays.
 */
#include "spop/notify.h"

#include <stdlib.h>

static void check(bool good)
{
	if (!good)
		abort();
}

/* Reads it, so that the sanitizer sees a view that lies outside. */
static unsigned touch(struct str s)
{
	unsigned sum = 0;
	size_t i;

	for (i = 0; i < s.len; i++)
		sum += (unsigned char)s.p[i];
	return sum;
}

static void headers(struct str list)
{
	struct cursor c = cursor_of(list);
	struct str name, value;

	while (notify_header(&c, &name, &value)) {
		check(name.len > 0);
		touch(name);
		touch(value);
	}
	if (c.bad)
		check(!notify_header(&c, &name, &value) && c.bad);
}

static void argument(const struct notify_arg *a)
{
	struct buf b;
	struct cursor c;

	touch(a->name);
	touch(a->value.bytes);
	check(a->value.type != SPOP_IPV4 || a->value.bytes.len == 4);
	check(a->value.type != SPOP_IPV6 || a->value.bytes.len == 16);
	headers(a->value.bytes);
	/* what was read can be written, and is the same again */
	buf_init(&b, 64 + a->value.bytes.len);
	check(value_write_int64(&b, a->value.number));
	check(value_write_str(&b, a->value.bytes));
	c = cursor_of(buf_str(&b));
	check(value_read(&c).number == a->value.number);
	check(str_eq(value_read(&c).bytes, a->value.bytes));
	check(!c.bad && cursor_left(&c) == 0);
	buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame f = {.type = FRAME_NOTIFY,
	                  .payload = str_of((const char *)data, size)};
	struct cursor c = notify_begin(&f);
	struct notify_message m;
	struct notify_arg a;
	unsigned i;

	while (notify_message(&c, &m)) {
		touch(m.name);
		for (i = 0; i < m.n_args && notify_arg(&c, &a); i++)
			argument(&a);
	}
	check(cursor_left(&c) == 0);
	if (c.bad)
		check(!notify_message(&c, &m) && !notify_arg(&c, &a));
	return 0;
}
