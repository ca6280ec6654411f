/* A redis-server of a test's own. */
#include "test.h"

#include "redis_server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static void exec_server(const struct redis_server *s, const char *password)
{
	const char *argv[] = {"redis-server",
	                      "--port",
	                      "0",
	                      "--unixsocket",
	                      s->socket,
	                      "--save",
	                      "",
	                      "--dir",
	                      s->dir,
	                      "--loglevel",
	                      "warning",
	                      "--logfile",
	                      "redis.log",
	                      "--maxmemory",
	                      "256mb",
	                      "--daemonize",
	                      "no",
	                      password ? "--requirepass" : NULL,
	                      password,
	                      NULL};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execvp(argv[0], (char *const *)(uintptr_t)argv);
	fprintf(stderr, "redis-server is not installed: its tests cannot "
	                "run, which counts as failed\n");
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

void redis_server_start(struct redis_server *s, const char *password)
{
	const struct timespec step = {.tv_nsec = 5000000};
	int tries = 2000, status = 0;

	assert_int_equal(s->pid, 0);
	s->pid = fork();
	assert_true(s->pid >= 0);
	if (s->pid == 0)
		exec_server(s, password);
	while (!answers(s->socket)) {
		if (waitpid(s->pid, &status, WNOHANG) == s->pid) {
			s->pid = 0;
			fail_msg("redis-server ended at once");
		}
		assert_true(--tries > 0);
		nanosleep(&step, NULL);
	}
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

void redis_server_done(struct redis_server *s)
{
	char path[128];

	redis_server_kill(s);
	snprintf(path, sizeof(path), "%s/redis.log", s->dir);
	unlink(path);
	rmdir(s->dir);
}
