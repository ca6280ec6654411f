/* net/udp: datagrams from HAProxy's log target. */
#include "net/udp.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	BATCH = 32,
	DATAGRAM_MAX = 8192,
	/* a flood must not keep the loop from its requests */
	MAX_BATCHES = 4,
};

struct udp {
	struct loop_io io;
	int fd;
	void (*on_datagram)(void *ctx, struct str datagram);
	void *ctx;
	struct mmsghdr msgs[BATCH];
	struct iovec iovs[BATCH];
	char mem[BATCH][DATAGRAM_MAX];
};

static void on_readable(void *data, int fd, int events)
{
	struct udp *u = data;
	int round, i, n = BATCH;

	(void)events;
	for (round = 0; round < MAX_BATCHES && n == BATCH; round++) {
		/* an error is one of an earlier send, which we never do, or
		 * EAGAIN */
		n = recvmmsg(fd, u->msgs, BATCH, MSG_DONTWAIT, NULL);
		for (i = 0; i < n; i++)
			u->on_datagram(u->ctx,
			               str_of(u->mem[i], u->msgs[i].msg_len));
	}
}

struct udp *udp_new(struct loop *l, int fd,
                    void (*on_datagram)(void *ctx, struct str datagram),
                    void *ctx)
{
	struct udp *u = calloc(1, sizeof(*u));
	int i;

	if (!u)
		return NULL;
	u->fd = fd;
	u->on_datagram = on_datagram;
	u->ctx = ctx;
	for (i = 0; i < BATCH; i++) {
		u->iovs[i] = (struct iovec){u->mem[i], DATAGRAM_MAX};
		u->msgs[i].msg_hdr = (struct msghdr){.msg_iov = &u->iovs[i],
		                                     .msg_iovlen = 1};
	}
	loop_io_start(l, &u->io, fd, LOOP_READ, on_readable, u);
	return u;
}

void udp_free(struct udp *u)
{
	if (!u)
		return;
	loop_io_stop(&u->io);
	close(u->fd);
	free(u);
}
