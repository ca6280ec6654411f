"""Checks that every refusal passes, and requests that no client library sends."""
import contextlib
import json
import re
import socket
import ssl

from harness import CHAT, HELLO, PATIENCE, request_id

# What a socket, plain or TLS, raises when HAProxy closed it while the test was sending.
CLOSED = (ConnectionError, ssl.SSLEOFError)

# Paths of the APIs whose clients read errors in different shapes.
SHAPES = {
    "openai": CHAT,
    "azure": "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
    "anthropic": "/anthropic/v1/messages",
}
TYPES = {
    401: ("authentication_error", "authentication_error"),
    403: ("permission_error", "permission_error"),
    404: ("invalid_request_error", "not_found_error"),
    413: ("invalid_request_error", "request_too_large"),
    429: ("rate_limit_error", "rate_limit_error"),
    500: ("api_error", "api_error"),
    503: ("api_error", "overloaded_error"),
}


def data_requests(stack):
    """The requests that reached a resource."""
    return stack.sim.requests("data")


def nothing_sent(stack):
    assert stack.sim.stats()["requests"] == 0, data_requests(stack)


def json_error(answer, shape, status, code):
    """Checks that the body is an error as clients of that API read it; its message."""
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    openai, anthropic = TYPES.get(status, ("invalid_request_error",) * 2)
    if shape == "anthropic":
        assert set(body) == {"type", "error", "request_id"} and body["type"] == "error"
        assert body["request_id"] == answer.headers["x-request-id"]
        assert set(body["error"]) == {"type", "message"} and body["error"]["type"] == anthropic
    else:
        assert set(body) == {"error"}
        assert set(body["error"]) == {"message", "type", "param", "code"}
        assert body["error"]["code"] == code and body["error"]["type"] == openai
        assert body["error"]["param"] is None
    assert len(body["error"]["message"]) > 10
    return body["error"]["message"]


def refused(stack, answer, status, code, shape="openai", sent=0):
    """Checks status, headers, body and decision line of a refusal, and that the resources have
    received `sent` requests; the fields of the decision line."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    message = json_error(answer, shape, status, code)
    decision = stack.decision(request_id(answer))
    assert (decision["verdict"], decision["status"], decision["code"]) == ("deny", str(status), code)
    retry = answer.headers.get_list("retry-after")
    if status in (429, 503):
        assert retry == [decision["retry_after"]] and int(retry[0]) > 0
    else:
        assert retry == [] and "retry_after" not in decision
    challenge = answer.headers.get_list("www-authenticate")
    if status == 401:
        assert len(challenge) == 1 and challenge[0].startswith('Bearer realm="foundry-gateway"')
        if 'error="' in challenge[0]:
            assert challenge[0].endswith(f'error="invalid_token", error_description="{challenge_text(message)}"')
    else:
        assert challenge == []
    assert stack.sim.stats()["requests"] == sent, data_requests(stack)
    return decision


def challenge_text(message):
    return re.sub(r"[^ -~]|\\", "?", message).replace('"', "'")


# ------------------------------------------------------------------ raw bytes


class Answer:
    def __init__(self, raw):
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.raw = raw
        self.status_code = int(lines[0].split(" ")[1]) if raw else 0
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()

    @property
    def text(self):
        return self.body.decode(errors="replace")

    def json(self):
        return json.loads(self.body)


def connect(stack, tls=False):
    s = socket.create_connection(("127.0.0.1", stack.ports["https" if tls else "http"]), timeout=PATIENCE)
    if tls:
        s = ssl.create_default_context(cafile=str(stack.ca)).wrap_socket(s, server_hostname="localhost")
    return s


def exchange(stack, data, tls=False):
    """Sends bytes on a new connection and reads until the other end closes it. The bytes should
    ask for that."""
    with connect(stack, tls) as s:
        with contextlib.suppress(*CLOSED):
            s.sendall(data)
        return read_all(s)


def read_all(s):
    got = b""
    with contextlib.suppress(*CLOSED):
        while True:
            chunk = s.recv(65536)
            if not chunk:
                break
            got += chunk
    return got


def is_complete(raw):
    """The bytes hold one whole answer."""
    head, end, body = raw.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    if not end:
        return False
    if length:
        return len(body) >= int(length.group(1))
    return body.endswith(b"0\r\n\r\n") and re.search(rb"(?i)\r\ntransfer-encoding: chunked", head)


def first_answer(stack, data, tls=False):
    """Sends bytes and reads one answer. HAProxy 3.0 and later keep the connection open after a
    refusal, to read the rest of the body."""
    got = b""
    with connect(stack, tls) as s, contextlib.suppress(*CLOSED):
        with contextlib.suppress(*CLOSED):
            s.sendall(data)
        while not is_complete(got):
            chunk = s.recv(65536)
            if not chunk:
                break
            got += chunk
    return Answer(got)


def split_answers(raw):
    """Status codes of all answers in a stream of HTTP/1.1 answers."""
    return [int(m) for m in re.findall(rb"(?:^|\n|\}|\r\n)HTTP/1\.1 (\d{3}) ", raw)]


def chat_bytes(stack, body=None, head=(), path=CHAT, method="POST", length=True,
               token=None, host="localhost", close=True):
    """The bytes of a request. `head` holds more header lines, which are sent as they are."""
    body = json.dumps({"model": "gpt-4o", "messages": HELLO}) if body is None else body
    body = body if isinstance(body, bytes) else body.encode()
    token = stack.token() if token is None else token
    lines = [f"{method} {path} HTTP/1.1".encode()]
    if host:
        lines.append(f"Host: {host}".encode())
    if token:
        lines.append(f"Authorization: Bearer {token}".encode())
    if length:
        lines.append(f"Content-Length: {len(body)}".encode())
    if not any(h.lower().startswith(b"content-type") for h in map(as_bytes, head)):
        lines.append(b"Content-Type: application/json")
    if close:
        lines.append(b"Connection: close")
    lines += [as_bytes(h) for h in head]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")


def raw_chat(stack, tls=False, **more):
    return first_answer(stack, chat_bytes(stack, **more), tls=tls)
