/*
 * upstream/render: the HAProxy backends that belong to a policy.
 *
 *   struct policy --render_haproxy--> backends.cfg, loaded after haproxy.cfg
 *
 * Each resource NAME gets two backends, so that only streamed and large answers
 * pay for the Lua filter (45-70 us of CPU a request, haproxy.md 0.14):
 *   r.NAME   short JSON answers, read with rules of HAProxy
 *   s.NAME   `filter lua.usage`: streams, WebSockets, and JSON of any length
 * decide/route names one of them in its verdict. A name that is not among the
 * loaded ones ends in haproxy.cfg's backend `no-such-backend` (503), so after a
 * change of `resources` HAProxy needs the new file, too.
 */
#ifndef UPSTREAM_RENDER_H
#define UPSTREAM_RENDER_H

#include "base/buf.h"
#include "conf/policy.h"

/* Append a piece of configuration that runs unchanged on HAProxy 2.6 and later,
 * and begins with a comment that names the policy's file. The same policy gives
 * the same bytes. It holds no secrets. False when `out` reached its maximum;
 * what is in it then is not usable. */
bool render_haproxy(const struct policy *p, struct buf *out);

#endif
