/*
 * store/scripts: the Lua of the Redis store, as part of the program.
 *
 * The assembler reads the files. Their paths are relative to the root of the
 * repository, where every build runs; the Makefile knows the dependency.
 */
#include "store/scripts.h"

#define SCRIPTS "spoa/store/scripts/"
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

extern const char script_reserve_text[], script_settle_text[],
	script_bind_text[], script_find_text[], script_tune_text[],
	script_audit_text[], script_blocked_text[];

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
	default:
		return str_c(script_reserve_text);
	}
}

unsigned script_keys(enum script which)
{
	switch (which) {
	case SCRIPT_BIND:
	case SCRIPT_FIND:
		return 2;
	case SCRIPT_AUDIT:
	case SCRIPT_BLOCKED:
		return 1;
	default:
		return 3;
	}
}
