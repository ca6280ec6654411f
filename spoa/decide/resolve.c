/*
 * decide/resolve: what is asked for - which operation on which model.
 *
 *   call.api, from method and path --- none, wrong method, list --> denied
 *         |
 *   rslv_check_headers   is it clear how to read the body? else denied
 *         |
 *   rslv_check_content   can what must be read be read? else denied
 *         |
 *   rslv_model           path, query or body --policy_model--> call.model
 *
 * Where the model is named is in the row of the operation (api/operations):
 * mostly in the path, then in the body; some operations have none.
 *
 * What is authorized here is what runs. decide/route sees to it: the upstream
 * gets a path that names the deployment, or a body whose one `model` is that
 * deployment. So whatever could hold a second model, as a part of the body that
 * was not seen, is denied here.
 */
#include "decide/step.h"
#include "decide/verdict.h"
#include "api/content_type.h"
#include "api/form.h"

/* A compressed body cannot be scanned. `identity` is no encoding (RFC 9110,
 * 12.5.3), and some clients send it. */
static bool rslv_is_identity(struct str encoding)
{
	return encoding.len == 0 || str_eq_nocase(encoding, STR("identity"));
}

/* HAProxy, the agent and the resource must read the body in one way. Of two
 * headers of a name some take the first and some the last, and a transfer
 * coding besides `chunked` (RFC 9112, 6.1) changes the bytes. */
static enum step_result rslv_check_headers(struct request *r)
{
	const struct request_facts *f = &r->facts;
	const struct {
		unsigned n;
		const char *name;
	} once[] = {
		{f->n_content_type, "Content-Type"},
		{f->n_content_encoding, "Content-Encoding"},
		{f->n_content_length, "Content-Length"},
		{f->n_transfer_encoding, "Transfer-Encoding"},
	};

	for (size_t i = 0; i < sizeof(once) / sizeof(*once); i++)
		if (once[i].n > 1)
			return verdict_deny(r, DENY_HEADER,
			                    "The request has %u headers %s: "
			                    "send one.",
			                    once[i].n, once[i].name);
	if (f->n_transfer_encoding > 0 &&
	    !str_eq_nocase(f->transfer_encoding, STR("chunked")))
		return verdict_deny(r, DENY_ENCODING,
		                    "The gateway takes no Transfer-Encoding "
		                    "but chunked.");
	return STEP_NEXT;
}

/* JSON is UTF-8 (RFC 8259, 8.1); a resource that believes another charset reads
 * another text. */
static enum step_result rslv_check_json_type(struct request *r)
{
	struct content_type type;

	content_type_read(r->facts.content_type, &type);
	if (!type.error && type.boundary.len == 0)
		return STEP_NEXT;
	return verdict_deny(r, DENY_MEDIA_TYPE,
	                    "The body is not acceptable: %s. Send it as "
	                    "application/json, in UTF-8.",
	                    type.error ? type.error
	                               : "its Content-Type has a `boundary`");
}

/* An operation whose body is JSON. STEP_NEXT: it was read, whole, or cut behind
 * a path that names the model.
 *
 *   scan_status   body_cut
 *   SCAN_OK       false      read
 *   SCAN_OK       true       more may follow: as SCAN_PARTIAL
 *   SCAN_PARTIAL  false      the client's JSON ends too early
 *   SCAN_PARTIAL  true       HAProxy's buffer was too small
 *   SCAN_BAD      any        not acceptable, whatever follows
 */
static enum step_result rslv_check_json(struct request *r)
{
	const struct request_facts *f = &r->facts;

	if (!rslv_is_identity(f->content_encoding))
		return verdict_deny(r, DENY_ENCODING, NULL);
	if (!f->has_body)
		return verdict_deny(r, DENY_MEDIA_TYPE, NULL);
	if (rslv_check_json_type(r) != STEP_NEXT)
		return STEP_DONE;
	if (f->scan_status == SCAN_OK && !f->body_cut)
		return STEP_NEXT;
	if (f->scan_status == SCAN_BAD && f->scan.error_name.len > 0)
		return verdict_deny(r, DENY_BAD_JSON,
		                    "The body is not acceptable JSON: %s (at "
		                    "byte %zu). Write it as `%" STR_FMT "`.",
		                    f->scan.error, f->scan.error_at,
		                    STR_ARG(f->scan.error_name));
	if (f->scan_status == SCAN_BAD)
		return verdict_deny(r, DENY_BAD_JSON,
		                    "The body is not acceptable JSON: %s (at "
		                    "byte %zu).",
		                    f->scan.error, f->scan.error_at);
	if (!f->body_cut)
		return verdict_deny(r, DENY_BAD_JSON,
		                    "The body ends before its JSON does.");
	/* What was not seen may hold a second `model`. Only a path that names
	 * the model settles which one runs. */
	if (r->call.api.path_model.len == 0)
		return verdict_deny(r, DENY_TOO_LARGE_BODY, NULL);
	return STEP_NEXT;
}

/* HAProxy waits for the body of JSON requests alone, and of some forms. */
static bool rslv_is_json(const struct request_facts *f)
{
	return f->has_body && !f->is_form;
}

/* The same for a form. One that ends too early can be told from one that was
 * cut only where its length is known. */
static enum step_result rslv_check_form(struct request *r)
{
	const struct request_facts *f = &r->facts;

	if (!rslv_is_identity(f->content_encoding))
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

/* The media type without its parameters (RFC 9110, 8.3.1). */
static bool rslv_is_sdp(struct str content_type)
{
	size_t n = str_find(content_type, ';');

	return str_eq_nocase(str_trim(str_first(content_type, n)),
	                     STR("application/sdp"));
}

/* Is the body of the type that the operation takes? What falls out of the
 * switch is read as JSON, which also stands in for a form and for no body at
 * all: the content type alone decides what HAProxy sends. */
static enum step_result rslv_check_content(struct request *r)
{
	const struct request_facts *f = &r->facts;

	switch (r->call.api.traits.body) {
	case BODY_JSON:
		break;
	case BODY_FORM:
		if (f->is_form)
			return rslv_check_form(r);
		/* haproxy.cfg (acl form_model) waits for a form only where
		 * the path does not name the model */
		if (!f->has_body && form_is(f->content_type) &&
		    r->call.api.path_model.len > 0)
			return STEP_NEXT;
		break;
	case BODY_NONE:
		if (!rslv_is_json(f) || f->body_len == 0)
			return STEP_NEXT;
		break;
	case BODY_SDP:
		if (rslv_is_sdp(f->content_type))
			return STEP_NEXT;
		return verdict_deny(r, DENY_MEDIA_TYPE,
		                    "This operation takes a body of type "
		                    "application/sdp.");
	case BODY_ANY:
		return STEP_NEXT;
	}
	if (f->is_form)
		return verdict_deny(r, DENY_MEDIA_TYPE, NULL);
	return rslv_check_json(r);
}

/* A WebSocket has neither body nor model in its path (foundry.md 4.1, 4.2). A
 * name with an escape counts as none: the policy would be asked for the name as
 * it is, and the resource would decode it and read another one. */
static struct str rslv_query_model(struct str query)
{
	struct str name = operations_query_get(query, STR("deployment"));

	if (name.len == 0)
		name = operations_query_get(query, STR("model"));
	if (str_find(name, '%') < name.len || str_find(name, '+') < name.len)
		return STR_NONE;
	return name;
}

/* The name as the client wrote it: public name or alias; empty: none. */
static struct str rslv_model(const struct request *r)
{
	const struct api_call *call = &r->call.api;

	if (call->traits.model == MODEL_QUERY)
		return rslv_query_model(r->facts.query);
	if (call->path_model.len > 0)
		return call->path_model;
	if (call->operation == API_REALTIME && r->facts.scan.model.len == 0)
		return r->facts.refs.session_model;
	return r->facts.scan.model;
}

/* A realtime session that only transcribes has no model of its own but that of
 * the transcription. */
static void rslv_choose_session_model(struct request *r)
{
	struct refs *u = &r->facts.refs;

	if (u->n_session_models > 0 ||
	    !str_eq(r->call.api.suffix,
	            STR("/realtime/transcription_sessions")))
		return;
	u->session_model = u->transcription_model;
	u->n_session_models = u->n_transcription_models;
}

/* A realtime body may name the model at its outermost level and in `session`.
 * Resources read either, so both must be the same. */
static bool rslv_is_unclear(const struct request *r)
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
	if (rslv_check_headers(r) != STEP_NEXT)
		return STEP_DONE;
	body = rslv_check_content(r);
	/* MODEL_NONE and MODEL_OBJECT: decide/objects finds the model, if any
	 */
	if (body != STEP_NEXT || call->traits.model < MODEL_BODY)
		return body;
	rslv_choose_session_model(r);
	if (rslv_is_unclear(r))
		return verdict_deny(r, DENY_BAD_JSON,
		                    "The body names more than one model.");
	name = rslv_model(r);
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
