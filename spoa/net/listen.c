/*
 * net/listen: opens the sockets of the configured addresses.
 *
 *   listen_stream ---> lsn_open_unix -> lsn_remove_stale -> bind, chown, chmod
 *                 \--> lsn_open_inet ---------------------> bind
 *   listen_datagram -> lsn_open_inet ---------------------> bind
 *
 * Hosts are numeric: a name might resolve to another address than the
 * loopback that conf/process asks for.
 */
#include "net/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	/* HAProxy opens hundreds of connections at once after a reload: one
	 * per request in flight (haproxy.md 3). The kernel cuts it to
	 * net.core.somaxconn. */
	BACKLOG = 1024,
	/* bytes; several thousand usage records of 1 kB that wait while the
	 * loop is busy (haproxy.md 5.2: some MB lost none of 125,000) */
	DATAGRAM_BUFFER = 8 * 1024 * 1024,
};

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un un;
};

/* Where the sentence about a failure goes: the caller's buffer. */
struct error {
	char *text;
	size_t len;
};

static int lsn_fail(struct error e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Always -1, for `return lsn_fail(...)`. */
static int lsn_fail(struct error e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e.text, e.len, fmt, ap);
	va_end(ap);
	return -1;
}

/* "ADDRESS: cannot WHAT: strerror". Closes `fd` unless it is negative. */
static int lsn_fail_errno(struct error e, int fd, struct str address,
                          const char *what)
{
	int err = errno;

	if (fd >= 0)
		close(fd);
	return lsn_fail(e, "%" STR_FMT ": cannot %s: %s", STR_ARG(address),
	                what, strerror(err));
}

static bool lsn_is_unix(struct str address)
{
	return str_starts(address, STR("unix:"));
}

/* False when the path is empty, does not fit sun_path with its NUL, or holds
 * a NUL (which would bind another path, or an abstract one). */
static bool lsn_unix_address(struct str address, struct sockaddr_un *out)
{
	struct str path = str_from(address, STR("unix:").len);

	*out = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (path.len == 0 || path.len >= sizeof(out->sun_path) ||
	    str_find(path, '\0') < path.len)
		return false;
	memcpy(out->sun_path, path.p, path.len);
	return true;
}

/* "HOST:PORT" or "[IPv6]:PORT". The length of the socket address, 0 when the
 * text is no such address. */
static socklen_t lsn_inet_address(struct str address, union address *out)
{
	char host[INET6_ADDRSTRLEN];
	struct str h = address, port;
	uint64_t n;

	/* the last colon: an IPv6 address has more of them */
	while (h.len > 0 && h.p[h.len - 1] != ':')
		h.len--;
	port = str_from(address, h.len);
	if (h.len == 0 || !str_to_u64(port, &n) || n > 65535)
		return 0;
	h.len--;
	*out = (union address){.any.sa_family = AF_INET};
	if (str_starts(h, STR("[")) && str_ends(h, STR("]"))) {
		h = str_first(str_from(h, 1), h.len - 2);
		out->any.sa_family = AF_INET6;
	}
	if (h.len == 0 || h.len >= sizeof(host))
		return 0;
	memcpy(host, h.p, h.len);
	host[h.len] = '\0';
	if (out->any.sa_family == AF_INET6) {
		out->v6.sin6_port = htons((uint16_t)n);
		return inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1
		               ? sizeof(out->v6)
		               : 0;
	}
	out->v4.sin_port = htons((uint16_t)n);
	return inet_pton(AF_INET, host, &out->v4.sin_addr) == 1
	               ? sizeof(out->v4)
	               : 0;
}

static int lsn_new_socket(int family, int type)
{
	return socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static int lsn_open_inet(struct str address, int type, struct error e)
{
	const int on = 1;
	union address a;
	socklen_t len = lsn_inet_address(address, &a);
	int fd;

	if (len == 0)
		return lsn_fail(e,
		                "%" STR_FMT ": expected HOST:PORT or "
		                "[IPv6]:PORT with a numeric host",
		                STR_ARG(address));
	fd = lsn_new_socket(a.any.sa_family, type);
	if (fd < 0)
		return lsn_fail_errno(e, fd, address, "make a socket");
	/* without it a restart fails while connections of the process before
	 * are in TIME_WAIT */
	if (type == SOCK_STREAM)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* [::] takes IPv6 only, whatever net.ipv6.bindv6only says */
	if (a.any.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, &a.any, len) < 0)
		return lsn_fail_errno(e, fd, address, "bind");
	return fd;
}

/* Remove the socket file of a process that was killed: one on which no process
 * listens, so that connect() is refused. 0 when the path is free now. A live
 * socket (connected, or EAGAIN: its backlog is full), another kind of file and
 * any other error are reported, and the file stays. */
static int lsn_remove_stale(struct str address, const union address *a,
                            struct error e)
{
	struct stat st;
	int fd, err;

	if (lstat(a->un.sun_path, &st) < 0)
		return errno == ENOENT
		               ? 0
		               : lsn_fail_errno(e, -1, address, "look at it");
	if (!S_ISSOCK(st.st_mode))
		return lsn_fail(e, "%" STR_FMT ": exists and is not a socket",
		                STR_ARG(address));
	fd = lsn_new_socket(AF_UNIX, SOCK_STREAM);
	if (fd < 0)
		return lsn_fail_errno(e, fd, address, "make a socket");
	err = connect(fd, &a->any, sizeof(a->un)) < 0 ? errno : 0;
	close(fd);
	errno = err;
	if (err != 0 && err != EAGAIN && err != ECONNREFUSED)
		return lsn_fail_errno(e, -1, address, "see who listens on it");
	if (err != ECONNREFUSED)
		return lsn_fail(e,
		                "%" STR_FMT ": another process listens on it",
		                STR_ARG(address));
	if (unlink(a->un.sun_path) < 0)
		return lsn_fail_errno(e, -1, address, "replace it");
	return 0;
}

/* A group by name or number; false when there is none of that name, or the
 * number is not one of a group ((gid_t)-1 means "unchanged" to chown). */
static bool lsn_find_group(struct str name, gid_t *out)
{
	struct group g, *found = NULL;
	char z[64], mem[16384];
	uint64_t n;

	if (str_to_u64(name, &n)) {
		*out = (gid_t)n;
		return n < (gid_t)-1;
	}
	if (name.len >= sizeof(z))
		return false;
	memcpy(z, name.p, name.len);
	z[name.len] = '\0';
	if (getgrnam_r(z, &g, mem, sizeof(mem), &found) != 0 || !found)
		return false;
	*out = g.gr_gid;
	return true;
}

static int lsn_open_unix(struct str address, mode_t mode, struct str group,
                         struct error e)
{
	gid_t gid = (gid_t)-1;
	union address a;
	mode_t mask;
	int fd, rc;

	if (!lsn_unix_address(address, &a.un))
		return lsn_fail(e,
		                "%" STR_FMT ": expected unix: and a path of at "
		                "most %zu bytes",
		                STR_ARG(address), sizeof(a.un.sun_path) - 1);
	if (group.len && !lsn_find_group(group, &gid))
		return lsn_fail(
			e, "%" STR_FMT ": there is no group \"%" STR_FMT "\"",
			STR_ARG(address), STR_ARG(group));
	if (lsn_remove_stale(address, &a, e) < 0)
		return -1;
	fd = lsn_new_socket(AF_UNIX, SOCK_STREAM);
	if (fd < 0)
		return lsn_fail_errno(e, fd, address, "make a socket");
	/* The file is made with mode 0600, and opened to others only when it
	 * has its group: between bind() and chmod() nobody else can connect.
	 * umask is of the process, which has one thread at this point. */
	mask = umask(0177);
	rc = bind(fd, &a.any, sizeof(a.un));
	umask(mask);
	if (rc < 0)
		return lsn_fail_errno(e, fd, address, "bind");
	if ((group.len && chown(a.un.sun_path, (uid_t)-1, gid) < 0) ||
	    chmod(a.un.sun_path, mode) < 0) {
		rc = lsn_fail_errno(e, fd, address, "set its group and mode");
		unlink(a.un.sun_path);
		return rc;
	}
	return fd;
}

int listen_stream(struct str address, mode_t mode, struct str group,
                  char *error, size_t error_len)
{
	struct error e = {error, error_len};
	int fd = lsn_is_unix(address) ? lsn_open_unix(address, mode, group, e)
	                              : lsn_open_inet(address, SOCK_STREAM, e);

	if (fd < 0)
		return -1;
	if (listen(fd, BACKLOG) < 0) {
		lsn_fail_errno(e, fd, address, "listen");
		listen_unlink(address);
		return -1;
	}
	return fd;
}

int listen_datagram(struct str address, char *error, size_t error_len)
{
	struct error e = {error, error_len};
	const int size = DATAGRAM_BUFFER;
	int fd = lsn_open_inet(address, SOCK_DGRAM, e);

	/* SO_RCVBUFFORCE needs CAP_NET_ADMIN; SO_RCVBUF is cut by the kernel
	 * to net.core.rmem_max. Less than asked for is no error. */
	if (fd >= 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	return fd;
}

void listen_unlink(struct str address)
{
	struct sockaddr_un un;

	if (lsn_is_unix(address) && lsn_unix_address(address, &un))
		unlink(un.sun_path);
}
