/*
 * conf/url: parse the URLs and addresses of a configuration.
 *
 * Stricter than RFC 3986: a query, a fragment, percent-encoding of the host and
 * unusual characters are refused. The parts are written to haproxy.cfg and to
 * log lines, where they must not have a meaning of their own. All parts point
 * into the text. A host is a name of letters, digits, '-' and '.', an IPv4
 * address, or an IPv6 address (in brackets; `host` is without them).
 */
#ifndef CONF_URL_H
#define CONF_URL_H

#include "base/str.h"

struct url {
	struct str scheme; /* "https" */
	struct str user;   /* empty: none */
	bool has_password; /* the user part has a ':'. The password is not
	                    * kept: it does not belong in the file. */
	struct str host;
	uint16_t port;   /* 0: not given */
	struct str path; /* with its '/', empty: none */
};

/* SCHEME://[USER@]HOST[:PORT][/PATH]. False for anything else; *out is then
 * untouched. */
bool url_parse(struct str s, struct url *out);

/* Without any '/' at the end: paths are appended to it. */
struct str url_trim_slashes(struct str s);

/* HOST[:PORT] or [IPv6][:PORT]; *port is 0 when it is missing. */
bool url_address(struct str s, struct str *host, uint16_t *port);

bool url_is_numeric(struct str host);    /* an IPv4 or IPv6 address */
bool url_is_loopback(struct str host);   /* 127.0.0.0/8, ::1, localhost */
bool url_is_link_local(struct str host); /* 169.254.0.0/16, fe80::/10 */

/* Whether credentials may be sent there: https, or http to a loopback host. */
bool url_is_safe(const struct url *u);

#endif
