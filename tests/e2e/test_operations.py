"""Every operation of operations.cases; objects belong to the caller who made them."""
import base64
import hashlib
import json
import os
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest

from harness import GATEWAY_KEY, TINY_APP, bearer, header_value, header_values, request_id, wait_until
from steps import usage_records, with_objects
from websocket import WebSocket

V1 = "/openai/v1"
MINI = {"model": "gpt-4o-mini", "input": "x"}
JSON = {"content-type": "application/json"}
UNKNOWN = "resp_nobodyhasevermadethisone"


@pytest.fixture
def gw(shared_stack):
    return shared_stack(change=with_objects)


class Caller:
    def __init__(self, gw, **claims):
        self.gw = gw
        self.token = gw.token(**claims)

    def ask(self, method, path, **more):
        return self.gw.request(method, path, token=self.token, **more)

    def good(self, method, path, **more):
        answer = self.ask(method, path, **more)
        assert answer.status_code == 200, (method, path, answer.status_code, answer.text[:500])
        return answer

    def made(self, path, **body):
        return self.good("POST", f"{V1}/{path}", json=body).json()["id"]

    def response(self, **body):
        return self.made("responses", **MINI, **body)

    def file(self, content=b"{}\n"):
        return self.good("POST", f"{V1}/files", files={"file": ("a.jsonl", content)},
                         data={"purpose": "batch"}).json()["id"]


class Objects(dict):
    """Objects of a caller by their kind, each made when it is first asked for."""

    MAKE = {
        "response": lambda caller, _: caller.response(),
        "file": lambda caller, _: caller.file(),
        "batch": lambda caller, own: caller.made("batches", input_file_id=own["file"], endpoint="/v1/responses",
                                                 completion_window="24h"),
        "output": lambda caller, own: caller.good("GET", f"{V1}/batches/{own['batch']}").json()["output_file_id"],
        "store": lambda caller, own: caller.made("vector_stores", file_ids=[own["file"]]),
        "conversation": lambda caller, _: caller.made("conversations"),
    }

    def __init__(self, caller):
        super().__init__()
        self.caller = caller

    def __missing__(self, kind):
        self[kind] = self.MAKE[kind](self.caller, self)
        return self[kind]

    def fill(self, text):
        return re.sub(r"\$(\w+)", lambda m: self[m.group(1)], text)


@pytest.fixture
def alice(gw):
    return Caller(gw)


@pytest.fixture
def mallory(gw):
    return mallory_of(gw)


def mallory_of(stack):
    return Caller(stack, appid=TINY_APP, azp=TINY_APP)


def host(seen):
    return header_value(seen, "host").split(":")[0]


def last(gw):
    return gw.sim.requests()[-1]


# ------------------------------------------------------------ operations.cases


class Case(NamedTuple):
    name: str
    method: str
    path: str
    body: str
    expect: list  # (what, "=" or ">", value)

    def arguments(self, objects):
        """What Caller.ask() takes."""
        more = {"headers": {"anthropic-version": "2023-06-01"}} if self.path.startswith("/anthropic") else {}
        body = objects.fill(self.body)
        if body.startswith("form "):
            fields = dict(word.split("=", 1) for word in body.split()[1:])
            files = {k: v[1:].split(":") for k, v in fields.items() if v.startswith("@")}
            more["files"] = {k: (name, os.urandom(int(size))) for k, (name, size) in files.items()}
            more["data"] = {k: v for k, v in fields.items() if k not in files}
        elif body:
            more |= {"content": body, "headers": {**JSON, **more.get("headers", {})}}
        return {"method": self.method, "path": objects.fill(self.path), **more}


def read_cases():
    for line in Path(__file__).with_name("operations.cases").read_text().splitlines():
        if line and not line.startswith("#"):
            name, request, body, expect = (column.strip() for column in line.split("|"))
            yield Case(name, *request.split(), body,
                       [re.fullmatch(r"([.\w]+)([=>])(.*)", word).groups() for word in shlex.split(expect)])


CASES = list(read_cases())


def found(gw, answer, what):
    """The value of a word of the column EXPECT."""
    if what.startswith("."):
        value = answer.json()[what[1:]]
        return json.dumps(value) if isinstance(value, bool) else value
    return {
        "status": lambda: answer.status_code,
        "code": lambda: answer.json()["error"]["code"],
        "resource": lambda: {"127.0.0.1": "east", "localhost": "west"}[host(last(gw))],
        "path": lambda: last(gw)["path"],
        "query": lambda: last(gw)["query"],
        "input": lambda: gw.usage(request_id(answer))["input"],
        "output": lambda: gw.usage(request_id(answer))["output"],
        "type": lambda: answer.headers["content-type"],
        "bytes": lambda: len(answer.content),
    }[what]()


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_operation(gw, alice, case):
    objects = Objects(alice)
    request = case.arguments(objects)
    before = len(gw.sim.requests())
    answer = alice.ask(**request)
    refusal = "status" in (what for what, _, _ in case.expect)
    assert refusal or answer.status_code == 200, (answer.status_code, answer.text[:500])
    assert len(gw.sim.requests()) == before + (not refusal)
    for what, relation, value in case.expect:
        have = found(gw, answer, what)
        good = float(have) > float(value) if relation == ">" else str(have) == objects.fill(value)
        assert good, f"{what} is {have}, expected {relation} {value}"


@pytest.mark.parametrize("case", [c for c in CASES if "$" in c.path + c.body], ids=lambda c: c.name)
def test_operation_on_an_object_of_another_caller(gw, alice, mallory, case):
    request = case.arguments(Objects(alice))
    before = len(gw.sim.requests())
    answer = mallory.ask(**request)
    assert answer.status_code == 404, (answer.status_code, answer.text[:300])
    assert answer.json()["error"]["code"] == "object_not_found"
    assert len(gw.sim.requests()) == before  # nothing reached a resource
    alice.good(**request)


def test_names_of_cases_are_unique():
    assert len({c.name for c in CASES}) == len(CASES) > 60


def test_file_content_passes_unchanged(gw, alice):
    content = os.urandom(300000)
    assert content in alice.good("GET", f"{V1}/files/{alice.file(content)}/content").content


def test_image_passes_unchanged(gw, alice):
    answer = alice.good("POST", f"{V1}/images/generations", json={"model": "gpt-image-1", "prompt": "x"})
    assert len(base64.b64decode(answer.json()["data"][0]["b64_json"])) == 600000


def test_speech_passes_unchanged(gw, alice):
    answer = alice.good("POST", f"{V1}/audio/speech", json={"model": "tts", "input": "x", "voice": "alloy"})
    assert answer.content == bytes(i % 256 for i in range(70000))


def test_output_of_a_batch_belongs_to_its_owner(gw, alice):
    """From the moment that the batch shows it."""
    assert alice.good("GET", f"{V1}/files/{Objects(alice)['output']}/content").content == b"{}\n"


# -------------------------------------------------------------------- realtime

SESSIONS = [
    ("client_secrets", {"session": {"type": "realtime", "model": "gpt-realtime"}}),
    ("sessions", {"model": "gpt-realtime"}),
    ("transcription_sessions", {"input_audio_transcription": {"model": "gpt-realtime"}}),
]
CALL = f"{V1}/realtime/calls"
OFFER = b"v=0\r\ns=offer\r\n"


def new_secret(caller, what="client_secrets", body=SESSIONS[0][1]):
    answer = caller.good("POST", f"{V1}/realtime/{what}", json=body).json()
    return answer["value"] if "value" in answer else answer["client_secret"]["value"]


def call(gw, secret, path=CALL, content=OFFER, **headers):
    headers = {k.replace("_", "-"): v for k, v in headers.items()}
    return gw.post(path, token=secret, content=content, headers={"content-type": "application/sdp", **headers})


@pytest.mark.parametrize("what, body", SESSIONS, ids=[what for what, _ in SESSIONS])
def test_realtime_session_over_http(gw, alice, what, body):
    secret = new_secret(alice, what, body)
    answer = call(gw, secret, path=f"{CALL}?webrtcfilter=on&model=forbidden-model")
    assert (answer.status_code, answer.headers["content-type"]) == (201, "application/sdp"), answer.text
    assert "s=answer" in answer.text
    seen = last(gw)
    assert (seen["path"], seen["query"]) == (CALL, "webrtcfilter=on")
    assert host(seen) == "127.0.0.1"  # where the session was made, not the resource of files
    # the resource accepts this secret only, not the credential of the gateway
    assert header_value(seen, "authorization") == f"Bearer {secret}"
    used = gw.usage(request_id(answer))
    assert (used["operation"], used["model"], used["resource"]) == ("realtime", "gpt-realtime", "east")
    assert used["consumer"] == gw.usage(request_id(alice.good("GET", f"{V1}/responses/{alice.response()}")))["consumer"]
    for child in gw.children.values():
        assert secret not in child.log()


def test_call_as_a_form_is_refused(gw, alice):
    """A form may hold a session with another model."""
    session = ("session", (None, '{"model": "forbidden-model"}', "application/json"))
    n = len(gw.sim.requests())
    for files in ([("sdp", (None, OFFER, "application/sdp")), session], [("sdp", (None, OFFER, "application/sdp"))]):
        answer = gw.post(CALL, files=files, token=new_secret(alice))
        assert answer.status_code == 415, answer.text
    assert not [r for r in gw.sim.requests()[n:] if r["path"].endswith("/calls")]


def test_call_without_a_secret_of_this_gateway(gw, alice):
    secret = new_secret(alice)
    n = len(gw.sim.requests())
    for wrong in ("ek_" + "a" * 88, secret[:-1], secret + "x", secret.upper(), "x",
                  alice.token, GATEWAY_KEY):
        answer = call(gw, wrong)
        assert answer.status_code == 401, (wrong, answer.text)
    for more in ({"api_key": GATEWAY_KEY}, {"x_api_key": "x"}, {"api_key": secret}):
        assert call(gw, secret, **more).status_code == 401
    for headers in ({"api-key": GATEWAY_KEY}, {}):
        assert gw.post(CALL, token="", content=OFFER, headers=headers).status_code == 401
    assert len(gw.sim.requests()) == n  # nothing reached a resource


def test_secret_of_a_session_opens_nothing_else(gw, alice):
    secret = new_secret(alice)
    for path in ("responses", "realtime/client_secrets", "realtime/sessions"):
        assert gw.post(f"{V1}/{path}", json=MINI, token=secret).status_code == 401, path


def test_hash_of_a_secret_is_no_secret(gw, alice, mallory):
    """Redis holds hashes. Whoever reads one can neither call with it nor use it as an object's id."""
    name = hashlib.sha256(new_secret(alice).encode()).hexdigest()
    for text in (name, f"secret:{name}"):
        assert call(gw, text).status_code == 401
        assert mallory.ask("DELETE", f"{V1}/files/{text}").status_code == 404


def test_call_is_authorized_again(make_stack):
    stack = make_stack(change=with_objects)
    alice = Caller(stack)
    secret = new_secret(alice)
    assert call(stack, secret).status_code == 201
    stack.config["rules"].insert(0, {"name": "no-realtime", "effect": "deny", "models": ["gpt-realtime"]})
    stack.restart_agent()
    wait_until("the new rule", lambda: call(stack, secret).status_code == 403)


@pytest.mark.parametrize("kind, at", [("response", "responses"), ("file", "files"), ("conversation", "conversations"),
                                      ("store", "vector_stores")], ids=lambda v: v)
def test_deleted_object_does_not_exist(gw, alice, kind, at):
    name = Objects(alice)[kind]
    alice.good("DELETE", f"{V1}/{at}/{name}")
    n = len(gw.sim.requests())
    assert alice.ask("GET", f"{V1}/{at}/{name}").status_code == 404
    assert len(gw.sim.requests()) == n


def test_realtime_session_of_a_forbidden_model(gw, alice):
    for body in ({"input_audio_transcription": {"model": "forbidden-model"}},
                 {"model": "gpt-realtime", "input_audio_transcription": {"model": "forbidden-model"}},
                 {"input_audio_transcription": {"model": "gpt-realtime", "Model": "forbidden-model"}}):
        assert alice.ask("POST", f"{V1}/realtime/transcription_sessions", json=body).status_code in (400, 403)
    session = {"session": {"model": "forbidden-model"}}
    assert alice.ask("POST", f"{V1}/realtime/client_secrets", json=session).status_code == 403


# ------------------------------------------------------------------ WebSockets


@pytest.mark.parametrize("path, upstream, query", [
    ("/openai/realtime?api-version=2024-10-01-preview&deployment=gpt-4o-realtime", "/openai/realtime",
     "api-version=2024-10-01-preview&deployment=gpt-4o-realtime"),
    ("/openai/v1/realtime?model=gpt-realtime&api-key=x", "/openai/v1/realtime", "model=gpt-realtime"),
    ("/realtime?model=gpt-realtime&deployment=gpt-4o-realtime", "/openai/realtime",
     "api-version=2025-04-01-preview&deployment=gpt-4o-realtime"),
])
def test_websocket(gw, alice, path, upstream, query):
    with WebSocket(gw, path, bearer(alice.token)) as ws:
        assert ws.status == 101, ws.head
        assert json.loads(ws.hear())["type"] == "session.created"
        for text in (b"one", b"two"):
            ws.say(text)
            assert ws.hear() == text
        seen = last(gw)
        assert (seen["path"], seen["query"]) == (upstream, query)
        assert alice.token not in json.dumps(seen)
    assert gw.usage(ws.header("x-request-id"))["operation"] == "realtime"


def test_websocket_of_a_forbidden_model(gw, alice):
    with WebSocket(gw, "/openai/v1/realtime?model=forbidden-model", bearer(alice.token)) as ws:
        assert ws.status == 403


def test_websocket_without_a_credential(gw):
    with WebSocket(gw, "/openai/v1/realtime?model=gpt-realtime", {"sec-websocket-protocol": "realtime"}) as ws:
        assert ws.status == 401


def test_upgrade_is_for_realtime_only(gw, alice):
    with WebSocket(gw, f"/openai/v1/responses/{alice.response()}", bearer(alice.token)) as ws:
        assert ws.status == 200
        assert not header_values(last(gw), "upgrade")


def test_key_in_a_websocket_protocol_does_not_get_upstream(gw, alice):
    head = {**bearer(alice.token), "sec-websocket-protocol": f"realtime, openai-insecure-api-key.{GATEWAY_KEY}"}
    with WebSocket(gw, "/openai/v1/realtime?model=gpt-realtime", head) as ws:
        assert ws.status == 101
        assert GATEWAY_KEY not in json.dumps(last(gw))


# -------------------------------------- one caller and the objects of another


def test_key_is_another_owner_than_a_token(gw, alice):
    name = alice.response()
    assert gw.get(f"{V1}/responses/{name}", token="", headers={"api-key": GATEWAY_KEY}).status_code == 404


def test_object_of_another_is_refused_like_an_unknown_one(gw, alice, mallory):
    theirs = alice.response()
    answers = [mallory.ask("GET", f"{V1}/responses/{name}") for name in (theirs, UNKNOWN)]
    texts = [a.text.replace(theirs, "ID").replace(UNKNOWN, "ID") for a in answers]
    assert [a.status_code for a in answers] == [404, 404] and texts[0] == texts[1]


@pytest.mark.parametrize("hide", [
    '{{"model":"gpt-4o-mini","input":"x","previous_response\\u005fid":"{}"}}',
    '{{"model":"gpt-4o-mini","input":"x","previous_response_id":"\\u0072esp_{}"}}',
    '{{"model":"gpt-4o-mini","input":[{{"content":[{{"a":{{"file\\u005fid":"{}"}}}}]}}]}}',
    '{{"model":"gpt-4o-mini","input":"x","conversation":{{"x":[],"\\u0069d":"{}"}}}}',
    '{{"model":"gpt-4o-mini","input":"x","tools":[{{"vector_store_ids":["","{}"]}}]}}',
    '{{"model":"gpt-4o-mini","input":"x","metadata":{{}},"a":{{"file_ids":[["{}"]]}}}}',
], ids=["key", "value", "deep", "conversation", "second", "nested"])
def test_id_hidden_in_a_body(gw, alice, mallory, hide):
    name = alice.response()
    content = hide.format(name[5:] if "0072" in hide else name)
    answer = mallory.ask("POST", f"{V1}/responses", content=content, headers=JSON)
    assert answer.status_code == 404, answer.text
    alice.good("POST", f"{V1}/responses", content=content, headers=JSON)


def test_body_with_two_previous_responses_is_refused(gw, alice, mallory):
    ours, theirs = mallory.response(), alice.response()
    content = f'{{"model":"gpt-4o-mini","input":"x","previous_response_id":"{ours}","previous_response_id":"{theirs}"}}'
    assert mallory.ask("POST", f"{V1}/responses", content=content, headers=JSON).status_code == 400


def test_id_in_the_callers_own_metadata_is_only_text(gw, alice, mallory):
    name = alice.response()
    mallory.response(metadata={"previous_response_id": name, "file_id": "x"})


def test_objects_at_two_resources_are_refused(gw, alice):
    answer = alice.ask("POST", f"{V1}/responses", json={**MINI, "input": [{"file_id": alice.file()}],
                                                        "previous_response_id": alice.response()})
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "objects_apart"


def test_more_objects_than_are_looked_up_are_refused(gw, alice):
    answer = alice.ask("POST", f"{V1}/vector_stores", json={"file_ids": [f"file-{i}" for i in range(200)]})
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "too_many_objects"
    assert "previous_response_id" in answer.json()["error"]["message"]


# ----------------------------------------------- items, and what is not known


def digits(name):
    return name.split("_", 1)[1]


def reasoning(name, **more):
    return {"type": "reasoning", "id": f"rs_{digits(name)}", "summary": [], **more}


# What refers to an item of a response by its id. As Azure writes them, ids of items have 16 digits in
# common with that of their response.
REFERENCES = {
    "reference": lambda name: {"type": "item_reference", "id": f"msg_{digits(name)}"},
    "without a type": lambda name: {"id": f"msg_{digits(name)}"},
    "image": lambda name: {"type": "image_generation_call", "id": f"ig_{digits(name)}"},
    "image with its bytes": lambda name: {"type": "image_generation_call", "id": f"ig_{digits(name)}", "result": "aaaa"},
    "reasoning": reasoning,
    "container": lambda name: {"type": "code_interpreter_call", "id": "ci_1", "code": "1",
                               "container_id": f"cntr_{digits(name)}"},
    "approval": lambda name: {"type": "mcp_approval_response", "approval_request_id": f"mcpr_{digits(name)}",
                              "approve": True},
}


def ask_with(caller, *items, **more):
    content = [{"role": "user", "content": "Hello"}, *items]
    return caller.ask("POST", f"{V1}/responses", json={"model": "gpt-4o-mini", "input": content, **more})


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("kind", REFERENCES)
def test_items_belong_to_whom_their_response_does(gw, alice, mallory, kind, stream):
    first = alice.good("POST", f"{V1}/responses", json={**MINI, "stream": stream})
    name = re.search(r'"id":"(resp_\w+)"', first.text).group(1)
    item = REFERENCES[kind](name)
    n = len(gw.sim.requests())
    refused = ask_with(mallory, item)
    assert refused.status_code == 404, refused.text
    assert refused.json()["error"]["code"] == "object_not_found"
    assert len(gw.sim.requests()) == n
    assert ask_with(alice, item).status_code == 200


def test_items_of_a_chain_and_of_a_conversation(gw, alice, mallory):
    first = alice.response()
    second = alice.response(previous_response_id=first)
    conversation = alice.made("conversations")
    for name in (first, second, conversation):
        item = REFERENCES["reference"](name)
        assert ask_with(mallory, item).status_code == 404
        at_west = {"model": "gpt-4o-west"} if name == conversation else {}
        assert ask_with(alice, item, **at_west).status_code == 200
    # the chain lives on
    alice.good("DELETE", f"{V1}/responses/{first}")
    assert ask_with(alice, REFERENCES["reference"](second)).status_code == 200


def test_conversation_takes_no_items_of_others(gw, alice, mallory):
    item = REFERENCES["reference"](alice.response())
    answer = mallory.ask("POST", f"{V1}/conversations", json={"items": [item]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "object_not_found")


def test_history_of_many_answers_is_sent_again(gw, alice, mallory):
    """As agents do that keep their history themselves: reasoning by its id, all else as it was said."""
    names = [alice.response() for _ in range(30)]
    history = [item for name in names for item in (
        reasoning(name),
        {"type": "function_call", "id": f"fc_{digits(name)}", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "1"},
        {"type": "message", "id": f"msg_{digits(name)}", "role": "assistant", "status": "completed",
         "content": [{"type": "output_text", "text": "x", "annotations": []}]})]
    assert ask_with(alice, *history).status_code == 200
    assert ask_with(mallory, *history).status_code == 404


def test_what_was_not_stored_is_sent_again(gw, alice):
    """Nobody knows these ids, and the resource finds nothing under them."""
    name = alice.response(store=False)
    assert ask_with(alice, reasoning(name, encrypted_content="gAAA"), store=False).status_code == 200
    assert ask_with(alice, reasoning(name)).status_code == 200
    assert ask_with(alice, {"type": "item_reference", "id": f"msg_{digits(name)}"}).status_code == 404


def test_text_of_others_may_be_quoted(gw, alice, mallory):
    """The id of what is sent along is a label."""
    said = {"type": "message", "id": f"msg_{digits(alice.response())}", "role": "assistant",
            "content": [{"type": "output_text", "text": "x"}]}
    assert ask_with(mallory, said).status_code == 200


@pytest.mark.parametrize("member, body", [
    ("prompt.id", {"prompt": {"id": "pmpt_1", "version": "2"}}),
    ("tunnel_id", {"tools": [{"type": "mcp", "server_label": "x", "tunnel_id": "t"}]}),
    ("voice.id", {"audio": {"voice": {"id": "voice_1"}}}),
    ("audio.id", {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}),
    ("skill_id", {"tools": [{"type": "shell", "environment": {"skills": [{"skill_id": "skill_1"}]}}]}),
    ("agent_reference", {"agent_reference": {"type": "agent_reference", "name": "x"}}),
])
def test_what_nobody_can_have_made_is_refused_by_its_name(gw, alice, member, body):
    answer = alice.ask("POST", f"{V1}/responses", json={**MINI, **body})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "object_refused")
    assert f"`{member}`" in error["message"] and error["message"].count(".") > 1  # and says what to do instead
    assert not gw.sim.requests()


@pytest.mark.parametrize("member, body", [
    ("previous_response_id", {"previous_response_id": UNKNOWN}),
    ("input[].id", {"input": [{"type": "item_reference", "id": "msg_1"}]}),
    ("container", {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}),
    ("file_id", {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]}),
])
def test_refusal_names_the_member(gw, alice, member, body):
    answer = alice.ask("POST", f"{V1}/responses", json={**MINI, **body})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "object_not_found")
    assert f"`{member}`" in answer.json()["error"]["message"]


@pytest.mark.parametrize("status, code, model", [
    (200, None, "gpt-image-1"),
    (403, "not_allowed", "forbidden-model"),
    (404, "model_not_found", "no-such-model"),
    (400, "no_deployment", "gpt-4o"),  # whose deployments have other names
    (400, "no_deployment", "gpt-4o-west"),  # which is at another resource
])
def test_model_of_a_tool_is_authorized(gw, alice, status, code, model):
    answer = alice.ask("POST", f"{V1}/responses", json={**MINI, "tools": [{"type": "image_generation", "model": model}]})
    assert answer.status_code == status, answer.text
    if code:
        assert answer.json()["error"]["code"] == code and "`tools[].model`" in answer.json()["error"]["message"]
        assert not gw.sim.requests()


# --------------------------------------------------------- the model of a form


def form(*parts, boundary="b"):
    text = b"".join(f"--{boundary}\r\n".encode() + p + b"\r\n" for p in parts)
    return text + f"--{boundary}--\r\n".encode(), {"content-type": f"multipart/form-data; boundary={boundary}"}


def field(name, value, head=""):
    return f'Content-Disposition: form-data; name="{name}"{head}\r\n\r\n{value}'.encode()


@pytest.mark.parametrize("parts", [
    [field("model", "whisper"), field("model", "forbidden-model")],
    [field("model", "whisper"), field("Model", "forbidden-model")],
    [field("model", "whisper", '; filename="x"')],
    [b'Content-Disposition: form-data; name = model\r\n\r\nwhisper'],
    [b'Content-Disposition: form-data; name="mod\\el"\r\n\r\nwhisper'],
    [b'Content-Disposition: form-data;\r\n name="model"\r\n\r\nwhisper'],
    [b'Content-Disposition: form-data; name="x"\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper'],
    [field("file", "x")],
], ids=["twice", "case", "file", "blanks", "escape", "folded", "two names", "none"])
def test_form_whose_model_is_not_plain_is_refused(gw, alice, parts):
    content, headers = form(*parts)
    answer = alice.ask("POST", f"{V1}/audio/transcriptions", content=content, headers=headers)
    assert answer.status_code == 400, answer.text
    assert not gw.sim.requests()


@pytest.mark.parametrize("model", ["whisper", "gpt-4o-transcribe"])
def test_second_model_behind_what_the_gateway_saw(gw, alice, model):
    content, headers = form(field("model", model), field("file", "x" * 500000), field("model", "forbidden-model"))
    answer = alice.ask("POST", f"{V1}/audio/transcriptions", content=content, headers=headers)
    assert answer.status_code == 413, answer.text
    assert not gw.sim.requests()


# ---------------------------------------- streams, the background, other nodes


def test_response_of_a_stream_can_be_read_at_once(gw, alice, mallory):
    for _ in range(5):
        answer = alice.good("POST", f"{V1}/responses", json={**MINI, "stream": True})
        name = re.search(r'"id":"(resp_\w+)"', answer.text).group(1)
        alice.good("GET", f"{V1}/responses/{name}")
    assert mallory.ask("GET", f"{V1}/responses/{name}").status_code == 404


def test_background_response_is_charged_once(gw, alice):
    opened, unknown = usage_records(gw, "open"), usage_records(gw, "unknown")
    answer = alice.good("POST", f"{V1}/responses", json={**MINI, "background": True})
    name = answer.json()["id"]
    assert answer.json()["status"] == "queued"
    wait_until("the reservation to stay open", lambda: usage_records(gw, "open") > opened)
    first = alice.good("GET", f"{V1}/responses/{name}")
    assert first.json()["usage"] is None
    assert gw.usage(request_id(first))["output"] == "0"
    done = [alice.good("GET", f"{V1}/responses/{name}") for _ in range(3)]
    done.append(alice.good("GET", f"{V1}/responses/{name}?stream=true"))
    for one in done:  # reading costs nothing
        assert gw.usage(request_id(one))["output"] == "0"
    spent = done[0].json()["usage"]["output_tokens"]
    assert int(gw.usage(request_id(answer))["output"]) == spent
    wait_until("the other three to be refused", lambda: usage_records(gw, "unknown") >= unknown + 3)
    assert [line["id"] for line in gw.lines("usage")].count(request_id(answer)) == 1


METADATA = [{"usage": "x"}, {"usage": {"input_tokens": 1, "prompt_tokens": 1}}, {"a": {"usage": {"output_tokens": 0}}}]
REASONED = {"x-sim-tokens": "10", "x-sim-reasoning-tokens": "20000"}


@pytest.mark.parametrize("metadata", METADATA, ids=str)
@pytest.mark.parametrize("stream", (False, True))
def test_usage_in_metadata_hides_nothing(gw, alice, metadata, stream):
    """Answers repeat the metadata of their request, behind the usage or before it."""
    asked = {"metadata": metadata, "store": True, "stream": stream}
    chat = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
    for path, body in (("responses", MINI), ("chat/completions", chat)):
        answer = alice.good("POST", f"{V1}/{path}", json={**body, **asked}, headers=REASONED)
        assert stream or answer.json()["metadata"] == metadata
        line = gw.usage(request_id(answer))
        assert (line["output"], line["reasoning"], line.get("estimated")) == ("20010", "20000", None)


@pytest.mark.parametrize("metadata", METADATA, ids=str)
def test_usage_in_metadata_of_a_background_response(gw, alice, metadata):
    answer = alice.good("POST", f"{V1}/responses", json={**MINI, "background": True, "metadata": metadata},
                        headers=REASONED)
    for _ in range(2):  # the first shows that it is in progress
        shown = alice.good("GET", f"{V1}/responses/{answer.json()['id']}")
    assert shown.json()["metadata"] == metadata
    line = gw.usage(request_id(answer))
    assert (line["output"], line.get("estimated")) == ("20010", None)


def test_response_that_is_not_stored_cannot_be_read(gw, alice):
    name = alice.response(store=False)
    assert alice.ask("GET", f"{V1}/responses/{name}").status_code == 404


def test_owners_are_known_after_a_restart_of_the_agent(make_stack):
    stack = make_stack(change=with_objects)
    alice, mallory = Caller(stack), mallory_of(stack)
    name = alice.response()
    stack.restart_agent()
    wait_until("an answer", lambda: alice.ask("GET", f"{V1}/responses/{name}").status_code == 200)
    assert mallory.ask("GET", f"{V1}/responses/{name}").status_code == 404


def test_second_node_knows_the_owner(make_stack):
    first = make_stack(change=with_objects)
    second = make_stack(start=False, redis_server=False)
    text = json.dumps(second.config)
    for name in ("redis", "sim"):
        text = text.replace(f":{second.ports[name]}", f":{first.ports[name]}")
    second.config = json.loads(text)
    with_objects(second.config)
    second.start_agent()
    second.start_haproxy()
    alice, mallory = Caller(first), mallory_of(first)  # their tokens are of the first simulator
    name = alice.response()
    alice.gw = mallory.gw = second
    assert alice.good("GET", f"{V1}/responses/{name}").json()["id"] == name
    assert mallory.ask("GET", f"{V1}/responses/{name}").status_code == 404


def test_owners_are_known_without_redis(make_stack):
    def change(config):
        with_objects(config)
        del config["redis"]

    stack = make_stack(change=change, redis_server=False)
    alice, mallory = Caller(stack), mallory_of(stack)
    name = alice.response()
    alice.good("GET", f"{V1}/responses/{name}")
    assert mallory.ask("GET", f"{V1}/responses/{name}").status_code == 404


def test_without_a_resource_for_objects_none_is_made(make_stack):
    alice = Caller(make_stack())  # no `objects`
    answer = alice.ask("POST", f"{V1}/vector_stores", json={"name": "x"})
    assert answer.status_code == 501 and "objects.resource" in answer.json()["error"]["message"]
    alice.good("GET", f"{V1}/responses/{alice.response()}")


def test_rule_for_models_does_not_allow_batches(make_stack):
    def change(config):
        with_objects(config)
        config["rules"] = [{"name": "one", "effect": "allow", "models": ["gpt-4o-mini"],
                            "operations": ["responses", "files", "batches"]}]

    stack = make_stack(change=change)
    alice = Caller(stack)
    name = alice.response()
    alice.good("GET", f"{V1}/responses/{name}")
    batch = {"input_file_id": alice.file(), "endpoint": "/v1/responses"}  # its lines may name any model
    assert alice.ask("POST", f"{V1}/batches", json=batch).status_code == 403
    assert alice.ask("POST", f"{V1}/conversations", json={}).status_code == 403
