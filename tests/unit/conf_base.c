/* A small, good configuration for the tests of conf/, and ways to change it. */
#include "conf_base.h"

#include <stdio.h>
#include <stdlib.h>

const char conf_base[] =
	"{\"workers\": 1,\n"
	"\"listen\": {\"spop\": [\"unix:/tmp/s.sock\", \"127.0.0.1:9101\"]},\n"
	"\"redis\": {\"url\": \"redis://127.0.0.1:6390/3\"},\n"
	"\"tenants\": {\"contoso\": {\n"
	"  \"id\": \"AAAAAAAA-1111-1111-1111-111111111111\",\n"
	"  \"audiences\": [\"api://gw\"], \"roles\": [\"Use\"]}},\n"
	"\"keys\": {\"require\": \"any\", \"entries\": {\"dev\": {\"sha256\":\n"
	"  \"000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F\""
	"}}},\n"
	"\"consumers\": {\n"
	"  \"bot\": {\"team\": \"hr\", \"match\": {\"tenant\": \"contoso\",\n"
	"    \"apps\": [\"BBBBBBBB-2222-2222-2222-222222222222\"]},\n"
	"    \"limits\": [\"std\", \"cash\"]},\n"
	"  \"dev\": {\"match\": [{\"keys\": [\"dev\"]}]}},\n"
	"\"rules\": [{\"name\": \"all\", \"effect\": \"allow\"}],\n"
	"\"credentials\": {\"mi\": {\"type\": \"managed_identity\"}},\n"
	"\"resources\": {\"east\": {\"url\": \"https://x.openai.azure.com\",\n"
	"  \"credential\": \"mi\"}},\n"
	"\"models\": {\"gpt-4.1\": {\"aliases\": [\"four\"],\n"
	"  \"deployments\": [{\"resource\": \"east\"}],\n"
	"  \"price\": {\"input\": 2.5, \"output\": 10}}},\n"
	"\"limits\": {\n"
	"  \"std\": {\"per\": \"app\", \"unit\": \"tokens\", \"amount\": "
	"60000,\n"
	"    \"window\": \"minute\"},\n"
	"  \"cash\": {\"mode\": \"lease\", \"per\": \"team\", \"unit\": "
	"\"usd\", \"amount\": 12.5,\n"
	"    \"window\": \"day\", \"on_store_failure\": \"deny\"}}}\n";

static void fail(const char *from)
{
	fprintf(stderr, "not exactly once in the base: %s\n", from);
	abort();
}

static void apply(struct buf *b, const struct change *c)
{
	struct buf next;
	char *at;

	buf_init(&next, 1 << 20);
	buf_add(b, "", 1);
	b->len--;
	at = c->from ? strstr(b->p, c->from) : b->p;
	if (!at || (c->from && strstr(at + 1, c->from)))
		fail(c->from);
	if (c->from)
		buf_add(&next, b->p, (size_t)(at - b->p));
	buf_add_str(&next, str_c(c->to));
	if (c->from)
		buf_add_str(&next, str_c(at + strlen(c->from)));
	buf_done(b);
	*b = next;
}

void conf_changed(struct buf *out, const struct change *changes, size_t n)
{
	size_t i;

	buf_init(out, 1 << 20);
	buf_add_str(out, str_c(conf_base));
	for (i = 0; i < n; i++)
		apply(out, &changes[i]);
}

struct policy *conf_base_parse(struct buf *errors, const struct change *changes,
                               size_t n)
{
	struct buf text;
	struct policy *p;

	conf_changed(&text, changes, n);
	buf_init(errors, 1 << 20);
	p = conf_parse("g.json", buf_str(&text), errors);
	buf_done(&text);
	buf_add(errors, "", 1);
	errors->len--;
	return p;
}
