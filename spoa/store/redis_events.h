/*
 * store/redis_events: event adapter between hiredis and base/loop.
 *
 *   redisAsyncCommand --> addWrite --> rev_add_write   (once per turn)
 *      end of the loop turn --> rev_on_write --> one write() for all commands
 *
 * It replaces the libev adapter of hiredis. That one starts and stops a write
 * watcher for every command, which costs two epoll_ctl() and another turn of
 * the loop. Here the commands of one turn are written together at its end. The
 * socket is watched for writing only after a write that the kernel did not take
 * whole.
 */
#ifndef STORE_REDIS_EVENTS_H
#define STORE_REDIS_EVENTS_H

#include "base/loop.h"

#include <hiredis/async.h>

/* Install the adapter in `ac`. It lives until hiredis calls its cleanup
 * function, that is until `ac` is freed. False without memory. */
bool redis_events_attach(struct loop *l, redisAsyncContext *ac);

#endif
