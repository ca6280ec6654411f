/*
 * net/accept: takes connections off listening sockets.
 *
 * Only a few each loop turn, so that a burst is shared between the workers,
 * and none for a moment when descriptors or memory run out: the listener
 * stays readable then, and the loop would spin.
 */
#ifndef NET_ACCEPT_H
#define NET_ACCEPT_H

#include "base/loop.h"

enum { ACCEPT_MAX_LISTENERS = 8 };

struct acceptor;

struct accept_listener {
	struct loop_io io;
	int fd;
	struct acceptor *owner;
};

struct acceptor {
	struct loop *loop;
	/* A new connection, non-blocking and close-on-exec; `fd` is the
	 * callee's. */
	void (*on_fd)(void *ctx, int fd);
	/* accept() failed and is not tried for a moment. */
	void (*on_exhausted)(void *ctx);
	void *ctx;
	struct accept_listener listeners[ACCEPT_MAX_LISTENERS];
	unsigned n_listeners;
	struct loop_timer pause;
};

void accept_init(struct acceptor *a, struct loop *l,
                 void (*on_fd)(void *ctx, int fd),
                 void (*on_exhausted)(void *ctx), void *ctx);

/* `fd` stays the caller's. False beyond ACCEPT_MAX_LISTENERS. */
bool accept_add(struct acceptor *a, int fd);

/* For good; also in place of a done. */
void accept_stop(struct acceptor *a);

#endif
