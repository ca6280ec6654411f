/*
 * workers: one process, or a parent that keeps N of them alive.
 *
 * Sockets are opened once, before the fork, so the workers share them: the
 * kernel hands each connection and each datagram to one of them, and what
 * arrives while a worker is replaced waits in the socket.
 */
#ifndef AGENT_WORKERS_H
#define AGENT_WORKERS_H

#include "conf/policy.h"

/* Serve until SIGTERM / SIGINT; returns the exit code of the program. The
 * policy's reference is taken over. SIGHUP reloads every worker. A worker
 * that dies is replaced, at most one a second, by one with the configuration
 * in force. Workers drain and end when their parent is gone. */
int workers_run(struct policy *p);

#endif
