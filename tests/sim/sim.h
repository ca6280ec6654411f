/*
 * sim: what the parts of the simulator share.
 *
 *   client -> http.c -> faults.c -> entra.c | identity.c | data.c -> answer
 *                                    (tokens)  (tokens)     |
 *                record.c <- every request                  +- api_*.c
 *                control.c: sets and reads all of it
 *
 * One thread, one loop; nothing here is locked.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include <ev.h>

#include "text.h"

enum { TENANTS_MAX = 8 };

/* What POST /control/defaults sets; headers x-sim-* override some of it for
 * one request. */
struct defaults {
	long tokens;         /* completion tokens; -1: as many as `text` has */
	long delay_ms;       /* before the answer's status line */
	long event_delay_ms; /* between the events of a stream */
	char *text;          /* what the model says; NULL: a stock sentence */
	char *region;
	bool auth;               /* the data plane checks credentials */
	long token_lifetime_s;   /* of tokens from IMDS, App Service */
	long token_padding;      /* bytes more in those tokens */
	bool system_assigned;    /* IMDS has a system-assigned identity */
	char *identity_header;   /* App Service X-IDENTITY-HEADER */
	char *client_secret;     /* of every client at the token endpoint */
	char *certificate;       /* PEM of the app's; NULL: it has none */
	char *federated_subject; /* sub of federated tokens; NULL: any */
	char *key_issuer;        /* `issuer` in the JWKS; NULL: Entra's */
	char *arc_realm;         /* path of the Arc key file; NULL: no Arc */
	char *arc_secret;        /* what that file holds */
};

struct sim {
	struct ev_loop *loop;
	const char *tenant[TENANTS_MAX];
	int n_tenants;
	char base[256]; /* of issuers and metadata, no slash at the end */
	struct defaults defaults;
	struct keys *keys;
	struct issued *issued;
	struct faults *faults;
	struct deployments *deployments;
	struct record *record;
	struct waits *waits;
};

/* The kinds of request that are counted, and that faults can aim at. */
enum endpoint {
	AT_CONTROL = 0,
	AT_METADATA = 1,
	AT_JWKS = 2,
	AT_TOKEN = 3,
	AT_IMDS = 4,
	AT_APPSERVICE = 5,
	AT_DATA = 6,
	AT_NOWHERE = 7,
	ENDPOINTS = 8,
};

extern const char *const endpoint_names[ENDPOINTS];

/* Tokens a request used, as far as it came. */
struct usage {
	long prompt;
	long completion;
	bool told; /* the answer carried the usage, and it was sent */
};

void defaults_reset(struct defaults *d); /* all zero is fine before */
void defaults_free(struct defaults *d);

#endif
