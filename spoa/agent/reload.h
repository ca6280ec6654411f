/*
 * agent/reload: SIGHUP, the configuration is read again.
 */
#ifndef AGENT_RELOAD_H
#define AGENT_RELOAD_H

struct agent;

/* Read the file of the policy in force, and put what it says in force. A bad
 * file changes nothing; what is wrong with it is logged. */
void reload(struct agent *a);

#endif
