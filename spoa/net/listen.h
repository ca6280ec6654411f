/*
 * net/listen: addresses -> sockets. Used before the workers are forked.
 */
#ifndef NET_LISTEN_H
#define NET_LISTEN_H

#include "base/str.h"

#include <sys/types.h>

/* A listening, non-blocking, close-on-exec socket for "unix:/path" or
 * "HOST:PORT" / "[v6]:PORT" with a numeric host. A stale unix socket (nobody
 * accepts on it) is replaced; a live one is an error. `mode` and `group` (name
 * or number; empty: unchanged) apply to unix sockets. Port 0 lets the kernel
 * choose. No SO_REUSEPORT: a forgotten process would silently take a share.
 * -1 with a sentence in error. */
int listen_stream(struct str address, mode_t mode, struct str group,
                  char *error, size_t error_len);

/* A bound, non-blocking, close-on-exec UDP socket with a large receive buffer,
 * for "HOST:PORT" / "[v6]:PORT". */
int listen_datagram(struct str address, char *error, size_t error_len);

/* Take a unix socket's path away at the end; does nothing for others. */
void listen_unlink(struct str address);

#endif
