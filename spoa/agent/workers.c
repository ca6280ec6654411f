/*
 * workers: one process, or a parent that keeps N of them alive.
 *
 *   workers_run   signals blocked -> shared memory -> sockets
 *       |
 *       +-- one worker:  wrk_serve -> agent_run, in this process
 *       |
 *       +-- several:     wrk_supervise
 *                          fork --> wrk_serve -> agent_run     N children
 *                          SIGHUP  --> wrk_reload, and to all children
 *                          SIGTERM --> to all children, until none is left
 *
 * The parent has no loop and no connections. It holds what a new worker begins
 * with: the policy in force, the sockets, the shared memory. It looks for ended
 * children once a second, not at SIGCHLD: that pause also keeps a worker which
 * ends at once from being forked again and again.
 */
#include "agent/workers.h"

#include "agent/agent.h"
#include "base/log.h"
#include "conf/load.h"
#include "keys/jose.h"
#include "net/listen.h"
#include "store/open_reservations.h"
#include "base/version.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	WORKERS_MAX = 64, /* that of `workers` in conf/options */
	/* Between two looks for ended children. Our choice. */
	WORKERS_RESPAWN_S = 1,
	/* Bytes of the messages about a bad file, which the parent drops: each
	 * worker logs its own. */
	WORKERS_ERRORS_MAX = 65536,
};

struct workers {
	struct policy *policy; /* in force, referenced */
	struct agent_sockets sockets;
	struct agent_shared shared;
	unsigned n;              /* as at the start; a reload keeps it */
	pid_t pids[WORKERS_MAX]; /* by number of the worker; 0: none runs */
	bool stopping;           /* SIGTERM came: none is replaced any more */
};

/* Opens what the policy lists. On failure, which is logged, the caller ends the
 * process; sockets that are open already end with it. */
static bool wrk_open_sockets(const struct policy_listen *l,
                             struct agent_sockets *s)
{
	char error[256] = "";
	size_t i;

	*s = (struct agent_sockets){.usage = -1, .http = -1};
	for (i = 0; i < l->spop.n; i++) {
		int fd = s->n_spop < sizeof(s->spop) / sizeof(*s->spop)
		                 ? listen_stream(l->spop.v[i], l->unix_mode,
		                                 l->unix_group, error,
		                                 sizeof(error))
		                 : -1;

		if (fd < 0) {
			log_error("listen", "spop=%" STR_FMT " msg=\"%s\"",
			          STR_ARG(l->spop.v[i]), error);
			return false;
		}
		s->spop[s->n_spop++] = fd;
	}
	s->usage = listen_datagram(l->usage, error, sizeof(error));
	if (s->usage < 0) {
		log_error("listen", "usage=%" STR_FMT " msg=\"%s\"",
		          STR_ARG(l->usage), error);
		return false;
	}
	s->http = listen_stream(l->http, 0, STR_NONE, error, sizeof(error));
	if (s->http < 0) {
		log_error("listen", "http=%" STR_FMT " msg=\"%s\"",
		          STR_ARG(l->http), error);
		return false;
	}
	return true;
}

static void wrk_unlink_sockets(const struct policy_listen *l)
{
	size_t i;

	for (i = 0; i < l->spop.n; i++)
		listen_unlink(l->spop.v[i]);
}

/* The life of one worker. The exit status of its process. */
static int wrk_serve(const struct workers *w, unsigned number)
{
	struct agent *a =
		agent_new(w->policy, &w->sockets, &w->shared, number, w->n);

	if (!a)
		return 1;
	agent_run(a);
	agent_free(a);
	return 0;
}

/* Nobody sends signals to a worker without a parent, and its open sockets would
 * keep a newly started agent from binding the same addresses. So the kernel is
 * asked to send SIGTERM when the parent is gone: the worker drains and ends. */
static void wrk_end_with_parent(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		raise(SIGTERM); /* gone before prctl(); held until agent_run()
		                 */
}

/* A failed fork leaves pids[number] at 0: it is tried again with the next look
 * at the children. The child leaves by _exit(), so that nothing of the parent's
 * stdio buffers is written twice. */
static void wrk_start_worker(struct workers *w, unsigned number)
{
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid == 0) {
		wrk_end_with_parent(parent);
		_exit(wrk_serve(w, number));
	}
	if (pid < 0)
		log_error("workers", "worker=%u msg=\"fork failed\"", number);
	w->pids[number] = pid > 0 ? pid : 0;
}

static void wrk_signal_all(const struct workers *w, int signum)
{
	unsigned i;

	for (i = 0; i < w->n; i++)
		if (w->pids[i] > 0)
			kill(w->pids[i], signum);
}

/* The gauge of a worker outlives it in shared memory. Without this, /readyz of
 * the others would say that the dead one is ready. */
static void wrk_mark_not_ready(const struct workers *w, unsigned number)
{
	char labels[32];

	snprintf(labels, sizeof(labels), "worker=\"%u\"", number);
	metric_set(metrics_get(w->shared.metrics, "foundry_worker_ready",
	                       str_c(labels)),
	           0);
}

/* Collects the exit status of workers that ended. The number of those that are
 * still running. */
static unsigned wrk_reap_workers(struct workers *w)
{
	unsigned i, running = 0;

	for (i = 0; i < w->n; i++) {
		int status;

		if (w->pids[i] > 0 &&
		    waitpid(w->pids[i], &status, WNOHANG) == w->pids[i]) {
			w->pids[i] = 0;
			wrk_mark_not_ready(w, i);
			if (!w->stopping)
				log_error("workers",
				          "worker=%u msg=\"ended with status "
				          "%d: will be replaced\"",
				          i, status);
		}
		running += w->pids[i] > 0;
	}
	return running;
}

static void wrk_replace_missing(struct workers *w)
{
	unsigned i;

	for (i = 0; i < w->n; i++)
		if (w->pids[i] == 0)
			wrk_start_worker(w, i);
}

/* SIGHUP. Every worker reads the file by itself and logs what is wrong with it.
 * The parent reads it for workers that it will start later; with a bad file
 * these begin with the old policy, like those that run. */
static void wrk_reload(struct workers *w)
{
	struct policy *new;
	struct buf errors;

	buf_init(&errors, WORKERS_ERRORS_MAX);
	new = conf_load(w->policy->file, &errors);
	buf_done(&errors);
	wrk_signal_all(w, SIGHUP);
	if (!new)
		return;
	policy_unref(w->policy);
	w->policy = new;
}

/* The parent's life: ends when SIGTERM came and no worker is left. */
static int wrk_supervise(struct workers *w, const sigset_t *ours)
{
	const struct timespec pause = {.tv_sec = WORKERS_RESPAWN_S};

	wrk_replace_missing(w);
	for (;;) {
		/* returns -1 after the pause; the pause paces replacements */
		int signum = sigtimedwait(ours, NULL, &pause);

		if (signum == SIGHUP)
			wrk_reload(w);
		if (signum == SIGTERM || signum == SIGINT) {
			w->stopping = true;
			wrk_signal_all(w, SIGTERM);
		}
		if (wrk_reap_workers(w) == 0 && w->stopping)
			return 0;
		if (!w->stopping)
			wrk_replace_missing(w);
	}
}

/* A signal that comes before a handler is set is held by the kernel: the
 * default action of SIGHUP would end the process. The parent takes them with
 * sigtimedwait(); the loop of a worker unblocks those that it listens to. */
static void wrk_block_signals(sigset_t *ours)
{
	sigemptyset(ours);
	sigaddset(ours, SIGTERM);
	sigaddset(ours, SIGINT);
	sigaddset(ours, SIGHUP);
	sigprocmask(SIG_BLOCK, ours, NULL);
	/* a peer that goes away is an error of write(), not a signal */
	signal(SIGPIPE, SIG_IGN);
}

int workers_run(struct policy *p)
{
	/* listeners and the number of workers stay those of the start */
	struct workers w = {.policy = policy_ref(p), .n = p->workers};
	sigset_t ours;
	int code = 1;

	wrk_block_signals(&ours);
	w.shared.metrics = metrics_new();
	w.shared.open = open_reservations_new();
	if (!jose_random(w.shared.seal_key, sizeof(w.shared.seal_key))) {
		log_error("workers", "msg=\"no random bytes for a key\"");
	} else if (!w.shared.metrics || !w.shared.open) {
		log_error("workers", "msg=\"no shared memory\"");
	} else if (wrk_open_sockets(&p->listen, &w.sockets)) {
		metric_set(metrics_get(w.shared.metrics, "foundry_build_info",
		                       STR("version=\"" VERSION "\"")),
		           1);
		code = w.n > 1 ? wrk_supervise(&w, &ours) : wrk_serve(&w, 0);
		wrk_unlink_sockets(&p->listen);
	}
	open_reservations_free(w.shared.open);
	metrics_free(w.shared.metrics);
	policy_unref(w.policy);
	policy_unref(p);
	return code;
}
