/*
 * stream: an answer's bytes at the pace, and up to the end, that was wished.
 */
#include "stream.h"

#include <sys/socket.h>

/* What the client has not been sent is lost. SO_LINGER would come too late:
 * libmicrohttpd ends its side in order before it closes. Dissolving the
 * association sends the reset at once (Linux, connect(2)). */
static void reset(struct exchange *x)
{
	struct sockaddr nobody = {.sa_family = AF_UNSPEC};

	connect(http_socket(x), &nobody, sizeof(nobody));
}

void stream_break_off(struct exchange *x)
{
	x->cut = true;
	if (x->effect.reset)
		reset(x);
}

/* Seconds to wait before the next event; -1 for ever, 0 not at all. */
static double pause_of(struct exchange *x)
{
	struct stream *s = &x->stream;
	const struct effect *e = &x->effect;

	if (!s->stalled && (e->stall_ms > 0 || e->stall_forever) &&
	    s->n_events == e->stall_after) {
		s->stalled = true;
		return e->stall_forever ? -1 : (double)e->stall_ms / 1e3;
	}
	if (s->event_delay > 0 && s->n_events > 0) {
		double left = s->next_at - ev_now(x->sim->loop);

		return left > 0 ? left : 0;
	}
	return 0;
}

static bool make_event(struct exchange *x)
{
	struct stream *s = &x->stream;

	if (!s->next(x, &s->buf)) {
		s->done = true;
		return false;
	}
	/* from plan to plan, so that late timers do not add up */
	if (s->n_events == 0)
		s->next_at = ev_now(x->sim->loop);
	s->next_at += s->event_delay;
	s->n_events++;
	return true;
}

/* May the next event go into the same piece as the last one? */
static bool packs(const struct exchange *x)
{
	const struct stream *s = &x->stream;
	const struct effect *e = &x->effect;

	return s->event_delay <= 0 && s->chunk == 0 && !s->done &&
	       s->n_events != e->cut_after_events &&
	       (s->stalled || s->n_events != e->stall_after ||
	        !(e->stall_ms > 0 || e->stall_forever));
}

static ssize_t hand_over(struct exchange *x, char *out, size_t max)
{
	struct stream *s = &x->stream;
	size_t n = s->buf.len - s->off;

	if (n > max)
		n = max;
	if (s->chunk > 0 && n > s->chunk)
		n = s->chunk;
	memcpy(out, s->buf.p + s->off, n);
	s->off += n;
	return (ssize_t)n;
}

ssize_t stream_read_cb(void *cls, uint64_t pos, char *out, size_t max)
{
	struct exchange *x = cls;
	struct stream *s = &x->stream;
	double pause;

	(void)pos;
	if (x->gone || x->cut)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (s->off < s->buf.len)
		return hand_over(x, out, max);
	s->off = s->buf.len = 0;
	if (s->n_events == x->effect.cut_after_events) {
		stream_break_off(x);
		return MHD_CONTENT_READER_END_WITH_ERROR;
	}
	pause = pause_of(x);
	if (pause != 0 && !s->done) {
		http_park(x, pause, NULL);
		return 0;
	}
	if (s->done || !make_event(x))
		return MHD_CONTENT_READER_END_OF_STREAM;
	while (s->buf.len < max && packs(x) && make_event(x))
		;
	return hand_over(x, out, max);
}

ssize_t stream_cut_cb(void *cls, uint64_t pos, char *out, size_t max)
{
	struct exchange *x = cls;
	size_t left = x->stream.buf.len - x->stream.off;

	(void)pos;
	if (left == 0 && !x->gone)
		stream_break_off(x);
	if (left == 0 || x->gone)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	return hand_over(x, out, max);
}
