/*
 * base/loop: the door to libev.
 *
 * Watchers are embedded in the object they belong to and hold its pointer.
 * Nothing here blocks. All times are relative and in milliseconds.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

struct loop;

enum loop_events {
	LOOP_READ = EV_READ,
	LOOP_WRITE = EV_WRITE,
};

struct loop_io {
	ev_io ev; /* first: the callback casts back */
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

/* Runs once at the end of every loop turn, before the loop waits: the place
 * to write what the turn has queued. */
struct loop_turn {
	ev_prepare ev;
	struct loop *loop;
	void (*cb)(void *data);
	void *data;
};

struct loop *loop_new(void);
void loop_free(struct loop *l);
void loop_run(struct loop *l);
void loop_stop(struct loop *l);

/* For tests, which turn the loop by hand. */
struct ev_loop *loop_ev(struct loop *l);

/* Version of the library, for -V; the other doors have one too. */
const char *loop_library(void);

/* `events`: LOOP_READ | LOOP_WRITE. Starting a started watcher changes its
 * events; stopping a stopped one does nothing. A watcher must be zeroed (or
 * have been used) before the first call. */
void loop_io_start(struct loop *l, struct loop_io *io, int fd, int events,
                   void (*cb)(void *data, int fd, int events), void *data);
void loop_io_stop(struct loop_io *io);

/* One shot after `after_ms`; starting again moves it. */
void loop_timer_start(struct loop *l, struct loop_timer *t, uint64_t after_ms,
                      void (*cb)(void *data), void *data);
void loop_timer_stop(struct loop_timer *t);
bool loop_timer_active(const struct loop_timer *t);

/* The signal is unblocked: one that came while it was blocked is heard. */
void loop_signal_start(struct loop *l, struct loop_signal *s, int signum,
                       void (*cb)(void *data), void *data);
void loop_signal_stop(struct loop_signal *s);

void loop_turn_start(struct loop *l, struct loop_turn *t,
                     void (*cb)(void *data), void *data);
void loop_turn_stop(struct loop_turn *t);

#endif
