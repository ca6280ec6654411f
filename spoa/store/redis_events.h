/*
 * store/redis_events: hiredis on our loop.
 *
 * What hiredis ships for libev asks the kernel twice to watch for writing, and
 * waits for that, whenever a command is sent. Here commands are collected and
 * written at the end of the loop's turn, all in one; the kernel is asked only
 * when it did not take everything.
 */
#ifndef STORE_REDIS_EVENTS_H
#define STORE_REDIS_EVENTS_H

#include "base/loop.h"

#include <hiredis/async.h>

/* Takes care of `ac` until hiredis frees it. False without memory. */
bool redis_events_attach(struct loop *l, redisAsyncContext *ac);

#endif
