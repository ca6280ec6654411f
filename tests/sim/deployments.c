/*
 * deployments: which names exist, what they serve, and their limits.
 */
#include "deployments.h"

#include <math.h>
#include <stdlib.h>
#include <strings.h>

struct deployment {
	struct deployment *next;
	char *name, *host, *model; /* host and model may be NULL */
	long tpm, rpm;             /* 0: no limit */
	bool ptu;
	double window; /* s */
	double began, drained_at;
	double used_tokens, used_requests;
};

struct deployments {
	struct deployment *list;
	bool others_missing; /* names that are not described do not exist */
};

struct deployments *deployments_new(void)
{
	return xmalloc(sizeof(struct deployments));
}

static void list_free(struct deployment *i)
{
	struct deployment *next;

	for (; i != NULL; i = next) {
		next = i->next;
		free(i->name);
		free(i->host);
		free(i->model);
		free(i);
	}
}

void deployments_reset(struct deployments *d)
{
	list_free(d->list);
	*d = (struct deployments){0};
}

void deployments_free(struct deployments *d)
{
	if (d == NULL)
		return;
	list_free(d->list);
	free(d);
}

static char *get_text(const cJSON *o, const char *name)
{
	const cJSON *i = cJSON_GetObjectItemCaseSensitive(o, name);

	return cJSON_IsString(i)
	               ? xstrndup(i->valuestring, strlen(i->valuestring))
	               : NULL;
}

static double get_num(const cJSON *o, const char *name, double otherwise)
{
	const cJSON *i = cJSON_GetObjectItemCaseSensitive(o, name);

	return cJSON_IsNumber(i) ? i->valuedouble : otherwise;
}

static struct deployment *deployment_of(const cJSON *w)
{
	struct deployment *i = xmalloc(sizeof(*i));

	i->name = get_text(w, "name");
	i->host = get_text(w, "host");
	i->model = get_text(w, "model");
	i->tpm = (long)get_num(w, "tpm", 0);
	i->rpm = (long)get_num(w, "rpm", 0);
	i->ptu = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(w, "ptu"));
	i->window = get_num(w, "window_ms", 60000) / 1e3;
	return i;
}

bool deployments_set(struct deployments *d, const cJSON *wish, const char **why)
{
	const cJSON *list =
		cJSON_GetObjectItemCaseSensitive(wish, "deployments");
	const cJSON *others = cJSON_GetObjectItemCaseSensitive(wish, "others");
	struct deployment *made = NULL, **tail = &made;
	const cJSON *w;

	*why = "others";
	if (others != NULL && (!cJSON_IsString(others) ||
	                       (strcmp(others->valuestring, "accept") != 0 &&
	                        strcmp(others->valuestring, "missing") != 0)))
		return false;
	*why = "deployments";
	if (list != NULL && !cJSON_IsArray(list))
		return false;
	cJSON_ArrayForEach(w, list)
	{
		*tail = deployment_of(w);
		if ((*tail)->name == NULL) {
			*why = "deployments[].name";
			list_free(made);
			return false;
		}
		tail = &(*tail)->next;
	}
	list_free(d->list);
	d->list = made;
	d->others_missing =
		others != NULL && strcmp(others->valuestring, "missing") == 0;
	return true;
}

static bool host_fits(const char *want, const char *host)
{
	size_t n;

	if (want == NULL)
		return true;
	n = strlen(want);
	return host != NULL && strncasecmp(want, host, n) == 0 &&
	       (host[n] == '\0' || host[n] == ':');
}

static struct deployment *find(const struct deployments *d, const char *host,
                               const char *name, size_t len)
{
	struct deployment *i;

	for (i = d->list; i != NULL; i = i->next)
		if (strlen(i->name) == len && memcmp(i->name, name, len) == 0 &&
		    host_fits(i->host, host))
			return i;
	return NULL;
}

bool deployments_find(const struct deployments *d, const char *host,
                      const char *name, size_t len, const char **model)
{
	const struct deployment *i = find(d, host, name, len);

	*model = i ? i->model : NULL;
	if (i != NULL)
		return true;
	/* a NUL inside a name is a name that nobody has */
	if (d->others_missing || len == 0 || memchr(name, '\0', len) != NULL)
		return false;
	return len < 7 || memcmp(name, "missing", 7) != 0;
}

static void charge_ptu(struct deployment *i, long tokens, double now,
                       struct quota *q)
{
	double cap = (double)i->tpm;
	double drained = (now - i->drained_at) * cap / i->window;

	i->drained_at = now;
	i->used_tokens -= drained < i->used_tokens ? drained : i->used_tokens;
	q->refused = i->used_tokens > cap;
	if (q->refused)
		q->retry_ms =
			(long)((i->used_tokens - cap) / cap * i->window * 1e3) +
			1;
	else
		i->used_tokens += (double)tokens;
	q->utilization = i->used_tokens / cap * 100;
}

/* Azure's header names say "remaining" of a window, and reset 0 as long as
 * nothing of it is exhausted. */
static void charge_window(struct deployment *i, long tokens, double now,
                          struct quota *q)
{
	double left;

	if (now - i->began >= i->window) {
		i->began = now;
		i->used_tokens = i->used_requests = 0;
	}
	left = i->began + i->window - now;
	q->alone_too_big = i->tpm > 0 && tokens > i->tpm;
	q->refused = (i->tpm > 0 &&
	              i->used_tokens + (double)tokens > (double)i->tpm) ||
	             (i->rpm > 0 && i->used_requests >= (double)i->rpm);
	if (!q->refused) {
		i->used_tokens += (double)tokens;
		i->used_requests++;
	}
	q->retry_ms = q->refused ? (long)ceil(left * 1e3) : 0;
	if (i->tpm > 0) {
		q->limit_tokens = i->tpm;
		q->remaining_tokens = i->tpm - (long)i->used_tokens;
	}
	if (i->rpm > 0) {
		q->limit_requests = i->rpm;
		q->remaining_requests = i->rpm - (long)i->used_requests;
	}
	q->reset_tokens = q->remaining_tokens <= 0 ? (long)ceil(left) : 0;
	q->reset_requests = q->remaining_requests <= 0 ? (long)ceil(left) : 0;
}

void deployments_charge(struct deployments *d, const char *host,
                        const char *name, size_t len, long tokens, double now,
                        struct quota *out)
{
	struct deployment *i = find(d, host, name, len);

	*out = (struct quota){
		.known = i != NULL,
		.limit_requests = 10000,
		.remaining_requests = 9999,
		.limit_tokens = 10000000,
		.remaining_tokens = 9999000,
	};
	if (i == NULL)
		return;
	out->ptu = i->ptu;
	if (i->ptu && i->tpm > 0)
		charge_ptu(i, tokens, now, out);
	else
		charge_window(i, tokens, now, out);
}

void deployments_each(const struct deployments *d,
                      void (*each)(void *ctx, const char *name,
                                   const char *model),
                      void *ctx)
{
	const struct deployment *i;

	for (i = d->list; i != NULL; i = i->next)
		each(ctx, i->name, i->model);
}
