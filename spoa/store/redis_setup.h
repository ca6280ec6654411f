/*
 * store/redis_setup: what a new connection to Redis is asked before it counts
 * as up.
 *
 *   AUTH -> SELECT -> ROLE -> SCRIPT LOAD, each script
 *
 * Words out, answers judged; store/redis_link sends and waits. All of it goes
 * out at once, because the answers come in the same order.
 */
#ifndef STORE_REDIS_SETUP_H
#define STORE_REDIS_SETUP_H

#include "conf/policy.h"
#include "store/scripts.h"

struct redisReply;

enum redis_setup {
	SETUP_AUTH = 0,
	SETUP_SELECT = 1,
	SETUP_ROLE = 2,
	SETUP_LOAD = 3, /* + enum script */
	SETUP_COUNT = SETUP_LOAD + SCRIPT_COUNT,
};

enum { SETUP_WORDS = 3, SETUP_SHA_LEN = 40 };

/* Who we are; an empty password: nobody in particular. */
struct redis_login {
	struct str username; /* empty: default */
	struct str password; /* a secret */
};

struct redis_setup_words {
	const char *v[SETUP_WORDS]; /* borrowed from what they were made of */
	size_t len[SETUP_WORDS];
	int n;
	char number[16];
};

/* The words of a step. False when it is not needed. */
bool redis_setup_words(enum redis_setup step, const struct redis_login *who,
                       unsigned db, struct redis_setup_words *out);

/* NULL when the answer is good, and `sha` has the name of the script then; or
 * what is wrong as a constant, with *detail a text that lives as long as the
 * answer (may be empty). Nothing secret is in either. */
const char *redis_setup_judge(enum redis_setup step, const struct redisReply *r,
                              char sha[SETUP_SHA_LEN + 1], const char **detail);

#endif
