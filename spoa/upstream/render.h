/*
 * upstream/render: the HAProxy backends that belong to a policy.
 *
 * For each resource two backends, so that only streamed and large answers pay
 * for the Lua filter (haproxy.md 0.14):
 *   r.NAME   answers read with native rules (short JSON)
 *   s.NAME   `filter lua.usage` (SSE, and JSON of any length)
 */
#ifndef UPSTREAM_RENDER_H
#define UPSTREAM_RENDER_H

#include "base/buf.h"
#include "conf/policy.h"

/* A piece of haproxy.cfg that begins with a comment saying where it came
 * from. False when `out` reached its maximum. */
bool render_haproxy(const struct policy *p, struct buf *out);

#endif
