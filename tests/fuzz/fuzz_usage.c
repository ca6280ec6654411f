/* Any datagram may reach the usage socket, and any ticket be in it:
 * usage/record and usage/ticket must survive them. */
#include "base/b64url.h"
#include "usage/record.h"
#include "usage/seal.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whoever reads a ticket may write it: a ticket of this agent has exactly one
 * spelling, and one of an older agent becomes one of this agent. */
static void one_ticket(struct str text)
{
	static const uint8_t key[SEAL_KEY_LEN];
	struct seal *seal = seal_new(key);
	struct ticket_proof first, second;
	struct buf again, third;
	struct ticket t, u;
	char *room = malloc(text.len + 1), *room2;

	buf_init(&again, 65536);
	buf_init(&third, 65536);
	if (seal && room && ticket_read(text, room, &t, &first)) {
		seal_verify(seal, STR("id"), first.bytes, first.mac);
		assert(ticket_write(&t, seal, STR("id"), &again) ||
		       again.failed);
		room2 = malloc(again.len + 1);
		if (room2 && !again.failed) {
			assert(ticket_read(buf_str(&again), room2, &u,
			                   &second));
			assert(ticket_write(&u, seal, STR("id"), &third));
			assert(str_eq(buf_str(&again), buf_str(&third)));
			/* a shorter one was an older one */
			assert(second.bytes.len > first.bytes.len ||
			       str_eq(second.bytes, first.bytes));
			assert(seal_verify(seal, STR("id"), second.bytes,
			                   second.mac));
		}
		free(room2);
	}
	free(room);
	seal_free(seal);
	buf_done(&again);
	buf_done(&third);
}

/* As text, and as the bytes that base64url would hide from the fuzzer. */
static void as_ticket(struct str input)
{
	struct buf text;

	buf_init(&text, 1 << 20);
	one_ticket(input);
	if (b64url_write(&text, input))
		one_ticket(buf_str(&text));
	buf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_of((const char *)data, size);
	struct usage_tokens tokens;
	struct usage_record rec;
	struct store_usage used;
	bool estimated;

	if (record_parse(text, &rec) == RECORD_OK) {
		record_charge(&rec, NULL, &tokens, &used, &estimated);
		record_done(&rec);
	}
	record_read_usage(text, STR_NONE, API_CHAT, &tokens);
	record_read_usage(text, text, API_MESSAGES, &tokens);
	as_ticket(text);
	return 0;
}
