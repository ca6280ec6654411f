/*
 * conf/url: parse the URLs and addresses of a configuration.
 *
 *   SCHEME :// USER[:PASSWORD] @ HOST[:PORT] /PATH      url_parse
 *              url_parse_user    url_address
 *                                  [IPv6][:PORT]        url_parse_v6
 *
 * Narrower than RFC 3986: what another parser of the same text (HAProxy, curl,
 * hiredis) could read as another host is refused.
 */
#include "conf/url.h"

#include <arpa/inet.h>
#include <netinet/in.h>

enum { HOST_MAX = 253 }; /* characters of a DNS name: RFC 1035, section 2.3.4 */

/* A numeric address into bytes; their number is 4 or 16, or 0 for a name.
 * inet_pton() is strict: "127.1" and "0x7f000001" are no addresses. */
static size_t url_parse_ip(struct str host, uint8_t out[16])
{
	char z[INET6_ADDRSTRLEN];

	if (host.len == 0 || host.len >= sizeof(z))
		return 0;
	memcpy(z, host.p, host.len);
	z[host.len] = '\0';
	if (inet_pton(AF_INET, z, out) == 1)
		return 4;
	return inet_pton(AF_INET6, z, out) == 1 ? 16 : 0;
}

bool url_is_numeric(struct str host)
{
	uint8_t ip[16];

	return url_parse_ip(host, ip) > 0;
}

/* 127.0.0.0/8 (RFC 1122, section 3.2.1.3), ::1, and the name that RFC 6761
 * reserves for them. */
bool url_is_loopback(struct str host)
{
	static const uint8_t one[16] = {[15] = 1};
	uint8_t ip[16];
	size_t n = url_parse_ip(host, ip);

	if (n == 4)
		return ip[0] == 127;
	if (n == 16)
		return memcmp(ip, one, 16) == 0;
	return str_eq_nocase(host, STR("localhost"));
}

/* RFC 3927, section 2.1, and RFC 4291, section 2.5.6. */
bool url_is_link_local(struct str host)
{
	uint8_t ip[16];
	size_t n = url_parse_ip(host, ip);

	return (n == 4 && ip[0] == 169 && ip[1] == 254) ||
	       (n == 16 && ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80);
}

/* A host name (RFC 1123, section 2.1: no underscore) or an IPv4 address. */
static bool url_is_host(struct str s)
{
	size_t i;

	if (s.len == 0 || s.len > HOST_MAX || s.p[0] == '.' || s.p[0] == '-')
		return false;
	for (i = 0; i < s.len; i++)
		if (!str_is_alnum(s.p[i]) && s.p[i] != '.' && s.p[i] != '-')
			return false;
	return true;
}

/* 1 to 65535; at most five digits, so that leading zeros stay short. */
static bool url_parse_port(struct str s, uint16_t *out)
{
	uint64_t v;

	if (s.len > 5 || !str_to_u64(s, &v) || v == 0 || v > 65535)
		return false;
	*out = (uint16_t)v;
	return true;
}

/* "[ADDRESS]" or "[ADDRESS]:PORT", RFC 3986, section 3.2.2. */
static bool url_parse_v6(struct str s, struct str *host, uint16_t *port)
{
	size_t end = str_find(s, ']');
	struct str inner = str_of(s.p + 1, end - 1);
	struct str rest = str_from(s, end + 1);
	uint8_t ip[16];

	if (end == s.len || url_parse_ip(inner, ip) != 16)
		return false;
	if (rest.len > 0 &&
	    (rest.p[0] != ':' || !url_parse_port(str_from(rest, 1), port)))
		return false;
	*host = inner;
	return true;
}

struct str url_trim_slashes(struct str s)
{
	while (s.len > 0 && s.p[s.len - 1] == '/')
		s.len--;
	return s;
}

bool url_address(struct str s, struct str *host, uint16_t *port)
{
	uint16_t number = 0;
	size_t colon;

	if (s.len == 0)
		return false;
	/* without brackets an IPv6 address has more than one ':', and which of
	 * them begins the port would be a guess */
	if (s.p[0] == '[') {
		if (!url_parse_v6(s, host, &number))
			return false;
		*port = number;
		return true;
	}
	colon = str_find(s, ':');
	if (!url_is_host(str_first(s, colon)))
		return false;
	if (colon < s.len && !url_parse_port(str_from(s, colon + 1), &number))
		return false;
	*host = str_first(s, colon);
	*port = number;
	return true;
}

/* Characters without a meaning of their own in a URL (RFC 3986, section 2.2) or
 * in haproxy.cfg, where the URL is written. */
static bool url_is_path(struct str s)
{
	size_t i;

	for (i = 0; i < s.len; i++)
		if (!str_is_alnum(s.p[i]) && !memchr("/-._~%+,:@=", s.p[i], 11))
			return false;
	return true;
}

/* USER or USER:PASSWORD. Only the presence of a password is noted. */
static bool url_parse_user(struct str s, struct url *u)
{
	size_t colon = str_find(s, ':');

	u->has_password = colon < s.len;
	u->user = str_first(s, colon);
	return url_is_path(u->user) && !memchr(u->user.p, '/', u->user.len);
}

bool url_parse(struct str s, struct url *out)
{
	struct url u = {.scheme = str_first(s, str_find(s, ':'))};
	struct str rest = str_from(s, u.scheme.len);
	struct str authority;
	size_t at;

	if (u.scheme.len == 0 || !str_starts(rest, STR("://")))
		return false;
	rest = str_from(rest, 3);
	authority = str_first(rest, str_find(rest, '/'));
	u.path = str_from(rest, authority.len);
	/* the last '@': a password may contain others, and it must not become
	 * a part of the host, which is quoted in messages */
	for (at = authority.len; at > 0 && authority.p[at - 1] != '@'; at--)
		;
	if (at > 0) {
		if (!url_parse_user(str_first(authority, at - 1), &u))
			return false;
		authority = str_from(authority, at);
	}
	if (!url_address(authority, &u.host, &u.port) || !url_is_path(u.path))
		return false;
	*out = u;
	return true;
}

/* Tokens and keys may be sent in clear text only where nobody else reads. */
bool url_is_safe(const struct url *u)
{
	return str_eq(u->scheme, STR("https")) ||
	       (str_eq(u->scheme, STR("http")) && url_is_loopback(u->host));
}
