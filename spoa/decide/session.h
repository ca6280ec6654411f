/*
 * decide/session: a caller that comes with the secret of a realtime session.
 *
 *   POST /realtime/client_secrets, with a token or key: like any request
 *     answer --> HAProxy: SHA-256 of the secret --NOTIFY created--> store
 *   POST /realtime/calls, "Bearer SECRET" --decide_session--> store: its caller
 *
 * A browser opens a WebRTC call with a short-lived secret of the resource and
 * with nothing else (foundry.md 4.6). Only the resource can judge the secret,
 * so it is passed on. For the gateway the secret says whose call it is, on
 * which model, and at which resource: those of the request that has asked for
 * it. The store has its hash alone.
 */
#ifndef DECIDE_SESSION_H
#define DECIDE_SESSION_H

#include "base/buf.h"
#include "decide/step.h"

enum {
	/* As long as resources let a secret live at the most (2 h): not the
	 * gateway but the resource says that one has expired. */
	SESSION_TTL_MS = 2 * 3600 * 1000,
	SESSION_ID_MAX = 128, /* bytes: "secret:", 64 digits, a NUL */
};

/* The id of a secret in store/objects, made in `space`, from its SHA-256 in
 * hexadecimal. No id of an object in a path can be equal to it. Empty when
 * `hash` is no such hash. */
struct str session_id(struct str hash, char space[SESSION_ID_MAX]);

/* Does the work of decide/authenticate where the row of the operation says so
 * (traits.by_secret), and sets call.model and call.pinned as well.
 */
step_fn decide_session;

/* Likewise of decide/credential: the call goes on with the Authorization that
 * it came with. */
enum step_result session_credential(struct request *r);

#endif
