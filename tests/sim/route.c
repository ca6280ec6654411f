/*
 * route: which part answers a request; faults and records on the way.
 */
#include "route.h"

#include "ask.h"
#include "control.h"
#include "data.h"
#include "identity.h"
#include "record.h"

const char *const endpoint_names[ENDPOINTS] = {
	"control", "metadata",   "jwks", "token",
	"imds",    "appservice", "data", "nowhere",
};

static enum endpoint endpoint_of(const struct exchange *x)
{
	enum endpoint e;

	if (control_owns(x))
		return AT_CONTROL;
	if (data_owns(x))
		return AT_DATA;
	e = identity_owns(x);
	return e != AT_NOWHERE ? e : entra_owns(x);
}

static void find_fault(struct exchange *x)
{
	struct fault_subject s = {
		.endpoint = x->endpoint,
		.path = x->uri,
		.path_len = x->path_len,
		.host = http_header(x, "host"),
	};

	if (x->ask != NULL) {
		s.deployment = x->ask->deployment.p;
		s.deployment_len = x->ask->deployment.len;
	}
	faults_find(x->sim->faults, &s, &x->effect);
}

/* A fault's answer of any endpoint but the data plane, which has its own. */
static void answer_fault(struct exchange *x)
{
	const struct effect *e = &x->effect;
	struct sb out = {0};

	if (e->retry_after >= 0)
		http_set_num(x, "Retry-After", e->retry_after);
	if (e->body != NULL)
		sb_z(&out, e->body);
	else
		sb_fmt(&out,
		       "{\"error\":\"simulated\",\"error_description\":"
		       "\"Simulated error %ld\"}",
		       e->status);
	http_answer(x, (unsigned)e->status, "application/json", &out);
}

static void answer_nowhere(struct exchange *x)
{
	struct sb out = {0};

	sb_lit(&out, "{\"error\":{\"code\":\"404\",\"message\":\"Resource not "
	             "found\"}}");
	http_answer(x, 404, "application/json", &out);
}

static void answer(struct exchange *x)
{
	switch (x->endpoint) {
	case AT_CONTROL:
		control_answer(x);
		break;
	case AT_DATA:
		data_answer(x);
		break;
	case AT_IMDS:
	case AT_APPSERVICE:
		identity_answer(x);
		break;
	case AT_METADATA:
	case AT_JWKS:
	case AT_TOKEN:
		entra_answer(x);
		break;
	case AT_NOWHERE:
	case ENDPOINTS:
		answer_nowhere(x);
		break;
	}
}

void route_request(struct exchange *x)
{
	x->endpoint = endpoint_of(x);
	if (x->endpoint == AT_DATA)
		data_read(x);
	if (x->endpoint != AT_CONTROL)
		find_fault(x);
	record_request(x->sim->record, x);
	if (x->effect.close)
		x->delay = (double)x->effect.delay_ms / 1e3;
	else if (x->effect.status != 0 && x->endpoint != AT_DATA)
		answer_fault(x);
	else
		answer(x);
	if (x->stream.next != NULL)
		record_stream(x->sim->record, x);
	if (x->endpoint != AT_CONTROL)
		control_changed(x->sim);
}

void route_ended(struct exchange *x)
{
	if (x->endpoint == AT_CONTROL) {
		control_ended(x);
		return;
	}
	record_ended(x->sim->record, x);
	data_ended(x);
	control_changed(x->sim);
}
