/*
 * net/listen: opens the sockets of the configured addresses.
 *
 * Called once at start, before the workers are forked, which inherit the
 * sockets. Not for use on the loop: it may look up a group and connect.
 */
#ifndef NET_LISTEN_H
#define NET_LISTEN_H

#include "base/str.h"

#include <sys/types.h>

/* A listening stream socket, non-blocking and close-on-exec, for
 * "unix:/path", "HOST:PORT" or "[IPv6]:PORT" with a numeric host. Port 0 lets
 * the kernel choose one.
 *
 * Unix sockets get `mode` and `group` (name or number; empty: the process's
 * own), which both mean nothing to others. A socket file on which no process
 * listens is replaced; a live one, or any other file, is an error. There is
 * no SO_REUSEPORT: a forgotten process would silently take a share of the
 * connections.
 *
 * The descriptor is the caller's. -1 with a sentence, cut to `error_len` bytes
 * with its NUL, in `error`. */
int listen_stream(struct str address, mode_t mode, struct str group,
                  char *error, size_t error_len);

/* A bound UDP socket, non-blocking and close-on-exec, for "HOST:PORT" or
 * "[IPv6]:PORT", with a receive buffer of up to 8 MiB: as much as the kernel
 * allows. Result and `error` as of listen_stream(). */
int listen_datagram(struct str address, char *error, size_t error_len);

/* Remove the file of a unix socket when the process ends; does nothing for
 * other addresses, or when there is none. */
void listen_unlink(struct str address);

#endif
