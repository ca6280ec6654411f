/*
 * decide/demand: what is asked for - which operation on which model.
 *
 * The model is taken from the path, then from the body. What is authorized
 * here is what runs: decide/route gives the upstream a path that names the
 * deployment, or insists that the one `model` of the body is that deployment.
 */
#include "agent.h"
#include "decide/verdict.h"

static bool is_identity(struct str encoding)
{
	return encoding.len == 0 || str_eq_nocase(encoding, STR("identity"));
}

/* The body as JSON, as far as it came. STEP_NEXT: usable. */
static enum step_result check_body(struct request *r)
{
	const struct request_facts *f = &r->facts;

	if (!is_identity(f->content_encoding))
		return verdict_deny(r, DENY_ENCODING, NULL);
	if (!f->has_body)
		return verdict_deny(r, DENY_MEDIA_TYPE, NULL);
	if (f->scan_status == SCAN_OK && !f->body_cut)
		return STEP_NEXT;
	if (f->scan_status == SCAN_BAD)
		return verdict_deny(r, DENY_BAD_JSON,
		                    "The body is not acceptable JSON: %s (at "
		                    "byte %zu).",
		                    f->scan.error, f->scan.error_at);
	if (!f->body_cut)
		return verdict_deny(r, DENY_BAD_JSON,
		                    "The body ends before its JSON does.");
	/* What we did not see may hold a second `model`. Only a path that
	 * names the model settles which one runs. */
	if (r->plan.call.path_model.len == 0)
		return verdict_deny(r, DENY_TOO_LARGE_BODY, NULL);
	return STEP_NEXT;
}

enum step_result decide_demand(struct request *r)
{
	const struct api_call *call = &r->plan.call;
	enum step_result body;
	struct str name;

	if (call->operation == API_NONE)
		return verdict_deny(r, DENY_NO_OPERATION, NULL);
	if (!call->method_ok)
		return verdict_deny(r, DENY_METHOD, NULL);
	body = check_body(r);
	if (body != STEP_NEXT)
		return body;
	name = call->path_model.len > 0 ? call->path_model
	                                : r->facts.scan.model;
	if (name.len == 0)
		return verdict_deny(r, DENY_NO_MODEL, NULL);
	r->plan.model = policy_model(r->policy, name);
	if (!r->plan.model)
		return verdict_deny(r, DENY_MODEL_UNKNOWN,
		                    "The model '%" STR_FMT
		                    "' does not exist at this gateway.",
		                    STR_ARG(str_first(name, 128)));
	return STEP_NEXT;
}
