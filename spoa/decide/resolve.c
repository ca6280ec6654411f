/*
 * decide/resolve: what is asked for - which operation on which model.
 *
 * Where the model stands is in the row of the operation (api/operations):
 * mostly in the path, then in the body; some work without one. What is
 * authorized here is what runs: decide/route gives the upstream a path that
 * names the deployment, or insists that the one `model` of the body is that
 * deployment.
 */
#include "decide/step.h"
#include "decide/verdict.h"
#include "api/form.h"

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
	if (r->call.api.path_model.len == 0)
		return verdict_deny(r, DENY_TOO_LARGE_BODY, NULL);
	return STEP_NEXT;
}

static bool is_json(const struct request_facts *f)
{
	return f->has_body && !f->is_form;
}

static enum step_result check_form(struct request *r)
{
	const struct request_facts *f = &r->facts;

	if (!is_identity(f->content_encoding))
		return verdict_deny(r, DENY_ENCODING, NULL);
	if (f->scan_status == SCAN_BAD)
		return verdict_deny(r, DENY_BAD_FORM,
		                    "The form is not acceptable: %s.",
		                    f->scan.error);
	if (f->scan_status == SCAN_OK || r->call.api.path_model.len > 0)
		return STEP_NEXT;
	if (!f->body_cut && f->content_length.len > 0)
		return verdict_deny(r, DENY_BAD_FORM,
		                    "The form ends before its last part "
		                    "does.");
	/* what was not seen may name another model */
	return verdict_deny(r, DENY_TOO_LARGE_BODY, NULL);
}

static bool is_sdp(struct str content_type)
{
	size_t n = str_find(content_type, ';');

	return str_eq_nocase(str_trim(str_first(content_type, n)),
	                     STR("application/sdp"));
}

/* Whatever is read must be readable. */
static enum step_result check_content(struct request *r)
{
	const struct request_facts *f = &r->facts;

	switch (r->call.api.traits.body) {
	case BODY_JSON:
		break;
	case BODY_FORM:
		if (f->is_form)
			return check_form(r);
		/* HAProxy waits only for a form that has to name the model */
		if (!f->has_body && form_is(f->content_type) &&
		    r->call.api.path_model.len > 0)
			return STEP_NEXT;
		break;
	case BODY_NONE:
		if (!is_json(f) || f->body_len == 0)
			return STEP_NEXT;
		break;
	case BODY_SDP:
		if (is_sdp(f->content_type))
			return STEP_NEXT;
		return verdict_deny(r, DENY_MEDIA_TYPE,
		                    "This operation takes a body of type "
		                    "application/sdp.");
	case BODY_ANY:
		return STEP_NEXT;
	}
	if (f->is_form)
		return verdict_deny(r, DENY_MEDIA_TYPE, NULL);
	return check_body(r);
}

/* Of a WebSocket nothing else can say it. An escape in it would be read by
 * somebody else as another name. */
static struct str model_of_query(struct str query)
{
	struct str name = operations_query_get(query, STR("deployment"));

	if (name.len == 0)
		name = operations_query_get(query, STR("model"));
	if (str_find(name, '%') < name.len || str_find(name, '+') < name.len)
		return STR_NONE;
	return name;
}

static struct str model_of(const struct request *r)
{
	const struct api_call *call = &r->call.api;

	if (call->traits.model == MODEL_QUERY)
		return model_of_query(r->facts.query);
	if (call->path_model.len > 0)
		return call->path_model;
	if (call->operation == API_REALTIME && r->facts.scan.model.len == 0)
		return r->facts.refs.session_model;
	return r->facts.scan.model;
}

/* A session that only writes down what it hears has no other model. */
static void choose_session_model(struct request *r)
{
	struct refs *u = &r->facts.refs;

	if (u->n_session_models > 0 ||
	    !str_eq(r->call.api.suffix,
	            STR("/realtime/transcription_sessions")))
		return;
	u->session_model = u->transcription_model;
	u->n_session_models = u->n_transcription_models;
}

/* `session` may repeat the model of the outermost level, not name another:
 * a resource reads either. */
static bool is_unclear(const struct request *r)
{
	const struct refs *u = &r->facts.refs;
	struct str top = r->facts.scan.model;

	if (r->call.api.operation != API_REALTIME || u->n_session_models == 0)
		return false;
	return u->n_session_models > 1 || u->session_model.len == 0 ||
	       (top.len > 0 && !str_eq(top, u->session_model));
}

enum step_result decide_resolve(struct request *r)
{
	const struct api_call *call = &r->call.api;
	enum step_result body;
	struct str name;

	if (call->operation == API_NONE)
		return verdict_deny(r, DENY_NO_OPERATION, NULL);
	if (!call->method_ok)
		return verdict_deny(r, DENY_METHOD, NULL);
	if (call->traits.list)
		return verdict_deny(r, DENY_LISTING, NULL);
	body = check_content(r);
	if (body != STEP_NEXT || call->traits.model < MODEL_BODY)
		return body;
	choose_session_model(r);
	if (is_unclear(r))
		return verdict_deny(r, DENY_BAD_JSON,
		                    "The body names more than one model.");
	name = model_of(r);
	if (name.len == 0)
		return verdict_deny(r, DENY_NO_MODEL, NULL);
	r->call.model = policy_model(r->policy, name);
	if (!r->call.model)
		return verdict_deny(r, DENY_MODEL_UNKNOWN,
		                    "The model '%" STR_FMT
		                    "' does not exist at this gateway.",
		                    STR_ARG(str_first(name, 128)));
	return STEP_NEXT;
}
