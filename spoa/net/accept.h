/*
 * net/accept: accepts connections on listening sockets.
 *
 * All workers of a process group listen on the same sockets (they were opened
 * before the fork). An acceptor takes a bounded number of connections per
 * loop turn, so that a burst is shared between the workers. When file
 * descriptors or memory run out it pauses: the listening socket stays
 * readable in that state, and a level-triggered loop would spin.
 */
#ifndef NET_ACCEPT_H
#define NET_ACCEPT_H

#include "base/loop.h"

/* As many as struct agent_sockets has places for listen.spop. */
enum { ACCEPT_MAX_LISTENERS = 8 };

struct acceptor;

struct accept_listener {
	struct loop_io io;
	int fd; /* borrowed */
	struct acceptor *owner;
};

/* Embedded in its owner. All fields are private to net/accept. */
struct acceptor {
	struct loop *loop;
	void (*on_fd)(void *ctx, int fd);
	void (*on_exhausted)(void *ctx);
	void *ctx;
	struct accept_listener listeners[ACCEPT_MAX_LISTENERS];
	unsigned n_listeners;
	struct loop_timer pause;
};

/* `on_fd` receives each new connection, non-blocking and close-on-exec, and
 * owns the descriptor; it must not call accept_stop(). `on_exhausted` is
 * called when accept() has failed for another reason than a client that is
 * gone; no listener is watched for the next 200 ms. */
void accept_init(struct acceptor *a, struct loop *l,
                 void (*on_fd)(void *ctx, int fd),
                 void (*on_exhausted)(void *ctx), void *ctx);

/* Start to accept on `fd`, a listening and non-blocking socket, which stays
 * the caller's and must outlive the acceptor. False, and nothing is watched,
 * beyond ACCEPT_MAX_LISTENERS. */
bool accept_add(struct acceptor *a, int fd);

/* Stop to accept and forget all listeners. Also what ends an acceptor: it
 * owns nothing else. May be called twice. */
void accept_stop(struct acceptor *a);

#endif
