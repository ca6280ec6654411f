/*
 * request: what HAProxy says of one request, into struct request_facts.
 *
 *   NOTIFY --req_read_message--> values[]        views into the frame
 *     id src method path query --req_copy_head----> facts
 *     hdrs ----------------------req_read_headers-> facts, by req_headers[]
 *     body_len body_size --------req_read_sizes---> facts
 *     body ----------------------req_read_body----> facts.scan, facts.refs
 *
 * The body is scanned while the frame is still there. Of a body that may have
 * 256 kB only the texts that the steps need are copied.
 *
 * The bytes come from HAProxy, but most of them are the client's: nothing is
 * believed here, and what is too long is cut or left out (struct header).
 */
#include "request/request.h"

#include "keys/jose.h"
#include "api/form.h"
#include "spop/notify.h"
#include "store/check.h"

#include <arpa/inet.h>

/* Bytes. */
enum {
	KEY_MAX = 1024, /* a gateway key; those of Azure have 32 to 88 */
	AUTHORIZATION_MAX = JOSE_TOKEN_MAX + 16, /* "Bearer " and a token */
	LABEL_MAX = 256, /* a header that is compared or logged */
	/* A body of unknown length that is shorter was not cut by HAProxy: its
	 * smallest useful buffer (64 kB, haproxy.md 0.11) holds more than twice
	 * as much beside tune.maxrewrite and the longest headers. */
	CUT_MIN = 8192,
};

/* ------------------------------------------------------------- arguments */

enum {
	ARG_ID = 0,
	ARG_NONCE,
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

/* The arguments of the messages `admit` and `admit_head` (spoe-gateway.conf).
 * HAProxy sends NULL for a sample that it could not fetch. That happens for
 * all but the required ones: there is no path in "OPTIONS *" and no src behind
 * a unix socket. `admit_head` has no body. */
static const struct {
	struct str name;
	unsigned types; /* bits of enum spop_type, besides SPOP_NULL */
	bool required;
} req_args[N_ARGS] = {
	[ARG_ID] = {STR_INIT("id"), TEXT, true},
	[ARG_NONCE] = {STR_INIT("nonce"), TEXT, false},
	[ARG_SRC] = {STR_INIT("src"), ADDRESS, false},
	[ARG_METHOD] = {STR_INIT("method"), TEXT, true},
	[ARG_PATH] = {STR_INIT("path"), TEXT, false},
	[ARG_QUERY] = {STR_INIT("query"), TEXT, false},
	[ARG_HDRS] = {STR_INIT("hdrs"), BYTES, true},
	[ARG_BODY] = {STR_INIT("body"), BYTES, false},
	[ARG_BODY_LEN] = {STR_INIT("body_len"), NUMBER, false},
	[ARG_BODY_SIZE] = {STR_INIT("body_size"), NUMBER, false},
};

static size_t req_arg_index(struct str name)
{
	size_t i = 0;

	while (i < N_ARGS && !str_eq(req_args[i].name, name))
		i++;
	return i;
}

/* All arguments of one message. Unknown ones are ignored, so that the
 * configuration of HAProxy may be newer than the agent. False on a type that
 * the argument cannot have, a negative number, or a name used twice: then the
 * two programs do not mean the same by the message. */
static bool req_read_args(struct cursor *c, unsigned n,
                          struct spop_value *values)
{
	for (; n > 0; n--) {
		struct notify_arg arg;
		size_t i;

		if (!notify_arg(c, &arg))
			return false;
		i = req_arg_index(arg.name);
		if (i == N_ARGS || arg.value.type == SPOP_NULL)
			continue;
		if (!(req_args[i].types >> arg.value.type & 1) ||
		    arg.value.number < 0 || values[i].type != SPOP_NULL)
			return false;
		values[i] = arg.value;
	}
	return true;
}

static bool req_has_required(const struct spop_value *values)
{
	for (size_t i = 0; i < N_ARGS; i++)
		if (req_args[i].required && values[i].type == SPOP_NULL)
			return false;
	return true;
}

/* --------------------------------------------------------------- headers */

enum { NOT_COUNTED = 0 };

/* A header that is read. A counted one is a credential, or says how the body is
 * to be read: only its first value is kept, and nothing of one that is too
 * long, so that the steps see a count without a value and refuse. A cut one
 * would be checked as if the client had sent that. The others are compared and
 * logged only: of the first value that is not empty the first `max` bytes are
 * kept. */
struct header {
	struct str name;
	size_t value_at; /* in struct request_facts */
	size_t count_at; /* likewise; or NOT_COUNTED */
	size_t max;      /* bytes of the value */
};

#define FACT(member) offsetof(struct request_facts, member)

static const struct header req_headers[] = {
	{STR_INIT("authorization"), FACT(authorization), FACT(n_authorization),
         AUTHORIZATION_MAX},
	{STR_INIT("api-key"), FACT(api_key), FACT(n_api_key), KEY_MAX},
	{STR_INIT("x-api-key"), FACT(x_api_key), FACT(n_x_api_key), KEY_MAX},
	{STR_INIT("content-type"), FACT(content_type), FACT(n_content_type),
         LABEL_MAX},
	{STR_INIT("content-encoding"), FACT(content_encoding),
         FACT(n_content_encoding), LABEL_MAX},
	{STR_INIT("content-length"), FACT(content_length),
         FACT(n_content_length), LABEL_MAX},
	{STR_INIT("transfer-encoding"), FACT(transfer_encoding),
         FACT(n_transfer_encoding), LABEL_MAX},
	{STR_INIT("x-ms-foundry-agent-id"), FACT(foundry_agent), NOT_COUNTED,
         LABEL_MAX},
	{STR_INIT("x-ms-foundry-project-id"), FACT(foundry_project),
         NOT_COUNTED, LABEL_MAX},
	{STR_INIT("openai-project"), FACT(openai_project), NOT_COUNTED,
         LABEL_MAX},
};

/* The header whose name is key_header of the policy. */
static const struct header req_custom_key = {STR_INIT(""), FACT(custom_key),
                                             FACT(n_custom_key), KEY_MAX};

static const struct header *req_header_of(const struct policy *p,
                                          struct str name)
{
	for (size_t i = 0; i < sizeof(req_headers) / sizeof(req_headers[0]);
	     i++)
		if (str_eq_nocase(req_headers[i].name, name))
			return &req_headers[i];
	if (p->key_header.len > 0 && str_eq_nocase(p->key_header, name))
		return &req_custom_key;
	return NULL;
}

static void req_keep_header(struct request *r, const struct header *h,
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

static bool req_read_headers(struct request *r, struct str hdrs)
{
	struct cursor c = cursor_of(hdrs);
	struct str name, value;

	while (notify_header(&c, &name, &value)) {
		const struct header *h = req_header_of(r->policy, name);

		if (h)
			req_keep_header(r, h, value);
	}
	return !c.bad;
}

/* ------------------------------------------------------------------ facts */

/* An IP address comes in binary form (SPOE.txt 3.1); text stays as it is. */
static struct str req_address_text(struct arena *a, const struct spop_value *v)
{
	char text[INET6_ADDRSTRLEN];
	int family = v->type == SPOP_IPV4 ? AF_INET : AF_INET6;

	if (v->type == SPOP_NULL || v->type == SPOP_STR)
		return arena_str(a, v->bytes);
	if (!inet_ntop(family, v->bytes.p, text, sizeof(text)))
		return STR_NONE;
	return arena_str(a, str_c(text));
}

/* What a form says is put where that of a JSON body is, so that the steps read
 * `model` from one place. */
static void req_read_form(struct request *r, struct str body)
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

static void req_read_body(struct request *r, const struct spop_value *v)
{
	struct scan_result *scan = &r->facts.scan;

	if (v->type != SPOP_NULL && form_is(r->facts.content_type)) {
		r->facts.has_body = true;
		req_read_form(r, v->bytes);
		return;
	}
	/* without a body this is the scan of an empty one: SCAN_PARTIAL */
	r->facts.has_body = v->type != SPOP_NULL;
	r->facts.scan_status =
		scan_body_refs(v->bytes, &r->arena, scan, &r->facts.refs);
	/* these may be views into the frame */
	scan->model = arena_str(&r->arena, scan->model);
	scan->reasoning_effort = arena_str(&r->arena, scan->reasoning_effort);
	scan->previous_response_id =
		arena_str(&r->arena, scan->previous_response_id);
	scan->prompt_cache_key = arena_str(&r->arena, scan->prompt_cache_key);
}

/* HAProxy may hold less of the body than was announced (its buffer is full),
 * and send less than it holds (GATEWAY_BODY_MAX, because a message must fit a
 * frame):  bytes sent <= body_len <= body_size  when the length is known. */
static void req_read_sizes(struct request_facts *f,
                           const struct spop_value *values)
{
	size_t seen = values[ARG_BODY].bytes.len;

	f->body_len = (uint64_t)values[ARG_BODY_LEN].number;
	f->body_size = (uint64_t)values[ARG_BODY_SIZE].number;
	if (f->body_len < seen)
		f->body_len = seen;
	f->body_cut = seen < f->body_len || f->body_len < f->body_size;
}

/* Without a Content-Length HAProxy announces what it holds, which looks like a
 * whole body. A long one whose JSON is not complete was cut by the buffer; a
 * short one is just not valid. */
static bool req_is_cut_unannounced(const struct request_facts *f)
{
	return f->content_length.len == 0 && f->scan_status == SCAN_PARTIAL &&
	       f->body_len >= CUT_MIN;
}

static bool req_copy_head(struct request *r, const struct spop_value *values)
{
	struct request_facts *f = &r->facts;
	struct str id = values[ARG_ID].bytes;

	/* unique-id-format of haproxy.cfg makes a UUID; with another id every
	 * reservation would fail as if the store were away */
	if (!check_id(id))
		return false;
	f->id = arena_str(&r->arena, id);
	f->nonce = arena_str(&r->arena, values[ARG_NONCE].bytes);
	f->src = req_address_text(&r->arena, &values[ARG_SRC]);
	f->method = arena_str(&r->arena, values[ARG_METHOD].bytes);
	f->path = arena_str(&r->arena, values[ARG_PATH].bytes);
	f->query = arena_str(&r->arena, values[ARG_QUERY].bytes);
	return true;
}

/* The arguments of the one message of a frame, as views into it. A second
 * message is an error: each one of spoe-gateway.conf is alone in its group. */
static bool req_read_message(const struct frame *f, struct spop_value *values)
{
	struct notify_message m;
	struct cursor c = notify_begin(f);

	if (!notify_message(&c, &m))
		return false;
	if (!str_eq(m.name, STR("admit")) && !str_eq(m.name, STR("admit_head")))
		return false;
	if (!req_read_args(&c, m.n_args, values) || !req_has_required(values))
		return false;
	return cursor_left(&c) == 0;
}

bool request_read_head(struct request *r, const struct frame *f)
{
	struct spop_value values[N_ARGS] = {0};

	return req_read_message(f, values) && req_copy_head(r, values);
}

bool request_read(struct request *r, const struct frame *f)
{
	struct spop_value values[N_ARGS] = {0};
	struct request_facts *facts = &r->facts;

	if (!req_read_message(f, values) || !req_copy_head(r, values) ||
	    !req_read_headers(r, values[ARG_HDRS].bytes))
		return false;
	req_read_sizes(facts, values);
	req_read_body(r, &values[ARG_BODY]);
	facts->body_cut = facts->body_cut || req_is_cut_unannounced(facts);
	return true;
}
