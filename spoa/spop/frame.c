/*
 * spop/frame: bytes <-> frames (SPOE.txt 3.2), and the HELLO exchange.
 *
 *   | length: 4 | type: 1 | flags: 4 | stream id | frame id | payload ...
 *     big endian            big endian  varint      varint
 *
 * The length does not count its own four bytes.
 */
#include "spop/frame.h"

#include <assert.h>

enum {
	LENGTH_SIZE = 4,
	/* type, flags, and two ids of at least one byte */
	SMALLEST_FRAME = 7,
};

const char *spop_code_name(enum spop_code code)
{
	static const char *const names[] = {
		[SPOP_NORMAL] = "normal",
		[SPOP_IO] = "I/O error",
		[SPOP_TIMEOUT] = "timeout",
		[SPOP_TOO_BIG] = "frame is too big",
		[SPOP_INVALID] = "invalid frame",
		[SPOP_NO_VERSION] = "no supported-versions",
		[SPOP_NO_FRAME_SIZE] = "no max-frame-size",
		[SPOP_NO_CAPABILITIES] = "no capabilities",
		[SPOP_BAD_VERSION] = "version 2.0 is not supported",
		[SPOP_BAD_FRAME_SIZE] = "max-frame-size is too small",
		[SPOP_FRAGMENTED] = "fragments; no option send-frag-payload",
		[SPOP_INTERLACED] = "interlaced frames",
		[SPOP_FRAMEID] = "frame-id not found",
		[SPOP_RESOURCE] = "out of memory or descriptors",
	};

	return code <= SPOP_RESOURCE ? names[code] : "unknown error";
}

static enum frame_status frame_fail(enum spop_code *code, enum spop_code why)
{
	*code = why;
	return FRAME_ERROR;
}

enum frame_status frame_parse(struct str bytes, size_t max, struct frame *out,
                              size_t *used, size_t *need, enum spop_code *code)
{
	struct cursor head = cursor_of(str_first(bytes, LENGTH_SIZE));
	struct cursor c;
	struct frame f;
	size_t len;

	*need = LENGTH_SIZE;
	if (bytes.len < LENGTH_SIZE)
		return FRAME_AGAIN;
	len = cursor_be32(&head);
	/* before any byte of the frame is waited for: net/conn allocates what
	 * *need asks for */
	if (len > max)
		return frame_fail(code, SPOP_TOO_BIG);
	if (len < SMALLEST_FRAME)
		return frame_fail(code, SPOP_INVALID);
	*need = LENGTH_SIZE + len;
	if (bytes.len < *need)
		return FRAME_AGAIN;

	/* The frame is complete: reading beyond it is an error from here on,
	 * although further bytes may follow. */
	c = cursor_of(str_of(bytes.p + LENGTH_SIZE, len));
	f.type = (enum frame_type)cursor_u8(&c);
	f.flags = cursor_be32(&c);
	f.stream_id = cursor_varint(&c);
	f.frame_id = cursor_varint(&c);
	f.payload = cursor_take(&c, cursor_left(&c));
	if (c.bad)
		return frame_fail(code, SPOP_INVALID);
	/* The agent does not offer the capability "fragmentation" (SPOE.txt
	 * 3.2.1), so a first fragment (no FIN), a further one (UNSET) and an
	 * abandoned one (ABORT) break the protocol. */
	if (f.type == FRAME_UNSET || !(f.flags & FRAME_FIN) ||
	    (f.flags & FRAME_ABORT))
		return frame_fail(code, SPOP_FRAGMENTED);
	*used = *need;
	*out = f;
	return FRAME_OK;
}

size_t frame_begin(struct buf *out, enum frame_type type, uint64_t stream_id,
                   uint64_t frame_id)
{
	/* length (set by frame_end), type, flags: FIN */
	const unsigned char head[] = {0, 0, 0, 0,        (unsigned char)type,
	                              0, 0, 0, FRAME_FIN};
	size_t at = out->len;

	/* after an earlier failure frame_drop() could not restore the buffer */
	assert(!out->failed);
	buf_add(out, head, sizeof(head));
	value_write_varint(out, stream_id);
	value_write_varint(out, frame_id);
	return at;
}

bool frame_end(struct buf *out, size_t at)
{
	size_t len;
	unsigned char *p;

	if (out->failed) {
		frame_drop(out, at);
		return false;
	}
	len = out->len - at - LENGTH_SIZE;
	p = (unsigned char *)out->p + at;
	p[0] = (unsigned char)(len >> 24);
	p[1] = (unsigned char)(len >> 16);
	p[2] = (unsigned char)(len >> 8);
	p[3] = (unsigned char)len;
	return true;
}

void frame_drop(struct buf *out, size_t at)
{
	out->len = at;
	out->failed = false;
}

/* The next entry of a KV-LIST (SPOE.txt 3.2). False at the end and on errors,
 * which `bad` of the cursor tells apart. */
static bool frame_next_item(struct cursor *c, struct str *name,
                            struct spop_value *value)
{
	if (cursor_left(c) == 0)
		return false;
	*name = cursor_string(c);
	*value = value_read(c);
	return !c->bad;
}

/* True when the list "Major.Minor, ..." has a version 2: support of a minor
 * version includes all lower ones, so any 2.x includes the 2.0 that the agent
 * speaks (SPOE.txt 3.2.4). */
static bool frame_offers_version_2(struct str list)
{
	while (list.len > 0) {
		size_t n = str_find(list, ',');

		if (str_starts(str_trim(str_first(list, n)), STR("2.")))
			return true;
		list = str_from(list, n + 1);
	}
	return false;
}

/* True when the list "a, b, ..." has the word `wanted`. Blanks around a word
 * are ignored, which str_has_word() would not do. */
static bool frame_offers_capability(struct str capabilities, struct str wanted)
{
	while (capabilities.len > 0) {
		size_t n = str_find(capabilities, ',');

		if (str_eq(str_trim(str_first(capabilities, n)), wanted))
			return true;
		capabilities = str_from(capabilities, n + 1);
	}
	return false;
}

static bool frame_is_integer(const struct spop_value *v)
{
	return v->type >= SPOP_INT32 && v->type <= SPOP_UINT64;
}

/* The items of a HAPROXY-HELLO that are read; SPOP_NULL when missing. */
struct hello_items {
	struct spop_value versions, max_frame, capabilities, engine_id, check;
};

static enum spop_code frame_read_items(const struct frame *f,
                                       struct hello_items *out)
{
	const struct {
		struct str name;
		struct spop_value *value;
	} items[] = {
		{STR("supported-versions"), &out->versions},
		{STR("max-frame-size"), &out->max_frame},
		{STR("capabilities"), &out->capabilities},
		{STR("engine-id"), &out->engine_id},
		{STR("healthcheck"), &out->check},
	};
	struct cursor c = cursor_of(f->payload);
	struct spop_value value;
	struct str name;
	size_t i;

	*out = (struct hello_items){.versions.type = SPOP_NULL};
	/* unknown items are skipped; of a repeated one the last counts */
	while (frame_next_item(&c, &name, &value))
		for (i = 0; i < sizeof(items) / sizeof(items[0]); i++)
			if (str_eq(name, items[i].name))
				*items[i].value = value;
	return c.bad ? SPOP_INVALID : SPOP_NORMAL;
}

enum spop_code hello_read(const struct frame *f, struct hello *out)
{
	struct hello_items in;
	int64_t max;

	/* both ids are 0 in frames that belong to no stream */
	if (f->type != FRAME_HAPROXY_HELLO || f->stream_id != 0 ||
	    f->frame_id != 0 || frame_read_items(f, &in) != SPOP_NORMAL)
		return SPOP_INVALID;
	if (in.versions.type != SPOP_STR)
		return SPOP_NO_VERSION;
	if (!frame_is_integer(&in.max_frame))
		return SPOP_NO_FRAME_SIZE;
	/* `option spop-check` sends an empty string, which is a STR */
	if (in.capabilities.type != SPOP_STR)
		return SPOP_NO_CAPABILITIES;
	if (!frame_offers_version_2(in.versions.bytes))
		return SPOP_BAD_VERSION;
	max = in.max_frame.number;
	if (max < SPOP_MIN_FRAME)
		return SPOP_BAD_FRAME_SIZE;
	*out = (struct hello){
		.max_frame =
			(uint32_t)(max < SPOP_MAX_FRAME ? max : SPOP_MAX_FRAME),
		.pipelining = frame_offers_capability(in.capabilities.bytes,
	                                              STR("pipelining")),
		/* false, too, where the item is missing or not a boolean */
		.healthcheck = in.check.boolean,
		.engine_id = in.engine_id.bytes,
	};
	return SPOP_NORMAL;
}

bool hello_write(struct buf *out, const struct hello *h)
{
	size_t at = frame_begin(out, FRAME_AGENT_HELLO, 0, 0);

	value_write_string(out, STR("version"));
	value_write_str(out, STR("2.0"));
	value_write_string(out, STR("max-frame-size"));
	value_write_uint32(out, h->max_frame);
	/* mandatory, also where it is empty (SPOE.txt 3.2.5) */
	value_write_string(out, STR("capabilities"));
	value_write_str(out, h->pipelining ? STR("pipelining") : STR_NONE);
	return frame_end(out, at);
}

bool disconnect_write(struct buf *out, enum spop_code code, const char *message)
{
	size_t at = frame_begin(out, FRAME_AGENT_DISCONNECT, 0, 0);

	value_write_string(out, STR("status-code"));
	value_write_uint32(out, code);
	value_write_string(out, STR("message"));
	value_write_str(out, str_c(message));
	return frame_end(out, at);
}

enum spop_code disconnect_read(const struct frame *f)
{
	struct cursor c = cursor_of(f->payload);
	enum spop_code code = SPOP_UNKNOWN;
	struct spop_value value;
	struct str name;

	/* the message is not read: HAProxy's texts follow from the code */
	while (frame_next_item(&c, &name, &value))
		if (str_eq(name, STR("status-code")) &&
		    frame_is_integer(&value) && value.number >= 0 &&
		    value.number <= SPOP_RESOURCE)
			code = (enum spop_code)value.number;
	return c.bad ? SPOP_UNKNOWN : code;
}
