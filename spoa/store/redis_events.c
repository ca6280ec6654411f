/* store/redis_events: hiredis on our loop. */
#include "store/redis_events.h"

#include <stdlib.h>

struct events {
	struct loop *loop;
	redisAsyncContext *ac;
	struct loop_io io;
	int watched; /* LOOP_READ | LOOP_WRITE */
	struct loop_turn turn;
	struct loop_timer fallback;
	bool write_pending;
	bool wait_writable; /* the kernel did not take everything */
};

static void rev_on_io(void *data, int fd, int ready)
{
	struct events *e = data;
	redisAsyncContext *ac = e->ac;

	(void)fd;
	/* either may free `e`: at most one a call; the other comes again */
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

/* hiredis says del_write() when all was written, else add_write() again. */
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

/* A turn whose end has passed already is ended by a timer. */
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
