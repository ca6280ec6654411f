/*
 * upstream/render: the HAProxy backends that belong to a policy.
 *
 *   resources --+--> resolvers gateway     once, if a host is in DNS
 *               +--> backend r.NAME        each; has the health check
 *               +--> backend s.NAME        each; tracks r.NAME
 *
 * Only what differs between resources is rendered. What all backends share
 * (timeouts, retries, how short answers are read) is in the sections
 * `defaults r` and `defaults s` of haproxy.cfg, where operators can read and
 * change it.
 *
 * Names and addresses are written without quotes or escapes: conf/value admits
 * no character in them that HAProxy's parser would interpret.
 */
#include "upstream/render.h"

#include "conf/url.h"

static const char render_head[] =
	"# Use it behind haproxy.cfg, whose sections `defaults r` and "
	"`defaults "
	"s` it\n"
	"# builds on. Made again, it is the same; do not change it here.\n";

/* Addresses of Azure change, so names are looked up again while HAProxy runs
 * (`hold valid`). While DNS does not answer, the last known address is used for
 * an hour. What DNS does say is followed after 30 s: that the name is gone
 * (`nx`) or an address is no longer among its answers (`obsolete`). */
static const char render_dns[] = "\nresolvers gateway\n"
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

/* The address of a `server` line: `address` of the resource where it is set
 * (a private endpoint, a proxy), else the host and port of its URL. */
static void render_endpoint(const struct policy_resource *r, struct str *host,
                            uint16_t *port)
{
	*host = r->host;
	*port = r->port;
	if (r->address.len > 0)
		url_address(r->address, host, port);
}

/* A name without a dot ("localhost", an entry of /etc/hosts) is unknown to DNS:
 * libc looks it up once, when HAProxy starts (`init-addr`). */
static bool render_needs_dns(const struct policy_resource *r)
{
	struct str host;
	uint16_t port;

	render_endpoint(r, &host, &port);
	return !url_is_numeric(host) && str_find(host, '.') < host.len;
}

/* The certificate is verified against the SNI for requests, and against
 * `verifyhost` for health checks, to which `sni` does not apply. */
static void render_tls(struct buf *out, const struct policy_resource *r)
{
	struct str ca = r->ca_file.len ? r->ca_file : STR("@system-ca");

	buf_fmt(out,
	        " ssl verify required ca-file %" STR_FMT " sni str(%" STR_FMT
	        ") verifyhost %" STR_FMT,
	        STR_ARG(ca), STR_ARG(r->host), STR_ARG(r->host));
}

/* `resolve-prefer ipv4`: many networks have no IPv6 route to Azure. `init-addr
 * last,libc,none` lets HAProxy start although a name is not resolved yet. */
static void render_server(struct buf *out, const struct policy_resource *r)
{
	struct str host;
	uint16_t port;
	bool v6;

	render_endpoint(r, &host, &port);
	v6 = str_find(host, ':') < host.len;
	buf_fmt(out, "\tserver %" STR_FMT " %s%" STR_FMT "%s:%u",
	        STR_ARG(r->name), v6 ? "[" : "", STR_ARG(host), v6 ? "]" : "",
	        port);
	if (r->tls)
		render_tls(out, r);
	if (render_needs_dns(r))
		buf_fmt(out, " resolvers gateway resolve-prefer ipv4");
	if (!url_is_numeric(host))
		buf_fmt(out, " init-addr last,libc,none");
	/* HAProxy must be the one that closes an idle connection: a request on
	 * one that Azure has just closed would fail */
	buf_fmt(out, " pool-purge-delay 30s");
}

/* A gateway key must never reach a resource, in whichever header it came.
 * haproxy.cfg removes the usual ones and $GATEWAY_KEY_HEADER; this line removes
 * the policy's `key_header` also where that variable was not set to it. */
static void render_key_header(struct buf *out, const struct policy *p)
{
	if (p->key_header.len > 0)
		buf_fmt(out, "\thttp-request del-header %" STR_FMT "\n",
		        STR_ARG(p->key_header));
}

/* Both backends have the same server. r.NAME checks its health and s.NAME
 * follows (`track`), so a resource sees one check per interval, not two. A
 * check is a connection, with TLS also a handshake and the verification of the
 * certificate: it needs no credential and costs no tokens. */
static void render_resource(struct buf *out, const struct policy *p,
                            const struct policy_resource *r)
{
	buf_fmt(out, "\nbackend r.%" STR_FMT " from r\n", STR_ARG(r->name));
	render_key_header(out, p);
	render_server(out, r);
	if (r->tls)
		buf_fmt(out, " check-sni %" STR_FMT, STR_ARG(r->host));
	buf_fmt(out, " check inter 10s fastinter 2s downinter 5s fall 3 "
	             "rise 1\n");

	buf_fmt(out, "\nbackend s.%" STR_FMT " from s\n\tfilter lua.usage\n",
	        STR_ARG(r->name));
	render_key_header(out, p);
	render_server(out, r);
	buf_fmt(out, " track r.%" STR_FMT "/%" STR_FMT "\n", STR_ARG(r->name),
	        STR_ARG(r->name));
}

bool render_haproxy(const struct policy *p, struct buf *out)
{
	size_t i;

	buf_fmt(out, "# The backends of ");
	buf_json(out, str_c(p->file));
	buf_fmt(out, ", printed by foundry-spoa render-haproxy.\n%s",
	        render_head);
	for (i = 0; i < p->n_resources; i++)
		if (render_needs_dns(&p->resources[i])) {
			buf_fmt(out, "%s", render_dns);
			break;
		}
	for (i = 0; i < p->n_resources; i++)
		render_resource(out, p, &p->resources[i]);
	return !out->failed;
}
