/*
 * request: what HAProxy says of one request, into struct request_facts.
 *
 *   NOTIFY -> args[] -> values -> facts (copied into the arena)
 *                          hdrs -> headers[] -> facts
 *                          body -> api/scan -> facts.scan
 *
 * The body is scanned while the frame is still there and never copied.
 */
#include "request/request.h"

#include "keys/jose.h"
#include "api/form.h"
#include "spop/notify.h"

#include <arpa/inet.h>

enum {
	ID_MAX = 128,
	KEY_MAX = 1024,                          /* a gateway key */
	AUTHORIZATION_MAX = JOSE_TOKEN_MAX + 16, /* and its scheme */
	LABEL_MAX = 256,
	CUT_MIN = 8192, /* below the body of HAProxy's smallest buffer */
};

/* ------------------------------------------------------------- arguments */

enum {
	ARG_ID = 0,
	ARG_SRC,
	ARG_METHOD,
	ARG_PATH,
	ARG_QUERY,
	ARG_HDRS,
	ARG_BODY,
	ARG_BODY_LEN,
	ARG_BODY_SIZE,
	N_ARGS,
};

enum {
	TEXT = 1 << SPOP_STR,
	BYTES = 1 << SPOP_STR | 1 << SPOP_BIN,
	ADDRESS = 1 << SPOP_STR | 1 << SPOP_IPV4 | 1 << SPOP_IPV6,
	NUMBER = 1 << SPOP_INT32 | 1 << SPOP_UINT32 | 1 << SPOP_INT64 |
	         1 << SPOP_UINT64,
};

/* What is not there at all is NULL for HAProxy. That happens to all but the
 * required ones: no path in "OPTIONS *", no src behind a unix socket. */
static const struct {
	struct str name;
	unsigned types; /* bits of enum spop_type, besides SPOP_NULL */
	bool required;
} args[N_ARGS] = {
	[ARG_ID] = {STR_INIT("id"), TEXT, true},
	[ARG_SRC] = {STR_INIT("src"), ADDRESS, false},
	[ARG_METHOD] = {STR_INIT("method"), TEXT, true},
	[ARG_PATH] = {STR_INIT("path"), TEXT, false},
	[ARG_QUERY] = {STR_INIT("query"), TEXT, false},
	[ARG_HDRS] = {STR_INIT("hdrs"), BYTES, true},
	[ARG_BODY] = {STR_INIT("body"), BYTES, false},
	[ARG_BODY_LEN] = {STR_INIT("body_len"), NUMBER, false},
	[ARG_BODY_SIZE] = {STR_INIT("body_size"), NUMBER, false},
};

static size_t arg_index(struct str name)
{
	size_t i = 0;

	while (i < N_ARGS && !str_eq(args[i].name, name))
		i++;
	return i;
}

/* All arguments of one message; unknown ones are ignored. False on a type
 * that the argument cannot have, a negative number, or a name used twice. */
static bool read_args(struct cursor *c, unsigned n, struct spop_value *values)
{
	for (; n > 0; n--) {
		struct notify_arg arg;
		size_t i;

		if (!notify_arg(c, &arg))
			return false;
		i = arg_index(arg.name);
		if (i == N_ARGS || arg.value.type == SPOP_NULL)
			continue;
		if (!(args[i].types >> arg.value.type & 1) ||
		    arg.value.number < 0 || values[i].type != SPOP_NULL)
			return false;
		values[i] = arg.value;
	}
	return true;
}

static bool has_required(const struct spop_value *values)
{
	for (size_t i = 0; i < N_ARGS; i++)
		if (args[i].required && values[i].type == SPOP_NULL)
			return false;
	return true;
}

/* --------------------------------------------------------------- headers */

enum { NOT_COUNTED = 0 };

/* A header we read. A counted one decides who is calling: of a value that is
 * too long nothing is kept, so it can only be refused. The others are shown
 * and compared only, so the beginning is enough. */
struct header {
	struct str name;
	size_t value_at; /* in struct request_facts */
	size_t count_at; /* NOT_COUNTED: only the first one is looked at */
	size_t max;
};

#define FACT(member) offsetof(struct request_facts, member)

static const struct header headers[] = {
	{STR_INIT("authorization"), FACT(authorization), FACT(n_authorization),
         AUTHORIZATION_MAX},
	{STR_INIT("api-key"), FACT(api_key), FACT(n_api_key), KEY_MAX},
	{STR_INIT("x-api-key"), FACT(x_api_key), FACT(n_x_api_key), KEY_MAX},
	{STR_INIT("content-type"), FACT(content_type), NOT_COUNTED, LABEL_MAX},
	{STR_INIT("content-encoding"), FACT(content_encoding), NOT_COUNTED,
         LABEL_MAX},
	{STR_INIT("content-length"), FACT(content_length), NOT_COUNTED,
         LABEL_MAX},
	{STR_INIT("x-ms-foundry-agent-id"), FACT(foundry_agent), NOT_COUNTED,
         LABEL_MAX},
	{STR_INIT("x-ms-foundry-project-id"), FACT(foundry_project),
         NOT_COUNTED, LABEL_MAX},
	{STR_INIT("openai-project"), FACT(openai_project), NOT_COUNTED,
         LABEL_MAX},
};

/* Its name is in the policy. */
static const struct header custom_key = {STR_INIT(""), FACT(custom_key),
                                         FACT(n_custom_key), KEY_MAX};

static const struct header *header_of(const struct policy *p, struct str name)
{
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
		if (str_eq_nocase(headers[i].name, name))
			return &headers[i];
	if (p->key_header.len > 0 && str_eq_nocase(p->key_header, name))
		return &custom_key;
	return NULL;
}

static void take_header(struct request *r, const struct header *h,
                        struct str value)
{
	char *facts = (char *)&r->facts;
	struct str *at = (void *)(facts + h->value_at);
	unsigned *count = (void *)(facts + h->count_at);
	bool first = at->len == 0;

	if (h->count_at != NOT_COUNTED) {
		first = *count == 0;
		++*count;
		if (value.len > h->max)
			return;
	}
	if (first)
		*at = arena_str(&r->arena, str_first(value, h->max));
}

static bool read_headers(struct request *r, struct str hdrs)
{
	struct cursor c = cursor_of(hdrs);
	struct str name, value;

	while (notify_header(&c, &name, &value)) {
		const struct header *h = header_of(r->policy, name);

		if (h)
			take_header(r, h, value);
	}
	return !c.bad;
}

/* ------------------------------------------------------------------ facts */

static struct str address(struct arena *a, const struct spop_value *v)
{
	char text[INET6_ADDRSTRLEN];
	int family = v->type == SPOP_IPV4 ? AF_INET : AF_INET6;

	if (v->type == SPOP_NULL || v->type == SPOP_STR)
		return arena_str(a, v->bytes);
	if (!inet_ntop(family, v->bytes.p, text, sizeof(text)))
		return STR_NONE;
	return arena_str(a, str_c(text));
}

static void read_form(struct request *r, struct str body)
{
	struct scan_result *scan = &r->facts.scan;
	struct form form;

	r->facts.is_form = true;
	switch (form_read(r->facts.content_type, body, &form)) {
	case FORM_OK:
		r->facts.scan_status = SCAN_OK;
		break;
	case FORM_PARTIAL:
		r->facts.scan_status = SCAN_PARTIAL;
		break;
	case FORM_BAD:
		r->facts.scan_status = SCAN_BAD;
		scan->error = form.error;
		break;
	}
	scan->model = arena_str(&r->arena, form.model);
	scan->has_model = form.model.len > 0;
}

static void read_body(struct request *r, const struct spop_value *v)
{
	struct scan_result *scan = &r->facts.scan;

	if (v->type != SPOP_NULL && form_is(r->facts.content_type)) {
		r->facts.has_body = true;
		read_form(r, v->bytes);
		return;
	}
	r->facts.has_body = v->type != SPOP_NULL;
	r->facts.scan_status = scan_body(v->bytes, &r->arena, scan);
	scan->model = arena_str(&r->arena, scan->model);
	scan->reasoning_effort = arena_str(&r->arena, scan->reasoning_effort);
	scan->previous_response_id =
		arena_str(&r->arena, scan->previous_response_id);
	scan->prompt_cache_key = arena_str(&r->arena, scan->prompt_cache_key);
	if (r->facts.scan_status != SCAN_BAD)
		refs_read(v->bytes, &r->arena, &r->facts.refs);
}

/* HAProxy may hold less of the body than was announced, and pass on less than
 * it holds, because a message must fit a frame. */
static void read_sizes(struct request_facts *f, const struct spop_value *values)
{
	size_t seen = values[ARG_BODY].bytes.len;

	f->body_len = (uint64_t)values[ARG_BODY_LEN].number;
	f->body_size = (uint64_t)values[ARG_BODY_SIZE].number;
	if (f->body_len < seen)
		f->body_len = seen;
	f->body_cut = seen < f->body_len || f->body_len < f->body_size;
}

/* Without a Content-Length nobody knows how much is to come: a long body that
 * is not complete JSON yet was cut by HAProxy's buffer. */
static bool is_cut_unannounced(const struct request_facts *f)
{
	return f->content_length.len == 0 && f->scan_status == SCAN_PARTIAL &&
	       f->body_len >= CUT_MIN;
}

static bool take_head(struct request *r, const struct spop_value *values)
{
	struct request_facts *f = &r->facts;
	struct str id = values[ARG_ID].bytes;

	if (id.len == 0 || id.len > ID_MAX)
		return false;
	f->id = arena_str(&r->arena, id);
	f->src = address(&r->arena, &values[ARG_SRC]);
	f->method = arena_str(&r->arena, values[ARG_METHOD].bytes);
	f->path = arena_str(&r->arena, values[ARG_PATH].bytes);
	f->query = arena_str(&r->arena, values[ARG_QUERY].bytes);
	return true;
}

/* The arguments of the one message of a frame. */
static bool read_message(const struct frame *f, struct spop_value *values)
{
	struct notify_message m;
	struct cursor c = notify_begin(f);

	if (!notify_message(&c, &m))
		return false;
	if (!str_eq(m.name, STR("admit")) && !str_eq(m.name, STR("admit_head")))
		return false;
	if (!read_args(&c, m.n_args, values) || !has_required(values))
		return false;
	/* one request, one message */
	return cursor_left(&c) == 0;
}

bool request_read_head(struct request *r, const struct frame *f)
{
	struct spop_value values[N_ARGS] = {0};

	return read_message(f, values) && take_head(r, values);
}

bool request_read(struct request *r, const struct frame *f)
{
	struct spop_value values[N_ARGS] = {0};
	struct request_facts *facts = &r->facts;

	if (!read_message(f, values) || !take_head(r, values) ||
	    !read_headers(r, values[ARG_HDRS].bytes))
		return false;
	read_sizes(facts, values);
	read_body(r, &values[ARG_BODY]);
	facts->body_cut = facts->body_cut || is_cut_unannounced(facts);
	return true;
}
