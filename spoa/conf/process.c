/*
 * conf/process: workers, listeners, Redis and ledger of a configuration.
 *
 * The listeners have no authentication of their own: loopback addresses and the
 * mode of the unix sockets are the protection, so other addresses are errors.
 */
#include "conf/build.h"
#include "conf/secret.h"
#include "conf/url.h"

#include <unistd.h>

/* The default port of Redis. It has 16 databases by default; 1023 is only a
 * bound against mistakes. */
enum { REDIS_PORT = 6379, REDIS_DB_MAX = 1023 };

static bool proc_is_loopback(struct str address)
{
	struct str host;
	uint16_t port;

	return url_address(address, &host, &port) && url_is_loopback(host);
}

/* A client of the SPOP listener gets Azure tokens in the answer, and a sender
 * to the usage listener can forge usage records. */
static void proc_require_loopback(struct build *b, const struct place *at,
                                  struct str address)
{
	if (address.len > 0 && !str_starts(address, STR("unix:")) &&
	    !proc_is_loopback(address))
		report_error(b->rep, at,
		             "found %" STR_FMT ", expected a loopback "
		             "address: nothing here is encrypted",
		             STR_ARG(address));
}

/* The HTTP listener may be on another address, so that Prometheus can reach it,
 * but that is a warning. */
static void proc_build_listen(struct build *b)
{
	struct place top = place_key(NULL, STR("listen"));
	struct place spop = place_key(&top, STR("spop"));
	struct place usage = place_key(&top, STR("usage"));
	struct place http = place_key(&top, STR("http"));
	struct policy_listen *l = &b->policy->listen;
	size_t i, j;

	*l = b->raw->listen.p;
	for (i = 0; i < l->spop.n; i++) {
		struct place at = place_index(&spop, i);

		proc_require_loopback(b, &at, l->spop.v[i]);
		for (j = 0; j < i; j++)
			if (str_eq(l->spop.v[i], l->spop.v[j]))
				report_error(b->rep, &at,
				             "found the same address twice, "
				             "expected different ones");
		if (str_eq(l->spop.v[i], l->http))
			report_error(b->rep, &http,
			             "found the address of listen.spop[%zu], "
			             "expected another one",
			             i);
	}
	proc_require_loopback(b, &usage, l->usage);
	if (l->http.len > 0 && !proc_is_loopback(l->http))
		report_warning(b->rep, &http,
		               "%" STR_FMT " is not a loopback address: "
		               "metrics are open to whoever reaches it",
		               STR_ARG(l->http));
}

/* The path of a redis:// URL is the database number; empty or "/" means 0. */
static bool proc_parse_redis_db(struct str path, unsigned *out)
{
	uint64_t v = 0;

	if (path.len > 1 &&
	    (!str_to_u64(str_from(path, 1), &v) || v > REDIS_DB_MAX))
		return false;
	*out = (unsigned)v;
	return true;
}

/* One entry of redis.url. */
struct redis_url {
	struct str scheme, user;
	unsigned db;
	struct policy_endpoint at;
};

/* *out is a unix socket unless the text is a good redis:// URL, so that a
 * refused one causes no further errors. */
static void proc_parse_redis_url(struct build *b, const struct place *at,
                                 struct str text, struct redis_url *out)
{
	struct url u;

	*out = (struct redis_url){.scheme = STR("unix")};
	if (str_starts(text, STR("unix:"))) {
		out->at.host = str_from(text, 5);
		return;
	}
	if (!url_parse(text, &u))
		return; /* reported when it was read */
	if (u.has_password)
		report_error(b->rep, at,
		             "found a password in the URL, expected it in "
		             "password_file or password_env");
	if (!proc_parse_redis_db(u.path, &out->db))
		report_error(b->rep, at,
		             "found a database that is no number, expected "
		             "/0 to /%d",
		             REDIS_DB_MAX);
	out->scheme = u.scheme;
	out->user = u.user;
	out->at.host = pool_str(b->pool, u.host);
	out->at.port = u.port ? u.port : REDIS_PORT;
}

/* All URLs are servers of one Redis, so they may differ in the address only. */
static void proc_compare_redis_url(struct build *b, const struct place *at,
                                   const struct redis_url *first,
                                   const struct redis_url *u)
{
	const struct policy_redis *r = &b->policy->redis;
	const char *differs = NULL;
	size_t i;

	if (!str_eq(u->scheme, first->scheme))
		differs = "scheme";
	else if (!str_eq(u->user, first->user))
		differs = "user";
	else if (u->db != first->db)
		differs = "database";
	if (differs)
		report_error(b->rep, at,
		             "found another %s than in the first URL, expected "
		             "the same: all are servers of one Redis",
		             differs);
	for (i = 0; i < r->n_endpoints; i++)
		if (str_eq(r->endpoints[i].host, u->at.host) &&
		    r->endpoints[i].port == u->at.port)
			report_error(b->rep, at,
			             "found the same address twice, expected "
			             "different ones");
}

static void proc_build_redis_urls(struct build *b, const struct place *top,
                                  struct policy_redis *r)
{
	struct place key = place_key(top, STR("url"));
	const struct strs *urls = &b->raw->redis.url;
	struct redis_url first = {.db = 0}, u;
	size_t i;

	for (i = 0; i < urls->n && i < POLICY_REDIS_ENDPOINTS; i++) {
		struct place at = urls->n > 1 ? place_index(&key, i) : key;

		proc_parse_redis_url(b, &at, urls->v[i], &u);
		if (i == 0)
			first = u;
		else
			proc_compare_redis_url(b, &at, &first, &u);
		r->endpoints[r->n_endpoints++] = u.at;
	}
	r->db = first.db;
	r->tls = str_eq(first.scheme, STR("rediss"));
	r->username = pool_str(b->pool, first.user);
}

/* Whether the connection stays on this machine: unix socket (port 0) or
 * loopback. Then it needs no encryption. */
static bool proc_redis_is_local(const struct policy_redis *r)
{
	size_t i;

	for (i = 0; i < r->n_endpoints; i++)
		if (r->endpoints[i].port &&
		    !url_is_loopback(r->endpoints[i].host))
			return false;
	return true;
}

/* No password is no error: Redis may be on a unix socket or have none. */
static void proc_build_redis_password(struct build *b, const struct place *top,
                                      struct policy_redis *r)
{
	const struct raw_redis *raw = &b->raw->redis;
	const struct secret_source from = {"password_env", "password_file",
	                                   raw->password_env,
	                                   raw->password_file};

	if (from.env.len == 0 && from.file.len == 0)
		return;
	secret_read(b->pool, b->rep, top, &from, &r->password);
	if (!r->tls && !proc_redis_is_local(r))
		report_warning(b->rep, top,
		               "the password goes over the network in clear "
		               "text: use rediss://");
}

/* The name itself is resolved by conf/azure. */
/* An access token is worth more than a password: without TLS it is an error. */
static void proc_check_redis_credential(struct build *b,
                                        const struct place *top,
                                        const struct policy_redis *r)
{
	const struct raw_redis *raw = &b->raw->redis;
	struct place at = place_key(top, STR("credential"));

	if (raw->credential.len == 0)
		return;
	if (raw->password_env.len > 0 || raw->password_file.len > 0)
		report_error(b->rep, &at,
		             "found it with a password, expected one of them: "
		             "the token is the password");
	if (!r->tls && !proc_redis_is_local(r))
		report_error(b->rep, &at,
		             "found it with a URL that is not rediss://, "
		             "expected TLS: the token would go over the "
		             "network in clear text");
}

static void proc_check_redis_ca(struct build *b, const struct place *top,
                                const struct policy_redis *r)
{
	struct place at = place_key(top, STR("ca_file"));

	if (r->ca_file.len == 0)
		return;
	if (!r->tls)
		report_error(b->rep, &at,
		             "found it with a URL that is not rediss://, "
		             "expected it with TLS only");
	else if (access(r->ca_file.p, R_OK) != 0)
		report_error(b->rep, &at,
		             "found that %" STR_FMT " cannot be read, "
		             "expected a file with certificates",
		             STR_ARG(r->ca_file));
}

/* The deadline of Redis must be shorter than that of a decision: a request that
 * Redis does not answer must still be decided by on_store_failure. */
static void proc_build_redis(struct build *b)
{
	struct place top = place_key(NULL, STR("redis"));
	struct place deadline = place_key(&top, STR("deadline_ms"));
	struct policy_redis *r = &b->policy->redis;

	*r = b->raw->redis.p;
	r->enabled = options_given(&options_root, b->raw, "redis");
	if (!r->enabled)
		return;
	proc_build_redis_urls(b, &top, r);
	proc_build_redis_password(b, &top, r);
	proc_check_redis_credential(b, &top, r);
	proc_check_redis_ca(b, &top, r);
	if (r->deadline_ms >= b->raw->decision_timeout_ms)
		report_error(b->rep, &deadline,
		             "found %u, expected less than "
		             "decision_timeout_ms (%u)",
		             r->deadline_ms, b->raw->decision_timeout_ms);
}

static void proc_build_ledger(struct build *b)
{
	const struct raw_ledger *raw = &b->raw->ledger;

	b->policy->ledger = raw->p;
	b->policy->ledger.max_bytes = raw->max_mb * 1000000;
	if (raw->p.file.len == 0) /* no section: the default does not apply */
		b->policy->ledger.stream_max = 0;
}

void process_build(struct build *b)
{
	b->policy->workers = b->raw->workers;
	b->policy->log_level = b->raw->log_level;
	b->policy->decision_timeout_ms = b->raw->decision_timeout_ms;
	proc_build_listen(b);
	proc_build_redis(b);
	proc_build_ledger(b);
}
