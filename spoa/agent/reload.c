/* agent/reload: SIGHUP, the configuration is read again. */
#include "agent/reload.h"

#include "agent/agent.h"
#include "base/log.h"
#include "conf/load.h"
#include "keys/inbound.h"

enum { RELOAD_ERRORS_MAX = 65536 }; /* text of a bad config */

static void rld_count(struct agent *a, const char *labels)
{
	metric_add(
		metrics_get(a->metrics, "foundry_reloads_total", str_c(labels)),
		1);
}

static bool rld_same_texts(const struct strs *a, const struct strs *b)
{
	size_t i;

	for (i = 0; a->n == b->n && i < a->n; i++)
		if (!str_eq(a->v[i], b->v[i]))
			return false;
	return a->n == b->n;
}

static void rld_warn_of_restart(const struct policy *old,
                                const struct policy *new)
{
	if (!rld_same_texts(&old->listen.spop, &new->listen.spop) ||
	    !str_eq(old->listen.usage, new->listen.usage) ||
	    !str_eq(old->listen.http, new->listen.http) ||
	    old->workers != new->workers)
		log_warn("agent", "msg=\"listen and workers change only at a "
		                  "restart; everything else is in force\"");
}

static void rld_log_errors(struct buf *errors)
{
	struct str rest = buf_str(errors);

	while (rest.len > 0) {
		size_t n = str_find(rest, '\n');

		log_error("config", "%" STR_FMT, STR_ARG(str_first(rest, n)));
		rest = str_from(rest, n + 1);
	}
}

void reload(struct agent *a)
{
	struct policy *old = a->policy, *new;
	struct buf errors;

	buf_init(&errors, RELOAD_ERRORS_MAX);
	new = conf_load(old->file, &errors);
	rld_log_errors(&errors);
	buf_done(&errors);
	if (!new) {
		rld_count(a, "result=\"refused\"");
		log_error("agent",
		          "worker=%u msg=\"%s has errors: the old "
		          "configuration stays in force\"",
		          a->worker, old->file);
		return;
	}
	rld_warn_of_restart(old, new);
	/* verified tokens were judged by the old tenants */
	inbound_flush(a->inbound, STR_NONE);
	if (!agent_configure(a, new)) {
		agent_configure(a, old);
		policy_unref(new);
		rld_count(a, "result=\"failed\"");
		log_error("agent",
		          "worker=%u msg=\"reload failed: the old "
		          "configuration stays in force\"",
		          a->worker);
		return;
	}
	policy_unref(old);
	rld_count(a, "result=\"ok\"");
	log_info("agent", "worker=%u msg=\"%s loaded\"", a->worker, new->file);
}
