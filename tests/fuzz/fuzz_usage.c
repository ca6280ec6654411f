/* Any datagram may reach the usage socket: usage/record must survive it. */
#include "usage/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_of((const char *)data, size);
	struct usage_tokens tokens;
	struct usage_record rec;
	struct store_usage used;
	bool estimated;

	if (record_parse(text, &rec) == RECORD_OK) {
		record_charge(&rec, NULL, 3.5, &tokens, &used, &estimated);
		record_done(&rec);
	}
	record_read_usage(text, STR_NONE, API_CHAT, &tokens);
	record_read_usage(text, text, API_MESSAGES, &tokens);
	return 0;
}
