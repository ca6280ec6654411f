/* decide/discover: the models of this gateway, as far as a caller may use
 * them. */
#include "decide/discover.h"

#include "decide/authorize.h"
#include "decide/verdict.h"

enum { DISCOVER_MAX = 65536, DISCOVER_MARGIN = 64 };

/* OpenAI's `created`: when the model was made. Nobody here knows, clients only
 * want a number. */
static const char created[] = "1687882411";

static struct str or_else(struct str s, struct str fallback)
{
	return s.len > 0 ? s : fallback;
}

/* What Foundry calls the format of a model's API. */
static struct str format_of(const struct policy_model *m)
{
	bool anthropic = m->n_deployments > 0 &&
	                 m->deployments[0].surface == SURFACE_ANTHROPIC;

	return or_else(m->format, anthropic ? STR("Anthropic") : STR("OpenAI"));
}

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

static void write_azure(const struct policy_model *m, struct str name,
                        struct buf *out)
{
	buf_add_str(out, STR("{\"name\":"));
	buf_json(out, name);
	buf_add_str(out, STR(",\"properties\":{\"model\":{\"format\":"));
	buf_json(out, format_of(m));
	buf_add_str(out, STR(",\"name\":"));
	buf_json(out, or_else(m->base_model, name));
	buf_add_str(out, STR(",\"version\":"));
	buf_json(out, m->version);
	buf_add_str(out, STR("}}}"));
}

static void write_openai(struct str name, struct buf *out)
{
	buf_add_str(out, STR("{\"id\":"));
	buf_json(out, name);
	buf_fmt(out, ",\"object\":\"model\",\"created\":%s,", created);
	buf_add_str(out, STR("\"owned_by\":\"foundry-gateway\"}"));
}

void discover_one(const struct policy_model *m, struct str name,
                  enum api_discover format, struct buf *out)
{
	if (format == DISCOVER_AZURE)
		write_azure(m, name, out);
	else
		write_openai(name, out);
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

/* Unknown and not allowed look the same: a stranger learns nothing. */
static bool write_one(struct request *r, struct str name, struct buf *out)
{
	const struct policy_model *m = policy_model(r->policy, name);

	if (!m || !discover_visible(r->policy, r->caller.consumer,
	                            r->caller.identity, m))
		return false;
	discover_one(m, name, r->call.api.traits.discover, out);
	return true;
}

/* The answer goes through HAProxy's variables: ask for single models, or give
 * HAProxy larger buffers. */
static bool fits(const struct request *r, const struct buf *out)
{
	size_t room = r->arena.size - r->arena.used;

	return !out->failed && out->len < r->ack_limit &&
	       out->len + DISCOVER_MARGIN < room;
}

enum step_result discover_answer(struct request *r)
{
	struct str name = r->call.api.path_model;
	struct buf out;

	buf_init(&out, DISCOVER_MAX);
	if (name.len == 0)
		discover_list(r->policy, r->caller.consumer, r->caller.identity,
		              r->call.api.traits.discover, &out);
	else if (!write_one(r, name, &out))
		verdict_deny(r, DENY_MODEL_UNKNOWN,
		             "The model '%" STR_FMT
		             "' does not exist at this gateway.",
		             STR_ARG(str_first(name, 128)));
	if (r->verdict.verdict == VERDICT_NONE && !fits(r, &out))
		verdict_deny(r, DENY_ACK_TOO_LARGE, NULL);
	if (r->verdict.verdict == VERDICT_NONE)
		verdict_answer(r, buf_str(&out));
	buf_done(&out);
	return STEP_DONE;
}
