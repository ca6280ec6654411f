/* store/redis_events: hiredis on our loop. */
#include "store/redis_events.h"

#include <stdlib.h>

struct events {
	struct loop *loop;
	redisAsyncContext *ac;
	struct loop_io io;
	int watched; /* LOOP_READ | LOOP_WRITE */
	struct loop_turn turn;
	struct loop_timer late;
	bool to_write;
	bool full; /* the kernel did not take everything */
};

static void on_io(void *data, int fd, int ready)
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

static void watch(struct events *e, int events)
{
	if (e->watched == events)
		return;
	e->watched = events;
	if (events == 0)
		loop_io_stop(&e->io);
	else
		loop_io_start(e->loop, &e->io, e->ac->c.fd, events, on_io, e);
}

static void add_read(void *data)
{
	struct events *e = data;

	watch(e, e->watched | LOOP_READ);
}

static void del_read(void *data)
{
	struct events *e = data;

	watch(e, e->watched & ~LOOP_READ);
}

/* hiredis says del_write() when all was written, else add_write() again. */
static void write_now(void *data)
{
	struct events *e = data;

	if (!e->to_write)
		return;
	loop_timer_stop(&e->late);
	e->to_write = false;
	e->full = true;
	redisAsyncHandleWrite(e->ac);
}

/* A turn whose end has passed already is ended by a timer. */
static void add_write(void *data)
{
	struct events *e = data;
	bool connected = e->ac->c.flags & REDIS_CONNECTED;

	if (e->full || !connected) {
		watch(e, e->watched | LOOP_WRITE);
	} else if (!e->to_write) {
		e->to_write = true;
		loop_timer_start(e->loop, &e->late, 0, write_now, e);
	}
}

static void del_write(void *data)
{
	struct events *e = data;

	e->to_write = false;
	e->full = false;
	loop_timer_stop(&e->late);
	watch(e, e->watched & ~LOOP_WRITE);
}

static void cleanup(void *data)
{
	struct events *e = data;

	del_write(e);
	del_read(e);
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
	ac->ev.addRead = add_read;
	ac->ev.delRead = del_read;
	ac->ev.addWrite = add_write;
	ac->ev.delWrite = del_write;
	ac->ev.cleanup = cleanup;
	ac->ev.data = e;
	loop_turn_start(l, &e->turn, write_now, e);
	return true;
}
