/*
 * identity: who gives out tokens. Entra's metadata, keys and token endpoint
 * (entra.c); the managed identity endpoints of VMs, App Service and Arc
 * (identity.c).
 */
#ifndef SIM_IDENTITY_H
#define SIM_IDENTITY_H

#include <cjson/cJSON.h>

#include "http.h"

/* Which endpoint the path names; AT_NOWHERE when it is none of these. */
enum endpoint entra_owns(const struct exchange *x);
enum endpoint identity_owns(const struct exchange *x);

void entra_answer(struct exchange *x);
void identity_answer(struct exchange *x);

/* Sign the claims (and free them), remember the token as one of ours for the
 * audience, and append it. */
void identity_issue(struct exchange *x, cJSON *claims, const char *aud,
                    long lifetime_s, struct sb *out);

#endif
