/*
 * Bodies are written by strangers: api/scan must read them one way only.
 * What it accepts, cJSON must accept too and see the same `model` and
 * `stream`; and no piece of it may look bad instead of unfinished. Every file
 * that cJSON finds in it, in any letter case, api/refs must have found.
 */
#include "api/scan.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char mem[65536] __attribute__((aligned(16)));

static void claim(bool holds)
{
	if (!holds)
		abort();
}

/* cJSON of Debian 12 cannot read numbers of 64 bytes and more. */
static bool has_long_number(struct str s)
{
	size_t run = 0;

	for (size_t i = 0; i < s.len && run < 64; i++)
		run = s.p[i] && strchr("0123456789+-.eE", s.p[i]) ? run + 1 : 0;
	return run >= 64;
}

static void same_model(const cJSON *root, const struct scan_result *scan)
{
	const cJSON *m = cJSON_GetObjectItemCaseSensitive(root, "model");

	claim(scan->has_model == (m && !cJSON_IsNull(m)));
	if (scan->has_model)
		claim(cJSON_IsString(m) &&
		      str_eq(str_c(m->valuestring), scan->model));
}

static void same_numbers(const cJSON *root, const struct scan_result *scan)
{
	static const char *const names[] = {
		"max_tokens", "max_completion_tokens", "max_output_tokens"};
	double largest = -1;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const cJSON *m =
			cJSON_GetObjectItemCaseSensitive(root, names[i]);

		if (m && !cJSON_IsNull(m) && m->valuedouble > largest)
			largest = m->valuedouble;
	}
	claim(scan->has_max_output == (largest >= 0));
	if (scan->has_max_output)
		claim((double)scan->max_output == largest);
}

static bool is_known(const struct refs *u, const char *id)
{
	size_t i = 0;

	while (i < u->n && !str_eq(u->ids[i].id, str_c(id)))
		i++;
	return u->too_many || i < u->n || *id == '\0';
}

/* Members at any depth; a member of `metadata` is only text. */
static void same_files(const cJSON *j, const struct refs *u, int depth)
{
	const cJSON *child;

	cJSON_ArrayForEach(child, j)
	{
		if (depth == 0 && strcmp(child->string, "metadata") == 0)
			continue;
		if (cJSON_IsString(child) && child->string &&
		    strcasecmp(child->string, "file_id") == 0)
			claim(is_known(u, child->valuestring));
		same_files(child, u, depth + 1);
	}
}

static void check_refs(struct str body, const struct refs *u)
{
	static struct refs alone;
	static char space[65536] __attribute__((aligned(16)));
	struct arena a;

	claim(u->n <= REFS_MAX && u->n_models <= REFS_MODELS_MAX);
	for (size_t i = 0; i < u->n; i++)
		claim(u->ids[i].id.len > 0 && u->ids[i].id.len <= REFS_ID_MAX &&
		      u->ids[i].member && u->ids[i].remedy);
	arena_init(&a, space, sizeof(space));
	refs_read(body, &a, &alone);
	claim(a.overflow || (alone.n == u->n && alone.n_models == u->n_models &&
	                     alone.too_many == u->too_many &&
	                     alone.background == u->background &&
	                     alone.unstored == u->unstored));
}

static void compare(struct str body, const struct scan_result *scan,
                    const struct refs *refs)
{
	cJSON *root = cJSON_ParseWithLength(body.p, body.len);

	if (!root) {
		claim(has_long_number(body));
		return;
	}
	claim(cJSON_IsObject(root));
	same_model(root, scan);
	same_numbers(root, scan);
	claim(scan->stream ==
	      cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(root, "stream")));
	same_files(root, refs, 0);
	cJSON_Delete(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str body = str_of((const char *)data, size), cut;
	struct scan_result scan;
	static struct refs refs;
	enum scan_status status;
	struct arena arena;

	arena_init(&arena, mem, sizeof(mem));
	status = scan_body_refs(body, &arena, &scan, &refs);
	claim((status == SCAN_BAD) == (scan.error != NULL));
	claim(scan.error_at <= size && scan.text_bytes <= 4 * size);
	claim(scan.n >= 1);
	if (status != SCAN_OK || arena.overflow)
		return 0;
	check_refs(body, &refs);
	compare(body, &scan, &refs);
	/* a cut before the last brace, at a place that varies */
	cut = str_first(str_trim(body), (size * 7919) % str_trim(body).len);
	claim(scan_body(cut, &arena, &scan) == SCAN_PARTIAL);
	return 0;
}
