/*
 * store/scripts: the Lua scripts of the Redis store, embedded in the program.
 *
 * The assembler includes the files (.incbin), so the program is one file and a
 * script can be edited, tested and checked as Lua. Paths are relative to the
 * root of the repository, where every build runs. The compiler does not report
 * these files as dependencies; the Makefile names them.
 */
#include "store/scripts.h"

#define SCRIPTS "spoa/store/scripts/"

/* A NUL-terminated text of common.lua and one script. */
#define EMBED(name, file)                                                      \
	__asm__(".pushsection .rodata\n"                                       \
	        ".global " name "\n" name ":\n"                                \
	        ".incbin \"" SCRIPTS "common.lua\"\n"                          \
	        ".incbin \"" SCRIPTS file "\"\n"                               \
	        ".byte 0\n"                                                    \
	        ".popsection\n")

EMBED("script_reserve_text", "reserve.lua");
EMBED("script_settle_text", "settle.lua");
EMBED("script_bind_text", "bind.lua");
EMBED("script_find_text", "find.lua");
EMBED("script_tune_text", "tune.lua");
EMBED("script_audit_text", "audit.lua");
EMBED("script_blocked_text", "blocked.lua");
EMBED("script_shared_key_text", "shared_key.lua");

extern const char script_reserve_text[], script_settle_text[],
	script_bind_text[], script_find_text[], script_tune_text[],
	script_audit_text[], script_blocked_text[], script_shared_key_text[];

struct str script_text(enum script which)
{
	switch (which) {
	case SCRIPT_SETTLE:
		return str_c(script_settle_text);
	case SCRIPT_BIND:
		return str_c(script_bind_text);
	case SCRIPT_FIND:
		return str_c(script_find_text);
	case SCRIPT_TUNE:
		return str_c(script_tune_text);
	case SCRIPT_AUDIT:
		return str_c(script_audit_text);
	case SCRIPT_BLOCKED:
		return str_c(script_blocked_text);
	case SCRIPT_SHARED_KEY:
		return str_c(script_shared_key_text);
	default:
		return str_c(script_reserve_text);
	}
}

/* The number of KEYS that the head of each script lists. A key must be passed
 * as one, not built in the script: Redis Cluster routes a call by its keys. */
unsigned script_keys(enum script which)
{
	switch (which) {
	case SCRIPT_BIND:
	case SCRIPT_FIND:
		return 2;
	case SCRIPT_AUDIT:
	case SCRIPT_BLOCKED:
	case SCRIPT_SHARED_KEY:
		return 1;
	default:
		return 3;
	}
}
