/*
 * base/loop: the event loop of a process, and the only user of libev.
 *
 *   libev --ev_io--> loop_on_io --io->cb(io->data, ..)--> owner of the watcher
 *
 * Each kind of watcher has a callback of libev's type, which casts the watcher
 * of libev to ours (its first member) and calls the owner's callback. `loop`
 * is NULL in a watcher that was never started: stopping it is then safe,
 * although libev has not initialised it.
 */
#include "base/loop.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct loop {
	struct ev_loop *ev;
};

struct loop *loop_new(void)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	/* EVFLAG_NOENV: the environment (LIBEV_FLAGS) must not choose the
	 * polling backend of a daemon */
	l->ev = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
	if (!l->ev) {
		free(l);
		return NULL;
	}
	return l;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	ev_loop_destroy(l->ev);
	free(l);
}

void loop_run(struct loop *l)
{
	ev_run(l->ev, 0);
}

void loop_stop(struct loop *l)
{
	ev_break(l->ev, EVBREAK_ALL);
}

struct ev_loop *loop_ev(struct loop *l)
{
	return l->ev;
}

static void loop_on_io(struct ev_loop *ev, ev_io *w, int events)
{
	struct loop_io *io = (struct loop_io *)w;

	(void)ev;
	/* libev adds EV_ERROR for a bad descriptor: only ours are passed on */
	io->cb(io->data, w->fd, events & (EV_READ | EV_WRITE));
}

void loop_io_start(struct loop *l, struct loop_io *io, int fd, int events,
                   void (*cb)(void *data, int fd, int events), void *data)
{
	/* libev allows a change of descriptor or events only while stopped */
	loop_io_stop(io);
	io->loop = l;
	io->cb = cb;
	io->data = data;
	ev_io_init(&io->ev, loop_on_io, fd, events);
	ev_io_start(l->ev, &io->ev);
}

void loop_io_stop(struct loop_io *io)
{
	if (io->loop)
		ev_io_stop(io->loop->ev, &io->ev);
}

static void loop_on_timer(struct ev_loop *ev, ev_timer *w, int events)
{
	struct loop_timer *t = (struct loop_timer *)w;

	(void)ev;
	(void)events;
	t->cb(t->data);
}

void loop_timer_start(struct loop *l, struct loop_timer *t, uint64_t after_ms,
                      void (*cb)(void *data), void *data)
{
	loop_timer_stop(t);
	t->loop = l;
	t->cb = cb;
	t->data = data;
	/* no repeat: the watcher is inactive when its callback runs, which may
	 * start it again */
	ev_timer_init(&t->ev, loop_on_timer, (double)after_ms / 1000.0, 0.0);
	/* libev adds the time to the one at which the turn began; without the
	 * update a timer that is started late in a turn would fire early */
	ev_now_update(l->ev);
	ev_timer_start(l->ev, &t->ev);
}

void loop_timer_stop(struct loop_timer *t)
{
	if (t->loop)
		ev_timer_stop(t->loop->ev, &t->ev);
}

bool loop_timer_active(const struct loop_timer *t)
{
	return t->loop && ev_is_active(&t->ev);
}

static void loop_on_signal(struct ev_loop *ev, ev_signal *w, int events)
{
	struct loop_signal *s = (struct loop_signal *)w;

	(void)ev;
	(void)events;
	s->cb(s->data);
}

void loop_signal_start(struct loop *l, struct loop_signal *s, int signum,
                       void (*cb)(void *data), void *data)
{
	sigset_t listened;

	loop_signal_stop(s);
	s->loop = l;
	s->cb = cb;
	s->data = data;
	ev_signal_init(&s->ev, loop_on_signal, signum);
	ev_signal_start(l->ev, &s->ev);
	/* libev installs the handler but does not change the signal mask */
	sigemptyset(&listened);
	sigaddset(&listened, signum);
	sigprocmask(SIG_UNBLOCK, &listened, NULL);
}

void loop_signal_stop(struct loop_signal *s)
{
	if (s->loop)
		ev_signal_stop(s->loop->ev, &s->ev);
}

static void loop_on_turn(struct ev_loop *ev, ev_prepare *w, int events)
{
	struct loop_turn *t = (struct loop_turn *)w;

	(void)ev;
	(void)events;
	t->cb(t->data);
}

void loop_turn_start(struct loop *l, struct loop_turn *t,
                     void (*cb)(void *data), void *data)
{
	loop_turn_stop(t);
	t->loop = l;
	t->cb = cb;
	t->data = data;
	/* a prepare watcher runs directly before the loop polls */
	ev_prepare_init(&t->ev, loop_on_turn);
	ev_prepare_start(l->ev, &t->ev);
}

void loop_turn_stop(struct loop_turn *t)
{
	if (t->loop)
		ev_prepare_stop(t->loop->ev, &t->ev);
}

const char *loop_library(void)
{
	static char text[32];

	snprintf(text, sizeof(text), "%d.%d", ev_version_major(),
	         ev_version_minor());
	return text;
}
