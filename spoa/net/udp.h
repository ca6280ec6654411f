/*
 * net/udp: datagrams from HAProxy's log target, many per turn (recvmmsg).
 */
#ifndef NET_UDP_H
#define NET_UDP_H

#include "base/loop.h"
#include "base/str.h"

struct udp;

/* `fd` is taken over once this succeeds; NULL without memory. on_datagram gets
 * each datagram as it came (a view), the first 8 KiB of a longer one. It must
 * not free the udp. */
struct udp *udp_new(struct loop *l, int fd,
                    void (*on_datagram)(void *ctx, struct str datagram),
                    void *ctx);
void udp_free(struct udp *u);

#endif
