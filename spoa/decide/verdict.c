/*
 * decide/verdict: the closed list of denials.
 *
 * The statuses are those with which OpenAI's and Azure's clients do the right
 * thing: they try 429 and 5xx again, after Retry-After, and show any other 4xx
 * to their user. So a fault of the request is never 5xx, what may pass later is
 * never 400, and each 429 and 503 has a Retry-After.
 *
 * The sentences say what the caller or the operator can do about it. A step may
 * put a longer one in their place that names the model, limit or byte.
 */
#include "decide/verdict.h"

#include <stdarg.h>
#include <stdio.h>

/* Bytes of a text with its NUL; what is longer is cut. Steps quote at most 128
 * bytes of what a client sent, so that the rest of the sentence stays. */
enum { VDT_TEXT_MAX = 512 };

struct denial {
	const char *code; /* "error"."code", decision line, label of a metric */
	int status;
	unsigned retry_after_s; /* 0: none; a step may know better */
	const char *message;
};

static const struct denial vdt_denials[DENY_N] = {
	[DENY_MALFORMED_NOTIFY] = {"malformed_notify", 500, 0,
                                   "The gateway could not read the request."},
	[DENY_NO_OPERATION] = {"unknown_operation", 404, 0,
                               "There is no such operation at this gateway."},
	[DENY_METHOD] = {"method_not_allowed", 405, 0,
                         "This operation is not called with this method."},
	[DENY_MEDIA_TYPE] =
		{"unsupported_media_type", 415, 0,
                 "This operation takes a body of type application/json."},
	[DENY_ENCODING] = {"unsupported_encoding", 415, 0,
                           "The gateway must read the body: send it without "
                           "Content-Encoding."},
	[DENY_HEADER] = {"ambiguous_header", 400, 0,
                         "The request has a header twice that may stand "
                         "once."},
	[DENY_BAD_JSON] = {"invalid_json", 400, 0,
                           "The body is not acceptable JSON."},
	[DENY_NO_MODEL] = {"model_missing", 400, 0,
                           "The request names no model."},
	[DENY_TOO_LARGE_BODY] =
		{"body_too_large", 413, 0,
                 "The body is larger than the gateway can check "
                 "(GATEWAY_BUFSIZE). Name the model in the path "
                 "(/openai/deployments/MODEL/...) or send less."},
	[DENY_NO_CREDENTIAL] =
		{"credential_missing", 401, 0,
                 "Send an Entra access token (Authorization: Bearer) or a "
                 "gateway key (api-key)."},
	[DENY_BAD_CREDENTIAL] = {"credential_invalid", 401, 0,
                                 "The credential was refused."},
	[DENY_AMBIGUOUS_CREDENTIAL] =
		{"credential_ambiguous", 401, 0,
                 "The request carries several credentials of one kind, or "
                 "one that is empty or too long."},
	[DENY_PERMISSION] =
		{"permission_missing", 403, 0,
                 "The token has no scope or role for this gateway."},
	[DENY_KEYS_UNAVAILABLE] =
		{"keys_unavailable", 503, 5,
                 "The keys to verify this token are not available yet."},
	[DENY_NO_CONSUMER] = {"consumer_unknown", 403, 0,
                              "This caller is not registered at the gateway."},
	[DENY_RULE] = {"not_allowed", 403, 0,
                       "This caller may not use this model or operation."},
	[DENY_MODEL_UNKNOWN] = {"model_not_found", 404, 0,
                                "The model does not exist at this gateway."},
	[DENY_BLOCKED] = {"caller_blocked", 403, 0,
                          "This caller has been blocked by the gateway's "
                          "operators."},
	[DENY_LIMIT] = {"rate_limit_exceeded", 429, 1,
                        "A limit of this caller is used up."},
	[DENY_LIMIT_NEVER] =
		{"request_exceeds_limit", 400, 0,
                 "The request needs more than a limit ever allows."},
	[DENY_STORE] = {"limit_store_unavailable", 503, 2,
                        "Limits cannot be checked at the moment."},
	[DENY_NO_ROUTE] = {"no_deployment", 400, 0,
                           "No deployment of this model can serve this form of "
                           "request."},
	[DENY_UPSTREAM_BUSY] =
		{"upstream_busy", 429, 1,
                 "All deployments of this model are at their limit."},
	[DENY_OUTBOUND] =
		{"upstream_credential_unavailable", 503, 5,
                 "The gateway has no credential for the model's resource at "
                 "the moment."},
	[DENY_TIMEOUT] = {"decision_timeout", 503, 1,
                          "The gateway could not decide in time."},
	[DENY_OVERLOAD] =
		{"gateway_overloaded", 503, 1,
                 "The gateway is deciding too many requests at once."},
	[DENY_WORKSPACE] = {"headers_too_large", 400, 0,
                            "The headers the gateway must read are too large."},
	[DENY_ACK_TOO_LARGE] =
		{"answer_too_large", 500, 0,
                 "The gateway's decision does not fit HAProxy's buffer "
                 "(GATEWAY_BUFSIZE)."},
	[DENY_LISTING] = {"listing_refused", 403, 0,
                          "The gateway does not list what other callers may "
                          "have made. Keep the ids of your own."},
	[DENY_BAD_FORM] = {"invalid_form", 400, 0,
                           "The form is not acceptable."},
	[DENY_OBJECT_UNKNOWN] = {"object_not_found", 404, 0,
                                 "This was not found at this gateway."},
	[DENY_TOO_MANY_OBJECTS] =
		{"too_many_objects", 400, 0,
                 "The request names more objects or models than the gateway "
                 "looks up, or an id that is too long. Send "
                 "previous_response_id in place of earlier items."},
	[DENY_OBJECT_FOREIGN] =
		{"object_refused", 400, 0,
                 "The request names something of which the gateway cannot "
                 "tell whose it is."},
	[DENY_OBJECTS_APART] =
		{"objects_apart", 400, 0,
                 "The objects that the request names are at different "
                 "resources."},
	[DENY_OBJECTS_OFF] =
		{"objects_not_configured", 501, 0,
                 "The gateway does not know where to make this: "
                 "`objects.resource` is not set in its configuration."},
	[DENY_OBJECT_STORE] =
		{"object_store_unavailable", 503, 2,
                 "It cannot be looked up at the moment whose object this "
                 "is."},
};

/* A refused credential is 401, unless it is good but not enough (403) or could
 * not be checked (503). */
static enum deny_reason vdt_inbound_reason(enum inbound_status s)
{
	switch (s) {
	case INBOUND_PERMISSION:
		return DENY_PERMISSION;
	case INBOUND_KEYS_UNAVAILABLE:
		return DENY_KEYS_UNAVAILABLE;
	case INBOUND_MEMORY:
		return DENY_OVERLOAD;
	default:
		return DENY_BAD_CREDENTIAL;
	}
}

static void vdt_set_denial(struct request *r, enum deny_reason why)
{
	const struct denial *d = &vdt_denials[why];

	r->verdict.verdict = VERDICT_DENY;
	r->verdict.status = d->status;
	r->verdict.code = d->code;
	r->verdict.message = str_c(d->message);
	r->verdict.retry_after_s = d->retry_after_s;
}

/* A text in the arena; empty when that is full. */
static struct str vdt_format(struct request *r, const char *fmt, va_list ap)
{
	char text[VDT_TEXT_MAX];
	int n = vsnprintf(text, sizeof(text), fmt, ap);

	if (n < 0)
		return STR_NONE;
	return arena_str(&r->arena, str_c(text));
}

enum step_result verdict_deny(struct request *r, enum deny_reason why,
                              const char *fmt, ...)
{
	struct str message;
	va_list ap;

	vdt_set_denial(r, why);
	if (!fmt)
		return STEP_DONE;
	va_start(ap, fmt);
	message = vdt_format(r, fmt, ap);
	va_end(ap);
	/* a refusal without a sentence would be worse than the general one */
	if (message.len > 0)
		r->verdict.message = message;
	return STEP_DONE;
}

enum step_result verdict_deny_inbound(struct request *r, enum inbound_status s)
{
	vdt_set_denial(r, vdt_inbound_reason(s));
	r->verdict.code = inbound_code(s);
	r->verdict.message = str_c(inbound_message(s));
	return STEP_DONE;
}

void verdict_allow(struct request *r)
{
	r->verdict.verdict = VERDICT_ALLOW;
	r->verdict.status = 200;
	r->verdict.code = "allow";
}

void verdict_answer(struct request *r, struct str body)
{
	r->verdict.verdict = VERDICT_ANSWER;
	r->verdict.status = 200;
	r->verdict.code = "answer";
	r->verdict.body = arena_str(&r->arena, body);
}

void verdict_detail(struct request *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	r->verdict.detail = vdt_format(r, fmt, ap);
	va_end(ap);
}

const char *verdict_code(enum deny_reason why)
{
	return vdt_denials[why].code;
}

int verdict_status(enum deny_reason why)
{
	return vdt_denials[why].status;
}
