/*
 * media: images, audio, token counts.
 */
#include "media.h"

#include <stdlib.h>

enum { IMAGE_BYTES = 600000, SOUND_BYTES = 70000 };

/* Usage stands behind the picture (azure.md 4.7). */
static void answer_image(struct exchange *x)
{
	struct sb out = {0};
	char *image = xmalloc(IMAGE_BYTES);

	for (size_t i = 0; i < IMAGE_BYTES; i++)
		image[i] = (char)(i * 7 + i / 251);
	sb_lit(&out, "{\"created\":1763800000,\"data\":[{\"b64_json\":\"");
	sb_b64(&out, image, IMAGE_BYTES);
	sb_lit(&out, "\"}],\"size\":\"1024x1024\",\"usage\":{\"total_tokens\":"
	             "1306,\"input_tokens\":250,\"output_tokens\":1056,"
	             "\"input_tokens_details\":{\"text_tokens\":50,"
	             "\"image_tokens\":200}}}");
	free(image);
	http_answer(x, 200, "application/json", &out);
}

static void answer_text(struct exchange *x)
{
	struct sb out = {0};

	sb_lit(&out, "{\"text\":\"Hello there.\",\"usage\":{\"type\":"
	             "\"tokens\",\"input_tokens\":14,\"input_token_details\":"
	             "{\"text_tokens\":4,\"audio_tokens\":10},"
	             "\"output_tokens\":45,\"total_tokens\":59}}");
	http_answer(x, 200, "application/json", &out);
}

static void answer_sound(struct exchange *x)
{
	struct sb out = {0};
	char *sound = xmalloc(SOUND_BYTES);

	for (size_t i = 0; i < SOUND_BYTES; i++)
		sound[i] = (char)i;
	sb_add(&out, sound, SOUND_BYTES);
	free(sound);
	http_answer(x, 200, "audio/mpeg", &out);
}

static void answer_count(struct exchange *x)
{
	struct sb out = {0};

	sb_fmt(&out,
	       "{\"object\":\"response.input_tokens\",\"input_tokens\":%zu}",
	       x->body.len / 4);
	http_answer(x, 200, "application/json", &out);
}

static void answer_compact(struct exchange *x)
{
	struct sb out = {0};

	sb_lit(&out, "{\"id\":\"resp_");
	sb_rnd_alnum(&out, 24);
	sb_lit(&out, "\",\"object\":\"response.compaction\",\"output\":[],"
	             "\"usage\":{\"input_tokens\":139,\"output_tokens\":438,"
	             "\"total_tokens\":577}}");
	http_answer(x, 200, "application/json", &out);
}

static void answer_secret(struct exchange *x)
{
	struct sb out = {0};

	sb_lit(&out, "{\"value\":\"ek_");
	sb_rnd_alnum(&out, 24);
	sb_lit(&out, "\",\"expires_at\":1763800000,\"session\":{\"type\":"
	             "\"realtime\",\"object\":\"realtime.session\"}}");
	http_answer(x, 200, "application/json", &out);
}

bool media_answer(struct exchange *x, const char *path, size_t len)
{
	static const struct {
		const char *path;
		void (*answer)(struct exchange *x);
	} table[] = {
		{"images/generations", answer_image},
		{"images/edits", answer_image},
		{"audio/transcriptions", answer_text},
		{"audio/translations", answer_text},
		{"audio/speech", answer_sound},
		{"responses/input_tokens", answer_count},
		{"responses/compact", answer_compact},
		{"v1/messages/count_tokens", answer_count},
		{"realtime/client_secrets", answer_secret},
		{"realtime/sessions", answer_secret},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
		if (strlen(table[i].path) == len &&
		    memcmp(table[i].path, path, len) == 0) {
			table[i].answer(x);
			return true;
		}
	return false;
}
