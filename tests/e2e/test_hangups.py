"""Clients that hang up before the first byte of the answer. The resource works for them, whatever
they do: the prompt is charged once the request has been sent, and nothing before that."""
import contextlib
import csv
import json
import socket
import ssl
import struct

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes

from harness import CHAT, HELLO, PATIENCE, bearer, wait_until
from refusals import chat_bytes, data_requests
from steps import by_day_without_end, day, limits, open_records, spent

LONG = [{"role": "user", "content": "Hello " * 1150}]


class Client:
    """A connection with one request, whose answer nobody has to read."""

    def __init__(self, stack, tls, alpn):
        self.s = socket.create_connection(("127.0.0.1", stack.ports["https" if tls else "http"]), timeout=PATIENCE)
        if tls:
            context = ssl.create_default_context(cafile=str(stack.ca))
            context.set_alpn_protocols([alpn])
            self.s = context.wrap_socket(self.s, server_hostname="localhost")

    def reset(self):
        """A TCP segment with RST, in place of TLS's and TCP's orderly ends."""
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.s.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.s.close()


class Http1(Client):
    def __init__(self, stack, tls):
        super().__init__(stack, tls, "http/1.1")

    def send(self, stack, body):
        self.s.sendall(chat_bytes(stack, body, close=False))


class Http2(Client):
    def __init__(self, stack, tls):
        super().__init__(stack, tls, "h2")
        self.http = H2Connection(H2Configuration(client_side=True))
        self.http.initiate_connection()

    def send(self, stack, body):
        self.id = self.http.get_next_available_stream_id()
        self.http.send_headers(self.id, [
            (":method", "POST"), (":path", CHAT), (":scheme", "https"), (":authority", "localhost"),
            ("content-type", "application/json"), ("content-length", str(len(body))),
            *bearer(stack.token()).items()])
        size = self.http.max_outbound_frame_size
        for at in range(0, len(body), size):
            self.http.send_data(self.id, body[at:at + size], end_stream=at + size >= len(body))
        self.s.sendall(self.http.data_to_send())

    def cancel(self):
        """Only the stream ends; the connection stays."""
        self.http.reset_stream(self.id, ErrorCodes.CANCEL)
        self.s.sendall(self.http.data_to_send())


WAYS = {
    "h1-clear-rst": (Http1, False, Client.reset),
    "h1-tls-rst": (Http1, True, Client.reset),
    "h2-clear-cancel": (Http2, False, Http2.cancel),
    "h2-tls-cancel": (Http2, True, Http2.cancel),
    "h2-tls-rst": (Http2, True, Client.reset),
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
routes = pytest.mark.parametrize("stream", [False, True], ids=["r", "s"])


@contextlib.contextmanager
def asked(stack, way, **body):
    """A client whose request has been decided, how it leaves, and the decision line."""
    kind, tls, leave = way
    mark = stack.children["agent"].mark()
    with kind(stack, tls) as client:
        client.send(stack, json.dumps({"model": "gpt-4o", "messages": HELLO, **body}).encode())
        yield client, leave, stack.next_line("decision ", after=mark)


def backend(stack, name):
    """The row of a server in HAProxy's statistics."""
    rows = csv.DictReader(stack.haproxy_says("show stat").lstrip("# ").splitlines())
    (row,) = [r for r in rows if r["pxname"] == name and r["svname"] not in ("FRONTEND", "BACKEND")]
    return row


def silent(stack):
    """The resource reads requests and sends no byte while a test runs."""
    stack.sim.fault(match={"endpoint": "data"}, delay_ms=600000, times=-1)


@ways
@routes
def test_hang_up_before_the_first_byte_pays_the_prompt(shared_stack, way, stream):
    stack = shared_stack(change=by_day_without_end)
    silent(stack)
    name = "s.east" if stream else "r.east"
    before = int(backend(stack, name)["stot"])
    with asked(stack, way, messages=LONG, stream=stream) as (client, leave, decision):
        stack.sim.wait(requests=1)
        assert int(backend(stack, name)["stot"]) == before + 1
        leave(client)
        line = stack.usage(decision["id"])
    assert line["termination"][0] == "C"
    assert line["estimated"] == "true"
    assert (line["input"], line["output"]) == (decision["prompt"], "0")
    assert 1900 < int(line["input"]) < 2100
    wait_until("its reservation to be settled", lambda: open_records(stack) == set())
    assert spent(stack) == int(line["input"])


@contextlib.contextmanager
def deaf_port():
    """A port that answers no SYN: its queue is full."""
    with contextlib.ExitStack() as ends:
        listener = ends.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            s = ends.enter_context(socket.socket())
            s.setblocking(False)
            s.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@routes
def test_hang_up_before_the_request_was_sent_is_free(make_stack, stream):
    """All ways in one stack of its own: after some 20 seconds the health check would refuse them."""
    with deaf_port() as port:
        def change(config):
            by_day_without_end(config)
            config["resources"]["east"]["url"] = f"http://127.0.0.1:{port}"

        stack = make_stack(change=change)
        name = "s.east" if stream else "r.east"
        for way in WAYS.values():
            with asked(stack, way, messages=LONG, stream=stream) as (client, leave, decision):
                assert decision["verdict"] == "allow" and int(decision["prompt"]) > 1000
                wait_until("HAProxy to connect", lambda: backend(stack, name)["scur"] == "1")
                leave(client)
                line = stack.usage(decision["id"])
            assert line["termination"] == "CC"
            assert (line["input"], line["output"]) == ("0", "0") and "estimated" not in line
            wait_until("its reservation to be given back", lambda: open_records(stack) == set())
            assert spent(stack) == 0
        assert data_requests(stack) == []


def few(config):
    limits(config, tokens=day(3000, "tokens"), asks=day(5))


def few_requests(config):
    limits(config, tokens=day(10**9, "tokens"), asks=day(5))


@pytest.mark.parametrize("change, passed, limit", [(few, 1, "tokens"), (few_requests, 5, "asks")],
                         ids=["tokens", "requests"])
@ways
@routes
def test_hang_ups_use_up_a_limit(shared_stack, change, passed, limit, way, stream):
    """30 prompts of some 2,000 tokens."""
    stack = shared_stack(change=change)
    silent(stack)
    decisions = []
    for _ in range(30):
        with asked(stack, way, messages=LONG, stream=stream, max_tokens=100) as (client, leave, decision):
            decisions.append(decision)
            if decision["verdict"] == "allow":
                stack.sim.wait(requests=len(decisions))
                leave(client)
                assert stack.usage(decision["id"])["estimated"] == "true"
                wait_until("its reservation to be settled", lambda: open_records(stack) == set())
    assert [d["verdict"] for d in decisions] == passed * ["allow"] + (30 - passed) * ["deny"]
    assert {(d["status"], d["limit"]) for d in decisions[passed:]} == {("429", limit)}
    assert stack.sim.stats()["requests"] == passed
    assert spent(stack, limit="tokens") == sum(int(d["prompt"]) for d in decisions[:passed])
    assert spent(stack, limit="asks") == passed
