/*
 * spop/frame: bytes <-> frames (SPOE.txt 3.2), and the HELLO exchange.
 *
 *   bytes -> frame_parse -> struct frame -> hello_read / notify_next
 *   frame_begin / ack_* / frame_end -> bytes
 *
 * No I/O, no logging, no memory of its own. A frame that is not complete yet
 * is FRAME_AGAIN, never an error.
 */
#ifndef SPOP_FRAME_H
#define SPOP_FRAME_H

#include "spop/value.h"

enum frame_type {
	FRAME_UNSET = 0,
	FRAME_HAPROXY_HELLO = 1,
	FRAME_HAPROXY_DISCONNECT = 2,
	FRAME_NOTIFY = 3,
	FRAME_AGENT_HELLO = 101,
	FRAME_AGENT_DISCONNECT = 102,
	FRAME_ACK = 103,
	/* any other number may come out of frame_parse: to be ignored */
};

enum { FRAME_FIN = 1, FRAME_ABORT = 2 };

/* SPOE.txt 3.5; the reason of a DISCONNECT. */
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

/* What to call it in a DISCONNECT and in a log; a constant. */
const char *spop_code_name(enum spop_code code);

enum frame_status { FRAME_OK = 0, FRAME_AGAIN = 1, FRAME_ERROR = 2 };

enum {
	SPOP_MIN_FRAME = 256,
	SPOP_MAX_FRAME = 1048576, /* ours; HAProxy announces bufsize - 4 */
};

struct frame {
	enum frame_type type;
	uint32_t flags;
	uint64_t stream_id;
	uint64_t frame_id;
	struct str payload; /* view into the bytes given */
};

/* One frame from the start of `bytes`; `max` is the largest length allowed
 * (without its own 4 bytes). FRAME_OK: *used bytes belong to it. FRAME_AGAIN:
 * *need is the number of bytes that would complete it (4 when not even the
 * length is there). FRAME_ERROR: *code says what to tell HAProxy; fragments
 * (UNSET, no FIN, ABORT) are SPOP_FRAGMENTED, as we never offer them. */
enum frame_status frame_parse(struct str bytes, size_t max, struct frame *out,
                              size_t *used, size_t *need, enum spop_code *code);

/* Building a frame: frame_begin returns where it starts in `out` (which must
 * not have failed), the caller appends the payload, frame_end fills in the
 * length. When something did not fit, frame_end takes the frame away again and
 * is false; frame_drop does so at any time. */
size_t frame_begin(struct buf *out, enum frame_type type, uint64_t stream_id,
                   uint64_t frame_id);
bool frame_end(struct buf *out, size_t at);
void frame_drop(struct buf *out, size_t at);

struct hello {
	uint32_t max_frame; /* min(SPOP_MAX_FRAME, announced) */
	bool pipelining;    /* HAProxy offers it */
	bool healthcheck;
	struct str engine_id; /* view; empty for health checks */
};

/* Reads a HAPROXY-HELLO. SPOP_NORMAL when it is good. */
enum spop_code hello_read(const struct frame *f, struct hello *out);

/* The AGENT-HELLO that answers it: version 2.0, max-frame-size, and exactly
 * "pipelining" where it was offered. A complete frame. */
bool hello_write(struct buf *out, const struct hello *h);

/* An AGENT-DISCONNECT. `message` is a constant. */
bool disconnect_write(struct buf *out, enum spop_code code,
                      const char *message);

/* A HAPROXY-DISCONNECT's code; SPOP_UNKNOWN when it cannot be read. */
enum spop_code disconnect_read(const struct frame *f);

#endif
