/* A redis-server of a test's own. */
#include "test.h"

#include "redis_server.h"

#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void redis_server_init(struct redis_server *s)
{
	*s = (struct redis_server){.dir = "/tmp/test-redis-XXXXXX"};
	assert_non_null(mkdtemp(s->dir));
	snprintf(s->socket, sizeof(s->socket), "%s/redis.sock", s->dir);
}

/* One option and its value for a server that is about to be started. */
struct args {
	const char *v[48];
	int n;
};

static void add(struct args *a, const char *option, const char *value)
{
	assert_true(a->n + 3 <= 48);
	a->v[a->n++] = option;
	a->v[a->n++] = value;
	a->v[a->n] = NULL;
}

static const char *program(void)
{
	const char *named = getenv("REDIS_SERVER");

	return named ? named : "redis-server";
}

static void exec_program(const struct args *a)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execvp(a->v[0], (char *const *)(uintptr_t)a->v);
	fprintf(stderr,
	        "%s is not installed: tests that need it cannot run, which "
	        "counts as failed\n",
	        a->v[0]);
	_exit(127);
}

/* A listening socket is not enough: at first it answers -LOADING. */
static bool answers(const char *path)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	char answer[8] = "";
	ssize_t n = 0;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
	    write(fd, "PING\r\n", 6) == 6)
		n = read(fd, answer, sizeof(answer) - 1);
	close(fd);
	return n > 1 && (answer[0] == '+' || strncmp(answer, "-NOAU", 5) == 0);
}

static void start(struct redis_server *s, struct args *a)
{
	const struct timespec step = {.tv_nsec = 5000000};
	int tries = 2000, status = 0;

	assert_int_equal(s->pid, 0);
	add(a, "--unixsocket", s->socket);
	add(a, "--dir", s->dir);
	add(a, "--save", "");
	add(a, "--loglevel", "warning");
	add(a, "--logfile", "redis.log");
	if (s->durable) {
		add(a, "--appendonly", "yes");
		add(a, "--appendfsync", "always");
	}
	s->pid = fork();
	assert_true(s->pid >= 0);
	if (s->pid == 0)
		exec_program(a);
	while (!answers(s->socket)) {
		if (waitpid(s->pid, &status, WNOHANG) == s->pid) {
			s->pid = 0;
			fail_msg("redis-server ended at once");
		}
		assert_true(--tries > 0);
		nanosleep(&step, NULL);
	}
}

void redis_server_start(struct redis_server *s, const char *password)
{
	struct args a = {.v = {program(), "--port", "0"}, .n = 3};

	if (password)
		add(&a, "--requirepass", password);
	start(s, &a);
}

static void make_certificate(const char *cert, const char *key,
                             const char *names)
{
	struct args a = {.v = {"openssl", "req", "-x509", "-nodes", "-batch"},
	                 .n = 5};
	char san[256];
	int status;
	pid_t pid;

	snprintf(san, sizeof(san), "subjectAltName=%s", names);
	add(&a, "-newkey", "ec");
	add(&a, "-pkeyopt", "ec_paramgen_curve:prime256v1");
	add(&a, "-subj", "/CN=test");
	add(&a, "-days", "2");
	add(&a, "-addext", san);
	add(&a, "-keyout", key);
	add(&a, "-out", cert);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (!freopen("/dev/null", "w", stderr))
			_exit(126);
		exec_program(&a);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Below the ports that the kernel gives to outgoing connections: one of those
 * could take it before it is listened on. */
static int free_port(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int tries = 1000, port;

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	do {
		assert_true(--tries > 0);
		port = 10240 + (int)arc4random_uniform(22528);
		at.sin_port = htons((uint16_t)port);
	} while (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0);
	close(fd);
	return port;
}

void redis_server_start_tcp(struct redis_server *s)
{
	struct args a = {.v = {program()}, .n = 1};
	char port[16];

	s->port = free_port();
	snprintf(port, sizeof(port), "%d", s->port);
	add(&a, "--bind", "127.0.0.1");
	add(&a, "--port", port);
	add(&a, "--repl-diskless-sync-delay", "0");
	start(s, &a);
}

void redis_server_start_tls(struct redis_server *s, const char *names)
{
	struct args a = {.v = {program(), "--port", "0"}, .n = 3};
	char cert[128], key[128], port[16];

	snprintf(cert, sizeof(cert), "%s/cert.pem", s->dir);
	snprintf(key, sizeof(key), "%s/key.pem", s->dir);
	make_certificate(cert, key, names);
	s->tls_port = free_port();
	snprintf(port, sizeof(port), "%d", s->tls_port);
	add(&a, "--bind", "127.0.0.1");
	add(&a, "--tls-port", port);
	add(&a, "--tls-cert-file", cert);
	add(&a, "--tls-key-file", key);
	add(&a, "--tls-ca-cert-file", cert);
	add(&a, "--tls-auth-clients", "no");
	start(s, &a);
}

void redis_server_signal(struct redis_server *s, int signum)
{
	assert_true(s->pid > 0);
	kill(s->pid, signum);
}

void redis_server_kill(struct redis_server *s)
{
	if (s->pid == 0)
		return;
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	s->pid = 0;
	unlink(s->socket);
}

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void redis_server_done(struct redis_server *s)
{
	redis_server_kill(s);
	nftw(s->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
