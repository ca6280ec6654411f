/*
 * decide/answer: a verdict as variables of an ACK.
 *
 *   ans_vars[]: name, when it is set, how its value is made
 *      |
 *      +-- text    ans_write_text  from the request, or made in the scratch
 *      +-- number  ans_write_var   negative: not set
 *
 * Each variable costs HAProxy about 2,700 instructions (reference/speed.md), so
 * one is set only where something reads it: haproxy.cfg, the messages of
 * spoe-gateway.conf, or lua/. A field that only the end of the request needs is
 * one line in ans_fill_ticket() and one row in usage/ticket.h.
 */
#include "decide/answer.h"

#include "decide/decider.h"
#include "keys/caller.h"
#include "spop/ack.h"
#include "usage/ticket.h"

/* For one text at a time. The longest are an error that repeats a name of the
 * caller's, and a ticket: 4096. */
enum { ANSWER_SCRATCH_MAX = 8192 };

enum ans_when {
	ON_ALLOW = 1,
	ON_DENY = 2,
	ON_ANSWER = 4, /* the gateway answers itself: discovery */
	ALWAYS = ON_ALLOW | ON_DENY | ON_ANSWER,
	NEEDED = 8, /* without it HAProxy cannot do what was decided */
	WHOLE = 16, /* may be empty, but not left out for its characters */
};

struct ans_writer {
	const struct request *r;
	struct ack ack;
	struct buf scratch; /* emptied before each variable */
};

/* ------------------------------------------------------------ the verdict */

static bool ans_is_allowed(const struct request *r)
{
	return r->verdict.verdict == VERDICT_ALLOW;
}

/* No verdict at all is a bug in a step, and denied. */
static unsigned ans_when_of(const struct request *r)
{
	if (r->verdict.verdict == VERDICT_ANSWER)
		return ON_ANSWER;
	return ans_is_allowed(r) ? ON_ALLOW : ON_DENY;
}

static struct str ans_verdict(struct ans_writer *w)
{
	if (w->r->verdict.verdict == VERDICT_ANSWER)
		return STR("answer");
	return ans_is_allowed(w->r) ? STR("allow") : STR("deny");
}

static struct str ans_code(struct ans_writer *w)
{
	return str_c(w->r->verdict.code ? w->r->verdict.code : "no_decision");
}

/* The error type that the clients of an API know for a status; the last row is
 * for all others. */
static const struct {
	int status;
	const char *openai, *anthropic;
} ans_types[] = {
	{401, "authentication_error", "authentication_error"},
	{403, "permission_error", "permission_error"},
	{404, "invalid_request_error", "not_found_error"},
	{413, "invalid_request_error", "request_too_large"},
	{429, "rate_limit_error", "rate_limit_error"},
	{500, "api_error", "api_error"},
	{503, "api_error", "overloaded_error"},
	{0, "invalid_request_error", "invalid_request_error"},
};

static const char *ans_type_of(int status, enum api_shape shape)
{
	size_t i = 0;

	while (ans_types[i].status != status && ans_types[i].status != 0)
		i++;
	return shape == SHAPE_ANTHROPIC ? ans_types[i].anthropic
	                                : ans_types[i].openai;
}

static int64_t ans_status(const struct request *r)
{
	return r->verdict.status >= 400 ? r->verdict.status : 500;
}

/* The whole body of a refusal, as one line: haproxy.cfg prints it as it is. */
static struct str ans_error(struct ans_writer *w)
{
	enum api_shape shape = w->r->call.api.shape;
	const char *type = ans_type_of((int)ans_status(w->r), shape);
	struct buf *b = &w->scratch;

	if (shape == SHAPE_ANTHROPIC) {
		buf_fmt(b, "{\"type\":\"error\",\"error\":{\"type\":\"%s\"",
		        type);
		buf_fmt(b, ",\"message\":");
		buf_json(b, w->r->verdict.message);
		buf_fmt(b, "},\"request_id\":");
		buf_json(b, w->r->facts.id);
		buf_fmt(b, "}");
	} else {
		buf_fmt(b, "{\"error\":{\"message\":");
		buf_json(b, w->r->verdict.message);
		buf_fmt(b, ",\"type\":\"%s\",\"param\":null,\"code\":", type);
		buf_json(b, ans_code(w));
		buf_fmt(b, "}}");
	}
	return buf_str(b);
}

/* RFC 6750, 3: error_description is printable ASCII without '"' and '\'. */
static void ans_add_description(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (c < ' ' || c > '~' || c == '\\')
			c = '?';
		buf_add(b, c == '"' ? "'" : &c, 1);
	}
}

/* RFC 6750, 3.1: without an error code when no credential of this kind came,
 * so that clients fetch a token instead of reporting a broken one. */
static struct str ans_challenge(struct ans_writer *w)
{
	struct buf *b = &w->scratch;

	if (ans_status(w->r) != 401)
		return STR_NONE;
	buf_fmt(b, "Bearer realm=\"foundry-gateway\"");
	if (w->r->facts.n_authorization > 0) {
		buf_fmt(b, ", error=\"invalid_token\", error_description=\"");
		ans_add_description(b, w->r->verdict.message);
		buf_fmt(b, "\"");
	}
	return buf_str(b);
}

static struct str ans_body(struct ans_writer *w)
{
	return w->r->verdict.body;
}

static int64_t ans_as_int64(uint64_t v)
{
	return v > INT64_MAX ? INT64_MAX : (int64_t)v;
}

static int64_t ans_retry_after(const struct request *r)
{
	return r->verdict.retry_after_s > 0
	               ? ans_as_int64(r->verdict.retry_after_s)
	               : -1;
}

/* ------------------------------------------------------------- the target */

/* The candidate that is tried first. */
static const struct request_target *ans_target(const struct request *r)
{
	return &r->target[0];
}

static struct str ans_backend(struct ans_writer *w)
{
	return ans_target(w->r)->backend;
}

static struct str ans_host(struct ans_writer *w)
{
	return ans_target(w->r)->host;
}

static struct str ans_path(struct ans_writer *w)
{
	return ans_target(w->r)->path;
}

static struct str ans_query(struct ans_writer *w)
{
	return ans_target(w->r)->query;
}

static struct str ans_auth_name(struct ans_writer *w)
{
	return ans_target(w->r)->auth_name;
}

static struct str ans_auth_value(struct ans_writer *w)
{
	return ans_target(w->r)->auth_value;
}

static struct str ans_edits(struct ans_writer *w)
{
	return ans_target(w->r)->edits;
}

/* Of the body after its edits. */
static int64_t ans_length(const struct request *r)
{
	return ans_target(r)->edits.len > 0
	               ? ans_as_int64(ans_target(r)->edited_length)
	               : -1;
}

static struct str ans_strip_usage(struct ans_writer *w)
{
	return ans_target(w->r)->strip_usage ? STR("1") : STR_NONE;
}

static struct str ans_deployment(struct ans_writer *w)
{
	const struct policy_deployment *d = ans_target(w->r)->deployment;

	return d ? d->name : STR_NONE;
}

static struct str ans_resource(struct ans_writer *w)
{
	const struct policy_resource *res = ans_target(w->r)->resource;

	return res ? res->name : STR_NONE;
}

/* ------------------------------------------------------------- the caller */

static struct str ans_consumer_name(const struct request *r)
{
	return r->caller.consumer ? r->caller.consumer->name : STR_NONE;
}

/* lua/blocked.lua looks for these three in the list of who is blocked, while an
 * answer streams. Answers of r.NAME are short, and have no filter. */
static bool ans_is_streamed(const struct request *r)
{
	return str_starts(ans_target(r)->backend, STR("s."));
}

static struct str ans_consumer(struct ans_writer *w)
{
	return ans_is_streamed(w->r) ? ans_consumer_name(w->r) : STR_NONE;
}

static struct str ans_app_scope(struct ans_writer *w)
{
	return ans_is_streamed(w->r) ? w->r->caller.scope.app : STR_NONE;
}

static struct str ans_agent_scope(struct ans_writer *w)
{
	return ans_is_streamed(w->r) ? w->r->caller.scope.agent : STR_NONE;
}

/* ------------------------------------------------------------ the objects */

/* Where the id of what the answer makes is to be found. A response that is not
 * to be stored cannot be asked for. */
static struct str ans_makes_what(const struct request *r)
{
	switch (r->call.api.traits.makes) {
	case MAKES_ID:
		return r->facts.refs.unstored ? STR_NONE : STR("id");
	case MAKES_FILES:
		return STR("files");
	case MAKES_SECRET:
		return STR("secret");
	case MAKES_NOTHING:
		break;
	}
	return STR_NONE;
}

static struct str ans_makes(struct ans_writer *w)
{
	return ans_makes_what(w->r);
}

static struct str ans_drops(struct ans_writer *w)
{
	const struct api_call *call = &w->r->call.api;

	return call->traits.drops ? call->ids[0] : STR_NONE;
}

static struct str ans_owner(struct ans_writer *w)
{
	bool needed = ans_makes(w).len > 0 || ans_drops(w).len > 0;

	return needed ? w->r->caller.owner : STR_NONE;
}

/* Who is let in with the secret of a session is judged as this caller. */
static struct str ans_caller(struct ans_writer *w)
{
	if (w->r->call.api.traits.makes != MAKES_SECRET)
		return STR_NONE;
	return caller_text(w->r->caller.identity, &w->scratch);
}

/* The request whose reservation pays for a background response: its own, and
 * that of the requests which ask for the response later. */
static struct str ans_origin_of(const struct request *r)
{
	if (r->call.origin.len > 0)
		return r->call.origin;
	return r->call.api.operation == API_RESPONSES &&
	                       r->facts.refs.background
	               ? r->facts.id
	               : STR_NONE;
}

static struct str ans_model_name(const struct request *r)
{
	return r->call.model ? r->call.model->name : r->call.model_name;
}

/* These two go with the message `created` only. */
static struct str ans_origin(struct ans_writer *w)
{
	return ans_makes(w).len > 0 ? ans_origin_of(w->r) : STR_NONE;
}

static struct str ans_model(struct ans_writer *w)
{
	return ans_makes(w).len > 0 ? ans_model_name(w->r) : STR_NONE;
}

/* ------------------------------------------------------------- the limits */

/* A request that a later step than reserve refused has given back what it took:
 * what was left of its limits is not true any more. */
static bool ans_rates_hold(const struct request *r)
{
	return ans_is_allowed(r) || r->verdict.limit.len > 0;
}

static struct str ans_rate_requests(struct ans_writer *w)
{
	return ans_rates_hold(w->r) ? w->r->charge.rate_requests : STR_NONE;
}

static struct str ans_rate_tokens(struct ans_writer *w)
{
	return ans_rates_hold(w->r) ? w->r->charge.rate_tokens : STR_NONE;
}

static struct str ans_warning(struct ans_writer *w)
{
	return w->r->charge.warning;
}

/* ------------------------------------------------------------- the ticket */

/* Bytes of which the tokens of the prompt will tell how many make one: of text
 * alone, and of all of it. */
static uint64_t ans_learnable_bytes(const struct request_facts *f)
{
	return f->body_cut || f->scan.n_data_urls > 0 ? 0 : f->scan.text_bytes;
}

/* One line for each row of TICKET_FIELDS. */
static void ans_fill_ticket(struct ans_writer *w, struct ticket *t)
{
	const struct request *r = w->r;
	const struct request_charge *charge = &r->charge;

	t->consumer = ans_consumer_name(r);
	t->app = r->caller.identity ? r->caller.identity->app : STR_NONE;
	t->agent = r->caller.agent;
	t->project = r->caller.project;
	t->account = r->caller.account;
	t->operation = r->call.api.operation;
	t->model = ans_model_name(r);
	t->deployment = ans_deployment(w);
	t->resource = ans_resource(w);
	t->stream = r->facts.scan.stream;
	t->counted = r->call.api.traits.tokens != TOKENS_NONE;
	t->prompt = charge->prompt_tokens;
	t->reserved = charge->prompt_tokens + charge->output_tokens;
	t->text_bytes = ans_learnable_bytes(&r->facts);
	t->owner = ans_owner(w);
	t->origin = ans_origin_of(r);
}

static struct str ans_ticket(struct ans_writer *w)
{
	struct ticket t = {.consumer = STR_NONE};

	ans_fill_ticket(w, &t);
	ticket_write(&t, w->r->decider->seal, w->r->facts.id, &w->scratch);
	return buf_str(&w->scratch);
}

/* --------------------------------------------------------------- the list */

/* Exactly one of text and number is set. An empty text and a negative number
 * are left out, unless the row says NEEDED. */
static const struct ans_var {
	const char *name;
	unsigned when;
	struct str (*text)(struct ans_writer *w);
	int64_t (*number)(const struct request *r);
} ans_vars[] = {
	{"verdict", ALWAYS | NEEDED, .text = ans_verdict},
	{"status", ON_DENY, .number = ans_status},
	{"code", ON_DENY | NEEDED, .text = ans_code},
	{"error", ON_DENY | NEEDED, .text = ans_error},
	{"body", ON_ANSWER | NEEDED, .text = ans_body},
	{"retry_after", ON_DENY, .number = ans_retry_after},
	{"challenge", ON_DENY, .text = ans_challenge},
	{"backend", ON_ALLOW | NEEDED, .text = ans_backend},
	{"host", ON_ALLOW | NEEDED, .text = ans_host},
	{"path", ON_ALLOW | NEEDED, .text = ans_path},
	{"query", ON_ALLOW, .text = ans_query},
	{"auth_name", ON_ALLOW | NEEDED, .text = ans_auth_name},
	{"auth_value", ON_ALLOW | NEEDED, .text = ans_auth_value},
	{"ticket", ON_ALLOW | NEEDED, .text = ans_ticket},
	{"edits", ON_ALLOW | WHOLE, .text = ans_edits},
	{"length", ON_ALLOW, .number = ans_length},
	{"strip_usage", ON_ALLOW, .text = ans_strip_usage},
	{"consumer", ON_ALLOW, .text = ans_consumer},
	{"app_scope", ON_ALLOW, .text = ans_app_scope},
	{"agent_scope", ON_ALLOW, .text = ans_agent_scope},
	{"deployment", ON_ALLOW, .text = ans_deployment},
	{"resource", ON_ALLOW, .text = ans_resource},
	{"makes", ON_ALLOW, .text = ans_makes},
	{"drops", ON_ALLOW, .text = ans_drops},
	{"owner", ON_ALLOW, .text = ans_owner},
	{"caller", ON_ALLOW, .text = ans_caller},
	{"origin", ON_ALLOW, .text = ans_origin},
	{"model", ON_ALLOW, .text = ans_model},
	{"rate_requests", ON_ALLOW | ON_DENY, .text = ans_rate_requests},
	{"rate_tokens", ON_ALLOW | ON_DENY, .text = ans_rate_tokens},
	{"warning", ON_ALLOW, .text = ans_warning},
};

/* HAProxy puts texts into headers, paths and log lines. False when the variable
 * is needed and cannot be written. */
static bool ans_write_text(struct ans_writer *w, const struct ans_var *v)
{
	struct str s;

	buf_clear(&w->scratch);
	s = v->text(w);
	if (s.len > 0 && !w->scratch.failed && str_is_one_line(s)) {
		ack_set_str(&w->ack, v->name, s);
		return true;
	}
	return !(v->when & NEEDED) && (s.len == 0 || !(v->when & WHOLE));
}

static bool ans_write_var(struct ans_writer *w, const struct ans_var *v)
{
	if (v->text)
		return ans_write_text(w, v);
	if (v->number(w->r) >= 0)
		ack_set_int(&w->ack, v->name, v->number(w->r));
	return true;
}

bool answer_write(const struct request *r, struct buf *out)
{
	const struct ans_var *end =
		ans_vars + sizeof(ans_vars) / sizeof(ans_vars[0]);
	struct ans_writer w = {.r = r};
	unsigned when = ans_when_of(r);

	buf_init(&w.scratch, ANSWER_SCRATCH_MAX);
	ack_begin(&w.ack, out, r->conn.stream_id, r->conn.frame_id,
	          r->ack_limit);
	for (const struct ans_var *v = ans_vars; v < end; v++)
		if ((v->when & when) && !ans_write_var(&w, v))
			w.ack.overflow = true; /* ack_end() takes it back */
	buf_done(&w.scratch);
	return ack_end(&w.ack);
}
