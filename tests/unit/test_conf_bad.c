/* conf: what is wrong is refused, at its place, for its reason. */
#include "test.h"

#include "conf_base.h"

#define WHOLE NULL

struct bad {
	const char *name;
	const char *from, *to;
	const char *line; /* what one line must begin with, behind the file */
};

static const struct bad bad[] = {
	/* the text */
	{"empty file", WHOLE, "", "line 1, column 1: found that"},
	{"not closed", "\"day\", \"on_store_failure\": \"deny\"}}}", "\"day\"",
         "line "},
	{"duplicate key hides a tenant", "\"workers\": 1",
         "\"workers\": 1, \"workers\": 1", "line 1, column 16: found that"},
	{"garbage behind", "\"deny\"}}}\n", "\"deny\"}}} x", "line "},
	{"not an object", WHOLE, "[]", "found an array, expected an object"},
	{"comment not closed", "\"workers\": 1", "/* \"workers\": 1",
         "line 1, column 2: found that"},

	/* keys */
	{"unknown key", "\"workers\": 1", "\"worker\": 1",
         "worker: found an unknown key, expected \"workers\""},
	{"unknown key deep", "\"input\": 2.5", "\"imput\": 2.5",
         "models[\"gpt-4.1\"].price.imput: found an unknown key, expected "
         "\"input\""},
	{"case matters", "\"require\"", "\"Require\"",
         "keys.Require: found an unknown key, expected \"require\""},
	{"empty key", "\"workers\": 1", "\"\": 1",
         "[\"\"]: found an unknown key"},
	{"required", "\"type\": \"managed_identity\"", "",
         "credentials.mi.type: found nothing, expected a word"},
	{"required list", "\"audiences\": [\"api://gw\"], ", "",
         "tenants.contoso.audiences: found nothing, expected a list: "},
	{"required section",
         "\"rules\": [{\"name\": \"all\", \"effect\": "
         "\"allow\"}],",
         "", "rules: found nothing"},

	/* values */
	{"number as text", "\"workers\": 1", "\"workers\": \"1\"",
         "workers: found \"1\", expected a whole number from 1 to 64"},
	{"fraction", "\"workers\": 1", "\"workers\": 1.5",
         "workers: found 1.5, expected a whole number from 1 to 64"},
	{"too large", "\"workers\": 1", "\"workers\": 1e300",
         "workers: found 1e+300, expected"},
	{"null is no default", "\"workers\": 1", "\"workers\": null",
         "workers: found null, expected"},
	{"enum", "\"require\": \"any\"", "\"require\": \"all\"",
         "keys.require: found \"all\", expected one of any, token, key, "
         "both"},
	{"not a GUID", "AAAAAAAA-1111", "AAAAAAAA1111",
         "tenants.contoso.id: found \"AAAAAAAA1111-1111-1111-111111111111"
         "\", expected a GUID"},
	{"GUID in a list", "BBBBBBBB-2222", "BBBBBBBB_2222",
         "consumers.bot.match.apps[0]: found"},
	{"text for a list", "[\"api://gw\"]", "\"api://gw\"",
         "tenants.contoso.audiences: found \"api://gw\", expected a list"},
	{"empty list of conditions holds for everybody", "[\"dev\"]", "[]",
         "consumers.dev.match[0].keys: found a list of 0 entries"},
	{"blank in a role", "[\"Use\"]", "[\"Use More\"]",
         "tenants.contoso.roles[0]: found \"Use More\", expected a text "
         "without blanks"},
	{"object for a list", "\"deployments\": [{\"resource\": \"east\"}]",
         "\"deployments\": {\"resource\": \"east\"}",
         "models[\"gpt-4.1\"].deployments: found an object, expected a list "
         "of objects"},
	{"no deployment", "[{\"resource\": \"east\"}]", "[]",
         "models[\"gpt-4.1\"].deployments: found a list of 0 entries"},
	{"list for objects",
         "\"credentials\": {\"mi\": {\"type\": "
         "\"managed_identity\"}}",
         "\"credentials\": []",
         "credentials: found an array, expected an object of named objects"},
	{"text for an object", "{\"type\": \"managed_identity\"}", "\"mi\"",
         "credentials.mi: found \"mi\", expected an object"},
	{"weight", "{\"resource\": \"east\"}",
         "{\"resource\": \"east\", \"weight\": 0}",
         "models[\"gpt-4.1\"].deployments[0].weight: found 0, expected a "
         "whole number from 1 to 1000"},
	{"priority", "{\"resource\": \"east\"}",
         "{\"resource\": \"east\", \"priority\": 101}",
         "models[\"gpt-4.1\"].deployments[0].priority: found 101"},
	{"operation", "\"effect\": \"allow\"",
         "\"effect\": \"allow\", \"operations\": [\"chat\", \"chatt\"]",
         "rules[0].operations[1]: found \"chatt\", expected one of chat"},
	{"a member that is not dropped", "\"aliases\"",
         "\"adapt\": {\"drop\": [\"temperature\", \"model\"]}, \"aliases\"",
         "models[\"gpt-4.1\"].adapt.drop[1]: found \"model\", expected one of "
         "temperature, top_p,"},
	{"an effort that is no word", "\"aliases\"",
         "\"adapt\": {\"reasoning_effort\": {\"none\": \"a\\\"b\"}}, "
         "\"aliases\"",
         "models[\"gpt-4.1\"].adapt.reasoning_effort.none: found \"a\\\"b\", "
         "expected a word"},
	{"an effort that is a number", "\"aliases\"",
         "\"adapt\": {\"reasoning_effort\": {\"none\": 1}}, \"aliases\"",
         "models[\"gpt-4.1\"].adapt.reasoning_effort.none: found 1"},
	{"efforts in a list", "\"aliases\"",
         "\"adapt\": {\"reasoning_effort\": [\"none\"]}, \"aliases\"",
         "models[\"gpt-4.1\"].adapt.reasoning_effort: found an array, expected "
         "an object of texts and null"},
	{"a limit by another name", "\"aliases\"",
         "\"adapt\": {\"max_tokens\": \"max_output_tokens\"}, \"aliases\"",
         "models[\"gpt-4.1\"].adapt.max_tokens: found \"max_output_tokens\""},
	{"operation none", "\"effect\": \"allow\"",
         "\"effect\": \"allow\", \"operations\": [\"none\"]",
         "rules[0].operations[0]: found \"none\""},
	{"no operations would mean all", "\"effect\": \"allow\"",
         "\"effect\": \"allow\", \"operations\": []",
         "rules[0].operations: found a list of 0 entries"},
	{"no models would mean all", "\"effect\": \"allow\"",
         "\"effect\": \"allow\", \"models\": []",
         "rules[0].models: found a list of 0 entries"},
	{"two stars", "\"effect\": \"allow\"",
         "\"effect\": \"allow\", \"models\": [\"g*t*\"]",
         "rules[0].models[0]: found \"g*t*\", expected a name with at most "
         "one *"},
	{"negative price", "\"input\": 2.5", "\"input\": -2.5",
         "models[\"gpt-4.1\"].price.input: found -2.5, expected a price"},
	{"price below a pico-dollar", "\"input\": 2.5", "\"input\": 2.5000001",
         "models[\"gpt-4.1\"].price.input: found 2.5000001"},
	{"month 13", "1D1E1F\"",
         "1D1E1F\", \"not_after\": \"2027-13-01T00:00:00Z\"",
         "keys.entries.dev.not_after: found \"2027-13-01T00:00:00Z\""},
	{"31 June", "1D1E1F\"",
         "1D1E1F\", \"not_after\": \"2027-06-31T00:00:00Z\"",
         "keys.entries.dev.not_after: found"},
	{"time without zone", "1D1E1F\"",
         "1D1E1F\", \"not_after\": \"2027-06-30T00:00:00\"",
         "keys.entries.dev.not_after: found"},
	{"socket for everybody", "\"listen\": {",
         "\"listen\": {\"unix_mode\": \"0666\", ",
         "listen.unix_mode: found \"0666\", expected a file mode"},
	{"socket path too long", "/tmp/s.sock",
         "/tmp/0123456789012345678901234567890123456789012345678901234567890"
         "12345678901234567890123456789012345678901234567890",
         "listen.spop[0]: found"},

	/* names */
	{"consumer name", "\"dev\": {\"match\"", "\"d v\": {\"match\"",
         "consumers[\"d v\"]: found this name, expected a name of 1 to 64"},
	{"resource name goes to haproxy.cfg", "{\"east\": {\"url\"",
         "{\"e.x\": {\"url\"",
         "resources[\"e.x\"]: found this name, expected a name of 1 to 32"},
	{"slash in a model", "{\"gpt-4.1\":", "{\"gpt/4\":",
         "models[\"gpt/4\"]: found this name, expected a model name"},
	{"star in a model",
         "{\"gpt-4.1\":", "{\"gpt*\":", "models[\"gpt*\"]: found this name"},
	{"control character in a model", "{\"gpt-4.1\":", "{\"gpt\\n4\":",
         "models[\"gpt\\n4\"]: found this name"},
	{"control character in an alias", "[\"four\"]", "[\"fo\\u0007r\"]",
         "models[\"gpt-4.1\"].aliases[0]: found \"fo\\u0007r\""},

	/* references */
	{"credential", "\"credential\": \"mi\"", "\"credential\": \"mj\"",
         "resources.east.credential: found \"mj\", expected a name from "
         "credentials"},
	{"resource", "{\"resource\": \"east\"}", "{\"resource\": \"west\"}",
         "models[\"gpt-4.1\"].deployments[0].resource: found \"west\""},
	{"limit", "[\"std\", \"cash\"]", "[\"std\", \"cush\"]",
         "consumers.bot.limits[1]: found \"cush\", expected a name from "
         "limits"},
	{"limit twice", "[\"std\", \"cash\"]", "[\"std\", \"std\"]",
         "consumers.bot.limits[1]: found \"std\" twice"},
	{"tenant", "{\"tenant\": \"contoso\"", "{\"tenant\": \"fabrikam\"",
         "consumers.bot.match.tenant: found \"fabrikam\""},
	{"key", "[\"dev\"]", "[\"dov\"]",
         "consumers.dev.match[0].keys[0]: found \"dov\", expected a name "
         "from keys.entries"},
	{"consumer of a rule", "\"effect\": \"allow\"",
         "\"effect\": \"allow\", \"consumers\": [\"bat\"]",
         "rules[0].consumers[0]: found \"bat\", expected a name from "
         "consumers"},
	{"alias in a rule", "\"effect\": \"allow\"",
         "\"effect\": \"allow\", \"models\": [\"four\"]",
         "rules[0].models[0]: found \"four\", expected a name from models"},
	{"alias of itself", "[\"four\"]", "[\"gpt-4.1\"]",
         "models[\"gpt-4.1\"].aliases[0]: found \"gpt-4.1\", which model"},
	{"alias twice", "[\"four\"]", "[\"four\", \"four\"]",
         "models[\"gpt-4.1\"].aliases[1]: found \"four\", which model"},
	{"rule name twice", "\"effect\": \"allow\"}",
         "\"effect\": \"allow\"}, {\"name\": \"all\", \"effect\": \"deny\"}",
         "rules[1].name: found \"all\" again"},

	/* who is calling */
	{"empty match holds for everybody", "{\"keys\": [\"dev\"]}", "{}",
         "consumers.dev.match[0]: found no condition, expected at least one, "
         "or {\"any\": true}"},
	{"any false is empty", "{\"keys\": [\"dev\"]}", "{\"any\": false}",
         "consumers.dev.match[0]: found no condition"},
	{"any and more", "{\"keys\": [\"dev\"]}",
         "{\"any\": true, \"keys\": [\"dev\"]}",
         "consumers.dev.match[0]: found \"any\" beside other conditions"},
	{"no match", "[{\"keys\": [\"dev\"]}]", "[]",
         "consumers.dev.match: found a list of 0 entries"},
	{"empty caller of a rule", "\"effect\": \"allow\"",
         "\"effect\": \"allow\", \"caller\": {}",
         "rules[0].caller: found no condition"},
	{"tenant nobody can pass", ", \"roles\": [\"Use\"]", "",
         "tenants.contoso: found no scopes, roles or callers"},
	{"audience of Azure itself", "api://gw",
         "https://cognitiveservices.azure.com",
         "tenants.contoso.audiences[0]: found an audience of Microsoft's"},
	{"audience of Foundry, with a slash", "api://gw",
         "https://ai.azure.com/", "tenants.contoso.audiences[0]: found an"},
	{"audience of Azure in other letters", "api://gw",
         "https://AI.Azure.com", "tenants.contoso.audiences[0]: found an"},
	{"authority in clear text", "\"audiences\"",
         "\"authority\": \"http://login.microsoftonline.com\", "
         "\"audiences\"",
         "tenants.contoso.authority: found http"},
	{"authority that only looks like loopback", "\"audiences\"",
         "\"authority\": \"http://127.0.0.1.evil.example\", \"audiences\"",
         "tenants.contoso.authority: found http"},
	{"user part that looks like a host", "\"audiences\"",
         "\"authority\": \"http://127.0.0.1@evil.example\", \"audiences\"",
         "tenants.contoso.authority: found a text of 29 bytes"},
	{"other cloud without issuer_v1", "\"audiences\"",
         "\"authority\": \"https://login.microsoftonline.us\", "
         "\"audiences\"",
         "tenants.contoso.issuer_v1: found nothing, expected the `issuer` "
         "that https://login.microsoftonline.us/aaaaaaaa-1111-1111-1111-"
         "111111111111/.well-known/openid-configuration shows"},
	{"one tenant under two names", "\"roles\": [\"Use\"]}",
         "\"roles\": [\"Use\"]}, \"again\": {\"id\": "
         "\"aaaaaaaa-1111-1111-1111-111111111111\", \"audiences\": [\"x\"], "
         "\"roles\": [\"Use\"]}",
         "tenants.again.id: found the id of tenant \"contoso\""},
	{"hash of an empty key",
         "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F",
         "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
         "keys.entries.dev.sha256: found the hash of an empty text"},
	{"one key under two names", "1D1E1F\"}",
         "1D1E1F\"}, \"two\": {\"sha256\": \"000102030405060708090a0b0c0d0e0f"
         "101112131415161718191a1b1c1d1e1f\"}",
         "keys.entries.two.sha256: found the hash of key \"dev\""},
	{"key header that is a credential already", "\"require\": \"any\"",
         "\"header\": \"Authorization\"",
         "keys.header: found a text of 13 bytes, expected the name of"},
	{"team with the name of a consumer", "\"team\": \"hr\"",
         "\"team\": \"dev\"",
         "consumers.bot.team: found \"dev\", the name of a consumer"},

	/* Azure */
	{"resource in clear text", "https://x.openai", "http://x.openai",
         "resources.east.url: found http, expected https"},
	{"resource with a path", "azure.com\"", "azure.com/openai\"",
         "resources.east.url: found a path"},
	{"resource with a query", "azure.com\"", "azure.com/?a=b\"",
         "resources.east.url: found a text"},
	{"TLS to a number", "x.openai.azure.com", "10.0.0.4",
         "resources.east.url: found a number for a host"},
	{"host that breaks a line of haproxy.cfg", "x.openai.azure.com",
         "x\\n\\tserver evil 1.2.3.4:1 #", "resources.east.url: found a text"},
	{"quote in ca_file", "\"credential\": \"mi\"",
         "\"credential\": \"mi\", \"ca_file\": \"/a\\\" crt /b\"",
         "resources.east.ca_file: found a text of 10 bytes"},
	{"clear text to an address elsewhere", "https://x.openai.azure.com\"",
         "http://127.0.0.1:9443\", \"address\": \"10.0.0.4:80\"",
         "resources.east.address: found 10.0.0.4:80 with an http URL"},
	{"IMDS elsewhere", "\"managed_identity\"",
         "\"managed_identity\", \"endpoint\": \"http://10.0.0.4\"",
         "credentials.mi.endpoint: found http://10.0.0.4, expected https"},
	{"two ids for one identity", "\"managed_identity\"",
         "\"managed_identity\", "
         "\"client_id\": \"AAAAAAAA-1111-1111-1111-111111111111\", "
         "\"resource_id\": \"/subscriptions/x\"",
         "credentials.mi: found 2 of client_id"},
	{"key of another type", "\"managed_identity\"",
         "\"managed_identity\", \"key_env\": \"K\"",
         "credentials.mi.key_env: found a key that type managed_identity "
         "does not have"},
	{"client secret without its parts", "\"managed_identity\"",
         "\"client_secret\"", "credentials.mi.tenant_id: found nothing"},
	{"certificate without its file", "\"managed_identity\"",
         "\"certificate\"",
         "credentials.mi.certificate_file: found nothing, expected a PEM"},
	{"Arc elsewhere", "\"managed_identity\"",
         "\"azure_arc\", \"endpoint\": \"http://10.0.0.4:40342\"",
         "credentials.mi.endpoint: found http://10.0.0.4:40342, expected"},
	{"identity of another than the Arc machine", "\"managed_identity\"",
         "\"azure_arc\", "
         "\"client_id\": \"AAAAAAAA-1111-1111-1111-111111111111\"",
         "credentials.mi.client_id: found a key that type azure_arc does not "
         "have"},
	{"token file of another type", "\"managed_identity\"",
         "\"managed_identity\", \"token_file\": \"/t\"",
         "credentials.mi.token_file: found a key that type managed_identity"},
	{"credential found out by itself", "\"managed_identity\"", "\"auto\"",
         "credentials.mi.type: found \"auto\", expected"},
	{"audience with a blank", "\"credential\": \"mi\"",
         "\"credential\": \"mi\", \"audience\": \"a b\"",
         "resources.east.audience: found \"a b\""},
	{"no secret", "\"managed_identity\"", "\"key\"",
         "credentials.mi: found no secret, expected key_env or key_file"},

	/* limits */
	{"limit of nothing", "60000", "0",
         "limits.std.amount: found 0, expected more than 0"},
	{"warns beyond the limit", "60000", "60000, \"warn_at\": 1.5",
         "limits.std.warn_at: found 1.5, expected a share from 0 to 1"},
	{"a mode that is none", "60000", "60000, \"mode\": \"loose\"",
         "limits.std.mode: found \"loose\", expected one of exact, lease"},
	{"leased and exact", "60000", "60000, \"lease_share\": 0.1",
         "limits.std.lease_share: found it in mode exact"},
	{"nothing leased", "60000",
         "60000, \"mode\": \"lease\", \"lease_share\": 0",
         "limits.std.lease_share: found 0, expected a share above 0"},
	{"more leased than there is", "60000",
         "60000, \"mode\": \"lease\", \"lease_share\": 1.01",
         "limits.std.lease_share: found 1.01, expected a share above 0"},
	{"less leased than one", "60000", "10, \"mode\": \"lease\"",
         "limits.std.lease_share: found 0.05, expected at least 0.1: of an "
         "amount of 10, nothing could be leased"},
	{"no window", "60000,\n    \"window\": \"minute\"", "60000",
         "limits.std.window: found nothing, expected one of minute"},
	{"a window of what is in flight", "\"unit\": \"tokens\"",
         "\"unit\": \"concurrent\"",
         "limits.std.window: found a window, expected none"},
	{"half a token", "60000", "0.5", "limits.std.amount: found 0.5"},
	{"a token and a half", "60000", "1.5",
         "limits.std.amount: found 1.5, expected a whole number"},
	{"negative", "60000", "-1",
         "limits.std.amount: found -1, expected a number, 0 or more"},
	{"more than a double counts", "60000", "1e16",
         "limits.std.amount: found 1e+16"},
	{"more than the stores count", "60000", "1000000000000001",
         "limits.std.amount: found 1e+15, expected a whole number up to "
         "1e15"},
	{"more dollars than a double counts", "12.5", "1e8",
         "limits.cash.amount: found 100000000, expected at most"},
	{"per team without a team", "\"team\": \"hr\", ", "",
         "consumers.bot.limits[1]: found \"cash\", a limit per team"},
	{"dollars without a price",
         ",\n  \"price\": {\"input\": 2.5, \"output\": 10}", "",
         "models[\"gpt-4.1\"].price: found nothing, expected a price because "
         "limit \"cash\" of consumer \"bot\" counts usd"},
	{"dollars that are no text", "\"input\": 2.5", "\"request\": 0.01",
         "models[\"gpt-4.1\"].price.request: found 0.01, expected US dollars "
         "as text with at most 12 decimals, such as \"1.25\""},
	{"dollars below a pico-dollar", "\"input\": 2.5",
         "\"request\": \"0.0000000000001\"",
         "models[\"gpt-4.1\"].price.request: found \"0.0000000000001\""},
	{"units without a price", "\"deployments\": [{\"resource\": \"east\"}]",
         "\"deployments\": [{\"resource\": \"east\", \"ptu\": {\"units\": 3}}]",
         "models[\"gpt-4.1\"].deployments[0].ptu.usd_per_unit_hour: found "
         "nothing, expected US dollars"},
	{"no units", "\"deployments\": [{\"resource\": \"east\"}]",
         "\"deployments\": [{\"resource\": \"east\", \"ptu\": {\"units\": 0, "
         "\"usd_per_unit_hour\": \"1\"}}]",
         "models[\"gpt-4.1\"].deployments[0].ptu.units: found 0, expected a "
         "whole number from 1 to 100000"},
	{"units that end before they begin",
         "\"deployments\": [{\"resource\": \"east\"}]",
         "\"deployments\": [{\"resource\": \"east\", \"ptu\": {\"units\": 1, "
         "\"usd_per_unit_hour\": \"1\", \"since\": \"2026-11-02T00:00:00Z\", "
         "\"until\": \"2026-11-02T00:00:00Z\"}}]",
         "models[\"gpt-4.1\"].deployments[0].ptu.until: found a time that is "
         "not after since"},
	{"units twice", "\"deployments\": [{\"resource\": \"east\"}]",
         "\"deployments\": [{\"resource\": \"east\", \"ptu\": {\"units\": 1, "
         "\"usd_per_unit_hour\": \"1\"}}, {\"resource\": \"east\", \"ptu\": "
         "{\"units\": 1, \"usd_per_unit_hour\": \"1\"}}]",
         "models[\"gpt-4.1\"].deployments[1].ptu: found units of a deployment "
         "that has them at model \"gpt-4.1\" already, expected them in one "
         "place"},
	{"default output above the maximum", "\"aliases\"",
         "\"default_output_tokens\": 200, \"max_output_tokens\": 100, "
         "\"aliases\"",
         "models[\"gpt-4.1\"].default_output_tokens: found 200, expected at "
         "most max_output_tokens (100)"},

	/* the process */
	{"SPOP for the world", "127.0.0.1:9101", "0.0.0.0:9101",
         "listen.spop[1]: found 0.0.0.0:9101, expected a loopback"},
	{"SPOP by name", "127.0.0.1:9101", "localhost:9101",
         "listen.spop[1]: found \"localhost:9101\", expected unix:/path"},
	{"SPOP twice", "unix:/tmp/s.sock", "127.0.0.1:9101",
         "listen.spop[1]: found the same address twice"},
	{"usage for the world", "\"listen\": {",
         "\"listen\": {\"usage\": \"10.0.0.4:9103\", ",
         "listen.usage: found 10.0.0.4:9103, expected a loopback"},
	{"address without port", "\"listen\": {",
         "\"listen\": {\"http\": \"127.0.0.1\", ",
         "listen.http: found \"127.0.0.1\", expected a numeric address"},
	{"port 0", "\"listen\": {", "\"listen\": {\"http\": \"127.0.0.1:0\", ",
         "listen.http: found"},
	{"port 65536", "\"listen\": {",
         "\"listen\": {\"http\": \"127.0.0.1:65536\", ", "listen.http: found"},
	{"http where SPOP is", "\"listen\": {",
         "\"listen\": {\"http\": \"127.0.0.1:9101\", ",
         "listen.http: found the address of listen.spop[1]"},
	{"workers share no memory",
         "\"workers\": 1,\n\"listen\": {\"spop\": [\"unix:/tmp/s.sock\", "
         "\"127.0.0.1:9101\"]},\n\"redis\": {\"url\": "
         "\"redis://127.0.0.1:6390/3\"},",
         "\"workers\": 2,",
         "workers: found 2 with limits and without redis, expected redis or "
         "1: limits in memory are per process"},
	{"password in the URL of Redis", "redis://", "redis://me:secret@",
         "redis.url: found a password in the URL, expected it in "
         "password_file"},
	{"database of Redis", "6390/3", "6390/x",
         "redis.url: found a database that is no number"},
	{"URL of Redis", "redis://127", "http://127",
         "redis.url: found a text of 23 bytes"},
	{"no Redis in the list", "\"redis://127.0.0.1:6390/3\"", "[]",
         "redis.url: found a list of 0 entries, expected a list of 1 to 8"},
	{"too many of Redis", "\"redis://127.0.0.1:6390/3\"",
         "[\"unix:/0\", \"unix:/1\", \"unix:/2\", \"unix:/3\", \"unix:/4\", "
         "\"unix:/5\", \"unix:/6\", \"unix:/7\", \"unix:/8\"]",
         "redis.url: found a list of 9 entries, expected a list of 1 to 8"},
	{"a number for Redis", "\"redis://127.0.0.1:6390/3\"", "6379",
         "redis.url: found 6379, expected redis://[USER@]HOST"},
	{"no URL in the list of Redis", "\"redis://127.0.0.1:6390/3\"",
         "[\"redis://h:1/3\", \"h:2\"]",
         "redis.url[1]: found a text of 3 bytes, expected redis://[USER@]HOST"},
	{"Redis half with TLS", "\"redis://127.0.0.1:6390/3\"",
         "[\"redis://h:1/3\", \"rediss://h:2/3\"]",
         "redis.url[1]: found another scheme than in the first URL, expected "
         "the same"},
	{"Redis with two users", "\"redis://127.0.0.1:6390/3\"",
         "[\"redis://h:1/3\", \"redis://me@h:2/3\"]",
         "redis.url[1]: found another user than in the first URL"},
	{"Redis with two databases", "\"redis://127.0.0.1:6390/3\"",
         "[\"redis://h:1/3\", \"redis://h:2\"]",
         "redis.url[1]: found another database than in the first URL"},
	{"Redis twice", "\"redis://127.0.0.1:6390/3\"",
         "[\"redis://h:1/3\", \"redis://g/3\", \"redis://h:1/3\"]",
         "redis.url[2]: found the same address twice, expected different ones"},
	{"password in a list", "\"redis://127.0.0.1:6390/3\"",
         "[\"redis://h:1/3\", \"redis://:x@h:2/3\"]",
         "redis.url[1]: found a password in the URL"},
	{"credential of Redis is not there", "redis://127.0.0.1:6390/3\"",
         "redis://127.0.0.1/3\", \"credential\": \"vm\"",
         "redis.credential: found \"vm\""},
	{"credential of Redis in clear text", "redis://127.0.0.1:6390/3\"",
         "redis://r.example/3\", \"credential\": \"mi\"",
         "redis.credential: found it with a URL that is not rediss://, "
         "expected TLS"},
	{"credential and password of Redis", "redis://127.0.0.1:6390/3\"",
         "rediss://r.example/3\", \"credential\": \"mi\", \"password_env\": "
         "\"HOME\"",
         "redis.credential: found it with a password, expected one of them"},
	{"ca_file without TLS", "6390/3\"", "6390/3\", \"ca_file\": \"/x\"",
         "redis.ca_file: found it with a URL that is not rediss://"},
	{"deadline of Redis", "6390/3\"", "6390/3\", \"deadline_ms\": 250",
         "redis.deadline_ms: found 250, expected less than "
         "decision_timeout_ms (250)"},
	{"token demanded, key given", "\"require\": \"any\"",
         "\"require\": \"kee\"", "keys.require: found \"kee\""},
};

/* One of the lines of `errors` begins with FILE: and `line`. */
static bool reported(const struct buf *errors, const char *line)
{
	struct str s = buf_str(errors);

	while (s.len > 0) {
		size_t n = str_find(s, '\n');
		struct str l = str_first(s, n);

		if (str_starts(l, STR("g.json: ")) &&
		    str_starts(str_from(l, 8), str_c(line)))
			return true;
		s = str_from(s, n + 1);
	}
	return false;
}

static void refused(void **state)
{
	size_t i, n_wrong = 0;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		const struct change c = {bad[i].from, bad[i].to};
		struct buf errors;
		struct policy *p = conf_base_parse(&errors, &c, 1);

		if (p || !reported(&errors, bad[i].line)) {
			print_error("%s: %s\nexpected: %s\nreported: %s\n",
			            bad[i].name, p ? "accepted" : "refused",
			            bad[i].line, errors.p);
			n_wrong++;
		}
		policy_unref(p);
		buf_done(&errors);
	}
	assert_int_equal(n_wrong, 0);
}

static void base_is_good(void **state)
{
	struct buf errors;
	struct policy *p = conf_base_parse(&errors, NULL, 0);

	(void)state;
	assert_string_equal(errors.p, "");
	assert_non_null(p);
	policy_unref(p);
	buf_done(&errors);
}

/* Nobody and nothing to recognise callers by. */
static void nobody_could_call(void **state)
{
	const struct change c = {
		WHOLE,
		"{\"consumers\": {\"a\": {\"match\": {\"any\": true}}}, "
		"\"rules\": [{\"name\": \"r\", \"effect\": \"allow\"}], "
		"\"credentials\": {\"c\": {\"type\": \"managed_identity\"}}, "
		"\"resources\": {\"r\": {\"url\": \"https://a.b\", "
		"\"credential\": \"c\"}}, \"models\": {\"m\": {\"deployments\":"
		" [{\"resource\": \"r\"}]}}}"};
	struct buf errors;

	(void)state;
	assert_null(conf_base_parse(&errors, &c, 1));
	assert_true(reported(&errors, "tenants: found no tenants and no "
	                              "keys.entries"));
	buf_done(&errors);
}

static void all_errors_at_once(void **state)
{
	static const struct change c[] = {
		{"\"workers\": 1", "\"workers\": 0"},
		{"\"credential\": \"mi\"", "\"credential\": \"nix\""},
		{"60000", "0"},
		{"[\"api://gw\"]", "[\"\", \"b b\"]"},
		{"\"effect\": \"allow\"", "\"effect\": 1, \"zzz\": {}"},
	};
	static const char *const lines[] = {
		"workers: found 0",
		"resources.east.credential: found \"nix\"",
		"limits.std.amount: found 0",
		"tenants.contoso.audiences[0]: found \"\"",
		"tenants.contoso.audiences[1]: found \"b b\"",
		"rules[0].effect: found 1",
		"rules[0].zzz: found an unknown key",
	};
	struct buf errors;
	size_t i, n = 0;

	(void)state;
	assert_null(conf_base_parse(&errors, c, sizeof(c) / sizeof(*c)));
	for (i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		if (!reported(&errors, lines[i]))
			fail_msg("missing: %s\nin: %s", lines[i], errors.p);
	for (i = 0; i < errors.len; i++)
		n += errors.p[i] == '\n';
	/* and nothing that only follows from another error */
	assert_int_equal(n, sizeof(lines) / sizeof(*lines));
	buf_done(&errors);
}

static void a_key_is_no_credential_for_redis(void **state)
{
	const struct change c[] = {
		{"6390/3\"", "6390/3\", \"credential\": \"k\""},
		{"\"credentials\": {",
	         "\"credentials\": {\"k\": {\"type\": \"key\", "
	         "\"key_env\": \"PATH\"}, "},
	};
	struct buf errors;

	(void)state;
	assert_null(conf_base_parse(&errors, c, sizeof(c) / sizeof(*c)));
	if (!reported(&errors, "redis.credential: found \"k\", which is a key, "
	                       "expected one that gets tokens"))
		fail_msg("in: %s", errors.p);
	buf_done(&errors);
}

/* What an operator wrote into the wrong key may be a secret. */
static void secret_in_the_wrong_place_is_not_shown(void **state)
{
	static const char *const places[][2] = {
		{"\"managed_identity\"", "\"key\", \"key_env\": \"s3cr3tKey\""},
		{"\"managed_identity\"",
	         "\"key\", \"key_file\": \"s3cr3tKey\""},
		{"redis://", "redis://u:s3cr3tKey@"},
		{"https://x.openai", "https://u:s3cr3tKey@x.openai"},
		{"\"000102030405060708090a0b0c0d0e0f10111213141516171819"
	         "1A1B1C1D1E1F\"",
	         "\"s3cr3tKey\""},
		{"\"require\": \"any\"", "\"header\": \"s3cr3tKey!\""},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(places) / sizeof(*places); i++) {
		const struct change c = {places[i][0], places[i][1]};
		struct buf errors;

		assert_null(conf_base_parse(&errors, &c, 1));
		assert_true(errors.len > 0);
		assert_null(strstr(errors.p, "s3cr3t"));
		buf_done(&errors);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base_is_good),
		cmocka_unit_test(refused),
		cmocka_unit_test(nobody_could_call),
		cmocka_unit_test(all_errors_at_once),
		cmocka_unit_test(a_key_is_no_credential_for_redis),
		cmocka_unit_test(secret_in_the_wrong_place_is_not_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
