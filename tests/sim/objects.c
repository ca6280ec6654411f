/*
 * objects: what has an id at a resource.
 */
#include "objects.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { OBJECTS_MAX = 20000 };

struct object {
	struct object *next;
	char *host, *id;
	struct sb json;
	struct sb waiting; /* answer to the first GET; empty: the same as `json`
	                    */
	struct sb bytes;   /* of a file */
};

static struct object *objects;
static int n_objects;

static const struct kind {
	const char *path, *prefix, *object;
	bool made; /* by POST to its path */
} kinds[] = {
	{"responses", "resp_", "response", false},
	{"files", "file-", "file", true},
	{"batches", "batch_", "batch", true},
	{"vector_stores", "vs_", "vector_store", true},
	{"conversations", "conv_", "conversation", true},
};

bool objects_flag(const struct exchange *x, const char *name)
{
	cJSON *j = cJSON_ParseWithLength(x->body.p, x->body.len);
	bool on = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(j, name));

	cJSON_Delete(j);
	return on;
}

static const char *host_of(struct exchange *x)
{
	const char *host = http_header(x, "host");

	return host ? host : "";
}

static struct object **find(struct exchange *x, const char *id, size_t len)
{
	struct object **o = &objects;

	for (; *o != NULL; o = &(*o)->next)
		if (strlen((*o)->id) == len && memcmp((*o)->id, id, len) == 0 &&
		    strcmp((*o)->host, host_of(x)) == 0)
			return o;
	return NULL;
}

static void drop(struct object **at)
{
	struct object *o = *at;

	*at = o->next;
	n_objects--;
	free(o->host);
	free(o->id);
	sb_free(&o->json);
	sb_free(&o->waiting);
	sb_free(&o->bytes);
	free(o);
}

static struct object *add(struct exchange *x, const char *id)
{
	struct object *o = xmalloc(sizeof(*o)), **last = &objects;

	memset(o, 0, sizeof(*o));
	o->host = xstrndup(host_of(x), strlen(host_of(x)));
	o->id = xstrndup(id, strlen(id));
	o->next = objects;
	objects = o;
	if (++n_objects > OBJECTS_MAX) {
		while ((*last)->next != NULL)
			last = &(*last)->next;
		drop(last);
	}
	return o;
}

void objects_keep(struct exchange *x, const char *id, struct sb *json,
                  struct sb *waiting)
{
	struct object *o = add(x, id);

	o->json = *json;
	*json = (struct sb){0};
	if (waiting == NULL)
		return;
	o->waiting = *waiting;
	*waiting = (struct sb){0};
}

/* ---- answers ---- */

static void answer_copy(struct exchange *x, const char *type,
                        const struct sb *text)
{
	struct sb out = {0};

	sb_add(&out, text->p ? text->p : "", text->len);
	http_answer(x, 200, type, &out);
}

static void answer_unknown(struct exchange *x, const char *id, size_t len)
{
	struct sb out = {0}, text = {0};

	sb_fmt(&text, "No object with id '%.*s' found.", (int)len, id);
	sb_lit(&out, "{\"error\":{\"message\":");
	sb_json(&out, text.p, text.len);
	sb_lit(&out, ",\"type\":\"invalid_request_error\",\"param\":\"id\","
	             "\"code\":null}}");
	sb_free(&text);
	http_answer(x, 404, "application/json", &out);
}

static void answer_list(struct exchange *x)
{
	struct sb out = {0};

	sb_lit(&out, "{\"object\":\"list\",\"data\":[],\"first_id\":null,"
	             "\"last_id\":null,\"has_more\":false}");
	http_answer(x, 200, "application/json", &out);
}

static void answer_deleted(struct exchange *x, const struct kind *k,
                           struct object **at)
{
	struct sb out = {0};

	sb_fmt(&out,
	       "{\"id\":\"%s\",\"object\":\"%s.deleted\",\"deleted\":true}",
	       (*at)->id, k->object);
	drop(at);
	http_answer(x, 200, "application/json", &out);
}

/* ---- making ---- */

static void new_id(const struct kind *k, char id[64])
{
	struct sb s = {0};

	sb_z(&s, k->prefix);
	sb_rnd_alnum(&s, 24);
	snprintf(id, 64, "%s", s.p);
	sb_free(&s);
}

static char *text_of(const struct exchange *x, const char *name)
{
	cJSON *j = cJSON_ParseWithLength(x->body.p, x->body.len);
	const cJSON *s = cJSON_GetObjectItemCaseSensitive(j, name);
	char *text = cJSON_IsString(s)
	                     ? xstrndup(s->valuestring, strlen(s->valuestring))
	                     : NULL;

	cJSON_Delete(j);
	return text;
}

void objects_digits(const struct exchange *x, char digits[64])
{
	static const char *const names[] = {"previous_response_id",
	                                    "conversation"};
	struct sb s = {0};

	for (size_t i = 0; i < 2 && s.len == 0; i++) {
		char *id = text_of(x, names[i]);
		const char *own = id ? strchr(id, '_') : NULL;

		if (own != NULL && strlen(own + 1) == 50)
			sb_add(&s, own + 1, 16);
		free(id);
	}
	if (s.len == 0) {
		sb_lit(&s, "0");
		sb_rnd_hex(&s, 15);
	}
	sb_fmt(&s, "00%08llx", (unsigned long long)time(NULL));
	sb_rnd_hex(&s, 24);
	snprintf(digits, 64, "%s", s.p);
	sb_free(&s);
}

/* A batch is ready when it is asked for the first time; its output is a file
 * that then exists. */
static bool make_batch(struct exchange *x, const char *id, struct sb *json,
                       struct sb *done)
{
	char *input = text_of(x, "input_file_id"), file[64];
	struct object *output;

	if (input == NULL || find(x, input, strlen(input)) == NULL) {
		answer_unknown(x, input ? input : "",
		               input ? strlen(input) : 0);
		free(input);
		return false;
	}
	new_id(&kinds[1], file);
	output = add(x, file);
	sb_fmt(&output->json,
	       "{\"object\":\"file\",\"id\":\"%s\",\"purpose\":\"batch_"
	       "output\","
	       "\"filename\":\"output.jsonl\",\"bytes\":3}",
	       file);
	sb_lit(&output->bytes, "{}\n");
	sb_fmt(json,
	       "{\"id\":\"%s\",\"object\":\"batch\",\"status\":\"validating\","
	       "\"input_file_id\":\"%s\",\"output_file_id\":null,"
	       "\"error_file_id\":null}",
	       id, input);
	sb_fmt(done,
	       "{\"id\":\"%s\",\"object\":\"batch\",\"status\":\"completed\","
	       "\"model\":\"gpt-4o\","
	       "\"input_file_id\":\"%s\",\"output_file_id\":\"%s\","
	       "\"error_file_id\":null,\"usage\":{\"input_tokens\":1500,"
	       "\"input_tokens_details\":{\"cached_tokens\":1024},"
	       "\"output_tokens\":500,\"output_tokens_details\":"
	       "{\"reasoning_tokens\":300},\"total_tokens\":2000}}",
	       id, input, file);
	free(input);
	return true;
}

static void make(struct exchange *x, const struct kind *k)
{
	struct sb json = {0}, done = {0};
	struct object *o;
	char id[80];

	new_id(k, id);
	if (strcmp(k->path, "conversations") == 0) {
		char digits[64];

		objects_digits(x, digits);
		snprintf(id, sizeof(id), "%s%s", k->prefix, digits);
	}
	if (strcmp(k->path, "batches") == 0) {
		if (!make_batch(x, id, &json, &done))
			return;
	} else {
		/* as Azure: `object` first */
		sb_fmt(&json,
		       "{\"object\":\"%s\",\"id\":\"%s\",\"created_at\":"
		       "1763800000,\"status\":\"%s\",\"bytes\":%zu,"
		       "\"metadata\":{}}",
		       k->object, id,
		       k->object[0] == 'f' ? "processed" : "completed",
		       x->body.len);
	}
	o = add(x, id);
	sb_add(&o->bytes, x->body.p ? x->body.p : "", x->body.len);
	answer_copy(x, "application/json", &json);
	if (done.len > 0) {
		o->json = done;
		sb_free(&json);
	} else {
		o->json = json;
	}
}

/* ---- using ---- */

/* Only responses can be read as a stream; the other APIs have no such
 * parameter. */
static bool is_streamed(const struct exchange *x, const struct kind *k)
{
	char *stream = http_query(x, "stream");
	bool asked = stream != NULL && strcmp(stream, "true") == 0;

	free(stream);
	return asked && strcmp(k->path, "responses") == 0;
}

static void answer_object(struct exchange *x, const struct kind *k,
                          struct object *o)
{
	struct sb out = {0};

	if (is_streamed(x, k)) {
		sb_lit(&out, "event: response.completed\ndata: {\"type\":"
		             "\"response.completed\",\"sequence_number\":0,"
		             "\"response\":");
		sb_add(&out, o->json.p, o->json.len);
		sb_lit(&out, "}\n\n");
		http_answer(x, 200, "text/event-stream", &out);
	} else if (o->waiting.len > 0) {
		answer_copy(x, "application/json", &o->waiting);
		sb_free(&o->waiting);
		o->waiting = (struct sb){0};
	} else {
		answer_copy(x, "application/json", &o->json);
	}
}

/* What is below an object: lists when read, else some object. */
static void answer_below(struct exchange *x, const struct kind *k,
                         struct object *o, const char *rest, size_t len)
{
	bool post = strcmp(x->method, "POST") == 0;
	struct sb out = {0};

	if (len == 7 && memcmp(rest, "content", 7) == 0)
		answer_copy(x, "application/octet-stream", &o->bytes);
	else if (len == 6 && memcmp(rest, "cancel", 6) == 0)
		answer_copy(x, "application/json", &o->json);
	else if (!post && memchr(rest, '/', len) == NULL)
		answer_list(x);
	else {
		sb_fmt(&out, "{\"object\":\"%s.", k->object);
		sb_add(&out, rest, len);
		sb_lit(&out, "\",\"id\":\"part_");
		sb_rnd_alnum(&out, 12);
		sb_lit(&out, "\",\"data\":[]}");
		http_answer(x, 200, "application/json", &out);
	}
}

static void use(struct exchange *x, const struct kind *k, const char *id,
                size_t len)
{
	const char *slash = memchr(id, '/', len);
	size_t id_len = slash ? (size_t)(slash - id) : len;
	struct object **o = find(x, id, id_len);

	if (o == NULL)
		answer_unknown(x, id, id_len);
	else if (slash != NULL)
		answer_below(x, k, *o, slash + 1, len - id_len - 1);
	else if (strcmp(x->method, "DELETE") == 0)
		answer_deleted(x, k, o);
	else
		answer_object(x, k, *o);
}

bool objects_answer(struct exchange *x, const char *path, size_t len)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		const struct kind *k = &kinds[i];
		size_t n = strlen(k->path);

		if (len < n || memcmp(path, k->path, n) != 0)
			continue;
		if (len > n + 1 && path[n] == '/') {
			use(x, k, path + n + 1, len - n - 1);
			return true;
		}
		if (len != n || (strcmp(x->method, "POST") == 0 && !k->made))
			continue;
		if (strcmp(x->method, "POST") == 0)
			make(x, k);
		else
			answer_list(x);
		return true;
	}
	return false;
}
