/* decide/answer: a verdict as variables of an ACK. */
#include "decide/answer.h"

#include "keys/caller.h"
#include "spop/ack.h"

enum { SCRATCH_MAX = 8192 };

enum {
	ON_ALLOW = 1,
	ON_DENY = 2,
	ON_ANSWER = 8,
	ALWAYS = ON_ALLOW | ON_DENY | ON_ANSWER,
	NEEDED = 4, /* without it HAProxy cannot do what was decided */
	WHOLE = 8,  /* may be empty, but not left out for its characters */
};

struct writer {
	const struct request *r;
	struct ack ack;
	struct buf scratch; /* for texts that are made here */
};

/* ------------------------------------------------------------------ texts */

/* A verdict that is not allow is deny. */
static bool allowed(const struct request *r)
{
	return r->verdict.verdict == VERDICT_ALLOW;
}

static unsigned when_of(const struct request *r)
{
	if (r->verdict.verdict == VERDICT_ANSWER)
		return ON_ANSWER;
	return allowed(r) ? ON_ALLOW : ON_DENY;
}

static struct str verdict(struct writer *w)
{
	if (w->r->verdict.verdict == VERDICT_ANSWER)
		return STR("answer");
	return allowed(w->r) ? STR("allow") : STR("deny");
}

static struct str code(struct writer *w)
{
	return str_c(w->r->verdict.code ? w->r->verdict.code : "no_decision");
}

/* The word that the API's clients know for a status; the last row is for all
 * others. */
static const struct {
	int status;
	const char *openai, *anthropic;
} types[] = {
	{401, "authentication_error", "authentication_error"},
	{403, "permission_error", "permission_error"},
	{404, "invalid_request_error", "not_found_error"},
	{413, "invalid_request_error", "request_too_large"},
	{429, "rate_limit_error", "rate_limit_error"},
	{500, "api_error", "api_error"},
	{503, "api_error", "overloaded_error"},
	{0, "invalid_request_error", "invalid_request_error"},
};

static const char *type_of(int status, enum api_shape shape)
{
	size_t i = 0;

	while (types[i].status != status && types[i].status != 0)
		i++;
	return shape == SHAPE_ANTHROPIC ? types[i].anthropic : types[i].openai;
}

static int64_t status(const struct request *r)
{
	return r->verdict.status >= 400 ? r->verdict.status : 500;
}

/* The whole body of the answer, one line. */
static struct str error(struct writer *w)
{
	enum api_shape shape = w->r->call.api.shape;
	const char *type = type_of((int)status(w->r), shape);
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
		buf_json(b, code(w));
		buf_fmt(b, "}}");
	}
	return buf_str(b);
}

/* RFC 6750, 3: error_description is printable ASCII without '"' and '\'. */
static void add_description(struct buf *b, struct str s)
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
static struct str challenge(struct writer *w)
{
	struct buf *b = &w->scratch;

	if (status(w->r) != 401)
		return STR_NONE;
	buf_fmt(b, "Bearer realm=\"foundry-gateway\"");
	if (w->r->facts.n_authorization > 0) {
		buf_fmt(b, ", error=\"invalid_token\", error_description=\"");
		add_description(b, w->r->verdict.message);
		buf_fmt(b, "\"");
	}
	return buf_str(b);
}

static struct str body(struct writer *w)
{
	return w->r->verdict.body;
}

static struct str backend(struct writer *w)
{
	return w->r->target[0].backend;
}

static struct str host(struct writer *w)
{
	return w->r->target[0].host;
}

static struct str path(struct writer *w)
{
	return w->r->target[0].path;
}

static struct str query(struct writer *w)
{
	return w->r->target[0].query;
}

static struct str auth_name(struct writer *w)
{
	return w->r->target[0].auth_name;
}

static struct str auth_value(struct writer *w)
{
	return w->r->target[0].auth_value;
}

static struct str account(struct writer *w)
{
	return w->r->caller.account;
}

static struct str consumer(struct writer *w)
{
	return w->r->caller.consumer ? w->r->caller.consumer->name : STR_NONE;
}

static struct str app(struct writer *w)
{
	return w->r->caller.identity ? w->r->caller.identity->app : STR_NONE;
}

static struct str agent(struct writer *w)
{
	return w->r->caller.agent;
}

static struct str project(struct writer *w)
{
	return w->r->caller.project;
}

/* As lua/blocked.lua asks for them, of what may run for long. */
static bool is_streamed(const struct writer *w)
{
	return str_starts(w->r->target[0].backend, STR("s."));
}

static struct str app_scope(struct writer *w)
{
	return is_streamed(w) ? w->r->caller.scope.app : STR_NONE;
}

static struct str agent_scope(struct writer *w)
{
	return is_streamed(w) ? w->r->caller.scope.agent : STR_NONE;
}

static struct str model(struct writer *w)
{
	return w->r->call.model ? w->r->call.model->name
	                        : w->r->call.model_name;
}

static struct str deployment(struct writer *w)
{
	return w->r->target[0].deployment ? w->r->target[0].deployment->name
	                                  : STR_NONE;
}

static struct str resource(struct writer *w)
{
	return w->r->target[0].resource ? w->r->target[0].resource->name
	                                : STR_NONE;
}

static struct str operation(struct writer *w)
{
	return str_c(operations_name(w->r->call.api.operation));
}

/* A response that is not to be stored cannot be asked for. */
static struct str makes(struct writer *w)
{
	const struct request *r = w->r;

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

static struct str drops(struct writer *w)
{
	const struct api_call *call = &w->r->call.api;

	return call->traits.drops ? call->ids[0] : STR_NONE;
}

static struct str owner(struct writer *w)
{
	return makes(w).len > 0 || drops(w).len > 0 ? w->r->caller.owner
	                                            : STR_NONE;
}

/* Whoever shows the secret will be this one. */
static struct str caller(struct writer *w)
{
	if (w->r->call.api.traits.makes != MAKES_SECRET)
		return STR_NONE;
	return caller_text(w->r->caller.identity, &w->scratch);
}

/* The request whose reservation pays for a background response: its own, and
 * that of the requests which ask for the response later. */
static struct str origin(struct writer *w)
{
	const struct request *r = w->r;

	if (r->call.origin.len > 0)
		return r->call.origin;
	return r->call.api.operation == API_RESPONSES &&
	                       r->facts.refs.background
	               ? r->facts.id
	               : STR_NONE;
}

static struct str edits(struct writer *w)
{
	return w->r->target[0].edits;
}

/* A request that a later step refused has given back what it took. */
static bool stands(const struct request *r)
{
	return allowed(r) || r->verdict.limit.len > 0;
}

static struct str rate_requests(struct writer *w)
{
	return stands(w->r) ? w->r->charge.rate_requests : STR_NONE;
}

static struct str rate_tokens(struct writer *w)
{
	return stands(w->r) ? w->r->charge.rate_tokens : STR_NONE;
}

static struct str warning(struct writer *w)
{
	return w->r->charge.warning;
}

static struct str strip_usage(struct writer *w)
{
	return w->r->target[0].strip_usage ? STR("1") : STR_NONE;
}

/* ---------------------------------------------------------------- numbers */

static int64_t as_int64(uint64_t v)
{
	return v > INT64_MAX ? INT64_MAX : (int64_t)v;
}

static int64_t retry_after(const struct request *r)
{
	return r->verdict.retry_after_s > 0 ? as_int64(r->verdict.retry_after_s)
	                                    : -1;
}

static int64_t reserved(const struct request *r)
{
	return as_int64(r->charge.prompt_tokens + r->charge.output_tokens);
}

static int64_t text_bytes(const struct request *r)
{
	return as_int64(r->facts.scan.text_bytes);
}

static int64_t length(const struct request *r)
{
	return r->target[0].edits.len > 0 ? as_int64(r->target[0].edited_length)
	                                  : -1;
}

static bool stream(const struct request *r)
{
	return r->facts.scan.stream;
}

/* --------------------------------------------------------------- the list */

/* Exactly one of text, number and flag is set. An empty text and a negative
 * number are left out. */
static const struct var {
	const char *name;
	unsigned when;
	struct str (*text)(struct writer *w);
	int64_t (*number)(const struct request *r);
	bool (*flag)(const struct request *r);
} vars[] = {
	{"verdict", ALWAYS | NEEDED, .text = verdict},
	{"status", ON_DENY, .number = status},
	{"code", ON_DENY | NEEDED, .text = code},
	{"error", ON_DENY | NEEDED, .text = error},
	{"body", ON_ANSWER | NEEDED, .text = body},
	{"retry_after", ON_DENY, .number = retry_after},
	{"challenge", ON_DENY, .text = challenge},
	{"backend", ON_ALLOW | NEEDED, .text = backend},
	{"host", ON_ALLOW | NEEDED, .text = host},
	{"path", ON_ALLOW | NEEDED, .text = path},
	{"query", ON_ALLOW, .text = query},
	{"auth_name", ON_ALLOW | NEEDED, .text = auth_name},
	{"auth_value", ON_ALLOW | NEEDED, .text = auth_value},
	{"edits", ON_ALLOW | WHOLE, .text = edits},
	{"length", ON_ALLOW, .number = length},
	{"strip_usage", ON_ALLOW, .text = strip_usage},
	{"account", ON_ALLOW, .text = account},
	{"consumer", ALWAYS, .text = consumer},
	{"app", ALWAYS, .text = app},
	{"agent", ALWAYS, .text = agent},
	{"project", ALWAYS, .text = project},
	{"app_scope", ON_ALLOW, .text = app_scope},
	{"agent_scope", ON_ALLOW, .text = agent_scope},
	{"model", ALWAYS, .text = model},
	{"deployment", ON_ALLOW, .text = deployment},
	{"resource", ON_ALLOW, .text = resource},
	{"operation", ALWAYS, .text = operation},
	{"makes", ON_ALLOW, .text = makes},
	{"drops", ON_ALLOW, .text = drops},
	{"owner", ON_ALLOW, .text = owner},
	{"caller", ON_ALLOW, .text = caller},
	{"origin", ON_ALLOW, .text = origin},
	{"reserved", ON_ALLOW, .number = reserved},
	{"text_bytes", ON_ALLOW, .number = text_bytes},
	{"stream", ON_ALLOW, .flag = stream},
	{"rate_requests", ON_ALLOW | ON_DENY, .text = rate_requests},
	{"rate_tokens", ON_ALLOW | ON_DENY, .text = rate_tokens},
	{"warning", ON_ALLOW, .text = warning},
};

/* HAProxy puts these into headers, paths and log lines. */
static bool is_one_line(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < ' ' || c == 0x7f)
			return false;
	}
	return true;
}

/* False when the variable is needed and cannot be written. */
static bool write_text(struct writer *w, const struct var *v)
{
	struct str s;

	buf_clear(&w->scratch);
	s = v->text(w);
	if (s.len > 0 && !w->scratch.failed && is_one_line(s)) {
		ack_set_str(&w->ack, v->name, s);
		return true;
	}
	return !(v->when & NEEDED) && (s.len == 0 || !(v->when & WHOLE));
}

static bool write_var(struct writer *w, const struct var *v)
{
	if (v->text)
		return write_text(w, v);
	if (v->flag)
		ack_set_bool(&w->ack, v->name, v->flag(w->r));
	else if (v->number(w->r) >= 0)
		ack_set_int(&w->ack, v->name, v->number(w->r));
	return true;
}

bool answer_write(const struct request *r, struct buf *out)
{
	struct writer w = {.r = r};
	unsigned when = when_of(r);

	buf_init(&w.scratch, SCRATCH_MAX);
	ack_begin(&w.ack, out, r->conn.stream_id, r->conn.frame_id,
	          r->ack_limit);
	for (size_t i = 0; i < sizeof(vars) / sizeof(vars[0]); i++)
		if ((vars[i].when & when) && !write_var(&w, &vars[i]))
			w.ack.overflow = true;
	buf_done(&w.scratch);
	return ack_end(&w.ack);
}
