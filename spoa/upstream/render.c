/*
 * upstream/render: the HAProxy backends that belong to a policy.
 *
 * Only what differs between resources is here. What all backends share
 * (timeouts, what may be tried again, how short answers are read) is in the
 * sections `defaults r` and `defaults s` of haproxy.cfg.
 */
#include "upstream/render.h"

#include "conf/url.h"

static const char head[] =
	"# Use it behind haproxy.cfg, whose sections `defaults r` and "
	"`defaults "
	"s` it\n"
	"# builds on. Made again, it is the same; do not change it here.\n";

/* Addresses of Azure change. While DNS does not answer, the last known one is
 * used for an hour. */
static const char dns[] = "\nresolvers gateway\n"
			  "\tparse-resolv-conf\n"
			  "\taccepted_payload_size 8192\n"
			  "\tresolve_retries 3\n"
			  "\ttimeout resolve 1s\n"
			  "\ttimeout retry 1s\n"
			  "\thold valid 10s\n"
			  "\thold nx 30s\n"
			  "\thold obsolete 30s\n"
			  "\thold timeout 1h\n"
			  "\thold refused 1h\n"
			  "\thold other 1h\n";

/* What one server line connects to. */
static void target(const struct policy_resource *r, struct str *host,
                   uint16_t *port)
{
	*host = r->host;
	*port = r->port;
	if (r->address.len > 0)
		url_address(r->address, host, port);
}

/* Names of the machine itself ("localhost", or what /etc/hosts gives a short
 * name) are unknown to DNS: they are looked up once, at the start. */
static bool wants_dns(const struct policy_resource *r)
{
	struct str host;
	uint16_t port;

	target(r, &host, &port);
	return !url_is_numeric(host) && str_find(host, '.') < host.len;
}

static void add_tls(struct buf *out, const struct policy_resource *r)
{
	struct str ca = r->ca_file.len ? r->ca_file : STR("@system-ca");

	buf_fmt(out,
	        " ssl verify required ca-file %" STR_FMT " sni str(%" STR_FMT
	        ") verifyhost %" STR_FMT,
	        STR_ARG(ca), STR_ARG(r->host), STR_ARG(r->host));
}

static void add_server(struct buf *out, const struct policy_resource *r)
{
	struct str host;
	uint16_t port;
	bool v6;

	target(r, &host, &port);
	v6 = str_find(host, ':') < host.len;
	buf_fmt(out, "\tserver %" STR_FMT " %s%" STR_FMT "%s:%u",
	        STR_ARG(r->name), v6 ? "[" : "", STR_ARG(host), v6 ? "]" : "",
	        port);
	if (r->tls)
		add_tls(out, r);
	if (wants_dns(r))
		buf_fmt(out, " resolvers gateway resolve-prefer ipv4");
	if (!url_is_numeric(host))
		buf_fmt(out, " init-addr last,libc,none");
	/* shorter than an idle connection lives at the other end */
	buf_fmt(out, " pool-purge-delay 30s");
}

/* A gateway key must never reach a resource, whatever header it came in. */
static void add_key_header(struct buf *out, const struct policy *p)
{
	if (p->key_header.len > 0)
		buf_fmt(out, "\thttp-request del-header %" STR_FMT "\n",
		        STR_ARG(p->key_header));
}

/* One of the two looks after the server, the other one follows: a check is a
 * connection (with TLS, a handshake and the certificate's verification) and
 * needs no credential. */
static void add_resource(struct buf *out, const struct policy *p,
                         const struct policy_resource *r)
{
	buf_fmt(out, "\nbackend r.%" STR_FMT " from r\n", STR_ARG(r->name));
	add_key_header(out, p);
	add_server(out, r);
	if (r->tls)
		buf_fmt(out, " check-sni %" STR_FMT, STR_ARG(r->host));
	buf_fmt(out, " check inter 10s fastinter 2s downinter 5s fall 3 "
	             "rise 1\n");

	buf_fmt(out, "\nbackend s.%" STR_FMT " from s\n\tfilter lua.usage\n",
	        STR_ARG(r->name));
	add_key_header(out, p);
	add_server(out, r);
	buf_fmt(out, " track r.%" STR_FMT "/%" STR_FMT "\n", STR_ARG(r->name),
	        STR_ARG(r->name));
}

bool render_haproxy(const struct policy *p, struct buf *out)
{
	size_t i;

	buf_fmt(out, "# The backends of ");
	buf_json(out, str_c(p->file));
	buf_fmt(out, ", printed by foundry-spoa render-haproxy.\n%s", head);
	for (i = 0; i < p->n_resources; i++)
		if (wants_dns(&p->resources[i])) {
			buf_fmt(out, "%s", dns);
			break;
		}
	for (i = 0; i < p->n_resources; i++)
		add_resource(out, p, &p->resources[i]);
	return !out->failed;
}
