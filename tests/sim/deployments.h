/*
 * deployments: which names exist, what they serve, and their limits as Azure
 * counts them.
 *
 * Pay-as-you-go (azure.md 4.1): tokens are estimated at arrival as prompt +
 * max_tokens and counted in a window that starts anew every minute. PTU: a
 * leaky bucket that is full at 100 % utilisation and drains all the time.
 */
#ifndef SIM_DEPLOYMENTS_H
#define SIM_DEPLOYMENTS_H

#include <cjson/cJSON.h>

#include "sim.h"

struct deployments;

/* The limits as the answer's headers tell them. */
struct quota {
	bool known; /* the deployment was described; else figures are stock */
	bool ptu;
	bool refused;
	bool alone_too_big; /* the one request passes the limit: retry 86400 */
	long limit_requests, remaining_requests, reset_requests; /* s */
	long limit_tokens, remaining_tokens, reset_tokens;
	long retry_ms;
	double utilization; /* percent, PTU */
};

struct deployments *deployments_new(void);
void deployments_free(struct deployments *d);
void deployments_reset(struct deployments *d);

/* {"deployments":[{"name","host","model","tpm","rpm","ptu","window_ms"}],
 *  "others":"accept"|"missing"}: replaces all. False: `why` names the member
 * that is wrong. */
bool deployments_set(struct deployments *d, const cJSON *wish,
                     const char **why);

/* Whether the name is deployed at that host; *model is what it serves, NULL
 * when that was not said. */
bool deployments_find(const struct deployments *d, const char *host,
                      const char *name, size_t len, const char **model);

/* Count a request of so many estimated tokens, or refuse it. `now`: s. */
void deployments_charge(struct deployments *d, const char *host,
                        const char *name, size_t len, long tokens, double now,
                        struct quota *out);

/* Call `each` for every described deployment. */
void deployments_each(const struct deployments *d,
                      void (*each)(void *ctx, const char *name,
                                   const char *model),
                      void *ctx);

#endif
