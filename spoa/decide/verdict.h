/*
 * decide/verdict: the closed list of denials.
 *
 * A denial is not an error of ours: it is an answer with a reason code. One
 * table says for every reason which status the caller gets, which code the
 * log shows, and whether retrying helps. Everything that can go wrong in a
 * step ends in one of these; none of them lets a request pass.
 */
#ifndef DECIDE_VERDICT_H
#define DECIDE_VERDICT_H

#include "decide/step.h"
#include "keys/inbound.h"

enum deny_reason {
	DENY_MALFORMED_NOTIFY = 0,
	DENY_NO_OPERATION,
	DENY_METHOD,
	DENY_MEDIA_TYPE,
	DENY_ENCODING,
	DENY_BAD_JSON,
	DENY_NO_MODEL,
	DENY_TOO_LARGE_BODY,
	DENY_NO_CREDENTIAL,
	DENY_BAD_CREDENTIAL, /* code and text come from keys/inbound */
	DENY_AMBIGUOUS_CREDENTIAL,
	DENY_PERMISSION,       /* from keys/inbound: no scope, role, caller */
	DENY_KEYS_UNAVAILABLE, /* the tenant's keys could not be loaded */
	DENY_NO_CONSUMER,
	DENY_RULE,
	DENY_MODEL_UNKNOWN,
	DENY_BLOCKED, /* by an operator, at run time */
	DENY_LIMIT,
	DENY_LIMIT_NEVER, /* larger than the limit ever allows */
	DENY_STORE,
	DENY_NO_ROUTE,
	DENY_UPSTREAM_BUSY,
	DENY_OUTBOUND,
	DENY_TIMEOUT,
	DENY_OVERLOAD,
	DENY_WORKSPACE,
	DENY_ACK_TOO_LARGE,
	DENY_LISTING,
	DENY_BAD_FORM,
	DENY_OBJECT_UNKNOWN, /* or it is another caller's */
	DENY_TOO_MANY_OBJECTS,
	DENY_OBJECTS_APART,
	DENY_OBJECTS_OFF,
	DENY_OBJECT_STORE,
	DENY_N
};

/* Set the verdict; gives STEP_DONE so a step can `return verdict_deny(..)`.
 * `fmt` is the sentence for the caller, NULL for the table's own. */
enum step_result verdict_deny(struct request *r, enum deny_reason why,
                              const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The denial for a credential that keys/inbound refused. */
enum step_result verdict_deny_inbound(struct request *r, enum inbound_status s);

void verdict_allow(struct request *r);

/* The gateway itself answers, 200 with this JSON; copied. */
void verdict_answer(struct request *r, struct str body);

/* A text for the log that the caller does not see. */
void verdict_detail(struct request *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The row of a reason: for tests and documentation. */
const char *verdict_code(enum deny_reason why);
int verdict_status(enum deny_reason why);

#endif
