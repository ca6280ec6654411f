"""What haproxy.cfg makes of a decision: also of one that no agent should send.

An agent of this file answers every message with the variables of a case. What
is not a whole permission must end at the gateway, with a record that says so.
"""
import json
import socket
import subprocess
import threading

import pytest

from harness import AGENT, PATIENCE, Stack, request_id

ERROR = json.dumps({"error": {"message": "said by the agent", "type": "x", "param": None, "code": "y"}})
STATUSES = (400, 401, 403, 404, 405, 413, 415, 429, 500, 501, 503)
PATHS = {"openai": "/openai/v1/chat/completions", "anthropic": "/anthropic/v1/messages"}
FIN = (1).to_bytes(4, "big")
HAPROXY_HELLO, HAPROXY_DISCONNECT, NOTIFY, AGENT_HELLO, AGENT_DISCONNECT, ACK = 1, 2, 3, 101, 102, 103

# ------------------------------------------------------- SPOP (SPOE.txt, 3.1)


def varint(n):
    if n < 240:
        return bytes([n])
    out, n = [n & 0xFF | 0xF0], (n - 240) >> 4
    while n >= 128:
        out, n = out + [n & 0xFF | 0x80], (n - 128) >> 7
    return bytes(out + [n])


def varint_end(data, i):
    """Where the varint that begins at i ends."""
    if data[i] < 240:
        return i + 1
    i += 1
    while data[i] >= 128:
        i += 1
    return i + 1


def text(s):
    return varint(len(s.encode())) + s.encode()


def typed(v):
    return b"\x08" + text(v) if isinstance(v, str) else b"\x03" + varint(v)


def frame(kind, ids, payload):
    data = bytes([kind]) + FIN + ids + payload
    return len(data).to_bytes(4, "big") + data


def reply(data, variables):
    kind = data[0]
    if kind == HAPROXY_HELLO:
        hello = {"version": "2.0", "max-frame-size": 16380, "capabilities": "pipelining"}
        return frame(AGENT_HELLO, b"\0\0", b"".join(text(k) + typed(v) for k, v in hello.items()))
    if kind == HAPROXY_DISCONNECT:
        bye = {"status-code": 0, "message": "bye"}
        return frame(AGENT_DISCONNECT, b"\0\0", b"".join(text(k) + typed(v) for k, v in bye.items()))
    assert kind == NOTIFY, data
    # set-var, three arguments, scope txn
    return frame(ACK, data[5:varint_end(data, varint_end(data, 5))],
                 b"".join(b"\x01\x03\x02" + text(k) + typed(v) for k, v in variables.items()))


class Agent:
    """Says `variables` to whatever it is asked."""

    def __init__(self, spop_port, usage_port):
        self.variables = {}
        self.listener = socket.create_server(("127.0.0.1", spop_port))
        self.usage = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.usage.bind(("127.0.0.1", usage_port))
        self.usage.settimeout(PATIENCE)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        with peer, peer.makefile("rb") as incoming:
            try:
                while length := incoming.read(4):
                    peer.sendall(reply(incoming.read(int.from_bytes(length, "big")), self.variables))
            except OSError:
                pass  # a health check resets its connection

    def record(self, rid):
        while True:
            line = self.usage.recv(65536)
            if line.startswith(b"{") and json.loads(line)["id"] == rid:
                return json.loads(line)

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.usage.close()


class Bare(Stack):
    """HAProxy and the simulator, with that agent between them."""

    def start_agent(self, ready=True):
        argv = [AGENT, "render-haproxy", self.write_config()]
        rendered = subprocess.run(argv, capture_output=True, text=True, check=True)
        (self.folder / "backends.cfg").write_text(rendered.stdout)
        self.agent = Agent(self.ports["spop"], self.ports["usage"])

    def stop(self):
        super().stop()
        self.agent.stop()


@pytest.fixture(scope="module")
def bare(tmp_path_factory, certificate):
    stack = Bare(tmp_path_factory.mktemp("bare"), certificate=certificate, redis_server=False).start()
    stack.sim.post("/control/defaults", auth=False)
    yield stack
    stack.stop()


@pytest.fixture
def gw(bare):
    bare.sim.reset()
    bare.sim.post("/control/defaults", auth=False)
    return bare


def ask(gw, variables, path=PATHS["openai"]):
    """The answer to a request that was decided so, and its record."""
    gw.agent.variables = variables
    answer = gw.chat(path=path, token="")
    return answer, gw.agent.record(request_id(answer))


def allow(gw, **changes):
    host = f"127.0.0.1:{gw.ports['sim']}"
    whole = {"verdict": "allow", "backend": "r.east", "host": host, "path": PATHS["openai"],
             "auth_name": "api-key", "auth_value": "secret"}
    return {k: v for k, v in {**whole, **changes}.items() if v is not None}


def ended_here(gw, answer, record, status, code=""):
    assert (answer.status_code, record["status"], record["termination"]) == (status, status, "LR")
    assert record["code"] == (code or "-")
    assert answer.headers["content-type"] == "application/json"
    assert gw.sim.stats()["requests"] == 0


# ------------------------------------------------------------------ the cases


@pytest.mark.parametrize("backend", ["r.east", "s.east"])
def test_whole_permission_passes(gw, backend):
    answer, record = ask(gw, allow(gw, backend=backend))
    assert answer.status_code == record["status"] == 200 and gw.sim.stats()["requests"] == 1


@pytest.mark.parametrize("variables", [{}, {"verdict": ""}, {"verdict": "ALLOW"}, {"verdict": "allow "},
                                       {"status": 200, "error": ERROR, "body": "{}"}], ids=str)
@pytest.mark.parametrize("shape", PATHS)
def test_no_decision(gw, shape, variables):
    """Even when all else that a permission needs is there."""
    answer, record = ask(gw, {**allow(gw), "verdict": "", **variables}, PATHS[shape])
    ended_here(gw, answer, record, 503, "decision_unavailable")
    assert answer.headers["retry-after"] == "1"
    body = answer.json()
    assert ("decision_unavailable" in body["error"]["message"] and body["request_id"] == request_id(answer)
            if shape == "anthropic" else body["error"]["code"] == "decision_unavailable")


@pytest.mark.parametrize("status", [*STATUSES, 408, 418, 502, 504, None])
def test_refusal(gw, status):
    """With the agent's words and status; 503 when that is not one of them."""
    said = {"verdict": "deny", "error": ERROR, "code": "y", "retry_after": 7, "challenge": "Bearer x"}
    answer, record = ask(gw, {**said, "status": status} if status else said)
    ended_here(gw, answer, record, status if status in STATUSES else 503, "y")
    assert answer.text == ERROR and answer.headers["retry-after"] == "7"
    assert answer.headers.get("www-authenticate") == ("Bearer x" if status == 401 else None)


def test_answer_of_the_agent(gw):
    answer, record = ask(gw, {"verdict": "answer", "body": '{"data":[]}', "retry_after": 7, "challenge": "x"})
    ended_here(gw, answer, record, 200)
    assert answer.text == '{"data":[]}' and "retry-after" not in answer.headers


BROKEN = {
    "refusal-without-text": lambda gw: {"verdict": "deny", "status": 403},
    "answer-without-text": lambda gw: {"verdict": "answer", "error": ERROR, "status": 200},
    **{f"without-{name}": lambda gw, name=name: allow(gw, **{name: None})
       for name in ("backend", "host", "path", "auth_name", "auth_value")},
    **{f"empty-{name}": lambda gw, name=name: allow(gw, **{name: ""})
       for name in ("backend", "host", "path", "auth_name", "auth_value")},
    "backend-of-our-own": lambda gw: allow(gw, backend="agent"),
    "header-of-its-choice": lambda gw: allow(gw, auth_name="x-other"),
    "path-without-slash": lambda gw: allow(gw, path="openai"),
    "edits-that-nobody-makes": lambda gw: allow(gw, edits="1:2:x"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_incomplete_decision(gw, name):
    answer, record = ask(gw, BROKEN[name](gw))
    ended_here(gw, answer, record, 500, "decision_incomplete")
    assert answer.json()["error"]["code"] == "decision_incomplete"


def test_backend_that_is_not_there(gw):
    answer, record = ask(gw, allow(gw, backend="r.north"))
    ended_here(gw, answer, record, 503)
    assert answer.json()["error"]["code"] == "backend_unknown" and answer.headers["retry-after"] == "5"
