/*
 * faults: what goes wrong, and for which requests.
 */
#include "faults.h"

#include <stdlib.h>
#include <strings.h>

struct fault {
	struct fault *next;
	cJSON *wish; /* owns the texts below */
	const char *path_contains, *deployment, *host;
	int endpoint; /* -1: any but control */
	long times;   /* left; -1: always */
	struct effect effect;
};

struct faults {
	struct fault *list; /* in the order they were wished */
};

struct faults *faults_new(void)
{
	return xmalloc(sizeof(struct faults));
}

void faults_reset(struct faults *f)
{
	struct fault *i, *next;

	for (i = f->list; i != NULL; i = next) {
		next = i->next;
		cJSON_Delete(i->wish);
		free(i);
	}
	f->list = NULL;
}

void faults_free(struct faults *f)
{
	if (f == NULL)
		return;
	faults_reset(f);
	free(f);
}

void effect_none(struct effect *e)
{
	*e = (struct effect){
		.retry_after = -1,
		.cut_after_events = -1,
		.cut_after_bytes = -1,
		.fail_after_events = -1,
	};
}

static const char *get_text(const cJSON *o, const char *name)
{
	const cJSON *i = cJSON_GetObjectItemCaseSensitive(o, name);

	return cJSON_IsString(i) ? i->valuestring : NULL;
}

static long get_num(const cJSON *o, const char *name, long otherwise)
{
	const cJSON *i = cJSON_GetObjectItemCaseSensitive(o, name);

	return cJSON_IsNumber(i) ? (long)i->valuedouble : otherwise;
}

static bool get_bool(const cJSON *o, const char *name)
{
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, name));
}

/* A body given as JSON is written out here, so that it stays text. */
static const char *get_body(cJSON *o)
{
	cJSON *i = cJSON_GetObjectItemCaseSensitive(o, "body");
	char *text;
	cJSON *as_text;

	if (i == NULL || cJSON_IsString(i))
		return i ? i->valuestring : NULL;
	text = cJSON_PrintUnformatted(i);
	as_text = cJSON_CreateString(text);
	cJSON_free(text);
	cJSON_ReplaceItemInObjectCaseSensitive(o, "body", as_text);
	return as_text->valuestring;
}

static void effect_of(cJSON *w, struct effect *e)
{
	effect_none(e);
	e->status = get_num(w, "status", 0);
	e->retry_after = get_num(w, "retry_after", -1);
	e->body = get_body(w);
	e->headers = cJSON_GetObjectItemCaseSensitive(w, "headers");
	e->delay_ms = get_num(w, "delay_ms", 0);
	e->stall_ms = get_num(w, "stall_ms", 0);
	e->stall_after = get_num(w, "stall_after_events", 0);
	e->stall_forever = get_bool(w, "stall_forever");
	e->cut_after_events = get_num(w, "cut_after_events", -1);
	e->cut_after_bytes = get_num(w, "cut_after_bytes", -1);
	e->fail_after_events = get_num(w, "fail_after_events", -1);
	e->close = get_bool(w, "close");
	e->reset = get_bool(w, "reset");
	if (e->body != NULL && e->status == 0)
		e->status = 200;
}

/* A misspelt wish would be a test that tests nothing. */
static bool known_keys(const cJSON *o, const char *const *names,
                       const char **why)
{
	const cJSON *i;

	cJSON_ArrayForEach(i, o)
	{
		size_t n = 0;

		while (names[n] != NULL && strcmp(names[n], i->string) != 0)
			n++;
		if (names[n] == NULL) {
			*why = i->string;
			return false;
		}
	}
	return true;
}

static int endpoint_of(const char *name)
{
	for (int e = 0; name != NULL && e < ENDPOINTS; e++)
		if (strcmp(endpoint_names[e], name) == 0)
			return e;
	return -1;
}

bool faults_add(struct faults *f, cJSON *wish, const char **why)
{
	static const char *const keys[] = {
		"match",
		"times",
		"status",
		"retry_after",
		"body",
		"headers",
		"delay_ms",
		"stall_ms",
		"stall_after_events",
		"stall_forever",
		"cut_after_events",
		"cut_after_bytes",
		"fail_after_events",
		"close",
		"reset",
		NULL,
	};
	static const char *const match_keys[] = {"path_contains", "deployment",
	                                         "host", "endpoint", NULL};
	const cJSON *m = cJSON_GetObjectItemCaseSensitive(wish, "match");
	const char *endpoint = get_text(m, "endpoint");
	struct fault **tail = &f->list;
	struct fault *i;

	if (!known_keys(wish, keys, why) || !known_keys(m, match_keys, why))
		return false;
	*why = "match.endpoint";
	if (endpoint != NULL && endpoint_of(endpoint) < 0)
		return false;
	i = xmalloc(sizeof(*i));
	i->wish = wish;
	i->endpoint = endpoint_of(endpoint);
	i->path_contains = get_text(m, "path_contains");
	i->deployment = get_text(m, "deployment");
	i->host = get_text(m, "host");
	i->times = get_num(wish, "times", 1);
	effect_of(wish, &i->effect);
	while (*tail != NULL)
		tail = &(*tail)->next;
	*tail = i;
	return true;
}

/* Host names are equal whatever their case and port. */
static bool host_fits(const char *want, const char *host)
{
	size_t n = strlen(want);

	return host != NULL && strncasecmp(want, host, n) == 0 &&
	       (host[n] == '\0' || host[n] == ':');
}

static bool fits(const struct fault *f, const struct fault_subject *s)
{
	if (f->times == 0)
		return false;
	if (f->endpoint < 0 ? s->endpoint == AT_CONTROL
	                    : f->endpoint != (int)s->endpoint)
		return false;
	if (f->path_contains != NULL &&
	    memmem(s->path, s->path_len, f->path_contains,
	           strlen(f->path_contains)) == NULL)
		return false;
	if (f->deployment != NULL &&
	    (s->deployment == NULL ||
	     s->deployment_len != strlen(f->deployment) ||
	     memcmp(s->deployment, f->deployment, s->deployment_len) != 0))
		return false;
	return f->host == NULL || host_fits(f->host, s->host);
}

bool faults_find(struct faults *f, const struct fault_subject *s,
                 struct effect *out)
{
	struct fault *i;

	for (i = f->list; i != NULL; i = i->next) {
		if (!fits(i, s))
			continue;
		if (i->times > 0)
			i->times--;
		*out = i->effect;
		return true;
	}
	return false;
}
