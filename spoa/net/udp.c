/*
 * net/udp: receives the usage records that HAProxy sends by UDP.
 *
 * All workers read the same socket; the kernel gives each datagram to one of
 * them. recvmmsg() takes up to 32 datagrams per system call.
 */
#include "net/udp.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	BATCH = 32, /* datagrams per system call */
	/* haproxy.cfg sends lines of at most so many bytes (`log ... len`);
	 * RECORD_LINE_MAX of usage/record is the same */
	DATAGRAM_MAX = 40960,
	/* per loop turn: a flood must not keep the loop from the requests */
	MAX_BATCHES = 4,
};

/* About 1 MB, so allocated once per worker and never on the stack. Only what
 * lines have used is resident. */
struct udp {
	struct loop_io io;
	int fd;
	void (*on_datagram)(void *ctx, struct str datagram);
	void *ctx;
	struct mmsghdr msgs[BATCH];
	struct iovec iovs[BATCH];
	char mem[BATCH][DATAGRAM_MAX];
};

static void udp_on_readable(void *data, int fd, int events)
{
	struct udp *u = data;
	int round, i, n = BATCH;

	(void)events;
	/* a batch that is not full has emptied the socket */
	for (round = 0; round < MAX_BATCHES && n == BATCH; round++) {
		/* -1 is EAGAIN here: pending errors of a UDP socket come from
		 * datagrams it has sent, and this one sends none */
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
	loop_io_start(l, &u->io, fd, LOOP_READ, udp_on_readable, u);
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
