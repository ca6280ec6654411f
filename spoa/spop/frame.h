/*
 * spop/frame: bytes <-> frames (SPOE.txt 3.2), and the HELLO exchange.
 *
 *   in:  bytes -> frame_parse -> struct frame -> hello_read
 *                                             -> notify_begin (spop/notify)
 *                                             -> disconnect_read
 *   out: frame_begin -> payload (spop/ack, spop/value) -> frame_end -> bytes
 *        hello_write, disconnect_write: a complete frame
 *
 * A codec: no I/O, no logging, no memory and no state of its own (STYLE 20).
 * Sizes are bytes. Incomplete input is FRAME_AGAIN, never an error.
 *
 * Supported is SPOP 2.0 with the capability "pipelining", the only version
 * that HAProxy 2.6 to 3.4 accepts. "fragmentation" and "async" are not
 * offered: HAProxy 3.1 removed both (haproxy.md 1).
 */
#ifndef SPOP_FRAME_H
#define SPOP_FRAME_H

#include "spop/value.h"

/* The numbers of SPOE.txt 3.2.2. */
enum frame_type {
	FRAME_UNSET = 0,
	FRAME_HAPROXY_HELLO = 1,
	FRAME_HAPROXY_DISCONNECT = 2,
	FRAME_NOTIFY = 3,
	FRAME_AGENT_HELLO = 101,
	FRAME_AGENT_DISCONNECT = 102,
	FRAME_ACK = 103,
	/* frame_parse may return any other number: the caller skips such a
	 * frame, as SPOE.txt 3.2.2 allows */
};

/* Bits of the flags (SPOE.txt 3.2). */
enum { FRAME_FIN = 1, FRAME_ABORT = 2 };

/* The status code of a DISCONNECT (SPOE.txt 3.5). No codes of our own: HAProxy
 * before 3.4 used the code of a reply to a health check as an unchecked index
 * (haproxy.md 1). */
enum spop_code {
	SPOP_NORMAL = 0,
	SPOP_IO = 1,
	SPOP_TIMEOUT = 2,
	SPOP_TOO_BIG = 3,
	SPOP_INVALID = 4,
	SPOP_NO_VERSION = 5,
	SPOP_NO_FRAME_SIZE = 6,
	SPOP_NO_CAPABILITIES = 7,
	SPOP_BAD_VERSION = 8,
	SPOP_BAD_FRAME_SIZE = 9,
	SPOP_FRAGMENTED = 10,
	SPOP_INTERLACED = 11,
	SPOP_FRAMEID = 12,
	SPOP_RESOURCE = 13,
	SPOP_UNKNOWN = 99,
};

/* The text for a code, in a DISCONNECT and in logs; a constant. */
const char *spop_code_name(enum spop_code code);

/* Of frame_parse(). */
enum frame_status { FRAME_OK = 0, FRAME_AGAIN = 1, FRAME_ERROR = 2 };

enum {
	/* SPOE.txt 3.2: every peer must accept 256 bytes */
	SPOP_MIN_FRAME = 256,
	/* A limit of the agent, so that a peer cannot make it allocate more.
	 * HAProxy announces tune.bufsize - 4; haproxy.cfg sets 262144. */
	SPOP_MAX_FRAME = 1048576,
};

struct frame {
	enum frame_type type;
	uint32_t flags;
	uint64_t stream_id;
	uint64_t frame_id;
	struct str payload; /* a view into the bytes given to frame_parse */
};

/* Parse the frame at the start of `bytes`. `max` is the largest length field
 * that is accepted.
 *
 * FRAME_OK     *out is the frame, *used the number of its bytes.
 * FRAME_AGAIN  the frame is not complete; *need is the number of bytes that it
 *              needs in total (4 while the length is not known).
 * FRAME_ERROR  *code is the reason for an AGENT-DISCONNECT: SPOP_TOO_BIG,
 *              SPOP_INVALID, or SPOP_FRAGMENTED for any fragment. */
enum frame_status frame_parse(struct str bytes, size_t max, struct frame *out,
                              size_t *used, size_t *need, enum spop_code *code);

/* Build a frame in `out`, which must not have failed (assert). frame_begin()
 * appends the head and returns the offset of the frame, the caller appends the
 * payload, frame_end() fills in the length.
 *
 * frame_end() returns false when the buffer failed in between; the frame is
 * then removed and `failed` is cleared, so the buffer is as it was before
 * frame_begin(). frame_drop() removes a frame at any time. */
size_t frame_begin(struct buf *out, enum frame_type type, uint64_t stream_id,
                   uint64_t frame_id);
bool frame_end(struct buf *out, size_t at);
void frame_drop(struct buf *out, size_t at);

/* What both sides agree on. */
struct hello {
	uint32_t max_frame;   /* the smaller of SPOP_MAX_FRAME and HAProxy's */
	bool pipelining;      /* HAProxy offers it; the agent always accepts */
	bool healthcheck;     /* of `option spop-check`: no NOTIFY follows */
	struct str engine_id; /* a view; empty when not announced */
};

/* Read a HAPROXY-HELLO (SPOE.txt 3.2.4). SPOP_NORMAL, or the code for an
 * AGENT-DISCONNECT; *out is then untouched. */
enum spop_code hello_read(const struct frame *f, struct hello *out);

/* Append the AGENT-HELLO that answers it (SPOE.txt 3.2.5): version 2.0, the
 * max-frame-size of `h`, and the capability "pipelining" where HAProxy offered
 * it. False, with nothing appended, when the buffer is too small. */
bool hello_write(struct buf *out, const struct hello *h);

/* Append an AGENT-DISCONNECT (SPOE.txt 3.2.9). False, with nothing appended,
 * when the buffer is too small. */
bool disconnect_write(struct buf *out, enum spop_code code,
                      const char *message);

/* The code of a HAPROXY-DISCONNECT (SPOE.txt 3.2.8); SPOP_UNKNOWN when it is
 * missing, malformed or not in enum spop_code. */
enum spop_code disconnect_read(const struct frame *f);

#endif
