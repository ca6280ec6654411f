/* store/redis_setup: the commands that a new connection must pass. */
#include "store/redis_setup.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

static void setup_add_word(struct redis_setup_words *w, struct str word)
{
	w->v[w->n] = word.p;
	w->len[w->n++] = word.len;
}

/* Redis 6: AUTH [username] password. */
static void setup_add_auth(const struct redis_login *who,
                           struct redis_setup_words *w)
{
	setup_add_word(w, STR("AUTH"));
	if (who->username.len > 0)
		setup_add_word(w, who->username);
	setup_add_word(w, who->password);
}

/* In the order of enum redis_setup: AUTH first, because nothing else is allowed
 * before it. */
bool redis_setup_words(enum redis_setup step, const struct redis_login *who,
                       unsigned db, struct redis_setup_words *out)
{
	out->n = 0;
	switch (step) {
	case SETUP_AUTH:
		if (who->password.len == 0)
			return false;
		setup_add_auth(who, out);
		break;
	case SETUP_SELECT:
		if (db == 0)
			return false;
		snprintf(out->number, sizeof(out->number), "%u", db);
		setup_add_word(out, STR("SELECT"));
		setup_add_word(out, str_c(out->number));
		break;
	case SETUP_ROLE:
		setup_add_word(out, STR("ROLE"));
		break;
	default:
		setup_add_word(out, STR("SCRIPT"));
		setup_add_word(out, STR("LOAD"));
		setup_add_word(out,
		               script_text((enum script)(step - SETUP_LOAD)));
	}
	return true;
}

/* An error is accepted: an ACL or a proxy may not allow ROLE. A replica is then
 * found by the first write, which fails with READONLY. "sentinel" and roles of
 * the future are refused. */
static const char *setup_judge_role(const redisReply *r, const char **detail)
{
	const redisReply *role;

	if (r->type == REDIS_REPLY_ERROR)
		return NULL;
	if (r->type != REDIS_REPLY_ARRAY || r->elements == 0)
		return "ROLE refused";
	role = r->element[0];
	*detail = "";
	if (role->type == REDIS_REPLY_STRING &&
	    str_eq(str_of(role->str, role->len), STR("master")))
		return NULL;
	if (role->type == REDIS_REPLY_STRING &&
	    str_eq(str_of(role->str, role->len), STR("slave")))
		return "it is a replica, which cannot write";
	return "it is no primary";
}

/* A simple string (+OK), not a bulk string: another service that answers on the
 * port is found here. */
static bool setup_is_ok(const redisReply *r)
{
	return r->type == REDIS_REPLY_STATUS &&
	       str_eq(str_of(r->str, r->len), STR("OK"));
}

static bool setup_read_sha(const redisReply *r, char *sha)
{
	if (r->type != REDIS_REPLY_STRING || r->len != SETUP_SHA_LEN)
		return false;
	memcpy(sha, r->str, SETUP_SHA_LEN);
	sha[SETUP_SHA_LEN] = '\0';
	return true;
}

/* An error of Redis is given as the detail; it does not quote the password. */
const char *redis_setup_judge(enum redis_setup step, const struct redisReply *r,
                              char sha[SETUP_SHA_LEN + 1], const char **detail)
{
	*detail = r->type == REDIS_REPLY_ERROR
	                  ? r->str
	                  : "unexpected answer: is this Redis?";
	switch (step) {
	case SETUP_AUTH:
		return setup_is_ok(r) ? NULL : "AUTH refused";
	case SETUP_SELECT:
		return setup_is_ok(r) ? NULL : "SELECT refused";
	case SETUP_ROLE:
		return setup_judge_role(r, detail);
	default:
		return setup_read_sha(r, sha) ? NULL : "SCRIPT LOAD refused";
	}
}
