/*
 * base/loop: the event loop of a process, and the only user of libev.
 *
 * A watcher (loop_io, loop_timer, loop_signal, loop_turn) is embedded in the
 * object it belongs to and holds a pointer to it (`data`). Its owner zeroes it
 * before the first call and stops it before its memory is freed or reused. A
 * callback may start and stop any watcher, also its own, and may free the
 * object that it belongs to.
 *
 * One thread: everything of a process runs in callbacks of its loop, so no
 * callback may block. Times are relative and in milliseconds. Nothing here
 * fails after loop_new(): libev aborts the process when it is out of memory.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

struct loop;

/* What an io watcher waits for, and what its callback is told; bits. */
enum loop_events {
	LOOP_READ = EV_READ,
	LOOP_WRITE = EV_WRITE,
};

struct loop_io {
	ev_io ev; /* the first member: callbacks cast it to the watcher */
	struct loop *loop;
	void (*cb)(void *data, int fd, int events);
	void *data;
};

struct loop_timer {
	ev_timer ev;
	struct loop *loop;
	void (*cb)(void *data);
	void *data;
};

struct loop_signal {
	ev_signal ev;
	struct loop *loop;
	void (*cb)(void *data);
	void *data;
};

/* Called once per turn of the loop, after its other callbacks and before the
 * loop waits: the place to write what those callbacks have queued. */
struct loop_turn {
	ev_prepare ev;
	struct loop *loop;
	void (*cb)(void *data);
	void *data;
};

/* A loop of its own for each process: made after fork(), because an epoll
 * descriptor would be shared with the parent. NULL when it cannot be made. */
struct loop *loop_new(void);

/* All watchers must have been stopped. Accepts NULL. */
void loop_free(struct loop *l);

/* Run callbacks until loop_stop() is called or no watcher is active. */
void loop_run(struct loop *l);

/* End loop_run() after the current callback and those that are due with it. */
void loop_stop(struct loop *l);

/* The loop of libev, for tests, which run single turns. */
struct ev_loop *loop_ev(struct loop *l);

/* The version of libev, for -V. A static text. */
const char *loop_library(void);

/* For all watchers: starting an active one replaces its settings, stopping an
 * inactive one does nothing.
 *
 * Call `cb` whenever `fd` is ready for one of `events` (LOOP_READ |
 * LOOP_WRITE); level-triggered. The watcher must be stopped before `fd` is
 * closed. */
void loop_io_start(struct loop *l, struct loop_io *io, int fd, int events,
                   void (*cb)(void *data, int fd, int events), void *data);
void loop_io_stop(struct loop_io *io);

/* Call `cb` once, not before `after_ms` have passed from now. */
void loop_timer_start(struct loop *l, struct loop_timer *t, uint64_t after_ms,
                      void (*cb)(void *data), void *data);
void loop_timer_stop(struct loop_timer *t);

/* True from the start until the callback is called or the timer is stopped. */
bool loop_timer_active(const struct loop_timer *t);

/* Call `cb` from the loop for each signal `signum`; several signals that arrive
 * in one turn are one call. The signal is unblocked, so one that arrived while
 * it was blocked (agent/workers blocks them around fork) is delivered then. */
void loop_signal_start(struct loop *l, struct loop_signal *s, int signum,
                       void (*cb)(void *data), void *data);
void loop_signal_stop(struct loop_signal *s);

void loop_turn_start(struct loop *l, struct loop_turn *t,
                     void (*cb)(void *data), void *data);
void loop_turn_stop(struct loop_turn *t);

#endif
