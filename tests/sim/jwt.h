/*
 * jwt: access tokens as Entra makes them, and as an attacker would.
 */
#ifndef SIM_JWT_H
#define SIM_JWT_H

#include <cjson/cJSON.h>

#include "keys.h"
#include "sim.h"

/* The caller whom tests send through the gateway, unless they say otherwise */
#define CALLER_APP "22222222-2222-2222-2222-222222222222"
#define CALLER_OID "44444444-4444-4444-4444-444444444444"
#define CALLER_AUD "api://foundry-gateway"

/* Claims of an app-only caller, version "1.0" or "2.0", valid from now for
 * lifetime_s. The caller owns the result. */
cJSON *jwt_claims(const struct sim *sim, bool v2, const char *aud,
                  const char *app, const char *oid, long lifetime_s);

/* Header + claims + signature. Members of `header` replace or, when null,
 * remove those of Entra's header; NULL changes nothing. */
void jwt_sign(const cJSON *claims, const cJSON *header, const struct key *key,
              bool v2, const char *hmac_key, struct sb *out);

/* POST /control/token: the JSON wish of a test -> token. False with a message
 * in `out` when the wish makes no sense. */
bool jwt_mint(const struct sim *sim, const cJSON *wish, struct sb *out);

/* Set or, for null, remove every member of `over` in `to`. */
void jwt_override(cJSON *to, const cJSON *over);

#endif
