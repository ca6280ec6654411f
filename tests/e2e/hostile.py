r"""Requests that try to make the model that runs differ from the model that was authorized. The
caller may use `cheap` and nothing else; `dear` exists.

Each row: what it tries, what must happen, and the request. What must happen:

    RUNS     the request means `cheap`, and exactly that runs
    400 ..   it is refused with that status, and nothing runs
    SAFE     either of the two: versions of HAProxy differ in what they accept

In bodies, @ stands for the rest of a harmless request of that API.
"""
import gzip
import zlib
from typing import NamedTuple, Union

RUNS = "runs"
SAFE = "safe"

CHAT = "/openai/v1/chat/completions"
RESP = "/openai/v1/responses"
EMBED = "/openai/v1/embeddings"
CLAUDE = "/anthropic/v1/messages"
AUDIO = "/openai/v1/audio/transcriptions"
IMAGE = "/openai/v1/images/edits"
SECRET = "/openai/v1/realtime/client_secrets"
D = "/openai/deployments/"

REST = {
    CHAT: b'"messages":[{"role":"user","content":"Hello"}]',
    RESP: b'"input":"Hello"',
    EMBED: b'"input":"Hello"',
    CLAUDE: b'"max_tokens":10,"messages":[{"role":"user","content":"Hello"}]',
}


class Row(NamedTuple):
    name: str
    expect: Union[str, int]
    body: bytes
    path: str = CHAT
    head: tuple = ()  # further header lines, Content-Type among them
    method: str = "POST"
    framing: str = "length"  # length | chunked | both | two lengths | short
    token: bool = True

    def content(self):
        rest = REST.get(self.path, REST[CHAT])
        return self.body.replace(b"@", rest)


def form(*parts, boundary="b"):
    """A multipart body: (head lines, value) each."""
    out = b""
    for head, value in parts:
        out += b"--" + boundary.encode() + b"\r\n" + head + b"\r\n\r\n" + value + b"\r\n"
    return out + b"--" + boundary.encode() + b"--\r\n"


def field(name, value):
    return (b'Content-Disposition: form-data; name="' + name + b'"', value)


FILE = (b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav', b"RIFF....WAVE")
INNER = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ndear'
INNER_LF = INNER.replace(b"\r\n", b"\n") + b"\n"
FORM = ("Content-Type: multipart/form-data; boundary=b",)
JSON = "Content-Type: application/json"

HARMLESS = b'{"model":"cheap",@}'
DEAR = b'{"model":"dear",@}'
PAD = b'{"role":"user","content":"' + b"x" * 1000 + b'"},'
LONG = b'"messages":[' + PAD * 200 + PAD[:-1] + b"]"

BODIES = [
    # ---- what it tries                 comes  body
    Row("nothing",                       RUNS, HARMLESS),
    Row("the dear model, openly",        403,  DEAR),
    Row("key twice, dear last",          400,  b'{"model":"cheap","model":"dear",@}'),
    Row("key twice, dear first",         400,  b'{"model":"dear","model":"cheap",@}'),
    Row("key twice, far apart",          400,  b'{"model":"cheap",@,"model":"dear"}'),
    Row("key three times",               400,  b'{"model":"cheap","model":"dear","model":"cheap",@}'),
    Row("key twice, same value",         400,  b'{"model":"cheap","model":"cheap",@}'),
    Row("key twice, second is null",     400,  b'{"model":"cheap","model":null,@}'),
    Row("escaped key last",              400,  b'{"model":"cheap","\\u006dodel":"dear",@}'),
    Row("escaped key first",             400,  b'{"mode\\u006c":"dear","model":"cheap",@}'),
    Row("escaped key, upper hex",        400,  b'{"model":"cheap","\\u006D\\u006F\\u0064\\u0065\\u006C":"dear",@}'),
    Row("escaped key, lower hex, first", 400,  b'{"\\u006d\\u006f\\u0064\\u0065\\u006c":"dear","model":"cheap",@}'),
    Row("escaped key alone",             RUNS, b'{"\\u006dodel":"cheap",@}'),
    Row("escaped value",                 RUNS, b'{"model":"\\u0063heap",@}'),
    Row("escaped value, dear",           403,  b'{"model":"\\u0064ear",@}'),
    Row("key in capitals",               400,  b'{"model":"cheap","MODEL":"dear",@}'),
    Row("key with a capital",            400,  b'{"Model":"dear","model":"cheap",@}'),
    Row("key with a capital, last",      400,  b'{"model":"cheap","Model":"dear",@}'),
    Row("key in capitals, first",        400,  b'{"MODEL":"dear","model":"cheap",@}'),
    Row("only a key with a capital",     400,  b'{"Model":"cheap",@}'),
    Row("key with a Kelvin-like letter", RUNS, b'{"model":"cheap","m\xd0\xbedel":"dear",@}'),
    Row("unknown key with a long s",     RUNS, '{"model":"cheap","meſſages":"dear",@}'.encode()),
    Row("Kelvin sign in max_tokens",     400,  '{"model":"cheap","max_to\u212aens":100000,@}'.encode()),
    Row("Kelvin sign, escaped",          400,  b'{"model":"cheap","max_to\\u212aens":100000,@}'),
    Row("Kelvin sign and an honest key", 400,  '{"model":"cheap","max_completion_tokens":9,'
                                               '"max_completion_to\u212aens":100000,@}'.encode()),
    Row("long s in stream",              400,  '{"model":"cheap","ſtream":true,@}'.encode()),
    Row("long s in store",               400,  '{"model":"cheap","ſtore":true,@}'.encode()),
    Row("dotless i in metadata's place", RUNS, '{"model":"cheap","lımit":1,@}'.encode()),
    Row("dotless i in service_tier",     400,  '{"model":"cheap","service_tıer":"priority",@}'.encode()),
    Row("dotted I in temperature's kin", 400,  '{"model":"cheap","logİt_bias":{},@}'.encode()),
    Row("ligature in a key",             400,  '{"model":"cheap","be\ufb06_of":2,@}'.encode()),
    Row("sharp s in session",            400,  '{"model":"cheap","seßion":{},@}'.encode()),
    Row("capital in a limit",            400,  b'{"model":"cheap","Max_Tokens":100000,@}'),
    Row("capital in service_tier",       400,  b'{"model":"cheap","Service_Tier":"priority",@}'),
    Row("capital in stream_options",     400,  b'{"model":"cheap","stream_options":{"Include_Usage":true},@}'),
    Row("NUL behind the key",            400,  b'{"model":"cheap","model\\u0000":"dear",@}'),
    Row("NUL behind the value",          400,  b'{"model":"cheap\\u0000","x":"dear",@}'),
    Row("NUL between two names",         400,  b'{"model":"dear\\u0000cheap",@}'),
    Row("NUL between two names, cheap first", 400, b'{"model":"cheap\\u0000dear",@}'),
    Row("raw NUL in the value",          400,  b'{"model":"cheap\x00dear",@}'),
    Row("NUL byte, second document",     400,  b'{"model":"cheap",@}\x00{"model":"dear",@}'),
    Row("second document",               400,  b'{"model":"cheap",@}{"model":"dear",@}'),
    Row("second document, new line",     400,  b'{"model":"cheap",@}\n{"model":"dear",@}\n'),
    Row("second document, record sep.",  400,  b'\x1e{"model":"cheap",@}\n\x1e{"model":"dear",@}\n'),
    Row("array of two",                  400,  b'[{"model":"cheap",@},{"model":"dear",@}]'),
    Row("array of one",                  400,  b'[{"model":"cheap",@}]'),
    Row("closed too often",              400,  b'{"model":"cheap",@}}'),
    Row("text behind the document",      400,  b'{"model":"cheap",@}x'),
    Row("not closed",                    400,  b'{"model":"cheap",@,"x":"'),
    Row("byte order mark",               400,  b'\xef\xbb\xbf{"model":"cheap",@}'),
    Row("UTF-16 with a mark",            400,  '{"model":"dear"}'.encode("utf-16")),
    Row("UTF-16 without one",            400,  '{"model":"dear"}'.encode("utf-16-le")),
    Row("UTF-7",                         400,  b'+AHsAIg-model":"dear",@}'),
    Row("overlong UTF-8 in the key",     400,  b'{"model":"cheap","\xc1\xadodel":"dear",@}'),
    Row("cut UTF-8",                     400,  b'{"model":"cheap\xe2\x82",@}'),
    Row("lone surrogate in the name",    400,  b'{"model":"cheap\\ud83d",@}'),
    Row("lone surrogate elsewhere",      400,  b'{"model":"cheap","user":"\\udc00",@}'),
    Row("surrogates encoded as UTF-8",   400,  b'{"model":"cheap\xed\xa0\xbd\xed\xb8\x80",@}'),
    Row("nested look-alike before",      RUNS, b'{"metadata":{"model":"dear"},"model":"cheap",@}'),
    Row("nested look-alike behind",      RUNS, b'{"model":"cheap","metadata":{"model":"dear"},@}'),
    Row("nested twice look-alike",       RUNS, b'{"model":"cheap","metadata":{"model":"dear","model":"dear"},@}'),
    Row("only nested",                   400,  b'{"metadata":{"model":"cheap"},@}'),
    Row("look-alike in a message",       RUNS, b'{"model":"cheap","messages":[{"role":"user","content":"x",'
                                               b'"model":"dear"}],"input":"x","max_tokens":9}'),
    Row("look-alike in a string",        RUNS, b'{"user":"\\",\\"model\\":\\"dear","model":"cheap",@}'),
    Row("string that seems to end",      RUNS, b'{"user":"a\\\\\\"","model":"cheap","x":"\\"model\\":\\"dear\\"",@}'),
    Row("string of backslashes",         400,  b'{"user":"\\\\","model":"cheap","x":"\\\\","model":"dear",@}'),
    Row("deep nesting",                  SAFE, b'{"x":' + b"[" * 5000 + b"]" * 5000 + b',"model":"cheap",@}'),
    Row("deep nesting hides the key",    400,  b'{"model":"cheap","x":' + b'{"a":' * 5000 + b"1" + b"}" * 5001
                                               + b',"model":"dear",@}'),
    Row("model is an array",             400,  b'{"model":["cheap","dear"],@}'),
    Row("model is an object",            400,  b'{"model":{"id":"cheap"},@}'),
    Row("model is a number",             400,  b'{"model":1,@}'),
    Row("model is true",                 400,  b'{"model":true,@}'),
    Row("model is null",                 400,  b'{"model":null,@}'),
    Row("model is empty",                400,  b'{"model":"",@}'),
    Row("no model",                      400,  b'{@}'),
    Row("no body",                       400,  b""),
    Row("a string for a body",           400,  b'"cheap"'),
    Row("comment hides the key",         400,  b'{/*"model":"cheap",*/"model":"dear",@}'),
    Row("line comment hides the key",    400,  b'{//"model":"cheap",\n"model":"dear",@}'),
    Row("hash comment",                  400,  b'{#"model":"cheap"\n"model":"dear",@}'),
    Row("comment hides a second key",    400,  b'{"model":"cheap"/*,"model":"x"*/,@}'),
    Row("trailing comma",                400,  b'{"model":"cheap",@,}'),
    Row("missing comma",                 400,  b'{"model":"cheap" "model":"dear",@}'),
    Row("single quotes",                 400,  b"{'model':'cheap',@}"),
    Row("key without quotes",            400,  b'{model:"cheap",@}'),
    Row("NaN",                           400,  b'{"model":"cheap","temperature":NaN,@}'),
    Row("Infinity",                      400,  b'{"model":"cheap","temperature":-Infinity,@}'),
    Row("huge number",                   RUNS, b'{"model":"cheap","seed":' + b"9" * 400 + b',@}'),
    Row("huge exponent",                 RUNS, b'{"model":"cheap","seed":1e99999,@}'),
    Row("number with a hex prefix",      400,  b'{"model":"cheap","seed":0x10,@}'),
    Row("number with a plus",            400,  b'{"model":"cheap","seed":+1,@}'),
    Row("number with a leading zero",    400,  b'{"model":"cheap","max_tokens":007,@}'),
    Row("max_tokens as a float",         400,  b'{"model":"cheap","max_tokens":1e9,@}'),
    Row("max_tokens twice",              400,  b'{"model":"cheap","max_tokens":1,"max_tokens":100000,@}'),
    Row("stream twice",                  400,  b'{"model":"cheap","stream":false,"stream":true,@}'),
    Row("stream twice, escaped",         400,  b'{"model":"cheap","stream":false,"\\u0073tream":true,@}'),
    Row("bad escape",                    400,  b'{"model":"cheap","x":"\\x6d",@}'),
    Row("escape of three digits",        400,  b'{"model":"cheap","\\u06d":"dear",@}'),
    Row("raw new line in a string",      400,  b'{"model":"cheap\n",@}'),
    Row("raw tab in a key",              400,  b'{"model":"cheap","model\t":"dear",@}'),
    Row("vertical tab as a blank",       400,  b'{\x0b"model":"cheap",@}'),
    Row("form feed as a blank",          400,  b'{\x0c"model":"cheap",@}'),
    Row("no-break space as a blank",     400,  b'{\xc2\xa0"model":"cheap",@}'),
    Row("Unicode blank as a blank",      400,  b'{\xe2\x80\x83"model":"cheap",@}'),
    Row("blanks that are allowed",       RUNS, b' \t\r\n{ "model" : "cheap" , @ } \n'),
    # ---- names that are nearly right
    Row("capital in the name",           404,  b'{"model":"Cheap",@}'),
    Row("blank behind the name",         404,  b'{"model":"cheap ",@}'),
    Row("blank before the name",         404,  b'{"model":" cheap",@}'),
    Row("dot behind the name",           404,  b'{"model":"cheap.",@}'),
    Row("new line behind the name",      404,  b'{"model":"cheap\\n",@}'),
    Row("Cyrillic letter",               404,  '{"model":"сheap",@}'.encode()),
    Row("full width letters",            404,  '{"model":"ｃheap",@}'.encode()),
    Row("zero width joiner",             404,  '{"model":"cheap\u200d",@}'.encode()),
    Row("soft hyphen in dear",           404,  '{"model":"de\u00adar",@}'.encode()),
    Row("capital in dear",               404,  b'{"model":"DEAR",@}'),
    Row("path in the name",              404,  b'{"model":"cheap/../dear",@}'),
    Row("deployment behind the name",    404,  b'{"model":"cheap/deployments/dear",@}'),
    Row("two names",                     404,  b'{"model":"cheap,dear",@}'),
    Row("connection before the name",    404,  b'{"model":"gateway/cheap",@}'),
    Row("pattern of a rule",             404,  b'{"model":"*",@}'),
    Row("pattern behind the name",       404,  b'{"model":"cheap*",@}'),
    Row("query behind the name",         404,  b'{"model":"cheap?model=dear",@}'),
    Row("header in the name",            404,  b'{"model":"cheap\\r\\nx-model: dear",@}'),
    Row("very long name",                400,  b'{"model":"' + b"cheap" * 20000 + b'",@}'),
    # ---- bodies that are long
    Row("key behind 200 kB",             RUNS, b'{' + LONG + b',"model":"cheap","input":"x","max_tokens":9}'),
    Row("dear key behind 200 kB",        403,  b'{' + LONG + b',"model":"dear","input":"x","max_tokens":9}'),
    Row("second key behind 200 kB",      400,  b'{"model":"cheap",' + LONG + b',"model":"dear","input":"x"}'),
    Row("second key behind the buffer",  SAFE, b'{"model":"cheap",' + LONG + b',"x":[' + PAD * 400
                                               + b'1],"model":"dear","input":"x"}'),
    Row("dear key behind the buffer",    SAFE, b'{' + LONG + b',"x":[' + PAD * 400 + b'1],"model":"dear"}'),
    Row("escaped key behind the buffer", SAFE, b'{"model":"cheap",' + LONG + b',"x":[' + PAD * 400
                                               + b'1],"\\u006dodel":"dear","input":"x"}'),
    Row("second document behind it",     SAFE, b'{"model":"cheap",' + LONG + b',"x":[' + PAD * 400
                                               + b'1]}{"model":"dear",@}'),
]

# Path, query and body disagree, or the path is not what it seems.
PATHS = [
    # ---- what it tries                 comes  body      path
    Row("cheap path, dear body",         RUNS, DEAR,     D + "cheap/chat/completions"),
    Row("dear path, cheap body",         403,  HARMLESS, D + "dear/chat/completions"),
    Row("cheap path, two keys",          400,  b'{"model":"cheap","model":"dear",@}', D + "cheap/chat/completions"),
    Row("cheap path, no model",          RUNS, b'{@}',   D + "cheap/chat/completions"),
    Row("cheap path, model is null",     RUNS, b'{"model":null,@}', D + "cheap/chat/completions"),
    Row("cheap path, model is an array", 400,  b'{"model":["dear"],@}', D + "cheap/chat/completions"),
    Row("dear query",                    RUNS, HARMLESS, CHAT + "?model=dear"),
    Row("dear query, no model",          400,  b'{@}',   CHAT + "?model=cheap&model=dear"),
    Row("dear deployment in the query",  RUNS, HARMLESS, CHAT + "?deployment=dear&api-version=2024-10-21"),
    Row("api-version with a path",       RUNS, HARMLESS, CHAT + "?api-version=../../deployments/dear"),
    Row("api-version with another",      RUNS, HARMLESS, CHAT + "?api-version=2024-10-21%26model=dear"),
    Row("encoded slash",                 404,  HARMLESS, D + "cheap%2f..%2fdear/chat/completions"),
    Row("encoded slash behind the name", 404,  HARMLESS, D + "cheap%2fchat/completions"),
    Row("encoded slash behind dots",     404,  HARMLESS, D + "cheap/..%2fdear/chat/completions"),
    Row("encoded slash in the operation", 404,  HARMLESS, D + "cheap/chat%2fcompletions"),
    Row("encoded slash at the end",      404,  HARMLESS, D + "cheap/chat/completions%2f"),
    Row("encoded backslash",             404,  HARMLESS, D + "cheap%5c..%5cdear/chat/completions"),
    Row("backslash",                     SAFE, HARMLESS, D + "cheap\\..\\dear/chat/completions"),
    Row("dot segments",                  404,  HARMLESS, D + "cheap/../dear/chat/completions"),
    Row("dot in place of the name",      404,  HARMLESS, D + "./chat/completions"),
    Row("dots in place of the name",     404,  HARMLESS, D + "../chat/completions"),
    Row("encoded dots in place of the name", 404, HARMLESS, D + "%2e%2e/chat/completions"),
    Row("encoded dot behind the name",   404,  HARMLESS, D + "%63heap/%2e/chat/completions"),
    Row("dot at the end",                404,  HARMLESS, D + "cheap/chat/completions/."),
    Row("dots at the end",               404,  HARMLESS, D + "cheap/chat/completions/.."),
    Row("dots to the control endpoint",  404,  HARMLESS, "/openai/v1/../../control/reset"),
    Row("dots behind the operation",     404,  HARMLESS, CHAT + "/../../../../control/reset"),
    Row("encoded dots to the control endpoint", 404, HARMLESS, "/openai/v1/%2e%2e/%2e%2e/control/reset"),
    Row("encoded dot segments",          404,  HARMLESS, D + "cheap/%2e%2e/dear/chat/completions"),
    Row("dots with a parameter",         404,  HARMLESS, D + "cheap/..;/dear/chat/completions"),
    Row("path parameter",                404,  HARMLESS, D + "cheap;d=dear/chat/completions"),
    Row("path parameter before dots",    404,  HARMLESS, D + "cheap;/../dear/chat/completions"),
    Row("path parameter alone",          404,  HARMLESS, D + "cheap/;x/chat/completions"),
    Row("path parameter at the end",     404,  HARMLESS, D + "cheap/chat/completions;x=y"),
    Row("encoded semicolon",             404,  HARMLESS, D + "cheap%3bdear/chat/completions"),
    Row("double slash",                  404,  HARMLESS, "//openai/deployments/dear/chat/completions"),
    Row("double slash after openai",     404,  HARMLESS, "/openai//deployments/cheap/chat/completions"),
    Row("double slash behind the name",  404,  HARMLESS, D + "cheap//chat/completions"),
    Row("double slash in the middle",    404,  HARMLESS, D + "/dear/chat/completions"),
    Row("encoded twice",                 404,  HARMLESS, D + "cheap%252f..%252fdear/chat/completions"),
    Row("encoded question mark",         404,  HARMLESS, D + "dear%3f/../cheap/chat/completions"),
    Row("encoded NUL",                   404,  HARMLESS, D + "cheap%00dear/chat/completions"),
    Row("encoded NUL at the end",        404,  HARMLESS, D + "cheap/chat/completions%00"),
    Row("encoded blank at the end",      404,  HARMLESS, D + "cheap/chat/completions%20"),
    Row("encoded number sign",           404,  HARMLESS, D + "cheap%23x/chat/completions"),
    Row("percent without digits",        404,  HARMLESS, D + "cheap%/chat/completions"),
    Row("percent without hex digits",    404,  HARMLESS, D + "cheap%zz/chat/completions"),
    Row("encoded byte that is not UTF-8", 404,  HARMLESS, D + "cheap%ff/chat/completions"),
    Row("encoded new line",              404,  HARMLESS, D + "cheap%0d%0ax:%20dear/chat/completions"),
    Row("fragment",                      SAFE, HARMLESS, D + "cheap#/../dear/chat/completions"),
    Row("overlong slash",                404,  HARMLESS, D + "cheap%c0%af..%c0%afdear/chat/completions"),
    Row("Deployments in another case",   404,  HARMLESS, "/openai/Deployments/dear/chat/completions"),
    Row("path in capitals",              404,  HARMLESS, "/OPENAI/V1/CHAT/COMPLETIONS"),
    Row("deployments with an escape",    404,  HARMLESS, "/openai/%64eployments/dear/chat/completions"),
    Row("deployments twice",             404,  HARMLESS, D + "dear/deployments/cheap/chat/completions"),
    Row("deployments twice, apart",      404,  HARMLESS, D + "cheap/x/openai/deployments/dear/chat/completions"),
    Row("name with an escape",           RUNS, b'{@}',   D + "%63heap/chat/completions"),
    Row("dear name with an escape",      403,  HARMLESS, D + "%64ear/chat/completions"),
    Row("capital in the path's name",    404,  HARMLESS, D + "Cheap/chat/completions"),
    Row("dot behind the path's name",    404,  HARMLESS, D + "cheap./chat/completions"),
    Row("blank behind the path's name",  404,  HARMLESS, D + "cheap%20/chat/completions"),
    Row("no name",                       404,  HARMLESS, D + "chat/completions"),
    Row("very long name in the path",    SAFE, HARMLESS, D + "cheap" * 700 + "/chat/completions"),
    Row("project in front",              403,  HARMLESS, "/api/projects/x/openai/deployments/dear/chat/completions"),
    Row("whole URI",                     SAFE, HARMLESS, "http://dear.example/openai/deployments/dear/chat/completions"),
    Row("slash behind",                  404,  HARMLESS, D + "dear/chat/completions/"),
    Row("other API behind",              404,  HARMLESS, D + "cheap/chat/completions/../../dear/completions"),
    Row("anthropic path, chat behind",   404,  HARMLESS, "/anthropic/v1/messages/../../openai/v1/chat/completions"),
    Row("method in another case",        SAFE, HARMLESS, CHAT, method="post"),
    Row("method PUT",                    405,  HARMLESS, CHAT, method="PUT"),
]

# What HAProxy, the agent and the resource may read as different bodies.
FRAMES = [
    # ---- what it tries                 comes  body
    Row("gzip",                          415,  gzip.compress(b'{"model":"dear"}'), head=("Content-Encoding: gzip",)),
    Row("gzip that is none",             415,  HARMLESS, head=("Content-Encoding: gzip",)),
    Row("deflate",                       415,  zlib.compress(b'{"model":"dear"}'),
        head=("Content-Encoding: deflate",)),
    Row("identity, then gzip",           415,  gzip.compress(b'{"model":"dear"}'),
        head=("Content-Encoding: identity, gzip",)),
    Row("charset UTF-16",                415,  '{"model":"dear"}'.encode("utf-16-le"),
        head=("Content-Type: application/json; charset=utf-16",)),
    Row("charset UTF-7",                 415,  HARMLESS, head=("Content-Type: application/json; charset=utf-7",)),
    Row("charset UTF-7 in quotes",       415,  HARMLESS, head=('Content-Type: application/json; charset="utf-7"',)),
    Row("charset UTF-7 behind UTF-8",    415,  HARMLESS,
        head=("Content-Type: application/json; charset=utf-8; charset=utf-7",)),
    Row("charset UTF-7, extended",       415,  HARMLESS,
        head=("Content-Type: application/json; charset*=utf-8''utf-7",)),
    Row("charset UTF-7, continued",      415,  HARMLESS,
        head=("Content-Type: application/json; charset*0=utf; charset*1=-7",)),
    Row("charset behind a comma",        415,  HARMLESS,
        head=("Content-Type: application/json; charset=utf-8, text/plain; charset=utf-7",)),
    Row("charset ISO-8859-1",            415,  HARMLESS,
        head=("Content-Type: application/json; charset=iso-8859-1",)),
    Row("odd parameter of JSON",         415,  HARMLESS, head=("Content-Type: application/json; boundary=b",)),
    Row("very long type of JSON",        415,  HARMLESS,
        head=("Content-Type: application/json; " + "x" * 300 + "=y; charset=utf-7",)),
    Row("charset UTF-8",                 RUNS, HARMLESS, head=("Content-Type: application/json; charset=utf-8",)),
    Row("charset UTF-8 in capitals",     RUNS, HARMLESS, head=('Content-Type: application/json;charset="UTF-8"',)),
    Row("semicolon behind the type",     RUNS, HARMLESS, head=("Content-Type: application/json;",)),
    Row("text/plain",                    415,  DEAR, head=("Content-Type: text/plain",)),
    Row("no content type",               415,  DEAR, head=("Content-Type:",)),
    Row("urlencoded form",               415,  b"model=dear&messages=x",
        head=("Content-Type: application/x-www-form-urlencoded",)),
    Row("form type, JSON body",          415,  DEAR, head=FORM),
    Row("JSON type twice",               400,  HARMLESS, head=("Content-Type: text/plain", JSON)),
    Row("JSON type twice, the same",     400,  HARMLESS, head=(JSON, JSON)),
    Row("encoding twice",                400,  HARMLESS, head=("Content-Encoding: identity",
                                                               "Content-Encoding: identity")),
    Row("gzip, then chunked",            SAFE, HARMLESS, head=("Transfer-Encoding: gzip, chunked",), framing="none"),
    Row("JSON type behind a comma",      415,  DEAR, head=("Content-Type: text/plain, application/json",)),
    Row("text/plain on a cheap path",    415,  DEAR, D + "cheap/chat/completions", ("Content-Type: text/plain",)),
    Row("chunked",                       RUNS, HARMLESS, framing="chunked"),
    Row("chunked, two keys",             400,  b'{"model":"cheap","model":"dear",@}', framing="chunked"),
    Row("chunk extensions and trailers", SAFE, HARMLESS, framing="extensions"),
    Row("length and chunked",            SAFE, HARMLESS, framing="both"),
    Row("two lengths",                   400,  HARMLESS, framing="two lengths"),
    Row("length with a plus",            400,  HARMLESS, head=("Content-Length: +10",), framing="none"),
    Row("length too short",              SAFE, b'{"model":"cheap",@}' + b"POST " + CHAT.encode() + b" HTTP/1.1\r\n"
                                               b'Host: x\r\nContent-Length: 0\r\n\r\n', framing="cut"),
    Row("unknown transfer coding",       SAFE, HARMLESS, head=("Transfer-Encoding: x",), framing="none"),
    Row("coding with a blank",           SAFE, HARMLESS, head=("Transfer-Encoding : chunked",)),
    Row("headers that name a model",     RUNS, HARMLESS, head=(
        "X-Model: dear", "x-ms-spillover-deployment: dear", "azureml-model-deployment: dear",
        "x-ms-oai-image-generation-deployment: dear", "X-MS-Deployment-Name: dear", "OpenAI-Model: dear")),
    Row("headers that name a path",      RUNS, HARMLESS, head=(
        "X-Original-URL: " + D + "dear/chat/completions", "X-Rewrite-URL: " + D + "dear/chat/completions",
        "X-HTTP-Method-Override: GET", "X-Forwarded-Host: dear.example", "X-Forwarded-Prefix: " + D + "dear")),
    Row("header casing",                 RUNS, HARMLESS, head=("CONTENT-TYPE: APPLICATION/JSON",)),
    Row("expect",                        SAFE, HARMLESS, head=("Expect: 100-continue",)),
    Row("upgrade",                       SAFE, HARMLESS, head=("Connection: close, upgrade", "Upgrade: websocket")),
]

# Further APIs that name a model.
OTHERS = [
    # ---- what it tries                 comes  body      path
    Row("responses",                     RUNS, HARMLESS, RESP),
    Row("responses, dear",               403,  DEAR,     RESP),
    Row("responses, key twice",          400,  b'{"model":"cheap","model":"dear",@}', RESP),
    Row("responses, escaped key",        400,  b'{"model":"cheap","\\u006dodel":"dear",@}', RESP),
    Row("responses, dear tool",          403,  b'{"model":"cheap","tools":[{"type":"image_generation",'
                                               b'"model":"dear"}],@}', RESP),
    Row("responses, dear tool, MODEL",   403,  b'{"model":"cheap","tools":[{"type":"image_generation",'
                                               b'"MODEL":"dear"}],@}', RESP),
    Row("responses, dear tool, TOOLS",   400,  b'{"model":"cheap","TOOLS":[{"model":"dear"}],@}', RESP),
    Row("responses, tool of two models", 403,  b'{"model":"cheap","tools":[{"model":"cheap","model":"dear"}],@}', RESP),
    Row("responses, tool with a list",   400,  b'{"model":"cheap","tools":[{"model":["dear"]}],@}', RESP),
    Row("responses, unknown tool model", 404,  b'{"model":"cheap","tools":[{"model":"gpt-image-1"}],@}', RESP),
    Row("responses, cheap tool",         RUNS, b'{"model":"cheap","tools":[{"type":"image_generation",'
                                               b'"model":"cheap"}],@}', RESP),
    Row("responses, tools later",        403,  b'{"model":"cheap","input":[{"type":"additional_tools","tools":['
                                               b'{"model":"dear"}]}]}', RESP),
    Row("responses, dear moderation",    403,  b'{"model":"cheap","moderation":{"model":"dear"},@}', RESP),
    Row("messages, dear advisor",        403,  b'{"model":"cheap","tools":[{"type":"advisor_20260301","name":"a",'
                                               b'"model":"dear"}],@}', CLAUDE),
    Row("messages, dear fallback",       403,  b'{"model":"cheap","fallbacks":[{"model":"dear"}],@}', CLAUDE),
    Row("messages, default fallback",    404,  b'{"model":"cheap","fallbacks":"default",@}', CLAUDE),
    Row("chat, dear deployment",         403,  b'{"model":"cheap","data_sources":[{"parameters":{'
                                               b'"embedding_dependency":{"deployment_name":"dear"}}}],@}'),
    Row("item of another",               404,  b'{"model":"cheap","input":[{"type":"item_reference","id":"msg_1"}]}',
        RESP),
    Row("item without a type",           404,  b'{"model":"cheap","input":[{"id":"msg_1"}]}', RESP),
    Row("item of two types",             404,  b'{"model":"cheap","input":[{"type":"message","content":"x",'
                                               b'"Type":"item_reference","id":"msg_1"}]}', RESP),
    Row("item as an empty message",      404,  b'{"model":"cheap","input":[{"type":"message","role":"user",'
                                               b'"id":"msg_1"}]}', RESP),
    Row("image of another",              404,  b'{"model":"cheap","input":[{"type":"image_generation_call",'
                                               b'"id":"ig_1"}]}', RESP),
    Row("container of another",          404,  b'{"model":"cheap","tools":[{"type":"code_interpreter",'
                                               b'"container":"cntr_1"}],@}', RESP),
    Row("container of a shell",          404,  b'{"model":"cheap","tools":[{"type":"shell","environment":{'
                                               b'"type":"container_reference","container_id":"cntr_1"}}],@}', RESP),
    Row("container of a call",           404,  b'{"model":"cheap","input":[{"type":"code_interpreter_call","id":"ci_1",'
                                               b'"code":"1","container_id":"cntr_1"}]}', RESP),
    Row("container of Claude",           404,  b'{"model":"cheap","container":"container_1",@}', CLAUDE),
    Row("container of Claude, by id",    404,  b'{"model":"cheap","container":{"id":"container_1"},@}', CLAUDE),
    Row("skill of another",              400,  b'{"model":"cheap","container":{"skills":[{"type":"custom",'
                                               b'"skill_id":"skill_1"}]},@}', CLAUDE),
    Row("sound of another",              400,  b'{"model":"cheap","messages":[{"role":"assistant","audio":{'
                                               b'"id":"audio_1"}}]}'),
    Row("voice of another",              400,  b'{"model":"cheap","audio":{"voice":{"id":"voice_1"}},@}'),
    Row("stored prompt",                 400,  b'{"model":"cheap","prompt":{"id":"pmpt_1"},@}', RESP),
    Row("stored prompt, PROMPT",         400,  b'{"model":"cheap","PROMPT":{"id":"pmpt_1"},@}', RESP),
    Row("agent",                         400,  b'{"model":"cheap","agent_reference":{"name":"a"},@}', RESP),
    Row("file of another",               404,  b'{"model":"cheap","input":[{"role":"user","content":[{'
                                               b'"type":"input_file","file_id":"file-1"}]}]}', RESP),
    Row("file of another, File_Id",      404,  b'{"model":"cheap","input":[{"role":"user","content":[{'
                                               b'"type":"input_file","File_Id":"file-1"}]}]}', RESP),
    Row("file of another, a ligature",   404,  '{"model":"cheap","input":[{"role":"user","content":[{'
                                               '"type":"input_file","\ufb01le_id":"file-1"}]}]}'.encode(), RESP),
    Row("previous response, long s",     400,  '{"model":"cheap","previou\u017f_response_id":"resp_1",@}'.encode(), RESP),
    Row("previous response, both s",     400,  '{"model":"cheap","previou\u017f_re\u017fponse_id":"resp_1",@}'.encode(),
        RESP),
    Row("responses, of another's id",    404,  b'{"model":"cheap","previous_response_id":"resp_of_another",@}', RESP),
    Row("responses, id in capitals",     400,  b'{"model":"cheap","Conversation":"conv_of_another",@}', RESP),
    Row("responses, id of a number",     400,  b'{"model":"cheap","previous_response_id":1,@}', RESP),
    Row("embeddings",                    RUNS, HARMLESS, EMBED),
    Row("embeddings, dear",              403,  DEAR,     EMBED),
    Row("embeddings, key twice",         400,  b'{"model":"cheap","model":"dear",@}', EMBED),
    Row("messages",                      RUNS, HARMLESS, CLAUDE),
    Row("messages, dear",                403,  DEAR,     CLAUDE),
    Row("messages, key twice",           400,  b'{"model":"cheap","model":"dear",@}', CLAUDE),
    Row("messages, escaped key",         400,  b'{"model":"cheap","\\u006dodel":"dear",@}', CLAUDE),
    Row("messages, two documents",       400,  b'{"model":"cheap",@}{"model":"dear",@}', CLAUDE),
    Row("batch: its file names models",  404,  b'{"input_file_id":"file-1","endpoint":"/v1/chat/completions",'
                                               b'"completion_window":"24h","model":"cheap"}', "/openai/v1/batches"),
    Row("file for a batch",              403,  form(field(b"purpose", b"batch"), FILE), "/openai/v1/files", FORM),
    Row("response of somebody",          404,  b"",      RESP + "/resp_1", method="GET"),
    Row("realtime, no upgrade",          403,  b"",      "/openai/v1/realtime?model=dear", method="GET"),
    Row("realtime, model twice",         SAFE, b"",      "/openai/v1/realtime?model=cheap&model=dear", method="GET"),
    Row("realtime, two names",           SAFE, b"",      "/openai/v1/realtime?deployment=cheap&model=dear",
        method="GET"),
    Row("realtime secret, dear",         403,  b'{"session":{"type":"realtime","model":"dear"}}', SECRET),
    Row("realtime secret, two models",   400,  b'{"model":"cheap","session":{"type":"realtime","model":"dear"}}', SECRET),
    Row("realtime secret, model twice",  RUNS, b'{"model":"cheap","session":{"type":"realtime","model":"cheap"}}', SECRET),
    Row("realtime secret, a list",       400,  b'{"model":"cheap","session":{"model":["dear"]}}', SECRET),
    Row("realtime secret, in capitals",  400,  b'{"model":"cheap","Session":{"model":"dear"}}', SECRET),
    Row("realtime secret, MODEL",        400,  b'{"model":"cheap","session":{"MODEL":"dear"}}', SECRET),
    Row("realtime secret, dear path",    SAFE, b'{"session":{"model":"dear"}}', D + "cheap/realtime/client_secrets"),
    Row("realtime secret, key twice",    400,  b'{"session":{"model":"cheap","model":"dear"}}', SECRET),
    Row("realtime secret, dear ears",    403,  b'{"session":{"model":"cheap","audio":{"input":{"transcription":{'
                                               b'"model":"dear"}}}}}', SECRET),
    Row("realtime secret, old dear ears", 403, b'{"session":{"model":"cheap","input_audio_transcription":{'
                                               b'"model":"dear"}}}', SECRET),
    Row("realtime secret, cheap ears",   RUNS, b'{"session":{"model":"cheap","audio":{"input":{"transcription":{'
                                               b'"model":"cheap"}}}}}', SECRET),
    Row("realtime secret, stored prompt", 400, b'{"session":{"model":"cheap","prompt":{"id":"pmpt_1"}}}', SECRET),
    Row("realtime secret, long s",       400,  '{"model":"cheap","\u017fession":{"model":"dear"}}'.encode(), SECRET),
    Row("realtime secret, dear first",   400,  b'{"session":{"model":"dear","model":"cheap"}}', SECRET),
    Row("realtime secret, session twice", 400, b'{"session":{"model":"cheap"},"session":{"model":"dear"}}', SECRET),
    Row("realtime secret, escaped key",  400,  b'{"session":{"model":"cheap","\\u006dodel":"dear"}}', SECRET),
    Row("token count, dear",             403,  DEAR,     RESP + "/input_tokens"),
    Row("token count, key twice",        400,  b'{"model":"cheap","model":"dear",@}', RESP + "/input_tokens"),
    Row("compaction, key twice",         400,  b'{"model":"cheap","model":"dear",@}', RESP + "/compact"),
    Row("claude's count, key twice",     400,  b'{"model":"cheap","model":"dear",@}', CLAUDE + "/count_tokens"),
    Row("picture, key twice",            400,  b'{"model":"cheap","model":"dear","prompt":"x"}',
        "/openai/v1/images/generations"),
    Row("picture, dear path",            403,  b'{"model":"cheap","prompt":"x"}', D + "dear/images/generations"),
    Row("speech, dear",                  403,  b'{"model":"dear","input":"x","voice":"a"}', "/openai/v1/audio/speech"),
    Row("form, dear",                    403,  form(FILE, field(b"model", b"dear")), AUDIO, FORM),
    Row("form, model twice",             400,  form(field(b"model", b"cheap"), FILE, field(b"model", b"dear")),
        AUDIO, FORM),
    Row("form, no model",                400,  form(FILE), AUDIO, FORM),
    Row("form, name without quotes",     400,  form((b"Content-Disposition: form-data; name=model", b"dear"),
                                                    field(b"model", b"cheap"), FILE), AUDIO, FORM),
    Row("form, name with an escape",     RUNS, form(field(b"model", b"cheap"), field(b"mod%65l", b"dear"), FILE),
        AUDIO, FORM),
    Row("form, name* beside name",       400,  form((b"Content-Disposition: form-data; name=\"x\"; name*=UTF-8''model",
                                                     b"dear"), field(b"model", b"cheap"), FILE), AUDIO, FORM),
    Row("form, name twice in a part",    400,  form((b'Content-Disposition: form-data; name="x"; name="model"',
                                                     b"dear"), field(b"model", b"cheap"), FILE), AUDIO, FORM),
    Row("form, model as a file",         400,  form((b'Content-Disposition: form-data; name="model"; filename="m"',
                                                     b"dear"), field(b"model", b"cheap"), FILE), AUDIO, FORM),
    Row("form, boundary continued",      400,  form(field(b"model", b"cheap"), FILE), AUDIO,
        ("Content-Type: multipart/form-data; boundary=b; boundary*0=c",)),
    Row("form, extended boundary",       400,  form(field(b"model", b"cheap"), FILE), AUDIO,
        ("Content-Type: multipart/form-data; boundary=b; boundary*=utf-8''c",)),
    Row("form, boundary in a parameter", 400,  form(field(b"model", b"cheap"), FILE), AUDIO,
        ('Content-Type: multipart/form-data; x="; boundary=c"; boundary=b',)),
    Row("form, escape in the boundary",  400,  form(field(b"model", b"cheap"), FILE), AUDIO,
        ('Content-Type: multipart/form-data; boundary="\\b"',)),
    Row("form, two types",               400,  form(field(b"model", b"cheap"), FILE), AUDIO,
        (*FORM, "Content-Type: multipart/form-data; boundary=c")),
    Row("form, type twice",              400,  form(field(b"model", b"cheap"), FILE), AUDIO, (*FORM, *FORM)),
    Row("form, charset",                 400,  form(field(b"model", b"cheap"), FILE), AUDIO,
        ("Content-Type: multipart/form-data; charset=utf-7; boundary=b",)),
    Row("form, boundary behind LF",      400,  form(field(b"model", b"cheap"), (FILE[0], b"x\n" + INNER)), AUDIO, FORM),
    Row("form, boundary behind CR",      400,  form(field(b"model", b"cheap"), (FILE[0], b"x\r" + INNER)), AUDIO, FORM),
    Row("form, boundary ended by LF",    400,  form(field(b"model", b"cheap"), (FILE[0], b"x\n" + INNER_LF)), AUDIO, FORM),
    Row("form, boundary in a value",     400,  form(field(b"model", b"cheap"), field(b"prompt", b"x--b--")), AUDIO, FORM),
    Row("form, preamble",                400,  b"x\r\n" + form(field(b"model", b"cheap"), FILE), AUDIO, FORM),
    Row("form, epilogue",                400,  form(field(b"model", b"cheap"), FILE) + b"x", AUDIO, FORM),
    Row("form, part inside a part",      400,  form(field(b"model", b"cheap"),
        (FILE[0] + b"\r\nContent-Type: multipart/mixed; boundary=c", b"--c--")), AUDIO, FORM),
    Row("form, mixed part",              400,  form(field(b"model", b"cheap"),
        (FILE[0].replace(b"audio/wav", b"multipart/mixed; boundary=c"), b"--c--")), AUDIO, FORM),
    Row("form, model in UTF-16",         400,  form((b'Content-Disposition: form-data; name="model"\r\n'
                                                     b"Content-Type: text/plain; charset=utf-16", b"cheap"), FILE),
        AUDIO, FORM),
    Row("form, charset of all fields",   400,  form(field(b"_charset_", b"utf-7"), field(b"model", b"cheap"), FILE),
        AUDIO, FORM),
    Row("form, name as an encoded word", 400,  form(field(b"model", b"cheap"), field(b"=?utf-8?B?bW9kZWw=?=", b"dear"),
                                                    FILE), AUDIO, FORM),
    Row("form, name in brackets",        400,  form(field(b"model", b"cheap"), field(b"model[]", b"dear"), FILE),
        AUDIO, FORM),
    Row("form, name behind a blank",     400,  form(field(b"model", b"cheap"), field(b" model", b"dear"), FILE),
        AUDIO, FORM),
    Row("form, name with bad UTF-8",     400,  form(field(b"model", b"cheap"), field(b"mod\xffel", b"dear"), FILE),
        AUDIO, FORM),
    Row("form, second disposition",      400,  form((b'Content-Disposition: form-data; name="x"\r\n'
                                                     b'Content-Disposition : form-data; name="model"', b"dear"),
                                                    field(b"model", b"cheap"), FILE), AUDIO, FORM),
    Row("form, continued name",          400,  form((b"Content-Disposition: form-data; name*0=mo; name*1=del", b"dear"),
                                                    field(b"model", b"cheap"), FILE), AUDIO, FORM),
    Row("form, file name twice",         400,  form((b'Content-Disposition: form-data; name="x"; filename="a"; '
                                                     b'filename="b"', b"dear"), field(b"model", b"cheap"), FILE),
        AUDIO, FORM),
    Row("form, extended file name",      400,  form((b"Content-Disposition: form-data; name=\"x\"; "
                                                     b"filename*=utf-8''a", b"dear"), field(b"model", b"cheap"), FILE),
        AUDIO, FORM),
    Row("form, of .NET",                 RUNS, form((b"Content-Type: text/plain; charset=utf-8\r\n"
                                                     b"Content-Disposition: form-data; name=model", b"cheap"),
                                                    (b"Content-Disposition: form-data; name=file; filename=a.wav; "
                                                     b"filename*=utf-8''a.wav", b"RIFF")), AUDIO,
        ('Content-Type: multipart/form-data; boundary="b"',)),
    Row("form, encoded part",            400,  form((b'Content-Disposition: form-data; name="model"\r\n'
                                                     b"Content-Transfer-Encoding: base64", b"ZGVhcg=="), FILE),
        AUDIO, FORM),
    Row("form, folded header",           400,  form((b'Content-Disposition: form-data;\r\n name="model"', b"dear"),
                                                    field(b"model", b"cheap"), FILE), AUDIO, FORM),
    Row("form, bare line feeds",         400,  form(field(b"model", b"cheap"), FILE).replace(b"\r\n", b"\n"),
        AUDIO, FORM),
    Row("form, other boundary inside",   400,  form(field(b"model", b"cheap"), FILE)
        + form(field(b"model", b"dear"), boundary="c"), AUDIO,
        ("Content-Type: multipart/form-data; boundary=b; boundary=c",)),
    Row("form, boundary in quotes",      403,  form(field(b"model", b"dear"), FILE), AUDIO,
        ('Content-Type: multipart/form-data; boundary="b"',)),
    Row("form, behind its end",          400,  form(field(b"model", b"cheap"), FILE)
        + b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ndear\r\n--b--\r\n', AUDIO, FORM),
    Row("form, image edit, dear",        403,  form(FILE, field(b"model", b"dear")), IMAGE, FORM),
]

# Who sent the request? The test fills in {good} and {forged}.
CREDENTIALS = [
    # ---- what it tries                 comes  body
    Row("no credential",                 401,  HARMLESS, token=False),
    Row("forged token behind",           401,  HARMLESS, head=("Authorization: Bearer {forged}",)),
    Row("forged token alone",            401,  DEAR, head=("Authorization: Bearer {forged}",), token=False),
    Row("two tokens in one header",      401,  HARMLESS, head=("Authorization: Bearer {good}, Bearer {forged}",),
        token=False),
    Row("unknown key beside the token",  401,  HARMLESS, head=("api-key: unknown",)),
    Row("unknown key, dear",             401,  DEAR, head=("api-key: unknown",)),
    Row("consumer in a header",          403,  DEAR, head=("x-gw-consumer: rich", "x-ms-client-principal-id: rich",
                                                         "x-forwarded-user: rich", "openai-organization: rich")),
    Row("token in the query",            401,  DEAR, CHAT + "?api-key=unknown&access_token={forged}", token=False),
    Row("token in a cookie",             401,  DEAR, head=("Cookie: token={forged}",), token=False),
    Row("basic authorization",           401,  DEAR, head=("Authorization: Basic cmljaDpyaWNo",), token=False),
]

TABLE = BODIES + PATHS + FRAMES + OTHERS + CREDENTIALS


def chunks(body, size, extension=b""):
    out = b""
    for i in range(0, len(body), size):
        piece = body[i:i + size]
        out += b"%x%s\r\n%s\r\n" % (len(piece), extension, piece)
    return out + b"0\r\n"


def framed(row):
    """Header lines and bytes of the body."""
    body = row.content()
    n = f"Content-Length: {len(body)}"
    return {
        "length": lambda: ([n], body),
        "none": lambda: ([], body),
        "chunked": lambda: (["Transfer-Encoding: chunked"], chunks(body, 7) + b"\r\n"),
        "extensions": lambda: (["Transfer-Encoding: chunked"],
                               chunks(body, 9, b";model=dear")
                               + b"X-Model: dear\r\n\r\n"),
        "both": lambda: ([n, "Transfer-Encoding: chunked"], chunks(body, 11) + b"\r\n"),
        "two lengths": lambda: ([n, f"Content-Length: {len(body) + 1}"], body + b" "),
        "cut": lambda: ([f"Content-Length: {len(HARMLESS.replace(b'@', REST[CHAT]))}"], body),
    }[row.framing]()


def wire(row, **secrets):
    """The bytes of the request; its connection is closed behind it."""
    lines, body = framed(row)
    if row.token:
        lines.append(f"Authorization: Bearer {secrets['good']}")
    head = [h.format(**secrets) if "{" in h else h for h in row.head]
    if not any(h.lower().startswith("content-type") for h in head):
        lines.append(JSON)
    if not any(h.lower().startswith("connection") for h in head):
        lines.append("Connection: close")
    path = row.path.format(**secrets) if "{" in row.path else row.path
    text = "\r\n".join([f"{row.method} {path} HTTP/1.1", "Host: localhost", *lines, *head])
    return text.encode("latin-1") + b"\r\n\r\n" + body

