/*
 * decide/authorize: who is charged, and the rules over caller, model,
 * operation.
 *
 *   identity --authorize_consumer--> consumer --+--> account, agent, project
 *                                               |
 *   model, operation ---------------------------+--authorize_rule--> rule
 *
 *   further models of the body --authz_check_models--> each must be allowed
 *
 * Discovery ends here: it needs the consumer, and instead of one rule it asks
 * for all models (decide/discover).
 */
#include "decide/authorize.h"

#include "decide/discover.h"
#include "decide/match.h"
#include "decide/step.h"
#include "decide/verdict.h"

const struct policy_consumer *authorize_consumer(const struct policy *p,
                                                 const struct identity *who)
{
	size_t i, k;

	for (i = 0; i < p->n_consumers; i++)
		for (k = 0; k < p->consumers[i].n_match; k++)
			if (match_caller(&p->consumers[i].match[k], who))
				return &p->consumers[i];
	return NULL;
}

/* Whether the rule may match a request without a model, see authorize_rule().
 */
static bool authz_allows_no_model(const struct policy_rule *rule,
                                  enum api_operation op)
{
	if (rule->models.n == 0)
		return true;
	return rule->operations != 0 && op != API_BATCHES;
}

/* Every condition that the rule states must hold. */
static bool authz_rule_matches(const struct policy_rule *rule,
                               const struct policy_consumer *c,
                               const struct identity *who, struct str model,
                               enum api_operation op)
{
	if (rule->operations && !(rule->operations & (1u << op)))
		return false;
	if (!match_globs(&rule->consumers, c->name))
		return false;
	if (model.len == 0 && !authz_allows_no_model(rule, op))
		return false;
	if (model.len > 0 && !match_globs(&rule->models, model))
		return false;
	return !rule->has_match || match_caller(&rule->match, who);
}

const struct policy_rule *authorize_rule(const struct policy *p,
                                         const struct policy_consumer *c,
                                         const struct identity *who,
                                         struct str model,
                                         enum api_operation op)
{
	size_t i;

	for (i = 0; i < p->n_rules; i++)
		if (authz_rule_matches(&p->rules[i], c, who, model, op))
			return &p->rules[i];
	return NULL;
}

/* Any client can send these headers (foundry.md 2.3). They count only for a
 * consumer that the operator has declared to be Foundry (trust_foundry). The
 * project is x-ms-foundry-project-id, a GUID, else openai-project, a name. */
static void authz_trust_foundry_headers(struct request *r)
{
	const struct request_facts *f = &r->facts;

	if (!r->caller.consumer->trust_foundry)
		return;
	r->caller.agent = f->foundry_agent;
	r->caller.project = f->foundry_project.len > 0 ? f->foundry_project
	                                               : f->openai_project;
}

/* The denial is set. For the log: which rule it was, and a reason that the
 * configuration does not show. Entra leaves the groups of a user who is in more
 * than 200 out of the token (azure.md 1.7), so conditions by group do not hold
 * for this user. */
static void authz_explain(struct request *r, const char *rule, struct str name)
{
	verdict_detail(r, "%s%" STR_FMT "%s", rule, STR_ARG(name),
	               r->caller.identity->groups_overage
	                       ? " (the token has too many groups to name "
	                         "them: conditions by group do not hold)"
	                       : "");
}

/* A tool, a transcription or a fallback may run a model of its own (api/refs).
 * It must be one that the caller may use for this operation; decide/route sees
 * to it that it is this model which its name means at the resource. */
static enum step_result authz_check_models(struct request *r)
{
	const struct refs *u = &r->facts.refs;

	if (u->not_text)
		return verdict_deny(r, DENY_BAD_JSON,
		                    "The member `%s` must be a string.",
		                    u->not_text);
	for (size_t i = 0; i < u->n_models; i++) {
		const struct refs_model *side = &u->models[i];
		const struct policy_model *m =
			policy_model(r->policy, side->name);
		struct str shown = str_first(side->name, 128);
		const struct policy_rule *rule;

		if (!m)
			return verdict_deny(r, DENY_MODEL_UNKNOWN,
			                    "The model '%" STR_FMT
			                    "', which the request names as "
			                    "`%s`, does not exist at this "
			                    "gateway.",
			                    STR_ARG(shown), side->member);
		rule = authorize_rule(r->policy, r->caller.consumer,
		                      r->caller.identity, m->name,
		                      r->call.api.operation);
		if (!rule || !rule->allow)
			return verdict_deny(
				r, DENY_RULE,
				"This caller may not use the model '%" STR_FMT
				"', which the request names as `%s`, for %s.",
				STR_ARG(shown), side->member,
				operations_name(r->call.api.operation));
	}
	return STEP_NEXT;
}

enum step_result decide_authorize(struct request *r)
{
	struct str model = r->call.model_name;

	/* Rules are about public names: an alias must not be a way around
	 * them. The model that made an object may have left the policy; its
	 * name, which the store keeps, is judged then. */
	if (r->call.model)
		model = r->call.model->name;
	r->caller.consumer = authorize_consumer(r->policy, r->caller.identity);
	if (!r->caller.consumer) {
		verdict_deny(r, DENY_NO_CONSUMER, NULL);
		authz_explain(r, "no consumer matches", STR_NONE);
		return STEP_DONE;
	}
	r->caller.account = policy_account(r->caller.consumer);
	if (r->call.api.traits.discover != DISCOVER_NOT)
		return discover_answer(r);
	authz_trust_foundry_headers(r);
	r->call.rule = authorize_rule(r->policy, r->caller.consumer,
	                              r->caller.identity, model,
	                              r->call.api.operation);
	if (r->call.rule && r->call.rule->allow)
		return authz_check_models(r);
	if (model.len == 0)
		verdict_deny(r, DENY_RULE, "This caller may not use %s.",
		             operations_name(r->call.api.operation));
	else
		verdict_deny(r, DENY_RULE,
		             "This caller may not use the model '%" STR_FMT
		             "' for %s.",
		             STR_ARG(model),
		             operations_name(r->call.api.operation));
	authz_explain(r, "rule=",
	              r->call.rule ? r->call.rule->name : STR("default-deny"));
	return STEP_DONE;
}
