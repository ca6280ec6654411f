/*
 * net/udp: receives the usage records that HAProxy sends by UDP.
 *
 * UDP and not a ring or a unix datagram socket: a ring loses the lines of
 * streams that still run at a reload, and a unix socket drops lines under
 * load (haproxy.md 5.2). What the kernel drops is lost without a trace; its
 * reservation then stays charged as estimated.
 */
#ifndef NET_UDP_H
#define NET_UDP_H

#include "base/loop.h"
#include "base/str.h"

struct udp;

/* Read from `fd`, a bound and non-blocking datagram socket
 * (listen_datagram()). `fd` is owned from here on, and closed by udp_free();
 * it stays the caller's when this returns NULL, which it does without memory.
 *
 * `on_datagram` gets each datagram, not NUL-terminated and valid during the
 * call. One of more than 40960 bytes is cut to 40960. The callback must not
 * free the udp. */
struct udp *udp_new(struct loop *l, int fd,
                    void (*on_datagram)(void *ctx, struct str datagram),
                    void *ctx);
void udp_free(struct udp *u); /* accepts NULL */

#endif
