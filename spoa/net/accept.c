/*
 * net/accept: accepts connections on listening sockets.
 *
 *   socket readable -> acc_on_readable -> accept4() -> on_fd (callback)
 *                            |
 *                            | EMFILE, ENFILE, ENOMEM, ...
 *                            v
 *                      acc_pause_all -- 200 ms --> acc_on_pause_end
 */
#include "net/accept.h"

#include <errno.h>
#include <sys/socket.h>

enum {
	/* connections per listener and loop turn: few enough that other
	 * workers get a share of a burst, many enough that the burst of a
	 * HAProxy reload (some hundred connections) needs few turns */
	PER_TURN = 16,
	/* of all listeners. net/conn logs this number in its message. */
	PAUSE_MS = 200,
};

static void acc_watch(struct accept_listener *l);

static void acc_on_pause_end(void *data)
{
	struct acceptor *a = data;
	unsigned i;

	for (i = 0; i < a->n_listeners; i++)
		acc_watch(&a->listeners[i]);
}

static void acc_unwatch_all(struct acceptor *a)
{
	unsigned i;

	for (i = 0; i < a->n_listeners; i++)
		loop_io_stop(&a->listeners[i].io);
}

/* All listeners, not only the one that failed: descriptors and memory are
 * those of the process. */
static void acc_pause_all(struct acceptor *a)
{
	acc_unwatch_all(a);
	loop_timer_start(a->loop, &a->pause, PAUSE_MS, acc_on_pause_end, a);
	a->on_exhausted(a->ctx);
}

static void acc_on_readable(void *data, int fd, int events)
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
		/* ECONNABORTED: that client closed while it was queued */
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		/* EAGAIN: the queue is empty, or another worker was faster */
		if (errno != EAGAIN)
			acc_pause_all(a);
		return;
	}
}

static void acc_watch(struct accept_listener *l)
{
	loop_io_start(l->owner->loop, &l->io, l->fd, LOOP_READ, acc_on_readable,
	              l);
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
	acc_watch(l);
	return true;
}

void accept_stop(struct acceptor *a)
{
	acc_unwatch_all(a);
	loop_timer_stop(&a->pause);
	a->n_listeners = 0;
}
