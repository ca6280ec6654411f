/*
 * net/fetch: the door to libcurl, for small HTTP exchanges.
 *
 * libcurl's multi interface does the transfers and leaves the waiting to its
 * caller: it says by two callbacks which sockets and which timeout to wait
 * for, and is told by curl_multi_socket_action() what has happened.
 *
 *   fetch_start -> curl_multi_add_handle
 *                    |
 *                    |  libcurl asks to wait for
 *                    |-- a socket --> fetch_on_watch ---> loop_io -----.
 *                    '-- a timeout -> fetch_on_timeout -> loop_timer --|
 *                                                                      |
 *      fetch_on_io, fetch_on_timer -> curl_multi_socket_action <-------'
 *                    |
 *                    '-> fetch_end_finished -> fetch_job_end -> done()
 *
 * Secrets: bodies that are sent and received are wiped here before they are
 * freed. The headers, which libcurl copies, and libcurl's own buffers are
 * not: libcurl has no means for it.
 */
#include "net/fetch.h"

#include "base/buf.h"

#include <curl/curl.h>
#include <limits.h>
#include <stdlib.h>

enum {
	/* identity endpoints are in the same region or on the same host; a
	 * connect that takes longer is a lost SYN or a dead address */
	FETCH_CONNECT_MS = 2000,
	/* open at a time, of all hosts; further exchanges wait for one. At
	 * start every credential and every tenant fetches at once. */
	FETCH_MAX_CONNECTIONS = 16,
	/* idle ones that are kept: a metadata document is followed by the key
	 * set of the same host, further exchanges come an hour later */
	FETCH_KEPT_CONNECTIONS = 4,
};

struct fetch {
	struct loop *loop;
	CURLM *multi;
	char *ca_file;           /* NULL: libcurl's default */
	struct loop_timer timer; /* libcurl's one timeout */
	struct fetch_job *jobs;  /* that have not ended */
	struct fetch_sock *socks;
};

/* A socket of libcurl's that the loop watches, from the first callback for it
 * to CURL_POLL_REMOVE. libcurl keeps the pointer (curl_multi_assign) and owns
 * the descriptor. */
struct fetch_sock {
	struct fetch_sock *next, **prev;
	struct fetch *f;
	struct loop_io io;
};

struct fetch_job {
	struct fetch_job *next, **prev;
	struct fetch *f;
	CURL *easy;
	struct curl_slist *headers;
	char *body; /* sent; wiped at the end */
	size_t body_len;
	struct buf answer; /* has all its memory from the start, so that no
	                    * growing leaves copies of a secret behind */
	bool too_big;      /* the answer did not fit */
	bool ended;        /* done() runs: fetch_cancel() does nothing */
	char error[CURL_ERROR_SIZE]; /* text of libcurl's, empty: none */
	void (*done)(void *ctx, const struct fetch_result *res);
	void *ctx;
};

/* ----------------------------------------------------------------- jobs */

/* Headers may hold a credential (X-IDENTITY-HEADER, Authorization). The list is
 * ours, so its texts can be wiped; what libcurl has copied of them into a
 * buffer of a connection cannot. */
static void fetch_free_headers(struct fetch_job *j)
{
	struct curl_slist *h;

	for (h = j->headers; h; h = h->next)
		explicit_bzero(h->data, strlen(h->data));
	curl_slist_free_all(j->headers);
}

/* Also of a job that was not started: then it is not on the list. */
static void fetch_job_free(struct fetch_job *j)
{
	if (j->prev) {
		*j->prev = j->next;
		if (j->next)
			j->next->prev = j->prev;
	}
	if (j->easy) {
		curl_multi_remove_handle(j->f->multi, j->easy);
		curl_easy_cleanup(j->easy);
	}
	fetch_free_headers(j);
	if (j->body)
		explicit_bzero(j->body, j->body_len);
	free(j->body);
	buf_wipe(&j->answer);
	free(j);
}

static size_t fetch_on_body(char *data, size_t size, size_t n, void *ctx)
{
	struct fetch_job *j = ctx;

	/* never past what was reserved: growing would leave a copy. Fewer
	 * bytes than were offered make libcurl end the transfer. */
	if (size * n > j->answer.cap - j->answer.len ||
	    !buf_add(&j->answer, data, size * n)) {
		j->too_big = true;
		return 0;
	}
	return size * n;
}

/* Seconds of a Retry-After header (a number or a date), or -1. libcurl gives
 * 0 both for "0" and for no header, so the header is looked for first. */
static int fetch_retry_after(CURL *easy)
{
	struct curl_header *h;
	curl_off_t seconds;

	if (curl_easy_header(easy, "Retry-After", 0, CURLH_HEADER, -1, &h) !=
	            CURLHE_OK ||
	    curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &seconds) !=
	            CURLE_OK ||
	    seconds < 0)
		return -1;
	return seconds > INT_MAX ? INT_MAX : (int)seconds;
}

/* The value of the only WWW-Authenticate header; empty when there is none, or
 * more than one. */
static struct str fetch_challenge(CURL *easy)
{
	struct curl_header *h;

	if (curl_easy_header(easy, "WWW-Authenticate", 0, CURLH_HEADER, -1,
	                     &h) != CURLHE_OK ||
	    h->amount != 1)
		return STR_NONE;
	return str_c(h->value);
}

/* What went wrong, for a log line. The first three are limits set here; their
 * texts name the limit, which libcurl's do not. */
static const char *fetch_error_text(const struct fetch_job *j, CURLcode code)
{
	if (j->too_big || code == CURLE_FILESIZE_EXCEEDED)
		return "the answer is larger than allowed";
	if (code == CURLE_OPERATION_TIMEDOUT)
		return "no answer within the deadline";
	if (code == CURLE_UNSUPPORTED_PROTOCOL)
		return "only https is allowed here";
	return j->error[0] ? j->error : curl_easy_strerror(code);
}

static void fetch_job_end(struct fetch_job *j, CURLcode code)
{
	struct fetch_result res = {.retry_after_s = -1};
	long status = 0;

	j->ended = true;
	if (code == CURLE_OK) {
		curl_easy_getinfo(j->easy, CURLINFO_RESPONSE_CODE, &status);
		res.status = (int)status;
		res.body = buf_str(&j->answer);
		res.retry_after_s = fetch_retry_after(j->easy);
		res.challenge = fetch_challenge(j->easy);
	} else {
		res.error = fetch_error_text(j, code);
	}
	j->done(j->ctx, &res);
	fetch_job_free(j);
}

/* Call done() of all exchanges that have ended. A callback may start and
 * cancel others, which changes libcurl's queue of messages; so nothing of a
 * message is used after the callback, and the queue is read anew. */
static void fetch_end_finished(struct fetch *f)
{
	struct fetch_job *j;
	CURLMsg *msg;
	CURLcode code;
	int left;

	for (;;) {
		msg = curl_multi_info_read(f->multi, &left);
		if (!msg)
			return;
		if (msg->msg != CURLMSG_DONE)
			continue;
		code = msg->data.result;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &j);
		fetch_job_end(j, code);
	}
}

/* ----------------------------------------------------- libcurl and loop */

static void fetch_on_io(void *data, int fd, int events)
{
	struct fetch_sock *s = data;
	struct fetch *f = s->f; /* s may be gone after the next call */
	int mask = 0, running;

	if (events & LOOP_READ)
		mask |= CURL_CSELECT_IN;
	if (events & LOOP_WRITE)
		mask |= CURL_CSELECT_OUT;
	curl_multi_socket_action(f->multi, fd, mask ? mask : CURL_CSELECT_ERR,
	                         &running);
	fetch_end_finished(f);
}

static void fetch_on_timer(void *data)
{
	struct fetch *f = data;
	int running;

	curl_multi_socket_action(f->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	fetch_end_finished(f);
}

static void fetch_sock_free(struct fetch_sock *s)
{
	loop_io_stop(&s->io);
	*s->prev = s->next;
	if (s->next)
		s->next->prev = s->prev;
	free(s);
}

static struct fetch_sock *fetch_sock_new(struct fetch *f, curl_socket_t fd)
{
	struct fetch_sock *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->f = f;
	s->next = f->socks;
	s->prev = &f->socks;
	if (s->next)
		s->next->prev = &s->next;
	f->socks = s;
	curl_multi_assign(f->multi, fd, s);
	return s;
}

/* libcurl wants a socket watched for other events, or no more. `sock` is what
 * curl_multi_assign() has set, NULL for a new socket. */
static int fetch_on_watch(CURL *easy, curl_socket_t fd, int what, void *ctx,
                          void *sock)
{
	struct fetch *f = ctx;
	struct fetch_sock *s = sock;
	int events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (s)
			fetch_sock_free(s);
		return 0;
	}
	if (!s)
		s = fetch_sock_new(f, fd);
	if (!s)
		return -1; /* the transfer fails */
	if (what & CURL_POLL_IN)
		events |= LOOP_READ;
	if (what & CURL_POLL_OUT)
		events |= LOOP_WRITE;
	loop_io_start(f->loop, &s->io, fd, events, fetch_on_io, s);
	return 0;
}

/* libcurl changes its timeout; negative: it has none. 0 means soon, which is
 * the next loop turn: curl_multi_socket_action() must not be called here. */
static int fetch_on_timeout(CURLM *multi, long after_ms, void *ctx)
{
	struct fetch *f = ctx;

	(void)multi;
	if (after_ms < 0)
		loop_timer_stop(&f->timer);
	else
		loop_timer_start(f->loop, &f->timer, (uint64_t)after_ms,
		                 fetch_on_timer, f);
	return 0;
}

/* --------------------------------------------------------------- engine */

struct fetch *fetch_new(struct loop *l, const char *ca_file)
{
	struct fetch *f;

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return NULL;
	f = calloc(1, sizeof(*f));
	if (!f) {
		curl_global_cleanup();
		return NULL;
	}
	f->loop = l;
	f->multi = curl_multi_init();
	f->ca_file = ca_file ? str_dup(str_c(ca_file)) : NULL;
	if (!f->multi || (ca_file && !f->ca_file)) {
		fetch_free(f);
		return NULL;
	}
	curl_multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, fetch_on_watch);
	curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f);
	curl_multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, fetch_on_timeout);
	curl_multi_setopt(f->multi, CURLMOPT_TIMERDATA, f);
	curl_multi_setopt(f->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS,
	                  (long)FETCH_MAX_CONNECTIONS);
	curl_multi_setopt(f->multi, CURLMOPT_MAXCONNECTS,
	                  (long)FETCH_KEPT_CONNECTIONS);
	return f;
}

void fetch_free(struct fetch *f)
{
	if (!f)
		return;
	while (f->jobs)
		fetch_job_free(f->jobs);
	if (f->multi)
		curl_multi_cleanup(f->multi);
	while (f->socks)
		fetch_sock_free(f->socks);
	loop_timer_stop(&f->timer);
	free(f->ca_file);
	free(f);
	curl_global_cleanup();
}

/* ------------------------------------------------------------- starting */

static bool fetch_add_header(struct fetch_job *j, const char *line)
{
	struct curl_slist *more = curl_slist_append(j->headers, line);

	if (!more)
		return false;
	j->headers = more;
	return true;
}

static bool fetch_copy_headers(struct fetch_job *j,
                               const struct fetch_request *r)
{
	const char *const *line;

	/* no "Expect: 100-continue": libcurl sends it with larger bodies and
	 * then waits up to a second for an answer to it */
	if (!fetch_add_header(j, "Expect:"))
		return false;
	for (line = r->headers; line && *line; line++)
		if (!fetch_add_header(j, *line))
			return false;
	return true;
}

/* The copy is ours and not libcurl's (CURLOPT_COPYPOSTFIELDS), so that it can
 * be wiped. */
static bool fetch_copy_body(struct fetch_job *j, const struct fetch_request *r)
{
	if (r->body.len == 0)
		return true;
	j->body = str_dup(r->body);
	j->body_len = r->body.len;
	return j->body &&
	       curl_easy_setopt(j->easy, CURLOPT_POSTFIELDSIZE,
	                        (long)j->body_len) == CURLE_OK &&
	       curl_easy_setopt(j->easy, CURLOPT_POSTFIELDS, j->body) ==
	               CURLE_OK;
}

static bool fetch_set_text(struct fetch_job *j, CURLoption option,
                           const char *value)
{
	return curl_easy_setopt(j->easy, option, value) == CURLE_OK;
}

static bool fetch_set_number(struct fetch_job *j, CURLoption option,
                             uint64_t value)
{
	long v = value > LONG_MAX ? LONG_MAX : (long)value;

	return curl_easy_setopt(j->easy, option, v) == CURLE_OK;
}

/* The options that protect every exchange; one that cannot be set fails it.
 *
 * Proxy: tokens of IMDS must not go through one (azure.md 3.2), so the
 * environment (http_proxy, NO_PROXY) does not count. Redirects: a secret must
 * not follow one. NOSIGNAL: libcurl's timeouts must not use SIGALRM in a
 * process that has its own loop. HTTP/1.1: one exchange at a time per
 * connection, and no HTTP/2 state to keep. */
static bool fetch_set_protections(struct fetch_job *j,
                                  const struct fetch_request *r)
{
	uint64_t connect_ms = r->deadline_ms < FETCH_CONNECT_MS
	                              ? r->deadline_ms
	                              : FETCH_CONNECT_MS;

	return fetch_set_text(j, CURLOPT_PROTOCOLS_STR,
	                      r->allow_http ? "http,https" : "https") &&
	       fetch_set_text(j, CURLOPT_PROXY, "") &&
	       fetch_set_text(j, CURLOPT_NOPROXY, "*") &&
	       fetch_set_number(j, CURLOPT_FOLLOWLOCATION, 0) &&
	       fetch_set_number(j, CURLOPT_NOSIGNAL, 1) &&
	       fetch_set_number(j, CURLOPT_NETRC, CURL_NETRC_IGNORED) &&
	       fetch_set_number(j, CURLOPT_SSL_VERIFYPEER, 1) &&
	       fetch_set_number(j, CURLOPT_SSL_VERIFYHOST, 2) &&
	       fetch_set_number(j, CURLOPT_SSLVERSION,
	                        CURL_SSLVERSION_TLSv1_2) &&
	       fetch_set_number(j, CURLOPT_HTTP_VERSION,
	                        CURL_HTTP_VERSION_1_1) &&
	       fetch_set_number(j, CURLOPT_CONNECTTIMEOUT_MS, connect_ms) &&
	       fetch_set_number(j, CURLOPT_TIMEOUT_MS, r->deadline_ms) &&
	       fetch_set_number(j, CURLOPT_MAXFILESIZE, r->max_answer) &&
	       (!j->f->ca_file ||
	        fetch_set_text(j, CURLOPT_CAINFO, j->f->ca_file));
}

static bool fetch_set_url(struct fetch_job *j, struct str url)
{
	char *z = str_dup(url);
	/* a NUL inside would cut the URL short */
	bool ok =
		z && strlen(z) == url.len && fetch_set_text(j, CURLOPT_URL, z);

	free(z);
	return ok;
}

/* All that can fail of a new job; the caller frees it then. */
static bool fetch_prepare(struct fetch_job *j, const struct fetch_request *r)
{
	j->easy = curl_easy_init();
	if (!j->easy || r->max_answer == 0 || r->deadline_ms == 0)
		return false;
	buf_init(&j->answer, r->max_answer);
	return buf_reserve(&j->answer, r->max_answer) &&
	       fetch_set_protections(j, r) && fetch_set_url(j, r->url) &&
	       fetch_copy_headers(j, r) && fetch_copy_body(j, r) &&
	       fetch_set_text(j, CURLOPT_USERAGENT, "foundry-spoa") &&
	       curl_easy_setopt(j->easy, CURLOPT_HTTPHEADER, j->headers) ==
	               CURLE_OK &&
	       curl_easy_setopt(j->easy, CURLOPT_ERRORBUFFER, j->error) ==
	               CURLE_OK &&
	       curl_easy_setopt(j->easy, CURLOPT_PRIVATE, j) == CURLE_OK &&
	       curl_easy_setopt(j->easy, CURLOPT_WRITEFUNCTION,
	                        fetch_on_body) == CURLE_OK &&
	       curl_easy_setopt(j->easy, CURLOPT_WRITEDATA, j) == CURLE_OK;
}

struct fetch_job *fetch_start(struct fetch *f, const struct fetch_request *r,
                              void (*done)(void *ctx,
                                           const struct fetch_result *res),
                              void *ctx)
{
	struct fetch_job *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->f = f;
	j->done = done;
	j->ctx = ctx;
	/* Adding only sets libcurl's timeout to 0 (fetch_on_timeout). The
	 * transfer begins when the loop's timer fires, so `done` cannot run
	 * from within this function. */
	if (!fetch_prepare(j, r) ||
	    curl_multi_add_handle(f->multi, j->easy) != CURLM_OK) {
		fetch_job_free(j);
		return NULL;
	}
	j->next = f->jobs;
	j->prev = &f->jobs;
	if (j->next)
		j->next->prev = &j->next;
	f->jobs = j;
	return j;
}

void fetch_cancel(struct fetch_job *j)
{
	if (j && !j->ended)
		fetch_job_free(j);
}

const char *fetch_library(void)
{
	return curl_version();
}
