/* decide/ownership: an answer has made objects; they are the caller's. */
#include "decide/ownership.h"

#include "agent/agent.h"
#include "base/log.h"
#include "upstream/feedback.h"
#include "decide/session.h"
#include "spop/notify.h"
#include "store/objects.h"

#include <stdlib.h>

enum { CREATED_MAX = 2 };

struct message {
	struct str id; /* of the request */
	struct str objects[CREATED_MAX];
	struct str secret; /* its SHA-256 in hexadecimal: HAProxy's work */
	struct object object;
};

/* The ACK that is owed. */
struct debt {
	struct agent *agent;
	struct conn_ref conn;
	size_t ack_limit;
	unsigned n_open; /* bindings whose end is not known */
	bool failed;
	const char *failure; /* constant: what that means */
	size_t id_len;
	char id[];
};

static bool read_message(const struct frame *f, struct message *out)
{
	const struct {
		struct str name;
		struct str *to;
	} args[] = {
		{STR("id"), &out->id},
		{STR("object"), &out->objects[0]},
		{STR("object2"), &out->objects[1]},
		{STR("owner"), &out->object.owner},
		{STR("resource"), &out->object.resource},
		{STR("model"), &out->object.model},
		{STR("origin"), &out->object.origin},
		{STR("secret"), &out->secret},
		{STR("caller"), &out->object.caller},
	};
	struct cursor c = notify_begin(f);
	struct notify_message m;
	struct notify_arg arg;

	*out = (struct message){0};
	if (!notify_message(&c, &m))
		return false;
	for (unsigned i = 0; i < m.n_args && notify_arg(&c, &arg); i++)
		for (size_t k = 0; k < sizeof(args) / sizeof(*args); k++)
			if (str_eq(arg.name, args[k].name))
				*args[k].to = arg.value.bytes;
	return !c.bad && out->id.len > 0 && out->object.owner.len > 0 &&
	       out->object.resource.len > 0;
}

static void pay(struct debt *d)
{
	if (--d->n_open > 0)
		return;
	conns_acknowledge(d->agent, d->conn, d->ack_limit);
	if (d->failed)
		log_warn("objects", "id=%.*s msg=\"%s\"", (int)d->id_len, d->id,
		         d->failure);
	free(d);
}

static void on_bound(void *ctx, bool stored)
{
	struct debt *d = ctx;

	d->failed = d->failed || !stored;
	pay(d);
}

/* NULL, and the ACK is out, when there is nothing to do or no memory. */
static struct debt *debt_new(struct agent *a, struct conn_ref conn,
                             const struct frame *f, size_t ack_limit,
                             struct message *m)
{
	struct debt *d = NULL;

	if (read_message(f, m))
		d = calloc(1, sizeof(*d) + m->id.len);
	if (!d) {
		conns_acknowledge(a, conn, ack_limit);
		return NULL;
	}
	*d = (struct debt){a, conn, ack_limit, .n_open = 1,
	                   .id_len = m->id.len};
	memcpy(d->id, m->id.p, m->id.len);
	return d;
}

static void bind(struct debt *d, struct str id, const struct object *o)
{
	d->n_open++;
	objects_bind(d->agent->objects, id, o, on_bound, d);
}

/* Without its caller nobody could be let in with it. */
static void bind_secret(struct debt *d, struct message *m)
{
	char space[SESSION_ID_MAX];
	struct str id = session_id(m->secret, space);

	m->object.ttl_ms = SESSION_TTL_MS;
	if (id.len > 0 && m->object.caller.len > 0)
		bind(d, id, &m->object);
	else
		d->failed = true;
}

void created(struct agent *a, struct conn_ref conn, const struct frame *f,
             size_t ack_limit)
{
	struct message m;
	struct debt *d = debt_new(a, conn, f, ack_limit, &m);

	if (!d)
		return;
	d->failure = "what this request has made could not be stored: its "
		     "caller may not find it again";
	for (size_t i = 0; i < CREATED_MAX; i++)
		if (m.objects[i].len > 0)
			bind(d, m.objects[i], &m.object);
	if (m.secret.len > 0)
		bind_secret(d, &m);
	pay(d);
}

void ownership_deleted(struct agent *a, struct conn_ref conn,
                     const struct frame *f, size_t ack_limit)
{
	struct message m;
	struct debt *d = debt_new(a, conn, f, ack_limit, &m);

	if (!d)
		return;
	d->failure = "what this request has deleted could not be forgotten: "
		     "its owner may ask the resource for it again";
	d->n_open++;
	objects_drop(a->objects, m.objects[0], m.object.owner, on_bound, d);
	pay(d);
}
