/*
 * conf/text: which texts an option may have.
 *
 *   text_kinds[type]: check, storage, whether a message may quote it
 *
 * Texts become parts of Redis keys, headers, paths, labels and log lines, so
 * each type names the characters it takes. What a type is for is written at
 * enum option_type.
 */
#include "conf/text.h"

#include "conf/url.h"

/* Bytes from 0x80 are accepted as UTF-8, which base/json has checked. */
static bool ctxt_is_word_char(char c)
{
	return (unsigned char)c > ' ' && c != 0x7f;
}

/* 1 to max bytes, each accepted by `ok`. */
static bool ctxt_all_chars(struct str s, size_t max, bool (*ok)(char c))
{
	size_t i;

	for (i = 0; i < s.len; i++)
		if (!ok(s.p[i]))
			return false;
	return s.len > 0 && s.len <= max;
}

static bool ctxt_is_text_char(char c)
{
	return (unsigned char)c >= ' ' && c != 0x7f;
}

static bool ctxt_is_name_char(char c)
{
	return str_is_alnum(c) || c == '.' || c == '_' || c == '-';
}

static bool ctxt_is_resource_char(char c)
{
	return str_is_alnum(c) || c == '_' || c == '-';
}

static bool ctxt_is_model_char(char c)
{
	return ctxt_is_text_char(c) && c != '/' && c != '*';
}

static bool ctxt_is_env_char(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Paths are written to haproxy.cfg: no character that is quoting, a variable or
 * a comment there. */
static bool ctxt_is_file_char(char c)
{
	return ctxt_is_word_char(c) && !memchr("\"'\\$#`", c, 6);
}

static bool ctxt_is_header_char(char c)
{
	return str_is_alnum(c) || c == '-';
}

static bool ctxt_is_word(struct str s)
{
	return ctxt_all_chars(s, TEXT_MAX, ctxt_is_word_char);
}

static bool ctxt_is_text(struct str s)
{
	return ctxt_all_chars(s, TEXT_MAX, ctxt_is_text_char);
}

static bool ctxt_is_name(struct str s)
{
	return ctxt_all_chars(s, 64, ctxt_is_name_char);
}

/* Names of HAProxy backends. */
static bool ctxt_is_resource(struct str s)
{
	return ctxt_all_chars(s, 32, ctxt_is_resource_char);
}

static bool ctxt_is_model(struct str s)
{
	return ctxt_all_chars(s, 128, ctxt_is_model_char);
}

/* At most one '*', as str_glob() expects. */
static bool ctxt_is_glob(struct str s)
{
	size_t star = str_find(s, '*');

	return ctxt_is_text(s) &&
	       (star == s.len || str_find(str_from(s, star + 1), '*') ==
	                                 str_from(s, star + 1).len);
}

/* Capitals, digits and '_' only, not beginning with a digit. A secret that was
 * written here by mistake has other characters, so it is refused here and not
 * quoted as the name of an unset variable. */
static bool ctxt_is_env(struct str s)
{
	return ctxt_all_chars(s, 64, ctxt_is_env_char) &&
	       !(s.p[0] >= '0' && s.p[0] <= '9');
}

/* A path that says it is one: absolute, or relative to the working directory
 * with
 * "./" or "../". */
static bool ctxt_is_file(struct str s)
{
	return ctxt_all_chars(s, TEXT_MAX, ctxt_is_file_char) &&
	       (s.p[0] == '/' || str_starts(s, STR("./")) ||
	        str_starts(s, STR("../")));
}

/* A header for gateway keys. One that has another use in HTTP or here is
 * refused: its value would be taken for a key. */
static bool ctxt_is_header(struct str s)
{
	static const struct str taken[] = {
		STR_INIT("authorization"),  STR_INIT("api-key"),
		STR_INIT("x-api-key"),      STR_INIT("host"),
		STR_INIT("content-length"), STR_INIT("content-type"),
		STR_INIT("connection"),     STR_INIT("transfer-encoding"),
		STR_INIT("cookie"),
	};
	size_t i;

	for (i = 0; i < sizeof(taken) / sizeof(*taken); i++)
		if (str_eq_nocase(s, taken[i]))
			return false;
	return ctxt_all_chars(s, 64, ctxt_is_header_char);
}

/* For HTTP. A user or password in it would be sent to nobody and be shown in
 * messages, so they are refused. */
static bool ctxt_is_url(struct str s)
{
	struct url u;

	return s.len <= TEXT_MAX && url_parse(s, &u) && u.user.len == 0 &&
	       !u.has_password &&
	       (str_eq(u.scheme, STR("https")) ||
	        str_eq(u.scheme, STR("http")));
}

/* A socket address: numeric, because it is bound or connected to at start,
 * where a name would need a resolver. */
static bool ctxt_is_address(struct str s)
{
	struct str host;
	uint16_t port;

	return url_address(s, &host, &port) && url_is_numeric(host) &&
	       port != 0;
}

static bool ctxt_is_endpoint(struct str s)
{
	struct str host;
	uint16_t port;

	return url_address(s, &host, &port);
}

/* struct sockaddr_un has room for 107 bytes and a NUL. */
static bool ctxt_is_unix(struct str s)
{
	return str_starts(s, STR("unix:")) &&
	       ctxt_all_chars(str_from(s, 5), 107, ctxt_is_file_char);
}

static bool ctxt_is_listen(struct str s)
{
	return ctxt_is_unix(s) || ctxt_is_address(s);
}

/* A password in the URL is accepted here; conf/process reports it. */
static bool ctxt_is_redis_url(struct str s)
{
	struct url u;

	return ctxt_is_unix(s) || (s.len <= TEXT_MAX && url_parse(s, &u) &&
	                           (str_eq(u.scheme, STR("redis")) ||
	                            str_eq(u.scheme, STR("rediss"))));
}

const struct text_kind text_kinds[] = {
	[OPT_TEXT] = {ctxt_is_text, false, false},
	[OPT_NAME] = {ctxt_is_name, false, false},
	[OPT_RESOURCE] = {ctxt_is_resource, false, false},
	[OPT_MODEL] = {ctxt_is_model, false, false},
	[OPT_GUID] = {str_is_guid, true, false},
	[OPT_ID] = {ctxt_is_word, false, false},
	[OPT_WORD] = {ctxt_is_word, false, false},
	[OPT_GLOB] = {ctxt_is_glob, false, false},
	[OPT_GLOB_NOCASE] = {ctxt_is_glob, true, false},
	[OPT_HEADER] = {ctxt_is_header, true, true},
	[OPT_URL] = {ctxt_is_url, false, true},
	[OPT_REDIS_URL] = {ctxt_is_redis_url, false, true},
	[OPT_ADDRESS] = {ctxt_is_address, false, false},
	[OPT_ENDPOINT] = {ctxt_is_endpoint, false, false},
	[OPT_LISTEN] = {ctxt_is_listen, false, false},
	[OPT_ENV] = {ctxt_is_env, false, true},
	[OPT_FILE] = {ctxt_is_file, false, true},
};
