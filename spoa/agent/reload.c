/*
 * agent/reload: SIGHUP, the configuration is read again.
 *
 *   conf_load -- errors --> logged; the old policy stays in force
 *       | policy
 *   inbound_flush -> agent_configure -- false --> the old policy again
 *       | true
 *   the old policy loses the reference of the agent; requests that began with
 *   it hold their own
 *
 * Each worker reads the file by itself: policies are not in shared memory. A
 * file that changes in the same second may give two workers different policies
 * until the next SIGHUP.
 */
#include "agent/reload.h"

#include "agent/agent.h"
#include "base/log.h"
#include "conf/load.h"
#include "keys/inbound.h"

/* Bytes of all messages about a bad file; what does not fit is left out. */
enum { RELOAD_ERRORS_MAX = 65536 };

static void rld_count_result(struct agent *a, const char *labels)
{
	metric_add(
		metrics_get(a->metrics, "foundry_reloads_total", str_c(labels)),
		1);
}

static bool rld_have_same_texts(const struct strs *a, const struct strs *b)
{
	size_t i;

	for (i = 0; a->n == b->n && i < a->n; i++)
		if (!str_eq(a->v[i], b->v[i]))
			return false;
	return a->n == b->n;
}

/* Sockets are opened and workers are forked once, at the start. A change of
 * them is no error: the rest of the file is wanted now. */
static void rld_warn_of_restart(const struct policy *old,
                                const struct policy *new)
{
	if (!rld_have_same_texts(&old->listen.spop, &new->listen.spop) ||
	    !str_eq(old->listen.usage, new->listen.usage) ||
	    !str_eq(old->listen.http, new->listen.http) ||
	    old->workers != new->workers)
		log_warn("agent", "msg=\"listen and workers change only at a "
		                  "restart; everything else is in force\"");
}

/* One log line per error or warning; conf_load also has warnings for a file
 * that is good. */
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
		rld_count_result(a, "result=\"refused\"");
		log_error("agent",
		          "worker=%u msg=\"%s has errors: the old "
		          "configuration stays in force\"",
		          a->worker, old->file);
		return;
	}
	rld_warn_of_restart(old, new);
	/* tokens in the cache were accepted by the rules of the old tenants */
	inbound_flush(a->inbound, STR_NONE);
	if (!agent_configure(a, new)) {
		agent_configure(a, old);
		policy_unref(new);
		rld_count_result(a, "result=\"failed\"");
		log_error("agent",
		          "worker=%u msg=\"reload failed: the old "
		          "configuration stays in force\"",
		          a->worker);
		return;
	}
	policy_unref(old);
	rld_count_result(a, "result=\"ok\"");
	log_info("agent", "worker=%u msg=\"%s loaded\"", a->worker, new->file);
}
