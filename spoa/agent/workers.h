/*
 * workers: one process, or a parent that keeps N of them alive.
 *
 *   commands/run -> workers_run -> fork -> agent/agent   number 0
 *                                       -> agent/agent   number 1
 *
 * Sockets are opened once, before the fork, so the workers share them: the
 * kernel hands each connection and each datagram to one of them, and what
 * arrives while a worker is replaced waits in the socket. Workers share two
 * tables in memory (struct agent_shared); everything else each has by itself.
 */
#ifndef AGENT_WORKERS_H
#define AGENT_WORKERS_H

#include "conf/policy.h"

/* Serve until SIGTERM or SIGINT. Returns the exit status of the program: 1,
 * after logging why, when it could not start. The policy's reference is taken
 * over. SIGHUP reloads every worker. A worker that ends is replaced within a
 * second by one with the configuration in force. Workers drain and end when
 * their parent is gone. Call it once, in a process with one thread. */
int workers_run(struct policy *p);

#endif
