/*
 * conf/secret: read a secret from the environment or a file, by name.
 *
 * The only copy that remains is the one in the pool; buffers on the stack are
 * wiped.
 */
#include "conf/secret.h"

#include "base/file.h"

#include <stdlib.h>
#include <sys/stat.h>

/* Check a secret from either source and copy it into the pool. `what` is the
 * name of the variable or file, for the message; the value is never quoted. */
static bool sec_accept(struct pool *pool, struct report *rep,
                       const struct place *at, struct str what,
                       struct str value, struct str *out)
{
	const char *wrong = NULL;

	/* editors and `echo` put a line end there; other blanks at the end may
	 * be a part of the secret */
	while (value.len > 0 && (value.p[value.len - 1] == '\n' ||
	                         value.p[value.len - 1] == '\r'))
		value.len--;
	if (value.len == 0)
		wrong = "is empty";
	else if (value.len > SECRET_MAX)
		wrong = "is too long";
	else if (!str_is_one_line(value))
		wrong = "holds control characters";
	if (wrong) {
		report_error(rep, at,
		             "found that %" STR_FMT " %s, expected the "
		             "secret there",
		             STR_ARG(what), wrong);
		return false;
	}
	*out = pool_str(pool, value);
	return out->p != NULL;
}

bool secret_env(struct pool *pool, struct report *rep, const struct place *at,
                struct str name, struct str *out)
{
	const char *value = getenv(name.p);

	if (!value) {
		report_error(rep, at,
		             "found that environment variable %" STR_FMT
		             " is not set, expected the secret there",
		             STR_ARG(name));
		return false;
	}
	return sec_accept(pool, rep, at, name, str_c(value), out);
}

/* A warning and no error: container platforms mount secrets with such modes. */
static void sec_warn_if_public(struct report *rep, const struct place *at,
                               struct str path, mode_t mode)
{
	if (mode & S_IROTH)
		report_warning(rep, at,
		               "%" STR_FMT " can be read by everybody on "
		               "this machine: chmod o-rwx",
		               STR_ARG(path));
}

static bool sec_read_file(struct pool *pool, struct report *rep,
                          const struct place *at, struct str path,
                          struct str *out)
{
	char mem[SECRET_MAX + 2]; /* one line end, and one byte that shows that
	                           * the file is too long */
	mode_t mode;
	size_t len;
	bool ok;
	const char *why =
		file_read(path.p, FILE_PLAIN, mem, sizeof(mem), &len, &mode);

	if (why) {
		report_error(rep, at,
		             "found that %" STR_FMT " cannot be read (%s), "
		             "expected a file with the secret",
		             STR_ARG(path), why);
		return false;
	}
	sec_warn_if_public(rep, at, path, mode);
	ok = sec_accept(pool, rep, at, path, str_of(mem, len), out);
	explicit_bzero(mem, sizeof(mem));
	return ok;
}

bool secret_read(struct pool *pool, struct report *rep, const struct place *at,
                 const struct secret_source *from, struct str *out)
{
	struct place env = place_key(at, str_c(from->env_key));
	struct place file = place_key(at, str_c(from->file_key));

	if (from->env.len > 0 && from->file.len > 0) {
		report_error(rep, &file,
		             "found it beside %s, expected only one of them",
		             from->env_key);
		return false;
	}
	if (from->env.len > 0)
		return secret_env(pool, rep, &env, from->env, out);
	if (from->file.len > 0)
		return sec_read_file(pool, rep, &file, from->file, out);
	report_error(rep, at, "found no secret, expected %s or %s",
	             from->env_key, from->file_key);
	return false;
}

/* The first byte is read to see that the file can be read, and then wiped. */
void secret_look(struct report *rep, const struct place *at, struct str path,
                 bool ours)
{
	char byte;
	mode_t mode;
	size_t len;
	const char *why = file_read(path.p, FILE_PLAIN, &byte, 1, &len, &mode);

	if (why)
		report_warning(rep, at,
		               "%" STR_FMT " cannot be read now (%s); it is "
		               "read whenever a token is due",
		               STR_ARG(path), why);
	else if (ours)
		sec_warn_if_public(rep, at, path, mode);
	explicit_bzero(&byte, sizeof(byte));
}
