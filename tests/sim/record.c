/*
 * record: what the simulator received and served, for tests to read.
 */
#include "record.h"

#include <stdlib.h>

#include "ask.h"

struct record_entry {
	uint64_t seq;         /* 0: empty */
	char *json;           /* members that are known when the request came */
	struct sb deployment; /* any bytes; p is NULL when there is none */
	enum endpoint endpoint;
	unsigned status;
	long events;
	struct usage usage;
	struct exchange *open; /* NULL once it ended */
	bool gone, cut;
};

struct served {
	struct served *next;
	char *name;
	long requests, ok, prompt, completion, told;
};

struct record {
	bool on;
	uint64_t seq;
	struct record_entry ring[RECORD_MAX];
	long count[ENDPOINTS];
	long streams_open, ended, gone;
	long status[600];
	struct served *served;
};

struct record *record_new(void)
{
	struct record *r = xmalloc(sizeof(*r));

	r->on = true;
	return r;
}

static void entry_clear(struct record_entry *e)
{
	if (e->open != NULL)
		e->open->record = NULL;
	free(e->json);
	sb_free(&e->deployment);
	*e = (struct record_entry){0};
}

void record_reset(struct record *r)
{
	struct served *s, *next;
	long open = r->streams_open;

	for (int i = 0; i < RECORD_MAX; i++)
		entry_clear(&r->ring[i]);
	for (s = r->served; s != NULL; s = next) {
		next = s->next;
		free(s->name);
		free(s);
	}
	*r = (struct record){.on = true, .streams_open = open};
}

void record_free(struct record *r)
{
	if (r == NULL)
		return;
	record_reset(r);
	free(r);
}

void record_switch(struct record *r, bool on)
{
	r->on = on;
}

static enum MHD_Result one_header(void *cls, enum MHD_ValueKind kind,
                                  const char *name, const char *value)
{
	struct sb *s = cls;

	(void)kind;
	sb_z(s, s->p[s->len - 1] == '[' ? "[" : ",[");
	sb_json(s, name, strlen(name));
	sb_lit(s, ",");
	sb_json(s, value ? value : "", value ? strlen(value) : 0);
	sb_lit(s, "]");
	return MHD_YES;
}

static void describe(struct exchange *x, struct sb *s)
{
	size_t kept = x->body.len;

	if (kept > RECORD_BODY_MAX)
		kept = RECORD_BODY_MAX;
	sb_fmt(s,
	       "\"endpoint\":\"%s\",\"method\":", endpoint_names[x->endpoint]);
	sb_json(s, x->method, strlen(x->method));
	sb_lit(s, ",\"path\":");
	sb_json(s, x->uri, x->path_len);
	sb_lit(s, ",\"query\":");
	sb_json(s, x->query, strlen(x->query));
	sb_fmt(s, ",\"version\":\"%s\",\"headers\":[", x->version);
	MHD_get_connection_values(x->con, MHD_HEADER_KIND, one_header, s);
	sb_fmt(s, "],\"body_size\":%zu,\"body_sha256\":\"", x->body.len);
	sb_sha256_hex(s, x->body.p, x->body.len);
	sb_lit(s, "\",\"body\":");
	sb_json(s, x->body.p, kept);
}

static struct served *served_of(struct record *r, const char *name, size_t len)
{
	struct served *s;

	for (s = r->served; s != NULL; s = s->next)
		if (strlen(s->name) == len && memcmp(s->name, name, len) == 0)
			return s;
	s = xmalloc(sizeof(*s));
	s->name = xstrndup(name, len);
	s->next = r->served;
	r->served = s;
	return s;
}

void record_request(struct record *r, struct exchange *x)
{
	struct record_entry *e;
	struct sb s = {0};

	r->count[x->endpoint]++;
	if (!r->on || x->endpoint == AT_CONTROL)
		return;
	e = &r->ring[r->seq % RECORD_MAX];
	entry_clear(e);
	describe(x, &s);
	e->seq = ++r->seq;
	e->json = s.p;
	e->endpoint = x->endpoint;
	e->open = x;
	if (x->ask != NULL)
		sb_add(&e->deployment, x->ask->deployment.p,
		       x->ask->deployment.len);
	x->record = e;
}

void record_stream(struct record *r, struct exchange *x)
{
	x->streaming = true;
	r->streams_open++;
}

void record_ended(struct record *r, struct exchange *x)
{
	struct record_entry *e = x->record;

	r->streams_open -= x->streaming;
	if (x->status < 600)
		r->status[x->status] += x->endpoint == AT_DATA;
	if (x->endpoint == AT_DATA) {
		r->ended++;
		r->gone += x->gone;
	}
	if (x->ask != NULL) {
		struct served *s = served_of(r, x->ask->deployment.p,
		                             x->ask->deployment.len);

		s->requests++;
		s->ok += x->status == 200;
		s->prompt += x->usage.prompt;
		s->completion += x->usage.completion;
		if (x->usage.told && !x->gone)
			s->told += x->usage.prompt + x->usage.completion;
	}
	if (e == NULL)
		return;
	e->status = x->status;
	e->events = x->stream.n_events;
	e->usage = x->usage;
	e->gone = x->gone;
	e->cut = x->cut;
	e->open = NULL;
}

static void one_request(const struct record_entry *e, struct sb *out)
{
	const struct exchange *x = e->open;
	const struct usage *u = x ? &x->usage : &e->usage;

	sb_fmt(out, "{\"seq\":%llu,%s", (unsigned long long)e->seq, e->json);
	if (e->deployment.p != NULL) {
		sb_lit(out, ",\"deployment\":");
		sb_json(out, e->deployment.p, e->deployment.len);
	}
	sb_fmt(out,
	       ",\"status\":%u,\"ended\":%s,\"gone\":%s,\"cut\":%s,"
	       "\"events\":%ld,\"usage\":{\"prompt_tokens\":%ld,"
	       "\"completion_tokens\":%ld,\"told\":%s}}",
	       x ? x->status : e->status, x ? "false" : "true",
	       e->gone ? "true" : "false", e->cut ? "true" : "false",
	       x ? x->stream.n_events : e->events, u->prompt, u->completion,
	       u->told ? "true" : "false");
}

void record_requests(const struct record *r, uint64_t since, struct sb *out)
{
	uint64_t seq = r->seq > RECORD_MAX ? r->seq - RECORD_MAX : 0;
	const char *comma = "";

	if (seq < since)
		seq = since;
	sb_lit(out, "[");
	for (; seq < r->seq; seq++) {
		sb_z(out, comma);
		one_request(&r->ring[seq % RECORD_MAX], out);
		comma = ",\n";
	}
	sb_lit(out, "]\n");
}

void record_stats(const struct record *r, struct sb *out)
{
	const struct served *s;
	const char *comma = "";

	sb_fmt(out,
	       "{\"requests\":%ld,\"ended\":%ld,\"gone\":%ld,"
	       "\"streams_open\":%ld,\"last_seq\":%llu,\"endpoints\":{",
	       r->count[AT_DATA], r->ended, r->gone, r->streams_open,
	       (unsigned long long)r->seq);
	for (int i = AT_METADATA; i < ENDPOINTS; i++) {
		sb_fmt(out, "%s\"%s\":%ld", comma, endpoint_names[i],
		       r->count[i]);
		comma = ",";
	}
	sb_lit(out, "},\"status\":{");
	comma = "";
	for (int i = 0; i < 600; i++) {
		if (r->status[i] == 0)
			continue;
		sb_fmt(out, "%s\"%d\":%ld", comma, i, r->status[i]);
		comma = ",";
	}
	sb_lit(out, "},\"deployments\":{");
	comma = "";
	for (s = r->served; s != NULL; s = s->next) {
		sb_z(out, comma);
		sb_json(out, s->name, strlen(s->name));
		sb_fmt(out,
		       ":{\"requests\":%ld,\"ok\":%ld,\"prompt_tokens\":%ld,"
		       "\"completion_tokens\":%ld,\"total_tokens\":%ld,"
		       "\"told_tokens\":%ld}",
		       s->requests, s->ok, s->prompt, s->completion,
		       s->prompt + s->completion, s->told);
		comma = ",";
	}
	sb_lit(out, "}}\n");
}

long record_counter(const struct record *r, const char *name)
{
	if (strcmp(name, "requests") == 0)
		return r->count[AT_DATA];
	if (strcmp(name, "ended") == 0)
		return r->ended;
	if (strcmp(name, "gone") == 0)
		return r->gone;
	if (strcmp(name, "streams_open") == 0)
		return r->streams_open;
	for (int i = AT_METADATA; i < ENDPOINTS; i++)
		if (strcmp(name, endpoint_names[i]) == 0)
			return r->count[i];
	return -1;
}
