/* store/redis_events: event adapter between hiredis and base/loop. */
#include "store/redis_events.h"

#include <stdlib.h>

struct events {
	struct loop *loop;
	redisAsyncContext *ac;
	struct loop_io io;
	int watched; /* LOOP_READ | LOOP_WRITE */
	struct loop_turn turn;
	struct loop_timer fallback;
	bool write_pending; /* commands wait for the end of the turn */
	bool wait_writable; /* the kernel did not take everything, so the
	                     * socket is watched instead */
};

static void rev_on_io(void *data, int fd, int ready)
{
	struct events *e = data;
	redisAsyncContext *ac = e->ac;

	(void)fd;
	/* Each of the two may close the connection, which frees `e`. So one per
	 * call; the loop reports the other event again. */
	if (ready & LOOP_READ)
		redisAsyncHandleRead(ac);
	else
		redisAsyncHandleWrite(ac);
}

static void rev_watch(struct events *e, int events)
{
	if (e->watched == events)
		return;
	e->watched = events;
	if (events == 0)
		loop_io_stop(&e->io);
	else
		loop_io_start(e->loop, &e->io, e->ac->c.fd, events, rev_on_io,
		              e);
}

static void rev_add_read(void *data)
{
	struct events *e = data;

	rev_watch(e, e->watched | LOOP_READ);
}

static void rev_del_read(void *data)
{
	struct events *e = data;

	rev_watch(e, e->watched & ~LOOP_READ);
}

/* End of the turn. redisAsyncHandleWrite() calls rev_del_write() when all was
 * written, otherwise rev_add_write(), which then finds wait_writable set. */
static void rev_on_write(void *data)
{
	struct events *e = data;

	if (!e->write_pending)
		return;
	loop_timer_stop(&e->fallback);
	e->write_pending = false;
	e->wait_writable = true;
	redisAsyncHandleWrite(e->ac);
}

/* Until the connection is established, hiredis needs the socket event to notice
 * that. The timer is for a command that is sent after the turn callbacks of
 * this turn have run: without it the command would wait for the next event. */
static void rev_add_write(void *data)
{
	struct events *e = data;
	bool connected = e->ac->c.flags & REDIS_CONNECTED;

	if (e->wait_writable || !connected) {
		rev_watch(e, e->watched | LOOP_WRITE);
	} else if (!e->write_pending) {
		e->write_pending = true;
		loop_timer_start(e->loop, &e->fallback, 0, rev_on_write, e);
	}
}

static void rev_del_write(void *data)
{
	struct events *e = data;

	e->write_pending = false;
	e->wait_writable = false;
	loop_timer_stop(&e->fallback);
	rev_watch(e, e->watched & ~LOOP_WRITE);
}

static void rev_on_cleanup(void *data)
{
	struct events *e = data;

	rev_del_write(e);
	rev_del_read(e);
	loop_turn_stop(&e->turn);
	free(e);
}

bool redis_events_attach(struct loop *l, redisAsyncContext *ac)
{
	struct events *e = calloc(1, sizeof(*e));

	if (!e)
		return false;
	e->loop = l;
	e->ac = ac;
	ac->ev.addRead = rev_add_read;
	ac->ev.delRead = rev_del_read;
	ac->ev.addWrite = rev_add_write;
	ac->ev.delWrite = rev_del_write;
	ac->ev.cleanup = rev_on_cleanup;
	ac->ev.data = e;
	loop_turn_start(l, &e->turn, rev_on_write, e);
	return true;
}
