/*
 * http: the door to libmicrohttpd, driven by our libev loop.
 *
 * MHD runs without threads: its epoll descriptor is watched by libev, and
 * connections that wait for time are suspended. MHD does not look at a
 * suspended connection, so a second epoll (EPOLLRDHUP only) tells when its
 * client went away. A client that closes its sending half counts as gone.
 */
#include "http.h"
#include "stream.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	LISTENERS = 2,
	POOL_BYTES = 64 * 1024, /* per connection: headers and write buffer */
	CONNECTIONS_MAX = 20000,
	BODY_MAX = 64 * 1024 * 1024,
};

struct listener {
	struct http *http;
	struct MHD_Daemon *daemon;
	ev_io io;
	ev_timer tick; /* when MHD wants to run without an event */
	bool woken;    /* a connection was resumed, which no descriptor shows */
};

struct http {
	struct sim *sim;
	void (*request)(struct exchange *x);
	void (*ended)(struct exchange *x);
	struct listener listener[LISTENERS];
	int n;
	ev_prepare prepare;
	int gone_fd; /* epoll of suspended connections */
	ev_io gone_io;
	struct exchange *open;
};

/* ---- the exchange ---- */

bool http_is_tls(const struct exchange *x)
{
	return MHD_get_connection_info(x->con, MHD_CONNECTION_INFO_PROTOCOL) !=
	       NULL;
}

const char *http_header(struct exchange *x, const char *name)
{
	return MHD_lookup_connection_value(x->con, MHD_HEADER_KIND, name);
}

bool http_path_is(const struct exchange *x, const char *path)
{
	return x->path_len == strlen(path) &&
	       memcmp(x->uri, path, x->path_len) == 0;
}

char *http_query(const struct exchange *x, const char *name)
{
	return form_get(x->query, strlen(x->query), name);
}

void http_set(struct exchange *x, const char *name, const char *value)
{
	sb_add(&x->headers, name, strlen(name) + 1);
	sb_add(&x->headers, value, strlen(value) + 1);
}

void http_set_num(struct exchange *x, const char *name, long value)
{
	char num[24];

	snprintf(num, sizeof(num), "%ld", value);
	http_set(x, name, num);
}

static void *uri_cb(void *cls, const char *uri, struct MHD_Connection *con)
{
	struct listener *l = cls;
	struct http *h = l->http;
	struct exchange *x = xmalloc(sizeof(*x));
	char *mark;

	x->sim = h->sim;
	x->http = h;
	x->listener = l;
	x->con = con;
	x->uri = xstrndup(uri, strlen(uri));
	mark = strchr(x->uri, '?');
	x->path_len = mark ? (size_t)(mark - x->uri) : strlen(x->uri);
	x->query = mark ? mark + 1 : "";
	x->endpoint = AT_NOWHERE;
	effect_none(&x->effect);
	x->next = h->open;
	if (h->open != NULL)
		h->open->prev = x;
	h->open = x;
	return x;
}

static void exchange_free(struct exchange *x)
{
	struct http *h = x->http;

	if (x->prev != NULL)
		x->prev->next = x->next;
	else
		h->open = x->next;
	if (x->next != NULL)
		x->next->prev = x->prev;
	ev_timer_stop(h->sim->loop, &x->timer);
	if (x->response != NULL)
		MHD_destroy_response(x->response);
	sb_free(&x->body);
	sb_free(&x->headers);
	sb_free(&x->stream.buf);
	free(x->uri);
	free(x);
}

int http_socket(const struct exchange *x)
{
	const union MHD_ConnectionInfo *i = MHD_get_connection_info(
		x->con, MHD_CONNECTION_INFO_CONNECTION_FD);

	return i ? i->connect_fd : -1;
}

/* ---- waiting ---- */

static void watch_gone(struct exchange *x)
{
	struct epoll_event e = {.events = EPOLLRDHUP | EPOLLET, .data.ptr = x};

	if (!x->watched)
		x->watched = epoll_ctl(x->http->gone_fd, EPOLL_CTL_ADD,
		                       http_socket(x), &e) == 0;
}

static void unwatch_gone(struct exchange *x)
{
	if (x->watched)
		epoll_ctl(x->http->gone_fd, EPOLL_CTL_DEL, http_socket(x),
		          NULL);
	x->watched = false;
}

void http_wake(struct exchange *x)
{
	ev_timer_stop(x->sim->loop, &x->timer);
	if (!x->suspended)
		return;
	x->suspended = false;
	x->listener->woken = true;
	MHD_resume_connection(x->con);
}

static void wake_cb(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)revents;
	http_wake(t->data);
}

void http_park(struct exchange *x, double wake_s,
               void (*cb)(struct ev_loop *, ev_timer *, int))
{
	x->suspended = true;
	MHD_suspend_connection(x->con);
	watch_gone(x);
	if (wake_s < 0)
		return;
	ev_timer_init(&x->timer, cb ? cb : wake_cb, wake_s, 0.);
	x->timer.data = x;
	ev_timer_start(x->sim->loop, &x->timer);
}

static void gone_cb(struct ev_loop *loop, ev_io *io, int revents)
{
	struct http *h = io->data;
	struct epoll_event e[64];
	int n = epoll_wait(h->gone_fd, e, 64, 0);

	(void)loop;
	(void)revents;
	for (int i = 0; i < n; i++) {
		struct exchange *x = e[i].data.ptr;

		x->gone = true;
		http_wake(x);
	}
}

/* ---- the answer ---- */

static void finish_headers(struct exchange *x)
{
	const char *p = x->headers.p, *end = p + x->headers.len;
	const cJSON *h;

	while (p < end) {
		const char *value = p + strlen(p) + 1;

		MHD_add_response_header(x->response, p, value);
		p = value + strlen(value) + 1;
	}
	cJSON_ArrayForEach(h, x->effect.headers) if (cJSON_IsString(h))
		MHD_add_response_header(x->response, h->string, h->valuestring);
}

void http_answer(struct exchange *x, unsigned status, const char *type,
                 struct sb *body)
{
	const struct effect *e = &x->effect;

	x->status = status;
	x->delay += (double)(e->delay_ms + e->stall_ms) / 1e3;
	if (e->stall_forever)
		x->delay = -1;
	if (e->cut_after_bytes >= 0 && (size_t)e->cut_after_bytes < body->len) {
		uint64_t size = body->len;

		body->len = (size_t)e->cut_after_bytes;
		x->stream.buf = *body;
		x->response = MHD_create_response_from_callback(
			size, 4096, stream_cut_cb, x, NULL);
	} else {
		x->response = MHD_create_response_from_buffer(
			body->len, body->p, MHD_RESPMEM_MUST_FREE);
	}
	*body = (struct sb){0};
	if (x->response == NULL)
		abort();
	if (type != NULL)
		http_set(x, "Content-Type", type);
	finish_headers(x);
}

void http_stream(struct exchange *x, stream_next next)
{
	x->status = 200;
	x->delay += (double)x->effect.delay_ms / 1e3;
	x->stream.next = next;
	x->response = MHD_create_response_from_callback(
		MHD_SIZE_UNKNOWN, 4096, stream_read_cb, x, NULL);
	if (x->response == NULL)
		abort();
	http_set(x, "Content-Type", "text/event-stream; charset=utf-8");
	finish_headers(x);
}

void http_upgrade(struct exchange *x, MHD_UpgradeHandler cb, void *cls)
{
	x->status = MHD_HTTP_SWITCHING_PROTOCOLS;
	x->response = MHD_create_response_for_upgrade(cb, cls);
	if (x->response == NULL)
		abort();
	finish_headers(x);
}

void http_answer_cjson(struct exchange *x, unsigned status, cJSON *json)
{
	char *text = cJSON_PrintUnformatted(json);
	struct sb s = {0};

	sb_z(&s, text);
	sb_lit(&s, "\n");
	cJSON_free(text);
	cJSON_Delete(json);
	http_answer(x, status, "application/json", &s);
}

/* Queue the answer when its time has come; parks otherwise. */
static enum MHD_Result proceed(struct exchange *x)
{
	double delay = x->delay;

	if (x->gone)
		return MHD_NO;
	if (delay != 0) {
		x->delay = 0;
		http_park(x, delay, NULL);
		return MHD_YES;
	}
	if (x->effect.close) {
		stream_break_off(x);
		return MHD_NO;
	}
	if (x->response == NULL)
		return MHD_YES;
	return MHD_queue_response(x->con, x->status, x->response);
}

static enum MHD_Result access_cb(void *cls, struct MHD_Connection *con,
                                 const char *url, const char *method,
                                 const char *version, const char *upload,
                                 size_t *upload_len, void **con_cls)
{
	struct exchange *x = *con_cls;

	(void)cls;
	(void)con;
	(void)url;
	if (x->method == NULL) {
		/* the first call: only the headers are there yet */
		x->method = method;
		x->version = version;
		return MHD_YES;
	}
	if (*upload_len > 0) {
		if (x->body.len + *upload_len > BODY_MAX)
			return MHD_NO;
		sb_add(&x->body, upload, *upload_len);
		*upload_len = 0;
		return MHD_YES;
	}
	if (!x->routed) {
		x->routed = true;
		x->http->request(x);
	}
	return proceed(x);
}

static void completed_cb(void *cls, struct MHD_Connection *con, void **con_cls,
                         enum MHD_RequestTerminationCode toe)
{
	struct exchange *x = *con_cls;

	(void)cls;
	(void)con;
	if (x == NULL)
		return;
	*con_cls = NULL;
	unwatch_gone(x);
	if (toe != MHD_REQUEST_TERMINATED_COMPLETED_OK && !x->cut)
		x->gone = true;
	if (x->routed)
		x->http->ended(x);
	exchange_free(x);
}

/* ---- the loop ---- */

static void run(struct listener *l)
{
	MHD_UNSIGNED_LONG_LONG ms;
	int turns = 0;

	l->woken = false;
	do {
		MHD_run(l->daemon);
	} while (MHD_get_timeout(l->daemon, &ms) == MHD_YES && ms == 0 &&
	         ++turns < 16);
}

static void io_cb(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	run(io->data);
}

static void tick_cb(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)revents;
	run(t->data);
}

/* Before the loop sleeps: an answer of one listener may have woken a waiter
 * of the other. */
static void prepare_cb(struct ev_loop *loop, ev_prepare *p, int revents)
{
	struct http *h = p->data;

	(void)revents;
	for (int i = 0; i < h->n; i++)
		while (h->listener[i].woken) {
			run(&h->listener[i]);
			i = 0;
		}
	for (int i = 0; i < h->n; i++) {
		struct listener *l = &h->listener[i];
		MHD_UNSIGNED_LONG_LONG ms;

		ev_timer_stop(loop, &l->tick);
		if (MHD_get_timeout(l->daemon, &ms) != MHD_YES)
			continue;
		ev_timer_set(&l->tick, (double)ms / 1e3, 0.);
		ev_timer_start(loop, &l->tick);
	}
}

struct http *http_new(struct sim *sim, void (*request)(struct exchange *x),
                      void (*ended)(struct exchange *x))
{
	struct http *h = xmalloc(sizeof(*h));

	h->sim = sim;
	h->request = request;
	h->ended = ended;
	h->gone_fd = epoll_create1(EPOLL_CLOEXEC);
	if (h->gone_fd < 0)
		abort();
	ev_io_init(&h->gone_io, gone_cb, h->gone_fd, EV_READ);
	h->gone_io.data = h;
	ev_io_start(sim->loop, &h->gone_io);
	ev_prepare_init(&h->prepare, prepare_cb);
	h->prepare.data = h;
	ev_prepare_start(sim->loop, &h->prepare);
	return h;
}

static int open_socket(const char *addr)
{
	const char *colon = strrchr(addr, ':');
	struct addrinfo want = {.ai_socktype = SOCK_STREAM,
	                        .ai_flags = AI_PASSIVE | AI_NUMERICHOST};
	struct addrinfo *ai = NULL;
	int one = 1, fd = -1;
	char *host;

	if (colon == NULL)
		return -1;
	host = xstrndup(addr, (size_t)(colon - addr));
	if (getaddrinfo(*host ? host : NULL, colon + 1, &want, &ai) == 0) {
		fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 ||
		    listen(fd, 4096) < 0) {
			close(fd);
			fd = -1;
		}
		freeaddrinfo(ai);
	}
	free(host);
	return fd;
}

static int port_of(int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	char port[8] = "0";

	if (getsockname(fd, (struct sockaddr *)&sa, &len) == 0)
		getnameinfo((struct sockaddr *)&sa, len, NULL, 0, port,
		            sizeof(port), NI_NUMERICSERV);
	return (int)num_or(port, 0);
}

static struct MHD_Daemon *start_daemon(struct listener *l, int fd, char *cert,
                                       char *key)
{
	struct MHD_OptionItem tls[] = {
		{MHD_OPTION_HTTPS_MEM_CERT, 0, NULL},
		{MHD_OPTION_HTTPS_MEM_KEY, 0, NULL},
		{MHD_OPTION_END, 0, NULL},
	};
	unsigned flags =
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE;

	if (cert != NULL) {
		flags |= MHD_USE_TLS;
		tls[0].ptr_value = cert;
		tls[1].ptr_value = key;
	} else {
		tls[0].option = MHD_OPTION_END;
	}
	return MHD_start_daemon(
		flags, 0, NULL, NULL, access_cb, l, MHD_OPTION_LISTEN_SOCKET,
		fd, MHD_OPTION_URI_LOG_CALLBACK, uri_cb, l,
		MHD_OPTION_NOTIFY_COMPLETED, completed_cb, l,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
		MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
}

int http_listen(struct http *h, const char *addr, char *cert, char *key)
{
	struct listener *l = &h->listener[h->n];
	const union MHD_DaemonInfo *info;
	int fd = open_socket(addr);

	if (fd < 0 || h->n == LISTENERS) {
		fprintf(stderr, "foundry-sim: cannot listen on %s: %s\n", addr,
		        strerror(errno));
		return 0;
	}
	l->http = h;
	l->daemon = start_daemon(l, fd, cert, key);
	info = l->daemon ? MHD_get_daemon_info(l->daemon,
	                                       MHD_DAEMON_INFO_EPOLL_FD)
	                 : NULL;
	if (info == NULL) {
		fprintf(stderr, "foundry-sim: libmicrohttpd does not start\n");
		close(fd);
		return 0;
	}
	h->n++;
	ev_io_init(&l->io, io_cb, info->epoll_fd, EV_READ);
	l->io.data = l;
	ev_io_start(h->sim->loop, &l->io);
	ev_timer_init(&l->tick, tick_cb, 0., 0.);
	l->tick.data = l;
	return port_of(fd);
}

void http_free(struct http *h)
{
	struct exchange *x;

	if (h == NULL)
		return;
	/* MHD must not be stopped while connections are suspended */
	for (x = h->open; x != NULL; x = x->next) {
		x->gone = true;
		http_wake(x);
	}
	for (int i = 0; i < h->n; i++) {
		struct listener *l = &h->listener[i];

		run(l);
		ev_io_stop(h->sim->loop, &l->io);
		ev_timer_stop(h->sim->loop, &l->tick);
		MHD_stop_daemon(l->daemon);
	}
	ev_prepare_stop(h->sim->loop, &h->prepare);
	ev_io_stop(h->sim->loop, &h->gone_io);
	close(h->gone_fd);
	free(h);
}
