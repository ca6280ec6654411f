/*
 * Any bytes as the stream of one connection: frames, HELLO and DISCONNECT.
 *
 * Held against it: a frame lies within its bytes, is the same when it comes in
 * pieces, and what is written for it can be read again.
 */
#include "spop/ack.h"

#include <stdlib.h>

enum { MAX_FRAME = 4096 };

static void check(bool good)
{
	if (!good)
		abort();
}

/* The payload copied to memory of exactly its size, for the sanitizer. */
static void read_payload(const struct frame *in)
{
	struct frame f = *in;
	struct hello h = {.max_frame = 0};
	char *copy = malloc(f.payload.len + 1);

	if (f.payload.len)
		memcpy(copy, f.payload.p, f.payload.len);
	f.payload.p = copy;
	disconnect_read(&f);
	if (hello_read(&f, &h) == SPOP_NORMAL) {
		struct buf b;

		check(h.max_frame >= SPOP_MIN_FRAME &&
		      h.max_frame <= SPOP_MAX_FRAME);
		buf_init(&b, 256);
		check(hello_write(&b, &h));
		buf_done(&b);
	}
	free(copy);
}

/* An ACK for the frame has its ids. */
static void answer(const struct frame *f)
{
	enum spop_code code;
	size_t used, need;
	struct frame got;
	struct ack a;
	struct buf b;

	buf_init(&b, 256);
	ack_begin(&a, &b, f->stream_id, f->frame_id, 256);
	check(ack_end(&a));
	check(frame_parse(buf_str(&b), 256, &got, &used, &need, &code) ==
	      FRAME_OK);
	check(used == b.len && got.type == FRAME_ACK);
	check(got.stream_id == f->stream_id && got.frame_id == f->frame_id);
	buf_done(&b);
}

/* Less than the whole is never a frame, and never another error. */
static void cut(struct str bytes, size_t used)
{
	static const size_t cuts[] = {1, 3, 4, 5, 11};
	enum spop_code code;
	size_t i, u, need;
	struct frame f;

	for (i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		if (cuts[i] >= used)
			break;
		check(frame_parse(str_first(bytes, cuts[i]), MAX_FRAME, &f, &u,
		                  &need, &code) == FRAME_AGAIN);
		check(need == (cuts[i] < 4 ? 4 : used));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str bytes = str_of((const char *)data, size);
	enum spop_code code = SPOP_NORMAL;
	enum frame_status status;
	size_t used, need;
	struct frame f;

	/* a HELLO without the luck that its head needs */
	f = (struct frame){.type = FRAME_HAPROXY_HELLO, .payload = bytes};
	read_payload(&f);
	for (;;) {
		status = frame_parse(bytes, MAX_FRAME, &f, &used, &need, &code);
		if (status != FRAME_OK)
			break;
		check(used <= bytes.len && used <= MAX_FRAME + 4);
		check(f.payload.len <= used - 11);
		check(f.payload.len == 0 ||
		      f.payload.p + f.payload.len == bytes.p + used);
		cut(bytes, used);
		read_payload(&f);
		answer(&f);
		bytes = str_from(bytes, used);
	}
	if (status == FRAME_AGAIN)
		check(need > bytes.len && need <= MAX_FRAME + 4);
	else
		check(code == SPOP_TOO_BIG || code == SPOP_INVALID ||
		      code == SPOP_FRAGMENTED);
	return 0;
}
