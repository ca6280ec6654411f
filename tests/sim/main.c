/*
 * foundry-sim: plays Azure for runs, tests and load.
 *
 * Entra, the managed identity endpoints and the Foundry data plane on one
 * address, told apart by path; the Host may be any. control.h says how tests
 * steer it.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "control.h"
#include "deployments.h"
#include "http.h"
#include "issued.h"
#include "keys.h"
#include "record.h"
#include "route.h"
#include "wait.h"

struct options {
	const char *listen, *tls_listen, *cert, *key, *base;
};

static const char usage[] =
	"usage: foundry-sim [--listen ip:port] [--tenant GUID]...\n"
	"                   [--issuer-base URL]\n"
	"                   [--tls cert.pem key.pem --tls-listen ip:port]\n"
	"Plays Azure. Port 0 takes any free port; each address is printed.\n";

static bool read_options(int argc, char **argv, struct options *o,
                         struct sim *sim)
{
	for (int i = 1; i < argc; i++) {
		const char *name = argv[i];
		const char *value = i + 1 < argc ? argv[++i] : NULL;

		if (value == NULL)
			return false;
		if (strcmp(name, "--listen") == 0) {
			o->listen = value;
		} else if (strcmp(name, "--tls-listen") == 0) {
			o->tls_listen = value;
		} else if (strcmp(name, "--issuer-base") == 0) {
			o->base = value;
		} else if (strcmp(name, "--tls") == 0 && i + 1 < argc) {
			o->cert = value;
			o->key = argv[++i];
		} else if (strcmp(name, "--tenant") == 0 &&
		           sim->n_tenants < TENANTS_MAX) {
			sim->tenant[sim->n_tenants++] = value;
		} else {
			return false;
		}
	}
	return (o->tls_listen == NULL) == (o->cert == NULL);
}

static char *read_file(const char *path)
{
	struct sb s = {0};
	char piece[4096];
	FILE *f = fopen(path, "re");
	size_t n;

	if (f == NULL)
		return NULL;
	while ((n = fread(piece, 1, sizeof(piece), f)) > 0)
		sb_add(&s, piece, n);
	fclose(f);
	return s.p;
}

/* "127.0.0.1:0" and the port it became -> "127.0.0.1:40123". */
static void real_address(const char *addr, int port, char *out, size_t size)
{
	const char *colon = strrchr(addr, ':');

	snprintf(out, size, "%.*s:%d", (int)(colon - addr), addr, port);
}

static bool open_plain(struct http *h, const struct options *o, struct sim *sim)
{
	char addr[128];
	int port = http_listen(h, o->listen, NULL, NULL);

	if (port == 0)
		return false;
	real_address(o->listen, port, addr, sizeof(addr));
	if (o->base != NULL)
		snprintf(sim->base, sizeof(sim->base), "%s", o->base);
	else
		snprintf(sim->base, sizeof(sim->base), "http://%s", addr);
	printf("listening on %s", addr);
	return true;
}

static bool open_tls(struct http *h, const struct options *o, char *cert,
                     char *key)
{
	char addr[128];
	int port;

	if (o->tls_listen == NULL)
		return true;
	if (cert == NULL || key == NULL) {
		fprintf(stderr, "foundry-sim: cannot read %s or %s\n", o->cert,
		        o->key);
		return false;
	}
	port = http_listen(h, o->tls_listen, cert, key);
	if (port == 0)
		return false;
	real_address(o->tls_listen, port, addr, sizeof(addr));
	printf(" and with TLS on %s", addr);
	return true;
}

static void end_cb(struct ev_loop *loop, ev_signal *s, int revents)
{
	(void)s;
	(void)revents;
	ev_break(loop, EVBREAK_ALL);
}

/* Thousands of streams at once need as many descriptors. */
static void raise_limits(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

static void sim_init(struct sim *sim)
{
	if (sim->n_tenants == 0)
		sim->tenant[sim->n_tenants++] =
			"11111111-1111-1111-1111-111111111111";
	sim->loop = ev_default_loop(EVFLAG_AUTO);
	defaults_reset(&sim->defaults);
	sim->keys = keys_new();
	sim->issued = issued_new();
	sim->faults = faults_new();
	sim->deployments = deployments_new();
	sim->record = record_new();
	sim->waits = waits_new();
}

static void sim_done(struct sim *sim)
{
	waits_free(sim->waits);
	record_free(sim->record);
	deployments_free(sim->deployments);
	faults_free(sim->faults);
	issued_free(sim->issued);
	keys_free(sim->keys);
	defaults_free(&sim->defaults);
	ev_loop_destroy(sim->loop);
}

static bool run(struct sim *sim, const struct options *o, char *cert, char *key)
{
	struct http *h = http_new(sim, route_request, route_ended);
	ev_signal term, intr;
	bool ok = open_plain(h, o, sim) && open_tls(h, o, cert, key);

	if (ok) {
		printf("\n");
		fflush(stdout);
		ev_signal_init(&term, end_cb, SIGTERM);
		ev_signal_start(sim->loop, &term);
		ev_signal_init(&intr, end_cb, SIGINT);
		ev_signal_start(sim->loop, &intr);
		ev_run(sim->loop, 0);
	}
	http_free(h);
	return ok;
}

int main(int argc, char **argv)
{
	struct options o = {.listen = "127.0.0.1:9443"};
	struct sim sim = {.n_tenants = 0};
	char *cert, *key;
	bool ok;

	if (!read_options(argc, argv, &o, &sim)) {
		fputs(usage, stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	raise_limits();
	sim_init(&sim);
	cert = o.cert ? read_file(o.cert) : NULL;
	key = o.key ? read_file(o.key) : NULL;
	ok = run(&sim, &o, cert, key);
	free(cert);
	free(key);
	sim_done(&sim);
	return ok ? 0 : 1;
}
