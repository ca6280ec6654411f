/* net/accept: takes connections off listening sockets. */
#include "net/accept.h"

#include <errno.h>
#include <sys/socket.h>

enum { PER_TURN = 16, PAUSE_MS = 200 };

static void watch(struct accept_listener *l);

static void on_pause_end(void *data)
{
	struct acceptor *a = data;
	unsigned i;

	for (i = 0; i < a->n_listeners; i++)
		watch(&a->listeners[i]);
}

static void ignore_all(struct acceptor *a)
{
	unsigned i;

	for (i = 0; i < a->n_listeners; i++)
		loop_io_stop(&a->listeners[i].io);
}

static void pause_all(struct acceptor *a)
{
	ignore_all(a);
	loop_timer_start(a->loop, &a->pause, PAUSE_MS, on_pause_end, a);
	a->on_exhausted(a->ctx);
}

static void on_readable(void *data, int fd, int events)
{
	struct accept_listener *l = data;
	struct acceptor *a = l->owner;
	int i, got;

	(void)events;
	for (i = 0; i < PER_TURN; i++) {
		got = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (got >= 0) {
			a->on_fd(a->ctx, got);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno != EAGAIN)
			pause_all(a);
		return;
	}
}

static void watch(struct accept_listener *l)
{
	loop_io_start(l->owner->loop, &l->io, l->fd, LOOP_READ, on_readable, l);
}

void accept_init(struct acceptor *a, struct loop *l,
                 void (*on_fd)(void *ctx, int fd),
                 void (*on_exhausted)(void *ctx), void *ctx)
{
	*a = (struct acceptor){.loop = l,
	                       .on_fd = on_fd,
	                       .on_exhausted = on_exhausted,
	                       .ctx = ctx};
}

bool accept_add(struct acceptor *a, int fd)
{
	struct accept_listener *l;

	if (a->n_listeners == ACCEPT_MAX_LISTENERS)
		return false;
	l = &a->listeners[a->n_listeners++];
	l->fd = fd;
	l->owner = a;
	watch(l);
	return true;
}

void accept_stop(struct acceptor *a)
{
	ignore_all(a);
	loop_timer_stop(&a->pause);
	a->n_listeners = 0;
}
