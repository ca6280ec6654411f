/*
 * A redis-server of a test's own: a unix socket in a private folder, nothing
 * on disk unless it is to be durable, killed with the test. REDIS_SERVER in
 * the environment names another program, a Valkey for one.
 */
#ifndef TESTS_REDIS_SERVER_H
#define TESTS_REDIS_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

struct redis_server {
	pid_t pid; /* 0: not running */
	char dir[64];
	char socket[96];
	int port;     /* of the loopback; 0: the socket only */
	int tls_port; /* 0: no TLS */
	bool durable; /* what was answered outlives SIGKILL */
};

/* Makes the folder. Fails the test when redis-server is not installed: a
 * store that was not tried is not a store that works. */
void redis_server_init(struct redis_server *s);
void redis_server_done(struct redis_server *s);

/* Start and wait until it answers; `password` may be NULL. */
void redis_server_start(struct redis_server *s, const char *password);

/* The same, and on a free port of the loopback, for replicas. */
void redis_server_start_tcp(struct redis_server *s);

/* The same with TLS on a free port of the loopback, besides the socket, with a
 * certificate for `names` ("DNS:localhost,IP:127.0.0.1") that is its own CA:
 * DIR/cert.pem. Needs the openssl program. */
void redis_server_start_tls(struct redis_server *s, const char *names);

void redis_server_kill(struct redis_server *s);
void redis_server_signal(struct redis_server *s, int signum);

#endif
