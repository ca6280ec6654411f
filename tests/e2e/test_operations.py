"""Every operation of the table, and objects that belong to their caller."""
import base64
import contextlib
import hashlib
import json
import os
import re
import socket

import pytest

from harness import GATEWAY_KEY, TINY_APP, request_id, wait_until

V1 = "/openai/v1"
UNKNOWN = "resp_nobodyhasevermadethisone"


def with_objects(config):
    """Two resources with names of their own, so that it shows which was asked."""
    sim = config["resources"]["east"]["url"]
    config["resources"]["west"]["url"] = sim.replace("127.0.0.1", "localhost")
    config["limits"]["tiny-tokens"]["amount"] = 10**9
    config["objects"] = {"resource": "west"}
    for name, surface in (("gpt-image-1", "azure"), ("whisper", "azure"), ("gpt-4o-transcribe", "v1"),
                          ("tts", "azure"), ("gpt-realtime", "v1"), ("gpt-4o-realtime", "azure")):
        config["models"][name] = {"deployments": [{"resource": "east", "name": name, "surface": surface}]}


@pytest.fixture(scope="module")
def stack(tmp_path_factory, certificate):
    from harness import Stack
    stack = Stack(tmp_path_factory.mktemp("operations"), change=with_objects, certificate=certificate)
    with contextlib.ExitStack() as ends:
        ends.callback(stack.stop)
        yield stack.start()


@pytest.fixture
def gw(stack):
    stack.sim.reset()
    yield stack
    for name, child in stack.children.items():
        assert child.alive(), f"{name} died:\n{child.log()[-4000:]}"


class Caller:
    def __init__(self, gw, **claims):
        self.gw = gw
        self.headers = {"authorization": f"Bearer {gw.token(**claims)}"}

    def ask(self, method, path, **more):
        headers = {**self.headers, **more.pop("headers", {})}
        with self.gw.client() as client:
            return client.request(method, path, headers=headers, **more)

    def good(self, method, path, **more):
        answer = self.ask(method, path, **more)
        assert answer.status_code == 200, (method, path, answer.status_code, answer.text[:500])
        return answer

    def response(self, **body):
        return self.good("POST", f"{V1}/responses", json={"model": "gpt-4o-mini", "input": "x", **body}).json()["id"]

    def file(self):
        return self.good("POST", f"{V1}/files", files={"file": ("a.jsonl", b"{}\n")}, data={"purpose": "batch"}).json()["id"]

    def made(self, path, **body):
        return self.good("POST", f"{V1}/{path}", json=body).json()["id"]


@pytest.fixture
def alice(gw):
    return Caller(gw)


@pytest.fixture
def mallory(gw):
    return Caller(gw, appid=TINY_APP, azp=TINY_APP)


def host(seen):
    return [v for k, v in seen["headers"] if k.lower() == "host"][0].split(":")[0]


def last(gw):
    return gw.sim.requests()[-1]


# ---- each row of the table


def test_rows_of_responses(gw, alice):
    name = alice.response()
    assert alice.good("GET", f"{V1}/responses/{name}").json()["id"] == name
    assert last(gw)["path"] == f"{V1}/responses/{name}"
    assert host(last(gw)) == "127.0.0.1"  # where it was made, not the resource of files
    assert alice.good("GET", f"/openai/responses/{name}/input_items?api-version=x&limit=3&api-key=y").status_code == 200
    assert last(gw)["query"] == "limit=3"
    alice.good("POST", f"/v1/responses/{name}/cancel")
    assert alice.response(previous_response_id=name)
    body = {"model": "gpt-4o-mini", "input": "x"}
    assert alice.good("POST", f"{V1}/responses/input_tokens", json=body).json()["input_tokens"] > 0
    compact = alice.good("POST", f"{V1}/responses/compact", json=body)
    assert int(gw.usage(request_id(compact))["output"]) == 438
    assert alice.good("DELETE", f"{V1}/responses/{name}").json()["deleted"] is True


def test_rows_of_files(gw, alice):
    content = os.urandom(300000)  # passes unread, whatever it is
    answer = alice.good("POST", f"{V1}/files", files={"file": ("a.bin", content)}, data={"purpose": "user_data"})
    name = answer.json()["id"]
    assert host(last(gw)) == "localhost"
    assert alice.good("GET", f"{V1}/files/{name}").json()["id"] == name
    assert content in alice.good("GET", f"{V1}/files/{name}/content").content
    assert gw.usage(request_id(answer))["input"] == "0"
    assert alice.good("DELETE", f"{V1}/files/{name}").json()["deleted"] is True


def test_rows_of_batches(gw, alice):
    name = alice.made("batches", input_file_id=alice.file(), endpoint="/v1/responses", completion_window="24h")
    batch = alice.good("GET", f"{V1}/batches/{name}")
    output = batch.json()["output_file_id"]
    # what the batch has made is its owner's, from the moment it is shown
    assert alice.good("GET", f"{V1}/files/{output}/content").content == b"{}\n"
    alice.good("POST", f"{V1}/batches/{name}/cancel")
    # the usage of the batch is in the answer; asking for it costs nothing
    assert gw.usage(request_id(batch))["input"] == "0"


def test_rows_of_vector_stores(gw, alice):
    file = alice.file()
    name = alice.made("vector_stores", name="x", file_ids=[file])
    at = f"{V1}/vector_stores/{name}"
    alice.good("GET", at)
    alice.good("POST", at, json={"name": "y"})
    alice.good("POST", f"{at}/search", json={"query": "q"})
    alice.good("POST", f"{at}/files", json={"file_id": file})
    alice.good("GET", f"{at}/files")
    alice.good("GET", f"{at}/files/{file}")
    alice.good("POST", f"{at}/files/{file}", json={"attributes": {}})
    alice.good("GET", f"{at}/files/{file}/content")
    alice.good("DELETE", f"{at}/files/{file}")
    alice.good("POST", f"{at}/file_batches", json={"file_ids": [file]})
    alice.good("GET", f"{at}/file_batches/vsfb_1")
    alice.good("POST", f"{at}/file_batches/vsfb_1/cancel")
    alice.good("GET", f"{at}/file_batches/vsfb_1/files")
    alice.good("DELETE", at)


def test_rows_of_conversations(gw, alice):
    name = alice.made("conversations", items=[])
    at = f"{V1}/conversations/{name}"
    alice.good("GET", at)
    alice.good("POST", at, json={"metadata": {"a": "b"}})
    alice.good("POST", f"{at}/items", json={"items": []})
    alice.good("GET", f"{at}/items")
    alice.good("GET", f"{at}/items/msg_1")
    alice.good("DELETE", f"{at}/items/msg_1")
    alice.good("DELETE", at)


def test_rows_of_images(gw, alice):
    answer = alice.good("POST", f"{V1}/images/generations", json={"model": "gpt-image-1", "prompt": "x"})
    assert last(gw)["path"] == "/openai/deployments/gpt-image-1/images/generations"
    assert len(base64.b64decode(answer.json()["data"][0]["b64_json"])) == 600000
    usage = gw.usage(request_id(answer))  # it stands behind the picture
    assert (usage["input"], usage["output"]) == ("250", "1056")
    answer = alice.good("POST", "/openai/deployments/gpt-image-1/images/edits?api-version=2025-04-01-preview",
                        files={"image": ("a.png", os.urandom(400000))}, data={"prompt": "x"})
    assert gw.usage(request_id(answer))["output"] == "1056"


def test_rows_of_audio(gw, alice):
    sound = os.urandom(150000)
    for what in ("transcriptions", "translations"):
        answer = alice.good("POST", f"{V1}/audio/{what}", files={"file": ("a.wav", sound)}, data={"model": "whisper"})
        assert last(gw)["path"] == f"/openai/deployments/whisper/audio/{what}"
        assert answer.json()["text"] == "Hello there."
        assert gw.usage(request_id(answer))["output"] == "45"
    # in the path: nothing is waited for, so it may be of any length
    alice.good("POST", "/openai/deployments/whisper/audio/transcriptions", files={"file": ("a.wav", os.urandom(2000000))})
    answer = alice.good("POST", f"{V1}/audio/speech", json={"model": "tts", "input": "x", "voice": "alloy"})
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.content == bytes(i % 256 for i in range(70000))
    assert gw.usage(request_id(answer))["output"] == "0"


def test_row_of_count_tokens(gw, alice):
    answer = alice.good("POST", "/anthropic/v1/messages/count_tokens",
                        json={"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "Hi"}]},
                        headers={"anthropic-version": "2023-06-01"})
    assert answer.json()["input_tokens"] > 0
    assert gw.usage(request_id(answer))["input"] == "0"


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
    headers = {"authorization": f"Bearer {secret}", "content-type": "application/sdp",
               **{k.replace("_", "-"): v for k, v in headers.items()}}
    with gw.client() as client:
        return client.post(path, content=content, headers=headers)


@pytest.mark.parametrize("what, body", SESSIONS, ids=[what for what, _ in SESSIONS])
def test_rows_of_realtime_over_http(gw, alice, what, body):
    secret = new_secret(alice, what, body)
    answer = call(gw, secret, path=f"{CALL}?webrtcfilter=on&model=forbidden-model")
    assert (answer.status_code, answer.headers["content-type"]) == (201, "application/sdp"), answer.text
    assert "s=answer" in answer.text
    seen = last(gw)
    assert (seen["path"], seen["query"]) == (CALL, "webrtcfilter=on")
    assert host(seen) == "127.0.0.1"  # where the session was made, not the resource of files
    # the resource knows this one only; the gateway's own would be refused
    assert [v for k, v in seen["headers"] if k.lower() == "authorization"] == [f"Bearer {secret}"]
    used = gw.usage(request_id(answer))
    assert (used["operation"], used["model"], used["resource"]) == ("realtime", "gpt-realtime", "east")
    assert used["consumer"] == gw.usage(request_id(alice.good("GET", f"{V1}/responses/{alice.response()}")))["consumer"]
    for child in gw.children.values():
        assert secret not in child.log()


def test_a_form_could_bring_a_session_with_another_model(gw, alice):
    session = ("session", (None, '{"model": "forbidden-model"}', "application/json"))
    n = len(gw.sim.requests())
    for files in ([("sdp", (None, OFFER, "application/sdp")), session], [("sdp", (None, OFFER, "application/sdp"))]):
        with gw.client() as client:
            answer = client.post(CALL, files=files, headers={"authorization": f"Bearer {new_secret(alice)}"})
        assert answer.status_code == 415, answer.text
    assert not [r for r in gw.sim.requests()[n:] if r["path"].endswith("/calls")]


def test_call_without_a_secret_of_this_gateway(gw, alice):
    secret = new_secret(alice)
    n = len(gw.sim.requests())
    for wrong in ("ek_" + "a" * 88, secret[:-1], secret + "x", secret.upper(), "x",
                  alice.headers["authorization"].split()[1], GATEWAY_KEY):
        answer = call(gw, wrong)
        assert answer.status_code == 401, (wrong, answer.text)
    for more in ({"api_key": GATEWAY_KEY}, {"x_api_key": "x"}, {"api_key": secret}):
        assert call(gw, secret, **more).status_code == 401
    with gw.client() as client:
        assert client.post(CALL, content=OFFER, headers={"api-key": GATEWAY_KEY}).status_code == 401
        assert client.post(CALL, content=OFFER).status_code == 401
    assert len(gw.sim.requests()) == n  # nothing of it reached a resource


def test_secret_of_a_session_opens_nothing_else(gw, alice):
    secret = new_secret(alice)
    body = {"model": "gpt-4o-mini", "input": "x"}
    with gw.client() as client:
        for path in ("responses", "realtime/client_secrets", "realtime/sessions"):
            answer = client.post(f"{V1}/{path}", json=body, headers={"authorization": f"Bearer {secret}"})
            assert answer.status_code == 401, path


def test_secret_that_was_hashed_by_its_thief(gw, alice, mallory):
    """What the store knows of a secret opens nothing and is nobody's object."""
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
    stack.children["agent"].stop()
    stack.start_agent()
    stack.wait_agent_up()
    wait_until("the new rule", lambda: call(stack, secret).status_code == 403)


def test_deleted_object_is_forgotten(gw, alice):
    for name, at in ((alice.response(), "responses"), (alice.file(), "files"),
                     (alice.made("conversations"), "conversations"), (alice.made("vector_stores"), "vector_stores")):
        alice.good("DELETE", f"{V1}/{at}/{name}")
        n = len(gw.sim.requests())
        assert alice.ask("GET", f"{V1}/{at}/{name}").status_code == 404
        assert len(gw.sim.requests()) == n, at


def test_realtime_session_of_a_forbidden_model(gw, alice):
    for body in ({"input_audio_transcription": {"model": "forbidden-model"}},
                 {"model": "gpt-realtime", "input_audio_transcription": {"model": "forbidden-model"}},
                 {"input_audio_transcription": {"model": "gpt-realtime", "Model": "forbidden-model"}}):
        assert alice.ask("POST", f"{V1}/realtime/transcription_sessions", json=body).status_code in (400, 403)
    assert alice.ask("POST", f"{V1}/realtime/client_secrets", json={"session": {"model": "forbidden-model"}}).status_code == 403


# ---- WebSockets


class Socket:
    """A WebSocket by hand: what the gateway does to its bytes must show."""

    def __init__(self, gw, path, headers):
        self.s = socket.create_connection(("127.0.0.1", gw.ports["http"]), timeout=30)
        head = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        self.s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
                       f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{head}\r\n".encode())
        self.buf = b""
        while b"\r\n\r\n" not in self.buf:
            self._more()
        self.head, self.buf = self.buf.split(b"\r\n\r\n", 1)

    def _more(self):
        data = self.s.recv(65536)
        assert data, "closed"
        self.buf += data

    def hear(self):
        while len(self.buf) < 2 or len(self.buf) < 2 + self.buf[1]:
            self._more()
        n = self.buf[1]
        text, self.buf = self.buf[2:2 + n], self.buf[2 + n:]
        return text

    def say(self, text):
        mask = b"\x01\x02\x03\x04"
        self.s.sendall(bytes([0x81, 0x80 | len(text)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(text)))

    def close(self):
        self.s.close()


@pytest.mark.parametrize("path, upstream, query", [
    ("/openai/realtime?api-version=2024-10-01-preview&deployment=gpt-4o-realtime", "/openai/realtime",
     "api-version=2024-10-01-preview&deployment=gpt-4o-realtime"),
    ("/openai/v1/realtime?model=gpt-realtime&api-key=x", "/openai/v1/realtime", "model=gpt-realtime"),
    ("/realtime?model=gpt-realtime&deployment=gpt-4o-realtime", "/openai/realtime",
     "api-version=2025-04-01-preview&deployment=gpt-4o-realtime"),
])
def test_websocket(gw, alice, path, upstream, query):
    ws = Socket(gw, path, alice.headers)
    assert ws.head.startswith(b"HTTP/1.1 101"), ws.head
    assert json.loads(ws.hear())["type"] == "session.created"
    for text in (b"one", b"two"):
        ws.say(text)
        assert ws.hear() == text
    seen = last(gw)
    assert (seen["path"], seen["query"]) == (upstream, query)
    everything = json.dumps(seen)
    assert alice.headers["authorization"] not in everything
    name = next(line.split(b": ")[1] for line in ws.head.split(b"\r\n") if line.lower().startswith(b"x-request-id")).decode()
    ws.close()
    assert gw.usage(name)["operation"] == "realtime"


def test_websocket_of_a_forbidden_model(gw, alice):
    ws = Socket(gw, "/openai/v1/realtime?model=forbidden-model", alice.headers)
    assert ws.head.startswith(b"HTTP/1.1 403")
    ws.close()


def test_websocket_without_a_credential(gw):
    ws = Socket(gw, "/openai/v1/realtime?model=gpt-realtime", {"sec-websocket-protocol": "realtime"})
    assert ws.head.startswith(b"HTTP/1.1 401")
    ws.close()


def test_upgrade_is_for_realtime_only(gw, alice):
    name = alice.response()
    ws = Socket(gw, f"/openai/v1/responses/{name}", alice.headers)
    assert ws.head.startswith(b"HTTP/1.1 200")
    assert not [k for k, _ in last(gw)["headers"] if k.lower() == "upgrade"]
    ws.close()


def test_key_in_a_websocket_protocol_does_not_get_upstream(gw, alice):
    ws = Socket(gw, "/openai/v1/realtime?model=gpt-realtime",
                {**alice.headers, "sec-websocket-protocol": f"realtime, openai-insecure-api-key.{GATEWAY_KEY}"})
    assert ws.head.startswith(b"HTTP/1.1 101")
    assert GATEWAY_KEY not in json.dumps(last(gw))
    ws.close()


# ---- one caller and the objects of another


def all_ways(owner):
    """What the owner has, and every way to it: (method, path, body)."""
    response, file, conversation = owner.response(), owner.file(), owner.made("conversations")
    batch = owner.made("batches", input_file_id=file, endpoint="/v1/responses", completion_window="24h")
    store = owner.made("vector_stores", file_ids=[file])
    message = {"role": "user", "content": [{"type": "input_file", "file_id": file}]}
    ask = {"model": "gpt-4o-mini", "input": "x"}
    return [
        ("GET", f"responses/{response}", None),
        ("DELETE", f"responses/{response}", None),
        ("POST", f"responses/{response}/cancel", None),
        ("GET", f"responses/{response}/input_items", None),
        ("POST", "responses", {**ask, "previous_response_id": response}),
        ("POST", "responses/compact", {**ask, "previous_response_id": response}),
        ("POST", "responses/input_tokens", {**ask, "previous_response_id": response}),
        ("POST", "responses", {**ask, "conversation": conversation}),
        ("POST", "responses", {**ask, "conversation": {"id": conversation}}),
        ("POST", "responses", {**ask, "input": [message]}),
        ("POST", "responses", {**ask, "tools": [{"type": "file_search", "vector_store_ids": [store]}]}),
        ("POST", "responses", {**ask, "tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": [file]}}]}),
        ("GET", f"files/{file}", None),
        ("DELETE", f"files/{file}", None),
        ("GET", f"files/{file}/content", None),
        ("POST", "batches", {"input_file_id": file, "endpoint": "/v1/responses"}),
        ("GET", f"batches/{batch}", None),
        ("POST", f"batches/{batch}/cancel", None),
        ("POST", "vector_stores", {"file_ids": [file]}),
        ("GET", f"vector_stores/{store}", None),
        ("DELETE", f"vector_stores/{store}", None),
        ("POST", f"vector_stores/{store}/search", {"query": "x"}),
        ("POST", f"vector_stores/{store}/files", {"file_id": file}),
        ("GET", f"conversations/{conversation}", None),
        ("GET", f"conversations/{conversation}/items", None),
        ("POST", f"conversations/{conversation}/items", {"items": [message]}),
        ("DELETE", f"conversations/{conversation}", None),
    ]


def test_objects_of_another_caller_do_not_exist(gw, alice, mallory):
    ways = all_ways(alice)
    before = len(gw.sim.requests())
    for method, path, body in ways:
        answer = mallory.ask(method, f"{V1}/{path}", json=body)
        assert answer.status_code == 404, (method, path, body, answer.status_code, answer.text[:300])
        assert answer.json()["error"]["code"] == "object_not_found"
    assert len(gw.sim.requests()) == before  # nothing got through
    for method, path, body in ways:
        if method == "GET":
            alice.good(method, f"{V1}/{path}")


def test_key_is_another_owner_than_a_token(gw, alice):
    name = alice.response()
    with gw.client() as client:
        answer = client.get(f"{V1}/responses/{name}", headers={"api-key": GATEWAY_KEY})
    assert answer.status_code == 404


def test_foreign_and_unknown_look_alike(gw, alice, mallory):
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
    headers = {"content-type": "application/json"}
    answer = mallory.ask("POST", f"{V1}/responses", content=content, headers=headers)
    assert answer.status_code == 404, answer.text
    assert alice.ask("POST", f"{V1}/responses", content=content, headers=headers).status_code == 200


def test_two_previous_responses(gw, alice, mallory):
    ours, theirs = mallory.response(), alice.response()
    content = f'{{"model":"gpt-4o-mini","input":"x","previous_response_id":"{ours}","previous_response_id":"{theirs}"}}'
    assert mallory.ask("POST", f"{V1}/responses", content=content,
                       headers={"content-type": "application/json"}).status_code == 400


def test_id_in_the_callers_own_metadata_is_only_text(gw, alice, mallory):
    name = alice.response()
    mallory.response(metadata={"previous_response_id": name, "file_id": "x"})


def test_objects_at_two_resources(gw, alice):
    answer = alice.ask("POST", f"{V1}/responses", json={"model": "gpt-4o-mini", "input": [{"file_id": alice.file()}],
                                                         "previous_response_id": alice.response()})
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "objects_apart"


def test_more_objects_than_are_looked_up(gw, alice):
    answer = alice.ask("POST", f"{V1}/vector_stores", json={"file_ids": [f"file-{i}" for i in range(100)]})
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "too_many_objects"


@pytest.mark.parametrize("path", ["files", "batches", "vector_stores", "responses"])
def test_lists_are_refused(gw, alice, path):
    answer = alice.ask("GET", f"{V1}/{path}")
    assert answer.status_code == 403 and answer.json()["error"]["code"] == "listing_refused"
    assert not gw.sim.requests()


@pytest.mark.parametrize("path", ["threads/t", "assistants", "containers/c/files/f", "fine_tuning/jobs", "evals",
                                  "responses/..%2ffiles/f", "responses/a%20b", "files/a;b/content"])
def test_operation_that_is_not_in_the_table(gw, alice, path):
    assert alice.ask("GET", f"{V1}/{path}").status_code == 404
    assert not gw.sim.requests()


# ---- the model of a form


def form(*parts, boundary="b"):
    text = b"".join(f"--{boundary}\r\n".encode() + p + b"\r\n" for p in parts)
    return text + f"--{boundary}--\r\n".encode(), {"content-type": f"multipart/form-data; boundary={boundary}"}


def field(name, value, head=""):
    return f'Content-Disposition: form-data; name="{name}"{head}\r\n\r\n{value}'.encode()


@pytest.mark.parametrize("parts", [
    [field("model", "whisper"), field("model", "forbidden-model")],
    [field("model", "whisper"), field("Model", "forbidden-model")],
    [field("model", "whisper", '; filename="x"')],
    [b'Content-Disposition: form-data; name=model\r\n\r\nwhisper'],
    [b'Content-Disposition: form-data; name="mod\\el"\r\n\r\nwhisper'],
    [b'Content-Disposition: form-data;\r\n name="model"\r\n\r\nwhisper'],
    [b'Content-Disposition: form-data; name="x"\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper'],
    [field("file", "x")],
], ids=["twice", "case", "file", "unquoted", "escape", "folded", "two names", "none"])
def test_model_of_a_form_is_plain(gw, alice, parts):
    content, headers = form(*parts)
    answer = alice.ask("POST", f"{V1}/audio/transcriptions", content=content, headers=headers)
    assert answer.status_code == 400, answer.text
    assert not gw.sim.requests()


def test_second_model_behind_what_the_gateway_saw(gw, alice):
    """Where the path names the deployment it changes nothing; where the body does, it is refused."""
    for model, status in (("whisper", 413), ("gpt-4o-transcribe", 413)):
        content, headers = form(field("model", model), field("file", "x" * 500000), field("model", "forbidden-model"))
        answer = alice.ask("POST", f"{V1}/audio/transcriptions", content=content, headers=headers)
        assert answer.status_code == status, answer.text
    assert not gw.sim.requests()


def test_model_of_a_form_for_a_v1_deployment(gw, alice):
    alice.good("POST", f"{V1}/audio/transcriptions", files={"file": ("a.wav", b"x")}, data={"model": "gpt-4o-transcribe"})
    assert last(gw)["path"] == f"{V1}/audio/transcriptions"


# ---- streams, the background, other nodes


def test_id_of_a_stream_is_good_at_once(gw, alice, mallory):
    for _ in range(5):
        answer = alice.good("POST", f"{V1}/responses", json={"model": "gpt-4o-mini", "input": "x", "stream": True})
        name = re.search(r'"id":"(resp_\w+)"', answer.text).group(1)
        alice.good("GET", f"{V1}/responses/{name}")
    assert mallory.ask("GET", f"{V1}/responses/{name}").status_code == 404


def test_background_response_is_charged_once(gw, alice):
    answer = alice.good("POST", f"{V1}/responses", json={"model": "gpt-4o-mini", "input": "x", "background": True})
    name = answer.json()["id"]
    assert answer.json()["status"] == "queued"
    opened = lambda: gw.metric("foundry_usage_records_total", result="open")
    wait_until("the reservation to stay open", lambda: opened() >= 1)
    first = alice.good("GET", f"{V1}/responses/{name}")
    assert first.json()["usage"] is None
    assert gw.usage(request_id(first))["output"] == "0"
    done = [alice.good("GET", f"{V1}/responses/{name}") for _ in range(3)]
    done.append(alice.good("GET", f"{V1}/responses/{name}?stream=true"))
    for one in done:  # asking costs nothing
        assert gw.usage(request_id(one))["output"] == "0"
    spent = done[0].json()["usage"]["output_tokens"]
    assert int(gw.usage(request_id(answer))["output"]) == spent
    wait_until("the other three to be refused", lambda: gw.metric("foundry_usage_records_total", result="unknown") >= 3)
    lines = re.findall(rf"(?m)^.* info usage id={request_id(answer)} .*$", gw.children["agent"].log())
    assert len(lines) == 1


def test_answer_that_is_not_to_be_stored_is_nobodys(gw, alice):
    name = alice.response(store=False)
    assert alice.ask("GET", f"{V1}/responses/{name}").status_code == 404


def test_agent_restart_forgets_nobody(make_stack):
    stack = make_stack(change=with_objects)
    alice, mallory = Caller(stack), Caller(stack, appid=TINY_APP, azp=TINY_APP)
    name = alice.response()
    stack.children["agent"].stop()
    stack.start_agent()
    stack.wait_agent_up()
    wait_until("an answer", lambda: alice.ask("GET", f"{V1}/responses/{name}").status_code == 200)
    assert mallory.ask("GET", f"{V1}/responses/{name}").status_code == 404


def test_second_node_knows_the_owner(make_stack):
    first = make_stack(change=with_objects)
    ports = first.ports

    def on_the_same_redis_and_azure(config):
        text = json.dumps(config).replace(f":{second.ports['redis']}/", f":{ports['redis']}/")
        text = text.replace(f":{second.ports['sim']}", f":{ports['sim']}")
        config.clear()
        config.update(json.loads(text))
        with_objects(config)

    second = make_stack(start=False, redis_server=False)
    on_the_same_redis_and_azure(second.config)
    second.start_agent()
    second.start_haproxy()
    second.sim = first.sim
    name = Caller(first).response()
    assert Caller(second).good("GET", f"{V1}/responses/{name}").json()["id"] == name
    assert Caller(second, appid=TINY_APP, azp=TINY_APP).ask("GET", f"{V1}/responses/{name}").status_code == 404


def test_without_redis_memory_knows(make_stack):
    def change(config):
        with_objects(config)
        del config["redis"]

    stack = make_stack(change=change, redis_server=False)
    alice, mallory = Caller(stack), Caller(stack, appid=TINY_APP, azp=TINY_APP)
    name = alice.response()
    alice.good("GET", f"{V1}/responses/{name}")
    assert mallory.ask("GET", f"{V1}/responses/{name}").status_code == 404


def test_without_a_resource_nothing_is_made(make_stack):
    stack = make_stack()  # no `objects`
    alice = Caller(stack)
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
    file = alice.file()  # named, and runs no model
    # its lines may name any model
    assert alice.ask("POST", f"{V1}/batches", json={"input_file_id": file, "endpoint": "/v1/responses"}).status_code == 403
    assert alice.ask("POST", f"{V1}/conversations", json={}).status_code == 403
