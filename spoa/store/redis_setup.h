/*
 * store/redis_setup: the commands that a new connection must pass before it is
 * used.
 *
 *   AUTH -> SELECT -> ROLE -> SCRIPT LOAD, once per script
 *
 * This module has the words of each command and judges its reply; it does no
 * I/O. store/redis_link sends all of them at once and waits, because Redis
 * replies in order. ROLE finds out that the server is a replica before the
 * first write fails on it.
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
	SETUP_LOAD = 3, /* SCRIPT LOAD of script n is step SETUP_LOAD + n */
	SETUP_COUNT = SETUP_LOAD + SCRIPT_COUNT,
};

/* The longest command has 3 words; Redis names a script by its SHA-1 in
 * hexadecimal digits. */
enum { SETUP_WORDS = 3, SETUP_SHA_LEN = 40 };

/* User and password for AUTH. An empty password means no AUTH. With a
 * credential of the policy it is an Entra access token (azure.md 3.10). */
struct redis_login {
	struct str username; /* empty: default */
	struct str password; /* a secret */
};

struct redis_setup_words {
	const char *v[SETUP_WORDS]; /* borrowed from the login, constants, or
	                             * `number` */
	size_t len[SETUP_WORDS];
	int n;
	char number[16];
};

/* Fill in the words of a step. False when the step is not needed: AUTH without
 * a password, SELECT of database 0. *out may not be moved. */
bool redis_setup_words(enum redis_setup step, const struct redis_login *who,
                       unsigned db, struct redis_setup_words *out);

/* NULL when the reply is good; for SETUP_LOAD `sha` is then the script's name.
 * Otherwise a constant that says what is wrong, and *detail is a text that
 * lives as long as the reply (may be empty). Neither contains a secret. */
const char *redis_setup_judge(enum redis_setup step, const struct redisReply *r,
                              char sha[SETUP_SHA_LEN + 1], const char **detail);

#endif
