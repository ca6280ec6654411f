/*
 * wait: answers that come when counters have reached what a test waits for.
 */
#include "wait.h"

#include <stdlib.h>

#include "record.h"

enum { CONDITIONS_MAX = 8 };

struct wait {
	struct wait *next, *prev;
	struct exchange *x;
	struct {
		char name[24];
		long n;
		bool exact;
	} cond[CONDITIONS_MAX];
	int n_cond;
	bool answered;
};

struct waits {
	struct wait *list;
};

struct waits *waits_new(void)
{
	return xmalloc(sizeof(struct waits));
}

void waits_free(struct waits *w)
{
	free(w);
}

static bool fulfilled(const struct wait *w, const struct record *r)
{
	for (int i = 0; i < w->n_cond; i++) {
		long have = record_counter(r, w->cond[i].name);

		if (w->cond[i].exact ? have != w->cond[i].n
		                     : have < w->cond[i].n)
			return false;
	}
	return true;
}

static bool add_condition(struct wait *w, const struct record *r,
                          const char *name, size_t len, const char *value)
{
	char key[24];

	if (len >= sizeof(key) || w->n_cond == CONDITIONS_MAX)
		return false;
	memcpy(key, name, len);
	key[len] = '\0';
	if (strcmp(key, "timeout_ms") == 0)
		return true;
	if (record_counter(r, key) < 0 || num_or(value, -1) < 0)
		return false;
	memcpy(w->cond[w->n_cond].name, key, sizeof(key));
	w->cond[w->n_cond].n = num_or(value, 0);
	/* the one counter that goes down again */
	w->cond[w->n_cond].exact = strcmp(key, "streams_open") == 0;
	w->n_cond++;
	return true;
}

static bool read_conditions(struct wait *w, const struct exchange *x)
{
	const char *p = x->query;

	while (*p != '\0') {
		size_t n = strcspn(p, "&");
		const char *eq = memchr(p, '=', n);
		char *value;
		bool ok;

		if (eq == NULL)
			return false;
		value = xstrndup(eq + 1, n - (size_t)(eq + 1 - p));
		ok = add_condition(w, x->sim->record, p, (size_t)(eq - p),
		                   value);
		free(value);
		if (!ok)
			return false;
		p += n + (p[n] == '&');
	}
	return w->n_cond > 0;
}

static void answer(struct wait *w, unsigned status)
{
	struct sb out = {0};

	w->answered = true;
	record_stats(w->x->sim->record, &out);
	http_answer(w->x, status, "application/json", &out);
	http_wake(w->x);
}

static void late_cb(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct exchange *x = t->data;

	(void)loop;
	(void)revents;
	answer(x->wait, 408);
}

bool wait_start(struct exchange *x)
{
	struct wait *w = xmalloc(sizeof(*w));
	struct waits *all = x->sim->waits;
	char *ms = http_query(x, "timeout_ms");
	double timeout = (double)num_or(ms, 10000) / 1e3;

	free(ms);
	w->x = x;
	if (!read_conditions(w, x)) {
		free(w);
		return false;
	}
	x->wait = w;
	w->next = all->list;
	if (all->list != NULL)
		all->list->prev = w;
	all->list = w;
	if (fulfilled(w, x->sim->record))
		answer(w, 200);
	else
		http_park(x, timeout, late_cb);
	return true;
}

void wait_changed(struct waits *all, const struct record *r)
{
	struct wait *w;

	for (w = all->list; w != NULL; w = w->next)
		if (!w->answered && fulfilled(w, r))
			answer(w, 200);
}

void wait_ended(struct exchange *x)
{
	struct wait *w = x->wait;

	if (w == NULL)
		return;
	if (w->prev != NULL)
		w->prev->next = w->next;
	else
		x->sim->waits->list = w->next;
	if (w->next != NULL)
		w->next->prev = w->prev;
	free(w);
	x->wait = NULL;
}
