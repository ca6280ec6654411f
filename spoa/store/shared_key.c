/* store/shared_key: one random key that all nodes have, kept in Redis. */
#include "store/shared_key.h"

#include "base/buf.h"

#include <stdlib.h>

enum {
	SKEY_NAME_MAX = 512, /* the prefix, conf allows 64 bytes, and a word */
	SKEY_HEX_LEN = 2 * SHARED_KEY_LEN,
};

struct shared_key {
	struct loop *loop;
	struct redis_link *link;
	struct loop_timer timer;
	struct buf name;
	shared_key_cb *told;
	void *ctx;
	uint8_t key[SHARED_KEY_LEN]; /* in force, or offered */
	bool known;                  /* it is in force */
	bool asked;                  /* a call is in flight */
};

static void skey_on_timer(void *data);

static void skey_start_timer(struct shared_key *k)
{
	loop_timer_start(k->loop, &k->timer,
	                 k->known ? SHARED_KEY_AGAIN_MS : SHARED_KEY_FIRST_MS,
	                 skey_on_timer, k);
}

/* Anything but a key in hexadecimal is an answer of somebody else's making:
 * the key that is known stays. */
static void skey_on_answer(void *ctx, const struct redis_link_reply *reply)
{
	struct shared_key *k = ctx;
	uint8_t key[SHARED_KEY_LEN];
	bool same;

	k->asked = false;
	if (reply->kind != LINK_TEXT || reply->text.len != SKEY_HEX_LEN ||
	    !str_unhex(reply->text, key, sizeof(key)))
		return;
	same = k->known && memcmp(key, k->key, sizeof(key)) == 0;
	memcpy(k->key, key, sizeof(key));
	k->known = true;
	skey_start_timer(k);
	if (!same)
		k->told(k->ctx, k->key);
	explicit_bzero(key, sizeof(key));
}

static void skey_on_timer(void *data)
{
	struct shared_key *k = data;
	char hex[SKEY_HEX_LEN + 1];
	const struct str argv[] = {buf_str(&k->name),
	                           str_of(hex, SKEY_HEX_LEN)};

	if (!k->asked) {
		str_hex(k->key, sizeof(k->key), hex);
		k->asked = redis_link_call(k->link, SCRIPT_SHARED_KEY, argv, 2,
		                           skey_on_answer, k);
		explicit_bzero(hex, sizeof(hex));
	}
	skey_start_timer(k);
}

struct shared_key *shared_key_new(struct loop *loop, struct redis_link *link,
                                  const uint8_t *first, shared_key_cb *told,
                                  void *ctx)
{
	struct shared_key *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->loop = loop;
	k->link = link;
	k->told = told;
	k->ctx = ctx;
	memcpy(k->key, first, SHARED_KEY_LEN);
	buf_init(&k->name, SKEY_NAME_MAX);
	return k;
}

void shared_key_free(struct shared_key *k)
{
	if (!k)
		return;
	loop_timer_stop(&k->timer);
	buf_done(&k->name);
	explicit_bzero(k, sizeof(*k));
	free(k);
}

void shared_key_configure(struct shared_key *k, struct str prefix, bool shared)
{
	loop_timer_stop(&k->timer);
	buf_clear(&k->name);
	if (!shared)
		return;
	buf_fmt(&k->name, "%" STR_FMT ":ticket-key", STR_ARG(prefix));
	skey_start_timer(k);
}
