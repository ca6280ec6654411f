/*
 * conf/load: gateway.json -> struct policy, with every error and its place.
 *
 *   load_read_file -> json_parse_with (comments allowed)
 *     -> read_section: struct raw_config, by the table of conf/options
 *     -> process_build, azure_build, callers_build: struct policy
 *     -> check_policy
 *
 * Each stage goes on after errors, so that one run shows all of them. Only text
 * that is not JSON ends at its first error. The policy exists from the
 * beginning and is thrown away if there was any error: nothing is half-applied.
 */
#include "conf/load.h"

#include "conf/build.h"
#include "conf/read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	/* Bytes of gateway.json. Some 10,000 models with prices. */
	FILE_MAX = 8 << 20,
	/* Names and aliases of models: the bound of their map. */
	MODELS_MAX = 100000,
};

static void load_report_syntax(struct report *rep, struct str text,
                               const char *error, size_t at)
{
	unsigned line, column;

	json_place(text, at, &line, &column);
	report_error(rep, NULL,
	             "line %u, column %u: found that %s, expected "
	             "JSON (comments are allowed)",
	             line, column, error);
}

/* The first reference belongs to the caller. */
static struct policy *load_new_policy(const char *name)
{
	struct policy *p = calloc(1, sizeof(*p));
	struct pool *pool = pool_new();

	if (!p || !pool) {
		free(p);
		pool_free(pool);
		return NULL;
	}
	p->refs = 1;
	p->pool = pool;
	map_init(&p->model_by_name, MODELS_MAX);
	p->file = (char *)(uintptr_t)pool_str(pool, str_c(name)).p;
	return p;
}

static void load_build_policy(struct policy *p, const struct json *root,
                              struct report *rep)
{
	struct raw_config *raw = pool_alloc(p->pool, 1, sizeof(*raw));
	struct build b = {raw, p, p->pool, rep};

	if (!raw)
		return;
	read_section(p->pool, rep, &options_root, root, NULL, raw);
	if (json_type(root) != JSON_OBJECT)
		return;
	process_build(&b);
	credentials_build(&b);
	azure_build(&b);
	callers_build(&b);
	check_policy(&b);
}

struct policy *conf_parse(const char *name, struct str text, struct buf *errors)
{
	struct report rep = {.out = errors, .file = name};
	struct policy *p;
	struct json *root;
	const char *error = "";
	size_t error_at = 0;

	root = json_parse_with(text, JSON_COMMENTS, &error, &error_at);
	if (!root) {
		load_report_syntax(&rep, text, error, error_at);
		return NULL;
	}
	p = load_new_policy(name);
	if (p)
		load_build_policy(p, root, &rep);
	json_free(root);
	if (!p || ((struct pool *)p->pool)->failed)
		report_error(&rep, NULL, "out of memory");
	if (rep.n_errors == 0)
		return p;
	policy_unref(p);
	return NULL;
}

/* Append the whole file to `out`. False with errno; EFBIG beyond FILE_MAX. It
 * reads until the end and does not ask for the size, so a pipe works, too. */
static bool load_read_file(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool ok = false;
	ssize_t n;

	if (fd < 0)
		return false;
	for (;;) {
		if (!buf_reserve(out, 65536)) {
			errno = EFBIG;
			break;
		}
		n = read(fd, out->p + out->len, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			ok = n == 0;
			break;
		}
		out->len += (size_t)n;
	}
	n = errno;
	close(fd);
	errno = (int)n;
	return ok;
}

struct policy *conf_load(const char *path, struct buf *errors)
{
	struct report rep = {.out = errors, .file = path};
	struct policy *p = NULL;
	struct buf text;

	buf_init(&text, FILE_MAX);
	if (load_read_file(path, &text))
		p = conf_parse(path, buf_str(&text), errors);
	else
		report_error(&rep, NULL,
		             "found that it cannot be read (%s), expected the "
		             "configuration",
		             strerror(errno));
	buf_done(&text);
	return p;
}
