/*
 * decide/discover: the models of this gateway, as far as a caller may use them.
 *
 *   decide_authorize --> discover_answer --> discover_list | disc_write_one
 *                               |                 for each visible model:
 *                               v                 discover_one
 *                        verdict_answer ----> verdict.body --> ACK --> HAProxy
 *
 * No limits are charged: the answer costs nothing, and Foundry asks often.
 */
#include "decide/discover.h"

#include "decide/authorize.h"
#include "decide/verdict.h"

/* Bytes. The list is made here and copied into the arena, of which it may take
 * what is left; DISC_MARGIN is for the alignment and NUL of that copy. The
 * first number only ends a list that is too long for any arena or ACK. */
enum { DISC_MAX = 65536, DISC_MARGIN = 64 };

/* OpenAI's `created`: when the model was made. The configuration does not say,
 * and clients need a number: this is the one in Microsoft's example (foundry.md
 * 3.2). */
static const char disc_created[] = "1687882411";

static struct str disc_or_else(struct str s, struct str fallback)
{
	return s.len > 0 ? s : fallback;
}

/* What Foundry calls the format of a model's API (foundry.md 3.2): as the
 * operator says, else by the API that its first deployment speaks. */
static struct str disc_format(const struct policy_model *m)
{
	bool anthropic = m->n_deployments > 0 &&
	                 m->deployments[0].surface == SURFACE_ANTHROPIC;

	return disc_or_else(m->format,
	                    anthropic ? STR("Anthropic") : STR("OpenAI"));
}

/* A rule may allow a model for one operation alone, so each is tried: a few
 * dozen comparisons per model, in a request that is rare. */
bool discover_visible(const struct policy *p, const struct policy_consumer *c,
                      const struct identity *who, const struct policy_model *m)
{
	int op;

	for (op = API_NONE + 1; op < API_N_OPERATIONS; op++) {
		const struct policy_rule *rule = authorize_rule(
			p, c, who, m->name, (enum api_operation)op);

		if (rule && rule->allow)
			return true;
	}
	return false;
}

static void disc_write_azure(const struct policy_model *m, struct str name,
                             struct buf *out)
{
	buf_add_str(out, STR("{\"name\":"));
	buf_json(out, name);
	buf_add_str(out, STR(",\"properties\":{\"model\":{\"format\":"));
	buf_json(out, disc_format(m));
	buf_add_str(out, STR(",\"name\":"));
	buf_json(out, disc_or_else(m->base_model, name));
	buf_add_str(out, STR(",\"version\":"));
	buf_json(out, m->version);
	buf_add_str(out, STR("}}}"));
}

static void disc_write_openai(struct str name, struct buf *out)
{
	buf_add_str(out, STR("{\"id\":"));
	buf_json(out, name);
	buf_fmt(out, ",\"object\":\"model\",\"created\":%s,", disc_created);
	buf_add_str(out, STR("\"owned_by\":\"foundry-gateway\"}"));
}

void discover_one(const struct policy_model *m, struct str name,
                  enum api_discover format, struct buf *out)
{
	if (format == DISCOVER_AZURE)
		disc_write_azure(m, name, out);
	else
		disc_write_openai(name, out);
}

void discover_list(const struct policy *p, const struct policy_consumer *c,
                   const struct identity *who, enum api_discover format,
                   struct buf *out)
{
	const char *comma = "";
	size_t i;

	buf_add_str(out, format == DISCOVER_AZURE
	                         ? STR("{\"value\":[")
	                         : STR("{\"object\":\"list\",\"data\":["));
	for (i = 0; i < p->n_models; i++) {
		const struct policy_model *m = &p->models[i];

		if (!discover_visible(p, c, who, m))
			continue;
		buf_add_str(out, str_c(comma));
		discover_one(m, m->name, format, out);
		comma = ",";
	}
	buf_add_str(out, STR("]}"));
}

/* False: not found. A model that the caller may not use is not found either, so
 * that names cannot be guessed. */
static bool disc_write_one(struct request *r, struct str name, struct buf *out)
{
	const struct policy_model *m = policy_model(r->policy, name);

	if (!m || !discover_visible(r->policy, r->caller.consumer,
	                            r->caller.identity, m))
		return false;
	discover_one(m, name, r->call.api.traits.discover, out);
	return true;
}

/* The answer travels to HAProxy in the ACK, as a variable. Where the list is
 * too long for that (DENY_ACK_TOO_LARGE), clients can ask for single models, or
 * the operator gives HAProxy larger buffers. */
static bool disc_fits(const struct request *r, const struct buf *out)
{
	size_t room = r->arena.size - r->arena.used;

	return !out->failed && out->len < r->ack_limit &&
	       out->len + DISC_MARGIN < room;
}

enum step_result discover_answer(struct request *r)
{
	struct str name = r->call.api.path_model;
	struct buf out;

	buf_init(&out, DISC_MAX);
	if (name.len == 0)
		discover_list(r->policy, r->caller.consumer, r->caller.identity,
		              r->call.api.traits.discover, &out);
	else if (!disc_write_one(r, name, &out))
		verdict_deny(r, DENY_MODEL_UNKNOWN,
		             "The model '%" STR_FMT
		             "' does not exist at this gateway.",
		             STR_ARG(str_first(name, 128)));
	if (r->verdict.verdict == VERDICT_NONE && !disc_fits(r, &out))
		verdict_deny(r, DENY_ACK_TOO_LARGE, NULL);
	if (r->verdict.verdict == VERDICT_NONE)
		verdict_answer(r, buf_str(&out));
	buf_done(&out);
	return STEP_DONE;
}
