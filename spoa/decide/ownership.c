/*
 * decide/ownership: what a request has made or deleted.
 *
 *   owned_begin --> struct owed_ack, 1 open
 *                     owned_bind, objects_drop   +1 each
 *                     owned_on_stored            -1 each, now or later
 *                     owned_release              -1: the last one sends the ACK
 *
 * Not a struct request: nothing is decided here, and the ACK tells HAProxy only
 * that it may go on. The store calls back once for each binding, by its own
 * deadline at the latest, so an owed ACK needs no timer.
 */
#include "decide/ownership.h"

#include "base/log.h"
#include "decide/session.h"
#include "net/acknowledge.h"
#include "spop/notify.h"
#include "store/objects.h"

#include <stdlib.h>

/* Objects in one message: a batch has an output and an error file. */
enum { OWNED_MAX = 2 };

/* What HAProxy has sent; views into the frame. */
struct message {
	struct str id; /* of the request */
	struct str objects[OWNED_MAX];
	struct str secret; /* SHA-256 in hexadecimal, made by HAProxy */
	struct object object;
};

/* An ACK that waits for the store. On the heap, freed with its ACK; conn_ref
 * may outlive the connection. */
struct owed_ack {
	struct decider *decider;
	struct conn_ref conn;
	size_t ack_limit;
	unsigned n_open; /* bindings whose end is not known, and the caller */
	bool failed;
	const char *failure; /* constant: what it means, for the log */
	size_t id_len;
	char id[];
};

/* Unknown arguments are passed over. False: nothing can be done with it. */
static bool owned_read_message(const struct frame *f, struct message *out)
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

static void owned_release(struct owed_ack *o)
{
	if (--o->n_open > 0)
		return;
	acknowledge(o->decider->conns, o->conn, o->ack_limit);
	if (o->failed)
		log_warn("objects", "id=%.*s msg=\"%s\"", (int)o->id_len, o->id,
		         o->failure);
	free(o);
}

static void owned_on_stored(void *ctx, bool stored)
{
	struct owed_ack *o = ctx;

	o->failed = o->failed || !stored;
	owned_release(o);
}

/* NULL, and the ACK is out, when there is nothing to do or no memory. The new
 * one has one binding open on behalf of the caller, who ends it with
 * owned_release(): else the first store that answers at once would send the ACK
 * before the next binding has begun. */
static struct owed_ack *owned_begin(struct decider *d, struct conn_ref conn,
                                    const struct frame *f, size_t ack_limit,
                                    struct message *m)
{
	struct owed_ack *o = NULL;

	if (owned_read_message(f, m))
		o = calloc(1, sizeof(*o) + m->id.len);
	if (!o) {
		acknowledge(d->conns, conn, ack_limit);
		return NULL;
	}
	*o = (struct owed_ack){d, conn, ack_limit, .n_open = 1,
	                       .id_len = m->id.len};
	memcpy(o->id, m->id.p, m->id.len);
	return o;
}

static void owned_bind(struct owed_ack *o, struct str id,
                       const struct object *object)
{
	o->n_open++;
	objects_bind(o->decider->objects, id, object, owned_on_stored, o);
}

/* The secret of a realtime session (decide/session). Without the text of its
 * caller it would let in nobody, so it is not stored. */
static void owned_bind_secret(struct owed_ack *o, struct message *m)
{
	char space[SESSION_ID_MAX];
	struct str id = session_id(m->secret, space);

	m->object.ttl_ms = SESSION_TTL_MS;
	if (id.len > 0 && m->object.caller.len > 0)
		owned_bind(o, id, &m->object);
	else
		o->failed = true;
}

void ownership_created(struct decider *d, struct conn_ref conn,
                       const struct frame *f, size_t ack_limit)
{
	struct message m;
	struct owed_ack *o = owned_begin(d, conn, f, ack_limit, &m);

	if (!o)
		return;
	o->failure = "what this request has made could not be stored: its "
		     "caller may not find it again";
	for (size_t i = 0; i < OWNED_MAX; i++)
		if (m.objects[i].len > 0)
			owned_bind(o, m.objects[i], &m.object);
	if (m.secret.len > 0)
		owned_bind_secret(o, &m);
	owned_release(o);
}

void ownership_deleted(struct decider *d, struct conn_ref conn,
                       const struct frame *f, size_t ack_limit)
{
	struct message m;
	struct owed_ack *o = owned_begin(d, conn, f, ack_limit, &m);

	if (!o)
		return;
	o->failure = "what this request has deleted could not be forgotten: "
		     "its owner may ask the resource for it again";
	o->n_open++;
	objects_drop(d->objects, m.objects[0], m.object.owner, owned_on_stored,
	             o);
	owned_release(o);
}
