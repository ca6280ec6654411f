/*
 * agent/reload: SIGHUP, the configuration is read again.
 */
#ifndef AGENT_RELOAD_H
#define AGENT_RELOAD_H

struct agent;

/* Read the file of the policy in force again, and put the result in force in
 * this worker. Blocks the loop while it reads. A bad file changes nothing; what
 * is wrong with it is logged. The result is counted in foundry_reloads_total:
 * ok, refused (the file is bad) or failed (a part could not take it). */
void reload(struct agent *a);

#endif
