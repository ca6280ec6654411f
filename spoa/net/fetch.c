/*
 * net/fetch: the door to libcurl's multi interface, on our loop.
 *
 *   fetch_start -> multi --socketfunction--> loop_io --\
 *                        --timerfunction---> timer  ----> socket_action
 *                                            done(result) <-- info_read
 */
#include "net/fetch.h"

#include "base/buf.h"

#include <curl/curl.h>
#include <limits.h>
#include <stdlib.h>

enum {
	FETCH_CONNECT_MS = 2000,
	FETCH_MAX_CONNECTIONS = 16, /* at a time; more wait their turn */
	FETCH_KEPT_CONNECTIONS = 4, /* idle ones */
};

struct fetch {
	struct loop *loop;
	CURLM *multi;
	char *ca_file;
	struct loop_timer timer;
	struct fetch_job *jobs;
	struct fetch_sock *socks;
};

/* A socket of libcurl's that the loop watches. */
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
	bool too_big;
	bool ended;
	char error[CURL_ERROR_SIZE];
	void (*done)(void *ctx, const struct fetch_result *res);
	void *ctx;
};

/* ----------------------------------------------------------------- jobs */

static void job_free(struct fetch_job *j)
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
	curl_slist_free_all(j->headers);
	if (j->body)
		explicit_bzero(j->body, j->body_len);
	free(j->body);
	if (j->answer.p)
		explicit_bzero(j->answer.p, j->answer.len);
	buf_done(&j->answer);
	free(j);
}

static size_t write_cb(char *data, size_t size, size_t n, void *ctx)
{
	struct fetch_job *j = ctx;

	/* never past what was reserved: growing would leave a copy */
	if (size * n > j->answer.cap - j->answer.len ||
	    !buf_add(&j->answer, data, size * n)) {
		j->too_big = true;
		return 0;
	}
	return size * n;
}

/* Seconds of a Retry-After header (a number or a date), or -1. */
static int retry_after(CURL *easy)
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

static struct str challenge(CURL *easy)
{
	struct curl_header *h;

	if (curl_easy_header(easy, "WWW-Authenticate", 0, CURLH_HEADER, -1,
	                     &h) != CURLHE_OK ||
	    h->amount != 1)
		return STR_NONE;
	return str_c(h->value);
}

static const char *why(const struct fetch_job *j, CURLcode code)
{
	if (j->too_big || code == CURLE_FILESIZE_EXCEEDED)
		return "the answer is larger than allowed";
	if (code == CURLE_OPERATION_TIMEDOUT)
		return "no answer within the deadline";
	if (code == CURLE_UNSUPPORTED_PROTOCOL)
		return "only https is allowed here";
	return j->error[0] ? j->error : curl_easy_strerror(code);
}

static void job_end(struct fetch_job *j, CURLcode code)
{
	struct fetch_result res = {.retry_after_s = -1};
	long status = 0;

	j->ended = true;
	if (code == CURLE_OK) {
		curl_easy_getinfo(j->easy, CURLINFO_RESPONSE_CODE, &status);
		res.status = (int)status;
		res.body = buf_str(&j->answer);
		res.retry_after_s = retry_after(j->easy);
		res.challenge = challenge(j->easy);
	} else {
		res.error = why(j, code);
	}
	j->done(j->ctx, &res);
	job_free(j);
}

/* Tell about all exchanges that have ended. A callback may start and cancel
 * others, so libcurl is asked anew after each. */
static void drain(struct fetch *f)
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
		job_end(j, code);
	}
}

/* ----------------------------------------------------- libcurl and loop */

static void on_socket(void *data, int fd, int events)
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
	drain(f);
}

static void on_timer(void *data)
{
	struct fetch *f = data;
	int running;

	curl_multi_socket_action(f->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	drain(f);
}

static void sock_free(struct fetch_sock *s)
{
	loop_io_stop(&s->io);
	*s->prev = s->next;
	if (s->next)
		s->next->prev = s->prev;
	free(s);
}

static struct fetch_sock *sock_new(struct fetch *f, curl_socket_t fd)
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

static int socket_cb(CURL *easy, curl_socket_t fd, int what, void *ctx,
                     void *sock)
{
	struct fetch *f = ctx;
	struct fetch_sock *s = sock;
	int events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (s)
			sock_free(s);
		return 0;
	}
	if (!s)
		s = sock_new(f, fd);
	if (!s)
		return -1; /* the transfer fails */
	if (what & CURL_POLL_IN)
		events |= LOOP_READ;
	if (what & CURL_POLL_OUT)
		events |= LOOP_WRITE;
	loop_io_start(f->loop, &s->io, fd, events, on_socket, s);
	return 0;
}

static int timer_cb(CURLM *multi, long after_ms, void *ctx)
{
	struct fetch *f = ctx;

	(void)multi;
	if (after_ms < 0)
		loop_timer_stop(&f->timer);
	else
		loop_timer_start(f->loop, &f->timer, (uint64_t)after_ms,
		                 on_timer, f);
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
	curl_multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, socket_cb);
	curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f);
	curl_multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, timer_cb);
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
		job_free(f->jobs);
	if (f->multi)
		curl_multi_cleanup(f->multi);
	while (f->socks)
		sock_free(f->socks);
	loop_timer_stop(&f->timer);
	free(f->ca_file);
	free(f);
	curl_global_cleanup();
}

/* ------------------------------------------------------------- starting */

static bool add_header(struct fetch_job *j, const char *line)
{
	struct curl_slist *more = curl_slist_append(j->headers, line);

	if (!more)
		return false;
	j->headers = more;
	return true;
}

static bool copy_headers(struct fetch_job *j, const struct fetch_request *r)
{
	const char *const *line;

	/* without it libcurl waits for "100 Continue" before longer bodies */
	if (!add_header(j, "Expect:"))
		return false;
	for (line = r->headers; line && *line; line++)
		if (!add_header(j, *line))
			return false;
	return true;
}

static bool copy_body(struct fetch_job *j, const struct fetch_request *r)
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

static bool set_text(struct fetch_job *j, CURLoption option, const char *value)
{
	return curl_easy_setopt(j->easy, option, value) == CURLE_OK;
}

static bool set_number(struct fetch_job *j, CURLoption option, uint64_t value)
{
	long v = value > LONG_MAX ? LONG_MAX : (long)value;

	return curl_easy_setopt(j->easy, option, v) == CURLE_OK;
}

/* What every exchange has in common; any option that cannot be set fails it,
 * because each of them is a protection. */
static bool protect(struct fetch_job *j, const struct fetch_request *r)
{
	uint64_t connect_ms = r->deadline_ms < FETCH_CONNECT_MS
	                              ? r->deadline_ms
	                              : FETCH_CONNECT_MS;

	return set_text(j, CURLOPT_PROTOCOLS_STR,
	                r->allow_http ? "http,https" : "https") &&
	       set_text(j, CURLOPT_PROXY, "") &&
	       set_text(j, CURLOPT_NOPROXY, "*") &&
	       set_number(j, CURLOPT_FOLLOWLOCATION, 0) &&
	       set_number(j, CURLOPT_NOSIGNAL, 1) &&
	       set_number(j, CURLOPT_NETRC, CURL_NETRC_IGNORED) &&
	       set_number(j, CURLOPT_SSL_VERIFYPEER, 1) &&
	       set_number(j, CURLOPT_SSL_VERIFYHOST, 2) &&
	       set_number(j, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2) &&
	       set_number(j, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1) &&
	       set_number(j, CURLOPT_CONNECTTIMEOUT_MS, connect_ms) &&
	       set_number(j, CURLOPT_TIMEOUT_MS, r->deadline_ms) &&
	       set_number(j, CURLOPT_MAXFILESIZE, r->max_answer) &&
	       (!j->f->ca_file || set_text(j, CURLOPT_CAINFO, j->f->ca_file));
}

static bool set_url(struct fetch_job *j, struct str url)
{
	char *z = str_dup(url);
	/* a NUL inside would cut the URL short */
	bool ok = z && strlen(z) == url.len && set_text(j, CURLOPT_URL, z);

	free(z);
	return ok;
}

static bool prepare(struct fetch_job *j, const struct fetch_request *r)
{
	j->easy = curl_easy_init();
	if (!j->easy || r->max_answer == 0 || r->deadline_ms == 0)
		return false;
	buf_init(&j->answer, r->max_answer);
	return buf_reserve(&j->answer, r->max_answer) && protect(j, r) &&
	       set_url(j, r->url) && copy_headers(j, r) && copy_body(j, r) &&
	       set_text(j, CURLOPT_USERAGENT, "foundry-spoa") &&
	       curl_easy_setopt(j->easy, CURLOPT_HTTPHEADER, j->headers) ==
	               CURLE_OK &&
	       curl_easy_setopt(j->easy, CURLOPT_ERRORBUFFER, j->error) ==
	               CURLE_OK &&
	       curl_easy_setopt(j->easy, CURLOPT_PRIVATE, j) == CURLE_OK &&
	       curl_easy_setopt(j->easy, CURLOPT_WRITEFUNCTION, write_cb) ==
	               CURLE_OK &&
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
	/* adding only sets libcurl's timer to zero: the rest happens when the
	 * loop comes by, so `done` cannot run in here */
	if (!prepare(j, r) ||
	    curl_multi_add_handle(f->multi, j->easy) != CURLM_OK) {
		job_free(j);
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
		job_free(j);
}

const char *fetch_library(void)
{
	return curl_version();
}
