/*
 * conf/url: URLs and addresses of a configuration, taken apart.
 *
 * Stricter than RFC 3986: only what an operator means here. All parts point
 * into the text. A host is a name of letters, digits, '-' and '.', an IPv4
 * address, or an IPv6 address (in brackets, given without them).
 */
#ifndef CONF_URL_H
#define CONF_URL_H

#include "base/str.h"

struct url {
	struct str scheme; /* "https" */
	struct str user;   /* empty: none */
	bool has_password; /* a ':' stood in the user part */
	struct str host;
	uint16_t port;   /* 0: not given */
	struct str path; /* with its '/', empty: none */
};

/* False for anything else, also for a query or fragment. */
bool url_parse(struct str s, struct url *out);

/* "HOST:PORT" or "[v6]:PORT"; *port 0 and true when the port is missing. */
bool url_address(struct str s, struct str *host, uint16_t *port);

bool url_is_numeric(struct str host);    /* an IPv4 or IPv6 address */
bool url_is_loopback(struct str host);   /* 127.0.0.0/8, ::1, localhost */
bool url_is_link_local(struct str host); /* 169.254.0.0/16, fe80::/10 */

/* http is for loopback only: "https", or "http" with such a host. */
bool url_is_safe(const struct url *u);

#endif
