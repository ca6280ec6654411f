/*
 * decide/session: a caller that comes with the secret of a realtime session.
 *
 *   POST /realtime/client_secrets --answer--> HAProxy: SHA-256 of the secret
 *        --SPOE created--> store
 *   POST /realtime/calls, "Bearer SECRET" --> store --> who has asked for it
 *
 * A browser opens a WebRTC call with a short-lived secret of the resource and
 * nothing else. Only the resource can judge the secret, so it is passed on;
 * here it says whose the call is, for which model, and at which resource.
 * What the store knows of a secret is its hash.
 */
#ifndef DECIDE_SESSION_H
#define DECIDE_SESSION_H

#include "base/buf.h"
#include "decide/step.h"

enum {
	/* Longer than resources let a secret live (2 h at the most), so that
	 * it is they who say that one has expired. */
	SESSION_TTL_MS = 2 * 3600 * 1000,
	SESSION_ID_MAX = 128,
};

/* The name of a secret in the store, from the SHA-256 of it in hexadecimal.
 * No id in a path or body can be that. Empty when that is no such hash. */
struct str session_id(struct str hash, char space[SESSION_ID_MAX]);

/* Takes the place of decide/authenticate where a row says so. */
step_fn decide_session;

/* The header that the call goes on with: the one it came with. */
enum step_result session_credential(struct request *r);

#endif
