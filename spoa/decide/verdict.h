/*
 * decide/verdict: the closed list of denials.
 *
 * A denial is not an error of the gateway: it is an answer with a reason. One
 * table (vdt_denials[] in verdict.c) says for every reason which status the
 * caller gets, which code the body and the log show, which sentence, and when
 * to try again. Everything that can go wrong in a step ends in one of these
 * reasons; none of them lets a request pass.
 *
 *   step --verdict_deny--> r->verdict --decide/answer--> status, code, error
 *                                     --decide/decision_log--> code, reason
 *
 * No other file sets the status, code or sentence of a refusal, and only
 * decide/answer puts them into the body of an error. haproxy.cfg has one rule
 * `return status N` for each status of the table, since HAProxy takes no
 * variable there; tests/unit/test_verdict.c compares the two.
 */
#ifndef DECIDE_VERDICT_H
#define DECIDE_VERDICT_H

#include "decide/step.h"
#include "keys/inbound.h"

/* In the order of the table; the numbers are used nowhere else. */
enum deny_reason {
	DENY_MALFORMED_NOTIFY =
		0, /* of HAProxy: its configuration is not ours */
	DENY_NO_OPERATION,
	DENY_METHOD,
	DENY_MEDIA_TYPE,
	DENY_ENCODING, /* a body that must be read is compressed */
	DENY_HEADER,   /* one that says how to read the body stands twice */
	DENY_BAD_JSON,
	DENY_NO_MODEL,
	DENY_TOO_LARGE_BODY, /* for HAProxy's buffer, see GATEWAY_BUFSIZE */
	DENY_NO_CREDENTIAL,
	DENY_BAD_CREDENTIAL, /* code and sentence come from keys/inbound */
	DENY_AMBIGUOUS_CREDENTIAL,
	DENY_PERMISSION,       /* likewise: no scope, no role, not listed */
	DENY_KEYS_UNAVAILABLE, /* likewise: the tenant's keys are not loaded */
	DENY_NO_CONSUMER,
	DENY_RULE,          /* a rule, or the lack of one that allows */
	DENY_MODEL_UNKNOWN, /* or discovery does not show it to this caller */
	DENY_BLOCKED,       /* by an operator, at run time */
	DENY_LIMIT,
	DENY_LIMIT_NEVER, /* needs more than the limit ever allows */
	DENY_STORE, /* Redis is away, and the limit is not to be guessed */
	DENY_NO_ROUTE,
	DENY_UPSTREAM_BUSY, /* all deployments are throttled */
	DENY_OUTBOUND,      /* no credential for the resource */
	DENY_TIMEOUT,       /* decision_timeout_ms has passed */
	DENY_OVERLOAD,      /* no place in request/table, or no memory */
	DENY_WORKSPACE,     /* the arena is full, or the edits are too long */
	DENY_ACK_TOO_LARGE,
	DENY_LISTING,
	DENY_BAD_FORM,
	DENY_OBJECT_UNKNOWN, /* or it is another caller's: not told apart */
	DENY_TOO_MANY_OBJECTS,
	DENY_OBJECT_FOREIGN, /* of a kind that nobody can make here */
	DENY_OBJECTS_APART,  /* at different resources */
	DENY_OBJECTS_OFF,    /* objects.resource is not configured */
	DENY_OBJECT_STORE,   /* Redis is away, and memory does not know it */
	DENY_N
};

/* Deny the request; a verdict that was set before is replaced. Always gives
 * STEP_DONE, so that a step can `return verdict_deny(..)`. `fmt` is the
 * sentence for the caller, at most 511 bytes; NULL for the one of the table,
 * which also stays when the arena is full. */
enum step_result verdict_deny(struct request *r, enum deny_reason why,
                              const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The denial for a credential that keys/inbound refused: code and sentence are
 * those of `s`, which must be neither INBOUND_OK nor INBOUND_WAIT; the status
 * and when to retry are of the reason that `s` belongs to. */
enum step_result verdict_deny_inbound(struct request *r, enum inbound_status s);

/* All steps have passed. */
void verdict_allow(struct request *r);

/* The gateway answers itself: 200 and this JSON, which has no line break. It is
 * copied into the arena; the caller has checked that there is room. */
void verdict_answer(struct request *r, struct str body);

/* A text for the log (`reason=`) that the caller does not see, at most 511
 * bytes. It stays when the verdict is replaced. */
void verdict_detail(struct request *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The row of a reason, for tests. */
const char *verdict_code(enum deny_reason why);
int verdict_status(enum deny_reason why);

#endif
